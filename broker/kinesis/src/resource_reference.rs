//! From the ARN of a resource, whatever its kind, to the resource.
//!
//! Operations on streams alone take a `StreamARN` ([`stream_reference`](crate::stream_reference));
//! the newer ones take a `ResourceARN`, which names a stream or one of its consumers. Channels and
//! queues, which it may also name, are not served and so never found. Of region and account nothing
//! is compared.

use std::sync::Arc;

use weir_core::stream::consumers::Consumer;
use weir_core::stream::labels::{Labels, Resource};
use weir_core::stream::stream::Stream;

use crate::action::Call;
use crate::consumer_reference::{NamedConsumer, consumer_arn, find_consumer};
use crate::errors::{KinesisError, ResourceName};
use crate::page_token;
use crate::sealed_token::Purpose;
use crate::shape;
use crate::shard_iterator::ShardIterator;
use crate::stream_reference::{find_by_name, find_stream, stream_arn};

/// A stream, or one of its consumers.
pub(crate) struct FoundResource {
    pub(crate) stream: Arc<Stream>,
    consumer: Option<Consumer>,
}

impl FoundResource {
    /// A stream.
    pub(crate) fn of_stream(stream: Arc<Stream>) -> FoundResource {
        FoundResource { stream, consumer: None }
    }

    /// As the core calls it.
    pub(crate) fn resource(&self) -> Resource {
        Resource { stream: self.stream.id, consumer: self.consumer.as_ref().map(Consumer::id) }
    }

    /// As sentences call it.
    pub(crate) fn name(&self) -> ResourceName<'_> {
        match &self.consumer {
            None => ResourceName::Stream(self.stream.name.as_str()),
            Some(consumer) => ResourceName::Consumer(&consumer.name),
        }
    }

    /// Its ARN.
    pub(crate) fn arn(&self, call: &Call<'_>) -> String {
        match &self.consumer {
            None => stream_arn(call, &self.stream),
            Some(consumer) => consumer_arn(call, &self.stream, consumer),
        }
    }

    /// Its tags and its policy.
    pub(crate) fn labels(&self) -> Labels {
        match &self.consumer {
            None => self.stream.attributes().labels.clone(),
            Some(consumer) => consumer.labels.clone(),
        }
    }
}

/// The resource that `ResourceARN` names.
pub(crate) fn find_resource(call: &Call<'_>) -> Result<FoundResource, KinesisError> {
    find_resource_by_arn(call, call.input.text("ResourceARN").unwrap_or_default())
}

/// What a call is about, whatever its operation; none if it is about nothing that there is, which
/// the operation itself says best.
pub(crate) fn find_subject(call: &Call<'_>) -> Option<FoundResource> {
    let input = call.input;
    if let Some(arn) = input.text("ResourceARN").or(input.text("ConsumerARN")) {
        return find_resource_by_arn(call, arn).ok();
    }
    if let Some(iterator) = input.text("ShardIterator")
        && let Ok(iterator) = ShardIterator::open(iterator, call.token_key(), call.now())
    {
        return call.broker().stream_by_id(iterator.stream).map(FoundResource::of_stream);
    }
    if let Ok(stream) = find_stream(call) {
        return Some(FoundResource::of_stream(stream));
    }
    // A page of ListShards names its stream in the token alone, and there first.
    let token = input.text("NextToken")?;
    let (key, now) = (call.token_key(), call.now());
    let position = page_token::open(key, Purpose::ListShards, now, token).ok()?;
    let id = position.split(' ').next()?.parse().ok()?;
    call.broker().stream_by_id(id).map(FoundResource::of_stream)
}

/// The consumer that a call names by its stream's ARN and its name, if there is one.
pub(crate) fn find_named_consumer(call: &Call<'_>) -> Option<FoundResource> {
    call.input.text("ConsumerName")?;
    let (stream, consumer) = find_consumer(call).ok()?;
    Some(FoundResource { stream, consumer: Some(consumer) })
}

/// The resource that an ARN names.
pub(crate) fn find_resource_by_arn(
    call: &Call<'_>,
    arn: &str,
) -> Result<FoundResource, KinesisError> {
    if let Some(consumer) = shape::resources_in_arn(arn).find_map(NamedConsumer::of_resource) {
        let (stream, consumer) = consumer.find(call)?;
        return Ok(FoundResource { stream, consumer: Some(consumer) });
    }
    let stream = shape::resources_in_arn(arn).find_map(|resource| resource.strip_prefix("stream/"));
    let name = stream.ok_or_else(|| KinesisError::resource_not_found(arn))?;
    let stream = find_by_name(call, name);
    let stream = stream.ok_or_else(|| KinesisError::stream_not_found(name, call.account()))?;
    Ok(FoundResource::of_stream(stream))
}
