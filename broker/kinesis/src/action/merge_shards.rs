//! MergeShards: two shards whose hash keys lie next to each other become one.
//!
//! Inputs: the stream, `ShardToMerge` (the child's `ParentShardId`), `AdjacentShardToMerge` (its
//! `AdjacentParentShardId`).
//!
//! Behaviour: as SplitShard's. Either of the two may be the lower one; AWS was seen to refuse the
//! upper one first, which no client relies on.

use bytes::Bytes;
use weir_core::routing::reshard::Reshard;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::reshard::{Asked, named_shard, reshard};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "MergeShards",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("ShardToMerge", &shape::SHARD_ID),
        Member::required("AdjacentShardToMerge", &shape::SHARD_ID),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let shard = named_shard(call, "ShardToMerge")?;
    let adjacent = named_shard(call, "AdjacentShardToMerge")?;
    let stream = find_stream(call)?;
    let wanted = Reshard::Merge { partition: shard.0, adjacent: adjacent.0 };
    reshard(call, &stream, wanted, Asked::Merge { shard, adjacent }).await?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, data_of, text};
    use serde_json::{Value as Json, json};

    fn merge(shard: &str, adjacent: &str) -> Json {
        json!({"StreamName": "s", "ShardToMerge": shard, "AdjacentShardToMerge": adjacent})
    }

    #[tokio::test]
    async fn two_parents_have_one_child() {
        let harness = Harness::new().await;
        harness.create_stream("s", 3).await;
        for (key, data) in [("a", "lower"), ("b", "middle")] {
            harness.put("s", key, data).await;
        }
        let answered = harness.call("MergeShards", merge("1", "0")).await;
        assert_eq!(answered, (200, Json::Null), "no body");
        let shards = harness.ok("ListShards", json!({"StreamName": "s"})).await;
        let child = &shards["Shards"][3];
        assert_eq!(child["ParentShardId"], "shardId-000000000001");
        assert_eq!(child["AdjacentParentShardId"], "shardId-000000000000");
        assert_eq!(child["HashKeyRange"]["StartingHashKey"], "0");
        for (shard, data) in [("0", "lower"), ("1", "middle")] {
            let mut input = json!({"StreamName": "s", "ShardId": shard});
            input["ShardIteratorType"] = json!("TRIM_HORIZON");
            let iterator = harness.ok("GetShardIterator", input).await;
            let input = json!({"ShardIterator": text(&iterator["ShardIterator"])});
            let page = harness.ok("GetRecords", input).await;
            assert_eq!(data_of(&page), [data]);
            let parents = ["shardId-000000000001", "shardId-000000000000"];
            assert_eq!(page["ChildShards"][0]["ParentShards"], json!(parents), "both name it");
            assert_eq!(page["ChildShards"].as_array().map(Vec::len), Some(1));
        }
        harness.put("s", "a", "after").await;
        let summary = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 2);
    }

    #[tokio::test]
    async fn what_cannot_be_merged_gets_awss_words() {
        let harness = Harness::new().await;
        harness.create_stream("s", 5).await;
        harness.ok("MergeShards", merge("3", "4")).await;
        let apart = |shard: &str, adjacent: &str| {
            let text = format!(
                "Shards shardId-00000000000{shard} and shardId-00000000000{adjacent} in stream s \
                 under account {ACCOUNT} are not an adjacent pair of shards eligible for merging"
            );
            ("InvalidArgument", text)
        };
        let missing = format!(
            "Could not find shard shardId-000000000009 in stream s under account {ACCOUNT}."
        );
        let closed = format!(
            "Shard shardId-000000000003 in stream s under account {ACCOUNT} has already been \
             merged or split, and thus is not eligible for merging or splitting."
        );
        for (input, (kind, message)) in [
            (merge("0", "2"), apart("0", "2")),
            (merge("1", "1"), apart("1", "1")),
            (merge("0", "9"), ("ResourceNotFound", missing.clone())),
            (merge("9", "0"), ("ResourceNotFound", missing)),
            (merge("2", "3"), ("InvalidArgument", closed)),
        ] {
            let expected = (kind.to_owned(), message);
            assert_eq!(harness.error("MergeShards", input.clone()).await, expected, "{input}");
        }
    }
}
