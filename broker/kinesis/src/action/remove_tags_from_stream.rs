//! RemoveTagsFromStream: takes tags off a stream.
//!
//! Inputs: the stream, `TagKeys` (1 to 50).
//!
//! Behaviour: keys that are not there do not matter.

use bytes::Bytes;
use weir_core::stream::tags::TagChange;

use crate::action::add_tags_to_stream::change_tags;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::resource_reference::FoundResource;
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "RemoveTagsFromStream",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("TagKeys", &shape::TAG_KEYS),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let found = FoundResource::of_stream(find_stream(call)?);
    let keys = call.input.texts("TagKeys").map(str::to_owned).collect();
    change_tags(call, &found, TagChange::Remove(keys)).await
}

#[cfg(test)]
mod tests {
    use crate::harness::Harness;
    use serde_json::json;

    #[tokio::test]
    async fn a_key_of_the_wrong_length_is_told_with_the_whole_list() {
        let harness = Harness::new().await;
        let input = json!({"StreamName": "s", "TagKeys": ["a", ""]});
        let message = "1 validation error detected: Value '[a, ]' at 'tagKeys' failed to satisfy \
                       constraint: Member must satisfy constraint: [Member must have length less \
                       than or equal to 128, Member must have length greater than or equal to 1]";
        let expected = ("Validation".to_owned(), message.to_owned());
        assert_eq!(harness.error("RemoveTagsFromStream", input).await, expected);
    }
}
