//! One connection to a Kafka broker, as raw as the bench needs it.
//!
//! The versions are those that every broker since Kafka 2.8 speaks and that name topics by name, so
//! nothing is negotiated. One broker is spoken to: in a cluster, partitions that another broker
//! leads answer NOT_LEADER_OR_FOLLOWER, and the run fails rather than measure something else.

use std::sync::Arc;
use std::time::Duration;

use weir_kafka_protocol::messages::init_producer_id::InitProducerIdRequest;
use weir_kafka_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use weir_kafka_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponseBroker,
};
use weir_kafka_protocol::{ErrorCode, Request};
use weir_model::ids::ProducerId;
use weir_model::time::Clock;

use super::{ANSWER_WAIT_MAX, BenchError};
use crate::kafka::connection::Connection;

/// The versions that the bench speaks.
pub(super) const PRODUCE_VERSION: i16 = 9;
pub(super) const FETCH_VERSION: i16 = 12;
const METADATA_VERSION: i16 = 9;
const LIST_OFFSETS_VERSION: i16 = 6;
const INIT_PRODUCER_ID_VERSION: i16 = 4;

/// How long a topic that was just created may have no leader.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(10);
const LEADER_PAUSE: Duration = Duration::from_millis(20);

const UNKNOWN_TOPIC_OR_PARTITION: i16 = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
const LEADER_NOT_AVAILABLE: i16 = ErrorCode::LEADER_NOT_AVAILABLE.0;

/// `ListOffsets`' name for the end of a partition.
pub(super) const LATEST: i64 = -1;
/// `ListOffsets`' name for its start.
pub(super) const EARLIEST: i64 = -2;

/// What a producer's batches carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Producer {
    pub(super) id: ProducerId,
    pub(super) epoch: i16,
}

#[derive(Debug)]
pub(super) struct KafkaConnection {
    wire: Connection,
    clock: Arc<dyn Clock>,
}

impl KafkaConnection {
    pub(super) async fn open(
        address: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<KafkaConnection, BenchError> {
        let wire = Connection::open(address, "weir-bench").await?;
        Ok(KafkaConnection { wire, clock: Arc::clone(clock) })
    }

    /// Sends a request and waits for its answer; nothing else may be in flight.
    pub(super) async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, BenchError> {
        Ok(self.wire.call(version, request).await?)
    }

    /// Sends a request; its answer must be received later, in the order of sending. Returns the
    /// correlation id that the answer must have.
    pub(super) async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<i32, BenchError> {
        Ok(self.wire.send(version, request).await?)
    }

    /// Waits for the next answer, which must be the one to the request with this correlation id.
    pub(super) async fn receive<R: Request>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> Result<R::Response, BenchError> {
        Ok(self.wire.receive::<R>(version, correlation_id).await?)
    }

    /// Where the brokers of the cluster say that they are: host and port.
    async fn brokers(&mut self) -> Result<Vec<(String, u16)>, BenchError> {
        // No topics, as opposed to all.
        let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        let response = self.call(METADATA_VERSION, &request).await?;
        let address = |broker: MetadataResponseBroker| {
            let port = u16::try_from(broker.port);
            port.map(|port| (broker.host, port))
                .map_err(|_| BenchError::Protocol(format!("a broker on port {}", broker.port)))
        };
        response.brokers.into_iter().map(address).collect()
    }

    /// The topic's partitions, once all have a leader; makes the topic where the broker does that.
    pub(super) async fn partitions(&mut self, topic: &str) -> Result<Vec<i32>, BenchError> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.to_owned()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        let start = self.clock.moment();
        loop {
            let response = self.call(METADATA_VERSION, &request).await?;
            let found = response
                .topics
                .into_iter()
                .next()
                .ok_or_else(|| BenchError::Protocol("metadata without the topic".to_owned()))?;
            let errors = found.partitions.iter().map(|partition| partition.error_code);
            let error = std::iter::once(found.error_code).chain(errors).find(|code| *code != 0);
            match error {
                None => {
                    let mut indexes: Vec<i32> = found
                        .partitions
                        .iter()
                        .map(|partition| partition.partition_index)
                        .collect();
                    indexes.sort_unstable();
                    return Ok(indexes);
                }
                Some(UNKNOWN_TOPIC_OR_PARTITION | LEADER_NOT_AVAILABLE)
                    if self.clock.moment().since(start) < LEADER_WAIT_MAX =>
                {
                    tokio::time::sleep(LEADER_PAUSE).await;
                }
                Some(code) => {
                    return Err(BenchError::Refused(format!("topic {topic}: {}", name(code))));
                }
            }
        }
    }

    /// The first or the next offset of each partition, see [`EARLIEST`] and [`LATEST`].
    pub(super) async fn offsets(
        &mut self,
        topic: &str,
        partitions: &[i32],
        which: i64,
    ) -> Result<Vec<i64>, BenchError> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.to_owned(),
                partitions: partitions
                    .iter()
                    .map(|index| ListOffsetsPartition {
                        partition_index: *index,
                        timestamp: which,
                        ..Default::default()
                    })
                    .collect(),
            }],
            ..Default::default()
        };
        let response = self.call(LIST_OFFSETS_VERSION, &request).await?;
        let answered: Vec<_> =
            response.topics.into_iter().flat_map(|topic| topic.partitions).collect();
        partitions
            .iter()
            .map(|index| {
                let found = answered.iter().find(|found| found.partition_index == *index);
                match found {
                    Some(found) if found.error_code == 0 => Ok(found.offset),
                    Some(found) => Err(BenchError::Refused(name(found.error_code))),
                    None => Err(BenchError::Protocol(format!("no offset of partition {index}"))),
                }
            })
            .collect()
    }

    /// An identity for an idempotent producer.
    pub(super) async fn producer(&mut self) -> Result<Producer, BenchError> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let response = self.call(INIT_PRODUCER_ID_VERSION, &request).await?;
        if response.error_code != 0 {
            return Err(BenchError::Refused(name(response.error_code)));
        }
        let id = ProducerId::new(response.producer_id)
            .ok_or_else(|| BenchError::Protocol(format!("producer id {}", response.producer_id)))?;
        Ok(Producer { id, epoch: response.producer_epoch })
    }
}

/// What a Kafka broker at `HOST:PORT` tells this machine's clients to connect to.
///
/// # Errors
///
/// In a sentence, when nobody answers there, or not as Kafka does.
pub async fn advertised_addresses(
    address: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<(String, u16)>, String> {
    let told = async { KafkaConnection::open(address, clock).await?.brokers().await };
    match tokio::time::timeout(ANSWER_WAIT_MAX, told).await {
        Ok(told) => told.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER_WAIT_MAX:?}")),
    }
}

/// An error code as Kafka's documentation spells it.
pub(super) fn name(code: i16) -> String {
    crate::kafka::errors::name(code)
}
