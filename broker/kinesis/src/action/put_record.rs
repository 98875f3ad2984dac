//! PutRecord: one record into the shard that its key belongs to.
//!
//! Inputs: the stream, `Data`, `PartitionKey`, `ExplicitHashKey` (routes in the key's place),
//! `SequenceNumberForOrdering`, `DryRun`.
//!
//! Behaviour: answers when the record is kept by the stream's flush policy. Numbers of a shard grow
//! anyway, so `SequenceNumberForOrdering` is only checked: one that is malformed or dated in the
//! future is refused.
//!
//! Behaviour of keys: a stream whose records are spread evenly takes them without `PartitionKey`;
//! for others it is refused as if the model required it.
//!
//! Gaps: a dry run does not look at the quota.

use std::iter;

use bytes::Bytes;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::incoming_record::{RecordSizeLimit, needs_partition_keys, routed_record};
use crate::sequence_number::{ParsedNumber, SequenceNumber};
use crate::shape::{self, Member};
use crate::shard::ShardId;
use crate::stream_numbers;
use crate::stream_reference::find_stream_in_use;
use crate::stream_settings::write_encryption_type;
use crate::validate;

pub(super) static ACTION: Action = Action {
    name: "PutRecord",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("Data", &shape::DATA),
        Member::optional("PartitionKey", &shape::PARTITION_KEY),
        Member::optional("ExplicitHashKey", &shape::HASH_KEY),
        Member::optional("SequenceNumberForOrdering", &shape::SEQUENCE_NUMBER),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::optional("DryRun", &shape::BOOLEAN),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream_in_use(call)?;
    if needs_partition_keys(&stream) && call.input.text("PartitionKey").is_none() {
        validate::refuse_absent(iter::once("partitionKey".to_owned()))?;
    }
    let record = routed_record(call, &call.input)?;
    RecordSizeLimit::of(call, &stream).check(&record)?;
    check_ordering(call, stream.name.as_str())?;
    if call.input.is_true("DryRun") {
        return Err(KinesisError::dry_run_succeeded());
    }
    let begun = stream_numbers::begin(call, &stream);
    let bytes = record.size_bytes();
    let result = call.broker().append_routed(&stream, &[record]).await.pop();
    let written = matches!(result, Some(Ok(_))).then_some(bytes);
    stream_numbers::count_put_record(call, &stream, begun, written);
    let place = match result {
        Some(Ok(place)) => place,
        Some(Err(error)) => return Err(errors::append_error(&error, &stream, call.account())),
        None => return Err(KinesisError::internal_failure(&"no answer for the record")),
    };
    call.metrics.records_in.add(1);
    let partition = stream
        .partition(place.partition)
        .ok_or_else(|| KinesisError::internal_failure(&"the record's shard is gone"))?;
    let number = SequenceNumber::of_record(&partition, place.epoch, place.offset, place.timestamp);
    let mut writer = call.writer();
    writer.begin_map();
    writer.text_member("ShardId", &ShardId(place.partition).to_string());
    writer.text_member("SequenceNumber", &number.to_string());
    write_encryption_type(&mut writer, &stream);
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

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, base64, data_of, text};
    use serde_json::json;
    use weir_core::quota::limits::QuotaPolicy;

    #[tokio::test]
    async fn a_record_goes_where_its_key_or_its_hash_key_says() {
        let harness = Harness::new().await;
        harness.create_stream("s", 2).await;
        let half = "170141183460469231731687303715884105728";
        for (key, hash_key, shard) in [
            // MD5 of "a" begins with 0c, of "b" with 92.
            ("a", None, 0),
            ("b", None, 1),
            ("a", Some(half), 1),
            ("b", Some("0"), 0),
        ] {
            let mut input = json!({"StreamName": "s", "PartitionKey": key, "Data": ""});
            if let Some(hash_key) = hash_key {
                input["ExplicitHashKey"] = json!(hash_key);
            }
            let reply = harness.ok("PutRecord", input).await;
            assert_eq!(reply["ShardId"], format!("shardId-{shard:012}"), "{key} {hash_key:?}");
        }
    }

    #[tokio::test]
    async fn sequence_numbers_grow_and_are_the_same_when_read() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let mut numbers = Vec::new();
        for data in ["one", "two", "three"] {
            numbers.push(harness.put("s", "k", data).await);
            harness.advance_ms(700);
        }
        assert!(numbers.is_sorted() && numbers[0] < numbers[1]);
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        let reply = harness.ok("GetRecords", json!({"ShardIterator": iterator})).await;
        assert_eq!(data_of(&reply), ["one", "two", "three"]);
        for (index, number) in numbers.iter().enumerate() {
            assert_eq!(text(&reply["Records"][index]["SequenceNumber"]), *number);
        }
    }

    #[tokio::test]
    async fn impossible_records_are_refused_with_a_reason() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let number = harness.put("s", "k", "x").await;
        let too_high = "340282366920938463463374607431768211456";
        let put = |member: &str, value: &str| {
            let mut input = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
            input[member] = json!(value);
            input
        };
        let large = "x".repeat(1 << 20);
        let ordering = |number: &str| {
            format!(
                "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream s \
                 under account {ACCOUNT} is invalid."
            )
        };
        let future = "49999999999999999999999999999999999999999999999999999999";
        for (input, kind, message) in [
            (
                put("ExplicitHashKey", too_high),
                "InvalidArgument",
                format!(
                    "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: \
                     [0, 2^128-1]. Specified value was {too_high}"
                ),
            ),
            (
                put("Data", &base64(&large)),
                "InvalidArgument",
                format!(
                    "Record of 1048577 bytes exceeds the maximum record size of 1048576 bytes \
                     for stream s under account {ACCOUNT}."
                ),
            ),
            (put("SequenceNumberForOrdering", future), "InvalidArgument", ordering(future)),
            (
                put("StreamName", "missing"),
                "ResourceNotFound",
                format!("Stream missing under account {ACCOUNT} not found."),
            ),
        ] {
            let expected = (kind.to_owned(), message);
            assert_eq!(harness.error("PutRecord", input).await, expected);
        }
        harness.ok("PutRecord", put("SequenceNumberForOrdering", &number)).await;
        harness.ok("PutRecord", put("Data", &base64(&large[1..]))).await;
    }

    #[tokio::test]
    async fn a_dry_run_writes_nothing() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let mut input = json!({"StreamName": "s", "PartitionKey": "k", "Data": "", "DryRun": true});
        let (kind, _) = harness.error("PutRecord", input.clone()).await;
        assert_eq!(kind, "DryRunOperation");
        input["StreamName"] = json!("missing");
        let (kind, _) = harness.error("PutRecord", input).await;
        assert_eq!(kind, "ResourceNotFound");
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        assert_eq!(harness.data_from(&iterator).await.len(), 0);
    }

    #[tokio::test]
    async fn a_shard_over_its_quota_refuses_until_it_has_recovered() {
        let harness = Harness::with_quotas(QuotaPolicy::Aws).await;
        harness.create_stream("s", 1).await;
        // Admitted while tokens are left, then charged in full: the first leaves a byte of quota.
        let large = base64(&"x".repeat((1 << 20) - 2));
        let input = json!({"StreamName": "s", "PartitionKey": "k", "Data": large});
        harness.ok("PutRecord", input.clone()).await;
        harness.ok("PutRecord", input.clone()).await;
        let refused = (
            "ProvisionedThroughputExceeded".to_owned(),
            format!(
                "Rate exceeded for shard shardId-000000000000 in stream s under account {ACCOUNT}."
            ),
        );
        assert_eq!(harness.error("PutRecord", input.clone()).await, refused);
        harness.advance_ms(1_001);
        harness.ok("PutRecord", input).await;
    }
}
