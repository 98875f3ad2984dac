//! DescribeStream: a stream and one page of its shards.
//!
//! Inputs: the stream, `Limit` (default and cap 100 shards), `ExclusiveStartShardId`.
//!
//! Behaviour: streams made by Kafka are shown too, over even hash-key ranges. Closed shards are
//! listed as long as ListShards lists them. `HasMoreShards` tells to ask again with the last
//! shard's id.

use bytes::Bytes;
use weir_core::stream::retention::retention_hours;
use weir_core::stream::state::State;
use weir_core::stream::stream::Stream;

use crate::action::enable_enhanced_monitoring::write_metrics;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::shape::{self, Member};
use crate::shard::{ShardId, write_shard};
use crate::stream_reference::{find_stream, stream_arn};
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
    rate: CallRate::Account(10.0),
    run: Run::Reply(|call| Box::pin(run(call))),
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
    // A stream that is being made shows no shards yet.
    let known = match stream.state(call.now()) {
        State::Creating => Vec::new(),
        _ => stream.known_partitions(call.now()),
    };
    let mut listed = known
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
    let (config, attributes) = (stream.config(), stream.attributes());
    writer.text_member("StreamName", stream.name.as_str());
    writer.text_member("StreamARN", &stream_arn(call, stream));
    writer.text_member("StreamStatus", stream.state(call.now()).name());
    writer.name("StreamModeDetails");
    writer.begin_map();
    writer.text_member("StreamMode", config.mode.name());
    writer.end_map();
    writer.integer_member("RetentionPeriodHours", retention_hours(&config));
    writer.timestamp_member("StreamCreationTimestamp", stream.created);
    writer.name("EnhancedMonitoring");
    writer.begin_list();
    writer.begin_map();
    write_metrics(writer, "ShardLevelMetrics", &attributes.shard_metrics);
    writer.end_map();
    writer.end_list();
    match attributes.encryption.key() {
        None => writer.text_member("EncryptionType", "NONE"),
        Some(key) => {
            writer.text_member("EncryptionType", "KMS");
            writer.text_member("KeyId", key);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::Harness;
    use serde_json::json;

    #[tokio::test]
    async fn a_stream_is_described_as_aws_describes_it() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let starting = "49646437577108476416916876405825929425585429676275269634";
        assert_eq!(
            harness.ok("DescribeStream", json!({"StreamName": "s"})).await,
            json!({"StreamDescription": {
                "StreamName": "s",
                "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/s",
                "StreamStatus": "ACTIVE",
                "StreamModeDetails": {"StreamMode": "PROVISIONED"},
                "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 1_700_000_000.0,
                "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
                "EncryptionType": "NONE",
                "Shards": [{
                    "ShardId": "shardId-000000000000",
                    "HashKeyRange": {
                        "StartingHashKey": "0",
                        "EndingHashKey": "340282366920938463463374607431768211455",
                    },
                    "SequenceNumberRange": {"StartingSequenceNumber": starting},
                }],
                "HasMoreShards": false,
            }})
        );
    }

    #[tokio::test]
    async fn shards_come_in_pages_of_at_most_a_hundred() {
        let harness = Harness::new().await;
        harness.create_stream("s", 101).await;
        for (input, first, count, has_more) in [
            (json!({"StreamName": "s"}), Some(0), 100, true),
            (json!({"StreamName": "s", "Limit": 10_000}), Some(0), 100, true),
            (json!({"StreamName": "s", "Limit": 2}), Some(0), 2, true),
            (
                json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-000000000099"}),
                Some(100),
                1,
                false,
            ),
            (json!({"StreamName": "s", "ExclusiveStartShardId": "500"}), None, 0, false),
        ] {
            let reply = harness.ok("DescribeStream", input.clone()).await;
            let stream = &reply["StreamDescription"];
            let shards = stream["Shards"].as_array().expect("a list of shards");
            assert_eq!(shards.len(), count, "{input}");
            assert_eq!(stream["HasMoreShards"], has_more, "{input}");
            let id = first.map(|index| json!(format!("shardId-{index:012}")));
            assert_eq!(shards.first().map(|shard| shard["ShardId"].clone()), id, "{input}");
        }
        let input = json!({"StreamName": "s", "ExclusiveStartShardId": "nonsense"});
        let message = "Could not find shard nonsense in stream s under account 000000000000.";
        let expected = ("ResourceNotFound".to_owned(), message.to_owned());
        assert_eq!(harness.error("DescribeStream", input).await, expected);
    }

    #[tokio::test]
    async fn topics_of_kafka_are_shown_over_even_ranges() {
        let harness = Harness::new().await;
        harness.create_topic("topic", 2).await;
        let reply = harness.ok("DescribeStream", json!({"StreamName": "topic"})).await;
        let stream = &reply["StreamDescription"];
        assert_eq!(stream["RetentionPeriodHours"], 168);
        let start = &stream["Shards"][1]["HashKeyRange"]["StartingHashKey"];
        assert_eq!(start, "170141183460469231731687303715884105728");
    }
}
