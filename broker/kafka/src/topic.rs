//! Topics as Kafka names them: by name or, in newer versions, by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::broker::Broker;
use weir_core::stream::stream::Stream;
use weir_kafka_protocol::{ErrorCode, Uuid};
use weir_model::ids::StreamId;

use crate::errors::Refusal;

/// Partitions that one request may make, as in Kafka: each costs memory from then on.
pub(crate) const PARTITIONS_PER_REQUEST_MAX: u64 = 10_000;
/// Topics, partitions and settings that one request may make together, as in Kafka, where each is
/// a record of one batch.
pub(crate) const RECORDS_PER_REQUEST_MAX: u64 = 10_000;

/// A stream's id as Kafka's topic id.
pub(crate) fn topic_id(stream: &Stream) -> Uuid {
    Uuid(stream.id.to_bytes())
}

/// What a request asks of each topic, by the topic's name; of one that is named twice, nothing.
pub(crate) fn each_by_name<T>(
    topics: Vec<T>,
    name_of: impl Fn(&T) -> String,
) -> BTreeMap<String, Result<T, Refusal>> {
    let mut asked = BTreeMap::new();
    for topic in topics {
        let name = name_of(&topic);
        if asked.insert(name.clone(), Ok(topic)).is_some() {
            let refusal = Refusal::because(ErrorCode::INVALID_REQUEST, "Duplicate topic name.");
            asked.insert(name, Err(refusal));
        }
    }
    asked
}

/// How a request names a topic: messages have both fields, of which a version fills one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By id.
    Id(Uuid),
}

impl TopicRef<'_> {
    /// The topic, or the code that says that there is none.
    pub(crate) fn resolve(self, broker: &Broker) -> Result<Arc<Stream>, ErrorCode> {
        match self {
            TopicRef::Name(name) => {
                broker.stream(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            }
            TopicRef::Id(Uuid(bytes)) => {
                broker.stream_by_id(StreamId::from_bytes(bytes)).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
            }
        }
    }
}
