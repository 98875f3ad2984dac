//! OffsetDelete (key 47), version 0: a group forgets how far it has read some partitions.
//!
//! - GROUP_SUBSCRIBED_TO_TOPIC where a member reads the topic, or may: what it said cannot be read.
//! - UNKNOWN_TOPIC_OR_PARTITION for a topic or partition that is not there; one without an offset
//!   is no error.
//! - For the whole request: GROUP_ID_NOT_FOUND, and NON_EMPTY_GROUP for a group with members that
//!   are not consumers.
//!
//! The answer comes when the deletions are kept as the groups' log promises.
//!
//! Left out: nothing.

use std::sync::Arc;

use weir_core::group::error::GroupError;
use weir_core::stream::stream::Stream;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use weir_model::ids::PartitionIndex;

use crate::close::CloseReason;
use crate::errors::{delete_offset_code, group_code};
use crate::exchange::RequestContext;
use crate::group::group_id;
use crate::topic::TopicRef;

pub(crate) const GAPS: &[&str] = &[];

pub(crate) async fn handle(
    context: RequestContext,
    request: OffsetDeleteRequest,
) -> Result<OffsetDeleteResponse, CloseReason> {
    // One for each partition of the request; none for one that is not there.
    let found: Vec<_> =
        request.topics.iter().flat_map(|topic| find_partitions(&context, topic)).collect();
    let wanted: Vec<_> = found.iter().flatten().cloned().collect();
    let deleted = match group_id(&request.group_id) {
        Ok(group) => context.broker().groups().delete_offsets(&group, &wanted).await,
        Err(_) => Err(GroupError::GroupNotFound),
    };
    let mut deleted = match deleted {
        Ok(results) => results.into_iter(),
        Err(error) => {
            let error_code = context.answer_code(group_code(error));
            return Ok(OffsetDeleteResponse { error_code, ..Default::default() });
        }
    };
    let mut codes = found.into_iter().map(|found| match found {
        None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        Some(_) => match deleted.next().expect("each partition has a result") {
            Ok(()) => ErrorCode::NONE,
            Err(error) => delete_offset_code(error),
        },
    });
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| OffsetDeleteResponsePartition {
            partition_index: partition.partition_index,
            error_code: context.answer_code(codes.next().expect("each partition has a code")),
        });
        OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name }
    });
    Ok(OffsetDeleteResponse { topics: topics.collect(), ..Default::default() })
}

fn find_partitions(
    context: &RequestContext,
    topic: &OffsetDeleteRequestTopic,
) -> Vec<Option<(Arc<Stream>, PartitionIndex)>> {
    let stream = TopicRef::Name(&topic.name).resolve(context.broker()).ok();
    let find = |index: i32| {
        let (stream, index) = (stream.as_ref()?, PartitionIndex::try_from(index).ok()?);
        stream.partition(index)?;
        Some((Arc::clone(stream), index))
    };
    topic.partitions.iter().map(|partition| find(partition.partition_index)).collect()
}
