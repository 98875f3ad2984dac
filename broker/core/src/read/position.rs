//! From "where from?" to an offset: earliest, latest, a time, or a place in an earlier epoch.

use weir_model::ids::LogEpoch;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;
use weir_storage::log::{EpochEnd, Lookup};
use weir_storage::watermarks::Watermarks;

use crate::broker::Broker;
use crate::error::ReadError;
use crate::partition::partition::Partition;

/// A position that is not an offset yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The first record there is.
    Earliest,
    /// After the last record there is, once that is kept: whoever was answered reads its own write.
    Latest,
    /// The first record with at least this timestamp.
    AtTime(Timestamp),
    /// The first record with the largest timestamp.
    LargestTimestamp,
}

/// Where a [`StartAt`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; none if no record is as asked.
    pub offset: Option<Offset>,
    /// The record's timestamp, where a record was searched for.
    pub timestamp: Option<Timestamp>,
    /// The log epoch of that place.
    pub epoch: LogEpoch,
}

/// A remembered place, as a Kinesis sequence number holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedPlace {
    /// The log epoch in which the record was written.
    pub epoch: LogEpoch,
    /// Its offset then.
    pub offset: Offset,
}

impl Broker {
    /// Finds an offset.
    pub async fn find_offset(
        &self,
        partition: &Partition,
        at: StartAt,
    ) -> Result<FoundOffset, ReadError> {
        let place = |offset, epoch| FoundOffset { offset: Some(offset), timestamp: None, epoch };
        let lookup = match at {
            StartAt::Earliest => {
                let log_start = partition.watermarks().log_start;
                return Ok(place(log_start, self.log().epoch_at(partition.id, log_start)?));
            }
            StartAt::Latest => {
                return Ok(place(self.kept_end(partition).await?, self.log().epoch()));
            }
            StartAt::AtTime(time) => Lookup::AtTime(time),
            StartAt::LargestTimestamp => Lookup::LargestTimestamp,
        };
        // Records that are written but not yet kept are found too, once they are.
        self.kept_end(partition).await?;
        let found = self.log().lookup(partition.id, lookup).await?;
        Ok(FoundOffset {
            offset: found.map(|record| record.offset),
            timestamp: found.map(|record| record.timestamp),
            epoch: found.map_or(self.log().epoch(), |record| record.epoch),
        })
    }

    /// Where the records of an epoch end, for readers who make sure that what they have read was
    /// not lost with a power cut (KIP-320). Names the highest epoch at or below the one asked for
    /// that wrote to the partition; none for an epoch that the broker has not reached.
    pub async fn epoch_end(
        &self,
        partition: &Partition,
        epoch: LogEpoch,
    ) -> Result<Option<EpochEnd>, ReadError> {
        let Some(written) = self.written_epoch_end(partition, epoch)? else {
            return Ok(None);
        };
        let kept = self.kept_end(partition).await?;
        Ok(Some(EpochEnd { end: written.end.min(kept), ..written }))
    }

    /// [`Broker::epoch_end`], with records that are not kept yet. The epoch of now counts as having
    /// written to every partition, as in Kafka, where an epoch begins when a leader takes over.
    pub(crate) fn written_epoch_end(
        &self,
        partition: &Partition,
        epoch: LogEpoch,
    ) -> Result<Option<EpochEnd>, ReadError> {
        let now = self.log().epoch();
        let Watermarks { log_start, log_end, .. } = partition.watermarks();
        if epoch >= now {
            return Ok(Some(EpochEnd { epoch, end: log_end }).filter(|_| epoch == now));
        }
        Ok(Some(match self.log().epoch_end(partition.id, epoch)? {
            Some(found) => EpochEnd { end: found.end.max(log_start), ..found },
            // Nothing that old was written here, or it has been removed since.
            None => EpochEnd { epoch, end: log_start },
        }))
    }

    /// The high watermark once it covers the log end of this moment.
    async fn kept_end(&self, partition: &Partition) -> Result<Offset, ReadError> {
        let marks = partition.watermarks();
        if marks.high_watermark < marks.log_end {
            let last = Offset::new(marks.log_end.number().saturating_sub(1));
            // A stopped partition serves what it kept before; its end is where it stopped.
            let _stopped_or_kept = partition.progress().wait_beyond(last).await;
        }
        Ok(partition.watermarks().high_watermark)
    }

    /// Where reading goes on from a remembered place (design.md §5). A place below the log start is
    /// the oldest record; one that its epoch really wrote is itself; one that was lost with a power
    /// cut is the first record after the loss.
    pub fn resolve(
        &self,
        partition: &Partition,
        place: RememberedPlace,
    ) -> Result<Resolved, ReadError> {
        let log_start = partition.watermarks().log_start;
        if place.offset < log_start {
            return Ok(Resolved::Lost { next: log_start });
        }
        if place.epoch == self.log().epoch() {
            return Ok(Resolved::Exact(place.offset));
        }
        match self.log().epoch_end(partition.id, place.epoch)? {
            Some(epoch) if place.offset < epoch.end => Ok(Resolved::Exact(place.offset)),
            Some(epoch) => Ok(Resolved::Lost { next: epoch.end }),
            None => Ok(Resolved::Lost { next: log_start }),
        }
    }
}

/// What became of a remembered place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The record, or the place where it will be written, still has this offset.
    Exact(Offset),
    /// The record is gone; this is the first one after it.
    Lost {
        /// The offset to go on from.
        next: Offset,
    },
}
