//! What groups write to `__consumer_offsets`, in Kafka's own record formats.
//!
//! ```text
//!   key                                       value
//!   type 1: group, topic, partition           offset, leader epoch, metadata, times, topic id
//!   type 2: group                             generation, protocol, leader, members, assignments
//!   the others                                see `modern/records.rs`
//! ```
//!
//! A record without a value is a tombstone: what its key names is gone. Offsets are written with
//! the stream's id (version 4), except where a client asked for an expiry time of its own, which
//! only version 1 can hold.

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_kafka_records::messages::group_metadata::{
    GroupMetadataKey, GroupMetadataValue, MemberMetadata,
};
use weir_kafka_records::messages::offset_commit::{OffsetCommitKey, OffsetCommitValue};
use weir_kafka_records::{
    RecordKey, Uuid, decode_key, decode_versioned, encode_key, encode_versioned, record_type,
};
use weir_model::ids::{PartitionIndex, StreamId, StreamName};
use weir_model::limits::MIB;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::group::classic::Client;
use crate::group::identity::{GroupId, InstanceId, MemberId};
use crate::group::modern;
use crate::group::modern::records::ModernRecord;
use crate::group::offsets::{CommittedOffset, PartitionName};

/// Most bytes of members, metadata and assignments that a group may log at once. Kafka's own limit
/// is the internal topic's largest batch, 1 MiB.
pub const GROUP_IMAGE_BYTES_MAX: usize = 16 * MIB;

/// Most bytes of offsets that a request may log at once.
pub const COMMIT_BYTES_MAX: usize = 16 * MIB;

/// What an offset's record takes beside its texts, and some more.
const OFFSET_RECORD_BYTES: usize = 64;

/// Version of the group's record: the last before tagged fields, which Kafka writes as well.
const GROUP_VERSION: i16 = 3;
/// Version of an offset's record: the first with the topic's id.
const OFFSET_VERSION: i16 = 4;
/// Version of an offset's record with an expiry time.
const EXPIRING_OFFSET_VERSION: i16 = 1;

/// One change of a group, as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// The members as they are now; none once the group is deleted.
    Members(Option<GroupImage>),
    /// A partition's offset; none once it is forgotten.
    Offset(PartitionName, Option<CommittedOffset>),
    /// A change of a group of the consumer protocol.
    Modern(ModernRecord),
}

/// What a restart knows of a group's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupImage {
    /// The generation.
    pub generation: i32,
    /// What kind of group it is; none if it never had a member.
    pub protocol_type: Option<Arc<str>>,
    /// The generation's protocol; none without members.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns; none without members.
    pub leader: Option<MemberId>,
    /// When this was written.
    pub written_at: Timestamp,
    /// The members, in the order of their ids.
    pub members: Vec<MemberImage>,
}

/// What a restart knows of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberImage {
    /// Its id.
    pub member: MemberId,
    /// Its static name, if it has one.
    pub instance: Option<InstanceId>,
    /// The client program.
    pub client: Client,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// How long the others wait for it in a rebalance.
    pub rebalance_timeout: Duration,
    /// What it said for the generation's protocol.
    pub subscription: Bytes,
    /// Its part.
    pub assignment: Bytes,
}

impl GroupImage {
    /// About how many bytes the record takes.
    pub fn stored_bytes(&self) -> usize {
        let bytes_of = |member: &MemberImage| {
            let instance = member.instance.as_ref().map_or("", InstanceId::as_str);
            let texts = [member.member.as_str(), instance, &member.client.id, &member.client.host];
            let text_bytes: usize = texts.iter().map(|text| text.len()).sum();
            text_bytes + member.subscription.len() + member.assignment.len()
        };
        self.members.iter().map(bytes_of).sum()
    }
}

/// About how many bytes the record of a committed offset takes.
pub fn offset_record_bytes(group: &GroupId, stream: &StreamName, metadata: &str) -> usize {
    group.as_str().len() + stream.as_str().len() + metadata.len() + OFFSET_RECORD_BYTES
}

/// A record's key and value; no value for a tombstone.
pub type KeyAndValue = (Bytes, Option<Bytes>);

/// The bytes that a group's change is logged as.
pub fn encode(group: &GroupId, record: &GroupRecord) -> KeyAndValue {
    let id = group;
    let group = group.as_str().to_owned();
    match record {
        GroupRecord::Modern(record) => modern::records::encode(id, record),
        GroupRecord::Members(image) => {
            let key = written(encode_key(&GroupMetadataKey { group }));
            let value = image.as_ref().map(group_value);
            (key, value.map(|value| written(encode_versioned(&value, GROUP_VERSION))))
        }
        GroupRecord::Offset((stream, partition), committed) => {
            let (topic, partition) = (stream.as_str().to_owned(), partition.as_i32());
            let key = written(encode_key(&OffsetCommitKey { group, topic, partition }));
            let value = committed.as_ref().map(offset_value);
            (key, value.map(|(value, version)| written(encode_versioned(&value, version))))
        }
    }
}

/// A text or list is too long only above what requests can carry, so an error is ours.
pub(in crate::group) fn written<E: Debug>(encoded: Result<Bytes, E>) -> Bytes {
    encoded.expect("strings that came in a request fit into a record")
}

/// A record that is not one of ours, or damaged in a way that its batch's CRC did not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRecord(pub String);

pub(in crate::group) fn unreadable(why: impl Display) -> UnreadableRecord {
    UnreadableRecord(why.to_string())
}

/// Reads a record of `__consumer_offsets`. None for kinds that this release does not know.
pub fn decode(
    key: &Bytes,
    value: Option<&Bytes>,
) -> Result<Option<(GroupId, GroupRecord)>, UnreadableRecord> {
    match record_type(key).map_err(unreadable)? {
        GroupMetadataKey::RECORD_TYPE => {
            let GroupMetadataKey { group } = decode_key(key.clone()).map_err(unreadable)?;
            let value = value.cloned().map(decode_versioned).transpose().map_err(unreadable)?;
            let image = value.map(group_image).transpose()?;
            Ok(Some((group_id(&group)?, GroupRecord::Members(image))))
        }
        OffsetCommitKey::RECORD_TYPE => {
            let OffsetCommitKey { group, topic, partition } =
                decode_key(key.clone()).map_err(unreadable)?;
            let stream = StreamName::new(&topic)
                .map_err(|error| unreadable(format!("topic {topic:?}: {error:?}")))?;
            let partition = PartitionIndex::try_from(partition)
                .map_err(|error| unreadable(format!("partition: {error:?}")))?;
            let value = value.cloned().map(decode_versioned).transpose().map_err(unreadable)?;
            let committed = value.map(committed_offset).transpose()?;
            Ok(Some((group_id(&group)?, GroupRecord::Offset((stream, partition), committed))))
        }
        other => {
            let Some((group, record)) = modern::records::decode(other, key, value)? else {
                return Ok(None);
            };
            Ok(Some((group_id(&group)?, GroupRecord::Modern(record))))
        }
    }
}

fn group_id(text: &str) -> Result<GroupId, UnreadableRecord> {
    GroupId::new(text).map_err(|_| unreadable("group id is too long"))
}

fn group_value(image: &GroupImage) -> GroupMetadataValue {
    let text = |text: &Arc<str>| text.to_string();
    let members = image.members.iter().map(|member| MemberMetadata {
        member_id: member.member.as_str().to_owned(),
        group_instance_id: member.instance.as_ref().map(|instance| instance.as_str().to_owned()),
        client_id: member.client.id.to_string(),
        client_host: member.client.host.to_string(),
        rebalance_timeout: millis_i32(member.rebalance_timeout),
        session_timeout: millis_i32(member.session_timeout),
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
    });
    GroupMetadataValue {
        protocol_type: image.protocol_type.as_ref().map(text).unwrap_or_default(),
        generation: image.generation,
        protocol: image.protocol.as_ref().map(text),
        leader: image.leader.as_ref().map(|leader| leader.as_str().to_owned()),
        current_state_timestamp: image.written_at.as_millis(),
        members: members.collect(),
    }
}

fn group_image(value: GroupMetadataValue) -> Result<GroupImage, UnreadableRecord> {
    let GroupMetadataValue { protocol_type, generation, protocol, leader, .. } = value;
    let shared = |text: String| Arc::<str>::from(text);
    let members: Result<Vec<_>, _> = value.members.into_iter().map(member_image).collect();
    Ok(GroupImage {
        generation,
        protocol_type: (!protocol_type.is_empty()).then(|| shared(protocol_type)),
        protocol: protocol.map(shared),
        leader: leader.as_deref().and_then(MemberId::from_client),
        written_at: Timestamp::from_millis(value.current_state_timestamp),
        members: members?,
    })
}

fn member_image(value: MemberMetadata) -> Result<MemberImage, UnreadableRecord> {
    let session_timeout = duration_ms(value.session_timeout);
    Ok(MemberImage {
        member: MemberId::from_client(&value.member_id)
            .ok_or_else(|| unreadable("member without an id"))?,
        instance: value.group_instance_id.as_deref().map(InstanceId::new),
        client: Client { id: value.client_id.into(), host: value.client_host.into() },
        // Version 0 has no rebalance timeout; Kafka reads it as the session's.
        rebalance_timeout: match value.rebalance_timeout {
            -1 => session_timeout,
            millis => duration_ms(millis),
        },
        session_timeout,
        // Copied, since slices would keep every batch that was ever read.
        subscription: Bytes::copy_from_slice(&value.subscription),
        assignment: Bytes::copy_from_slice(&value.assignment),
    })
}

pub(in crate::group) fn millis_i32(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

pub(in crate::group) fn duration_ms(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn offset_value(committed: &CommittedOffset) -> (OffsetCommitValue, i16) {
    let value = OffsetCommitValue {
        offset: committed.offset.as_i64(),
        leader_epoch: committed.leader_epoch.unwrap_or(-1),
        metadata: committed.metadata.to_string(),
        commit_timestamp: committed.committed_at.as_millis(),
        ..OffsetCommitValue::default()
    };
    match (committed.expires_at, committed.stream) {
        (Some(at), _) => {
            // Clients that send an expiry time are older than leader epochs.
            let value = OffsetCommitValue { expire_timestamp: at.as_millis(), ..value };
            (OffsetCommitValue { leader_epoch: -1, ..value }, EXPIRING_OFFSET_VERSION)
        }
        (None, Some(id)) => {
            (OffsetCommitValue { topic_id: Uuid(id.to_bytes()), ..value }, OFFSET_VERSION)
        }
        (None, None) => (value, OFFSET_VERSION),
    }
}

fn committed_offset(value: OffsetCommitValue) -> Result<CommittedOffset, UnreadableRecord> {
    let has_id = value.topic_id != Uuid::ZERO;
    let expires = value.expire_timestamp;
    Ok(CommittedOffset {
        stream: has_id.then(|| StreamId::from_bytes(value.topic_id.0)),
        offset: Offset::try_from(value.offset)
            .map_err(|error| unreadable(format!("offset {}", error.0)))?,
        leader_epoch: (value.leader_epoch >= 0).then_some(value.leader_epoch),
        metadata: Arc::from(value.metadata),
        committed_at: Timestamp::from_millis(value.commit_timestamp),
        expires_at: (expires >= 0).then(|| Timestamp::from_millis(expires)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_round_trip(record: &GroupRecord) {
        let group = GroupId::new("billing").expect("a legal id");
        let (key, value) = encode(&group, record);
        assert_eq!(decode(&key, value.as_ref()), Ok(Some((group, record.clone()))));
    }

    fn committed(expires_at: Option<Timestamp>) -> CommittedOffset {
        CommittedOffset {
            stream: Some(StreamId::from_bytes([7; 16])),
            offset: Offset::new(42),
            leader_epoch: Some(3),
            metadata: Arc::from("up to here"),
            committed_at: Timestamp::from_millis(1_700_000_000_000),
            expires_at,
        }
    }

    fn partition() -> PartitionName {
        (StreamName::new("orders").expect("legal"), PartitionIndex::ZERO)
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let member = MemberImage {
            member: MemberId::from_client("a-1").expect("not empty"),
            instance: Some(InstanceId::new("a")),
            client: Client { id: Arc::from("a"), host: Arc::from("/127.0.0.1") },
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(300),
            subscription: Bytes::from_static(b"topics"),
            assignment: Bytes::from_static(b"partitions"),
        };
        let image = GroupImage {
            generation: 5,
            protocol_type: Some(Arc::from("consumer")),
            protocol: Some(Arc::from("range")),
            leader: Some(member.member.clone()),
            written_at: Timestamp::from_millis(1_700_000_000_000),
            members: vec![member],
        };
        let empty = GroupImage { protocol: None, leader: None, members: vec![], ..image.clone() };
        check_round_trip(&GroupRecord::Members(Some(image)));
        check_round_trip(&GroupRecord::Members(Some(empty)));
        check_round_trip(&GroupRecord::Members(None));
        check_round_trip(&GroupRecord::Offset(partition(), Some(committed(None))));
        check_round_trip(&GroupRecord::Offset(partition(), None));
    }

    #[test]
    fn an_offset_with_its_own_expiry_time_loses_only_what_version_1_cannot_hold() {
        let group = GroupId::new("billing").expect("a legal id");
        let expiring = committed(Some(Timestamp::from_millis(5)));
        let (key, value) =
            encode(&group, &GroupRecord::Offset(partition(), Some(expiring.clone())));
        let kept = CommittedOffset { stream: None, leader_epoch: None, ..expiring };
        let expected = GroupRecord::Offset(partition(), Some(kept));
        assert_eq!(decode(&key, value.as_ref()), Ok(Some((group, expected))));
    }

    /// The bytes of Kafka's own format, so that Kafka's tools can read the log and a change of the
    /// format cannot pass unseen.
    #[test]
    fn an_offset_record_has_kafkas_bytes() {
        let group = GroupId::new("g").expect("a legal id");
        let committed = CommittedOffset { metadata: Arc::from("m"), ..committed(None) };
        let (key, value) = encode(&group, &GroupRecord::Offset(partition(), Some(committed)));
        assert_eq!(&key[..], b"\x00\x01\x00\x01g\x00\x06orders\x00\x00\x00\x00");
        let expected = [
            &b"\x00\x04"[..],                     // version
            b"\x00\x00\x00\x00\x00\x00\x00\x2a",  // offset
            b"\x00\x00\x00\x03",                  // leader epoch
            b"\x02m",                             // metadata
            &1_700_000_000_000_i64.to_be_bytes(), // committed at
            b"\x01\x00\x10",                      // one tagged field: 0, 16 bytes
            &[7; 16],                             // topic id
        ];
        assert_eq!(value.expect("not a tombstone"), expected.concat());
    }

    #[test]
    fn unknown_kinds_are_skipped_and_damaged_ones_refused() {
        let unknown = Bytes::from_static(b"\x00\x63rest");
        assert_eq!(decode(&unknown, None), Ok(None));
        for (key, value) in [
            (&b"\x00"[..], None),
            (b"\x00\x01\x00\x09g", None),
            (b"\x00\x02\x00\x01g", Some(&b"\x00\x63"[..])),
            (b"\x00\x01\x00\x01g\x00\x01/\x00\x00\x00\x00", None),
            (b"\x00\x01\x00\x01g\x00\x01t\xff\xff\xff\xff", None),
        ] {
            let value = value.map(Bytes::copy_from_slice);
            let result = decode(&Bytes::copy_from_slice(key), value.as_ref());
            assert!(result.is_err(), "{key:?}");
        }
    }
}
