//! Deleting records before their time: the log start moves because somebody asked.
//!
//! What lies below it is gone for readers of every dialect at once, and for good: the new start is
//! durable before the answer. Files go when they lie wholly below it.

use std::sync::Arc;

use weir_model::offset::Offset;
use weir_storage::error::ReadError as LogError;

use crate::broker::Broker;
use crate::carried_out::carried_out;
use crate::error::DeleteRecordsError;
use crate::partition::partition::Partition;
use crate::stream::stream::Stream;

/// Which records of one partition to delete.
#[derive(Clone, Debug)]
pub struct RecordDeletion {
    /// Its stream.
    pub stream: Arc<Stream>,
    /// The partition.
    pub partition: Arc<Partition>,
    /// The first offset to keep.
    pub before: DeleteBefore,
}

/// The first offset to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteBefore {
    /// This one.
    Offset(Offset),
    /// The first that readers cannot see yet: everything goes.
    HighWatermark,
}

impl Broker {
    /// Deletes records; returns the log start of each partition, in the order given. One that is
    /// past the offset already stays where it is. Each is judged on its own, and all that may are
    /// done with one metadata commit; once begun it is carried out, whether the caller waits or
    /// not.
    pub async fn delete_records(
        &self,
        deletions: &[RecordDeletion],
    ) -> Vec<Result<Offset, DeleteRecordsError>> {
        let judged: Vec<_> = deletions.iter().map(judge).collect();
        let cut = |(deletion, judged): (&RecordDeletion, &Result<Offset, _>)| {
            judged.as_ref().ok().map(|before| (deletion.partition.id, *before))
        };
        let cuts: Vec<_> = deletions.iter().zip(&judged).filter_map(cut).collect();
        let log = Arc::clone(self.log());
        let mut trimmed = carried_out(async move { log.trim(&cuts).await }).await.into_iter();
        let result_of = |judged: Result<Offset, DeleteRecordsError>| {
            judged?;
            let log_start = trimmed.next().expect("one result for each cut");
            log_start.map_err(|error| match error {
                LogError::UnknownPartition => DeleteRecordsError::UnknownPartition,
                other => DeleteRecordsError::Storage(other.into()),
            })
        };
        judged.into_iter().map(result_of).collect()
    }
}

/// The first offset to keep, if the deletion may be done.
fn judge(deletion: &RecordDeletion) -> Result<Offset, DeleteRecordsError> {
    let RecordDeletion { stream, partition, before } = deletion;
    if stream.is_deleted() {
        return Err(DeleteRecordsError::UnknownPartition);
    }
    if stream.name.is_internal() {
        return Err(DeleteRecordsError::Internal);
    }
    if !stream.config().deletes {
        return Err(DeleteRecordsError::CompactedOnly);
    }
    let high_watermark = partition.watermarks().high_watermark;
    match *before {
        DeleteBefore::HighWatermark => Ok(high_watermark),
        DeleteBefore::Offset(offset) if offset <= high_watermark => Ok(offset),
        DeleteBefore::Offset(_) => Err(DeleteRecordsError::OutOfRange { high_watermark }),
    }
}
