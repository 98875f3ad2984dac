//! How far a group has read: one committed offset per partition.
//!
//! An offset belongs to a stream's id, not to its name: a topic that is deleted and made again must
//! not inherit what was committed for the old one. Names are the table's keys all the same, because
//! Kafka's record format and its requests speak of names.
//!
//! Invariant: the table holds what the log holds. Commits on their way to the log are only counted
//! ([`Offsets::submitted`]), so that a deletion can cover them with tombstones written after them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::ids::{PartitionIndex, StreamId, StreamName};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

/// Longest text beside an offset, in bytes (Kafka's `offset.metadata.max.bytes`).
pub const OFFSET_METADATA_BYTES_MAX: usize = 4096;

/// What a group committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The stream's id; unknown only in records that were written without one.
    pub stream: Option<StreamId>,
    /// The next record to read.
    pub offset: Offset,
    /// The log epoch of the last record that was read, if the client said so.
    pub leader_epoch: Option<i32>,
    /// Text that the client keeps beside the offset.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// When it may be forgotten, if an old client asked for a time of its own.
    pub expires_at: Option<Timestamp>,
}

/// A partition as offsets name it.
pub type PartitionName = (StreamName, PartitionIndex);

/// The offsets of one group.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    by_stream: BTreeMap<StreamName, BTreeMap<PartitionIndex, CommittedOffset>>,
    /// How many commits of a partition are in the log's hands and not applied yet.
    submitted: BTreeMap<PartitionName, u32>,
}

impl Offsets {
    /// What is committed for a partition.
    pub fn get(&self, stream: &StreamName, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.by_stream.get(stream)?.get(&partition)
    }

    /// Everything that is committed, by stream name and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&StreamName, PartitionIndex, &CommittedOffset)> {
        self.by_stream.iter().flat_map(|(stream, partitions)| {
            partitions.iter().map(move |(partition, committed)| (stream, *partition, committed))
        })
    }

    /// Whether nothing is committed and nothing is about to be.
    pub fn is_empty(&self) -> bool {
        self.by_stream.is_empty() && self.submitted.is_empty()
    }

    /// Takes what the log holds for a partition; none for a tombstone.
    pub fn apply(&mut self, (stream, partition): PartitionName, value: Option<CommittedOffset>) {
        match value {
            Some(committed) => {
                self.by_stream.entry(stream).or_default().insert(partition, committed);
            }
            None => {
                if let Some(partitions) = self.by_stream.get_mut(&stream) {
                    partitions.remove(&partition);
                    if partitions.is_empty() {
                        self.by_stream.remove(&stream);
                    }
                }
            }
        }
    }

    /// Keeps only the offsets that `lives` accepts.
    pub fn retain(&mut self, mut lives: impl FnMut(&StreamName, &CommittedOffset) -> bool) {
        self.by_stream.retain(|stream, partitions| {
            partitions.retain(|_, committed| lives(stream, committed));
            !partitions.is_empty()
        });
    }

    /// Notes that a commit of this partition was handed to the log.
    pub(crate) fn submitted(&mut self, partition: &PartitionName) {
        *self.submitted.entry(partition.clone()).or_default() += 1;
    }

    /// Notes that the log has answered a commit of this partition.
    pub(crate) fn answered(&mut self, partition: &PartitionName) {
        let waiting = self.submitted.get_mut(partition).expect("every answer was submitted before");
        *waiting -= 1;
        if *waiting == 0 {
            self.submitted.remove(partition);
        }
    }

    /// The partitions of a stream that have an offset or are about to.
    pub(crate) fn partitions_of(&self, stream: &StreamName) -> Vec<PartitionName> {
        let applied = self.by_stream.get(stream).into_iter().flat_map(BTreeMap::keys).copied();
        let submitted = self.submitted.keys().filter(|(name, _)| name == stream);
        let all: BTreeSet<_> = applied.chain(submitted.map(|(_, partition)| *partition)).collect();
        all.into_iter().map(|partition| (stream.clone(), partition)).collect()
    }
}
