//! UpdateStreamRecordDistributionStrategy: changes how records are spread over a stream's shards.
//!
//! Inputs: `StreamARN`, `RecordDistributionStrategy` (`AUTO` or `USER_PARTITION_KEY`).
//!
//! Behaviour: acts on the next write. With `AUTO` records take turns over the open shards;
//! partition keys and explicit hash keys decide nothing and may be absent, keys that are there are
//! kept with their records. Only on-demand streams have `AUTO`.

use bytes::Bytes;
use weir_core::stream::distribution::Distribution;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;
use crate::stream_settings::distribution_of_name;

pub(super) static ACTION: Action = Action {
    name: "UpdateStreamRecordDistributionStrategy",
    members: &[
        Member::required("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::required("RecordDistributionStrategy", &shape::DISTRIBUTION_STRATEGY),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let distribution = distribution(call);
    let changed = call.broker().change_distribution(stream.id, distribution).await;
    changed.map_err(|error| {
        errors::amend_error(error, &stream, call.account(), |refusal| {
            errors::distribution_refusal(refusal, stream.name.as_str(), call.account())
        })
    })?;
    Ok(Bytes::new())
}

/// The member `RecordDistributionStrategy`.
pub(super) fn distribution(call: &Call<'_>) -> Distribution {
    call.input
        .text("RecordDistributionStrategy")
        .map_or_else(Default::default, distribution_of_name)
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, text};
    use serde_json::{Value as Json, json};
    use weir_core::settings::alteration::{Alteration, Change, Changes};
    use weir_core::settings::holder::Resource;
    use weir_core::stream::stream::Intent;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";
    const UPDATE: &str = "UpdateStreamRecordDistributionStrategy";

    fn update(strategy: &str) -> Json {
        json!({"StreamARN": ARN, "RecordDistributionStrategy": strategy})
    }

    async fn create_on_demand(harness: &Harness) {
        let mode = json!({"StreamMode": "ON_DEMAND"});
        let input = json!({"StreamName": "s", "StreamModeDetails": mode});
        harness.ok("CreateStream", input).await;
    }

    async fn strategy(harness: &Harness) -> Json {
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        reply["StreamDescriptionSummary"]["RecordDistributionStrategy"].clone()
    }

    /// The shards that a request with these records reaches, in their order.
    async fn shards(harness: &Harness, records: Json) -> Vec<String> {
        let reply = harness.ok("PutRecords", json!({"StreamName": "s", "Records": records})).await;
        let records = reply["Records"].as_array().expect("a list").iter();
        let mut shards: Vec<_> = records.map(|record| text(&record["ShardId"])).collect();
        shards.sort();
        shards
    }

    #[tokio::test]
    async fn records_are_spread_evenly_whatever_their_keys() {
        let harness = Harness::new().await;
        create_on_demand(&harness).await;
        assert_eq!(strategy(&harness).await, "USER_PARTITION_KEY");
        let same = json!({"Data": "", "PartitionKey": "k", "ExplicitHashKey": "0"});
        let four = json!([same, same, same, same]);
        let first = "shardId-000000000000";
        assert_eq!(shards(&harness, four.clone()).await, [first; 4]);

        let answered = harness.call(UPDATE, update("AUTO")).await;
        assert_eq!(answered, (200, Json::Null));
        assert_eq!(strategy(&harness).await, "AUTO");
        let all: Vec<_> = (0..4).map(|index| format!("shardId-{index:012}")).collect();
        assert_eq!(shards(&harness, four).await, all);
        let keyless = json!({"Data": ""});
        assert_eq!(shards(&harness, json!([keyless, keyless, keyless, keyless])).await, all);
        harness.ok("PutRecord", json!({"StreamName": "s", "Data": ""})).await;

        harness.ok(UPDATE, update("USER_PARTITION_KEY")).await;
        assert_eq!(shards(&harness, json!([same, same])).await, [first; 2]);
        let message = "1 validation error detected: Value null at 'partitionKey' failed to satisfy \
                       constraint: Member must not be null";
        let expected = ("Validation".to_owned(), message.to_owned());
        let input = json!({"StreamName": "s", "Data": ""});
        assert_eq!(harness.error("PutRecord", input).await, expected);
        let message = "2 validation errors detected: Value null at 'records.1.member.partitionKey' \
                       failed to satisfy constraint: Member must not be null; Value null at \
                       'records.3.member.partitionKey' failed to satisfy constraint: Member must \
                       not be null";
        let expected = ("Validation".to_owned(), message.to_owned());
        let records = json!([keyless, same, keyless]);
        let input = json!({"StreamName": "s", "Records": records});
        assert_eq!(harness.error("PutRecords", input).await, expected);
    }

    #[tokio::test]
    async fn a_stream_that_kafka_makes_provisioned_is_written_by_keys() {
        let harness = Harness::new().await;
        create_on_demand(&harness).await;
        harness.ok(UPDATE, update("AUTO")).await;
        let set = ("weir.stream.mode".to_owned(), Change::Set("PROVISIONED".to_owned()));
        let alteration = Alteration {
            resource: Resource::Stream("s".to_owned()),
            changes: Changes::Some([set].into()),
        };
        let configurations = harness.broker.configurations();
        for altered in configurations.alter(vec![alteration], Intent::Make).await {
            altered.expect("a legal change");
        }
        let same = json!({"Data": "", "PartitionKey": "k", "ExplicitHashKey": "0"});
        assert_eq!(shards(&harness, json!([same, same])).await, ["shardId-000000000000"; 2]);
        let (kind, _) = harness.error("PutRecord", json!({"StreamName": "s", "Data": ""})).await;
        assert_eq!(kind, "Validation");
    }

    #[tokio::test]
    async fn provisioned_streams_have_no_automatic_distribution() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let message = |name: &str| {
            format!(
                "RecordDistributionStrategy AUTO is only supported for streams in ON_DEMAND mode. \
                 Stream {name} under account {ACCOUNT} is in PROVISIONED mode."
            )
        };
        let expected = ("InvalidArgument".to_owned(), message("s"));
        assert_eq!(harness.error(UPDATE, update("AUTO")).await, expected);
        harness.ok(UPDATE, update("USER_PARTITION_KEY")).await;
        assert_eq!(strategy(&harness).await, Json::Null, "they have no such setting");
        let mut input = json!({"StreamName": "t", "ShardCount": 1});
        input["RecordDistributionStrategy"] = json!("AUTO");
        let expected = ("InvalidArgument".to_owned(), message("t"));
        assert_eq!(harness.error("CreateStream", input.clone()).await, expected);
        input["StreamModeDetails"] = json!({"StreamMode": "ON_DEMAND"});
        harness.ok("CreateStream", input).await;
        harness.ok("PutRecord", json!({"StreamName": "t", "Data": ""})).await;
    }
}
