//! Batches on their way, and what becomes of their records.
//!
//! ```text
//!   OpenBatch  ── full, or old enough ──> Batch  ── sent, answered ──> Outcome
//!   records are added                     bytes as they travel         every Delivery learns of it
//! ```
//!
//! All records of a batch share one outcome; a [`Delivery`] is a place in it, so a record costs no
//! allocation of its own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use weir_model::batch::{BatchError, ProducerStamp, RecordBatch};
use weir_model::batch_builder::{BatchBuilder, BatchFull, BatchOptions};
use weir_model::compression::Codec;
use weir_model::limits::DecodeLimits;
use weir_model::record::{HeaderToWrite, RecordToWrite};
use weir_model::time::Moment;

use crate::error::Error;
use crate::record::{Place, WantedPlace};

/// What became of a batch.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Pending,
    /// It is kept.
    Kept {
        partition: u32,
        base_offset: u64,
        /// None where records keep the times that they were given.
        append_time_ms: Option<i64>,
    },
    /// Its partition was closed: each of its records is in another batch now.
    Moved(Arc<[Delivery]>),
    Failed(Error),
}

/// A record that was handed to a producer. Awaiting it tells where the record is kept, or why it is
/// not. Dropping it changes nothing: the record is sent all the same.
#[derive(Clone, Debug)]
pub struct Delivery {
    outcome: watch::Receiver<Outcome>,
    index: usize,
    timestamp_ms: i64,
}

impl Delivery {
    /// Of a record that cannot be sent.
    fn failed(error: Error) -> Delivery {
        let outcome = watch::Sender::new(Outcome::Failed(error)).subscribe();
        Delivery { outcome, index: 0, timestamp_ms: 0 }
    }

    async fn decided(mut self) -> Result<Place, Error> {
        loop {
            match decided(&mut self.outcome).await {
                Outcome::Pending => unreachable!("it was waited for what is not pending"),
                Outcome::Failed(error) => return Err(error),
                Outcome::Kept { partition, base_offset, append_time_ms } => {
                    let offset = base_offset + self.index as u64;
                    let timestamp_ms = append_time_ms.unwrap_or(self.timestamp_ms);
                    return Ok(Place { partition, offset, timestamp_ms });
                }
                Outcome::Moved(records) => {
                    let moved = records.get(self.index).cloned();
                    self = moved.ok_or_else(|| Error::Protocol("a record was lost".to_owned()))?;
                }
            }
        }
    }
}

impl IntoFuture for Delivery {
    type Output = Result<Place, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.decided())
    }
}

/// What became of a batch, once it is known.
pub(super) async fn decided(outcome: &mut watch::Receiver<Outcome>) -> Outcome {
    match outcome.wait_for(|outcome| !matches!(outcome, Outcome::Pending)).await {
        Ok(decided) => decided.clone(),
        // The producer's task decides all before it ends, unless its runtime ends before.
        Err(_) => Outcome::Failed(Error::Closed),
    }
}

/// A batch that takes records.
#[derive(Debug)]
pub(super) struct OpenBatch {
    builder: BatchBuilder,
    outcome: watch::Sender<Outcome>,
    began: Moment,
    /// Records that go elsewhere than their key says, by their index.
    placed: Vec<(usize, WantedPlace)>,
}

impl OpenBatch {
    pub(super) fn new(codec: Codec, capacity_bytes: usize, began: Moment) -> OpenBatch {
        let options = BatchOptions { codec, ..BatchOptions::default() };
        let builder = BatchBuilder::with_capacity(options, capacity_bytes);
        let outcome = watch::Sender::new(Outcome::Pending);
        OpenBatch { builder, outcome, began, placed: Vec::new() }
    }

    /// Adds a record. An error leaves the batch as it was.
    pub(super) fn add(
        &mut self,
        record: &RecordToWrite<'_>,
        place: &WantedPlace,
    ) -> Result<Delivery, BatchFull> {
        let index = usize::try_from(self.builder.record_count()).unwrap_or(0);
        self.builder.append(record)?;
        if *place != WantedPlace::ByKey {
            self.placed.push((index, place.clone()));
        }
        let timestamp_ms = record.timestamp.as_millis();
        Ok(Delivery { outcome: self.outcome.subscribe(), index, timestamp_ms })
    }

    pub(super) fn bytes(&self) -> usize {
        self.builder.batch_bytes()
    }

    pub(super) fn began(&self) -> Moment {
        self.began
    }

    pub(super) fn watch(&self) -> watch::Receiver<Outcome> {
        self.outcome.subscribe()
    }

    /// Ends it: no more records.
    pub(super) fn finish(self, number: u64) -> Batch {
        Batch {
            held_bytes: self.builder.batch_bytes(),
            records: Records::Unsent(self.builder),
            outcome: self.outcome,
            began: self.began,
            placed: self.placed,
            stamp: None,
            number,
        }
    }
}

/// A batch that takes no more records.
#[derive(Debug)]
pub(super) struct Batch {
    records: Records,
    outcome: watch::Sender<Outcome>,
    /// When its first record was handed over.
    pub(super) began: Moment,
    placed: Vec<(usize, WantedPlace)>,
    /// Under which number it is sent, once that is decided. While it holds, the broker keeps the
    /// batch once however often it is sent.
    pub(super) stamp: Option<ProducerStamp>,
    /// What it counts for in the producer's memory.
    pub(super) held_bytes: usize,
    /// Names the batch inside its producer.
    pub(super) number: u64,
}

#[derive(Debug)]
enum Records {
    Unsent(BatchBuilder),
    Encoded(RecordBatch),
    /// While one becomes the other.
    Nothing,
}

impl Batch {
    /// How many records it has.
    pub(super) fn record_count(&self) -> i32 {
        match &self.records {
            Records::Unsent(builder) => builder.record_count(),
            Records::Encoded(batch) => batch.header().record_count,
            Records::Nothing => 0,
        }
    }

    /// The bytes to be sent, under the stamp that was set.
    pub(super) fn encoded(&mut self) -> Bytes {
        let stamp = self.stamp;
        let batch = match std::mem::replace(&mut self.records, Records::Nothing) {
            Records::Unsent(mut builder) => {
                if let Some(stamp) = stamp {
                    builder.stamp(stamp);
                }
                builder.build()
            }
            Records::Encoded(batch) if batch.header().producer() == stamp => batch,
            Records::Encoded(batch) => stamp.map_or(batch.clone(), |stamp| batch.stamped(stamp)),
            Records::Nothing => unreachable!("it is put back below"),
        };
        let bytes = batch.bytes().clone();
        self.records = Records::Encoded(batch);
        bytes
    }

    /// Says what became of it. Who does not listen does not care.
    pub(super) fn decide(self, outcome: Outcome) {
        self.outcome.send_replace(outcome);
    }

    /// Hands each record, in its order, to `add`, which says where it is now; the batch then is
    /// decided by that.
    pub(super) fn move_records(
        mut self,
        mut add: impl FnMut(&RecordToWrite<'_>, &WantedPlace) -> Result<Delivery, Error>,
    ) {
        self.encoded();
        let Records::Encoded(batch) = &self.records else { return };
        let placed: BTreeMap<usize, WantedPlace> =
            std::mem::take(&mut self.placed).into_iter().collect();
        let moved =
            batch.records(&DecodeLimits::default()).map_err(unreadable).and_then(|records| {
                let mut deliveries = Vec::new();
                for (index, record) in records.enumerate() {
                    let record = record.map_err(unreadable)?;
                    let headers: Vec<_> = record.headers.iter().collect();
                    let headers: Vec<_> = headers
                        .iter()
                        .map(|header| HeaderToWrite {
                            key: &header.key,
                            value: header.value.as_deref(),
                        })
                        .collect();
                    let record = RecordToWrite {
                        timestamp: record.timestamp,
                        key: record.key.as_deref(),
                        value: record.value.as_deref(),
                        headers: &headers,
                    };
                    let place = placed.get(&index).unwrap_or(&WantedPlace::ByKey);
                    deliveries.push(add(&record, place).unwrap_or_else(Delivery::failed));
                }
                Ok(deliveries)
            });
        self.decide(moved.map_or_else(Outcome::Failed, |moved| Outcome::Moved(moved.into())));
    }
}

fn unreadable(error: BatchError) -> Error {
    Error::Protocol(format!("a batch of this producer's own: {error}"))
}
