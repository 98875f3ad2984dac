//! Which partition takes which records, as far as the producer knows.

use weir_model::hash_key::HashKey;
use weir_proto::v1::Stream;

use crate::error::Error;
use crate::kafka::partition_of_key;

/// The open partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// By the first hash key of each.
    ByHash(Vec<(u128, u32)>),
    /// In their order: Kafka's partitioner chooses. There are no hash keys.
    ByKey(Vec<u32>),
}

impl Layout {
    /// The open partitions of a described stream; there must be one.
    pub(super) fn of(stream: &Stream) -> Result<Layout, Error> {
        let mut by_start = Vec::new();
        for partition in stream.partitions.iter().filter(|partition| partition.is_open) {
            let start = partition.hash_keys.as_ref().map(|range| range.starting.parse());
            let Some(Ok(start)) = start else {
                let what = format!("partition {} without hash keys", partition.index);
                return Err(Error::Protocol(what));
            };
            by_start.push((start, partition.index));
        }
        by_start.sort_unstable();
        if by_start.is_empty() {
            return Err(Error::Protocol("a stream without an open partition".to_owned()));
        }
        Ok(Layout::ByHash(by_start))
    }

    /// The partitions of a topic of Kafka; there must be one.
    pub(super) fn by_key(partitions: Vec<u32>) -> Result<Layout, Error> {
        match partitions.is_empty() {
            true => Err(Error::Protocol("a topic without a partition".to_owned())),
            false => Ok(Layout::ByKey(partitions)),
        }
    }

    /// The partition that owns a hash key; the first where there are none.
    pub(super) fn owner(&self, hash_key: u128) -> u32 {
        match self {
            Layout::ByHash(by_start) => {
                let after = by_start.partition_point(|(start, _)| *start <= hash_key);
                let owner = by_start.get(after.saturating_sub(1));
                owner.map_or(0, |(_, index)| *index)
            }
            Layout::ByKey(partitions) => partitions.first().copied().unwrap_or(0),
        }
    }

    /// The partition that owns a key.
    pub(super) fn owner_of_key(&self, key: &[u8]) -> u32 {
        match self {
            Layout::ByHash(_) => self.owner(HashKey::of_partition_key(key).0),
            Layout::ByKey(partitions) => {
                let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
                self.nth(partition_of_key(key, count) as usize)
            }
        }
    }

    /// The open partition whose turn it is.
    pub(super) fn in_turn(&self, turn: usize) -> u32 {
        self.nth(turn.checked_rem(self.len()).unwrap_or(0))
    }

    fn nth(&self, place: usize) -> u32 {
        match self {
            Layout::ByHash(by_start) => by_start.get(place).map_or(0, |(_, index)| *index),
            Layout::ByKey(partitions) => partitions.get(place).copied().unwrap_or(0),
        }
    }

    fn len(&self) -> usize {
        match self {
            Layout::ByHash(by_start) => by_start.len(),
            Layout::ByKey(partitions) => partitions.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::v1::{HashKeyRange, Partition};

    fn partition(index: u32, starting: u128, is_open: bool) -> Partition {
        let hash_keys = HashKeyRange { starting: starting.to_string(), ending: String::new() };
        Partition { index, hash_keys: Some(hash_keys), is_open, ..Partition::default() }
    }

    #[test]
    fn hash_keys_belong_to_the_open_partition_that_begins_before_them() {
        let half = 1 << 127;
        let partitions =
            vec![partition(0, 0, false), partition(2, half, true), partition(1, 0, true)];
        let stream = Stream { partitions, ..Stream::default() };
        let layout = Layout::of(&stream).expect("two are open");
        for (hash_key, owner) in [(0, 1), (half - 1, 1), (half, 2), (u128::MAX, 2)] {
            assert_eq!(layout.owner(hash_key), owner, "hash key {hash_key}");
        }
        let turns: Vec<u32> = (0..4).map(|turn| layout.in_turn(turn)).collect();
        assert_eq!(turns, [1, 2, 1, 2]);
    }

    #[test]
    fn a_topics_partitions_are_chosen_by_kafkas_partitioner() {
        let layout = Layout::by_key(vec![4, 5, 6]).expect("there are three");
        let turns: Vec<u32> = (0..4).map(|turn| layout.in_turn(turn)).collect();
        assert_eq!(turns, [4, 5, 6, 4]);
        // murmur2 is -973932308 and -985981536: modulo 3, without the highest bit, 0 and 2.
        assert_eq!(layout.owner_of_key(b"21"), 4);
        assert_eq!(layout.owner_of_key(b"a-little-bit-long-string"), 6);
        assert!(Layout::by_key(Vec::new()).is_err());
    }

    #[test]
    fn a_stream_without_an_open_partition_is_refused() {
        let closed = Stream { partitions: vec![partition(0, 0, false)], ..Stream::default() };
        assert!(Layout::of(&closed).is_err());
    }
}
