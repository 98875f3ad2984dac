//! Writes records to a stream: in batches, in the background, each kept once.
//!
//! ```text
//!   send ──> accumulator            ──> sender (a task)            ──> broker
//!            routed, encoded,           batches of a partition in      the batch is appended
//!            counted against memory     their order, sent again        as it came
//!            until it is decided        where the answer was lost
//! ```
//!
//! What holds:
//!
//! - A record whose [`Delivery`] says where it is, is kept as its stream's flush policy promises.
//! - A batch is kept once, however often it had to be sent: each carries a number that the broker
//!   remembers. The one exception is told as an error: a batch that was given up after
//!   [`ProducerOptions::delivery_time_max`] without an answer may have been kept.
//! - Records of one key that were sent one after the other are kept in that order, through lost
//!   connections and refusals, and over splits and merges of their partition.
//! - Memory is bounded: when [`ProducerOptions::memory_bytes_max`] wait or are on their way,
//!   [`Producer::send`] waits.

mod accumulator;
mod batch;
mod broker;
mod layout;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
pub use weir_model::compression::Codec;
use weir_model::record::{HeaderToWrite, RecordToWrite};
use weir_model::time::{Clock, Timestamp};

use crate::error::Error;
use crate::producer::accumulator::{Accumulator, Added, Limits};
pub use crate::producer::batch::Delivery;
use crate::producer::batch::Outcome;
pub(crate) use crate::producer::broker::Broker;
use crate::producer::sender::Sender;
use crate::record::NewRecord;

/// How a producer works.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// The stream that it writes to.
    pub stream: String,
    /// How batches are compressed; not at all by default.
    pub codec: Codec,
    /// How long a record may wait for others to share its batch; 5 ms by default.
    pub linger: Duration,
    /// A batch that has this many bytes is sent at once; 256 KiB by default. A record that is
    /// larger has a batch of its own.
    pub batch_bytes_max: usize,
    /// What may wait and be on its way, together; 32 MiB by default.
    pub memory_bytes_max: usize,
    /// How long is tried to deliver a record before it fails; 2 minutes by default.
    pub delivery_time_max: Duration,
}

impl ProducerOptions {
    /// The defaults, for a stream.
    pub fn new(stream: impl Into<String>) -> ProducerOptions {
        ProducerOptions {
            stream: stream.into(),
            codec: Codec::None,
            linger: Duration::from_millis(5),
            batch_bytes_max: 256 * 1024,
            memory_bytes_max: 32 * 1024 * 1024,
            delivery_time_max: Duration::from_secs(120),
        }
    }
}

/// Writes records to a stream; the module says what holds. Cheap to clone; clones share batches and
/// memory. When the last one is dropped, what waits is still sent, as long as the runtime runs;
/// [`Producer::close`] waits for it.
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the producer and its sender share.
#[derive(Debug)]
struct Shared {
    /// Not an async lock: it is held while a record is copied, never while something is waited for.
    accumulator: Mutex<Accumulator>,
    /// Tells the sender to look.
    ready: Notify,
    /// Tells who waits for room.
    freed: Notify,
    is_closed: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.ready.notify_one();
        self.freed.notify_waiters();
    }
}

impl Producer {
    pub(crate) async fn begin(broker: Broker, options: ProducerOptions) -> Result<Producer, Error> {
        let layout = broker.layout(&options.stream).await?;
        let limits = Limits {
            codec: options.codec,
            batch_bytes_max: options.batch_bytes_max,
            memory_bytes_max: options.memory_bytes_max,
            linger: options.linger,
        };
        let shared = Arc::new(Shared {
            accumulator: Mutex::new(Accumulator::new(limits, layout)),
            ready: Notify::new(),
            freed: Notify::new(),
            is_closed: AtomicBool::new(false),
            clock: Arc::clone(broker.clock()),
        });
        let sender = Sender::new(broker, Arc::clone(&shared), options);
        let task = Mutex::new(Some(tokio::spawn(sender.run())));
        Ok(Producer { handle: Arc::new(Handle { shared, task }) })
    }

    /// Hands a record over. Returns when there is room for it, which is at once unless the memory
    /// is full; the [`Delivery`] then says what becomes of it.
    ///
    /// Cancellation-safe: a call that is dropped has not handed over the record.
    pub async fn send(&self, record: NewRecord) -> Result<Delivery, Error> {
        let shared = &self.handle.shared;
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| HeaderToWrite { key: name.as_bytes(), value: value.as_deref() })
            .collect();
        let timestamp = record.timestamp_ms.map(Timestamp::from_millis);
        let record_to_write = RecordToWrite {
            timestamp: timestamp.unwrap_or_else(|| shared.clock.now()),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        loop {
            // From here on, so that what is freed while we look is not missed.
            let freed = shared.freed.notified();
            if shared.is_closed.load(Ordering::Acquire) {
                return Err(Error::Closed);
            }
            let now = shared.clock.real_moment();
            let added = shared.accumulator.lock().add(&record_to_write, &record.place, now)?;
            match added {
                Added::Waits { delivery, wakes_sender } => {
                    if wakes_sender {
                        shared.ready.notify_one();
                    }
                    return Ok(delivery);
                }
                Added::NoRoom => freed.await,
            }
        }
    }

    /// Sends what waits without waiting for more, and returns when all that was handed over before
    /// is kept. The first failure, if there was one.
    pub async fn flush(&self) -> Result<(), Error> {
        let shared = &self.handle.shared;
        let mut undecided = shared.accumulator.lock().finish_all();
        shared.ready.notify_one();
        let mut result = Ok(());
        while let Some(mut outcome) = undecided.pop() {
            match batch::decided(&mut outcome).await {
                Outcome::Failed(error) => result = Err(error),
                Outcome::Moved(records) => {
                    for record in records.iter() {
                        result = record.clone().await.map(|_| ()).and(result);
                    }
                }
                Outcome::Kept { .. } | Outcome::Pending => {}
            }
        }
        result
    }

    /// Flushes, and ends the producer and all of its clones.
    pub async fn close(self) -> Result<(), Error> {
        let flushed = self.flush().await;
        self.handle.shared.close();
        let task = self.handle.task.lock().take();
        if let Some(task) = task {
            // It ends by itself, and a panic ends the process.
            let _ = task.await;
        }
        flushed
    }
}
