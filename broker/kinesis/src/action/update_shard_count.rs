//! UpdateShardCount: scales a stream to a number of shards of even width.
//!
//! Inputs: the stream, `TargetShardCount`, `ScalingType` (UNIFORM_SCALING).
//!
//! Behaviour: a plan of splits and merges in one step; shards that only lead from one of them to
//! the next are listed as closed, as AWS's short-lived ones. At most double and at least half the
//! open shards, and ten times in 24 hours, unless the server's quotas are off. The reply has the
//! number of open shards before.

use bytes::Bytes;
use weir_core::routing::reshard::Reshard;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::reshard::{Asked, reshard};
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::stream_reference::{find_stream, stream_arn};

static SCALING_TYPE: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::OneOf(&["UNIFORM_SCALING"])] };

pub(super) static ACTION: Action = Action {
    name: "UpdateShardCount",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("TargetShardCount", &shape::POSITIVE_INTEGER),
        Member::required("ScalingType", &SCALING_TYPE),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Account(10.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let target = call.input.integer("TargetShardCount").unwrap_or_default();
    let partitions = u32::try_from(target).unwrap_or(u32::MAX);
    let asked = Asked::Scale { target };
    let resharded = reshard(call, &stream, Reshard::Scale { partitions }, asked).await?;
    let mut writer = call.writer();
    writer.begin_map();
    writer.text_member("StreamName", stream.name.as_str());
    writer.text_member("StreamARN", &stream_arn(call, &stream));
    writer.integer_member("CurrentShardCount", resharded.open_before as u64);
    writer.integer_member("TargetShardCount", resharded.open_now as u64);
    writer.end_map();
    Ok(writer.into_bytes())
}

#[cfg(test)]
mod tests {
    use crate::harness::{Harness, text};
    use serde_json::{Value as Json, json};
    use weir_core::quota::limits::QuotaPolicy;

    fn scale(target: u32) -> Json {
        let mut input = json!({"StreamName": "s", "TargetShardCount": target});
        input["ScalingType"] = json!("UNIFORM_SCALING");
        input
    }

    async fn open_starts(harness: &Harness) -> Vec<u128> {
        let filter = json!({"StreamName": "s", "ShardFilter": {"Type": "AT_LATEST"}});
        let shards = harness.ok("ListShards", filter).await;
        let shards = shards["Shards"].as_array().expect("a list of shards");
        let start = |shard: &Json| text(&shard["HashKeyRange"]["StartingHashKey"]);
        let mut starts: Vec<u128> =
            shards.iter().map(|shard| start(shard).parse().expect("a number")).collect();
        starts.sort_unstable();
        starts
    }

    #[tokio::test]
    async fn a_stream_is_scaled_up_and_down_to_even_shards() {
        let harness = Harness::with_quotas(QuotaPolicy::Aws).await;
        harness.create_stream("s", 2).await;
        for (before, target) in [(2, 4), (4, 6), (6, 3), (3, 2), (2, 1)] {
            assert_eq!(
                harness.ok("UpdateShardCount", scale(target)).await,
                json!({
                    "StreamName": "s",
                    "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/s",
                    "CurrentShardCount": before,
                    "TargetShardCount": target,
                })
            );
            let starts = open_starts(&harness).await;
            assert_eq!(starts.len(), target as usize);
            for (index, start) in (0u128..).zip(starts) {
                let even = u128::MAX / u128::from(target) * index;
                assert!(start.abs_diff(even) < 1 << 108, "{index} of {target}: {start}");
            }
        }
    }

    #[tokio::test]
    async fn scaling_is_limited_as_in_aws_where_quotas_are() {
        let harness = Harness::with_quotas(QuotaPolicy::Aws).await;
        harness.create_stream("s", 5).await;
        for (target, what) in [(11, "up over double"), (2, "down below half")] {
            let expected = (
                "LimitExceeded".to_owned(),
                format!(
                    "UpdateShardCount cannot scale {what} your current open shard count. \
                     Current open shard count: 5, Target shard count: {target}"
                ),
            );
            assert_eq!(harness.error("UpdateShardCount", scale(target)).await, expected);
        }
        for target in [10, 5, 3, 5, 3, 5, 3, 5, 3, 5] {
            harness.advance_ms(1_000);
            harness.ok("UpdateShardCount", scale(target)).await;
        }
        let (kind, message) = harness.error("UpdateShardCount", scale(10)).await;
        assert_eq!(kind, "LimitExceeded");
        assert!(message.contains("10 times in 24 hours"), "{message}");
        harness.advance_ms(24 * 3_600_000);
        harness.ok("UpdateShardCount", scale(10)).await;

        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        for target in [5, 1, 9, 1, 5, 1, 5, 1, 5, 1, 5, 2] {
            harness.ok("UpdateShardCount", scale(target)).await;
        }
        let (kind, message) = harness.error("UpdateShardCount", scale(10_001)).await;
        assert_eq!(kind, "LimitExceeded");
        assert!(message.starts_with("Target shard count or number of open shards"), "{message}");
    }

    #[tokio::test]
    async fn members_are_checked_as_the_model_says() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let mut input = scale(0);
        input["ScalingType"] = json!("UNIFORM");
        let expected = (
            "Validation".to_owned(),
            "2 validation errors detected: Value '0' at 'targetShardCount' failed to satisfy \
             constraint: Member must have value greater than or equal to 1; Value 'UNIFORM' at \
             'scalingType' failed to satisfy constraint: Member must satisfy enum value set: \
             [UNIFORM_SCALING]"
                .to_owned(),
        );
        assert_eq!(harness.error("UpdateShardCount", input).await, expected);
    }
}
