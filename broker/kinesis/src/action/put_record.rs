//! PutRecord: one record into the shard that its key belongs to.
//!
//! Inputs: the stream, `Data`, `PartitionKey`, `ExplicitHashKey` (routes in the key's place),
//! `SequenceNumberForOrdering`, `DryRun`.
//!
//! Behaviour: answers when the record is kept by the stream's flush policy. Numbers of a shard grow
//! anyway, so `SequenceNumberForOrdering` is only checked: one that is malformed or dated in the
//! future is refused.
//!
//! Gaps: `PartitionKey` is optional in the model for streams with automatic distribution, which do
//! not exist here; it is required. A dry run does not look at the quota.

use bytes::Bytes;

use crate::action::{Action, Call};
use crate::errors::{self, KinesisError};
use crate::incoming_record::{check_record_size, routed_record};
use crate::sequence_number::{ParsedNumber, SequenceNumber};
use crate::shape::{self, Member};
use crate::shard::ShardId;
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "PutRecord",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("Data", &shape::DATA),
        Member::required("PartitionKey", &shape::PARTITION_KEY),
        Member::optional("ExplicitHashKey", &shape::HASH_KEY),
        Member::optional("SequenceNumberForOrdering", &shape::SEQUENCE_NUMBER),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::optional("DryRun", &shape::BOOLEAN),
    ],
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let record = routed_record(call, &call.input)?;
    check_record_size(call, &stream, &record)?;
    check_ordering(call, stream.name.as_str())?;
    if call.input.is_true("DryRun") {
        return Err(KinesisError::dry_run_succeeded());
    }
    call.metrics.records_in.add(1);
    let result = call.broker().append_routed(&stream, &[record]).await.pop();
    let place = match result {
        Some(Ok(place)) => place,
        Some(Err(error)) => return Err(errors::append_error(&error, &stream, call.account())),
        None => return Err(KinesisError::internal_failure(&"no answer for the record")),
    };
    let partition = stream
        .partition(place.partition)
        .ok_or_else(|| KinesisError::internal_failure(&"the record's shard is gone"))?;
    let number = SequenceNumber::of_record(&partition, place.epoch, place.offset, place.timestamp);
    let mut writer = call.writer();
    writer.begin_map();
    writer.text_member("ShardId", &ShardId(place.partition).to_string());
    writer.text_member("SequenceNumber", &number.to_string());
    writer.end_map();
    Ok(writer.into_bytes())
}

fn check_ordering(call: &Call<'_>, stream: &str) -> Result<(), KinesisError> {
    let Some(text) = call.input.text("SequenceNumberForOrdering") else {
        return Ok(());
    };
    let now_s = u64::try_from(call.now().as_seconds()).unwrap_or(0);
    match ParsedNumber::parse(text) {
        Ok(ParsedNumber::Current(number)) if number.arrival_s <= now_s => Ok(()),
        Ok(ParsedNumber::Older { .. }) => Ok(()),
        Ok(ParsedNumber::Current(_)) | Err(_) => Err(KinesisError::invalid_argument(format!(
            "ExclusiveMinimumSequenceNumber {text} used in PutRecord on stream {stream} \
             under account {} is invalid.",
            call.account()
        ))),
    }
}
