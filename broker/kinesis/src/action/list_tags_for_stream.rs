//! ListTagsForStream: a stream's tags, a page at a time, by key.
//!
//! Inputs: the stream, `ExclusiveStartTagKey` (it need not exist), `Limit` (at most 50; all if
//! absent).

use bytes::Bytes;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::stream_reference::find_stream;
use crate::wire::ReplyWriter;

static LIMIT: Shape =
    Shape { kind: Kind::Integer, rules: &[Rule::ValueAtLeast(1), Rule::ValueAtMost(50)] };

pub(super) static ACTION: Action = Action {
    name: "ListTagsForStream",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::optional("ExclusiveStartTagKey", &shape::TAG_KEY),
        Member::optional("Limit", &LIMIT),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let after = call.input.text("ExclusiveStartTagKey");
    let limit = call.input.integer("Limit");
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let attributes = stream.attributes();
    let mut listed =
        attributes.labels.tags.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
    let mut writer = call.writer();
    writer.begin_map();
    write_tags(&mut writer, listed.by_ref().take(limit));
    writer.boolean_member("HasMoreTags", listed.next().is_some());
    writer.end_map();
    Ok(writer.into_bytes())
}

/// The member `Tags` of a reply.
pub(super) fn write_tags<'t>(
    writer: &mut ReplyWriter,
    tags: impl Iterator<Item = (&'t str, &'t str)>,
) {
    writer.name("Tags");
    writer.begin_list();
    for (key, value) in tags {
        writer.begin_map();
        writer.text_member("Key", key);
        writer.text_member("Value", value);
        writer.end_map();
    }
    writer.end_list();
}

#[cfg(test)]
mod tests {
    use crate::harness::Harness;
    use serde_json::json;

    #[tokio::test]
    async fn tags_come_in_pages_by_key() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let tags = json!({"c": "3", "a": "1", "b": "2"});
        harness.ok("AddTagsToStream", json!({"StreamName": "s", "Tags": tags})).await;
        for (input, keys, has_more) in [
            (json!({"StreamName": "s"}), vec!["a", "b", "c"], false),
            (json!({"StreamName": "s", "Limit": 2}), vec!["a", "b"], true),
            (json!({"StreamName": "s", "ExclusiveStartTagKey": "b"}), vec!["c"], false),
            (json!({"StreamName": "s", "ExclusiveStartTagKey": "aa", "Limit": 1}), vec!["b"], true),
            (json!({"StreamName": "s", "ExclusiveStartTagKey": "d"}), vec![], false),
        ] {
            let reply = harness.ok("ListTagsForStream", input.clone()).await;
            let listed = reply["Tags"].as_array().expect("a list").iter();
            let listed: Vec<_> = listed.map(|tag| tag["Key"].as_str().expect("a key")).collect();
            assert_eq!((listed, &reply["HasMoreTags"]), (keys, &json!(has_more)), "{input}");
        }
    }
}
