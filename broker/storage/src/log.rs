//! The log: every partition of the broker behind one value. See [`Log::submit`] and [`Log::read`].
//!
//! The two arms are an enum, not a trait object: the set is closed, and a plain call path from
//! socket to segment is worth more than a plug-in point.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use weir_model::histogram::Durations;
use weir_model::ids::{LogEpoch, PartitionId};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::commit::{CommitSet, Ticket};
use crate::config::LogConfig;
use crate::disk::Space;
use crate::error::{MetaError, ReadError, SubmitError};
use crate::inspect::{
    BatchBytes, BatchPage, BatchPlace, IndexKind, IndexPage, IndexState, SegmentView, WantedBatch,
};
use crate::local::LocalLog;
use crate::local::partition::Partition;
use crate::memory::MemoryLog;
use crate::producer_state::ActiveProducer;
use crate::read_plan::{ReadPlan, ReadRequest};
use crate::watermarks::Progress;

/// Every partition's log.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum Log {
    /// Segment files on a disk of this machine.
    Local(LocalLog),
    /// Everything in memory, committed later and atomically.
    Memory(MemoryLog),
}

/// What an arm can do beyond the contract that all share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A [`CommitSet`] over several partitions is made whole or not at all.
    pub atomic_sets: bool,
}

/// A record searched by time rather than by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The first record with at least this timestamp.
    AtTime(Timestamp),
    /// The first record with the partition's largest timestamp.
    LargestTimestamp,
}

/// A record that a [`Lookup`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The log epoch it was written in.
    pub epoch: LogEpoch,
}

/// Where the records of an epoch end in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The highest epoch at or below the one asked for that wrote to the partition.
    pub epoch: LogEpoch,
    /// The first offset of the next epoch; the log end if there is none yet.
    pub end: Offset,
}

/// Numbers for metrics and descriptions of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Bytes of record batches held.
    pub bytes: u64,
    /// Segments held.
    pub segments: u64,
}

/// Numbers for metrics of the whole log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Bytes appended and not flushed yet.
    pub unflushed_bytes: u64,
    /// Flushes made since start, by how long they took.
    pub flushes: Durations,
    /// Longest of them, in microseconds.
    pub flush_micros_max: u64,
    /// Waits open on watermarks.
    pub waiters: u64,
}

/// A flush that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// What was flushed.
    pub partition: PartitionId,
    /// When it ended.
    pub time: Timestamp,
    /// Bytes of batches that it made last.
    pub bytes: u64,
    /// The time that it took.
    pub took: Duration,
}

/// What was found when the log was opened after an unclean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The epoch that this run has.
    pub epoch: u32,
    /// Partitions that there are.
    pub partitions: u64,
    /// Those whose logs are damaged.
    pub damaged: u64,
    /// Records in all of them.
    pub records: u64,
}

impl Log {
    /// Makes a partition known. Costs no I/O: files appear at its first append, or when it is
    /// [prepared](Log::prepare). Declaring a partition again only changes its settings.
    pub fn declare(&self, partition: PartitionId, config: LogConfig) {
        match self {
            Log::Local(log) => log.declare(partition, config),
            Log::Memory(log) => log.declare(partition, config),
        }
    }

    /// Has the flusher make the first file of a declared partition, and sync its names, while the
    /// caller does something else. Nothing depends on it: where it fails or is left out, the first
    /// append does the same.
    pub fn prepare(&self, partition: PartitionId) {
        match self {
            Log::Local(log) => log.prepare(partition),
            Log::Memory(_) => {}
        }
    }

    /// Removes partitions and their records. Their waits end, their readers finish.
    pub async fn delete(&self, partitions: &[PartitionId]) -> Result<(), MetaError> {
        match self {
            Log::Local(log) => log.delete(partitions).await,
            Log::Memory(log) => {
                log.delete(partitions);
                Ok(())
            }
        }
    }

    /// Hands batches to the log. Offsets, duplicates and errors come from the ticket. The caller
    /// has checked the batches and waited for [`Log::wait_for_room`].
    pub fn submit(&self, set: CommitSet) -> Ticket {
        match self {
            Log::Local(log) => log.submit(&set),
            Log::Memory(log) => log.submit(set),
        }
    }

    /// Returns once the partition's and the broker's unflushed bytes are below their limits.
    pub async fn wait_for_room(&self, partition: PartitionId) {
        match self {
            Log::Local(log) => log.wait_for_room(partition).await,
            Log::Memory(_) => {}
        }
    }

    /// Returns once everything that the partition holds now is flushed, whatever its policy.
    pub async fn flush(&self, partition: PartitionId) -> Result<(), SubmitError> {
        match self {
            Log::Local(log) => log.flush(partition).await,
            Log::Memory(log) => match log.progress(partition) {
                Ok(_) => Ok(()),
                Err(_) => Err(SubmitError::UnknownPartition),
            },
        }
    }

    /// Ends a partition: no new batch is taken from now on, and what is returned is one past the
    /// last offset that it will ever have, if it stays sealed. What was appended before is in front
    /// of it and may not be flushed yet. Sealing is not remembered across a restart; whoever knows
    /// that a partition has ended seals it again.
    pub fn seal(&self, partition: PartitionId) -> Result<Offset, SubmitError> {
        match self {
            Log::Local(log) => log.set_sealed(partition, true),
            Log::Memory(log) => log.set_sealed(partition, true),
        }
    }

    /// Takes a seal back: the partition goes on from where it was.
    pub fn unseal(&self, partition: PartitionId) -> Result<(), SubmitError> {
        match self {
            Log::Local(log) => log.set_sealed(partition, false).map(drop),
            Log::Memory(log) => log.set_sealed(partition, false).map(drop),
        }
    }

    /// Whether a partition is sealed; false if there is none.
    pub fn is_sealed(&self, partition: PartitionId) -> bool {
        match self {
            Log::Local(log) => log.is_sealed(partition),
            Log::Memory(log) => log.is_sealed(partition),
        }
    }

    /// Plans a read of whole batches below the high watermark. An offset between the high watermark
    /// and the log end gives empty ranges; one outside the log is [`ReadError::OutOfRange`].
    pub fn read(&self, request: ReadRequest) -> Result<ReadPlan, ReadError> {
        match self {
            Log::Local(log) => log.read(request),
            Log::Memory(log) => log.read(request).map(ReadPlan::Now),
        }
    }

    /// The partition's published positions, to look at and to wait on.
    pub fn progress(&self, partition: PartitionId) -> Result<Arc<Progress>, ReadError> {
        match self {
            Log::Local(log) => log.progress(partition),
            Log::Memory(log) => log.progress(partition),
        }
    }

    /// Searches a record by time, below the high watermark. None if there is no such record.
    pub async fn lookup(
        &self,
        partition: PartitionId,
        lookup: Lookup,
    ) -> Result<Option<FoundRecord>, ReadError> {
        match self {
            Log::Local(log) => log.lookup(partition, lookup).await,
            Log::Memory(log) => log.lookup(partition, lookup),
        }
    }

    /// The epoch that batches get now.
    pub fn epoch(&self) -> LogEpoch {
        match self {
            Log::Local(log) => log.epoch(),
            Log::Memory(_) => LogEpoch::ZERO,
        }
    }

    /// Where an epoch ends in a partition; none if nothing that old was ever written there.
    pub fn epoch_end(
        &self,
        partition: PartitionId,
        epoch: LogEpoch,
    ) -> Result<Option<EpochEnd>, ReadError> {
        match self {
            Log::Local(log) => log.epoch_end(partition, epoch),
            Log::Memory(log) => log.epoch_end(partition, epoch),
        }
    }

    /// The epoch in which the record at an offset was written, or will be.
    pub fn epoch_at(&self, partition: PartitionId, offset: Offset) -> Result<LogEpoch, ReadError> {
        match self {
            Log::Local(log) => log.epoch_at(partition, offset),
            Log::Memory(log) => log.progress(partition).map(|_| LogEpoch::ZERO),
        }
    }

    /// Moves log starts forward, durably, each to its offset or to the high watermark if that is
    /// lower, with one metadata commit for all; returns the log starts, in the order given. Records
    /// below them are gone for readers at once.
    pub async fn trim(&self, cuts: &[(PartitionId, Offset)]) -> Vec<Result<Offset, ReadError>> {
        match self {
            Log::Local(log) => log.trim(cuts).await,
            Log::Memory(log) => log.trim(cuts),
        }
    }

    /// Rolls and removes what is due by time or size. Called about once a second.
    pub async fn housekeep(&self) {
        match self {
            Log::Local(log) => log.housekeep().await,
            Log::Memory(_) => {}
        }
    }

    /// The partition's size.
    pub fn size(&self, partition: PartitionId) -> Result<LogSize, ReadError> {
        match self {
            Log::Local(log) => log.size(partition),
            Log::Memory(log) => log.size(partition),
        }
    }

    /// The idempotent producers that the partition remembers, ordered by id.
    pub fn active_producers(
        &self,
        partition: PartitionId,
    ) -> Result<Vec<ActiveProducer>, ReadError> {
        let mut producers = match self {
            Log::Local(log) => log.active_producers(partition)?,
            Log::Memory(log) => log.active_producers(partition)?,
        };
        producers.sort_unstable_by_key(|producer| producer.id);
        Ok(producers)
    }

    /// The segments of a partition, from the first that begins at or behind `from`, as far as
    /// readers see. At most so many.
    pub async fn segments(
        &self,
        partition: PartitionId,
        from: Offset,
        count_max: usize,
    ) -> Result<Vec<SegmentView>, ReadError> {
        match self {
            Log::Local(log) => log.look(partition, move |p| p.segments(from, count_max)).await,
            Log::Memory(log) => log.segments(partition, from, count_max),
        }
    }

    /// The batches of a segment from a position on, as far as readers see, and what is no batch
    /// where one should be. At most so many, and no more than 16 MiB of them.
    pub async fn batches(
        &self,
        partition: PartitionId,
        place: BatchPlace,
        count_max: usize,
    ) -> Result<BatchPage, ReadError> {
        match self {
            Log::Local(log) => log.look(partition, move |p| p.batches(place, count_max)).await,
            Log::Memory(log) => log.batches(partition, place, count_max),
        }
    }

    /// One batch with its bytes, or what is no batch where one should be.
    pub async fn batch(
        &self,
        partition: PartitionId,
        wanted: WantedBatch,
    ) -> Result<BatchBytes, ReadError> {
        match self {
            Log::Local(log) => log.look(partition, move |p| p.batch(wanted)).await,
            Log::Memory(log) => log.batch(partition, wanted),
        }
    }

    /// Entries of an index of a segment, so many of them left out at the beginning, at most so many
    /// of the others.
    pub async fn index_entries(
        &self,
        partition: PartitionId,
        segment: Offset,
        kind: IndexKind,
        (skipped, count_max): (usize, usize),
    ) -> Result<IndexPage, ReadError> {
        match self {
            Log::Local(log) => {
                let entries = move |partition: &Partition| {
                    partition.index_entries(segment, kind, skipped, count_max)
                };
                log.look(partition, entries).await
            }
            // Its batches are found without one.
            Log::Memory(log) => log.progress(partition).map(|_| IndexPage {
                entries: Vec::new(),
                entry_count: 0,
                state: IndexState::InMemory,
            }),
        }
    }

    /// Room on the file system that holds the log; none where there is none. May block.
    pub fn space(&self) -> Option<Space> {
        match self {
            Log::Local(log) => log.shared.disk.space().ok(),
            Log::Memory(_) => None,
        }
    }

    /// The flushes that end from now on, at most one of each partition and second; none where there
    /// are none. While nobody listens they are not told.
    pub fn flushes(&self) -> Option<broadcast::Receiver<Flushed>> {
        match self {
            Log::Local(log) => Some(log.shared.flushes.told.subscribe()),
            Log::Memory(_) => None,
        }
    }

    /// What was found at the start; none after a clean stop.
    pub fn recovered(&self) -> Option<Recovered> {
        match self {
            Log::Local(log) => log.recovered,
            Log::Memory(_) => None,
        }
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> LogStats {
        match self {
            Log::Local(log) => log.stats(),
            Log::Memory(_) => LogStats::default(),
        }
    }

    /// What this arm can do.
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Log::Local(_) => Capabilities { atomic_sets: false },
            Log::Memory(_) => Capabilities { atomic_sets: true },
        }
    }

    /// Flushes everything and marks the stop as clean. No submit may follow.
    pub async fn close(&self) -> Result<(), MetaError> {
        match self {
            Log::Local(log) => log.close().await,
            Log::Memory(_) => Ok(()),
        }
    }
}
