//! RegisterStreamConsumer: registers a name under which readers have a stream to themselves.
//!
//! Inputs: `StreamARN`, `ConsumerName`, `Tags`.
//!
//! Behaviour: answers CREATING, as AWS does, and is ACTIVE from then on. A stream has at most 20
//! consumers; on-demand streams of an account that is committed to a minimum throughput have 50.

use bytes::Bytes;

use crate::action::add_tags_to_stream::read_tags;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::consumer_reference::write_consumer_members;
use crate::errors::{self, KinesisError, ResourceName};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "RegisterStreamConsumer",
    members: &[
        Member::required("StreamARN", &shape::STREAM_ARN),
        Member::required("ConsumerName", &shape::CONSUMER_NAME),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::optional("Tags", &shape::TAGS),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let name = call.input.text("ConsumerName").unwrap_or_default();
    let tags = read_tags(call, ResourceName::Consumer(name))?;
    let registered = call.broker().register_consumer(stream.id, name.to_owned(), tags).await;
    let consumer = registered.map_err(|error| {
        errors::amend_error(error, &stream, call.account(), |refusal| {
            errors::registration_refusal(refusal, name, &stream, call.account())
        })
    })?;
    let mut writer = call.writer();
    writer.begin_map();
    writer.name("Consumer");
    writer.begin_map();
    write_consumer_members(&mut writer, call, &stream, &consumer, "CREATING");
    writer.end_map();
    writer.end_map();
    Ok(writer.into_bytes())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, text};
    use serde_json::{Value as Json, json};

    const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";

    fn consumer(name: &str) -> Json {
        json!({"StreamARN": ARN, "ConsumerName": name})
    }

    async fn register(harness: &Harness, name: &str) -> String {
        let reply = harness.ok("RegisterStreamConsumer", consumer(name)).await;
        text(&reply["Consumer"]["ConsumerARN"])
    }

    async fn count(harness: &Harness) -> Json {
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        reply["StreamDescriptionSummary"]["ConsumerCount"].clone()
    }

    #[tokio::test]
    async fn a_consumer_is_registered_described_and_deregistered() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let arn = format!("{ARN}/consumer/c:1700000000");
        let mut expected = json!({
            "ConsumerName": "c",
            "ConsumerARN": arn,
            "ConsumerStatus": "CREATING",
            "ConsumerCreationTimestamp": 1_700_000_000.0,
        });
        let reply = harness.ok("RegisterStreamConsumer", consumer("c")).await;
        assert_eq!(reply, json!({"Consumer": expected}));
        expected["ConsumerStatus"] = json!("ACTIVE");
        let listed = harness.ok("ListStreamConsumers", json!({"StreamARN": ARN})).await;
        assert_eq!(listed, json!({"Consumers": [expected]}));
        expected["StreamARN"] = json!(ARN);
        let mut all = consumer("c");
        all["ConsumerARN"] = json!(arn);
        for input in [consumer("c"), json!({"ConsumerARN": arn}), all] {
            let reply = harness.ok("DescribeStreamConsumer", input.clone()).await;
            assert_eq!(reply, json!({"ConsumerDescription": expected}), "{input}");
        }
        assert_eq!(count(&harness).await, 1);

        let input = json!({"ConsumerARN": arn});
        assert_eq!(harness.call("DeregisterStreamConsumer", input).await, (200, Json::Null));
        assert_eq!(count(&harness).await, 0);
        harness.advance_ms(1_000);
        register(&harness, "c").await;
        let message = format!(
            "Consumer c with creation timestamp 1700000000 under stream s and account {ACCOUNT} \
             not found."
        );
        let expected = ("ResourceNotFound".to_owned(), message);
        for operation in ["DescribeStreamConsumer", "DeregisterStreamConsumer"] {
            let input = json!({"ConsumerARN": arn});
            assert_eq!(harness.error(operation, input).await, expected, "an earlier one");
        }
        harness.ok("DeregisterStreamConsumer", consumer("c")).await;
        assert_eq!(count(&harness).await, 0);
    }

    #[tokio::test]
    async fn a_name_is_taken_once_and_twenty_are_all() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        for number in 0..20 {
            register(&harness, &format!("c{number}")).await;
        }
        let exists = format!("Consumer c0 under stream s and account {ACCOUNT} already exists.");
        let too_many = format!(
            "Stream s under account {ACCOUNT} has reached the limit of 20 registered consumers."
        );
        for (name, kind, message) in
            [("c0", "ResourceInUse", exists), ("c20", "LimitExceeded", too_many)]
        {
            let expected = (kind.to_owned(), message);
            assert_eq!(harness.error("RegisterStreamConsumer", consumer(name)).await, expected);
        }
        let mode = json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
        harness.ok("UpdateStreamMode", mode).await;
        let (kind, _) = harness.error("RegisterStreamConsumer", consumer("c20")).await;
        assert_eq!(kind, "LimitExceeded", "the account is not committed");
        let commitment = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
        harness.ok("UpdateAccountSettings", commitment).await;
        for number in 20..50 {
            register(&harness, &format!("c{number}")).await;
        }
        let (kind, _) = harness.error("RegisterStreamConsumer", consumer("c50")).await;
        assert_eq!(kind, "LimitExceeded");
    }

    #[tokio::test]
    async fn consumers_have_tags_and_a_policy_of_their_own() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let mut input = consumer("c");
        input["Tags"] = json!({"a": "1"});
        let reply = harness.ok("RegisterStreamConsumer", input).await;
        let arn = text(&reply["Consumer"]["ConsumerARN"]);
        harness.ok("TagResource", json!({"ResourceARN": arn, "Tags": {"b": "2"}})).await;
        harness.ok("UntagResource", json!({"ResourceARN": arn, "TagKeys": ["a"]})).await;
        let policy = r#"{"Statement":{}}"#;
        harness.ok("PutResourcePolicy", json!({"ResourceARN": arn, "Policy": policy})).await;
        let tags = json!({"Tags": [{"Key": "b", "Value": "2"}]});
        for (arn, tags, policy) in [(arn.as_str(), tags, policy), (ARN, json!({"Tags": []}), "{}")]
        {
            let input = json!({"ResourceARN": arn});
            assert_eq!(harness.ok("ListTagsForResource", input.clone()).await, tags);
            let reply = harness.ok("GetResourcePolicy", input).await;
            assert_eq!(reply, json!({"Policy": policy}));
        }
        harness.ok("DeleteResourcePolicy", json!({"ResourceARN": arn})).await;
        harness.ok("DeregisterStreamConsumer", consumer("c")).await;
        let input = json!({"ResourceARN": arn, "Tags": {"b": "2"}});
        let (kind, _) = harness.error("TagResource", input).await;
        assert_eq!(kind, "ResourceNotFound");
    }

    #[tokio::test]
    async fn a_consumed_stream_is_deleted_only_by_force() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let arn = register(&harness, "c").await;
        let message = format!(
            "Stream s under account {ACCOUNT} has registered consumers. \
             Set EnforceConsumerDeletion to delete it with them."
        );
        let refused = ("ResourceInUse".to_owned(), message);
        for input in [
            json!({"StreamName": "s"}),
            json!({"StreamName": "s", "EnforceConsumerDeletion": false}),
        ] {
            assert_eq!(harness.error("DeleteStream", input).await, refused);
        }
        assert_eq!(count(&harness).await, 1, "nothing has gone");
        let input = json!({"StreamName": "s", "EnforceConsumerDeletion": true});
        harness.ok("DeleteStream", input).await;
        let input = json!({"ConsumerARN": arn});
        let (kind, _) = harness.error("DescribeStreamConsumer", input).await;
        assert_eq!(kind, "ResourceNotFound");
    }
}
