//! A partition as Kinesis shows it: its id, and its description in replies.

use std::fmt;

use weir_core::partition::partition::Partition;
use weir_model::hash_key::HashKeyRange;
use weir_model::ids::PartitionIndex;

use crate::sequence_number::SequenceNumber;
use crate::wire::ReplyWriter;

/// A partition's index, spelled `shardId-000000000007`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ShardId(pub(crate) PartitionIndex);

impl fmt::Display for ShardId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "shardId-{:012}", self.0.as_u32())
    }
}

/// A text that cannot be a shard's id: no number after the dash, or one above `i32::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotAShardId;

impl ShardId {
    /// Reads the forms that AWS accepts: `shardId-000000000007`, `shard-7` and `7` are the same.
    pub(crate) fn parse(text: &str) -> Result<ShardId, NotAShardId> {
        let number = match text.split_once('-') {
            Some((_, after_dash)) => after_dash,
            None => text,
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAShardId);
        }
        let number: i64 = number.parse().map_err(|_| NotAShardId)?;
        PartitionIndex::try_from(number).map(ShardId).map_err(|_| NotAShardId)
    }
}

/// Writes a `Shard` structure.
pub(crate) fn write_shard(writer: &mut ReplyWriter, partition: &Partition) {
    writer.begin_map();
    writer.text_member("ShardId", &ShardId(partition.id.index).to_string());
    for (member, parent) in
        ["ParentShardId", "AdjacentParentShardId"].into_iter().zip(partition.parents)
    {
        if let Some(parent) = parent {
            writer.text_member(member, &ShardId(parent).to_string());
        }
    }
    write_hash_key_range(writer, partition.hash_keys);
    writer.name("SequenceNumberRange");
    writer.begin_map();
    let starting = SequenceNumber::starting(partition);
    writer.text_member("StartingSequenceNumber", &starting.to_string());
    if let Some(closed) = partition.closed_at() {
        let ending = SequenceNumber::ending(partition, closed.time);
        writer.text_member("EndingSequenceNumber", &ending.to_string());
    }
    writer.end_map();
    writer.end_map();
}

/// Writes the `ChildShards` of a shard that was read to its end.
pub(crate) fn write_child_shards(
    writer: &mut ReplyWriter,
    parent: PartitionIndex,
    partitions: &[std::sync::Arc<Partition>],
) {
    writer.name("ChildShards");
    writer.begin_list();
    for child in partitions {
        if !child.parents.contains(&Some(parent)) {
            continue;
        }
        writer.begin_map();
        writer.text_member("ShardId", &ShardId(child.id.index).to_string());
        writer.name("ParentShards");
        writer.begin_list();
        for parent in child.parents.into_iter().flatten() {
            writer.text(&ShardId(parent).to_string());
        }
        writer.end_list();
        write_hash_key_range(writer, child.hash_keys);
        writer.end_map();
    }
    writer.end_list();
}

fn write_hash_key_range(writer: &mut ReplyWriter, range: HashKeyRange) {
    writer.name("HashKeyRange");
    writer.begin_map();
    writer.text_member("StartingHashKey", &range.start().to_string());
    writer.text_member("EndingHashKey", &range.end().to_string());
    writer.end_map();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_ids_have_several_spellings_on_the_way_in() {
        let shard =
            |number: i64| PartitionIndex::try_from(number).map(ShardId).map_err(|_| NotAShardId);
        for (text, expected) in [
            ("shardId-000000000007", shard(7)),
            ("shard-7", shard(7)),
            ("7", shard(7)),
            ("shardId-2147483647", shard(2_147_483_647)),
            ("shardId-2147483648", Err(NotAShardId)),
            ("99999999999999999999", Err(NotAShardId)),
            ("shardId-", Err(NotAShardId)),
            ("shardId--7", Err(NotAShardId)),
            ("shardId-+7", Err(NotAShardId)),
            ("seven", Err(NotAShardId)),
            ("", Err(NotAShardId)),
        ] {
            assert_eq!(ShardId::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_shard_id_has_twelve_digits() {
        let shard = ShardId::parse("12").expect("a shard id");
        assert_eq!(shard.to_string(), "shardId-000000000012");
    }
}
