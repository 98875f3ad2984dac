//! GetResourcePolicy: the policy of a resource.
//!
//! Inputs: `ResourceARN`.
//!
//! Behaviour: `{}` where there is none, as AWS answers.

use bytes::Bytes;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::resource_reference::find_resource;
use crate::shape::{self, Member};

pub(super) static ACTION: Action = Action {
    name: "GetResourcePolicy",
    members: &[
        Member::required("ResourceARN", &shape::RESOURCE_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let labels = find_resource(call)?.labels();
    let policy = labels.policy.as_ref().map_or("{}", |policy| policy.as_str());
    let mut writer = call.writer();
    writer.begin_map();
    writer.text_member("Policy", policy);
    writer.end_map();
    Ok(writer.into_bytes())
}
