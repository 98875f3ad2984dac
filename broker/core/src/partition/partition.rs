//! One partition as the core sees it: a hash-key range, a lineage, a quota, and a log below.

use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use weir_model::hash_key::HashKeyRange;
use weir_model::ids::{PartitionId, PartitionIndex};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;
use weir_storage::watermarks::{Progress, Watermarks};

use crate::quota::limits::ShardQuota;

/// Where and when a partition took its last record, by a split or a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedAt {
    /// One past its last offset.
    pub end: Offset,
    /// When it was closed.
    pub time: Timestamp,
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
    /// The partitions it continues: none, the one that was split, or the two that were merged.
    pub parents: [Option<PartitionIndex>; 2],
    closed: RwLock<Option<ClosedAt>>,
    /// The log's published positions; set when the log is told of the partition, before anyone else
    /// can get hold of it.
    progress: OnceLock<Arc<Progress>>,
    /// A sync lock: held for one admission, never across an await.
    pub(crate) quota: Mutex<Option<ShardQuota>>,
}

impl Partition {
    pub(crate) fn new(
        id: PartitionId,
        hash_keys: HashKeyRange,
        created: Timestamp,
        parents: [Option<PartitionIndex>; 2],
        closed: Option<ClosedAt>,
    ) -> Partition {
        Partition {
            id,
            hash_keys,
            created,
            parents,
            closed: RwLock::new(closed),
            progress: OnceLock::new(),
            quota: Mutex::new(None),
        }
    }

    /// The same partition with another hash-key range. Its quota begins anew; whoever holds the old
    /// value appends to the same log.
    pub(crate) fn with_hash_keys(&self, hash_keys: HashKeyRange) -> Partition {
        let same = Partition::new(self.id, hash_keys, self.created, self.parents, self.closed_at());
        same.attach(Arc::clone(self.progress()));
        same
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
        *self.closed.read()
    }
}
