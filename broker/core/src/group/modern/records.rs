//! What KIP-848 groups write to `__consumer_offsets`, in Kafka's own record formats.
//!
//! ```text
//!   key                     value
//!   type 3: group           group epoch, hash of the topics' metadata
//!   type 5: group, member   what the member said of itself
//!   type 6: group           epoch of the target assignment
//!   type 7: group, member   its target
//!   type 8: group, member   where it stands: epochs, what it has, what it gives up
//!   type 16: group, regex   the topics that it matches
//! ```
//!
//! A record without a value takes back what its key names. Type 4 was the topics' metadata before
//! Kafka 4.1 hashed it, and is skipped.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use weir_kafka_records::messages::consumer_group_current_member_assignment as current;
use weir_kafka_records::messages::consumer_group_member_metadata as member;
use weir_kafka_records::messages::consumer_group_metadata as group;
use weir_kafka_records::messages::consumer_group_regular_expression as regex;
use weir_kafka_records::messages::consumer_group_target_assignment_member as target;
use weir_kafka_records::messages::consumer_group_target_assignment_metadata as target_epoch;
use weir_kafka_records::{
    Message, RecordKey, Uuid, decode_key, decode_versioned, encode_key, encode_versioned,
};
use weir_model::ids::{PartitionId, PartitionIndex, StreamId};
use weir_model::time::Timestamp;

use crate::group::assignor::{Assignor, Partitions, by_stream};
use crate::group::classic::{Client, Protocol};
use crate::group::identity::{GroupId, InstanceId, MemberId};
use crate::group::modern::member::{ClassicPart, CurrentAssignment, MemberMetadata, MemberState};
use crate::group::records::{
    KeyAndValue, UnreadableRecord, duration_ms, millis_i32, unreadable, written,
};

/// Every value has one version so far.
const VALUE_VERSION: i16 = 0;

/// One change of a group, as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModernRecord {
    /// The group's epoch; none once the group is gone.
    Epoch(Option<GroupEpoch>),
    /// What a member said of itself; none once it has gone.
    Member(MemberId, Option<MemberMetadata>),
    /// The epoch that the targets are for.
    TargetEpoch(Option<i32>),
    /// What a member is to have.
    Target(MemberId, Option<Partitions>),
    /// Where a member stands.
    Current(MemberId, Option<CurrentAssignment>),
    /// The topics that a regular expression matches.
    Regex(Arc<str>, Option<ResolvedRegex>),
}

/// A group's epoch and what it was reckoned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Counted up whenever targets must be worked out anew.
    pub epoch: i32,
    /// See [`super::metadata_hash`].
    pub metadata_hash: i64,
}

/// The topics that a regular expression matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// Their names.
    pub topics: BTreeSet<Arc<str>>,
    /// The version of the topics that were looked at.
    pub version: u64,
    /// When they were looked at.
    pub resolved_at: Timestamp,
}

impl ModernRecord {
    /// Whether it takes something back.
    pub(in crate::group) fn is_tombstone(&self) -> bool {
        match self {
            ModernRecord::Epoch(value) => value.is_none(),
            ModernRecord::Member(_, value) => value.is_none(),
            ModernRecord::TargetEpoch(value) => value.is_none(),
            ModernRecord::Target(_, value) => value.is_none(),
            ModernRecord::Current(_, value) => value.is_none(),
            ModernRecord::Regex(_, value) => value.is_none(),
        }
    }

    /// About how many bytes it takes.
    pub(super) fn stored_bytes(&self) -> usize {
        let names = |names: &BTreeSet<Arc<str>>| names.iter().map(|name| name.len() + 8).sum();
        let value = match self {
            ModernRecord::Member(_, Some(metadata)) => {
                let protocols = metadata.classic.iter().flat_map(|classic| &classic.protocols);
                let protocols: usize = protocols.map(|one| one.metadata.len()).sum();
                protocols + names(&metadata.topics)
            }
            ModernRecord::Target(_, Some(partitions)) => partitions.len() * PARTITION_BYTES_MAX,
            ModernRecord::Current(_, Some(current)) => {
                (current.assigned.len() + current.revoking.len()) * PARTITION_BYTES_MAX
            }
            ModernRecord::Regex(_, Some(resolved)) => names(&resolved.topics),
            _ => 0,
        };
        value + RECORD_BYTES
    }
}

/// What a partition takes where each is of a topic of its own.
const PARTITION_BYTES_MAX: usize = 24;
/// What a record takes beside lists: keys, epochs and short texts.
const RECORD_BYTES: usize = 256;

/// The bytes that a change is logged as.
pub(in crate::group) fn encode(group: &GroupId, record: &ModernRecord) -> KeyAndValue {
    let group_id = group.as_str().to_owned();
    let id = |member: &MemberId| member.as_str().to_owned();
    match record {
        ModernRecord::Epoch(epoch) => {
            let key = group::ConsumerGroupMetadataKey { group_id };
            pair(
                &key,
                epoch.map(|GroupEpoch { epoch, metadata_hash }| {
                    group::ConsumerGroupMetadataValue { epoch, metadata_hash }
                }),
            )
        }
        ModernRecord::Member(member, metadata) => {
            let key = member::ConsumerGroupMemberMetadataKey { group_id, member_id: id(member) };
            pair(&key, metadata.as_ref().map(member_value))
        }
        ModernRecord::TargetEpoch(epoch) => {
            let key = target_epoch::ConsumerGroupTargetAssignmentMetadataKey { group_id };
            pair(
                &key,
                epoch.map(|assignment_epoch| {
                    target_epoch::ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch }
                }),
            )
        }
        ModernRecord::Target(member, partitions) => {
            let member_id = id(member);
            let key = target::ConsumerGroupTargetAssignmentMemberKey { group_id, member_id };
            pair(&key, partitions.as_ref().map(target_value))
        }
        ModernRecord::Current(member, current) => {
            let member_id = id(member);
            let key = current::ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id };
            pair(&key, current.as_ref().map(current_value))
        }
        ModernRecord::Regex(text, resolved) => {
            let regular_expression = text.to_string();
            let key = regex::ConsumerGroupRegularExpressionKey { group_id, regular_expression };
            pair(&key, resolved.as_ref().map(regex_value))
        }
    }
}

fn pair<K: RecordKey, V: Message>(key: &K, value: Option<V>) -> KeyAndValue {
    let value = value.map(|value| written(encode_versioned(&value, VALUE_VERSION)));
    (written(encode_key(key)), value)
}

/// Reads a record of one of these kinds. None for other kinds.
pub(in crate::group) fn decode(
    record_type: i16,
    key: &Bytes,
    value: Option<&Bytes>,
) -> Result<Option<(String, ModernRecord)>, UnreadableRecord> {
    let key = key.clone();
    Ok(Some(match record_type {
        group::ConsumerGroupMetadataKey::RECORD_TYPE => {
            let key: group::ConsumerGroupMetadataKey = decode_key(key).map_err(unreadable)?;
            let epoch = read(value)?.map(|value: group::ConsumerGroupMetadataValue| GroupEpoch {
                epoch: value.epoch,
                metadata_hash: value.metadata_hash,
            });
            (key.group_id, ModernRecord::Epoch(epoch))
        }
        member::ConsumerGroupMemberMetadataKey::RECORD_TYPE => {
            let key: member::ConsumerGroupMemberMetadataKey =
                decode_key(key).map_err(unreadable)?;
            let metadata = read(value)?.map(member_metadata);
            (key.group_id, ModernRecord::Member(member_id(&key.member_id)?, metadata))
        }
        target_epoch::ConsumerGroupTargetAssignmentMetadataKey::RECORD_TYPE => {
            let key: target_epoch::ConsumerGroupTargetAssignmentMetadataKey =
                decode_key(key).map_err(unreadable)?;
            let epoch = read(value)?.map(
                |value: target_epoch::ConsumerGroupTargetAssignmentMetadataValue| {
                    value.assignment_epoch
                },
            );
            (key.group_id, ModernRecord::TargetEpoch(epoch))
        }
        target::ConsumerGroupTargetAssignmentMemberKey::RECORD_TYPE => {
            let key: target::ConsumerGroupTargetAssignmentMemberKey =
                decode_key(key).map_err(unreadable)?;
            let partitions = read(value)?.map(target_partitions).transpose()?;
            (key.group_id, ModernRecord::Target(member_id(&key.member_id)?, partitions))
        }
        current::ConsumerGroupCurrentMemberAssignmentKey::RECORD_TYPE => {
            let key: current::ConsumerGroupCurrentMemberAssignmentKey =
                decode_key(key).map_err(unreadable)?;
            let current = read(value)?.map(current_assignment).transpose()?;
            (key.group_id, ModernRecord::Current(member_id(&key.member_id)?, current))
        }
        regex::ConsumerGroupRegularExpressionKey::RECORD_TYPE => {
            let key: regex::ConsumerGroupRegularExpressionKey =
                decode_key(key).map_err(unreadable)?;
            let resolved = read(value)?.map(resolved_regex);
            (key.group_id, ModernRecord::Regex(key.regular_expression.into(), resolved))
        }
        _ => return Ok(None),
    }))
}

fn read<V: Message>(value: Option<&Bytes>) -> Result<Option<V>, UnreadableRecord> {
    value.cloned().map(decode_versioned).transpose().map_err(unreadable)
}

fn member_id(text: &str) -> Result<MemberId, UnreadableRecord> {
    MemberId::from_client(text).ok_or_else(|| unreadable("member without an id"))
}

fn member_value(metadata: &MemberMetadata) -> member::ConsumerGroupMemberMetadataValue {
    let text = |text: &Arc<str>| text.to_string();
    let classic = |part: &ClassicPart| member::ClassicMemberMetadata {
        session_timeout_ms: millis_i32(part.session_timeout),
        supported_protocols: part.protocols.iter().map(classic_protocol).collect(),
    };
    member::ConsumerGroupMemberMetadataValue {
        instance_id: metadata.instance.as_ref().map(|instance| instance.as_str().to_owned()),
        rack_id: metadata.rack.as_ref().map(text),
        client_id: metadata.client.id.to_string(),
        client_host: metadata.client.host.to_string(),
        subscribed_topic_names: metadata.topics.iter().map(text).collect(),
        // Kafka has the empty text for none.
        subscribed_topic_regex: Some(metadata.regex.as_ref().map(text).unwrap_or_default()),
        rebalance_timeout_ms: millis_i32(metadata.rebalance_timeout),
        server_assignor: metadata.assignor.map(|assignor| assignor.name().to_owned()),
        classic_member_metadata: metadata.classic.as_ref().map(classic),
    }
}

fn classic_protocol(protocol: &Protocol) -> member::ClassicProtocol {
    let Protocol { name, metadata } = protocol;
    member::ClassicProtocol { name: name.to_string(), metadata: metadata.clone() }
}

fn member_metadata(value: member::ConsumerGroupMemberMetadataValue) -> MemberMetadata {
    let text = |text: String| Arc::<str>::from(text);
    let classic = |part: member::ClassicMemberMetadata| ClassicPart {
        session_timeout: duration_ms(part.session_timeout_ms),
        protocols: part.supported_protocols.into_iter().map(protocol).collect(),
    };
    MemberMetadata {
        instance: value.instance_id.as_deref().map(InstanceId::new),
        rack: value.rack_id.map(text),
        client: Client { id: value.client_id.into(), host: value.client_host.into() },
        rebalance_timeout: duration_ms(value.rebalance_timeout_ms),
        topics: value.subscribed_topic_names.into_iter().map(text).collect(),
        regex: value.subscribed_topic_regex.filter(|regex| !regex.is_empty()).map(text),
        // An assignor that this release does not have is as good as none.
        assignor: value.server_assignor.as_deref().and_then(Assignor::from_name),
        classic: value.classic_member_metadata.map(classic),
    }
}

fn protocol(value: member::ClassicProtocol) -> Protocol {
    // Copied, since slices would keep every batch that was ever read.
    let metadata = Bytes::copy_from_slice(&value.metadata);
    Protocol { name: Arc::from(value.name), metadata }
}

fn from_topics(
    topics: impl Iterator<Item = (Uuid, Vec<i32>)>,
) -> Result<Partitions, UnreadableRecord> {
    let mut partitions = Partitions::new();
    for (topic_id, indexes) in topics {
        let stream = StreamId::from_bytes(topic_id.0);
        for index in indexes {
            let index = PartitionIndex::try_from(index)
                .map_err(|error| unreadable(format!("partition {}", error.0)))?;
            partitions.insert(PartitionId { stream, index });
        }
    }
    Ok(partitions)
}

fn target_value(partitions: &Partitions) -> target::ConsumerGroupTargetAssignmentMemberValue {
    let topic = |(stream, partitions): (StreamId, Vec<i32>)| target::TopicPartition {
        topic_id: Uuid(stream.to_bytes()),
        partitions,
    };
    let topic_partitions = by_stream(partitions).into_iter().map(topic).collect();
    target::ConsumerGroupTargetAssignmentMemberValue { topic_partitions }
}

fn target_partitions(
    value: target::ConsumerGroupTargetAssignmentMemberValue,
) -> Result<Partitions, UnreadableRecord> {
    from_topics(value.topic_partitions.into_iter().map(|topic| (topic.topic_id, topic.partitions)))
}

fn current_value(
    assignment: &CurrentAssignment,
) -> current::ConsumerGroupCurrentMemberAssignmentValue {
    let topics = |partitions: &Partitions| {
        let topic = |(stream, partitions): (StreamId, Vec<i32>)| current::TopicPartitions {
            topic_id: Uuid(stream.to_bytes()),
            partitions,
        };
        by_stream(partitions).into_iter().map(topic).collect()
    };
    current::ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: assignment.epoch,
        previous_member_epoch: assignment.previous_epoch,
        state: match assignment.state {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
        },
        assigned_partitions: topics(&assignment.assigned),
        partitions_pending_revocation: topics(&assignment.revoking),
    }
}

fn current_assignment(
    value: current::ConsumerGroupCurrentMemberAssignmentValue,
) -> Result<CurrentAssignment, UnreadableRecord> {
    let partitions = |topics: Vec<current::TopicPartitions>| {
        from_topics(topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)))
    };
    Ok(CurrentAssignment {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        state: match value.state {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            other => return Err(unreadable(format!("member state {other}"))),
        },
        assigned: partitions(value.assigned_partitions)?,
        revoking: partitions(value.partitions_pending_revocation)?,
    })
}

fn regex_value(resolved: &ResolvedRegex) -> regex::ConsumerGroupRegularExpressionValue {
    regex::ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().map(|name| name.to_string()).collect(),
        version: i64::try_from(resolved.version).unwrap_or(i64::MAX),
        timestamp: resolved.resolved_at.as_millis(),
    }
}

fn resolved_regex(value: regex::ConsumerGroupRegularExpressionValue) -> ResolvedRegex {
    ResolvedRegex {
        topics: value.topics.into_iter().map(Arc::from).collect(),
        version: u64::try_from(value.version).unwrap_or(0),
        resolved_at: Timestamp::from_millis(value.timestamp),
    }
}
