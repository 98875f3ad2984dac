//! DescribeStreamConsumer: one registered consumer.
//!
//! Inputs: `ConsumerARN`, or `StreamARN` and `ConsumerName`, or all three.
//!
//! Behaviour: a consumer is ACTIVE as long as it is registered.

use bytes::Bytes;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::consumer_reference::{MEMBERS, find_consumer, write_consumer_members};
use crate::errors::KinesisError;
use crate::stream_reference::stream_arn;

pub(super) static ACTION: Action = Action {
    name: "DescribeStreamConsumer",
    members: &MEMBERS,
    rate: CallRate::Stream(20.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let (stream, consumer) = find_consumer(call)?;
    let mut writer = call.writer();
    writer.begin_map();
    writer.name("ConsumerDescription");
    writer.begin_map();
    write_consumer_members(
        &mut writer,
        call,
        &stream,
        &consumer,
        consumer.state(call.now()).name(),
    );
    writer.text_member("StreamARN", &stream_arn(call, &stream));
    writer.end_map();
    writer.end_map();
    Ok(writer.into_bytes())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::{Value as Json, json};

    #[tokio::test]
    async fn what_names_no_consumer_is_refused_with_a_reason() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let stream = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";
        let other = stream.replace("/s", "/x");
        let arn = format!("{stream}/consumer/c:1700000000");
        let incomplete =
            "Either ConsumerARN or both StreamARN and ConsumerName should be provided.".to_owned();
        let differing =
            "ConsumerARN does not name the same consumer as StreamARN and ConsumerName.".to_owned();
        let invalid = |message: String| ("InvalidArgument".to_owned(), message);
        let not_found = |message: String| ("ResourceNotFound".to_owned(), message);
        let cases: [(Json, (String, String)); 7] = [
            (json!({}), invalid(incomplete.clone())),
            (json!({"StreamARN": stream}), invalid(incomplete.clone())),
            (json!({"ConsumerName": "c"}), invalid(incomplete)),
            (json!({"ConsumerARN": arn, "StreamARN": other}), invalid(differing.clone())),
            (json!({"ConsumerARN": arn, "ConsumerName": "d"}), invalid(differing)),
            (
                json!({"StreamARN": stream, "ConsumerName": "c"}),
                not_found(format!("Consumer c under stream s and account {ACCOUNT} not found.")),
            ),
            (
                json!({"StreamARN": other, "ConsumerName": "c"}),
                not_found(format!("Stream x under account {ACCOUNT} not found.")),
            ),
        ];
        for (input, expected) in cases {
            assert_eq!(harness.error("DescribeStreamConsumer", input.clone()).await, expected);
            assert_eq!(harness.error("DeregisterStreamConsumer", input).await, expected);
        }
        let input = json!({"ConsumerARN": stream});
        let message = format!(
            "1 validation error detected: Value '{stream}' at 'consumerARN' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: ^(arn):aws.*:kinesis:.*\
             :\\d{{12}}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+"
        );
        let expected = ("Validation".to_owned(), message);
        assert_eq!(harness.error("DescribeStreamConsumer", input).await, expected);
    }
}
