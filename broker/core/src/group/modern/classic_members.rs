//! Members that still speak the classic protocol, in a group of the consumer protocol.
//!
//! The coordinator is their leader: it reads what they subscribe to out of the metadata that they
//! bring for each other, and writes their assignments in the form that a leader would. A generation
//! is the member's epoch. Nobody waits for anybody: a join is answered at once.
//!
//! ```text
//!   Heartbeat ──> rebalance in progress ──> JoinGroup (owned partitions) ──> epoch ──> SyncGroup
//!                 to move on, or to               the heartbeat of the              assignment
//!                 give something up               consumer protocol
//! ```
//!
//! A member that does not come back in its rebalance timeout, or does not ask for its assignment in
//! it, is taken out.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use weir_kafka_records::messages::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition,
};
use weir_kafka_records::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use weir_kafka_records::{Message, decode_versioned_prefix, encode_versioned};
use weir_model::ids::{PartitionId, PartitionIndex};

use crate::group::assignor::{Partitions, by_stream};
use crate::group::classic::{
    CONSUMER_PROTOCOL_TYPE, Join, Joined, Leaving, Protocol, Sync, Synced, is_small,
};
use crate::group::error::GroupError;
use crate::group::identity::{Claim, InstanceId, MemberId};
use crate::group::modern::heartbeat::{Found, HeartbeatRefused, Moved, check_size};
use crate::group::modern::member::{ClassicPart, Member, MemberMetadata, MemberState};
use crate::group::modern::{Change, Decision, Modern, logged};
use crate::group::state::{Now, Reply, RequestId, Step, refuse_join};
use crate::group::topics::Topics;
use crate::settings::broker_settings::MigrationPolicy;

/// What a classic member is given its rebalance timeout for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::group) enum Wait {
    /// It was told to join again.
    Rejoin,
    /// It has joined, and is to ask for its assignment.
    Sync,
    /// It has asked for it.
    Nothing,
}

impl Modern {
    /// Decides what a classic join leads to.
    pub(in crate::group) fn join(&self, request: RequestId, join: &Join, now: Now) -> Decision {
        let id = join.member.clone().unwrap_or_else(|| join.fresh_id.clone());
        match self.joined(request, &id, join, now) {
            Ok(decision) => decision,
            Err(error) => {
                let id = match error {
                    GroupError::MemberIdRequired => Some(id),
                    _ => join.member.clone(),
                };
                Decision::reply(request, refuse_join(error, id))
            }
        }
    }

    fn joined(
        &self,
        request: RequestId,
        id: &MemberId,
        join: &Join,
        now: Now,
    ) -> Result<Decision, GroupError> {
        let session_bounds = self.limits.session_timeout_min..=self.limits.session_timeout_max;
        if !session_bounds.contains(&join.session_timeout) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        if !is_small(join) {
            return Err(GroupError::TooLarge);
        }
        self.check_room(id).map_err(|_| GroupError::GroupFull)?;
        if self.limits.migration == MigrationPolicy::Disabled || !self.fits(join) {
            return Err(GroupError::InconsistentProtocol);
        }
        if join.member.is_none() && join.instance.is_none() && join.needs_known_id {
            return Err(GroupError::MemberIdRequired);
        }
        let found = self.find_classic(id, join)?;
        let (metadata, owned) = self.read_join(join, &found.member.metadata)?;
        let Moved { current, records, topics_checked } =
            self.advance(id, found, metadata, Some(&owned), now);
        check_size(&records).map_err(|_| GroupError::TooLarge)?;
        let joined = Joined {
            generation: current.epoch,
            protocol_type: Some(Arc::from(CONSUMER_PROTOCOL_TYPE)),
            protocol: join.protocols.first().map(|protocol| Arc::clone(&protocol.name)),
            leader: None,
            member: id.clone(),
            members: Vec::new(),
            skip_assignment: false,
        };
        let change = Change {
            replies: vec![(request, Reply::Join(Ok(joined)))],
            heard: vec![id.clone()],
            waits: vec![(id.clone(), Wait::Sync)],
            topics_checked: Some(topics_checked),
            becomes: None,
        };
        Ok(Decision { records: logged(records), change })
    }

    /// Whether all classic members would still have a protocol in common, which a group that
    /// speaks classic again must have.
    fn fits(&self, join: &Join) -> bool {
        let parts = || self.members.values().filter_map(|member| member.metadata.classic.as_ref());
        let all_support = |offered: &Protocol| {
            parts().all(|part| part.protocols.iter().any(|own| own.name == offered.name))
        };
        &*join.protocol_type == CONSUMER_PROTOCOL_TYPE && join.protocols.iter().any(all_support)
    }

    fn find_classic(&self, id: &MemberId, join: &Join) -> Result<Found, GroupError> {
        let known = match &join.instance {
            None => self.members.get(id),
            Some(instance) if join.member.is_some() => Some(self.holder_for(id, instance)?),
            Some(instance) => match self.holder(instance) {
                Some((old_id, old)) => return Ok(self.replace(old_id, old, id)),
                None => None,
            },
        };
        let member = known.cloned().unwrap_or_else(|| Member::new(metadata_of(join)));
        Ok(Found { member, replaces: None, records: Vec::new() })
    }

    fn holder_for(&self, id: &MemberId, instance: &InstanceId) -> Result<&Member, GroupError> {
        self.static_member(id, instance).map_err(|refused| match refused {
            HeartbeatRefused::FencedInstance(_) => GroupError::FencedInstance,
            _ => GroupError::UnknownMember,
        })
    }

    /// What a join says of the member, and what the member owns.
    fn read_join(
        &self,
        join: &Join,
        known: &MemberMetadata,
    ) -> Result<(MemberMetadata, Partitions), GroupError> {
        let first = join.protocols.first().ok_or(GroupError::InconsistentProtocol)?;
        let subscription = read_subscription(&first.metadata)?;
        let owned = subscription.owned_partitions.iter();
        let owned = owned.map(|topic| (topic.topic.as_str(), topic.partitions.as_slice()));
        let owned = partitions_named(owned, &self.topics);
        let rack = subscription.rack_id.filter(|rack| !rack.is_empty()).map(Arc::from);
        let metadata = MemberMetadata {
            rack: rack.or_else(|| known.rack.clone()),
            topics: subscription.topics.into_iter().map(Arc::from).collect(),
            assignor: known.assignor,
            ..metadata_of(join)
        };
        Ok((metadata, owned))
    }

    /// Decides what a classic member's question for its assignment leads to.
    pub(in crate::group) fn sync(&self, request: RequestId, sync: &Sync) -> Decision {
        let refuse = |error| Decision::reply(request, Reply::Sync(Err(error)));
        let (id, member, part) = match self.classic_member(&sync.claim) {
            Ok(found) => found,
            Err(error) => return refuse(error),
        };
        let differs = |said: &Option<Arc<str>>, is: &str| said.as_deref().is_some_and(|s| s != is);
        let protocol = part.protocols.first().map(|protocol| &*protocol.name).unwrap_or_default();
        if differs(&sync.protocol_type, CONSUMER_PROTOCOL_TYPE) || differs(&sync.protocol, protocol)
        {
            return refuse(GroupError::InconsistentProtocol);
        }
        let gives_up = member.current.state == MemberState::UnrevokedPartitions;
        if self.epoch > member.current.epoch && !gives_up {
            let mut decision = refuse(GroupError::RebalanceInProgress);
            decision.change.waits = vec![(id.clone(), Wait::Rejoin)];
            return decision;
        }
        let synced = Synced {
            protocol_type: sync.protocol_type.clone(),
            protocol: sync.protocol.clone(),
            assignment: written_assignment(&member.current.assigned, part, &self.topics),
        };
        let mut decision = Decision::reply(request, Reply::Sync(Ok(synced)));
        decision.change.heard = vec![id.clone()];
        decision.change.waits = vec![(id.clone(), Wait::Nothing)];
        decision
    }

    /// Decides what a classic member's sign of life leads to.
    pub(in crate::group) fn classic_heartbeat(
        &self,
        request: RequestId,
        claim: &Claim,
    ) -> Decision {
        let (id, member, _) = match self.classic_member(claim) {
            Ok(found) => found,
            Err(error) => return Decision::reply(request, Reply::Heartbeat(Err(error))),
        };
        let result = match self.must_rejoin(id, member) {
            true => Err(GroupError::RebalanceInProgress),
            false => Ok(()),
        };
        let mut decision = Decision::reply(request, Reply::Heartbeat(result));
        decision.change.heard = vec![id.clone()];
        if result.is_err() {
            decision.change.waits = vec![(id.clone(), Wait::Rejoin)];
        }
        decision
    }

    /// Whether a join would bring the member further.
    fn must_rejoin(&self, id: &MemberId, member: &Member) -> bool {
        let current = &member.current;
        let is_free = |partition: &PartitionId| !self.owners.contains_key(partition);
        let target = self.targets.get(id);
        let missing = || target.into_iter().flatten().filter(|one| !current.assigned.contains(one));
        match current.state {
            _ if current.epoch < self.epoch => true,
            MemberState::Stable => false,
            MemberState::UnrevokedPartitions => true,
            // As long as any is not free the member waits, so that it joins once for all.
            MemberState::UnreleasedPartitions => missing().all(is_free),
        }
    }

    /// Decides what classic members' leaving leads to, each judged on its own.
    pub(in crate::group) fn leave(
        &self,
        request: RequestId,
        leaving: &[Leaving],
        now: Now,
    ) -> Decision {
        let mut gone = BTreeSet::new();
        let judged = leaving.iter().map(|one| {
            gone.insert(self.leaver(one)?.clone());
            Ok(())
        });
        let reply = (request, Reply::Leave(judged.collect()));
        if gone.is_empty() {
            return Decision::reply(reply.0, reply.1);
        }
        let mut decision = self.fence(&gone, now);
        decision.change.replies.push(reply);
        decision
    }

    fn leaver(&self, leaving: &Leaving) -> Result<&MemberId, GroupError> {
        match (&leaving.member, &leaving.instance) {
            (member, Some(instance)) => {
                let (holder, _) = self.holder(instance).ok_or(GroupError::UnknownMember)?;
                match member {
                    Some(member) if member != holder => Err(GroupError::FencedInstance),
                    _ => Ok(holder),
                }
            }
            (Some(member), None) => {
                let known = self.members.get_key_value(member);
                known.map(|(id, _)| id).ok_or(GroupError::UnknownMember)
            }
            (None, None) => Err(GroupError::UnknownMember),
        }
    }

    /// The last member that does not speak classic, if one that does comes for its static name.
    pub(in crate::group) fn last_of_its_kind(
        &self,
        instance: Option<&InstanceId>,
    ) -> Option<BTreeSet<MemberId>> {
        let (id, member) = self.holder(instance?)?;
        let others_are_classic =
            || self.members.iter().all(|(other, member)| other == id || member.is_classic());
        let goes_on = self.members.len() > 1 && self.limits.migration.can_downgrade();
        (goes_on && !member.is_classic() && others_are_classic())
            .then(|| BTreeSet::from([id.clone()]))
    }

    fn classic_member(
        &self,
        claim: &Claim,
    ) -> Result<(&MemberId, &Member, &ClassicPart), GroupError> {
        let id = claim.member.as_ref().ok_or(GroupError::UnknownMember)?;
        if let Some(instance) = &claim.instance {
            self.holder_for(id, instance)?;
        }
        let (id, member) = self.members.get_key_value(id).ok_or(GroupError::UnknownMember)?;
        let part = member.metadata.classic.as_ref().ok_or(GroupError::UnknownMember)?;
        if claim.generation != Some(member.current.epoch) {
            return Err(GroupError::IllegalGeneration);
        }
        Ok((id, member, part))
    }

    pub(super) fn time_wait(&mut self, id: &MemberId, wait: Wait, step: &mut Step) {
        let Some(member) = self.members.get(id) else { return };
        let deadline = step.deadline_in(member.metadata.rebalance_timeout);
        let clocks = self.clocks.entry(id.clone()).or_default();
        match wait {
            // Told again and again, it has no longer for it.
            Wait::Rejoin => clocks.rejoin = clocks.rejoin.or(Some(deadline)),
            Wait::Sync => (clocks.rejoin, clocks.sync) = (None, Some(deadline)),
            Wait::Nothing => clocks.sync = None,
        }
    }
}

/// What a join says of the member itself, its subscription left out.
fn metadata_of(join: &Join) -> MemberMetadata {
    // Copied, because slices would keep the whole request in memory.
    let protocol = |protocol: &Protocol| Protocol {
        name: Arc::clone(&protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    MemberMetadata {
        instance: join.instance.clone(),
        rack: None,
        client: join.client.clone(),
        rebalance_timeout: join.rebalance_timeout,
        topics: BTreeSet::new(),
        regex: None,
        assignor: None,
        classic: Some(ClassicPart {
            session_timeout: join.session_timeout,
            protocols: join.protocols.iter().map(protocol).collect(),
        }),
    }
}

pub(super) fn read_subscription(
    metadata: &Bytes,
) -> Result<ConsumerProtocolSubscription, GroupError> {
    decode_versioned_prefix(metadata.clone()).map_err(|_| GroupError::InconsistentProtocol)
}

/// The partitions of those topics that exist.
pub(super) fn partitions_named<'a>(
    topics: impl Iterator<Item = (&'a str, &'a [i32])>,
    known: &Topics,
) -> Partitions {
    let known = topics.filter_map(|(name, indexes)| Some((known.by_name(name)?.id, indexes)));
    let partitions = known.flat_map(|(stream, indexes)| {
        let indexes = indexes.iter().filter_map(|index| PartitionIndex::try_from(*index).ok());
        indexes.map(move |index| PartitionId { stream, index })
    });
    partitions.collect()
}

/// An assignment as a leader would write it, in the version of the member's own metadata.
pub(super) fn written_assignment(
    partitions: &Partitions,
    part: &ClassicPart,
    topics: &Topics,
) -> Bytes {
    let named = by_stream(partitions).into_iter().filter_map(|(stream, partitions)| {
        let topic = topics.name_of(stream)?.as_str().to_owned();
        Some(TopicPartition { topic, partitions })
    });
    let assignment =
        ConsumerProtocolAssignment { assigned_partitions: named.collect(), user_data: None };
    let metadata = part.protocols.first().map(|protocol| &protocol.metadata);
    let version = metadata.and_then(|bytes| bytes.first_chunk().copied()).map(i16::from_be_bytes);
    let (first, last) = ConsumerProtocolAssignment::VERSIONS;
    let version = version.unwrap_or(first).clamp(first, last);
    encode_versioned(&assignment, version).expect("names of topics are short")
}
