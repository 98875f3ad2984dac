//! UpdateStreamMode: switches a stream between provisioned and on-demand.
//!
//! Inputs: `StreamARN`, `StreamModeDetails`, `WarmThroughputMiBps` (with `ON_DEMAND` only).
//!
//! Behaviour: no shard changes. Twice in 24 hours, unless quotas are off; the mode that a stream
//! has already is no switch. The account's limit of on-demand streams holds. A stream that becomes
//! provisioned loses its warm throughput and is written by keys again.

use bytes::Bytes;
use weir_core::stream::mode::ModeChange;

use crate::action::create_stream::check_on_demand_limit;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;
use crate::stream_settings::mode_of_input;

pub(super) static ACTION: Action = Action {
    name: "UpdateStreamMode",
    members: &[
        Member::required("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::required("StreamModeDetails", &shape::STREAM_MODE_DETAILS),
        Member::optional("WarmThroughputMiBps", &shape::NATURAL_INTEGER),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let mode = mode_of_input(&call.input);
    if stream.config().mode != mode {
        check_on_demand_limit(call, mode)?;
    }
    let warm_throughput_mib = call.input.integer("WarmThroughputMiBps").map(i64::unsigned_abs);
    let change = ModeChange { mode, warm_throughput_mib };
    let changed = call.broker().change_mode(stream.id, change).await;
    changed.map_err(|error| {
        let (name, account) = (stream.name.as_str(), call.account());
        errors::amend_error(error, &stream, account, |refusal| {
            errors::mode_refusal(refusal, name, account)
        })
    })?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::{Value as Json, json};
    use weir_core::quota::limits::QuotaPolicy;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";

    fn update(mode: &str) -> Json {
        json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": mode}})
    }

    async fn summary(harness: &Harness) -> Json {
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        reply["StreamDescriptionSummary"].clone()
    }

    #[tokio::test]
    async fn a_stream_keeps_its_shards_when_its_mode_changes() {
        let harness = Harness::new().await;
        harness.create_stream("s", 3).await;
        let answered = harness.call("UpdateStreamMode", update("ON_DEMAND")).await;
        assert_eq!(answered, (200, Json::Null));
        let strategy = json!({"StreamARN": ARN, "RecordDistributionStrategy": "AUTO"});
        harness.ok("UpdateStreamRecordDistributionStrategy", strategy).await;
        let shown = summary(&harness).await;
        assert_eq!(shown["StreamModeDetails"], json!({"StreamMode": "ON_DEMAND"}));
        assert_eq!(shown["OpenShardCount"], 3);
        assert_eq!(shown["RecordDistributionStrategy"], "AUTO");
        let reply = harness.ok("DescribeLimits", json!({})).await;
        assert_eq!(reply["OnDemandStreamCount"], 1);

        harness.ok("UpdateStreamMode", update("PROVISIONED")).await;
        assert_eq!(summary(&harness).await.get("RecordDistributionStrategy"), None);
        harness.ok("UpdateStreamMode", update("ON_DEMAND")).await;
        let shown = summary(&harness).await;
        assert_eq!(shown["RecordDistributionStrategy"], "USER_PARTITION_KEY");
    }

    #[tokio::test]
    async fn two_switches_a_day_are_granted() {
        let harness = Harness::with_quotas(QuotaPolicy::Aws).await;
        harness.create_stream("s", 1).await;
        for mode in ["PROVISIONED", "ON_DEMAND", "ON_DEMAND", "PROVISIONED"] {
            harness.ok("UpdateStreamMode", update(mode)).await;
        }
        let message = format!(
            "Stream s under account {ACCOUNT} has reached the limit of 2 switches of its mode in \
             24 hours."
        );
        let expected = ("LimitExceeded".to_owned(), message);
        assert_eq!(harness.error("UpdateStreamMode", update("ON_DEMAND")).await, expected);
        harness.advance_ms(86_400_000);
        harness.ok("UpdateStreamMode", update("ON_DEMAND")).await;
    }

    #[tokio::test]
    async fn the_accounts_on_demand_streams_are_limited() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let mode = json!({"StreamMode": "ON_DEMAND"});
        for number in 0..50 {
            let name = format!("on-demand-{number}");
            let input = json!({"StreamName": name, "StreamModeDetails": mode});
            harness.ok("CreateStream", input).await;
        }
        let (kind, _) = harness.error("UpdateStreamMode", update("ON_DEMAND")).await;
        assert_eq!(kind, "LimitExceeded");
        let mut again = update("ON_DEMAND");
        again["StreamARN"] = json!(ARN.replace("/s", "/on-demand-0"));
        harness.ok("UpdateStreamMode", again).await;
    }
}
