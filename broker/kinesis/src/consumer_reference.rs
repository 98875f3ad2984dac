//! From what a request calls a registered consumer to the consumer, and back to an ARN.
//!
//! ```text
//!   arn:aws:kinesis:<region>:<account>:stream/<stream>/consumer/<name>:<second of registration>
//! ```
//!
//! Operations on one consumer take its ARN, or its stream's and its name, or all three, which must
//! then agree. The second tells a consumer from an earlier one of the same name.

use std::sync::Arc;

use weir_core::stream::consumers::{Consumer, ConsumerId};
use weir_core::stream::stream::Stream;

use crate::action::Call;
use crate::errors::KinesisError;
use crate::shape::{self, Member};
use crate::stream_reference::{find_by_name, stream_arn, stream_name};
use crate::wire::ReplyWriter;

/// What operations on one consumer take.
pub(crate) static MEMBERS: [Member; 4] = [
    Member::optional("StreamARN", &shape::STREAM_ARN),
    Member::optional("ConsumerName", &shape::CONSUMER_NAME),
    Member::optional("ConsumerARN", &shape::CONSUMER_ARN),
    Member::optional("StreamId", &shape::STREAM_ID),
];

/// A consumer as an ARN names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedConsumer<'a> {
    pub(crate) stream: &'a str,
    pub(crate) id: ConsumerId,
}

impl<'a> NamedConsumer<'a> {
    /// The consumer that an ARN's resource (`stream/s/consumer/c:1`) names; none if it is something
    /// else.
    pub(crate) fn of_resource(resource: &'a str) -> Option<NamedConsumer<'a>> {
        let (stream, consumer) = resource.strip_prefix("stream/")?.split_once("/consumer/")?;
        let (name, created_s) = consumer.rsplit_once(':')?;
        let created_s = Some(created_s.parse().ok()?);
        Some(NamedConsumer { stream, id: ConsumerId { name: name.to_owned(), created_s } })
    }

    /// The consumer that a request names.
    fn of_call(call: &Call<'a>) -> Result<NamedConsumer<'a>, KinesisError> {
        let input = call.input;
        let by_name = match (input.text("StreamARN"), input.text("ConsumerName")) {
            (Some(_), Some(name)) => {
                let id = ConsumerId { name: name.to_owned(), created_s: None };
                Some(NamedConsumer { stream: stream_name(&input)?, id })
            }
            _ => None,
        };
        // The three sentences are ours: AWS's were not recorded.
        let Some(arn) = input.text("ConsumerARN") else {
            return by_name.ok_or_else(|| {
                KinesisError::invalid_argument(
                    "Either ConsumerARN or both StreamARN and ConsumerName should be provided.",
                )
            });
        };
        let by_arn = shape::resources_in_arn(arn).find_map(NamedConsumer::of_resource);
        let by_arn = by_arn.ok_or_else(|| KinesisError::resource_not_found(arn))?;
        let other_stream = input.text("StreamARN").is_some()
            && stream_name(&input).is_ok_and(|stream| stream != by_arn.stream);
        let other_name = input.text("ConsumerName").is_some_and(|name| name != by_arn.id.name);
        if other_stream || other_name {
            return Err(KinesisError::invalid_argument(
                "ConsumerARN does not name the same consumer as StreamARN and ConsumerName.",
            ));
        }
        Ok(by_arn)
    }

    /// The consumer and its stream, if there are such.
    pub(crate) fn find(&self, call: &Call<'_>) -> Result<(Arc<Stream>, Consumer), KinesisError> {
        let (name, account) = (self.stream, call.account());
        let stream = find_by_name(call, name)
            .ok_or_else(|| KinesisError::stream_not_found(name, account))?;
        let consumer = stream.attributes().consumers.find(&self.id).cloned();
        let consumer =
            consumer.ok_or_else(|| KinesisError::consumer_not_found(&self.id, name, account))?;
        Ok((stream, consumer))
    }
}

/// The consumer that a request names, and its stream.
pub(crate) fn find_consumer(call: &Call<'_>) -> Result<(Arc<Stream>, Consumer), KinesisError> {
    NamedConsumer::of_call(call)?.find(call)
}

/// A consumer's ARN, in the region that the request was signed for.
pub(crate) fn consumer_arn(call: &Call<'_>, stream: &Stream, consumer: &Consumer) -> String {
    let (name, second) = (&consumer.name, consumer.created.as_seconds());
    format!("{}/consumer/{name}:{second}", stream_arn(call, stream))
}

/// Writes the members that every answer has of a consumer, `status` among them.
pub(crate) fn write_consumer_members(
    writer: &mut ReplyWriter,
    call: &Call<'_>,
    stream: &Stream,
    consumer: &Consumer,
    status: &str,
) {
    writer.text_member("ConsumerName", &consumer.name);
    writer.text_member("ConsumerARN", &consumer_arn(call, stream, consumer));
    writer.text_member("ConsumerStatus", status);
    writer.timestamp_member("ConsumerCreationTimestamp", consumer.created);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_are_read_out_of_arns() {
        for (resource, expected) in [
            ("stream/s/consumer/c:17", Some(("s", "c", 17))),
            ("stream/s", None),
            ("stream/s/consumer/c", None),
            ("stream/s/consumer/c:", None),
            ("stream/s/consumer/c:99999999999999999999", None),
            ("queue/s/consumer/c:17", None),
        ] {
            let read = NamedConsumer::of_resource(resource);
            let expected = expected.map(|(stream, name, second)| NamedConsumer {
                stream,
                id: ConsumerId { name: name.to_owned(), created_s: Some(second) },
            });
            assert_eq!(read, expected, "{resource}");
        }
    }
}
