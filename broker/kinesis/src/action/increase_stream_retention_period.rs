//! IncreaseStreamRetentionPeriod: makes a stream keep its records longer.
//!
//! Inputs: the stream, `RetentionPeriodHours` (24 to 8,760, and not below what holds).
//!
//! Behaviour: holds when it answers, where AWS's stream is UPDATING for some seconds. Records that
//! have expired do not come back. Asking for what holds is no error. For Kafka it is the same
//! setting, `retention.ms`, in other units.

use bytes::Bytes;
use weir_core::stream::retention::RetentionChange;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

/// What both operations on the retention take.
pub(super) static MEMBERS: [Member; 4] = [
    Member::optional("StreamName", &shape::STREAM_NAME),
    Member::required("RetentionPeriodHours", &shape::INTEGER),
    Member::optional("StreamARN", &shape::STREAM_ARN),
    Member::optional("StreamId", &shape::STREAM_ID),
];

pub(super) static ACTION: Action = Action {
    name: "IncreaseStreamRetentionPeriod",
    members: &MEMBERS,
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(change_retention(call, RetentionChange::Increase))),
};

/// Changes the retention in this direction.
pub(super) async fn change_retention(
    call: &Call<'_>,
    direction: fn(i64) -> RetentionChange,
) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let hours = call.input.integer("RetentionPeriodHours").unwrap_or_default();
    let changed = call.broker().change_retention(stream.id, direction(hours)).await;
    changed.map_err(|error| {
        errors::amend_error(error, &stream, call.account(), |refusal| {
            errors::retention_refusal(refusal, hours, &stream)
        })
    })?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::{Value as Json, json};

    async fn hours(harness: &Harness) -> Json {
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        reply["StreamDescriptionSummary"]["RetentionPeriodHours"].clone()
    }

    #[tokio::test]
    async fn the_retention_grows_and_shrinks() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        for (operation, asked) in [
            ("IncreaseStreamRetentionPeriod", 8760),
            ("DecreaseStreamRetentionPeriod", 48),
            ("IncreaseStreamRetentionPeriod", 48),
            ("DecreaseStreamRetentionPeriod", 24),
        ] {
            let input = json!({"StreamName": "s", "RetentionPeriodHours": asked});
            assert_eq!(harness.call(operation, input).await, (200, Json::Null), "{operation}");
            assert_eq!(hours(&harness).await, asked);
        }
        let stream = harness.broker.stream("s").expect("the stream");
        assert_eq!(stream.config().log.retention_ms, Some(86_400_000), "what its logs are told");
    }

    #[tokio::test]
    async fn retentions_out_of_bounds_or_in_the_wrong_direction_are_refused() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let (increase, decrease) =
            ("IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod");
        let input = json!({"StreamName": "s", "RetentionPeriodHours": 48});
        harness.ok(increase, input).await;
        let short = |hours: i64| {
            format!(
                "Minimum allowed retention period is 24 hours. \
                 Requested retention period ({hours} hours) is too short."
            )
        };
        let existing = "existing retention period (48 hours)";
        for (operation, asked, message) in [
            (increase, 23, short(23)),
            (decrease, 0, short(0)),
            (decrease, -1, short(-1)),
            (
                increase,
                8761,
                "Maximum allowed retention period is 8760 hours. \
                 Requested retention period (8761 hours) is too long."
                    .to_owned(),
            ),
            (
                increase,
                47,
                format!(
                    "Requested retention period (47 hours) for stream s can not be shorter than \
                     {existing}. Use DecreaseRetentionPeriod API."
                ),
            ),
            (
                decrease,
                49,
                format!(
                    "Requested retention period (49 hours) for stream s can not be longer than \
                     {existing}. Use IncreaseRetentionPeriod API."
                ),
            ),
        ] {
            let input = json!({"StreamName": "s", "RetentionPeriodHours": asked});
            let expected = ("InvalidArgument".to_owned(), message);
            assert_eq!(harness.error(operation, input).await, expected, "{operation} {asked}");
            assert_eq!(hours(&harness).await, 48);
        }
        let input = json!({"StreamName": "x", "RetentionPeriodHours": 48});
        let message = format!("Stream x under account {ACCOUNT} not found.");
        let expected = ("ResourceNotFound".to_owned(), message);
        assert_eq!(harness.error(increase, input).await, expected);
    }
}
