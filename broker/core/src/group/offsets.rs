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
    /// Commits that are in the log's hands and not applied yet.
    submitted: BTreeMap<PartitionName, Submitted>,
}

/// Commits of one partition on their way to the log.
#[derive(Clone, Copy, Debug)]
struct Submitted {
    count: u32,
    /// The stream that the last of them is for.
    last: Option<StreamId>,
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

    /// Every partition that has an offset, or will have once the log has answered.
    pub(crate) fn partitions(&self) -> Vec<PartitionName> {
        let committed = self.iter().map(|(stream, partition, _)| (stream.clone(), partition));
        let all: BTreeSet<_> = committed.chain(self.submitted.keys().cloned()).collect();
        all.into_iter().collect()
    }

    /// Whether the partition has an offset, or will have once the log has answered.
    pub(crate) fn knows(&self, partition: &PartitionName) -> bool {
        self.get(&partition.0, partition.1).is_some() || self.is_submitted(partition)
    }

    /// Whether a commit of this partition is in the log's hands.
    pub(crate) fn is_submitted(&self, partition: &PartitionName) -> bool {
        self.submitted.contains_key(partition)
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
    pub(crate) fn submitted(&mut self, partition: &PartitionName, stream: Option<StreamId>) {
        let submitted = self.submitted.entry(partition.clone());
        let submitted = submitted.or_insert(Submitted { count: 0, last: stream });
        submitted.count += 1;
        submitted.last = stream;
    }

    /// Notes that the log has answered a commit of this partition.
    pub(crate) fn answered(&mut self, partition: &PartitionName) {
        let submitted = self.submitted.get_mut(partition).expect("it was submitted before");
        submitted.count -= 1;
        if submitted.count == 0 {
            self.submitted.remove(partition);
        }
    }

    /// The partitions whose offset is one of this stream, or will be once the log has answered. An
    /// offset of a stream that has taken the name since is not meant.
    pub(crate) fn partitions_of(&self, name: &StreamName, id: StreamId) -> Vec<PartitionName> {
        let mut last = BTreeMap::new();
        for (partition, committed) in self.by_stream.get(name).into_iter().flatten() {
            last.insert(*partition, committed.stream);
        }
        for ((stream, partition), submitted) in &self.submitted {
            if stream == name {
                last.insert(*partition, submitted.last);
            }
        }
        last.retain(|_, stream| stream.is_none_or(|stream| stream == id));
        last.into_keys().map(|partition| (name.clone(), partition)).collect()
    }

    /// Takes a tombstone that was written for one stream only.
    pub(crate) fn forget(&mut self, (name, partition): PartitionName, id: StreamId) {
        let found = self.get(&name, partition);
        if found.is_some_and(|committed| committed.stream.is_none_or(|stream| stream == id)) {
            self.apply((name, partition), None);
        }
    }
}
