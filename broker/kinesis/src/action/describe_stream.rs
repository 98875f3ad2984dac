//! DescribeStream: a stream and one page of its shards.
//!
//! Inputs: the stream, `Limit` (default and cap 100 shards), `ExclusiveStartShardId`.
//!
//! Behaviour: streams made by Kafka are shown too, over even hash-key ranges. `HasMoreShards` tells
//! to ask again with the last shard's id.
//!
//! Gaps: streams are ACTIVE from the first to the last moment; enhanced monitoring and encryption are
//! always off.

use bytes::Bytes;
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call};
use crate::errors::KinesisError;
use crate::shape::{self, Member};
use crate::shard::{ShardId, write_shard};
use crate::stream_reference::{find_stream, stream_arn};
use crate::stream_settings::{StreamMode, retention_hours};
use crate::wire::ReplyWriter;

/// Most shards in one reply, whatever `Limit` says.
const SHARDS_MAX: usize = 100;

pub(super) static ACTION: Action = Action {
    name: "DescribeStream",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::optional("Limit", &shape::LIMIT),
        Member::optional("ExclusiveStartShardId", &shape::SHARD_ID),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let after = start_shard(call, &stream)?;
    let limit = call
        .input
        .integer("Limit")
        .map_or(SHARDS_MAX, |limit| usize::try_from(limit).unwrap_or(SHARDS_MAX).min(SHARDS_MAX));

    let mut writer = call.writer();
    writer.begin_map();
    writer.name("StreamDescription");
    writer.begin_map();
    write_stream_members(&mut writer, call, &stream);
    let partitions = stream.partitions();
    let mut listed = partitions
        .iter()
        .filter(|partition| after.is_none_or(|after| ShardId(partition.id.index) > after));
    writer.name("Shards");
    writer.begin_list();
    for partition in listed.by_ref().take(limit) {
        write_shard(&mut writer, partition);
    }
    writer.end_list();
    writer.boolean_member("HasMoreShards", listed.next().is_some());
    writer.end_map();
    writer.end_map();
    Ok(writer.into_bytes())
}

/// The shard that `ExclusiveStartShardId` names; it need not exist.
pub(super) fn start_shard(
    call: &Call<'_>,
    stream: &Stream,
) -> Result<Option<ShardId>, KinesisError> {
    let Some(text) = call.input.text("ExclusiveStartShardId") else {
        return Ok(None);
    };
    let shard = ShardId::parse(text).map_err(|_| {
        KinesisError::could_not_find_shard(text, stream.name.as_str(), call.account())
    })?;
    Ok(Some(shard))
}

/// The members that DescribeStream and DescribeStreamSummary share.
pub(super) fn write_stream_members(writer: &mut ReplyWriter, call: &Call<'_>, stream: &Stream) {
    let config = stream.config();
    writer.text_member("StreamName", stream.name.as_str());
    writer.text_member("StreamARN", &stream_arn(call, stream));
    writer.text_member("StreamStatus", "ACTIVE");
    writer.name("StreamModeDetails");
    writer.begin_map();
    writer.text_member("StreamMode", StreamMode::of(&config).name());
    writer.end_map();
    writer.integer_member("RetentionPeriodHours", retention_hours(&config));
    writer.timestamp_member("StreamCreationTimestamp", stream.created);
    writer.name("EnhancedMonitoring");
    writer.begin_list();
    writer.begin_map();
    writer.name("ShardLevelMetrics");
    writer.begin_list();
    writer.end_list();
    writer.end_map();
    writer.end_list();
    writer.text_member("EncryptionType", "NONE");
}
