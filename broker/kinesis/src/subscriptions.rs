//! Who is subscribed to which shard: one subscription for each consumer and shard.
//!
//! ```text
//!   success ── 5 s: refused as in use ── then: taken over by the next who asks
//! ```
//!
//! A row outlives its subscription for those five seconds, and until others are made. With it lives
//! the bucket of the consumer's own 2 MiB a second from the shard, so that to subscribe again does
//! not fill it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use weir_core::quota::bucket::TokenBucket;
use weir_core::quota::limits::READ_BYTES_PER_SECOND;
use weir_core::stream::consumers::ConsumerId;
use weir_model::ids::{PartitionIndex, StreamId, StreamName};
use weir_model::time::Moment;

use crate::errors::KinesisError;
use crate::shard::ShardId;

/// How long after a success the same subscription is refused.
const IN_USE_TIME: Duration = Duration::from_secs(5);
/// Calls a second for one consumer and shard.
const CALLS_PER_SECOND: f64 = 1.0;
/// Most subscriptions of a server at once; each may hold an event that nobody takes.
const SUBSCRIPTIONS_MAX: usize = 1_024;
/// Rows that are kept before those that mean nothing any more are looked for.
const ROWS_MIN: usize = 256;

/// Whose records of which shard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SubscriptionKey {
    pub(crate) stream: StreamId,
    pub(crate) consumer: ConsumerId,
    pub(crate) shard: PartitionIndex,
}

type RowKey = (StreamId, String, Option<i64>, PartitionIndex);

impl SubscriptionKey {
    fn row(&self) -> RowKey {
        let ConsumerId { name, created_s } = &self.consumer;
        (self.stream, name.clone(), *created_s, self.shard)
    }
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There was a success less than five seconds ago.
    InUse,
    /// More than one call a second.
    TooOften,
    /// The server has as many as it may have.
    TooMany,
}

impl Refusal {
    /// The sentences are ours: AWS's were not recorded.
    pub(crate) fn error(
        self,
        shard: ShardId,
        consumer: &str,
        stream: &StreamName,
        account: &str,
    ) -> KinesisError {
        let whose = format!(
            "consumer {consumer} and shard {shard} in stream {stream} under account {account}"
        );
        match self {
            Refusal::InUse => KinesisError::resource_in_use(format!(
                "Another active subscription exists for {whose}."
            )),
            Refusal::TooOften => {
                KinesisError::limit_exceeded(format!("Rate exceeded for {whose}."))
            }
            Refusal::TooMany => KinesisError::limit_exceeded(format!(
                "This server has {SUBSCRIPTIONS_MAX} subscriptions, which is the most, and none \
                 is left for {whose}."
            )),
        }
    }
}

/// All subscriptions of a server.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    rows: Mutex<HashMap<RowKey, Row>>,
    /// One reference for each that is held, taken over or not: an answer that nobody reads does not
    /// notice its end.
    held: Arc<()>,
}

#[derive(Debug)]
struct Row {
    /// When a subscription was begun last; none if all calls were refused.
    begun: Option<Moment>,
    calls: TokenBucket,
    bytes: Arc<Mutex<Option<TokenBucket>>>,
    /// Counts the subscriptions; each ends when it is not the last any more.
    latest: watch::Sender<u64>,
}

impl Row {
    fn is_in_use(&self, now: Moment) -> bool {
        self.begun.is_some_and(|begun| now.since(begun) < IN_USE_TIME)
    }

    /// Whether somebody reads by it.
    fn is_live(&self) -> bool {
        self.latest.receiver_count() > 0
    }
}

impl Subscriptions {
    /// Begins a subscription, and ends the one before it. `factor` is the multiple of AWS's quotas;
    /// none: no quotas.
    pub(crate) fn begin(
        &self,
        key: SubscriptionKey,
        factor: Option<f64>,
        now: Moment,
    ) -> Result<Held, Refusal> {
        let mut rows = self.rows.lock();
        if rows.len() >= ROWS_MIN {
            rows.retain(|_, row| row.is_live() || row.is_in_use(now));
        }
        let row = rows.entry(key.row()).or_insert_with(|| Row {
            begun: None,
            calls: TokenBucket::new(CALLS_PER_SECOND, now),
            bytes: Arc::default(),
            latest: watch::Sender::new(0),
        });
        if row.is_in_use(now) {
            return Err(Refusal::InUse);
        }
        if factor.is_some() {
            if !row.calls.admits(now) {
                return Err(Refusal::TooOften);
            }
            row.calls.charge(1.0);
        }
        if Arc::strong_count(&self.held) > SUBSCRIPTIONS_MAX {
            return Err(Refusal::TooMany);
        }
        row.begun = Some(now);
        let per_second = factor.map(|factor| factor * READ_BYTES_PER_SECOND);
        let mut bytes = row.bytes.lock();
        *bytes = per_second.map(|per_second| match *bytes {
            Some(mut bucket) => {
                bucket.resize(per_second, per_second, now);
                bucket
            }
            None => TokenBucket::new(per_second, now),
        });
        drop(bytes);
        row.latest.send_modify(|latest| *latest += 1);
        let mut latest = row.latest.subscribe();
        let number = *latest.borrow_and_update();
        let bytes = Arc::clone(&row.bytes);
        Ok(Held { number, latest, bytes, _counted: Arc::clone(&self.held) })
    }
}

/// One subscription's place among them.
#[derive(Debug)]
pub(crate) struct Held {
    number: u64,
    latest: watch::Receiver<u64>,
    bytes: Arc<Mutex<Option<TokenBucket>>>,
    _counted: Arc<()>,
}

impl Held {
    /// Whether another one has taken over.
    pub(crate) fn is_taken_over(&self) -> bool {
        *self.latest.borrow() != self.number
    }

    /// Returns when another one takes over.
    pub(crate) async fn taken_over(&mut self) {
        let number = self.number;
        if self.latest.wait_for(|latest| *latest != number).await.is_err() {
            // The row lives as long as we read by it.
            std::future::pending::<()>().await;
        }
    }

    /// How long until the consumer may have more of the shard.
    pub(crate) fn wait(&self, now: Moment) -> Duration {
        self.bytes.lock().as_mut().map_or(Duration::ZERO, |bucket| bucket.wait(now))
    }

    /// Charges what it was given.
    pub(crate) fn charge(&self, bytes: usize) {
        if let Some(bucket) = self.bytes.lock().as_mut() {
            bucket.charge(bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SubscriptionKey {
        SubscriptionKey {
            stream: StreamId::from_bytes([1; 16]),
            consumer: ConsumerId { name: name.to_owned(), created_s: Some(1) },
            shard: PartitionIndex::ZERO,
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_subscription_is_in_use_for_five_seconds_and_then_taken_over() {
        let all = Subscriptions::default();
        let first = all.begin(key("a"), Some(1.0), at(0)).expect("the first");
        assert_eq!(all.begin(key("a"), Some(1.0), at(4_999)).err(), Some(Refusal::InUse));
        all.begin(key("b"), Some(1.0), at(1)).expect("another consumer");
        assert!(!first.is_taken_over());
        let second = all.begin(key("a"), Some(1.0), at(5_000)).expect("five seconds later");
        assert!(first.is_taken_over() && !second.is_taken_over());
        drop((first, second));
        let again = all.begin(key("a"), None, at(9_999)).err();
        assert_eq!(again, Some(Refusal::InUse), "though nobody reads by it");
    }

    #[test]
    fn what_was_read_counts_for_the_next_subscription_too() {
        let all = Subscriptions::default();
        let first = all.begin(key("a"), Some(1.0), at(0)).expect("the first");
        first.charge(20 << 20);
        let second = all.begin(key("a"), Some(1.0), at(5_000)).expect("five seconds later");
        assert!(second.wait(at(5_000)) > Duration::from_secs(3));
        let third = all.begin(key("a"), None, at(10_000)).expect("five seconds later");
        assert_eq!(third.wait(at(10_000)), Duration::ZERO, "without quotas");
    }

    #[test]
    fn there_are_so_many_at_once_and_no_rows_are_left_behind() {
        let all = Subscriptions::default();
        let begin = |number: usize, at| all.begin(key(&number.to_string()), None, at);
        let held: Vec<_> = (0..SUBSCRIPTIONS_MAX).map(|number| begin(number, at(0))).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(begin(SUBSCRIPTIONS_MAX, at(0)).err(), Some(Refusal::TooMany));
        drop(held);
        begin(SUBSCRIPTIONS_MAX, at(5_000)).expect("there is room again");
        assert!(all.rows.lock().len() <= 2);
    }
}
