//! What may hang on any resource of Kinesis, whatever its kind: its tags and its policy.

use weir_model::ids::StreamId;

use crate::error::UnknownConsumer;
use crate::stream::amend::Draft;
use crate::stream::consumers::ConsumerId;
use crate::stream::policy::Policy;
use crate::stream::tags::Tags;

/// The tags and the policy of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Its tags.
    pub tags: Tags,
    /// Its policy, if it has one.
    pub policy: Option<Policy>,
}

/// A stream, or one of its consumers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The stream.
    pub stream: StreamId,
    /// Its consumer; none: the stream itself.
    pub consumer: Option<ConsumerId>,
}

impl Draft {
    /// The labels of the stream or of its consumer, to be changed.
    pub(super) fn labels_of(
        &mut self,
        consumer: Option<&ConsumerId>,
    ) -> Result<&mut Labels, UnknownConsumer> {
        let attributes = &mut self.attributes;
        match consumer {
            None => Ok(&mut attributes.labels),
            Some(id) => {
                let consumer = attributes.consumers.find_mut(id).ok_or(UnknownConsumer)?;
                Ok(&mut consumer.labels)
            }
        }
    }
}
