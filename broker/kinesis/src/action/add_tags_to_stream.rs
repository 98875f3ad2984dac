//! AddTagsToStream: puts tags on a stream, in place of those with the same keys.
//!
//! Inputs: the stream, `Tags` (keys of 1 to 128 characters, values of at most 256).
//!
//! Behaviour: all of them or none. A stream has at most 50, and none whose key begins with `aws:`.

use bytes::Bytes;
use weir_core::stream::tags::{TagChange, Tags};

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError, ResourceName};
use crate::resource_reference::FoundResource;
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "AddTagsToStream",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("Tags", &shape::TAGS),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let found = FoundResource::of_stream(find_stream(call)?);
    let tags = read_tags(call, found.name())?;
    change_tags(call, &found, TagChange::Put(tags)).await
}

/// The member `Tags`, for the resource of this name; empty where it is absent.
pub(super) fn read_tags(call: &Call<'_>, name: ResourceName<'_>) -> Result<Tags, KinesisError> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let tags = Tags::new(call.input.text_map("Tags").map(owned));
    tags.map_err(|refusal| errors::tag_refusal(refusal, name, call.account()))
}

/// Changes a resource's tags and answers.
pub(super) async fn change_tags(
    call: &Call<'_>,
    found: &FoundResource,
    change: TagChange,
) -> Result<Bytes, KinesisError> {
    let changed = call.broker().change_tags(found.resource(), change).await;
    changed.map_err(|error| {
        errors::amend_error(error, &found.stream, call.account(), |refusal| {
            errors::tag_refusal(refusal, found.name(), call.account())
        })
    })?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::{Map, Value as Json, json};

    async fn tags(harness: &Harness) -> Json {
        harness.ok("ListTagsForStream", json!({"StreamName": "s"})).await["Tags"].clone()
    }

    fn numbered(count: usize) -> Json {
        let tag = |number: usize| (format!("k{number}"), json!(""));
        Json::Object(Map::from_iter((0..count).map(tag)))
    }

    #[tokio::test]
    async fn tags_are_put_replaced_and_taken_off() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        assert_eq!(tags(&harness).await, json!([]));
        let input = json!({"StreamName": "s", "Tags": {"b": "1", "a": null, "c": "3"}});
        assert_eq!(harness.call("AddTagsToStream", input).await, (200, Json::Null));
        harness.ok("AddTagsToStream", json!({"StreamName": "s", "Tags": {"b": "2"}})).await;
        let input = json!({"StreamName": "s", "TagKeys": ["c", "never there"]});
        assert_eq!(harness.call("RemoveTagsFromStream", input).await, (200, Json::Null));
        let expected = json!([{"Key": "a", "Value": ""}, {"Key": "b", "Value": "2"}]);
        assert_eq!(tags(&harness).await, expected);
    }

    #[tokio::test]
    async fn tags_that_cannot_be_are_refused_all_together() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let put = |tags: Json| json!({"StreamName": "s", "Tags": tags});
        harness.ok("AddTagsToStream", put(numbered(50))).await;
        let characters = "Some tags contain invalid characters. Valid characters: \
                          Unicode letters, digits, white space, _ . / = + - % @.";
        let too_many = format!(
            "Failed to add tags to stream s under account {ACCOUNT} because a given stream \
             cannot have more than 50 tags associated with it."
        );
        for (tags, message) in [
            (json!({"a;b": "x"}), characters),
            (json!({"a": "x\ty"}), characters),
            (
                json!({"aws:a": "x"}),
                "aws: prefixed tag key names are not allowed for external use.",
            ),
            (json!({"one more": "x"}), too_many.as_str()),
            (numbered(51), too_many.as_str()),
        ] {
            let expected = ("InvalidArgument".to_owned(), message.to_owned());
            assert_eq!(harness.error("AddTagsToStream", put(tags)).await, expected);
        }
        let input = json!({"StreamName": "s", "TagKeys": ["k1", "a,b"]});
        let expected = ("InvalidArgument".to_owned(), characters.to_owned());
        assert_eq!(harness.error("RemoveTagsFromStream", input).await, expected);
        assert_eq!(tags(&harness).await.as_array().map(Vec::len), Some(50));
    }

    #[tokio::test]
    async fn a_stream_is_made_with_its_tags_or_not_at_all() {
        let harness = Harness::new().await;
        let create = |tags: Json| json!({"StreamName": "s", "ShardCount": 1, "Tags": tags});
        let (kind, _) = harness.error("CreateStream", create(json!({"a;b": ""}))).await;
        assert_eq!(kind, "InvalidArgument");
        let (kind, _) = harness.error("CreateStream", create(numbered(51))).await;
        assert_eq!(kind, "InvalidArgument");
        harness.ok("CreateStream", create(json!({"a": "b"}))).await;
        assert_eq!(tags(&harness).await, json!([{"Key": "a", "Value": "b"}]));
    }
}
