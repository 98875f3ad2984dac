//! DeleteStream: deletes a stream in all dialects, at once.
//!
//! Inputs: the stream, `EnforceConsumerDeletion`.
//!
//! Behaviour: the name is free when it answers; AWS's stream is DELETING for some seconds.
//!
//! Gaps: no stream has registered consumers yet, so `EnforceConsumerDeletion` decides nothing.

use bytes::Bytes;

use crate::action::{Action, Call};
use crate::errors::{self, KinesisError};
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;

pub(super) static ACTION: Action = Action {
    name: "DeleteStream",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::optional("EnforceConsumerDeletion", &shape::BOOLEAN),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let name = stream.name.as_str();
    let deleted = call.broker().delete_stream(stream.id).await;
    deleted.map_err(|error| errors::delete_stream_error(&error, name, call.account()))?;
    Ok(Bytes::new())
}
