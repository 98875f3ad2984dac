//! The log behind the groups: one partition that only the coordinator writes.
//!
//! Every append says where it expects the log to end (compare and append), so a second writer would
//! be noticed at once instead of being mixed in: one change fails and is said to have failed. (What
//! the other one wrote is read at the next start. A broker that shares its log with others will
//! have to give the groups up at this point, and read them again.) Appends may be on their way at
//! the same time; each expects the end that the ones before it will leave.
//!
//! When one fails, those behind it fail too, because they expected its records before theirs. The
//! expectation is then taken from the log again and a new *era* begins; failures of an older era
//! are the echo of the first and change nothing.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tracing::warn;
use weir_model::batch::RecordBatch;
use weir_model::batch_builder::{BatchBuilder, BatchFull, BatchOptions};
use weir_model::ids::PartitionId;
use weir_model::limits::{DecodeLimits, MIB};
use weir_model::offset::Offset;
use weir_model::record::{Record, RecordToWrite};
use weir_model::time::Timestamp;
use weir_storage::commit::{Append, CommitSet, Stamp, Ticket};
use weir_storage::error::{ReadError, SubmitError};
use weir_storage::log::Log;
use weir_storage::read_plan::{OversizedFirst, ReadRequest};
use weir_storage::watermarks::{Progress, Stopped};

use crate::group::records::KeyAndValue;

/// Bytes of the log that are read at a time while a coordinator loads.
const READ_BYTES: usize = 4 * MIB;

/// One partition of an internal stream, as its coordinator sees it.
#[derive(Debug)]
pub struct InternalLog {
    log: Arc<Log>,
    partition: PartitionId,
    progress: Arc<Progress>,
    /// A sync lock: held for a submit, never across an await.
    expected: Mutex<Expected>,
}

#[derive(Debug)]
struct Expected {
    end: Offset,
    era: u64,
}

/// An append on its way.
#[derive(Debug)]
pub struct Submitted {
    ticket: Result<Ticket, BatchFull>,
    era: u64,
}

impl InternalLog {
    /// The log of a partition that was declared before.
    pub fn new(log: Arc<Log>, partition: PartitionId) -> Result<InternalLog, ReadError> {
        let progress = log.progress(partition)?;
        let end = progress.watermarks().log_end;
        let expected = Mutex::new(Expected { end, era: 0 });
        Ok(InternalLog { log, partition, progress, expected })
    }

    /// Returns once the log can take more bytes.
    pub async fn wait_for_room(&self) {
        self.log.wait_for_room(self.partition).await;
    }

    /// Appends records as one batch. Where they stand comes from [`InternalLog::placed`].
    pub fn append(&self, records: &[KeyAndValue], now: Timestamp) -> Submitted {
        let batch = build(records, now);
        let mut expected = self.expected.lock();
        let ticket = batch.map(|batch| {
            let count = u64::from(batch.header().record_count.unsigned_abs());
            let append = Append {
                partition: self.partition,
                batch,
                stamp: Stamp::Keep,
                expect_end: Some(expected.end),
            };
            expected.end = expected.end.plus(count);
            self.log.submit(CommitSet::of(append))
        });
        Submitted { ticket, era: expected.era }
    }

    /// Where the log ends behind an append, as soon as its order is fixed.
    pub async fn placed(&self, submitted: Submitted) -> Result<Offset, SubmitError> {
        let Ok(mut ticket) = submitted.ticket else {
            warn!("a group's change is larger than a batch may be and was not logged");
            return Err(SubmitError::SetAborted);
        };
        let outcome = ticket.placed().await.pop().unwrap_or(Err(SubmitError::ShuttingDown));
        if let Err(error) = &outcome {
            self.begin_era_after(submitted.era, error);
        }
        outcome.map(|placed| placed.last_offset.next())
    }

    /// Returns once everything before `end` is kept.
    pub async fn settled(&self, end: Offset) -> Result<(), Stopped> {
        match end.number().checked_sub(1) {
            Some(last) => self.progress.wait_beyond(Offset::new(last)).await,
            None => Ok(()),
        }
    }

    /// Hands every record to `each`, in order, once all of them are kept. Returns the log's end.
    pub async fn read_all(&self, mut each: impl FnMut(&Record)) -> Result<Offset, ReadError> {
        let end = self.progress.watermarks().log_end;
        let stopped = |Stopped| ReadError::Io("the log stopped before it was read".to_owned());
        self.settled(end).await.map_err(stopped)?;
        let mut from = self.progress.watermarks().log_start;
        while from < end {
            let request = ReadRequest {
                partition: self.partition,
                from,
                bytes_max: READ_BYTES,
                oversized_first: OversizedFirst::Return,
            };
            let ranges = self.log.read(request)?.ranges().await?;
            if ranges.next_offset <= from {
                return Err(ReadError::Corrupt { at: from });
            }
            for extent in &ranges.extents {
                read_batches(extent.load().await?, from, &mut each)?;
            }
            from = ranges.next_offset;
        }
        Ok(end)
    }

    fn begin_era_after(&self, failed: u64, error: &SubmitError) {
        let mut expected = self.expected.lock();
        if expected.era != failed {
            return;
        }
        warn!(partition = %self.partition, ?error, "a change of a group was not logged");
        expected.era += 1;
        expected.end = self.progress.watermarks().log_end;
    }
}

fn build(records: &[KeyAndValue], now: Timestamp) -> Result<RecordBatch, BatchFull> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (key, value) in records {
        builder.append(&RecordToWrite {
            timestamp: now,
            key: Some(key),
            value: value.as_deref(),
            headers: &[],
        })?;
    }
    Ok(builder.build())
}

fn read_batches(
    mut bytes: Bytes,
    at: Offset,
    each: &mut impl FnMut(&Record),
) -> Result<(), ReadError> {
    while !bytes.is_empty() {
        let batch = RecordBatch::split_first(&mut bytes).map_err(|_| ReadError::Corrupt { at })?;
        let limits = DecodeLimits::default();
        let records = batch.records(&limits).map_err(|_| ReadError::Corrupt { at })?;
        for record in records {
            each(&record.map_err(|_| ReadError::Corrupt { at })?);
        }
    }
    Ok(())
}
