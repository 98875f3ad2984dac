//! UpdateMaxRecordSize: changes how large one record of a stream may be.
//!
//! Inputs: `StreamARN`, `MaxRecordSizeInKiB` (1,024 to 10,240).
//!
//! Behaviour: acts on the next write of any dialect: for Kafka it is `max.message.bytes`. Larger
//! records that are already written stay and are read. The model lets `StreamARN` be absent, and
//! then there is nothing to name the stream.

use bytes::Bytes;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "UpdateMaxRecordSize",
    members: &[
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::required("MaxRecordSizeInKiB", &shape::MAX_RECORD_SIZE),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let kib = call.input.integer("MaxRecordSizeInKiB").unwrap_or_default().unsigned_abs();
    let changed = call.broker().change_record_size(stream.id, kib).await;
    changed.map_err(|error| {
        errors::amend_error(error, &stream, call.account(), |never| match never {})
    })?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::harness::{Harness, base64};
    use serde_json::{Value as Json, json};

    const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";

    #[tokio::test]
    async fn the_next_write_may_be_as_large_as_the_limit() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let data = base64(&"x".repeat(2 << 20));
        let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": data});
        let (kind, _) = harness.error("PutRecord", put.clone()).await;
        assert_eq!(kind, "InvalidArgument");
        let update = |kib: u32| json!({"StreamARN": ARN, "MaxRecordSizeInKiB": kib});
        let answered = harness.call("UpdateMaxRecordSize", update(2049)).await;
        assert_eq!(answered, (200, Json::Null));
        harness.ok("PutRecord", put.clone()).await;
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        assert_eq!(reply["StreamDescriptionSummary"]["MaxRecordSizeInKiB"], 2049);

        harness.ok("UpdateMaxRecordSize", update(1024)).await;
        let (kind, _) = harness.error("PutRecord", put).await;
        assert_eq!(kind, "InvalidArgument");
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        assert_eq!(harness.data_from(&iterator).await.len(), 1, "what is written stays");
    }

    #[tokio::test]
    async fn sizes_out_of_bounds_are_refused() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        for kib in [1023, 10_241] {
            let input = json!({"StreamARN": ARN, "MaxRecordSizeInKiB": kib});
            let (kind, _) = harness.error("UpdateMaxRecordSize", input).await;
            assert_eq!(kind, "Validation", "{kib}");
        }
        let expected = "Either StreamName or StreamARN should be provided.".to_owned();
        let input = json!({"MaxRecordSizeInKiB": 1024});
        let answered = harness.error("UpdateMaxRecordSize", input).await;
        assert_eq!(answered, ("InvalidArgument".to_owned(), expected));
    }
}
