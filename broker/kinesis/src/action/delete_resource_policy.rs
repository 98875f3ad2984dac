//! DeleteResourcePolicy: takes a resource's policy away.
//!
//! Inputs: `ResourceARN`.
//!
//! Behaviour: where there is none, nothing changes.

use bytes::Bytes;

use crate::action::put_resource_policy::change_policy;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::resource_reference::find_resource;
use crate::shape::{self, Member};

pub(super) static ACTION: Action = Action {
    name: "DeleteResourcePolicy",
    members: &[
        Member::required("ResourceARN", &shape::RESOURCE_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let found = find_resource(call)?;
    change_policy(call, &found, None).await
}
