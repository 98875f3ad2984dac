//! OffsetCommit (key 8), versions 2 to 10: keep how far a group has read.
//!
//! - Generation -1 is a plain commit, for groups without members only, whatever member it names.
//!   Otherwise the member must be one of the generation. The error then is every partition's.
//! - A topic or partition that does not exist is UNKNOWN_TOPIC_OR_PARTITION, a topic id
//!   UNKNOWN_TOPIC_ID; metadata above `offset.metadata.max.bytes` OFFSET_METADATA_TOO_LARGE; an
//!   offset below 0 INVALID_REQUEST, where Kafka keeps what no client sends and none can read from.
//!   The others are kept.
//! - 2 to 4: a retention time of the client's own is stored as the offset's expiry time.
//! - 6+: the leader epoch is kept beside the offset. 7+: static members say who they are.
//! - A generation in a group that is not there is ILLEGAL_GENERATION, from 9 on GROUP_ID_NOT_FOUND.
//! - 9+: in a KIP-848 group the generation is the member's epoch; another than the present one is
//!   STALE_MEMBER_EPOCH. Before 9 that is UNSUPPORTED_VERSION, since such clients know no epochs.
//! - 10+: topics are given by id.
//!
//! The answer comes when the offsets are kept as the groups' log promises.
//!
//! Left out: nothing.

use std::sync::Arc;

use weir_core::group::coordinator::OffsetToCommit;
use weir_core::group::error::GroupError;
use weir_core::stream::stream::Stream;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use weir_model::ids::PartitionIndex;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::close::CloseReason;
use crate::errors::{commit_code, group_code};
use crate::exchange::RequestContext;
use crate::group::{claim, group_id};
use crate::topic::TopicRef;

pub(crate) const GAPS: &[&str] = &[];

/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;
/// First version that knows the epochs of KIP-848.
const MEMBER_EPOCHS_FROM: i16 = 9;
/// First version that tells a group that is not there from a generation that has passed.
const GROUP_NOT_FOUND_FROM: i16 = 9;

pub(crate) async fn handle(
    context: RequestContext,
    request: OffsetCommitRequest,
) -> Result<OffsetCommitResponse, CloseReason> {
    let expires_at = (request.retention_time_ms >= 0)
        .then(|| context.broker().clock().now().plus_millis(request.retention_time_ms));
    // What can be asked of the core goes there; the other codes wait for its answer.
    let mut accepted = Vec::new();
    let mut refused = Vec::new();
    for topic in &request.topics {
        let stream = topic_ref(&context, topic).resolve(context.broker());
        for partition in &topic.partitions {
            let parsed = stream.clone().and_then(|stream| parse(stream, partition, expires_at));
            refused.push(parsed.as_ref().err().copied());
            accepted.extend(parsed.ok());
        }
    }
    let mut codes = commit(&context, &request, accepted).await.into_iter();
    let mut codes = refused.into_iter().map(|code| code.or_else(|| codes.next()));
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: context
                .answer_code(codes.next().flatten().expect("each partition has a code")),
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions }
    });
    Ok(OffsetCommitResponse { throttle_time_ms: 0, topics: topics.collect() })
}

fn topic_ref<'a>(context: &RequestContext, topic: &'a OffsetCommitRequestTopic) -> TopicRef<'a> {
    if context.version >= TOPIC_IDS_FROM {
        TopicRef::Id(topic.topic_id)
    } else {
        TopicRef::Name(&topic.name)
    }
}

fn parse(
    stream: Arc<Stream>,
    partition: &OffsetCommitRequestPartition,
    expires_at: Option<Timestamp>,
) -> Result<OffsetToCommit, ErrorCode> {
    let epoch = partition.committed_leader_epoch;
    // Before the group is asked, as in Kafka: it answers for the partitions that are there.
    let index = PartitionIndex::try_from(partition.partition_index)
        .ok()
        .filter(|index| stream.partition(*index).is_some())
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    Ok(OffsetToCommit {
        stream,
        partition: index,
        offset: Offset::try_from(partition.committed_offset)
            .map_err(|_| ErrorCode::INVALID_REQUEST)?,
        leader_epoch: (epoch >= 0).then_some(epoch),
        metadata: Arc::from(partition.committed_metadata.as_deref().unwrap_or_default()),
        expires_at,
    })
}

/// One code for each offset.
async fn commit(
    context: &RequestContext,
    request: &OffsetCommitRequest,
    offsets: Vec<OffsetToCommit>,
) -> Vec<ErrorCode> {
    let count = offsets.len();
    let instance = request.group_instance_id.as_deref();
    let claim = claim(&request.member_id, instance, request.generation_id_or_member_epoch);
    let results = match group_id(&request.group_id) {
        Ok(group) => context.broker().groups().commit_offsets(&group, claim, offsets).await,
        Err(error) => Err(error),
    };
    match results {
        Ok(results) => {
            let code = |result: Result<(), _>| match result {
                Ok(()) => ErrorCode::NONE,
                Err(error) => commit_code(error),
            };
            results.into_iter().map(code).collect()
        }
        Err(GroupError::GroupNotFound) if context.version < GROUP_NOT_FOUND_FROM => {
            vec![ErrorCode::ILLEGAL_GENERATION; count]
        }
        Err(GroupError::StaleMemberEpoch) if context.version < MEMBER_EPOCHS_FROM => {
            vec![ErrorCode::UNSUPPORTED_VERSION; count]
        }
        Err(error) => vec![group_code(error); count],
    }
}
