//! What callers see of faults on request, without a socket.

use super::*;
use crate::harness::{ACCOUNT, Harness, data_of, text};
use serde_json::{Value as Json, json};

async fn harness(rules: Json) -> Harness {
    let harness = Harness::new().await;
    harness.create_stream("s", 2).await;
    let rules: Vec<FaultRule> = serde_json::from_value(rules).expect("rules");
    for rule in &rules {
        rule.check().and_then(|()| check(rule)).expect("a legal rule");
    }
    harness.broker.faults().replace(rules);
    harness
}

/// A record for the first shard, then one for the second.
fn both_shards() -> Json {
    let half = "170141183460469231731687303715884105728";
    let record = |key: &str| json!({"Data": "", "PartitionKey": "k", "ExplicitHashKey": key});
    json!({"StreamName": "s", "Records": [record("0"), record(half), record("1")]})
}

#[tokio::test]
async fn the_third_put_records_to_a_shard_fails_for_that_shard_alone() {
    let error = "ProvisionedThroughputExceededException";
    let harness = harness(json!([{"dialect": "kinesis", "operation": "PutRecords", "shard": 1,
        "after": 2, "times": 1, "error": error}]))
    .await;
    for number in 0..4 {
        let reply = harness.ok("PutRecords", both_shards()).await;
        let failed = u64::from(number == 2);
        assert_eq!(reply["FailedRecordCount"], failed, "{number}");
        if number == 2 {
            let told = &reply["Records"][1];
            assert_eq!(told["ErrorCode"], error);
            let message = format!(
                "Rate exceeded for shard shardId-000000000001 in stream s under account {ACCOUNT}."
            );
            assert_eq!(told["ErrorMessage"], message);
            assert_eq!(reply["Records"][2]["ShardId"], "shardId-000000000000");
        }
    }
    let iterator = json!({"StreamName": "s", "ShardId": "1", "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = text(&harness.ok("GetShardIterator", iterator).await["ShardIterator"]);
    let page = harness.ok("GetRecords", json!({"ShardIterator": iterator})).await;
    assert_eq!(data_of(&page).len(), 3, "the one that failed was not written");
}

#[tokio::test]
async fn calls_fail_as_wholes_with_the_error_and_the_text_that_were_asked_for() {
    let harness = harness(json!([
        {"dialect": "kinesis", "operation": "GetRecords", "error": "ExpiredIteratorException",
         "message": "Iterator expired.", "times": 1},
        {"dialect": "kinesis", "operation": "GetRecords", "shard": 1,
         "error": "InternalFailure"},
        {"dialect": "kinesis", "operation": "PutRecord", "shard": 1,
         "error": "KMSThrottlingException"},
        {"dialect": "kinesis", "operation": "ListShards", "error": "LimitExceededException"},
    ]))
    .await;
    let iterator = harness.iterator("s", "TRIM_HORIZON").await;
    let read = json!({"ShardIterator": iterator});
    let expired = ("ExpiredIterator".to_owned(), "Iterator expired.".to_owned());
    assert_eq!(harness.error("GetRecords", read.clone()).await, expired);
    harness.ok("GetRecords", read).await;
    let iterator = json!({"StreamName": "s", "ShardId": "1", "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = text(&harness.ok("GetShardIterator", iterator).await["ShardIterator"]);
    let (status, body) = harness.call("GetRecords", json!({"ShardIterator": iterator})).await;
    assert_eq!((status, body), (500, json!({"__type": "InternalFailure"})));
    // MD5 of "a" begins with 0c, of "b" with 92.
    harness.put("s", "a", "").await;
    let put = json!({"StreamName": "s", "PartitionKey": "b", "Data": ""});
    assert_eq!(harness.error("PutRecord", put).await.0, "KMSThrottling");
    let limited = harness.error("ListShards", json!({"StreamName": "s"})).await;
    let message = format!("Rate exceeded for stream s under account {ACCOUNT}.");
    assert_eq!(limited, ("LimitExceeded".to_owned(), message));
}

#[tokio::test]
async fn rules_that_this_dialect_cannot_follow_are_refused() {
    for (rule, why) in [
        (json!({"operation": "PutRecordz", "latency_ms": 1}), "has no operation PutRecordz"),
        (json!({"error": "NOT_LEADER"}), "no operation of the Kinesis API ends in NOT_LEADER"),
        (
            json!({"operation": "PutRecords", "shard": 0, "disconnect": "after"}),
            "can only fail with an error",
        ),
    ] {
        let rule: FaultRule = serde_json::from_value(rule).expect("a rule");
        let refused = check(&rule).expect_err(why);
        assert!(refused.contains(why), "{refused}");
    }
}
