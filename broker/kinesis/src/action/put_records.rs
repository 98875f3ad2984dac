//! PutRecords: up to 500 records, each into the shard that its key belongs to.
//!
//! Inputs: the stream, `Records` (1 to 500 of `Data`, `PartitionKey`, `ExplicitHashKey`), `DryRun`.
//!
//! Behaviour: what is wrong with one record's members, or with the request's size (10 MiB of keys
//! and data), refuses the whole request. Otherwise each record has an answer of its own, in order:
//! its shard and number, or `ErrorCode` and `ErrorMessage` when its shard is over its quota or
//! could not write; the status is 200 then too. Answers when every record is kept or refused.
//!
//! Gaps: as PutRecord's.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tracing::error;
use weir_core::partition::partition::Partition;
use weir_core::routing::route::{RoutedPlace, RoutedRecord};
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, ErrorKind, KinesisError};
use crate::faults;
use crate::incoming_record::{RecordSizeLimit, needs_partition_keys, routed_record};
use crate::sequence_number::SequenceNumber;
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::shard::ShardId;
use crate::stream_numbers;
use crate::stream_reference::find_stream_in_use;
use crate::stream_settings::write_encryption_type;
use crate::validate;
use crate::wire::ReplyWriter;

/// Most bytes of keys and data in one request.
const REQUEST_DATA_BYTES_MAX: usize = 10 * 1024 * 1024;

/// What a record's error says when the broker is at fault.
const INTERNAL_FAILURE_TEXT: &str = "Internal service failure.";

static ENTRY: Shape = Shape {
    kind: Kind::Structure(&[
        Member::required("Data", &shape::DATA),
        Member::optional("ExplicitHashKey", &shape::HASH_KEY),
        Member::optional("PartitionKey", &shape::PARTITION_KEY),
    ]),
    rules: &[],
};
static RECORDS: Shape =
    Shape { kind: Kind::List(&ENTRY), rules: &[Rule::LengthAtLeast(1), Rule::LengthAtMost(500)] };

pub(super) static ACTION: Action = Action {
    name: "PutRecords",
    members: &[
        Member::required("Records", &RECORDS),
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::optional("DryRun", &shape::BOOLEAN),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream_in_use(call)?;
    let records = records(call, &stream)?;
    if call.input.is_true("DryRun") {
        return Err(KinesisError::dry_run_succeeded());
    }
    let begun = stream_numbers::begin(call, &stream);
    let sizes: Vec<usize> = records.iter().map(RoutedRecord::size_bytes).collect();
    let failing = faults::failing_records(call, &stream, &records);
    let results = append(call, &stream, records, failing).await;
    stream_numbers::count_put_records(call, &stream, begun, sizes.into_iter().zip(&results));
    let written = results.iter().filter(|result| result.is_ok()).count();
    call.metrics.records_in.add(written as u64);
    if stream.is_deleted() {
        let (name, account) = (stream.name.as_str(), call.account());
        return Err(KinesisError::stream_not_found(name, account));
    }
    Ok(reply(call, &stream, &results))
}

/// Appends all records but those that are wanted to fail; the results are in the request's order.
async fn append(
    call: &Call<'_>,
    stream: &Stream,
    mut records: Vec<RoutedRecord>,
    failing: Vec<(usize, KinesisError)>,
) -> Vec<Result<RoutedPlace, KinesisError>> {
    for (place, _) in failing.iter().rev() {
        records.remove(*place);
    }
    let results = call.broker().append_routed(stream, &records).await;
    let told = |error| errors::append_error(&error, stream, call.account());
    let mut results: Vec<_> = results.into_iter().map(|result| result.map_err(told)).collect();
    for (place, error) in failing {
        results.insert(place, Err(error));
    }
    results
}

fn records(call: &Call<'_>, stream: &Stream) -> Result<Vec<RoutedRecord>, KinesisError> {
    if needs_partition_keys(stream) {
        let members = call.input.structures("Records").enumerate();
        let without = members.filter(|(_, members)| members.text("PartitionKey").is_none());
        let path = |(index, _)| format!("records.{}.member.partitionKey", index + 1);
        validate::refuse_absent(without.map(path))?;
    }
    let size_limit = RecordSizeLimit::of(call, stream);
    let mut records = Vec::with_capacity(500);
    let mut request_bytes = 0;
    for members in call.input.structures("Records") {
        let record = routed_record(call, &members)?;
        size_limit.check(&record)?;
        request_bytes += record.size_bytes();
        records.push(record);
    }
    if request_bytes > REQUEST_DATA_BYTES_MAX {
        return Err(KinesisError::invalid_argument("Records size exceeds 10 MB limit"));
    }
    Ok(records)
}

fn reply(call: &Call<'_>, stream: &Stream, results: &[Result<RoutedPlace, KinesisError>]) -> Bytes {
    // Some 130 bytes for each record.
    let mut writer = ReplyWriter::with_capacity(call.encoding, 256 + results.len() * 160);
    let partitions = stream.partitions();
    let mut failures = Failures::default();
    writer.begin_map();
    writer.name("Records");
    writer.begin_list();
    for result in results {
        writer.begin_map();
        match result {
            Ok(place) => write_place(&mut writer, &partitions, place),
            Err(error) => {
                writer.text_member("ErrorCode", error.kind.name());
                let message = error.message.as_deref().unwrap_or(INTERNAL_FAILURE_TEXT);
                writer.text_member("ErrorMessage", message);
                failures.add(error.clone());
            }
        }
        writer.end_map();
    }
    writer.end_list();
    writer.integer_member("FailedRecordCount", failures.count);
    write_encryption_type(&mut writer, stream);
    writer.end_map();
    failures.report(call);
    writer.into_bytes()
}

fn write_place(writer: &mut ReplyWriter, partitions: &[Arc<Partition>], place: &RoutedPlace) {
    let partition = partitions
        .get(place.partition.as_usize())
        .expect("a record is placed in a partition that exists, and none ever vanishes");
    let number = SequenceNumber::of_record(partition, place.epoch, place.offset, place.timestamp);
    writer.text_member("SequenceNumber", &number.to_string());
    writer.text_member("ShardId", &ShardId(place.partition).to_string());
}

/// The records that were refused: how many, and the first of each kind of reason for the log.
#[derive(Default)]
struct Failures {
    count: u64,
    reasons: BTreeMap<&'static str, KinesisError>,
}

impl Failures {
    fn add(&mut self, error: KinesisError) {
        self.count += 1;
        self.reasons.entry(error.kind.name()).or_insert(error);
    }

    fn report(&self, call: &Call<'_>) {
        if self.count > 0 {
            call.metrics.errors.add(1);
        }
        for reason in self.reasons.values() {
            if reason.kind == ErrorKind::ProvisionedThroughputExceeded {
                let why = reason.message.as_deref().unwrap_or_default();
                call.service.log_throttle(call, why);
            } else {
                let (peer, count) = (call.caller.peer, self.count);
                let cause = reason.cause.as_deref().or(reason.message.as_deref());
                error!(%peer, count, cause, "kinesis records not written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, base64, text};
    use serde_json::{Value as Json, json};
    use weir_core::metrics::Dialect;
    use weir_core::quota::limits::QuotaPolicy;

    fn entries(count: usize, data: &str) -> Vec<Json> {
        let data = base64(data);
        let entry = |index: usize| json!({"Data": data, "PartitionKey": format!("k{index}")});
        (0..count).map(entry).collect()
    }

    fn input(records: Vec<Json>) -> Json {
        json!({"StreamName": "s", "Records": records})
    }

    #[tokio::test]
    async fn answers_stand_in_the_order_of_the_records() {
        let harness = Harness::new().await;
        harness.create_stream("s", 2).await;
        let half = "170141183460469231731687303715884105728";
        let record =
            |hash_key: &str| json!({"Data": "", "PartitionKey": "k", "ExplicitHashKey": hash_key});
        let records = vec![record(half), record("0"), record(half)];
        let reply = harness.ok("PutRecords", input(records)).await;
        assert_eq!(reply["FailedRecordCount"], 0);
        let shard = |index: usize| text(&reply["Records"][index]["ShardId"]);
        assert_eq!(
            [shard(0), shard(1), shard(2)],
            ["shardId-000000000001", "shardId-000000000000", "shardId-000000000001"]
        );
        let number = |index: usize| text(&reply["Records"][index]["SequenceNumber"]);
        assert!(number(0) < number(2));
    }

    #[tokio::test]
    async fn records_over_the_quota_fail_alone() {
        let harness = Harness::with_quotas(QuotaPolicy::Aws).await;
        harness.create_stream("s", 1).await;
        for _ in 0..2 {
            let reply = harness.ok("PutRecords", input(entries(499, "x"))).await;
            assert_eq!(reply["FailedRecordCount"], 0);
        }
        let reply = harness.ok("PutRecords", input(entries(10, "x"))).await;
        assert_eq!(reply["FailedRecordCount"], 8, "1,000 records a second");
        assert_eq!(reply["Records"][1].get("ErrorCode"), None);
        assert_eq!(
            reply["Records"][2],
            json!({
                "ErrorCode": "ProvisionedThroughputExceededException",
                "ErrorMessage": format!(
                    "Rate exceeded for shard shardId-000000000000 in stream s \
                     under account {ACCOUNT}."
                ),
            })
        );
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        assert_eq!(harness.data_from(&iterator).await.len(), 1000);
        let metrics = harness.broker.metrics().request(Dialect::Kinesis, "PutRecords");
        assert_eq!(metrics.records_in.get(), 1000, "what was refused is not counted");
    }

    #[tokio::test]
    async fn requests_above_the_limits_are_refused_whole() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let (kind, message) = harness.error("PutRecords", input(entries(501, "x"))).await;
        assert_eq!(kind, "Validation");
        assert!(message.ends_with(
            "PutRecordsRequestEntry@1f4]' at 'records' failed to satisfy constraint: \
             Member must have length less than or equal to 500"
        ));
        let large = "x".repeat((1 << 20) - 2);
        harness.ok("PutRecords", input(entries(10, &large))).await;
        let mut above = entries(10, &large);
        above.extend(entries(1, "x"));
        let expected =
            ("InvalidArgument".to_owned(), "Records size exceeds 10 MB limit".to_owned());
        assert_eq!(harness.error("PutRecords", input(above)).await, expected);
        let (kind, _) = harness.error("PutRecords", input(entries(1, &"x".repeat(1 << 20)))).await;
        assert_eq!(kind, "InvalidArgument", "a record above its stream's limit");
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        assert_eq!(harness.data_from(&iterator).await.len(), 10);
    }

    #[tokio::test]
    async fn cbor_with_indefinite_lengths_is_written_and_read_back() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let put = b"\xbf\x6aStreamName\x61s\x67Records\x9f\xbf\x64Data\x5f\x42\x00\xff\x41\x01\xff\
                    \x6cPartitionKey\x61k\xff\xff\xff";
        let cbor = "application/x-amz-cbor-1.1";
        let answered = harness.call_raw("PutRecords", cbor, &put[..]).await;
        assert_eq!(answered.status, 200);
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        let mut get = b"\xa1\x6dShardIterator\x78\xcc".to_vec();
        get.extend_from_slice(iterator.as_bytes());
        let answered = harness.call_raw("GetRecords", cbor, get).await;
        assert_eq!(answered.headers["content-type"], cbor);
        let contains = |part: &[u8]| answered.body.windows(part.len()).any(|at| at == part);
        assert!(contains(b"\x64Data\x43\x00\xff\x01"), "a byte string");
        let tagged = b"ApproximateArrivalTimestamp\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x00";
        assert!(contains(tagged), "a time in milliseconds");
    }
}
