//! DeleteStream: deletes a stream in all dialects, at once.
//!
//! Inputs: the stream, `EnforceConsumerDeletion`.
//!
//! Behaviour: the name is free when it answers; AWS's stream is DELETING for some seconds, and so
//! is weir's for as long as `weir.stream.state.delay.ms` says. A stream with registered consumers
//! goes only with `EnforceConsumerDeletion`, and they with it.

use bytes::Bytes;
use weir_core::stream::registry::Deletion;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "DeleteStream",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::optional("EnforceConsumerDeletion", &shape::BOOLEAN),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let name = stream.name.as_str();
    let deletion = match call.input.is_true("EnforceConsumerDeletion") {
        true => Deletion::WithConsumers,
        false => Deletion::Unconsumed,
    };
    let deleted = call.broker().retire_stream(stream.id, deletion).await;
    deleted.map_err(|error| errors::delete_stream_error(&error, name, call.account()))?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::{Value as Json, json};

    #[tokio::test]
    async fn a_deleted_streams_name_is_free_and_its_iterators_are_dead() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.put("s", "k", "old").await;
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        let arn = "arn:aws:kinesis:any-region:123456789012:stream/s";
        let answered = harness.call("DeleteStream", json!({"StreamARN": arn})).await;
        assert_eq!(answered, (200, Json::Null));
        let gone =
            ("ResourceNotFound".to_owned(), format!("Stream s under account {ACCOUNT} not found."));
        assert_eq!(harness.error("DeleteStream", json!({"StreamName": "s"})).await, gone);

        harness.create_stream("s", 1).await;
        let dead = (
            "ResourceNotFound".to_owned(),
            format!(
                "Shard shardId-000000000000 in stream s under account {ACCOUNT} does not exist"
            ),
        );
        let input = json!({"ShardIterator": iterator});
        assert_eq!(harness.error("GetRecords", input).await, dead);
    }

    #[tokio::test]
    async fn name_and_arn_must_agree() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/other";
        for (input, message) in [
            (
                json!({"StreamName": "s", "StreamARN": arn}),
                "StreamName s and StreamARN do not name the same stream.",
            ),
            (json!({}), "Either StreamName or StreamARN should be provided."),
        ] {
            let expected = ("InvalidArgument".to_owned(), message.to_owned());
            assert_eq!(harness.error("DeleteStream", input).await, expected);
        }
    }

    #[tokio::test]
    async fn the_brokers_own_streams_cannot_be_seen_or_deleted() {
        let harness = Harness::new().await;
        harness.make_internal_stream().await;
        for operation in ["DeleteStream", "DescribeStream", "DescribeStreamSummary"] {
            let input = json!({"StreamName": "__consumer_offsets"});
            let (kind, _) = harness.error(operation, input).await;
            assert_eq!(kind, "ResourceNotFound", "{operation}");
        }
    }
}
