//! Which protocol a group's members speak, and what both protocols answer.
//!
//! A group begins as a classic one: offsets without members are one too. It becomes one of the
//! consumer protocol when a member joins with that, and a classic one again when only classic
//! members are left, or when somebody joins it classic while nobody is a member.

use std::sync::Arc;

use crate::group::administer::RetainedFrom;
use crate::group::classic::{CONSUMER_PROTOCOL_TYPE, Classic, Subscriptions};
use crate::group::description::{
    Description, GroupState, GroupType, ModernDescription, ModernMember,
};
use crate::group::error::GroupError;
use crate::group::identity::Claim;
use crate::group::modern::{Modern, ModernState};
use crate::group::state::Step;

/// The members of a group.
#[derive(Clone, Debug)]
pub enum Membership {
    /// They speak JoinGroup and SyncGroup.
    Classic(Classic),
    /// They speak ConsumerGroupHeartbeat, some of them perhaps not yet.
    Modern(Modern),
}

impl Membership {
    /// Which division of the partitions it is: a generation, or an epoch.
    pub(in crate::group) fn generation(&self) -> i32 {
        match self {
            Membership::Classic(classic) => classic.generation(),
            Membership::Modern(modern) => modern.epoch(),
        }
    }

    /// How many members there are. Goes through them.
    pub(in crate::group) fn member_count(&self) -> usize {
        match self {
            Membership::Classic(classic) => classic.members().count(),
            Membership::Modern(modern) => modern.members().len(),
        }
    }

    pub(in crate::group) fn is_vacant(&self) -> bool {
        match self {
            Membership::Classic(classic) => classic.is_vacant(),
            Membership::Modern(modern) => modern.is_vacant(),
        }
    }

    /// Whether nobody is a member or about to become one.
    pub(in crate::group) fn is_deserted(&self) -> bool {
        match self {
            Membership::Classic(classic) => classic.is_deserted(),
            Membership::Modern(modern) => modern.members().is_empty(),
        }
    }

    pub(in crate::group) fn state(&self) -> GroupState {
        match self {
            Membership::Classic(classic) => classic.state(),
            Membership::Modern(modern) => match modern.state() {
                ModernState::Empty => GroupState::Empty,
                ModernState::Assigning => GroupState::Assigning,
                ModernState::Reconciling => GroupState::Reconciling,
                ModernState::Stable => GroupState::Stable,
            },
        }
    }

    pub(in crate::group) fn group_type(&self) -> GroupType {
        match self {
            Membership::Classic(_) => GroupType::Classic,
            Membership::Modern(_) => GroupType::Consumer,
        }
    }

    pub(in crate::group) fn protocol_type(&self) -> Option<Arc<str>> {
        match self {
            Membership::Classic(classic) => classic.protocol_type(),
            Membership::Modern(_) => Some(Arc::from(CONSUMER_PROTOCOL_TYPE)),
        }
    }

    /// Whether the members' subscriptions are something that the broker understands.
    pub(in crate::group) fn is_consumer_group(&self) -> bool {
        match self {
            Membership::Classic(classic) => classic.is_consumer_group(),
            Membership::Modern(_) => true,
        }
    }

    pub(in crate::group) fn subscriptions(&self) -> Subscriptions {
        match self {
            Membership::Classic(classic) => classic.subscriptions(),
            Membership::Modern(modern) => Subscriptions::Known(modern.subscribed_names()),
        }
    }

    pub(in crate::group) fn offsets_retained_from(&self) -> RetainedFrom {
        match self {
            Membership::Classic(classic) => classic.offsets_retained_from(),
            Membership::Modern(_) => RetainedFrom::Commit,
        }
    }

    pub(in crate::group) fn describe(&self) -> Description {
        match self {
            Membership::Classic(classic) => Description::Classic(classic.describe()),
            Membership::Modern(modern) => Description::Modern(describe(modern, self.state())),
        }
    }

    pub(in crate::group) fn loaded(&mut self, step: &mut Step) {
        match self {
            Membership::Classic(classic) => classic.loaded(step),
            Membership::Modern(modern) => modern.loaded(step),
        }
    }

    /// Whether offsets may be committed by whoever makes this claim.
    pub(in crate::group) fn check_commit(
        &mut self,
        claim: &Claim,
        step: &mut Step,
    ) -> Result<(), GroupError> {
        match self {
            Membership::Classic(classic) => classic.check_commit(claim, step),
            Membership::Modern(modern) => modern.check_commit(claim),
        }
    }

    /// Whether whoever makes this claim may see the group's offsets. Classic groups show them to
    /// everybody.
    pub(in crate::group) fn check_fetch(&self, claim: &Claim) -> Result<(), GroupError> {
        match self {
            Membership::Classic(_) => Ok(()),
            Membership::Modern(_) if claim.member.is_none() && claim.generation.is_none() => Ok(()),
            Membership::Modern(modern) => modern.check_epoch(claim),
        }
    }
}

fn describe(modern: &Modern, state: GroupState) -> ModernDescription {
    let members = modern.members().iter().map(|(id, member)| ModernMember {
        member: id.clone(),
        epoch: member.current.epoch,
        is_classic: member.is_classic(),
        metadata: member.metadata.clone(),
        assigned: member.current.assigned.clone(),
        target: modern.target(id).cloned().unwrap_or_default(),
    });
    ModernDescription {
        state,
        epoch: modern.epoch(),
        target_epoch: modern.target_epoch(),
        assignor: modern.assignor(),
        members: members.collect(),
    }
}
