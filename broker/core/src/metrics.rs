//! What the broker counts. Plain atomics, counted where it happens and read by `/metrics`.
//!
//! A dialect looks its [`RequestMetrics`] up once per API at start and keeps the handle, so that
//! counting a request is a few relaxed additions. Times are in [`latency`], what is counted of each
//! stream in [`stream`].

pub mod latency;
pub mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use weir_model::time::Timestamp;

use crate::metrics::latency::Latency;
use crate::metrics::stream::StreamMetrics;
use crate::stream::stream::Stream;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// The Kafka protocol.
    Kafka,
    /// The Kinesis Data Streams API.
    Kinesis,
    /// The native API.
    Grpc,
    /// Health, metrics and console.
    Http,
}

impl Dialect {
    /// The name used as a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Kafka => "kafka",
            Dialect::Kinesis => "kinesis",
            Dialect::Grpc => "grpc",
            Dialect::Http => "http",
        }
    }
}

/// One counter. Relaxed: a number for people, nothing is ordered by it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one API of one dialect has done.
#[derive(Debug, Default)]
pub struct RequestMetrics {
    /// Requests begun.
    pub requests: Counter,
    /// Requests answered with an error for the whole or a part.
    pub errors: Counter,
    /// Bytes of requests.
    pub bytes_in: Counter,
    /// Bytes of replies.
    pub bytes_out: Counter,
    /// Records written.
    pub records_in: Counter,
    /// Records read; where they are not decoded, the offsets that were got past.
    pub records_out: Counter,
    /// Pauses that clients over their quota were given.
    pub pauses: Counter,
    /// The time of these pauses.
    pub pause_micros: Counter,
    /// How long requests take.
    pub latency: Latency,
}

/// Everything that the broker counts.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(Dialect, &'static str), Arc<RequestMetrics>>>,
    connections: Mutex<BTreeMap<Dialect, Arc<AtomicU64>>>,
    throttles: Counter,
    all_streams: StreamMetrics,
    /// The minute that numbers are gathered for, counted from 1970.
    minute: Mutex<Option<i64>>,
}

impl Metrics {
    /// The counters of one API; looked up at start-up, not per request.
    pub fn request(&self, dialect: Dialect, api: &'static str) -> Arc<RequestMetrics> {
        Arc::clone(self.requests.lock().entry((dialect, api)).or_default())
    }

    /// The counters of all APIs, ordered.
    pub fn requests(&self) -> Vec<((Dialect, &'static str), Arc<RequestMetrics>)> {
        self.requests.lock().iter().map(|(key, metrics)| (*key, Arc::clone(metrics))).collect()
    }

    /// Counts a connection while the guard lives.
    pub fn connection(&self, dialect: Dialect) -> ConnectionGuard {
        let open = Arc::clone(self.connections.lock().entry(dialect).or_default());
        open.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard { open }
    }

    /// Connections open now, per dialect.
    pub fn connections(&self) -> Vec<(Dialect, u64)> {
        let connections = self.connections.lock();
        connections.iter().map(|(key, open)| (*key, open.load(Ordering::Relaxed))).collect()
    }

    /// Counts a write or read that a quota refused or delayed.
    pub fn count_throttle(&self) {
        self.throttles.add(1);
    }

    /// Writes and reads that a quota refused or delayed.
    pub fn throttles(&self) -> u64 {
        self.throttles.get()
    }

    /// What was counted of all streams since the start, deleted ones included.
    pub fn all_streams(&self) -> &StreamMetrics {
        &self.all_streams
    }

    /// Counts what was written to a stream, by any dialect.
    pub(crate) fn count_written(&self, stream: &StreamMetrics, records: u64, bytes: u64) {
        self.all_streams.count_written(records, bytes);
        stream.count_written(records, bytes);
    }

    /// Counts the bytes that were read of a stream, by any dialect; not of the broker's own.
    pub fn count_read(&self, stream: &Stream, bytes: u64) {
        if !stream.name.is_internal() {
            self.all_streams.bytes_out.add(bytes);
            stream.metrics().bytes_out.add(bytes);
        }
    }

    /// Ends the minute under way if it is over. `streams` is only asked for then.
    pub(crate) fn look_at_minute(
        &self,
        now: Timestamp,
        streams: impl FnOnce() -> Vec<Arc<Stream>>,
    ) {
        let minute = now.as_seconds().div_euclid(60);
        let before = self.minute.lock().replace(minute);
        if before == Some(minute) {
            return;
        }
        for stream in streams() {
            // What was gathered before the first look is of a minute that had begun already.
            if before.is_some() {
                stream.metrics().end_minute();
            }
        }
        for (_, metrics) in self.requests() {
            metrics.latency.begin_minute();
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub struct ConnectionGuard {
    open: Arc<AtomicU64>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
