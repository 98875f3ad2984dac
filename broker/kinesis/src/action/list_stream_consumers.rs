//! ListStreamConsumers: a stream's registered consumers, a page at a time, by name.
//!
//! Inputs: `StreamARN`, `MaxResults` (100 at most, whatever is asked), `NextToken`,
//! `StreamCreationTimestamp` (must be the stream's own; not with a token).
//!
//! Behaviour: the token remembers the stream and the last consumer, and is good for 300 s.

use bytes::Bytes;
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::consumer_reference::write_consumer_members;
use crate::errors::KinesisError;
use crate::page_token;
use crate::sealed_token::Purpose;
use crate::shape::{self, Member};
use crate::stream_reference::{check_creation_time, find_stream};

/// Most consumers in one reply, whatever `MaxResults` says.
const RESULTS_MAX: usize = 100;

pub(super) static ACTION: Action = Action {
    name: "ListStreamConsumers",
    members: &[
        Member::required("StreamARN", &shape::STREAM_ARN),
        Member::optional("NextToken", &shape::NEXT_TOKEN),
        Member::optional("MaxResults", &shape::LIMIT),
        Member::optional("StreamCreationTimestamp", &shape::TIMESTAMP),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Stream(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let after = match call.input.text("NextToken") {
        None => None,
        Some(_) if call.input.timestamp("StreamCreationTimestamp").is_some() => {
            // The sentence is ours, after ListShards' for the stream's name.
            return Err(KinesisError::invalid_argument(
                "NextToken and StreamCreationTimestamp cannot be provided together.",
            ));
        }
        Some(token) => Some(last_consumer(call, &stream, token)?),
    };
    check_creation_time(call, &stream)?;
    let asked = call.input.integer("MaxResults").and_then(|asked| usize::try_from(asked).ok());
    let limit = asked.map_or(RESULTS_MAX, |asked| asked.min(RESULTS_MAX));

    let attributes = stream.attributes();
    let mut listed = attributes
        .consumers
        .iter()
        .filter(|consumer| after.as_ref().is_none_or(|after| consumer.name > *after))
        .peekable();
    let mut writer = call.writer();
    writer.begin_map();
    writer.name("Consumers");
    writer.begin_list();
    let mut last = None;
    for consumer in listed.by_ref().take(limit) {
        writer.begin_map();
        write_consumer_members(
            &mut writer,
            call,
            &stream,
            consumer,
            consumer.state(call.now()).name(),
        );
        writer.end_map();
        last = Some(&consumer.name);
    }
    writer.end_list();
    if let (Some(last), Some(_)) = (last, listed.peek()) {
        let position = format!("{} {last}", stream.id);
        let (key, now) = (call.token_key(), call.now());
        let token = page_token::seal(key, Purpose::ListStreamConsumers, now, &position);
        writer.text_member("NextToken", &token);
    }
    writer.end_map();
    Ok(writer.into_bytes())
}

/// The name after which the page begins that the token is for.
fn last_consumer(call: &Call<'_>, stream: &Stream, token: &str) -> Result<String, KinesisError> {
    let (key, now) = (call.token_key(), call.now());
    let position = page_token::open(key, Purpose::ListStreamConsumers, now, token)?;
    match position.split_once(' ') {
        Some((id, last)) if id == stream.id.to_string() => Ok(last.to_owned()),
        _ => Err(KinesisError::invalid_argument("Invalid NextToken.")),
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::{Harness, text};
    use serde_json::{Value as Json, json};

    fn arn(stream: &str) -> String {
        format!("arn:aws:kinesis:eu-west-1:000000000000:stream/{stream}")
    }

    fn names(reply: &Json) -> Vec<String> {
        let consumers = reply["Consumers"].as_array().expect("a list").iter();
        consumers.map(|consumer| text(&consumer["ConsumerName"])).collect()
    }

    #[tokio::test]
    async fn consumers_are_listed_by_name_in_pages() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.create_stream("t", 1).await;
        let empty = harness.ok("ListStreamConsumers", json!({"StreamARN": arn("s")})).await;
        assert_eq!(empty, json!({"Consumers": []}));
        for name in ["c", "a", "b"] {
            let input = json!({"StreamARN": arn("s"), "ConsumerName": name});
            harness.ok("RegisterStreamConsumer", input).await;
        }
        let list = |token: Option<&str>, more: Json| {
            let mut input = json!({"StreamARN": arn("s"), "NextToken": token});
            input.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            input
        };
        let page = harness.ok("ListStreamConsumers", list(None, json!({"MaxResults": 2}))).await;
        assert_eq!(names(&page), ["a", "b"]);
        let token = text(&page["NextToken"]);
        let input = json!({"MaxResults": 1});
        let page = harness.ok("ListStreamConsumers", list(Some(&token), input)).await;
        assert_eq!((names(&page), page.get("NextToken")), (vec!["c".to_owned()], None));

        let created = json!({"StreamCreationTimestamp": 1_700_000_000});
        let reply = harness.ok("ListStreamConsumers", list(None, created.clone())).await;
        assert_eq!(names(&reply).len(), 3);
        let other = json!({"StreamARN": arn("t"), "NextToken": token});
        let before = json!({"StreamCreationTimestamp": 1_600_000_000});
        for (input, kind) in [
            (list(Some(&token), created), "InvalidArgument"),
            (list(Some("nonsense"), json!({})), "InvalidArgument"),
            (other, "InvalidArgument"),
            (list(None, before), "ResourceNotFound"),
        ] {
            let (answered, _) = harness.error("ListStreamConsumers", input.clone()).await;
            assert_eq!(answered, kind, "{input}");
        }
        harness.advance_ms(300_001);
        let (kind, _) = harness.error("ListStreamConsumers", list(Some(&token), json!({}))).await;
        assert_eq!(kind, "ExpiredNextToken");
    }
}
