//! From what a request calls a stream to the stream, and back to an ARN.
//!
//! Most operations take `StreamName`, `StreamARN` or both, which must then agree; `StreamId` is
//! reserved by the model and only checked for its form. weir has one account and one name space, so
//! region and account of an ARN that comes in are not compared. Streams that Kinesis cannot spell
//! (names above 128 characters) and the broker's own are hidden.

use std::sync::Arc;

use weir_core::stream::stream::Stream;
use weir_model::ids::StreamName;

use crate::action::Call;
use crate::errors::KinesisError;
use crate::input::Input;

/// Longest stream name that Kinesis can spell, in characters.
pub(crate) const NAME_LENGTH_MAX: usize = 128;

/// Whether Kinesis shows a stream of this name.
pub(crate) fn is_visible(name: &StreamName) -> bool {
    !name.is_internal() && name.as_str().len() <= NAME_LENGTH_MAX
}

/// The stream that a request names.
pub(crate) fn find_stream(call: &Call<'_>) -> Result<Arc<Stream>, KinesisError> {
    let name = stream_name(&call.input)?;
    find_by_name(call, name).ok_or_else(|| KinesisError::stream_not_found(name, call.account()))
}

/// The stream that a request names to write to it; one that is being made or deleted is not there.
pub(crate) fn find_stream_in_use(call: &Call<'_>) -> Result<Arc<Stream>, KinesisError> {
    let stream = find_stream(call)?;
    match stream.state(call.now()).is_in_use() {
        true => Ok(stream),
        false => Err(KinesisError::stream_not_found(stream.name.as_str(), call.account())),
    }
}

/// Refuses a `StreamCreationTimestamp` that is not the stream's own: an earlier stream of its name
/// is meant.
pub(crate) fn check_creation_time(call: &Call<'_>, stream: &Stream) -> Result<(), KinesisError> {
    match call.input.timestamp("StreamCreationTimestamp") {
        Some(created) if created.as_seconds() != stream.created.as_seconds() => {
            Err(KinesisError::stream_not_found(stream.name.as_str(), call.account()))
        }
        _ => Ok(()),
    }
}

/// The stream with this name, if Kinesis shows it.
pub(crate) fn find_by_name(call: &Call<'_>, name: &str) -> Option<Arc<Stream>> {
    let stream = call.broker().stream(name)?;
    is_visible(&stream.name).then_some(stream)
}

/// The name that a request gives its stream, directly or inside an ARN.
pub(crate) fn stream_name<'a>(input: &Input<'a>) -> Result<&'a str, KinesisError> {
    let from_arn = input.text("StreamARN").map(name_in_arn);
    match (input.text("StreamName"), from_arn) {
        (Some(name), None) => Ok(name),
        (None, Some(name)) => Ok(name),
        (Some(name), Some(in_arn)) if name == in_arn => Ok(name),
        // The next two sentences are ours: AWS's were not recorded.
        (Some(name), Some(_)) => Err(KinesisError::invalid_argument(format!(
            "StreamName {name} and StreamARN do not name the same stream."
        ))),
        (None, None) => Err(KinesisError::invalid_argument(
            "Either StreamName or StreamARN should be provided.",
        )),
    }
}

/// What follows `:stream/`; the ARN matched the API's pattern.
fn name_in_arn(arn: &str) -> &str {
    arn.split_once(":stream/").map_or("", |(_, name)| name)
}

/// A stream's ARN, in the region that the request was signed for.
pub(crate) fn stream_arn(call: &Call<'_>, stream: &Stream) -> String {
    let (region, account) = (call.region, call.account());
    format!("arn:aws:kinesis:{region}:{account}:stream/{}", stream.name)
}
