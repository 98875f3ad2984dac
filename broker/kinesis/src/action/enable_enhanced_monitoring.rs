//! EnableEnhancedMonitoring: asks for figures of a stream's shards.
//!
//! Inputs: the stream, `ShardLevelMetrics` (1 to 7 names, or `ALL`).
//!
//! Behaviour: what is asked for is kept, answered (before the change and after it), and shown in
//! descriptions; `ALL` stands for the seven others. There is no CloudWatch here: the figures
//! themselves are at `/metrics`, whatever was asked for.

use bytes::Bytes;
use weir_core::stream::monitoring::{MetricsChange, ShardMetric, ShardMetrics};

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::stream_reference::{find_stream, stream_arn};
use crate::wire::ReplyWriter;

const ALL: &str = "ALL";

static METRICS: Shape = Shape {
    kind: Kind::List(&shape::ANY_TEXT),
    rules: &[
        Rule::LengthAtLeast(1),
        Rule::LengthAtMost(7),
        Rule::ElementsOneOf(&[
            "IncomingBytes",
            "IncomingRecords",
            "OutgoingBytes",
            "OutgoingRecords",
            "WriteProvisionedThroughputExceeded",
            "ReadProvisionedThroughputExceeded",
            "IteratorAgeMilliseconds",
            ALL,
        ]),
    ],
};

/// What both operations on the monitoring take.
pub(super) static MEMBERS: [Member; 4] = [
    Member::optional("StreamName", &shape::STREAM_NAME),
    Member::required("ShardLevelMetrics", &METRICS),
    Member::optional("StreamARN", &shape::STREAM_ARN),
    Member::optional("StreamId", &shape::STREAM_ID),
];

pub(super) static ACTION: Action = Action {
    name: "EnableEnhancedMonitoring",
    members: &MEMBERS,
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(change_metrics(call, MetricsChange::Enable))),
};

/// Changes the figures in this direction.
pub(super) async fn change_metrics(
    call: &Call<'_>,
    direction: fn(ShardMetrics) -> MetricsChange,
) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let change = direction(asked_for(call));
    let changed = call.broker().change_shard_metrics(stream.id, change).await;
    let changed = changed.map_err(|error| {
        errors::amend_error(error, &stream, call.account(), |never| match never {})
    })?;
    let mut writer = call.writer();
    writer.begin_map();
    writer.text_member("StreamName", stream.name.as_str());
    writer.text_member("StreamARN", &stream_arn(call, &stream));
    write_metrics(&mut writer, "CurrentShardLevelMetrics", &changed.before);
    write_metrics(&mut writer, "DesiredShardLevelMetrics", &changed.after);
    writer.end_map();
    Ok(writer.into_bytes())
}

fn asked_for(call: &Call<'_>) -> ShardMetrics {
    let mut metrics = ShardMetrics::new();
    for name in call.input.texts("ShardLevelMetrics") {
        match name {
            ALL => metrics.extend(ShardMetric::ALL),
            _ => metrics.extend(ShardMetric::of_name(name)),
        }
    }
    metrics
}

/// A member that lists figures.
pub(super) fn write_metrics(writer: &mut ReplyWriter, member: &str, metrics: &ShardMetrics) {
    writer.name(member);
    writer.begin_list();
    for metric in metrics {
        writer.text(metric.name());
    }
    writer.end_list();
}

#[cfg(test)]
mod tests {
    use crate::harness::Harness;
    use serde_json::{Value as Json, json};

    const SEVEN: [&str; 7] = [
        "IncomingBytes",
        "IncomingRecords",
        "OutgoingBytes",
        "OutgoingRecords",
        "WriteProvisionedThroughputExceeded",
        "ReadProvisionedThroughputExceeded",
        "IteratorAgeMilliseconds",
    ];

    #[tokio::test]
    async fn figures_are_asked_for_and_given_up() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let (enable, disable) = ("EnableEnhancedMonitoring", "DisableEnhancedMonitoring");
        let arn = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";
        for (operation, metrics, before, after) in [
            (disable, json!(["ALL"]), json!([]), json!([])),
            (enable, json!(["OutgoingBytes"]), json!([]), json!(["OutgoingBytes"])),
            (enable, json!(["ALL"]), json!(["OutgoingBytes"]), json!(SEVEN)),
            (disable, json!(SEVEN[1..]), json!(SEVEN), json!(["IncomingBytes"])),
            (
                enable,
                json!(["IncomingRecords", "IncomingRecords"]),
                json!(["IncomingBytes"]),
                json!(["IncomingBytes", "IncomingRecords"]),
            ),
        ] {
            let input = json!({"StreamName": "s", "ShardLevelMetrics": metrics});
            assert_eq!(
                harness.ok(operation, input).await,
                json!({
                    "StreamName": "s",
                    "StreamARN": arn,
                    "CurrentShardLevelMetrics": before,
                    "DesiredShardLevelMetrics": after,
                })
            );
            let reply = harness.ok("DescribeStream", json!({"StreamName": "s"})).await;
            let shown: &Json = &reply["StreamDescription"]["EnhancedMonitoring"];
            assert_eq!(*shown, json!([{"ShardLevelMetrics": after}]));
        }
    }

    #[tokio::test]
    async fn unknown_figures_are_refused() {
        let harness = Harness::new().await;
        let input = json!({"StreamName": "s", "ShardLevelMetrics": ["ALL", "Bytes"]});
        let message = format!(
            "1 validation error detected: Value '[ALL, Bytes]' at 'shardLevelMetrics' failed to \
             satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value \
             set: [{}, ALL]]",
            SEVEN.join(", ")
        );
        let expected = ("Validation".to_owned(), message);
        assert_eq!(harness.error("EnableEnhancedMonitoring", input).await, expected);
    }
}
