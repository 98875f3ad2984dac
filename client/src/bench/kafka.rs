//! One connection to a Kafka broker, as raw as the bench needs it.
//!
//! The versions are those that every broker since Kafka 2.8 speaks and that name topics by name, so
//! nothing is negotiated. One broker is spoken to: in a cluster, partitions that another broker
//! leads answer NOT_LEADER_OR_FOLLOWER, and the run fails rather than measure something else.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_kafka_protocol::frame;
use weir_kafka_protocol::messages::init_producer_id::InitProducerIdRequest;
use weir_kafka_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use weir_kafka_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponseBroker,
};
use weir_kafka_protocol::{DecodeError, Message, Part, Reader, Request};
use weir_model::ids::ProducerId;
use weir_model::limits::MIB;
use weir_model::time::Clock;

use super::{ANSWER_WAIT_MAX, BenchError};

/// The versions that the bench speaks.
pub(super) const PRODUCE_VERSION: i16 = 9;
pub(super) const FETCH_VERSION: i16 = 12;
const METADATA_VERSION: i16 = 9;
const LIST_OFFSETS_VERSION: i16 = 6;
const INIT_PRODUCER_ID_VERSION: i16 = 4;

/// A longer answer than any that we ask for.
const FRAME_BYTES_MAX: usize = 256 * MIB;
/// How long a topic that was just created may have no leader.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(10);
const LEADER_PAUSE: Duration = Duration::from_millis(20);

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const LEADER_NOT_AVAILABLE: i16 = 5;

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
    stream: TcpStream,
    received: BytesMut,
    correlation_id: i32,
    clock: Arc<dyn Clock>,
}

impl KafkaConnection {
    pub(super) async fn open(
        address: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<KafkaConnection, BenchError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (received, clock) = (BytesMut::new(), Arc::clone(clock));
        Ok(KafkaConnection { stream, received, correlation_id: 0, clock })
    }

    /// Sends a request and waits for its answer; nothing else may be in flight.
    pub(super) async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, BenchError> {
        let sent = self.send(version, request).await?;
        self.receive::<R>(version, sent).await
    }

    /// Sends a request; its answer must be received later, in the order of sending. Returns the
    /// correlation id that the answer must have.
    pub(super) async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<i32, BenchError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let id = self.correlation_id;
        let gather = frame::encode_request(id, Some("weir-bench"), version, request)
            .map_err(|error| BenchError::Options(format!("cannot be sent: {error}")))?;
        let parts: Vec<Bytes> = gather
            .parts
            .into_iter()
            .map(|part| match part {
                Part::Bytes(bytes) => bytes,
                Part::External { .. } => unreachable!("requests are made of bytes in memory"),
            })
            .collect();
        let write = write_all(&mut self.stream, &parts);
        match tokio::time::timeout(ANSWER_WAIT_MAX, write).await {
            Ok(written) => written?,
            Err(_) => {
                return Err(BenchError::NoAnswer("the broker stopped reading".to_owned()));
            }
        }
        Ok(id)
    }

    /// Waits for the next answer, which must be the one to the request with this correlation id.
    pub(super) async fn receive<R: Request>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> Result<R::Response, BenchError> {
        let frame = match tokio::time::timeout(ANSWER_WAIT_MAX, self.receive_frame()).await {
            Ok(frame) => frame?,
            Err(_) => {
                let name = R::API_KEY.name();
                return Err(BenchError::NoAnswer(format!("{name} after {ANSWER_WAIT_MAX:?}")));
            }
        };
        let mut reader = Reader::new(frame);
        let malformed = |error: DecodeError| {
            BenchError::Protocol(format!("malformed answer to {}: {error}", R::API_KEY.name()))
        };
        let id =
            frame::decode_response_header(&mut reader, R::API_KEY, version).map_err(malformed)?;
        if id != correlation_id {
            return Err(BenchError::Protocol(format!(
                "answer {id} where {correlation_id} was next"
            )));
        }
        let response = R::Response::decode(&mut reader, version).map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        Ok(response)
    }

    async fn receive_frame(&mut self) -> Result<Bytes, BenchError> {
        while self.received.len() < size_of::<i32>() {
            self.receive_more().await?;
        }
        let length = self.received.get_i32();
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= FRAME_BYTES_MAX)
            .ok_or_else(|| BenchError::Protocol(format!("a frame of {length} bytes")))?;
        self.received.reserve(length.saturating_sub(self.received.len()));
        while self.received.len() < length {
            self.receive_more().await?;
        }
        Ok(self.received.split_to(length).freeze())
    }

    async fn receive_more(&mut self) -> Result<(), BenchError> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(BenchError::Protocol("it closed the connection".to_owned())),
            _ => Ok(()),
        }
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

/// Writes all parts, several at a time, so that a request does not become a row of small packets.
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

async fn write_all(stream: &mut TcpStream, parts: &[Bytes]) -> std::io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match stream.write_vectored(rest).await? {
            0 => return Err(std::io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut rest, written),
        }
    }
    Ok(())
}

/// An error code as Kafka's documentation spells it; those that a load tool may meet.
pub(super) fn name(code: i16) -> String {
    let name = match code {
        -1 => "UNKNOWN_SERVER_ERROR",
        1 => "OFFSET_OUT_OF_RANGE",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        10 => "MESSAGE_TOO_LARGE",
        17 => "INVALID_TOPIC_EXCEPTION",
        18 => "RECORD_LIST_TOO_LARGE",
        19 => "NOT_ENOUGH_REPLICAS",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
        46 => "DUPLICATE_SEQUENCE_NUMBER",
        47 => "INVALID_PRODUCER_EPOCH",
        56 => "KAFKA_STORAGE_ERROR",
        59 => "UNKNOWN_PRODUCER_ID",
        76 => "UNSUPPORTED_COMPRESSION_TYPE",
        87 => "INVALID_RECORD",
        89 => "THROTTLING_QUOTA_EXCEEDED",
        _ => return format!("error code {code}"),
    };
    name.to_owned()
}
