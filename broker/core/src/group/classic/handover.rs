//! A classic group given to the consumer protocol, or taken back from it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::group::classic::member::Member;
use crate::group::classic::{Classic, Client, Phase, Protocol};
use crate::group::error::GroupError;
use crate::group::identity::{InstanceId, MemberId};
use crate::group::records::MemberImage;
use crate::group::state::{GroupLimits, Now, Reply, Step, refuse_join};

/// The members of a classic group, for whoever goes on with them.
#[derive(Clone, Debug)]
pub(in crate::group) struct Handover {
    /// Their generation.
    pub(in crate::group) generation: i32,
    /// What kind of group it is.
    pub(in crate::group) protocol_type: Option<Arc<str>>,
    pub(in crate::group) members: Vec<HandedOver>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::group) struct HandedOver {
    pub(in crate::group) member: MemberId,
    pub(in crate::group) instance: Option<InstanceId>,
    pub(in crate::group) client: Client,
    pub(in crate::group) session_timeout: Duration,
    pub(in crate::group) rebalance_timeout: Duration,
    /// What it can do, best first.
    pub(in crate::group) protocols: Vec<Protocol>,
    /// What it said for the generation's protocol.
    pub(in crate::group) subscription: Bytes,
    /// Its part.
    pub(in crate::group) assignment: Bytes,
}

impl Classic {
    /// The members as they are. In a rebalance they may have parts of the generation before.
    pub(in crate::group) fn hand_over(&self) -> Handover {
        let protocol = self.protocol.clone().or_else(|| self.vote());
        let members = self.members.iter().map(|(id, member)| HandedOver {
            member: id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            session_timeout: member.session_timeout,
            rebalance_timeout: member.rebalance_timeout,
            protocols: member.protocols.clone(),
            subscription: member.metadata(protocol.as_ref()),
            assignment: member.assignment.clone(),
        });
        Handover {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            members: members.collect(),
        }
    }

    /// Sends everybody who waits back to join.
    pub(in crate::group) fn send_back(&mut self, step: &mut Step) {
        let error = GroupError::RebalanceInProgress;
        for (id, member) in &mut self.members {
            if let Some(request) = member.joining.take() {
                step.reply(request, refuse_join(error, Some(id.clone())));
            }
            if let Some(request) = member.syncing.take() {
                step.reply(request, Reply::Sync(Err(error)));
            }
        }
    }

    /// A stable group of these members, at least one, who have a protocol in common.
    pub(in crate::group) fn take_over(
        limits: GroupLimits,
        handover: Handover,
        now: Now,
    ) -> Classic {
        let mut classic = Classic::new(limits);
        classic.logged = true;
        classic.images = 1;
        classic.generation = handover.generation;
        classic.protocol_type = handover.protocol_type;
        for handed in handover.members {
            if let Some(instance) = &handed.instance {
                classic.statics.insert(instance.clone(), handed.member.clone());
            }
            let image = MemberImage {
                member: handed.member.clone(),
                instance: handed.instance,
                client: handed.client,
                session_timeout: handed.session_timeout,
                rebalance_timeout: handed.rebalance_timeout,
                subscription: handed.subscription,
                assignment: handed.assignment,
            };
            let member = Member { protocols: handed.protocols, ..Member::from_image(image, None) };
            classic.members.insert(handed.member, member);
        }
        classic.leader = classic.members.keys().next().cloned();
        classic.protocol = classic.vote();
        classic.phase = Phase::Stable { sync_deadline: None };
        classic.phase_since = now.date;
        classic
    }

    /// Goes on with members that another protocol had: each has a full session, and a new
    /// generation begins.
    pub(in crate::group) fn resume(&mut self, step: &mut Step) {
        self.loaded(step);
        self.prepare_rebalance(step);
    }
}
