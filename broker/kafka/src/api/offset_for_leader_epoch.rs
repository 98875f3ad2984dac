//! OffsetForLeaderEpoch (key 23), versions 2 to 4: where the records of a leader epoch end.
//!
//! - A consumer asks when it learns of a new leader epoch, which weir begins after each unclean
//!   stop: an end below its position means that what it read was lost, and it goes back (KIP-320).
//!   kafka-python reads nothing more before it has an answer.
//! - The answer names the highest epoch at or below the one asked for that wrote to the partition;
//!   -1/-1 for an epoch that the broker has not reached.
//! - The current leader epoch is checked: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH.
//!
//! Left out: nothing; the replica id changes nothing, since there are no followers.

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use weir_model::ids::{LogEpoch, PartitionIndex};

use crate::close::CloseReason;
use crate::errors::read_code;
use crate::exchange::RequestContext;
use crate::leader_epoch::said_epoch;
use crate::topic::TopicRef;

pub(crate) const GAPS: &[&str] = &[];

/// Kafka's "no such epoch" and "no such offset".
const NONE: (i32, i64) = (-1, -1);

pub(crate) async fn handle(
    context: RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> Result<OffsetForLeaderEpochResponse, CloseReason> {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let (found, code) = match find(&context, &topic.topic, asked).await {
                Ok(found) => (found, ErrorCode::NONE),
                Err(code) => (NONE, code),
            };
            let (leader_epoch, end_offset) = found;
            partitions.push(EpochEndOffset {
                error_code: context.answer_code(code),
                partition: asked.partition,
                leader_epoch,
                end_offset,
            });
        }
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
    }
    Ok(OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics })
}

async fn find(
    context: &RequestContext,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), ErrorCode> {
    let broker = context.broker();
    let stream = TopicRef::Name(topic).resolve(broker)?;
    let partition = PartitionIndex::try_from(asked.partition)
        .ok()
        .and_then(|index| stream.partition(index))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let readers_epoch = said_epoch(asked.current_leader_epoch);
    broker.check_epoch(readers_epoch).map_err(|error| read_code(&error))?;
    let epoch = u32::try_from(asked.leader_epoch).ok().and_then(LogEpoch::new);
    let Some(epoch) = epoch else { return Ok(NONE) };
    let found = broker.epoch_end(&partition, epoch).await.map_err(|error| read_code(&error))?;
    Ok(found.map_or(NONE, |found| (found.epoch.as_i32(), found.end.as_i64())))
}
