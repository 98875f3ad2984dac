//! ListTagsForResource: all tags of a resource, by key.
//!
//! Inputs: `ResourceARN`.

use bytes::Bytes;

use crate::action::list_tags_for_stream::write_tags;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::resource_reference::find_resource;
use crate::shape::{self, Member};

pub(super) static ACTION: Action = Action {
    name: "ListTagsForResource",
    members: &[
        Member::required("ResourceARN", &shape::RESOURCE_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let labels = find_resource(call)?.labels();
    let mut writer = call.writer();
    writer.begin_map();
    write_tags(&mut writer, labels.tags.iter());
    writer.end_map();
    Ok(writer.into_bytes())
}
