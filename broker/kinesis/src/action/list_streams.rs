//! ListStreams: the streams of the account, a page at a time, by name.
//!
//! Inputs: `Limit` (default 100), `ExclusiveStartStreamName` or `NextToken`; with both, the token
//! counts.
//!
//! Behaviour: streams made by Kafka are listed too; the broker's own and those whose names are
//! above 128 characters are not.

use std::sync::Arc;

use bytes::Bytes;
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::page_token;
use crate::sealed_token::Purpose;
use crate::shape::{self, Member};
use crate::stream_reference::{is_visible, stream_arn};
use crate::wire::ReplyWriter;

const LIMIT_DEFAULT: usize = 100;

pub(super) static ACTION: Action = Action {
    name: "ListStreams",
    members: &[
        Member::optional("Limit", &shape::LIMIT),
        Member::optional("ExclusiveStartStreamName", &shape::STREAM_NAME),
        Member::optional("NextToken", &shape::NEXT_TOKEN),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let limit = call
        .input
        .integer("Limit")
        .map_or(LIMIT_DEFAULT, |limit| usize::try_from(limit).unwrap_or(LIMIT_DEFAULT));
    let after = match call.input.text("NextToken") {
        Some(token) => {
            let key = call.token_key();
            Some(page_token::open(key, Purpose::ListStreams, call.now(), token)?)
        }
        None => call.input.text("ExclusiveStartStreamName").map(str::to_owned),
    };
    let mut page: Vec<Arc<Stream>> = call.broker().streams();
    page.retain(|stream| {
        let name = stream.name.as_str();
        is_visible(&stream.name) && after.as_deref().is_none_or(|after| name > after)
    });
    let has_more = page.len() > limit;
    page.truncate(limit);
    Ok(reply(call, &page, has_more))
}

fn reply(call: &Call<'_>, page: &[Arc<Stream>], has_more: bool) -> Bytes {
    let mut writer = call.writer();
    writer.begin_map();
    writer.name("StreamNames");
    writer.begin_list();
    for stream in page {
        writer.text(stream.name.as_str());
    }
    writer.end_list();
    writer.boolean_member("HasMoreStreams", has_more);
    if let (true, Some(last)) = (has_more, page.last()) {
        let position = last.name.as_str();
        let token = page_token::seal(call.token_key(), Purpose::ListStreams, call.now(), position);
        writer.text_member("NextToken", &token);
    }
    writer.name("StreamSummaries");
    writer.begin_list();
    for stream in page {
        write_summary(&mut writer, call, stream);
    }
    writer.end_list();
    writer.end_map();
    writer.into_bytes()
}

fn write_summary(writer: &mut ReplyWriter, call: &Call<'_>, stream: &Stream) {
    writer.begin_map();
    writer.text_member("StreamName", stream.name.as_str());
    writer.text_member("StreamARN", &stream_arn(call, stream));
    writer.text_member("StreamStatus", stream.state(call.now()).name());
    writer.name("StreamModeDetails");
    writer.begin_map();
    writer.text_member("StreamMode", stream.config().mode.name());
    writer.end_map();
    writer.timestamp_member("StreamCreationTimestamp", stream.created);
    writer.end_map();
}

#[cfg(test)]
mod tests {
    use crate::harness::{Harness, text};
    use serde_json::json;

    #[tokio::test]
    async fn streams_are_listed_by_name_in_pages() {
        let harness = Harness::new().await;
        for name in ["c", "a", "b"] {
            harness.create_stream(name, 1).await;
        }
        harness.make_internal_stream().await;
        harness.create_topic(&"x".repeat(129), 1).await;
        let reply = harness.ok("ListStreams", json!({})).await;
        assert_eq!(reply["StreamNames"], json!(["a", "b", "c"]));
        assert_eq!(reply["HasMoreStreams"], false);
        assert_eq!(reply.get("NextToken"), None);
        assert_eq!(
            reply["StreamSummaries"][0],
            json!({
                "StreamName": "a",
                "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/a",
                "StreamStatus": "ACTIVE",
                "StreamModeDetails": {"StreamMode": "PROVISIONED"},
                "StreamCreationTimestamp": 1_700_000_000.0,
            })
        );

        let page = harness.ok("ListStreams", json!({"Limit": 2})).await;
        assert_eq!(
            (&page["StreamNames"], &page["HasMoreStreams"]),
            (&json!(["a", "b"]), &json!(true))
        );
        let token = text(&page["NextToken"]);
        let rest = harness.ok("ListStreams", json!({"NextToken": token})).await;
        assert_eq!((&rest["StreamNames"], &rest["HasMoreStreams"]), (&json!(["c"]), &json!(false)));
        let after = harness.ok("ListStreams", json!({"ExclusiveStartStreamName": "a"})).await;
        assert_eq!(after["StreamNames"], json!(["b", "c"]));

        harness.advance_ms(300_001);
        let (kind, _) = harness.error("ListStreams", json!({"NextToken": token})).await;
        assert_eq!(kind, "ExpiredNextToken");
        let (kind, _) = harness.error("ListStreams", json!({"NextToken": "a"})).await;
        assert_eq!(kind, "InvalidArgument");
    }
}
