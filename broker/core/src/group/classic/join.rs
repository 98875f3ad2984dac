//! JoinGroup: how a client becomes a member, or says that it still is one.

use std::sync::Arc;

use crate::group::classic::member::{Member, NEW_MEMBER_JOIN_TIMEOUT};
use crate::group::classic::{
    Classic, Company, Join, Joined, JoinedMember, METADATA_BYTES_MAX, PROTOCOLS_MAX, Phase,
    Protocol,
};
use crate::group::error::GroupError;
use crate::group::identity::{InstanceId, MemberId, TEXT_BYTES_MAX};
use crate::group::state::{NotWritten, Reply, RequestId, Step, Then, refuse_join};

/// A static member that came back under a new id while the group was stable.
#[derive(Clone, Debug)]
pub struct Replacement {
    request: RequestId,
    member: MemberId,
    leader_to_tell: MemberId,
    skip_assignment: bool,
}

impl Classic {
    pub(crate) fn join(&mut self, request: RequestId, join: Join, step: &mut Step) {
        if let Err(error) = self.admit(&join) {
            return step.reply(request, refuse_join(error, join.member));
        }
        match (&join.member, &join.instance) {
            (Some(member), _) => self.rejoin(member.clone(), request, join, step),
            (None, Some(instance)) => match self.statics.get(instance).cloned() {
                Some(old) => self.replace_static(&old, request, join, step),
                None => self.add(join.fresh_id.clone(), request, join, step),
            },
            (None, None) if join.needs_known_id => {
                // The client comes back with the id at once; until then it counts as one that the
                // others wait for.
                let deadline = step.deadline_in(join.session_timeout);
                self.pending.insert(join.fresh_id.clone(), deadline);
                let error = GroupError::MemberIdRequired;
                step.reply(request, refuse_join(error, Some(join.fresh_id)));
            }
            (None, None) => self.add(join.fresh_id.clone(), request, join, step),
        }
    }

    /// Checks what does not depend on who the member is.
    fn admit(&self, join: &Join) -> Result<(), GroupError> {
        let limits = &self.limits;
        let session_bounds = limits.session_timeout_min..=limits.session_timeout_max;
        if !session_bounds.contains(&join.session_timeout) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        if !is_small(join) {
            return Err(GroupError::TooLarge);
        }
        let is_known = match (&join.member, &join.instance) {
            (Some(id), _) => self.members.contains_key(id) || self.pending.contains_key(id),
            (None, Some(instance)) => self.statics.contains_key(instance),
            (None, None) => false,
        };
        if !is_known && self.members.len() + self.pending.len() >= limits.members_max {
            return Err(GroupError::GroupFull);
        }
        if !self.fits(join) {
            return Err(GroupError::InconsistentProtocol);
        }
        Ok(())
    }

    /// Whether the group would still have a protocol that all of its members know.
    fn fits(&self, join: &Join) -> bool {
        if self.members.is_empty() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|protocol| self.all_support(&protocol.name))
    }

    fn rejoin(&mut self, id: MemberId, request: RequestId, join: Join, step: &mut Step) {
        // Ids are given out to dynamic members only.
        if join.instance.is_none() && self.pending.remove(&id).is_some() {
            return self.add(id, request, join, step);
        }
        if let Err(error) = self.check_identity(Some(&id), join.instance.as_ref()) {
            return step.reply(request, refuse_join(error, Some(id)));
        }
        let member = self.members.get(&id).expect("the identity was checked");
        let is_unchanged = member.offers(&join.protocols);
        let is_leader = self.leader.as_ref() == Some(&id);
        match self.phase {
            // Its answer got lost, or it is a follower with nothing new: the generation that there
            // is will do.
            Phase::Completing { .. } if is_unchanged => self.answer_again(&id, request, step),
            Phase::Stable { .. } if is_unchanged && !is_leader => {
                self.answer_again(&id, request, step);
            }
            // The leader joins again when what it assigns has changed (partitions were added), a
            // follower when what it wants has; cooperative members to hand over what they revoked.
            Phase::Completing { .. } | Phase::Stable { .. } => {
                self.update(&id, request, join, step);
                self.prepare_rebalance(step);
            }
            Phase::Preparing { .. } => {
                self.update(&id, request, join, step);
                self.try_complete(step);
            }
            Phase::Empty => unreachable!("an empty group has no member to have passed the check"),
        }
    }

    fn add(&mut self, id: MemberId, request: RequestId, join: Join, step: &mut Step) {
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(&join.protocol_type));
            self.leader = Some(id.clone());
        }
        let mut member = Member::new(join, step.deadline_in(NEW_MEMBER_JOIN_TIMEOUT));
        member.joining = Some(request);
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.members.insert(id, member);
        match &mut self.phase {
            Phase::Preparing { company: Some(Company { came, .. }), .. } => *came = true,
            Phase::Preparing { company: None, .. } => self.try_complete(step),
            Phase::Empty | Phase::Completing { .. } | Phase::Stable { .. } => {
                self.prepare_rebalance(step);
            }
        }
    }

    fn update(&mut self, id: &MemberId, request: RequestId, join: Join, step: &mut Step) {
        let member = self.members.get_mut(id).expect("the caller found the member");
        member.update(join);
        supersede(member.joining.replace(request), id, step);
    }

    fn answer_again(&mut self, id: &MemberId, request: RequestId, step: &mut Step) {
        let member = self.members.get_mut(id).expect("the caller found the member");
        supersede(member.joining.take(), id, step);
        self.restart_session(id, step);
        let joined = self.joined(id, self.members_for(id));
        step.reply(request, Reply::Join(Ok(joined)));
    }

    /// A static member starts again: the new process takes the old one's place, and the old one is
    /// told so if it is still there. A stable group stays as it is unless the votes change.
    fn replace_static(&mut self, old: &MemberId, request: RequestId, join: Join, step: &mut Step) {
        let id = join.fresh_id.clone();
        let old_leader = self.leader.clone().expect("a group with members has a leader");
        let knows_skip_assignment = join.knows_skip_assignment;
        self.rename(old, id.clone(), step);
        self.update(&id, request, join, step);
        match self.phase {
            Phase::Preparing { .. } => self.try_complete(step),
            // The leader may be assigning to the old id at this moment.
            Phase::Completing { .. } => self.prepare_rebalance(step),
            Phase::Stable { .. } if self.protocol == self.vote() => {
                let is_leader = self.leader.as_ref() == Some(&id);
                let replacement = Replacement {
                    request,
                    member: id.clone(),
                    // A leader that does not know `skip_assignment` would assign, and nobody would
                    // get it; so it is told of a leader that is not there (Kafka does the same).
                    leader_to_tell: if is_leader && knows_skip_assignment {
                        id
                    } else {
                        old_leader
                    },
                    skip_assignment: is_leader && knows_skip_assignment,
                };
                let image = self.image(step.now.date);
                self.log(image, Then::Replace(replacement), step);
            }
            Phase::Stable { .. } => self.prepare_rebalance(step),
            Phase::Empty => unreachable!("an empty group has no static member"),
        }
    }

    fn rename(&mut self, old: &MemberId, new: MemberId, step: &mut Step) {
        let mut member = self.members.remove(old).expect("static names map to members");
        super::answer_waiting(&member, old, GroupError::FencedInstance, step);
        (member.joining, member.syncing) = (None, None);
        member.expires = step.deadline_in(member.session_timeout);
        let instance: &InstanceId = member.instance.as_ref().expect("only statics are replaced");
        self.statics.insert(instance.clone(), new.clone());
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(new.clone());
        }
        self.members.insert(new, member);
    }

    /// The log has answered a [`Replacement`]. If a rebalance has begun meanwhile, the join counts
    /// for it and is answered by it.
    pub(crate) fn replaced(
        &mut self,
        replacement: Replacement,
        outcome: Result<(), NotWritten>,
        step: &mut Step,
    ) {
        let Replacement { request, member: id, leader_to_tell, skip_assignment } = replacement;
        let is_stable = matches!(self.phase, Phase::Stable { .. });
        let member = self.members.get_mut(&id);
        let waiting = member.filter(|member| is_stable && member.joining == Some(request));
        let Some(member) = waiting else { return };
        member.joining = None;
        member.is_new = false;
        self.restart_session(&id, step);
        let reply = match outcome {
            Ok(()) => {
                let members = if skip_assignment { self.members_for(&id) } else { Vec::new() };
                let joined = self.joined(&id, members);
                let leader = Some(leader_to_tell);
                Reply::Join(Ok(Joined { leader, skip_assignment, ..joined }))
            }
            // The client joins again without an id, and the new id is logged with the next one.
            Err(NotWritten) => refuse_join(GroupError::NotAvailable, None),
        };
        step.reply(request, reply);
    }

    /// Everybody, if this member is the leader.
    pub(super) fn members_for(&self, id: &MemberId) -> Vec<JoinedMember> {
        if self.leader.as_ref() != Some(id) {
            return Vec::new();
        }
        let seen = self.members.iter().map(|(id, member)| JoinedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol.as_ref()),
        });
        seen.collect()
    }

    pub(super) fn joined(&self, id: &MemberId, members: Vec<JoinedMember>) -> Joined {
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: id.clone(),
            members,
            skip_assignment: false,
        }
    }
}

/// Whether what the member says can be kept, in memory and in a record.
pub(in crate::group) fn is_small(join: &Join) -> bool {
    let instance = join.instance.as_ref().map_or("", InstanceId::as_str);
    let texts = [instance, &join.protocol_type, &join.client.id, &join.client.host];
    let fits = |protocol: &Protocol| {
        protocol.name.len() <= TEXT_BYTES_MAX && protocol.metadata.len() <= METADATA_BYTES_MAX
    };
    texts.iter().all(|text| text.len() <= TEXT_BYTES_MAX)
        && join.protocols.len() <= PROTOCOLS_MAX
        && join.protocols.iter().all(fits)
}

/// Answers a join whose client has sent another one: it no longer listens, or will join again.
fn supersede(request: Option<RequestId>, id: &MemberId, step: &mut Step) {
    if let Some(request) = request {
        step.reply(request, refuse_join(GroupError::RebalanceInProgress, Some(id.clone())));
    }
}
