//! One partition as the core sees it: a hash-key range, a lineage, a quota, and a log below.
//!
//! A value of this type never changes what it says: when a partition is closed, or gets another
//! hash-key range, the stream's list gets another value for it in the same step as everything else
//! that changes with it. So whoever holds a list sees one moment, in which the open partitions
//! cover the hash keys exactly once. The log below is the same one, and refuses what is written
//! through an older value.

use std::sync::{Arc, OnceLock};

use weir_model::hash_key::HashKeyRange;
use weir_model::ids::{PartitionId, PartitionIndex};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;
use weir_storage::watermarks::{Progress, Watermarks};

use crate::quota::gate::ShardGate;

/// Where and when a partition took its last record, by a split or a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedAt {
    /// One past its last offset.
    pub end: Offset,
    /// When it was closed.
    pub time: Timestamp,
    /// It was found empty when all of its records had become too old, and is not shown to
    /// lineage-following readers any more, even if records may be older from now on.
    pub is_expired: bool,
}

/// A partition, called shard by Kinesis.
#[derive(Debug)]
pub struct Partition {
    /// Its stream and number.
    pub id: PartitionId,
    /// The hash keys that belong to it. Ranges of open partitions cover the space exactly once.
    pub hash_keys: HashKeyRange,
    /// When it was made.
    pub created: Timestamp,
    /// The time that stands in its sequence numbers: when it was made, but at least a second after
    /// its parents' own, so that numbers grow from parent to child however fast one follows the
    /// other.
    pub numbered_from: Timestamp,
    /// The partitions it continues: none, the one that was split, or the two that were merged.
    pub parents: [Option<PartitionIndex>; 2],
    closed: Option<ClosedAt>,
    /// The log's published positions; set when the log is told of the partition, before anyone else
    /// can get hold of it.
    progress: OnceLock<Arc<Progress>>,
    /// What its shard's quotas let in and out. The values before and after a close share it.
    pub(crate) gate: Arc<ShardGate>,
}

/// What is fixed about a partition when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) created: Timestamp,
    pub(crate) numbered_from: Timestamp,
    pub(crate) parents: [Option<PartitionIndex>; 2],
}

impl Origin {
    /// Of a partition that a stream begins with, or that is added to it.
    pub(crate) fn without_parents(created: Timestamp) -> Origin {
        Origin { created, numbered_from: created, parents: [None, None] }
    }
}

impl Partition {
    pub(crate) fn new(
        id: PartitionId,
        hash_keys: HashKeyRange,
        origin: Origin,
        closed: Option<ClosedAt>,
    ) -> Partition {
        Partition {
            id,
            hash_keys,
            created: origin.created,
            numbered_from: origin.numbered_from,
            parents: origin.parents,
            closed,
            progress: OnceLock::new(),
            gate: Arc::default(),
        }
    }

    /// The same partition with another hash-key range. Its quota begins anew; whoever holds the old
    /// value appends to the same log.
    pub(crate) fn with_hash_keys(&self, hash_keys: HashKeyRange) -> Partition {
        let same = Partition::new(self.id, hash_keys, self.origin(), self.closed);
        same.attach(Arc::clone(self.progress()));
        same
    }

    /// The same partition, closed. Its log has been sealed and flushed up to that end.
    pub(crate) fn closed(&self, at: ClosedAt) -> Partition {
        assert!(self.closed.is_none(), "a partition was closed twice: its end would move");
        let mut same = Partition::new(self.id, self.hash_keys, self.origin(), Some(at));
        same.gate = Arc::clone(&self.gate);
        same.attach(Arc::clone(self.progress()));
        same
    }

    /// The same closed partition, which nobody needs to know of any more.
    pub(crate) fn expired(&self) -> Partition {
        let closed = self.closed.map(|closed| ClosedAt { is_expired: true, ..closed });
        let mut same = Partition::new(self.id, self.hash_keys, self.origin(), closed);
        same.gate = Arc::clone(&self.gate);
        same.attach(Arc::clone(self.progress()));
        same
    }

    pub(crate) fn origin(&self) -> Origin {
        let Partition { created, numbered_from, parents, .. } = *self;
        Origin { created, numbered_from, parents }
    }

    /// Ties the partition to its log.
    pub(crate) fn attach(&self, progress: Arc<Progress>) {
        let fresh = self.progress.set(progress).is_ok();
        assert!(fresh, "a partition was attached twice: its waits would be split over two logs");
    }

    /// Its log start, high watermark and log end.
    pub fn watermarks(&self) -> Watermarks {
        self.progress().watermarks()
    }

    /// The published positions, to wait on.
    pub fn progress(&self) -> &Arc<Progress> {
        self.progress.get().expect("attached before the registry showed it to anyone")
    }

    /// Where it was closed; none while it takes records.
    pub fn closed_at(&self) -> Option<ClosedAt> {
        self.closed
    }

    /// Whether it takes records.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Whether it was closed so long ago that its records are too old, and holds none any more:
    /// nobody needs to know of it. `horizon` is the time before which records are too old.
    pub fn is_expired(&self, horizon: Timestamp) -> bool {
        self.closed.is_some_and(|closed| {
            let is_empty = self.watermarks().log_start >= closed.end;
            closed.is_expired || (closed.time <= horizon && is_empty)
        })
    }
}
