//! StopStreamEncryption: says that a stream's records are not encrypted from now on.
//!
//! Inputs: as StartStreamEncryption's. `KeyId` need not be the key that holds: whether AWS compares
//! the two was not recorded, and a client that stops the encryption wants it stopped.
//!
//! Behaviour: records that were written before keep their state. Where nothing is encrypted nothing
//! changes. 25 times in 24 hours, unless quotas are off.

use bytes::Bytes;

use crate::action::start_stream_encryption::{MEMBERS, check_type};
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "StopStreamEncryption",
    members: &MEMBERS,
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    check_type(call)?;
    let stopped = call.broker().stop_encryption(stream.id).await;
    stopped.map_err(|error| {
        errors::amend_error(error, &stream, call.account(), |refusal| {
            errors::encryption_refusal(refusal, &stream, call.account())
        })
    })?;
    Ok(Bytes::new())
}
