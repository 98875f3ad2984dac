//! From the classic protocol to the consumer protocol and back, while the members read on.
//!
//! An application is moved by restarting its processes one by one. The first that joins with the
//! consumer protocol takes the group along: members become classic members of the new kind, in the
//! generation that they are in, with the partitions that they have. When the last of the consumer
//! protocol goes, those that are left become a classic group again, which begins a generation.
//!
//! Either way is one decision: the records of the old kind are taken back and those of the new kind
//! written in one batch, so that a restart finds the group in one kind or the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use weir_kafka_records::decode_versioned_prefix;
use weir_kafka_records::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;

use crate::group::assignor::Partitions;
use crate::group::classic::handover::{HandedOver, Handover};
use crate::group::classic::{CONSUMER_PROTOCOL_TYPE, Classic};
use crate::group::identity::MemberId;
use crate::group::membership::Membership;
use crate::group::modern::classic_members::{
    partitions_named, read_subscription, written_assignment,
};
use crate::group::modern::heartbeat::NoUpgrade;
use crate::group::modern::member::{
    ClassicPart, CurrentAssignment, Member, MemberMetadata, MemberState,
};
use crate::group::modern::records::ModernRecord;
use crate::group::modern::{Altered, Change, Decision, Modern, logged};
use crate::group::records::GroupRecord;
use crate::group::state::{GroupLimits, Now};
use crate::group::topics::Topics;

/// What a classic group would be in the consumer protocol, and the records that make it so.
pub(in crate::group) fn upgraded(
    classic: &Classic,
    limits: GroupLimits,
    topics: &Arc<Topics>,
    now: Now,
) -> Result<(Modern, Vec<GroupRecord>), NoUpgrade> {
    let mut modern = Modern::new(limits, Arc::clone(topics));
    let mut records = Vec::new();
    if classic.is_logged() {
        records.push(GroupRecord::Members(None));
    }
    let Handover { generation, protocol_type, members } = classic.hand_over();
    if members.is_empty() {
        return Ok((modern, records));
    }
    if !limits.migration.can_upgrade() {
        return Err(NoUpgrade::Disabled);
    }
    if protocol_type.as_deref() != Some(CONSUMER_PROTOCOL_TYPE) {
        return Err(NoUpgrade::OtherType);
    }
    if members.len() > limits.consumer_members_max {
        return Err(NoUpgrade::TooManyMembers);
    }
    let mut taken = Partitions::new();
    let mut own = Vec::new();
    for handed in members {
        let id = handed.member.clone();
        let mut member = member_of(handed, generation, topics)?;
        // A leader's mistake must not give one partition two owners here.
        member.current.assigned.retain(|partition| taken.insert(*partition));
        own.extend([
            ModernRecord::Member(id.clone(), Some(member.metadata)),
            ModernRecord::Target(id.clone(), Some(member.current.assigned.clone())),
            ModernRecord::Current(id, Some(member.current)),
        ]);
    }
    own.push(ModernRecord::TargetEpoch(Some(generation)));
    for record in own.clone() {
        modern.apply(record);
    }
    let nobody = BTreeSet::new();
    let refreshed = modern.refresh(Altered { updated: None, gone: &nobody }, now);
    modern.epoch = generation.saturating_sub(1);
    let (_, epoch) = modern.next_epoch(refreshed.metadata_hash);
    modern.apply(epoch.clone());
    own.push(epoch);
    records.extend(logged(own));
    Ok((modern, records))
}

fn member_of(handed: HandedOver, generation: i32, topics: &Topics) -> Result<Member, NoUpgrade> {
    let subscription = read_subscription(&handed.subscription).map_err(|_| NoUpgrade::Malformed)?;
    let assigned = read_assignment(&handed.assignment, topics)?;
    let metadata = MemberMetadata {
        instance: handed.instance,
        rack: subscription.rack_id.filter(|rack| !rack.is_empty()).map(Arc::from),
        client: handed.client,
        rebalance_timeout: handed.rebalance_timeout,
        topics: subscription.topics.into_iter().map(Arc::from).collect(),
        regex: None,
        assignor: None,
        classic: Some(ClassicPart {
            session_timeout: handed.session_timeout,
            protocols: handed.protocols,
        }),
    };
    let current = CurrentAssignment {
        epoch: generation,
        previous_epoch: generation,
        state: MemberState::Stable,
        assigned,
        revoking: Partitions::new(),
    };
    Ok(Member { metadata, current })
}

fn read_assignment(assignment: &Bytes, topics: &Topics) -> Result<Partitions, NoUpgrade> {
    if assignment.is_empty() {
        return Ok(Partitions::new());
    }
    let assignment: ConsumerProtocolAssignment =
        decode_versioned_prefix(assignment.clone()).map_err(|_| NoUpgrade::Malformed)?;
    if assignment.user_data.is_some_and(|data| !data.is_empty()) {
        return Err(NoUpgrade::CustomAssignor);
    }
    let named = assignment.assigned_partitions.iter();
    let named = named.map(|topic| (topic.topic.as_str(), topic.partitions.as_slice()));
    Ok(partitions_named(named, topics))
}

impl Modern {
    /// The way back, if only classic members are left without these.
    pub(super) fn downgrade_without(
        &self,
        gone: &BTreeSet<MemberId>,
        now: Now,
    ) -> Option<Decision> {
        let left = self.members.iter().filter(|(id, _)| !gone.contains(*id));
        let handed: Option<Vec<_>> = left.map(|(id, member)| self.handed(id, member)).collect();
        let limits = &self.limits;
        let fits = |members: &Vec<_>| (1..=limits.members_max).contains(&members.len());
        let handed = handed.filter(|members| limits.migration.can_downgrade() && fits(members))?;
        let handover = Handover {
            generation: self.epoch,
            protocol_type: Some(Arc::from(CONSUMER_PROTOCOL_TYPE)),
            members: handed,
        };
        let classic = Classic::take_over(self.limits, handover, now);
        let mut records = logged(self.tombstones());
        records.push(GroupRecord::Members(Some(classic.image(now.date))));
        let becomes = Some(Box::new(Membership::Classic(classic)));
        Some(Decision { records, change: Change { becomes, ..Change::default() } })
    }

    /// None for a member of the consumer protocol.
    fn handed(&self, id: &MemberId, member: &Member) -> Option<HandedOver> {
        let MemberMetadata { instance, client, rebalance_timeout, classic, .. } = &member.metadata;
        let part = classic.as_ref()?;
        let nothing = Partitions::new();
        let target = self.targets.get(id).unwrap_or(&nothing);
        Some(HandedOver {
            member: id.clone(),
            instance: instance.clone(),
            client: client.clone(),
            session_timeout: part.session_timeout,
            rebalance_timeout: *rebalance_timeout,
            protocols: part.protocols.clone(),
            subscription: Bytes::new(),
            assignment: written_assignment(target, part, &self.topics),
        })
    }

    /// The records that take the whole group back, in Kafka's order.
    pub(in crate::group) fn tombstones(&self) -> Vec<ModernRecord> {
        let ids = || self.members.keys().cloned();
        let mut records: Vec<_> = ids().map(|id| ModernRecord::Current(id, None)).collect();
        records.extend(ids().map(|id| ModernRecord::Target(id, None)));
        records.push(ModernRecord::TargetEpoch(None));
        records.extend(ids().map(|id| ModernRecord::Member(id, None)));
        let regexes = self.regexes.keys().cloned();
        records.extend(regexes.map(|text| ModernRecord::Regex(text, None)));
        records.push(ModernRecord::Epoch(None));
        records
    }
}
