//! SplitShard: a shard becomes two.
//!
//! Inputs: the stream, `ShardToSplit`, `NewStartingHashKey` (the first of the upper one's keys).
//!
//! Behaviour: when it answers, the parent takes no more records and has its ending number, the two
//! children take them, and what was written before is kept in the parent until it expires. Each
//! child keeps two hash keys at the least. Topics made by Kafka are refused: their clients choose
//! partitions, so none may close. The open shards of all streams have a limit, and all of
//! their shards, closed ones included, one that is ten times as high.

use bytes::Bytes;
use weir_core::routing::reshard::Reshard;
use weir_model::hash_key::HashKey;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::reshard::{Asked, named_shard, reshard};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "SplitShard",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("ShardToSplit", &shape::SHARD_ID),
        Member::required("NewStartingHashKey", &shape::HASH_KEY),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let shard = named_shard(call, "ShardToSplit")?;
    let stream = find_stream(call)?;
    let key = call.input.text("NewStartingHashKey").unwrap_or_default();
    // What is above all keys is refused as the last one is: no shard has it inside.
    let at = key.parse().unwrap_or(HashKey::MAX);
    let wanted = Reshard::Split { partition: shard.0, at };
    reshard(call, &stream, wanted, Asked::Split { shard, key }).await?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, data_of, text};
    use serde_json::{Value as Json, json};

    const QUARTER: &str = "85070591730234615865843651857942052864";
    const HALF: &str = "170141183460469231731687303715884105728";

    fn split(shard: &str, key: &str) -> Json {
        json!({"StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": key})
    }

    #[tokio::test]
    async fn a_parent_is_read_to_its_end_and_its_children_go_on() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.put("s", "a", "before").await;
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        let answered = harness.call("SplitShard", split("shardId-000000000000", HALF)).await;
        assert_eq!(answered, (200, Json::Null), "no body");

        let put = json!({"StreamName": "s", "PartitionKey": "a", "Data": ""});
        let put = harness.ok("PutRecord", put).await;
        assert_eq!(put["ShardId"], "shardId-000000000001", "the MD5 of a is in the lower half");

        let page = harness.ok("GetRecords", json!({"ShardIterator": iterator})).await;
        assert_eq!(data_of(&page), ["before"]);
        assert_eq!(page.get("NextShardIterator"), None);
        assert_eq!(page["MillisBehindLatest"], 0);
        let range =
            |start: &str, end: &str| json!({"StartingHashKey": start, "EndingHashKey": end});
        let below_half = "170141183460469231731687303715884105727";
        let last = "340282366920938463463374607431768211455";
        assert_eq!(
            page["ChildShards"],
            json!([
                {"ShardId": "shardId-000000000001", "ParentShards": ["shardId-000000000000"],
                 "HashKeyRange": range("0", below_half)},
                {"ShardId": "shardId-000000000002", "ParentShards": ["shardId-000000000000"],
                 "HashKeyRange": range(HALF, last)},
            ])
        );
    }

    #[tokio::test]
    async fn numbers_grow_from_a_parent_to_its_children_even_within_a_second() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let before = harness.put("s", "a", "before").await;
        harness.ok("SplitShard", split("0", HALF)).await;
        harness.ok("SplitShard", split("1", QUARTER)).await;
        let after = harness.put("s", "a", "after").await;
        let shards = harness.ok("ListShards", json!({"StreamName": "s"})).await;
        let number =
            |shard: usize, name: &str| text(&shards["Shards"][shard]["SequenceNumberRange"][name]);
        let (start, end) = ("StartingSequenceNumber", "EndingSequenceNumber");
        let ascending = [
            number(0, start),
            before,
            number(0, end),
            number(1, start),
            number(1, end),
            number(3, start),
            after,
        ];
        assert!(ascending.is_sorted_by(|a, b| a.len() == b.len() && a < b), "{ascending:?}");
        let open = &shards["Shards"][2]["SequenceNumberRange"];
        assert_eq!(open.as_object().map(|range| range.len()), Some(1), "an open shard has no end");
    }

    #[tokio::test]
    async fn what_cannot_be_split_gets_awss_words() {
        let harness = Harness::new().await;
        harness.create_stream("s", 2).await;
        harness.create_topic("topic", 1).await;
        harness.ok("SplitShard", split("1", "255211775190703847597530955573826158592")).await;
        let missing = |shard: &str| {
            let text = format!("Could not find shard {shard} in stream s under account {ACCOUNT}.");
            ("ResourceNotFound", text)
        };
        let outside = |key: &str| {
            let text = format!(
                "NewStartingHashKey {key} used in SplitShard() on shard shardId-000000000000 in \
                 stream s under account {ACCOUNT} is not both greater than one plus the shard's \
                 StartingHashKey 0 and less than the shard's EndingHashKey \
                 170141183460469231731687303715884105727."
            );
            ("InvalidArgument", text)
        };
        let closed = format!(
            "Shard shardId-000000000001 in stream s under account {ACCOUNT} has already been \
             merged or split, and thus is not eligible for merging or splitting."
        );
        let mut of_topic = split("0", HALF);
        of_topic["StreamName"] = json!("topic");
        let mut of_none = split("0", HALF);
        of_none["StreamName"] = json!("none");
        for (input, (kind, message)) in [
            (split("9", HALF), missing("shardId-000000000009")),
            (split("nine", HALF), missing("nine")),
            (
                of_none,
                ("ResourceNotFound", format!("Stream none under account {ACCOUNT} not found.")),
            ),
            (split("1", HALF), ("InvalidArgument", closed)),
            (split("0", "1"), outside("1")),
            (split("shard-0", HALF), outside(HALF)),
            (split("0", &"9".repeat(39)), outside(&"9".repeat(39))),
            (
                of_topic,
                (
                    "InvalidArgument",
                    "Stream topic was made through the Kafka API: its clients choose partitions, \
                     so its shards cannot be split, merged or scaled."
                        .to_owned(),
                ),
            ),
        ] {
            let expected = (kind.to_owned(), message);
            assert_eq!(harness.error("SplitShard", input.clone()).await, expected, "{input}");
        }
    }

    #[tokio::test]
    async fn streams_that_scale_themselves_are_not_resharded_by_others() {
        let harness = Harness::new().await;
        let on_demand = json!({"StreamMode": "ON_DEMAND"});
        let input = json!({"StreamName": "s", "StreamModeDetails": on_demand});
        harness.ok("CreateStream", input).await;
        let mut merge = json!({"StreamName": "s", "ShardToMerge": "0"});
        merge["AdjacentShardToMerge"] = json!("1");
        let mut scale = json!({"StreamName": "s", "TargetShardCount": 8});
        scale["ScalingType"] = json!("UNIFORM_SCALING");
        let expected = (
            "Validation".to_owned(),
            format!("Request is invalid. Stream s under account {ACCOUNT} is in On-Demand mode."),
        );
        for (operation, input) in
            [("SplitShard", split("0", "9")), ("MergeShards", merge), ("UpdateShardCount", scale)]
        {
            assert_eq!(harness.error(operation, input).await, expected, "{operation}");
        }
    }

    #[tokio::test]
    async fn the_accounts_shard_limit_counts_open_shards() {
        let harness = Harness::with_shard_limit(3).await;
        harness.create_stream("s", 2).await;
        harness.ok("SplitShard", split("0", QUARTER)).await;
        let (kind, message) = harness.error("SplitShard", split("2", "9")).await;
        assert_eq!(kind, "LimitExceeded");
        let begin = format!(
            "This request would exceed the shard limit for the account {ACCOUNT} in eu-west-1. \
             Current shard count for the account: 3. Limit: 3. \
             Number of additional shards that would have resulted from this request: 1. "
        );
        assert!(message.starts_with(&begin), "{message}");
        let merge = json!({"StreamName": "s", "ShardToMerge": "2", "AdjacentShardToMerge": "3"});
        harness.ok("MergeShards", merge).await;
        harness.ok("SplitShard", split("4", "9")).await;
    }

    #[tokio::test]
    async fn closed_shards_count_against_a_limit_ten_times_as_high() {
        let harness = Harness::with_shard_limit(2).await;
        harness.create_stream("s", 2).await;
        // Of 0 and 1, 2 is made, of that 3 and 4, of those 5 ...
        let merge = |lower: u32| {
            let adjacent = (lower + 1).to_string();
            let lower = lower.to_string();
            json!({"StreamName": "s", "ShardToMerge": lower, "AdjacentShardToMerge": adjacent})
        };
        for round in 0..6 {
            harness.ok("MergeShards", merge(3 * round)).await;
            harness.ok("SplitShard", split(&(3 * round + 2).to_string(), "9")).await;
        }
        let message = format!(
            "The streams under account {ACCOUNT} may not have more than 20 shards, closed ones \
             included."
        );
        let expected = ("LimitExceeded".to_owned(), message);
        assert_eq!(harness.error("MergeShards", merge(18)).await, expected);
    }
}
