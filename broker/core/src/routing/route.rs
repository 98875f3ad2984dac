//! From a record to its partition: by the MD5 of its key, by an explicit hash key, or in turn.

use std::sync::Arc;

use bytes::Bytes;
use weir_model::hash_key::HashKey;
use weir_model::ids::{LogEpoch, PartitionIndex};
use weir_model::offset::Offset;
use weir_model::record::Header;
use weir_model::time::Timestamp;

use crate::partition::partition::Partition;

/// A record that the broker builds into a batch.
#[derive(Clone, Debug, Default)]
pub struct RoutedRecord {
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value, if it has one.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// When it was made, if its writer says so; the time of the append otherwise.
    pub timestamp: Option<Timestamp>,
    /// Where its writer wants it.
    pub wanted: WantedPlace,
}

/// Where a writer wants a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantedPlace {
    /// In the partition that its key belongs to; without a key in the one whose turn it is.
    #[default]
    ByKey,
    /// In the partition that owns this hash key.
    HashKey(HashKey),
    /// In this partition.
    Partition(PartitionIndex),
}

/// Bytes of a header in a batch beside its key and value, at least: their two lengths.
const HEADER_OVERHEAD_BYTES: usize = 2;

impl RoutedRecord {
    /// Bytes that count against limits and quotas: key, value and headers.
    pub fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let header =
            |header: &Header| HEADER_OVERHEAD_BYTES + header.key.len() + length(&header.value);
        let headers = self.headers.iter().map(header);
        length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }
}

/// Where a routed record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedPlace {
    /// The partition that was picked.
    pub partition: PartitionIndex,
    /// The record's offset there.
    pub offset: Offset,
    /// The log epoch it was written in.
    pub epoch: LogEpoch,
    /// The record's timestamp.
    pub timestamp: Timestamp,
}

/// The open partitions of a stream in the order of their hash-key ranges.
#[derive(Debug)]
pub struct OpenPartitions {
    by_start: Vec<Arc<Partition>>,
}

impl OpenPartitions {
    /// The open ones among a stream's partitions.
    pub fn of(partitions: &[Arc<Partition>]) -> OpenPartitions {
        let open = partitions.iter().filter(|partition| partition.is_open());
        let mut by_start: Vec<_> = open.cloned().collect();
        by_start.sort_by_key(|partition| partition.hash_keys.start());
        OpenPartitions { by_start }
    }

    /// The partition whose range holds the hash key. None only for a stream without partitions.
    pub fn covering(&self, hash_key: HashKey) -> Option<&Arc<Partition>> {
        let after = self.by_start.partition_point(|p| p.hash_keys.start() <= hash_key);
        let found = self.by_start.get(after.checked_sub(1)?);
        debug_assert!(found.is_none_or(|p| p.hash_keys.contains(hash_key)), "a hole in the ranges");
        found
    }

    /// The partition whose turn it is.
    pub fn in_turn(&self, turn: usize) -> Option<&Arc<Partition>> {
        self.by_start.get(turn.checked_rem(self.by_start.len())?)
    }

    /// Where a record goes; `turn` counts the records that may go anywhere. None where the
    /// partition that it wants is not open.
    pub fn route(
        &self,
        record: &RoutedRecord,
        turn: impl FnOnce() -> usize,
    ) -> Option<&Arc<Partition>> {
        match (record.wanted, &record.key) {
            (WantedPlace::HashKey(hash_key), _) => self.covering(hash_key),
            (WantedPlace::Partition(index), _) => {
                self.by_start.iter().find(|partition| partition.id.index == index)
            }
            (WantedPlace::ByKey, None) => self.in_turn(turn()),
            (WantedPlace::ByKey, Some(key)) => self.covering(HashKey::of_partition_key(key)),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_start.len()
    }

    /// The numbers of the open partitions, at most `limit`.
    pub fn indexes(&self, limit: usize) -> Vec<PartitionIndex> {
        self.by_start.iter().map(|partition| partition.id.index).take(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::partition::Origin;
    use weir_model::hash_key::HashKeyRange;
    use weir_model::ids::{PartitionId, StreamId};

    const HALF: u128 = 1 << 127;

    fn two_even_shards() -> OpenPartitions {
        let partition = |(index, range): (usize, HashKeyRange)| {
            let index = PartitionIndex::try_from(index).expect("small");
            let id = PartitionId { stream: StreamId::from_bytes([1; 16]), index };
            let origin = Origin::without_parents(Timestamp::default());
            Arc::new(Partition::new(id, range, origin, None))
        };
        let ranges = HashKeyRange::even_ranges(2);
        let shards: Vec<_> = ranges.into_iter().enumerate().map(partition).collect();
        OpenPartitions::of(&shards)
    }

    #[test]
    fn hash_keys_land_in_the_shard_that_covers_them() {
        let shards = two_even_shards();
        for (hash_key, shard) in [(0, 0), (HALF - 1, 0), (HALF, 1), (u128::MAX, 1)] {
            let found = shards.covering(HashKey(hash_key)).map(|p| p.id.index.as_u32());
            assert_eq!(found, Some(shard), "hash key {hash_key}");
        }
    }

    #[test]
    fn an_explicit_hash_key_beats_the_key_and_records_without_either_take_turns() {
        let shards = two_even_shards();
        let record = |key: Option<&'static [u8]>, wanted| RoutedRecord {
            key: key.map(Bytes::from_static),
            wanted,
            ..RoutedRecord::default()
        };
        let by_key = WantedPlace::ByKey;
        let second = PartitionIndex::try_from(1_usize).expect("small");
        // MD5("a") begins with 0x0c, MD5("b") with 0x92, MD5("") with 0xd4.
        for (record, turn, shard) in [
            (record(Some(b"a"), by_key), 9, 0),
            (record(Some(b"b"), by_key), 9, 1),
            (record(Some(b""), by_key), 0, 1),
            (record(Some(b"b"), WantedPlace::HashKey(HashKey(0))), 9, 0),
            (record(Some(b"a"), WantedPlace::Partition(second)), 0, 1),
            (record(None, by_key), 0, 0),
            (record(None, by_key), 1, 1),
            (record(None, by_key), 2, 0),
        ] {
            let found = shards.route(&record, || turn).map(|p| p.id.index.as_u32());
            assert_eq!(found, Some(shard), "{record:?}");
        }
    }

    #[test]
    fn a_stream_without_partitions_routes_nowhere() {
        let none = OpenPartitions::of(&[]);
        assert!(none.covering(HashKey::MIN).is_none());
        assert!(none.in_turn(3).is_none());
    }
}
