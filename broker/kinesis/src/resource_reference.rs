//! From the ARN of a resource, whatever its kind, to the resource.
//!
//! Operations on streams alone take a `StreamARN` ([`stream_reference`](crate::stream_reference));
//! the newer ones take a `ResourceARN`. Channels and queues, which it may also name, are not served
//! and so never found. Of region and account nothing is compared.

use std::sync::Arc;

use weir_core::stream::stream::Stream;

use crate::action::Call;
use crate::errors::KinesisError;
use crate::shape;
use crate::stream_reference::find_by_name;

/// The resource that `ResourceARN` names.
pub(crate) fn find_resource(call: &Call<'_>) -> Result<Arc<Stream>, KinesisError> {
    let arn = call.input.text("ResourceARN").unwrap_or_default();
    let stream = shape::resources_in_arn(arn).find_map(|resource| resource.strip_prefix("stream/"));
    let name = stream.ok_or_else(|| KinesisError::resource_not_found(arn))?;
    find_by_name(call, name).ok_or_else(|| KinesisError::stream_not_found(name, call.account()))
}
