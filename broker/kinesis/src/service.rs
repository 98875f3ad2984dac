//! The dialect as one object: the broker it serves, its limits, and its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::Semaphore;
use tracing::warn;
use weir_core::broker::Broker;
use weir_core::metrics::{Dialect, RequestMetrics};
use weir_model::time::Timestamp;

use crate::action::{ACTIONS, Action, Call};

/// Bytes of records in replies that may be in memory at once; further GetRecords wait.
pub(crate) const REPLY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// At most one log line about refused writes and reads in this time, in ms.
const THROTTLE_LOG_INTERVAL_MS: i64 = 1_000;

/// What the dialect is told when it starts.
#[derive(Clone, Debug)]
pub struct KinesisOptions {
    /// The region in ARNs, where a request's signature names none.
    pub region: String,
    /// Most open shards of the account that CreateStream may lead to; AWS's figure for its largest
    /// regions.
    pub shard_limit: u32,
    /// Most on-demand streams of the account.
    pub on_demand_stream_limit: u32,
}

impl Default for KinesisOptions {
    fn default() -> KinesisOptions {
        KinesisOptions {
            region: "us-east-1".to_owned(),
            shard_limit: 20_000,
            on_demand_stream_limit: 50,
        }
    }
}

/// The Kinesis Data Streams API over one broker.
#[derive(Debug)]
pub struct KinesisService {
    broker: Arc<Broker>,
    options: KinesisOptions,
    /// In the order of [`ACTIONS`].
    metrics: Vec<Arc<RequestMetrics>>,
    pub(crate) reply_bytes: Arc<Semaphore>,
    throttle_log: ThrottleLog,
}

impl KinesisService {
    /// Serves this broker.
    pub fn new(broker: Arc<Broker>, options: KinesisOptions) -> KinesisService {
        let metrics = ACTIONS
            .iter()
            .map(|action| broker.metrics().request(Dialect::Kinesis, action.name))
            .collect();
        KinesisService {
            broker,
            options,
            metrics,
            reply_bytes: Arc::new(Semaphore::new(REPLY_BYTES_MAX)),
            throttle_log: ThrottleLog::default(),
        }
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(crate) fn options(&self) -> &KinesisOptions {
        &self.options
    }

    /// The operation of this name, with its counters.
    pub(crate) fn action(&self, name: &str) -> Option<(&'static Action, &RequestMetrics)> {
        let mut actions = ACTIONS.iter().zip(&self.metrics);
        let (action, metrics) = actions.find(|(action, _)| action.name == name)?;
        Some((action, metrics))
    }

    /// Says in the log that a shard's quota refused something, at most once a second: a client that
    /// is over its quota is so a thousand times a second.
    pub(crate) fn log_throttle(&self, call: &Call<'_>, why: &str) {
        if let Some(unsaid) = self.throttle_log.admit(call.now()) {
            warn!(peer = %call.peer, why, unsaid, "kinesis quota refused records");
        }
    }
}

/// Lets one line through per interval and counts the others.
#[derive(Debug, Default)]
struct ThrottleLog {
    last_ms: AtomicI64,
    unsaid: AtomicU64,
}

impl ThrottleLog {
    /// How many lines were held back since the last one, if one may be written now.
    fn admit(&self, now: Timestamp) -> Option<u64> {
        let last = self.last_ms.load(Ordering::Relaxed);
        let due = now.as_millis().saturating_sub(last) >= THROTTLE_LOG_INTERVAL_MS;
        // Of two that find it due at once, the exchange picks one.
        let won = due
            && self
                .last_ms
                .compare_exchange(last, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if won {
            Some(self.unsaid.swap(0, Ordering::Relaxed))
        } else {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_logged_once_a_second() {
        let log = ThrottleLog::default();
        let at = |millis: i64| Timestamp::from_millis(1_700_000_000_000 + millis);
        assert_eq!(log.admit(at(0)), Some(0));
        assert_eq!(log.admit(at(1)), None);
        assert_eq!(log.admit(at(999)), None);
        assert_eq!(log.admit(at(1000)), Some(2));
    }
}
