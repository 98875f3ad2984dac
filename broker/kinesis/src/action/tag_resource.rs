//! TagResource: puts tags on a resource, in place of those with the same keys.
//!
//! Inputs: `ResourceARN`, `Tags`.
//!
//! Behaviour: as AddTagsToStream's.

use bytes::Bytes;
use weir_core::stream::tags::TagChange;

use crate::action::add_tags_to_stream::{change_tags, read_tags};
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::resource_reference::find_resource;
use crate::shape::{self, Member};

pub(super) static ACTION: Action = Action {
    name: "TagResource",
    members: &[
        Member::required("Tags", &shape::TAGS),
        Member::required("ResourceARN", &shape::RESOURCE_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let found = find_resource(call)?;
    let tags = read_tags(call, found.name())?;
    change_tags(call, &found, TagChange::Put(tags)).await
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::{Value as Json, json};

    #[tokio::test]
    async fn both_families_of_operations_see_the_same_tags() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let arn = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";
        let input = json!({"ResourceARN": arn, "Tags": {"a": "1", "b": "2"}});
        assert_eq!(harness.call("TagResource", input).await, (200, Json::Null));
        let input = json!({"ResourceARN": arn, "TagKeys": ["a"]});
        assert_eq!(harness.call("UntagResource", input).await, (200, Json::Null));
        harness.ok("AddTagsToStream", json!({"StreamName": "s", "Tags": {"c": "3"}})).await;
        assert_eq!(
            harness.ok("ListTagsForResource", json!({"ResourceARN": arn})).await,
            json!({"Tags": [{"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}]})
        );
    }

    #[tokio::test]
    async fn resources_that_are_not_there_are_not_found() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.make_internal_stream().await;
        let prefix = "arn:aws:kinesis:eu-west-1:000000000000";
        for (resource, message) in [
            ("stream/x", format!("Stream x under account {ACCOUNT} not found.")),
            (
                "stream/__consumer_offsets",
                format!("Stream __consumer_offsets under account {ACCOUNT} not found."),
            ),
            ("queue/s", format!("Resource {prefix}:queue/s not found.")),
            ("channel/stream/s", format!("Resource {prefix}:channel/stream/s not found.")),
        ] {
            let expected = ("ResourceNotFound".to_owned(), message);
            let input = json!({"ResourceARN": format!("{prefix}:{resource}")});
            assert_eq!(harness.error("ListTagsForResource", input).await, expected);
        }
    }
}
