//! DeregisterStreamConsumer: takes a consumer's registration back.
//!
//! Inputs: as DescribeStreamConsumer's.
//!
//! Behaviour: the name is free when it answers; AWS's consumer is DELETING for some seconds.

use bytes::Bytes;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::consumer_reference::{MEMBERS, find_consumer};
use crate::errors::{self, KinesisError};

pub(super) static ACTION: Action = Action {
    name: "DeregisterStreamConsumer",
    members: &MEMBERS,
    rate: CallRate::Stream(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let (stream, consumer) = find_consumer(call)?;
    let id = consumer.id();
    let deregistered = call.broker().deregister_consumer(stream.id, id.clone()).await;
    deregistered.map_err(|error| {
        errors::amend_error(error, &stream, call.account(), |_unknown| {
            KinesisError::consumer_not_found(&id, stream.name.as_str(), call.account())
        })
    })?;
    Ok(Bytes::new())
}
