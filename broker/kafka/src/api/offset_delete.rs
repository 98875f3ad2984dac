//! OffsetDelete (key 47), version 0: a group forgets how far it has read some partitions.
//!
//! - GROUP_SUBSCRIBED_TO_TOPIC where a member reads the topic, or may: what it said cannot be read.
//! - UNKNOWN_TOPIC_OR_PARTITION for a topic or partition that is not there; one without an offset
//!   is no error.
//! - A topic that is named twice is answered once, for the partitions of both.
//! - For the whole request: GROUP_ID_NOT_FOUND, and NON_EMPTY_GROUP for a group with members that
//!   are not consumers.
//!
//! The answer comes when the deletions are kept as the groups' log promises.
//!
//! Left out: nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_core::group::error::GroupError;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use weir_model::ids::{PartitionIndex, StreamName};

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
    let codes = match delete(&context, &request).await {
        Ok(codes) => codes,
        Err(error) => {
            let error_code = context.answer_code(group_code(error));
            return Ok(OffsetDeleteResponse { error_code, ..Default::default() });
        }
    };
    let topics = merged(request.topics).into_iter().map(|topic| {
        let name = StreamName::new(&topic.name).ok();
        let code_of = |index: i32| {
            let partition = (name.clone()?, PartitionIndex::try_from(index).ok()?);
            codes.get(&partition).copied()
        };
        let partitions = topic.partitions.iter().map(|partition| {
            let code = code_of(partition.partition_index);
            let code = code.unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code: context.answer_code(code),
            }
        });
        OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name }
    });
    Ok(OffsetDeleteResponse { topics: topics.collect(), ..Default::default() })
}

/// The topics in the order in which they are first named, with all partitions named of each.
fn merged(topics: Vec<OffsetDeleteRequestTopic>) -> Vec<OffsetDeleteRequestTopic> {
    let mut places = HashMap::new();
    let mut merged: Vec<OffsetDeleteRequestTopic> = Vec::new();
    for topic in topics {
        let place = *places.entry(topic.name.clone()).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(first) => first.partitions.extend(topic.partitions),
            None => merged.push(topic),
        }
    }
    merged
}

/// The code of each partition that is there.
async fn delete(
    context: &RequestContext,
    request: &OffsetDeleteRequest,
) -> Result<BTreeMap<(StreamName, PartitionIndex), ErrorCode>, GroupError> {
    // However often a request repeats itself, no more is kept of it than there are partitions.
    let mut found = BTreeMap::new();
    for topic in &request.topics {
        let Ok(stream) = TopicRef::Name(&topic.name).resolve(context.broker()) else { continue };
        for partition in &topic.partitions {
            let Ok(index) = PartitionIndex::try_from(partition.partition_index) else { continue };
            if stream.partition(index).is_some() {
                found.insert((stream.name.clone(), index), Arc::clone(&stream));
            }
        }
    }
    let wanted: Vec<_> =
        found.iter().map(|((_, index), stream)| (Arc::clone(stream), *index)).collect();
    let group = group_id(&request.group_id).map_err(|_| GroupError::GroupNotFound)?;
    let results = context.broker().groups().delete_offsets(&group, &wanted).await?;
    let codes = results.into_iter().map(|result| match result {
        Ok(()) => ErrorCode::NONE,
        Err(error) => delete_offset_code(error),
    });
    Ok(found.into_keys().zip(codes).collect())
}
