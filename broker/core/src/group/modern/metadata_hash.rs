//! One number for everything about the subscribed topics that an assignment depends on.
//!
//! A group that finds another number than the one it logged assigns anew: a topic was made, removed
//! or got partitions while nobody was looking, perhaps before a restart. The number is Kafka's, so
//! that a log written by one is right for the other: XXH3 of each topic's id, name and partitions,
//! and of those numbers in the order of the names. Kafka also hashes racks, which are none here.

use std::collections::BTreeSet;

use twox_hash::XxHash3_64;
use weir_model::ids::StreamId;

use crate::group::topics::{Topic, Topics};

/// The number for these topics, those that do not exist left out; 0 for none.
pub(super) fn metadata_hash(topics: &Topics, subscribed: &BTreeSet<StreamId>) -> i64 {
    let named = subscribed.iter().filter_map(|id| topics.name_of(*id));
    // Kafka sorts by UTF-16 units, which for the letters of topic names is the order of the bytes.
    let in_order: BTreeSet<_> = named.collect();
    let mut bytes = Vec::with_capacity(in_order.len() * 8);
    for name in in_order {
        if let Some(topic) = topics.by_name(name.as_str()) {
            bytes.extend(topic_hash(name.as_str(), topic).to_le_bytes());
        }
    }
    if bytes.is_empty() {
        return 0;
    }
    XxHash3_64::oneshot(&bytes).cast_signed()
}

fn topic_hash(name: &str, topic: Topic) -> u64 {
    let mut bytes = vec![0];
    // Two numbers of 64 bits, the high one first, each with its low byte first.
    let [high, low] = halves(topic.id);
    bytes.extend(high.to_le_bytes());
    bytes.extend(low.to_le_bytes());
    let units = || name.encode_utf16();
    bytes.extend(units().flat_map(u16::to_le_bytes));
    let unit_count = u32::try_from(units().count()).expect("a topic's name is short");
    bytes.extend(unit_count.to_le_bytes());
    bytes.extend(topic.partition_count.to_le_bytes());
    for partition in 0..topic.partition_count {
        bytes.extend(partition.to_le_bytes());
    }
    XxHash3_64::oneshot(&bytes)
}

fn halves(id: StreamId) -> [u64; 2] {
    let bits = u128::from_be_bytes(id.to_bytes());
    let low = u64::try_from(bits & u128::from(u64::MAX)).expect("64 bits");
    [u64::try_from(bits >> 64).expect("64 bits"), low]
}

#[cfg(test)]
mod tests {
    use weir_model::ids::StreamName;

    use super::*;

    /// The numbers that Kafka 4.2's coordinator computes for one topic and for none.
    #[test]
    fn the_hash_is_kafkas() {
        let bits: u128 = 0x0102_0304_0506_0708_1112_1314_1516_1718;
        let id = StreamId::from_bytes(bits.to_be_bytes());
        let orders = (StreamName::new("orders").expect("legal"), Topic { id, partition_count: 2 });
        let topics = Topics::new(1, [orders]);
        assert_eq!(metadata_hash(&topics, &BTreeSet::from([id])), -2_275_044_886_577_452_735);
        let gone = StreamId::from_bytes([9; 16]);
        assert_eq!(metadata_hash(&topics, &BTreeSet::from([gone])), 0);
        assert_eq!(metadata_hash(&topics, &BTreeSet::from([id, gone])), -2_275_044_886_577_452_735);
    }
}
