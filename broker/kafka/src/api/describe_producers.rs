//! DescribeProducers (key 61), version 0: the idempotent producers that partitions remember.
//!
//! - One entry for each producer that appended within a day, ordered by id: its epoch, its last
//!   sequence and when it appended last.
//! - Each partition has a result of its own: INVALID_TOPIC_EXCEPTION for a name that no topic can
//!   have, UNKNOWN_TOPIC_OR_PARTITION.
//! - A partition that is named twice is answered once; more than 200,000 close the connection.
//! - Without transactions the coordinator epoch and the start of a transaction are -1.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use weir_core::stream::stream::Stream;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use weir_model::ids::{PartitionIndex, StreamName};

use crate::answers::check_asked;
use crate::close::CloseReason;
use crate::errors::{Refusal, name_refusal, read_code};
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] =
    &["the last timestamp is that of the append, whatever date the records carry"];

/// Kafka's "none" for what belongs to transactions.
const NO_TRANSACTION: i32 = -1;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeProducersRequest,
) -> Result<DescribeProducersResponse, CloseReason> {
    check_asked(request.topics.iter().map(|topic| topic.partition_indexes.len()).sum())?;
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut answered: HashMap<String, HashSet<i32>> = HashMap::new();
    for topic in request.topics {
        let stream = resolve(&context, &topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        let answered = answered.entry(topic.name.clone()).or_default();
        for partition_index in topic.partition_indexes {
            if !answered.insert(partition_index) {
                continue;
            }
            let found =
                stream.clone().and_then(|stream| producers(&context, &stream, partition_index));
            let (active_producers, refusal) = match found {
                Ok(producers) => (producers, Refusal::of(ErrorCode::NONE)),
                Err(refusal) => (Vec::new(), refusal),
            };
            partitions.push(PartitionResponse {
                partition_index,
                error_code: context.answer_code(refusal.code),
                error_message: refusal.message,
                active_producers,
            });
        }
        topics.push(TopicResponse { name: topic.name, partitions });
    }
    Ok(DescribeProducersResponse { throttle_time_ms: 0, topics })
}

fn resolve(context: &RequestContext, name: &str) -> Result<Arc<Stream>, Refusal> {
    StreamName::new(name).map_err(|error| name_refusal(name, error))?;
    context.broker().stream(name).ok_or_else(|| {
        let text = "This server does not host this topic-partition.";
        Refusal::because(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text)
    })
}

fn producers(
    context: &RequestContext,
    stream: &Stream,
    partition_index: i32,
) -> Result<Vec<ProducerState>, Refusal> {
    let partition = PartitionIndex::try_from(partition_index)
        .ok()
        .and_then(|index| stream.partition(index))
        .ok_or_else(|| Refusal::of(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
    let found = context.broker().active_producers(&partition);
    let found = found.map_err(|error| Refusal::of(read_code(&error)))?;
    let describe = |producer: weir_core::ActiveProducer| ProducerState {
        producer_id: producer.id.as_i64(),
        producer_epoch: i32::from(producer.epoch),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_append.as_millis(),
        coordinator_epoch: NO_TRANSACTION,
        current_txn_start_offset: i64::from(NO_TRANSACTION),
    };
    Ok(found.into_iter().map(describe).collect())
}
