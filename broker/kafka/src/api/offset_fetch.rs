//! OffsetFetch (key 9), versions 1 to 10: how far groups have read.
//!
//! - A partition without a commit, a group that is not there, and a topic name that is not there:
//!   offset -1 without an error.
//! - A partition that is named twice is answered once; more than 200,000 close the connection.
//! - 2+: null topics ask for everything that the group has committed. A group's error stands in the
//!   answer; in 1 it stands in each partition.
//! - 5+: the leader epoch that was committed is told.
//! - 7+: `require_stable` changes nothing, since no offsets wait for a transaction.
//! - 8+: many groups at once. One of which everything is asked twice is answered once.
//! - 9+: a member of a KIP-848 group in another epoch than it names is STALE_MEMBER_EPOCH, an
//!   unknown one UNKNOWN_MEMBER_ID; classic groups do not check them.
//! - 10+: topics are given by id; one that is not there is UNKNOWN_TOPIC_ID.
//!
//! Left out: nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use weir_core::group::error::GroupError;
use weir_core::group::identity::Claim;
use weir_core::group::offsets::CommittedOffset;
use weir_kafka_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use weir_kafka_protocol::{ErrorCode, Uuid};
use weir_model::ids::PartitionIndex;

use crate::answers::check_asked;
use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::{claim, group_id};
use crate::topic::{TopicRef, topic_id};

pub(crate) const GAPS: &[&str] = &["`require_stable` changes nothing without transactions"];

/// First version that asks for many groups.
const MANY_GROUPS_FROM: i16 = 8;
/// First version in which a group's error has a place of its own.
const GROUP_ERROR_FROM: i16 = 2;
/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;

/// Kafka's "nothing was committed".
const NO_OFFSET: i64 = -1;
const NO_EPOCH: i32 = -1;

pub(crate) async fn handle(
    context: RequestContext,
    request: OffsetFetchRequest,
) -> Result<OffsetFetchResponse, CloseReason> {
    if context.version >= MANY_GROUPS_FROM {
        let asked = each_once(request.groups)?;
        let mut groups = Vec::with_capacity(asked.len());
        for group in asked {
            groups.push(answer(&context, group).await);
        }
        return Ok(OffsetFetchResponse { groups, ..Default::default() });
    }
    let topics = request.topics.map(|topics| {
        let named = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            topic_id: Uuid::ZERO,
            partition_indexes: topic.partition_indexes,
        });
        named.collect::<Vec<_>>()
    });
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    let group = each_once(vec![group])?.pop().unwrap_or_default();
    Ok(single(&context, group).await)
}

/// Leaves of what is asked for what was not asked for before.
fn each_once(
    mut groups: Vec<OffsetFetchRequestGroup>,
) -> Result<Vec<OffsetFetchRequestGroup>, CloseReason> {
    let topics = groups.iter().filter_map(|group| group.topics.as_ref()).flatten();
    let partitions: usize = topics.map(|topic| topic.partition_indexes.len()).sum();
    check_asked(groups.len() + partitions)?;
    let mut asked_in_full = HashSet::new();
    let mut asked: HashMap<String, HashMap<(String, Uuid), HashSet<i32>>> = HashMap::new();
    groups.retain_mut(|group| {
        let Some(topics) = &mut group.topics else {
            return asked_in_full.insert(group.group_id.clone());
        };
        let asked = asked.entry(group.group_id.clone()).or_default();
        for topic in topics {
            let asked = asked.entry((topic.name.clone(), topic.topic_id)).or_default();
            topic.partition_indexes.retain(|index| asked.insert(*index));
        }
        true
    });
    Ok(groups)
}

/// The answer in the versions that know one group only.
async fn single(context: &RequestContext, group: OffsetFetchRequestGroup) -> OffsetFetchResponse {
    let asked = group.topics.clone();
    let answer = answer(context, group).await;
    let has_error = answer.error_code != ErrorCode::NONE.0;
    let topics = match asked {
        Some(asked) if has_error && context.version < GROUP_ERROR_FROM => {
            let code = ErrorCode(answer.error_code);
            asked.into_iter().map(|topic| topic_answer(&topic, |_| Err(code))).collect()
        }
        _ => answer.topics,
    };
    let partition = |found: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: found.partition_index,
        committed_offset: found.committed_offset,
        committed_leader_epoch: found.committed_leader_epoch,
        metadata: found.metadata,
        error_code: found.error_code,
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    OffsetFetchResponse {
        topics: topics.into_iter().map(topic).collect(),
        // Version 1 has no such field; what it would say stands in the partitions.
        error_code: if context.version < GROUP_ERROR_FROM { 0 } else { answer.error_code },
        ..OffsetFetchResponse::default()
    }
}

async fn answer(
    context: &RequestContext,
    group: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let claim = claim(group.member_id.as_deref().unwrap_or_default(), None, group.member_epoch);
    let topics = match &group.topics {
        Some(topics) => some_topics(context, &group.group_id, &claim, topics).await,
        None => all_topics(context, &group.group_id, &claim).await,
    };
    let (topics, code) = match topics {
        Ok(topics) => (topics, ErrorCode::NONE),
        Err(error) => (Vec::new(), group_code(error)),
    };
    let error_code = context.answer_code(code);
    OffsetFetchResponseGroup { group_id: group.group_id, topics, error_code }
}

async fn some_topics(
    context: &RequestContext,
    group: &str,
    claim: &Claim,
    asked: &[OffsetFetchRequestTopics],
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let group = group_id(group)?;
    let by_id = context.version >= TOPIC_IDS_FROM;
    let mut streams = Vec::with_capacity(asked.len());
    let mut wanted = Vec::new();
    for topic in asked {
        let reference =
            if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(&topic.name) };
        let stream = reference.resolve(context.broker());
        if let Ok(stream) = &stream {
            let indexes = topic.partition_indexes.iter();
            let legal = indexes.filter_map(|index| PartitionIndex::try_from(*index).ok());
            wanted.extend(legal.map(|index| (stream.clone(), index)));
        }
        streams.push(stream);
    }
    let found = context.broker().groups().fetch_offsets(&group, claim, &wanted).await?;
    let mut found = found.into_iter();
    let answers = asked.iter().zip(streams).map(|(topic, stream)| {
        topic_answer(topic, |index| match &stream {
            Err(code) if by_id => Err(*code),
            Ok(_) if PartitionIndex::try_from(index).is_ok() => Ok(found.next().flatten()),
            Ok(_) | Err(_) => Ok(None),
        })
    });
    Ok(answers.collect())
}

fn topic_answer(
    topic: &OffsetFetchRequestTopics,
    mut found: impl FnMut(i32) -> Result<Option<CommittedOffset>, ErrorCode>,
) -> OffsetFetchResponseTopics {
    let indexes = topic.partition_indexes.iter();
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: indexes.map(|index| partition(*index, found(*index))).collect(),
    }
}

async fn all_topics(
    context: &RequestContext,
    group: &str,
    claim: &Claim,
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let found = context.broker().groups().fetch_all_offsets(&group_id(group)?, claim).await?;
    let by_id = context.version >= TOPIC_IDS_FROM;
    let mut topics: BTreeMap<String, OffsetFetchResponseTopics> = BTreeMap::new();
    for (stream, index, committed) in found {
        let fresh = || OffsetFetchResponseTopics {
            name: if by_id { String::new() } else { stream.name.as_str().to_owned() },
            topic_id: if by_id { topic_id(&stream) } else { Uuid::ZERO },
            partitions: Vec::new(),
        };
        let topic = topics.entry(stream.name.as_str().to_owned()).or_insert_with(fresh);
        topic.partitions.push(partition(index.as_i32(), Ok(Some(committed))));
    }
    Ok(topics.into_values().collect())
}

fn partition(
    partition_index: i32,
    found: Result<Option<CommittedOffset>, ErrorCode>,
) -> OffsetFetchResponsePartitions {
    let (committed, code) = match found {
        Ok(committed) => (committed, ErrorCode::NONE),
        Err(code) => (None, code),
    };
    let none = OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: NO_EPOCH,
        metadata: Some(String::new()),
        error_code: code.0,
    };
    match committed {
        None => none,
        Some(committed) => OffsetFetchResponsePartitions {
            committed_offset: committed.offset.as_i64(),
            committed_leader_epoch: committed.leader_epoch.unwrap_or(NO_EPOCH),
            metadata: Some(committed.metadata.to_string()),
            ..none
        },
    }
}
