//! UntagResource: takes tags off a resource.
//!
//! Inputs: `ResourceARN`, `TagKeys` (1 to 50).
//!
//! Behaviour: keys that are not there do not matter.

use bytes::Bytes;
use weir_core::stream::tags::TagChange;

use crate::action::add_tags_to_stream::change_tags;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::resource_reference::find_resource;
use crate::shape::{self, Member};

pub(super) static ACTION: Action = Action {
    name: "UntagResource",
    members: &[
        Member::required("TagKeys", &shape::TAG_KEYS),
        Member::required("ResourceARN", &shape::RESOURCE_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let found = find_resource(call)?;
    let keys = call.input.texts("TagKeys").map(str::to_owned).collect();
    change_tags(call, &found, TagChange::Remove(keys)).await
}
