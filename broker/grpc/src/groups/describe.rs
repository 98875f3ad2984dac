//! What groups there are, who their members are, and how far they are behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::broker::Broker;
use weir_core::group::assignor::{Partitions, by_stream as indexes_by_stream};
use weir_core::group::description::{
    ClassicDescription, DescribedMember, Description, GroupState, GroupType, ListedGroup,
    ModernDescription, ModernMember,
};
use weir_core::group::identity::GroupId;
use weir_core::group::offsets::CommittedOffset;
use weir_core::stream::stream::Stream;
use weir_model::ids::{PartitionIndex, StreamName};
use weir_proto::v1::{
    DescribeGroupResponse, GroupProgress, GroupState as WireState, GroupSummary,
    GroupType as WireType, ListGroupsRequest, ListGroupsResponse, MemberDescription,
    StreamPartitions, Subscription,
};

use crate::errors::{Refusal, group_refusal};
use crate::groups::positions::all_positions;
use crate::streams::find;

pub(crate) async fn list(
    broker: &Broker,
    request: &ListGroupsRequest,
) -> Result<ListGroupsResponse, Refusal> {
    let mut found = broker.groups().list().await.map_err(group_refusal)?;
    let ListGroupsRequest { prefix, states } = request;
    found.retain(|group| {
        let state: i32 = wire_state(group.state).into();
        // Kafka lets offsets be kept for the group without a name, which cannot be asked for here.
        !group.id.is_empty()
            && group.id.as_str().starts_with(prefix)
            && (states.is_empty() || states.contains(&state))
    });
    found.sort_by(|left, right| left.id.cmp(&right.id));
    let groups = found.into_iter().map(|group| summary(&group)).collect();
    Ok(ListGroupsResponse { groups })
}

pub(crate) async fn describe(
    broker: &Broker,
    group: &GroupId,
) -> Result<DescribeGroupResponse, Refusal> {
    let described = broker.groups().describe(group).await.map_err(group_refusal)?;
    let positions = all_positions(broker, group).await?;
    let shown = match described {
        Description::Modern(modern) => of_modern(broker, group, modern),
        Description::Classic(classic) => of_classic(group, classic),
    };
    let progress = progress(broker, &shown.members, positions);
    Ok(DescribeGroupResponse { progress, ..shown })
}

fn of_modern(broker: &Broker, group: &GroupId, modern: ModernDescription) -> DescribeGroupResponse {
    let summary = GroupSummary {
        name: group.as_str().to_owned(),
        r#type: WireType::Consumer.into(),
        state: wire_state(modern.state).into(),
        protocol_type: "consumer".to_owned(),
    };
    DescribeGroupResponse {
        group: Some(summary),
        epoch: modern.epoch,
        assignment_epoch: modern.target_epoch,
        assignor: modern.assignor.name().to_owned(),
        members: modern.members.into_iter().map(|one| modern_member(broker, one)).collect(),
        progress: Vec::new(),
    }
}

fn modern_member(broker: &Broker, member: ModernMember) -> MemberDescription {
    let metadata = member.metadata;
    let text = |text: Option<Arc<str>>| text.map(|text| text.to_string()).unwrap_or_default();
    MemberDescription {
        member_id: member.member.as_str().to_owned(),
        instance_id: metadata.instance.map(|name| name.as_str().to_owned()).unwrap_or_default(),
        client_id: metadata.client.id.to_string(),
        client_host: metadata.client.host.to_string(),
        rack: text(metadata.rack),
        epoch: member.epoch,
        is_classic: member.is_classic,
        subscription: Some(Subscription {
            streams: metadata.topics.iter().map(|name| name.to_string()).collect(),
            pattern: text(metadata.regex),
        }),
        assigned: named(broker, &member.assigned),
        target: named(broker, &member.target),
    }
}

/// Partitions of streams that are still there.
fn named(broker: &Broker, partitions: &Partitions) -> Vec<StreamPartitions> {
    let named = indexes_by_stream(partitions).into_iter().filter_map(|(stream, indexes)| {
        let stream = broker.stream_by_id(stream)?.name.to_string();
        Some(StreamPartitions { stream, partitions: unsigned(&indexes) })
    });
    named.collect()
}

fn of_classic(group: &GroupId, classic: ClassicDescription) -> DescribeGroupResponse {
    let text = |text: Option<Arc<str>>| text.map(|text| text.to_string()).unwrap_or_default();
    let summary = GroupSummary {
        name: group.as_str().to_owned(),
        r#type: WireType::Classic.into(),
        state: wire_state(classic.state).into(),
        protocol_type: text(classic.protocol_type),
    };
    DescribeGroupResponse {
        group: Some(summary),
        assignor: text(classic.protocol),
        members: classic.members.into_iter().map(classic_member).collect(),
        ..DescribeGroupResponse::default()
    }
}

fn classic_member(member: DescribedMember) -> MemberDescription {
    let assigned = member.assigned().into_iter();
    let assigned = assigned
        .map(|(stream, indexes)| StreamPartitions { stream, partitions: unsigned(&indexes) });
    MemberDescription {
        assigned: assigned.collect(),
        member_id: member.member.as_str().to_owned(),
        instance_id: member.instance.map(|name| name.as_str().to_owned()).unwrap_or_default(),
        client_id: member.client.id.to_string(),
        client_host: member.client.host.to_string(),
        is_classic: true,
        ..MemberDescription::default()
    }
}

/// What a client said is no partition where it is negative.
fn unsigned(indexes: &[i32]) -> Vec<u32> {
    indexes.iter().filter_map(|index| u32::try_from(*index).ok()).collect()
}

/// How far the group is in every partition that it has a position in or that a member reads.
fn progress(
    broker: &Broker,
    members: &[MemberDescription],
    positions: Vec<(Arc<Stream>, PartitionIndex, CommittedOffset)>,
) -> Vec<GroupProgress> {
    let mut of: BTreeMap<(StreamName, PartitionIndex), Seen> = BTreeMap::new();
    for (stream, index, committed) in positions {
        let key = (stream.name.clone(), index);
        of.insert(key, Seen { stream, committed: Some(committed), member_id: "" });
    }
    for member in members {
        for StreamPartitions { stream, partitions } in &member.assigned {
            let Ok(stream) = find(broker, stream) else { continue };
            for index in partitions {
                let Ok(index) = PartitionIndex::try_from(i64::from(*index)) else { continue };
                let fresh = || Seen { stream: stream.clone(), committed: None, member_id: "" };
                let seen = of.entry((stream.name.clone(), index)).or_insert_with(fresh);
                seen.member_id = &member.member_id;
            }
        }
    }
    of.into_iter().filter_map(|((_, index), seen)| seen.shown(index)).collect()
}

/// A partition of a group.
struct Seen<'a> {
    stream: Arc<Stream>,
    committed: Option<CommittedOffset>,
    member_id: &'a str,
}

impl Seen<'_> {
    /// None if there is no such partition any more.
    fn shown(self, index: PartitionIndex) -> Option<GroupProgress> {
        let marks = self.stream.partition(index)?.watermarks();
        let next = self.committed.as_ref().map(|committed| committed.offset);
        let metadata = self.committed.as_ref().map(|committed| committed.metadata.to_string());
        Some(GroupProgress {
            stream: self.stream.name.to_string(),
            partition: index.as_u32(),
            next_offset: next.map(|next| next.number()),
            metadata: metadata.unwrap_or_default(),
            log_start: marks.log_start.number(),
            high_watermark: marks.high_watermark.number(),
            lag: next.map(|next| marks.high_watermark.since(next)),
            member_id: self.member_id.to_owned(),
        })
    }
}

fn summary(group: &ListedGroup) -> GroupSummary {
    let group_type = match group.group_type {
        GroupType::Classic => WireType::Classic,
        GroupType::Consumer => WireType::Consumer,
    };
    GroupSummary {
        name: group.id.as_str().to_owned(),
        r#type: group_type.into(),
        state: wire_state(group.state).into(),
        protocol_type: group.protocol_type.as_deref().unwrap_or_default().to_owned(),
    }
}

fn wire_state(state: GroupState) -> WireState {
    match state {
        GroupState::Empty => WireState::Empty,
        GroupState::PreparingRebalance => WireState::PreparingRebalance,
        GroupState::CompletingRebalance => WireState::CompletingRebalance,
        GroupState::Assigning => WireState::Assigning,
        GroupState::Reconciling => WireState::Reconciling,
        GroupState::Stable => WireState::Stable,
    }
}
