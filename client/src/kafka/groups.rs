//! Consumer groups of a Kafka: which there are, how far they have read, and where they are to read
//! on. What is returned are the native API's own values, so that they are shown alike.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, Bytes};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::consumer_group_describe::{self, ConsumerGroupDescribeRequest};
use weir_kafka_protocol::messages::delete_groups::DeleteGroupsRequest;
use weir_kafka_protocol::messages::describe_groups::{self, DescribeGroupsRequest};
use weir_kafka_protocol::messages::find_coordinator::FindCoordinatorRequest;
use weir_kafka_protocol::messages::list_groups::{ListGroupsRequest, ListedGroup};
use weir_kafka_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use weir_kafka_protocol::messages::offset_fetch::OffsetFetchRequest;

use super::offsets::Wanted;
use super::{Kafka, address, errors, index, wire_index};
use crate::admin::{
    GroupDescription, GroupProgress, GroupState, GroupSummary, GroupType, MemberDescription, Reset,
    ResetPosition, ResetTo, StreamPartitions,
};
use crate::error::{Error, Reason};

const LIST_VERSION_MAX: i16 = 5;
/// The last version that asks for one coordinator.
const COORDINATOR_VERSION_MAX: i16 = 3;
const DESCRIBE_VERSION_MAX: i16 = 5;
const DESCRIBE_CONSUMER_VERSION_MAX: i16 = 1;
/// The last version that asks for one group.
const OFFSETS_VERSION_MAX: i16 = 7;
/// The last version that names topics by name.
const COMMIT_VERSION_MAX: i16 = 9;
const DELETE_VERSION_MAX: i16 = 2;
/// A group, among what has coordinators.
const KEY_GROUP: i8 = 0;
/// Who commits and is no member.
const NO_GENERATION: i32 = -1;
/// How many topics and partitions an assignment is believed to have; their bytes bound them, too.
const ASSIGNED_MAX: u32 = 1_000_000;

/// Positions by topic and partition.
type Positions = BTreeMap<(String, u32), u64>;

impl Kafka {
    /// All groups whose names begin so, ordered by name. Each broker knows its own.
    pub(crate) async fn list_groups(&self, prefix: &str) -> Result<Vec<GroupSummary>, Error> {
        self.retry().run(|| self.list_groups_once(prefix)).await
    }

    async fn list_groups_once(&self, prefix: &str) -> Result<Vec<GroupSummary>, Error> {
        let mut found = BTreeMap::new();
        let cluster = self.cluster(Some(&[])).await?;
        for broker in cluster.brokers.values() {
            let request = ListGroupsRequest::default();
            let answer = self.call_at(broker, LIST_VERSION_MAX, &request).await?;
            if answer.error_code != 0 {
                return Err(errors::refused(answer.error_code, None));
            }
            let groups = answer.groups.into_iter();
            for group in groups.filter(|group| group.group_id.starts_with(prefix)) {
                found.insert(group.group_id.clone(), summary(group));
            }
        }
        Ok(found.into_values().collect())
    }

    /// One group with its members and how far it has read.
    pub(crate) async fn describe_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let mut described = self.retry().run(|| self.described(group)).await?;
        let positions = self.retry().run(|| self.positions(group)).await?;
        let mut readers: BTreeMap<(String, u32), String> = BTreeMap::new();
        for member in &described.members {
            for of in &member.assigned {
                for partition in &of.partitions {
                    readers.insert((of.stream.clone(), *partition), member.member_id.clone());
                }
            }
        }
        let named: BTreeSet<_> = positions.keys().chain(readers.keys()).cloned().collect();
        let (starts, ends) = self.bounds(&named).await?;
        for place in named {
            let next_offset = positions.get(&place).copied();
            let high_watermark = ends.get(&place).copied().unwrap_or(0);
            described.progress.push(GroupProgress {
                next_offset,
                log_start: starts.get(&place).copied().unwrap_or(0),
                high_watermark,
                lag: next_offset.map(|next| high_watermark.saturating_sub(next)),
                member_id: readers.get(&place).cloned().unwrap_or_default(),
                stream: place.0,
                partition: place.1,
                metadata: String::new(),
            });
        }
        Ok(described)
    }

    /// Removes a group without members.
    pub(crate) async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
        let call = || async {
            let coordinator = self.coordinator(group).await?;
            let answer = self.call_at(&coordinator, DELETE_VERSION_MAX, &request).await?;
            let removed = answer.results.into_iter().next().ok_or_else(nothing)?;
            refuse(removed.error_code, None)
        };
        self.retry().run(call).await
    }

    /// Has a group read on somewhere else. Returns where it was and where it is, or would be. As
    /// with Kafka's own tool, only a group without members is moved, within the records there are.
    pub(crate) async fn reset_group(&self, reset: &Reset) -> Result<Vec<ResetPosition>, Error> {
        let described = self.retry().run(|| self.described(&reset.group)).await;
        match described {
            Ok(group) if !group.members.is_empty() => {
                return Err(errors::refusal(Reason::GroupNotEmpty, "the group has members"));
            }
            Err(error)
                if error.reason() == Some(Reason::UnknownGroup) && !reset.partitions.is_empty() => {
            }
            described => drop(described?),
        }
        let positions = self.retry().run(|| self.positions(&reset.group)).await?;
        let wanted = self.reset_partitions(reset, &positions).await?;
        let (starts, ends) = self.bounds(&wanted).await?;
        let mut resets = Vec::with_capacity(wanted.len());
        for place in wanted {
            let start = starts.get(&place).copied().unwrap_or(0);
            let end = ends.get(&place).copied().unwrap_or(start);
            let before = positions.get(&place).copied();
            let after = match reset.to {
                ResetTo::Earliest => start,
                ResetTo::Latest => end,
                ResetTo::Offset(offset) => offset,
                ResetTo::TimestampMs(millis) => {
                    let found = self.offsets(&place.0, &[place.1], Wanted::AtMs(millis)).await?;
                    found.into_values().flatten().next().unwrap_or(end)
                }
                ResetTo::By(count) => {
                    before.ok_or_else(|| no_position(&place))?.saturating_add_signed(count)
                }
            };
            let after = after.min(end).max(start);
            resets.push(ResetPosition { stream: place.0, partition: place.1, before, after });
        }
        if !reset.preview {
            self.retry().run(|| self.commit(&reset.group, &resets)).await?;
        }
        Ok(resets)
    }

    /// The partitions that a reset names, or all that the group has positions in.
    async fn reset_partitions(
        &self,
        reset: &Reset,
        positions: &Positions,
    ) -> Result<Vec<(String, u32)>, Error> {
        let mut wanted = Vec::new();
        for StreamPartitions { stream, partitions } in &reset.partitions {
            let topic = self.retry().run(|| self.topic(stream)).await?;
            if partitions.is_empty() {
                wanted.extend(topic.leaders.keys().map(|index| (stream.clone(), *index)));
            }
            for partition in partitions {
                if !topic.leaders.contains_key(partition) {
                    return Err(errors::unknown_partition(*partition));
                }
                wanted.push((stream.clone(), *partition));
            }
        }
        if reset.partitions.is_empty() {
            wanted.extend(positions.keys().cloned());
        }
        match wanted.is_empty() {
            false => Ok(wanted),
            true => {
                let why = "the group has no positions, and no stream is named";
                Err(errors::refusal(Reason::Invalid, why))
            }
        }
    }

    /// Where these partitions begin and end.
    async fn bounds(
        &self,
        named: impl IntoIterator<Item = &(String, u32)>,
    ) -> Result<(Positions, Positions), Error> {
        let mut by_topic: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (topic, partition) in named {
            by_topic.entry(topic).or_default().push(*partition);
        }
        let (mut starts, mut ends) = (Positions::new(), Positions::new());
        for (topic, partitions) in by_topic {
            for (wanted, bounds) in
                [(Wanted::Earliest, &mut starts), (Wanted::HighWatermark, &mut ends)]
            {
                let found = match self.ends(topic, &partitions, wanted).await {
                    // It was removed, and its positions stay for a while.
                    Err(error) if error.reason() == Some(Reason::UnknownStream) => continue,
                    found => found?,
                };
                let found = found.into_iter();
                bounds.extend(found.map(|(index, offset)| ((topic.to_owned(), index), offset)));
            }
        }
        Ok((starts, ends))
    }

    async fn coordinator(&self, group: &str) -> Result<String, Error> {
        let request = FindCoordinatorRequest {
            key: group.to_owned(),
            key_type: KEY_GROUP,
            ..FindCoordinatorRequest::default()
        };
        let answer = self.call_any(COORDINATOR_VERSION_MAX, &request).await?;
        refuse(answer.error_code, answer.error_message)?;
        Ok(address(&answer.host, answer.port))
    }

    /// A group without its positions.
    async fn described(&self, group: &str) -> Result<GroupDescription, Error> {
        let coordinator = self.coordinator(group).await?;
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![group.to_owned()],
            ..ConsumerGroupDescribeRequest::default()
        };
        // A broker before Kafka 4 does not know the request, and then no such group.
        let asked = self.call_at(&coordinator, DESCRIBE_CONSUMER_VERSION_MAX, &request).await;
        let found = match asked {
            Err(Error::Protocol(_)) => None,
            asked => asked?.groups.into_iter().next(),
        };
        if let Some(found) = found.filter(|found| found.error_code == 0) {
            return described_consumer(found);
        }
        let request = DescribeGroupsRequest {
            groups: vec![group.to_owned()],
            ..DescribeGroupsRequest::default()
        };
        let answer = self.call_at(&coordinator, DESCRIBE_VERSION_MAX, &request).await?;
        let found = answer.groups.into_iter().next().ok_or_else(nothing)?;
        refuse(found.error_code, None)?;
        match found.group_state.as_str() {
            "Dead" => Err(unknown_group()),
            _ => described_classic(found),
        }
    }

    /// Where a group is, in each partition that it has read.
    async fn positions(&self, group: &str) -> Result<Positions, Error> {
        let coordinator = self.coordinator(group).await?;
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: None,
            ..OffsetFetchRequest::default()
        };
        let answer = self.call_at(&coordinator, OFFSETS_VERSION_MAX, &request).await?;
        refuse(answer.error_code, None)?;
        let mut positions = Positions::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                refuse(partition.error_code, None)?;
                if let Ok(offset) = u64::try_from(partition.committed_offset) {
                    let place = (topic.name.clone(), index(partition.partition_index)?);
                    positions.insert(place, offset);
                }
            }
        }
        Ok(positions)
    }

    async fn commit(&self, group: &str, resets: &[ResetPosition]) -> Result<(), Error> {
        let coordinator = self.coordinator(group).await?;
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for reset in resets {
            let partition = OffsetCommitRequestPartition {
                partition_index: wire_index(reset.partition)?,
                committed_offset: i64::try_from(reset.after).unwrap_or(i64::MAX),
                committed_metadata: Some(String::new()),
                ..OffsetCommitRequestPartition::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.name == reset.stream => topic.partitions.push(partition),
                _ => topics.push(OffsetCommitRequestTopic {
                    name: reset.stream.clone(),
                    partitions: vec![partition],
                    ..OffsetCommitRequestTopic::default()
                }),
            }
        }
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id_or_member_epoch: NO_GENERATION,
            topics,
            ..OffsetCommitRequest::default()
        };
        let answer = self.call_at(&coordinator, COMMIT_VERSION_MAX, &request).await?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.try_for_each(|partition| refuse_commit(partition.error_code))
    }
}

fn nothing() -> Error {
    Error::Protocol("an answer without the group".to_owned())
}

fn unknown_group() -> Error {
    errors::refusal(Reason::UnknownGroup, "there is no such group")
}

fn no_position((stream, index): &(String, u32)) -> Error {
    let why = format!("partition {index} of {stream} has no position to shift from");
    errors::refusal(Reason::Invalid, why)
}

fn refuse(code: i16, said: Option<String>) -> Result<(), Error> {
    match ErrorCode(code) {
        ErrorCode::NONE => Ok(()),
        ErrorCode::GROUP_ID_NOT_FOUND => Err(unknown_group()),
        ErrorCode::NON_EMPTY_GROUP => {
            Err(errors::refusal(Reason::GroupNotEmpty, "the group has members"))
        }
        ErrorCode(code) => Err(errors::refused(code, said)),
    }
}

fn refuse_commit(code: i16) -> Result<(), Error> {
    match ErrorCode(code) {
        // Members came meanwhile, who alone keep positions.
        ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::STALE_MEMBER_EPOCH
        | ErrorCode::REBALANCE_IN_PROGRESS => refuse(ErrorCode::NON_EMPTY_GROUP.0, None),
        ErrorCode(code) => refuse(code, None),
    }
}

fn state(name: &str) -> GroupState {
    match name.to_lowercase().replace('_', "").as_str() {
        "empty" => GroupState::Empty,
        "preparingrebalance" => GroupState::PreparingRebalance,
        "completingrebalance" => GroupState::CompletingRebalance,
        "assigning" => GroupState::Assigning,
        "reconciling" => GroupState::Reconciling,
        "stable" => GroupState::Stable,
        _ => GroupState::Unspecified,
    }
}

fn summary(group: ListedGroup) -> GroupSummary {
    let kind = match group.group_type.to_lowercase().as_str() {
        "consumer" => GroupType::Consumer,
        // Brokers that do not say have no others.
        "classic" | "" => GroupType::Classic,
        _ => GroupType::Unspecified,
    };
    GroupSummary {
        name: group.group_id,
        r#type: kind.into(),
        state: state(&group.group_state).into(),
        protocol_type: group.protocol_type,
    }
}

fn described_consumer(
    group: consumer_group_describe::DescribedGroup,
) -> Result<GroupDescription, Error> {
    let mut members = Vec::with_capacity(group.members.len());
    for member in group.members {
        let mut assigned = Vec::new();
        for topic in member.assignment.topic_partitions {
            let partitions: Result<Vec<u32>, Error> =
                topic.partitions.into_iter().map(index).collect();
            assigned.push(StreamPartitions { stream: topic.topic_name, partitions: partitions? });
        }
        assigned.sort_by(|one, other| one.stream.cmp(&other.stream));
        members.push(MemberDescription {
            member_id: member.member_id,
            instance_id: member.instance_id.unwrap_or_default(),
            client_id: member.client_id,
            client_host: member.client_host,
            epoch: member.member_epoch,
            assigned,
            ..MemberDescription::default()
        });
    }
    members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
    Ok(GroupDescription {
        group: Some(GroupSummary {
            name: group.group_id,
            r#type: GroupType::Consumer.into(),
            state: state(&group.group_state).into(),
            protocol_type: "consumer".to_owned(),
        }),
        epoch: group.group_epoch,
        assignment_epoch: group.assignment_epoch,
        assignor: group.assignor_name,
        members,
        progress: Vec::new(),
    })
}

fn described_classic(group: describe_groups::DescribedGroup) -> Result<GroupDescription, Error> {
    let mut members = Vec::with_capacity(group.members.len());
    let are_consumers = group.protocol_type == "consumer";
    for member in group.members {
        let assigned = match are_consumers {
            true => assigned(member.member_assignment)?,
            // What is assigned in groups of other kinds is theirs to read.
            false => Vec::new(),
        };
        members.push(MemberDescription {
            member_id: member.member_id,
            instance_id: member.group_instance_id.unwrap_or_default(),
            client_id: member.client_id,
            client_host: member.client_host,
            is_classic: true,
            assigned,
            ..MemberDescription::default()
        });
    }
    members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
    Ok(GroupDescription {
        group: Some(GroupSummary {
            name: group.group_id,
            r#type: GroupType::Classic.into(),
            state: state(&group.group_state).into(),
            protocol_type: group.protocol_type,
        }),
        assignor: group.protocol_data,
        members,
        ..GroupDescription::default()
    })
}

/// What a member of a classic group was assigned, as consumers write it down for each other:
///
/// ```text
///   version i16 │ topics i32 × (name: length i16, bytes │ partitions i32 × i32) │ more
/// ```
fn assigned(mut bytes: Bytes) -> Result<Vec<StreamPartitions>, Error> {
    let cut_off = |_| Error::Protocol("a member's assignment is cut off".to_owned());
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    bytes.try_get_i16().map_err(cut_off)?;
    let mut assigned = Vec::new();
    for _ in 0..count(bytes.try_get_i32().map_err(cut_off)?)? {
        let length = usize::from(bytes.try_get_u16().map_err(cut_off)?);
        if length > bytes.len() {
            return Err(Error::Protocol("a member's assignment is cut off".to_owned()));
        }
        let stream = String::from_utf8_lossy(&bytes.split_to(length)).into_owned();
        let mut partitions = Vec::new();
        for _ in 0..count(bytes.try_get_i32().map_err(cut_off)?)? {
            partitions.push(index(bytes.try_get_i32().map_err(cut_off)?)?);
        }
        partitions.sort_unstable();
        assigned.push(StreamPartitions { stream, partitions });
    }
    assigned.sort_by(|one, other| one.stream.cmp(&other.stream));
    Ok(assigned)
}

fn count(count: i32) -> Result<u32, Error> {
    let count = u32::try_from(count).ok().filter(|count| *count <= ASSIGNED_MAX);
    count.ok_or_else(|| Error::Protocol("a member's assignment makes no sense".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_as_consumers_write_it() {
        let bytes =
            b"\0\x01\0\0\0\x02\0\x01b\0\0\0\x02\0\0\0\x03\0\0\0\x01\0\x01a\0\0\0\0\xff\xff\xff\xff";
        let read = assigned(Bytes::from_static(bytes)).expect("it is sound");
        let of =
            |stream: &str, partitions| StreamPartitions { stream: stream.to_owned(), partitions };
        assert_eq!(read, [of("a", vec![]), of("b", vec![1, 3])]);
        assert_eq!(assigned(Bytes::new()), Ok(vec![]));
        // All shorter ones are refused, down to the user's data that is left unread.
        for length in 1..bytes.len() - 4 {
            assert!(assigned(Bytes::from_static(&bytes[..length])).is_err(), "{length} bytes");
        }
        assert!(assigned(Bytes::from_static(b"\0\0\x7f\xff\xff\xff")).is_err());
    }

    #[test]
    fn states_are_read_as_kafka_writes_them() {
        for (text, expected) in [
            ("Stable", GroupState::Stable),
            ("PreparingRebalance", GroupState::PreparingRebalance),
            ("STABLE", GroupState::Stable),
            ("Somehow", GroupState::Unspecified),
        ] {
            assert_eq!(state(text), expected, "{text}");
        }
    }
}
