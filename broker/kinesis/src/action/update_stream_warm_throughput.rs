//! UpdateStreamWarmThroughput: asks for throughput that an on-demand stream has without scaling.
//!
//! Inputs: the stream, `WarmThroughputMiBps` (up to 10,240).
//!
//! Behaviour: only for on-demand streams, of an account that has enabled its
//! MinimumThroughputBillingCommitment. The wish is kept and shown as the target; what is shown as
//! current is what the stream's open shards take in, a MiB/s each.

use bytes::Bytes;
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::shape::{self, Member};
use crate::stream_reference::{find_stream, stream_arn};
use crate::wire::ReplyWriter;

pub(super) static ACTION: Action = Action {
    name: "UpdateStreamWarmThroughput",
    members: &[
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::required("WarmThroughputMiBps", &shape::NATURAL_INTEGER),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let mib = call.input.integer("WarmThroughputMiBps").unwrap_or_default().unsigned_abs();
    let changed = call.broker().change_warm_throughput(stream.id, mib).await;
    changed.map_err(|error| {
        let (name, account) = (stream.name.as_str(), call.account());
        errors::amend_error(error, &stream, account, |refusal| {
            errors::warm_throughput_refusal(refusal, name, account)
        })
    })?;
    let mut writer = call.writer();
    writer.begin_map();
    writer.text_member("StreamARN", &stream_arn(call, &stream));
    writer.text_member("StreamName", stream.name.as_str());
    write_warm_throughput(&mut writer, &stream);
    writer.end_map();
    Ok(writer.into_bytes())
}

/// The member `WarmThroughput`; absent where nobody asked for any.
pub(super) fn write_warm_throughput(writer: &mut ReplyWriter, stream: &Stream) {
    let Some(target_mib) = stream.attributes().warm_throughput_mib else {
        return;
    };
    let partitions = stream.partitions();
    let open = partitions.iter().filter(|partition| partition.closed_at().is_none()).count();
    writer.name("WarmThroughput");
    writer.begin_map();
    writer.integer_member("TargetMiBps", target_mib);
    writer.integer_member("CurrentMiBps", open as u64);
    writer.end_map();
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::{Value as Json, json};

    const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";
    const UPDATE: &str = "UpdateStreamWarmThroughput";

    fn create(mode: &str) -> Json {
        json!({"StreamName": "s", "ShardCount": 1, "StreamModeDetails": {"StreamMode": mode}})
    }

    async fn commit(harness: &Harness) {
        let input = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
        harness.ok("UpdateAccountSettings", input).await;
    }

    async fn shown(harness: &Harness) -> Json {
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        reply["StreamDescriptionSummary"]["WarmThroughput"].clone()
    }

    #[tokio::test]
    async fn the_target_is_kept_and_shown() {
        let harness = Harness::new().await;
        commit(&harness).await;
        harness.ok("CreateStream", create("ON_DEMAND")).await;
        assert_eq!(shown(&harness).await, Json::Null);
        let warm = json!({"TargetMiBps": 100, "CurrentMiBps": 4});
        assert_eq!(
            harness.ok(UPDATE, json!({"StreamName": "s", "WarmThroughputMiBps": 100})).await,
            json!({"StreamARN": ARN, "StreamName": "s", "WarmThroughput": warm})
        );
        assert_eq!(shown(&harness).await, warm);
        let mode = |mode: &str, warm: Json| {
            json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": mode},
                "WarmThroughputMiBps": warm})
        };
        harness.ok("UpdateStreamMode", mode("PROVISIONED", Json::Null)).await;
        assert_eq!(shown(&harness).await, Json::Null);
        harness.ok("UpdateStreamMode", mode("ON_DEMAND", json!(8))).await;
        assert_eq!(shown(&harness).await, json!({"TargetMiBps": 8, "CurrentMiBps": 4}));
        let (kind, _) = harness.error("UpdateStreamMode", mode("PROVISIONED", json!(8))).await;
        assert_eq!(kind, "InvalidArgument");
        assert_eq!(shown(&harness).await["TargetMiBps"], 8, "the stream is as it was");
    }

    #[tokio::test]
    async fn only_committed_accounts_have_it_and_only_on_demand() {
        let harness = Harness::new().await;
        harness.ok("CreateStream", create("ON_DEMAND")).await;
        let needs = "Warm throughput is only supported for accounts that have enabled \
                     MinimumThroughputBillingCommitment."
            .to_owned();
        let update = |mib: u64| json!({"StreamName": "s", "WarmThroughputMiBps": mib});
        let expected = ("InvalidArgument".to_owned(), needs.clone());
        assert_eq!(harness.error(UPDATE, update(1)).await, expected);
        let mut other = create("ON_DEMAND");
        other["StreamName"] = json!("t");
        other["WarmThroughputMiBps"] = json!(1);
        assert_eq!(harness.error("CreateStream", other.clone()).await, expected);
        commit(&harness).await;
        harness.ok("CreateStream", other.clone()).await;
        harness.ok(UPDATE, update(10_240)).await;
        let (kind, _) = harness.error(UPDATE, update(10_241)).await;
        assert_eq!(kind, "LimitExceeded");
        other["StreamName"] = json!("u");
        other["StreamModeDetails"] = json!({"StreamMode": "PROVISIONED"});
        let message = format!(
            "Warm throughput is only supported for streams in ON_DEMAND mode. \
             Stream u under account {ACCOUNT} is in PROVISIONED mode."
        );
        let expected = ("InvalidArgument".to_owned(), message);
        assert_eq!(harness.error("CreateStream", other).await, expected);
    }
}
