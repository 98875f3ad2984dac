//! GetShardIterator: a position in a shard, to read on from.
//!
//! Inputs: the stream, `ShardId`, `ShardIteratorType`, `StartingSequenceNumber` (with
//! AT_SEQUENCE_NUMBER and AFTER_SEQUENCE_NUMBER only), `Timestamp` (with AT_TIMESTAMP), `DryRun`.
//!
//! Behaviour: the position is found now and not when it is read from. LATEST waits until everything
//! before it is kept, so a writer that was answered is never read past. A number whose record was
//! lost with a power cut is the first record after the loss; one whose record expired is the oldest
//! there is. A number that this shard never gave out is refused.

use std::sync::Arc;

use bytes::Bytes;
use weir_core::partition::partition::Partition;
use weir_core::read::position::RememberedPlace;
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::shape::{self, Member};
use crate::shard::ShardId;
use crate::shard_iterator::ShardIterator;
use crate::starting_position::{self, StartingPosition};
use crate::stream_reference::{find_by_name, stream_name};

pub(super) static ACTION: Action = Action {
    name: "GetShardIterator",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("ShardId", &shape::SHARD_ID),
        Member::required("ShardIteratorType", &starting_position::KIND),
        Member::optional("StartingSequenceNumber", &shape::SEQUENCE_NUMBER),
        Member::optional("Timestamp", &shape::TIMESTAMP),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::optional("DryRun", &shape::BOOLEAN),
    ],
    rate: CallRate::Shard(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let (stream, partition) = find_shard(call)?;
    let position = StartingPosition {
        kind: call.input.text("ShardIteratorType").unwrap_or_default(),
        number: call.input.text("StartingSequenceNumber"),
        time: call.input.timestamp("Timestamp"),
    };
    let start = position.check(call, &stream, &partition)?;
    if call.input.is_true("DryRun") {
        return Err(KinesisError::dry_run_succeeded());
    }
    let offset = start.find(call, &stream, &partition).await?;
    // Whatever it was found by, the offset now holds in the broker's present epoch.
    let place = RememberedPlace { epoch: call.broker().log().epoch(), offset };
    let iterator = ShardIterator::new(&stream, partition.id.index, place);
    let mut writer = call.writer();
    writer.begin_map();
    writer.text_member("ShardIterator", &iterator.seal(call.token_key(), call.now()));
    writer.end_map();
    Ok(writer.into_bytes())
}

/// The shard, which AWS names in its errors even when it is the stream that does not exist.
fn find_shard(call: &Call<'_>) -> Result<(Arc<Stream>, Arc<Partition>), KinesisError> {
    let name = stream_name(&call.input)?;
    let text = call.input.text("ShardId").unwrap_or_default();
    let shard = ShardId::parse(text)
        .map_err(|_| KinesisError::could_not_find_shard(text, name, call.account()))?;
    let missing = || KinesisError::shard_does_not_exist(shard, name, call.account());
    let stream = find_by_name(call, name).ok_or_else(missing)?;
    if !stream.state(call.now()).is_in_use() {
        return Err(KinesisError::stream_not_found(name, call.account()));
    }
    let partition = stream.partition(shard.0).ok_or_else(missing)?;
    if partition.is_expired(stream.trim_horizon(call.now())) {
        return Err(missing());
    }
    Ok((stream, partition))
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, START, text};
    use crate::sequence_number::SequenceNumber;
    use serde_json::json;
    use weir_model::ids::{LogEpoch, PartitionIndex};
    use weir_model::offset::Offset;

    async fn read_from(harness: &Harness, mut input: serde_json::Value) -> Vec<String> {
        input["StreamName"] = json!("s");
        input["ShardId"] = json!("shardId-000000000000");
        let reply = harness.ok("GetShardIterator", input).await;
        harness.data_from(&text(&reply["ShardIterator"])).await
    }

    #[tokio::test]
    async fn all_five_types_start_where_they_say() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let first = harness.put("s", "k", "one").await;
        harness.advance_ms(1_000);
        harness.put("s", "k", "two").await;
        let at = |kind: &str, number: &str| {
            let mut input = json!({"ShardIteratorType": kind});
            input["StartingSequenceNumber"] = json!(number);
            input
        };
        let time = |time: f64| json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": time});
        let start = harness.ok("ListShards", json!({"StreamName": "s"})).await;
        let start = text(&start["Shards"][0]["SequenceNumberRange"]["StartingSequenceNumber"]);
        for (input, expected) in [
            (json!({"ShardIteratorType": "TRIM_HORIZON"}), &["one", "two"][..]),
            (json!({"ShardIteratorType": "LATEST"}), &[]),
            (at("AT_SEQUENCE_NUMBER", &first), &["one", "two"]),
            (at("AFTER_SEQUENCE_NUMBER", &first), &["two"]),
            (at("AT_SEQUENCE_NUMBER", &start), &["one", "two"]),
            (at("AFTER_SEQUENCE_NUMBER", &start), &["one", "two"]),
            (time(0.0), &["one", "two"]),
            (time(1_700_000_000.001), &["two"]),
            (time(1_700_000_001.0), &["two"]),
        ] {
            assert_eq!(read_from(&harness, input.clone()).await, expected, "{input}");
        }
    }

    #[tokio::test]
    async fn a_time_after_the_last_record_waits_for_the_next() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.put("s", "k", "old").await;
        harness.advance_ms(10);
        let input = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_TIMESTAMP",
            "Timestamp": 1_700_000_000.005});
        let reply = harness.ok("GetShardIterator", input).await;
        let iterator = text(&reply["ShardIterator"]);
        assert_eq!(harness.data_from(&iterator).await.len(), 0);
        harness.put("s", "k", "new").await;
        assert_eq!(harness.data_from(&iterator).await, ["new"]);
    }

    #[tokio::test]
    async fn impossible_positions_get_awss_words() {
        let harness = Harness::new().await;
        harness.create_stream("s", 2).await;
        harness.create_stream("other", 2).await;
        let half = "170141183460469231731687303715884105728";
        let put =
            json!({"StreamName": "s", "PartitionKey": "k", "Data": "", "ExplicitHashKey": half});
        let of_shard_1 = text(&harness.ok("PutRecord", put).await["SequenceNumber"]);
        harness.advance_ms(1_000);
        harness.create_stream("later", 2).await;
        let put =
            json!({"StreamName": "later", "PartitionKey": "k", "Data": "", "ExplicitHashKey": "0"});
        let of_later = text(&harness.ok("PutRecord", put).await["SequenceNumber"]);
        let get = |shard: &str, kind: &str| {
            let mut input = json!({"StreamName": "s", "ShardId": shard});
            input["ShardIteratorType"] = json!(kind);
            input
        };
        let at = |number: &str| {
            let mut input = get("0", "AT_SEQUENCE_NUMBER");
            input["StartingSequenceNumber"] = json!(number);
            input
        };
        let mismatch = |kind: &str, given: &str| {
            format!(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
                 StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no \
                 StartingSequenceNumber. Request specified {kind} and {given} \
                 StartingSequenceNumber."
            )
        };
        let invalid = |shown: &str, why: &str| {
            format!(
                "StartingSequenceNumber {shown} used in GetShardIterator on shard \
                 shardId-000000000000 in stream s under account {ACCOUNT} is invalid{why}."
            )
        };
        let foreign = " because it did not come from this stream";
        let mut latest_at = at("1");
        latest_at["ShardIteratorType"] = json!("LATEST");
        let mut future = get("0", "AT_TIMESTAMP");
        future["Timestamp"] = json!(1_700_000_002);
        let stream = harness.broker.stream("s").expect("the stream");
        let partition = stream.partition(PartitionIndex::ZERO).expect("shard 0");
        let (epoch, offset) = (LogEpoch::ZERO, Offset::ZERO);
        let to_come = SequenceNumber::of_record(&partition, epoch, offset, START).to_string();
        for (input, message) in [
            (at("0"), invalid("21267647932558653966460912964485513216", foreign)),
            (
                at("3"),
                "Invalid StartingSequenceNumber. It encodes shardId-000000000003, while it \
                was used in a call to a shard with shardId-000000000000"
                    .to_owned(),
            ),
            (
                at(&of_shard_1),
                "Invalid StartingSequenceNumber. It encodes shardId-000000000001, \
                while it was used in a call to a shard with shardId-000000000000"
                    .to_owned(),
            ),
            (at(&of_later), invalid(&of_later, foreign)),
            (at(&"9".repeat(57)), invalid(&"9".repeat(57), "")),
            (at(&to_come), invalid(&to_come, "")),
            (latest_at, mismatch("LATEST", "also a")),
            (get("0", "AT_SEQUENCE_NUMBER"), mismatch("AT_SEQUENCE_NUMBER", "no")),
            (
                get("0", "AT_TIMESTAMP"),
                "Must specify timestampInMillis parameter for iterator \
                of type AT_TIMESTAMP. Current request has no timestamp parameter."
                    .to_owned(),
            ),
            (
                future,
                "The timestampInMillis parameter cannot be greater than the \
                currentTimestampInMillis. timestampInMillis: 1700000002000, \
                currentTimestampInMillis: 1700000001000"
                    .to_owned(),
            ),
        ] {
            let expected = ("InvalidArgument".to_owned(), message);
            assert_eq!(harness.error("GetShardIterator", input.clone()).await, expected, "{input}");
        }
    }

    #[tokio::test]
    async fn missing_shards_and_streams_are_told_apart_from_impossible_ids() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let get = |stream: &str, shard: &str| {
            let mut input = json!({"ShardIteratorType": "LATEST"});
            input["StreamName"] = json!(stream);
            input["ShardId"] = json!(shard);
            input
        };
        for (input, message) in [
            (
                get("s", "shardId-000000000001"),
                format!(
                    "Shard shardId-000000000001 in stream s under account {ACCOUNT} does not exist"
                ),
            ),
            (
                get("missing", "0"),
                format!(
                    "Shard shardId-000000000000 in stream missing under account {ACCOUNT} \
                     does not exist"
                ),
            ),
            (
                get("s", "2147483648"),
                format!("Could not find shard 2147483648 in stream s under account {ACCOUNT}."),
            ),
            (
                get("s", "first"),
                format!("Could not find shard first in stream s under account {ACCOUNT}."),
            ),
        ] {
            let expected = ("ResourceNotFound".to_owned(), message);
            assert_eq!(harness.error("GetShardIterator", input).await, expected);
        }
    }
}
