//! ListStreams: the streams of the account, a page at a time, by name.
//!
//! Inputs: `Limit` (default 100), `ExclusiveStartStreamName` or `NextToken`; with both, the token
//! counts.
//!
//! Behaviour: streams made by Kafka are listed too; the broker's own and those whose names are above
//! 128 characters are not.

use std::sync::Arc;

use bytes::Bytes;
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call};
use crate::errors::KinesisError;
use crate::page_token;
use crate::sealed_token::Purpose;
use crate::shape::{self, Member};
use crate::stream_reference::{is_visible, stream_arn};
use crate::stream_settings::StreamMode;
use crate::wire::ReplyWriter;

const LIMIT_DEFAULT: usize = 100;

pub(super) static ACTION: Action = Action {
    name: "ListStreams",
    members: &[
        Member::optional("Limit", &shape::LIMIT),
        Member::optional("ExclusiveStartStreamName", &shape::STREAM_NAME),
        Member::optional("NextToken", &shape::NEXT_TOKEN),
    ],
    run: |call| Box::pin(run(call)),
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
    writer.text_member("StreamStatus", "ACTIVE");
    writer.name("StreamModeDetails");
    writer.begin_map();
    writer.text_member("StreamMode", StreamMode::of(&stream.config()).name());
    writer.end_map();
    writer.timestamp_member("StreamCreationTimestamp", stream.created);
    writer.end_map();
}
