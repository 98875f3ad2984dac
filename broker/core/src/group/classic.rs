//! The classic rebalance protocol: clients agree on who reads what, the coordinator keeps time.
//!
//! ```text
//!              first join                     all joined, or time is up
//!     Empty ──────────────> Preparing ─────────────────────────────────> Completing
//!       ▲                    ▲  ▲  │                                      │      │
//!       │   nobody is left   │  │  └── static members still silent:       │      │ the leader's
//!       └────────────────────┘  │      wait on                            │      │ assignments
//!                               │                                         │      │ are logged
//!                               ├──── join, leave, silence, no sync ──────┘      ▼
//!                               └──────────────────────────────────────────── Stable
//! ```
//!
//! - **Preparing**: heartbeats answer "rebalance in progress", so every member comes and joins. The
//!   joins wait; dynamic members that do not come within the rebalance timeout are dropped.
//! - **Completing**: the generation has begun. One member, the leader, got everybody's metadata and
//!   works out the assignments; the others' syncs wait for it.
//! - **Stable**: assignments are logged and handed out; heartbeats keep the members alive.
//!
//! Metadata and assignments are bytes that only clients understand, so `consumer`, `connect` and
//! any other protocol type work alike, and cooperative rebalancing needs nothing here: it is a
//! member that joins again from Stable.
//!
//! Invariants: outside Empty there is a member, and the leader is one of them; static names map to
//! members; a join waits in Preparing (or while a static member's new id is logged), a sync waits
//! in Completing; the generation never goes back. Each request is answered exactly once.
//!
//! The rules and their order follow Kafka's coordinator. Read `join.rs`, `rebalance.rs`, `sync.rs`.

pub(in crate::group) mod handover;
mod join;
mod member;
#[cfg(test)]
mod properties;
mod rebalance;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_model::time::{Moment, Timestamp};

use self::member::Member;
use crate::group::administer::RetainedFrom;
use crate::group::description::{ClassicDescription, DescribedMember, GroupState};
use crate::group::error::GroupError;
use crate::group::identity::{Claim, InstanceId, MemberId};
use crate::group::records::{GroupImage, GroupRecord, MemberImage};
use crate::group::state::{GroupLimits, Reply, Step, Then, refuse_join};

pub use self::join::Replacement;
pub(in crate::group) use self::join::is_small;
pub use self::subscription::{CONSUMER_PROTOCOL_TYPE, Subscriptions};
pub use self::sync::Assignments;

/// Largest metadata that a member may bring for one protocol, in bytes.
pub const METADATA_BYTES_MAX: usize = 64 << 10;
/// Most protocols that a member may offer.
pub const PROTOCOLS_MAX: usize = 16;

/// The client program behind a member, for descriptions and logs only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The name it gives itself.
    pub id: Arc<str>,
    /// Where it connects from.
    pub host: Arc<str>,
}

/// A way of assigning that a member knows, and what its leader must know for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, such as `range`.
    pub name: Arc<str>,
    /// The member's subscription, opaque to the broker.
    pub metadata: Bytes,
}

/// A wish to be a member.
#[derive(Clone, Debug)]
pub struct Join {
    /// The member's id; none if it has none yet.
    pub member: Option<MemberId>,
    /// The static member's name, if it is one.
    pub instance: Option<InstanceId>,
    /// The id that the member gets if it needs one.
    pub fresh_id: MemberId,
    /// Whether a dynamic member without an id is sent back to join with the fresh one (KIP-394,
    /// JoinGroup 4 and later): an answer that gets lost then leaves no ghost behind.
    pub needs_known_id: bool,
    /// Whether the client knows `skip_assignment` (KIP-814, JoinGroup 9 and later).
    pub knows_skip_assignment: bool,
    /// The client program.
    pub client: Client,
    /// How long the member may be silent.
    pub session_timeout: Duration,
    /// How long the others wait for the member to join again in a rebalance.
    pub rebalance_timeout: Duration,
    /// What kind of group the client means: `consumer`, `connect`, …
    pub protocol_type: Arc<str>,
    /// What it can do, best first.
    pub protocols: Vec<Protocol>,
}

/// A member's place in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that got most votes.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns; none where the broker does.
    pub leader: Option<MemberId>,
    /// The member's own id.
    pub member: MemberId,
    /// Everybody, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
    /// The leader need not assign: the group keeps its assignments (KIP-814).
    pub skip_assignment: bool,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: MemberId,
    /// Its static name, if it has one.
    pub instance: Option<InstanceId>,
    /// What it said for the protocol that was chosen.
    pub metadata: Bytes,
}

/// A member's question for its assignment.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Who asks.
    pub claim: Claim,
    /// The protocol type that the client believes in, if it says so.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that the client believes in, if it says so.
    pub protocol: Option<Arc<str>>,
    /// Everybody's part, from the leader; empty from the others.
    pub assignments: BTreeMap<MemberId, Bytes>,
}

/// A member's part of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The generation's protocol.
    pub protocol: Option<Arc<str>>,
    /// The assignment, opaque to the broker.
    pub assignment: Bytes,
}

/// A member that goes: by its id, or by its static name alone when an administrator removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its id.
    pub member: Option<MemberId>,
    /// Its static name.
    pub instance: Option<InstanceId>,
}

/// Where the group stands in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody is a member; offsets may be kept.
    Empty,
    /// Joins are collected.
    Preparing {
        /// When those who have not joined are given up.
        deadline: Moment,
        /// The first generation of a group that was empty waits for company.
        company: Option<Company>,
    },
    /// The leader is assigning.
    Completing {
        /// When those who have not synced are given up.
        sync_deadline: Moment,
        /// Assignments are on their way to the log; a second sync of the leader changes nothing.
        storing: bool,
    },
    /// Everybody can know its part.
    Stable {
        /// When those who have not asked for theirs are given up; none once all have.
        sync_deadline: Option<Moment>,
    },
}

/// How long a first generation may still be put off (`group.initial.rebalance.delay.ms`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Company {
    /// Time left of the rebalance timeout, after the present delay.
    remaining: Duration,
    /// Somebody joined during the present delay, so another delay is worth it.
    came: bool,
}

/// The members of a group and the protocol between them.
#[derive(Clone, Debug)]
pub struct Classic {
    limits: GroupLimits,
    phase: Phase,
    phase_since: Timestamp,
    generation: i32,
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    leader: Option<MemberId>,
    members: BTreeMap<MemberId, Member>,
    statics: BTreeMap<InstanceId, MemberId>,
    /// Ids that were given out and not joined with yet, and until when they are kept.
    pending: BTreeMap<MemberId, Moment>,
    /// The log knows of this group's members, so a restart will find it.
    logged: bool,
    /// How many records about them it has been given.
    images: u64,
}

impl Classic {
    pub(crate) fn new(limits: GroupLimits) -> Classic {
        Classic {
            limits,
            phase: Phase::Empty,
            phase_since: Timestamp::NONE,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            logged: false,
            images: 0,
        }
    }

    /// Where the group stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Since when it stands there; for an empty group the beginning of its offsets' retention.
    pub fn phase_since(&self) -> Timestamp {
        self.phase_since
    }

    /// The generation, counted from 1; 0 if there has not been any.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// The member that assigns.
    pub fn leader(&self) -> Option<&MemberId> {
        self.leader.as_ref()
    }

    /// The members' ids, in order.
    pub fn members(&self) -> impl Iterator<Item = &MemberId> {
        self.members.keys()
    }

    /// The protocol type of the members that there are or were.
    pub fn protocol_type(&self) -> Option<Arc<str>> {
        self.protocol_type.clone()
    }

    /// Where the group stands, as it is told to tools.
    pub fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
        }
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.is_deserted() && !self.logged
    }

    /// Whether a restart would find the members.
    pub(in crate::group) fn is_logged(&self) -> bool {
        self.logged
    }

    /// Whether nobody is a member or about to become one.
    pub(crate) fn is_deserted(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty()
    }

    /// What members say means nothing before the protocol is fixed and the rebalance over, so as in
    /// Kafka it is shown of a stable group only; assignments are those of the last generation until
    /// the next ones are there.
    pub(crate) fn describe(&self) -> ClassicDescription {
        let is_stable = matches!(self.phase, Phase::Stable { .. });
        let protocol = self.protocol.clone().filter(|_| is_stable);
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            metadata: member.metadata(protocol.as_ref()),
            assignment: member.assignment.clone(),
        });
        ClassicDescription {
            state: self.state(),
            protocol_type: self.protocol_type.clone(),
            members: members.collect(),
            protocol,
        }
    }

    pub(crate) fn offsets_retained_from(&self) -> RetainedFrom {
        match self.phase {
            // Offsets that members never had anything to do with.
            _ if self.protocol_type.is_none() => RetainedFrom::Commit,
            // Records of Kafka before 2.1 do not say when the group became empty.
            Phase::Empty if self.phase_since == Timestamp::NONE => RetainedFrom::Commit,
            Phase::Empty => RetainedFrom::Since(self.phase_since),
            Phase::Stable { .. } if self.is_consumer_group() => RetainedFrom::Commit,
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => {
                RetainedFrom::Never
            }
        }
    }

    /// Forgets everything about an empty group. Returns how many records the log has been given, if
    /// it needs a tombstone; [`Classic::deleted`] brings the number back.
    pub(crate) fn delete(&mut self) -> Option<u64> {
        assert_eq!(self.phase, Phase::Empty, "members would go without being told");
        let (logged, images) = (self.logged, self.images);
        *self = Classic { logged, images, ..Classic::new(self.limits) };
        logged.then_some(images)
    }

    /// The tombstone is logged: unless members came since, the log knows nothing any more.
    pub(crate) fn deleted(&mut self, images: u64) {
        if self.images == images {
            self.logged = false;
        }
    }

    /// Has the log told of the members as they are in `image`.
    fn log(&mut self, image: GroupImage, then: Then, step: &mut Step) {
        self.logged = true;
        self.images += 1;
        step.write(vec![GroupRecord::Members(Some(image))], then);
    }

    pub(crate) fn heartbeat(&mut self, claim: &Claim, step: &mut Step) -> Result<(), GroupError> {
        let member = self.check_member(claim)?;
        if claim.generation != Some(self.generation) {
            return Err(GroupError::IllegalGeneration);
        }
        self.restart_session(&member, step);
        match self.phase {
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            // While the leader assigns there is nothing to be told yet.
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
            Phase::Empty => unreachable!("an empty group has no member to have passed the check"),
        }
    }

    pub(crate) fn leave(
        &mut self,
        leaving: &[Leaving],
        step: &mut Step,
    ) -> Vec<Result<(), GroupError>> {
        let members_before = self.members.len();
        let results = leaving.iter().map(|one| self.leave_one(one, step)).collect();
        self.after_removal(members_before, step);
        results
    }

    fn leave_one(&mut self, leaving: &Leaving, step: &mut Step) -> Result<(), GroupError> {
        let member = match (&leaving.member, &leaving.instance) {
            (Some(member), _) if self.pending.remove(member).is_some() => return Ok(()),
            (Some(member), instance) => {
                self.check_identity(Some(member), instance.as_ref())?;
                member.clone()
            }
            (None, Some(instance)) => {
                self.statics.get(instance).cloned().ok_or(GroupError::UnknownMember)?
            }
            (None, None) => return Err(GroupError::UnknownMember),
        };
        self.remove(&member, step);
        Ok(())
    }

    /// Whether offsets may be committed by whoever makes this claim; a member's commit is a sign
    /// of life.
    pub(crate) fn check_commit(
        &mut self,
        claim: &Claim,
        step: &mut Step,
    ) -> Result<(), GroupError> {
        let Claim { member, instance, generation } = claim;
        if generation.is_none() && self.phase == Phase::Empty {
            // An administrator, or a consumer that assigns itself, whatever it calls itself: only
            // where no member could be surprised by it.
            return Ok(());
        }
        if member.is_none() && instance.is_none() && generation.is_none() {
            return Err(GroupError::UnknownMember);
        }
        let member = self.check_member(claim)?;
        if *generation != Some(self.generation) {
            return Err(GroupError::IllegalGeneration);
        }
        if matches!(self.phase, Phase::Completing { .. }) {
            // The member knows the generation but not yet its part, so what it commits belongs to
            // the part that it had before.
            return Err(GroupError::RebalanceInProgress);
        }
        // In Preparing commits are welcome: a member commits what it gives up before it rejoins.
        self.restart_session(&member, step);
        Ok(())
    }

    fn check_member(&self, claim: &Claim) -> Result<MemberId, GroupError> {
        self.check_identity(claim.member.as_ref(), claim.instance.as_ref())?;
        claim.member.clone().ok_or(GroupError::UnknownMember)
    }

    fn check_identity(
        &self,
        member: Option<&MemberId>,
        instance: Option<&InstanceId>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            return match self.statics.get(instance) {
                None => Err(GroupError::UnknownMember),
                Some(current) if Some(current) != member => Err(GroupError::FencedInstance),
                Some(_) => Ok(()),
            };
        }
        match member {
            Some(member) if self.members.contains_key(member) => Ok(()),
            _ => Err(GroupError::UnknownMember),
        }
    }

    fn restart_session(&mut self, member: &MemberId, step: &mut Step) {
        if let Some(member) = self.members.get_mut(member) {
            member.expires = step.deadline_in(member.session_timeout);
        }
    }

    /// Takes a member out. Whatever it waits for is answered: a client that is still there joins
    /// anew. The caller goes on with [`Classic::after_removal`].
    fn remove(&mut self, id: &MemberId, step: &mut Step) {
        let Some(member) = self.members.remove(id) else { return };
        answer_waiting(&member, id, GroupError::UnknownMember, step);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Goes on after members or pending ids may have gone.
    fn after_removal(&mut self, members_before: usize, step: &mut Step) {
        match self.phase {
            Phase::Preparing { .. } => self.try_complete(step),
            Phase::Completing { .. } | Phase::Stable { .. }
                if self.members.len() < members_before =>
            {
                self.prepare_rebalance(step);
            }
            Phase::Empty | Phase::Completing { .. } | Phase::Stable { .. } => {}
        }
    }

    pub(crate) fn time_passed(&mut self, step: &mut Step) {
        let now = step.now.moment;
        self.pending.retain(|_, deadline| *deadline > now);
        let members_before = self.members.len();
        for member in self.members_where(|member| member.deadline().is_some_and(|at| at <= now)) {
            self.remove(&member, step);
        }
        self.after_removal(members_before, step);
        self.phase_deadline_passed(step);
        self.wake_at_next_deadline(step);
    }

    fn members_where(&self, is_meant: impl Fn(&Member) -> bool) -> Vec<MemberId> {
        let meant = self.members.iter().filter(|(_, member)| is_meant(member));
        meant.map(|(id, _)| id.clone()).collect()
    }

    fn enter(&mut self, phase: Phase, step: &Step) {
        self.phase = phase;
        self.phase_since = step.now.date;
    }

    fn wake_at_next_deadline(&self, step: &mut Step) {
        let sessions = self.members.values().filter_map(Member::deadline);
        let phase = match self.phase {
            Phase::Empty | Phase::Stable { sync_deadline: None } => None,
            Phase::Preparing { deadline, .. } => Some(deadline),
            Phase::Completing { sync_deadline, .. }
            | Phase::Stable { sync_deadline: Some(sync_deadline) } => Some(sync_deadline),
        };
        for deadline in sessions.chain(self.pending.values().copied()).chain(phase) {
            step.wake_by(deadline);
        }
    }

    /// What a restart would find if the group were logged now.
    pub(crate) fn image(&self, date: Timestamp) -> GroupImage {
        let members = self.members.iter().map(|(id, member)| MemberImage {
            member: id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            session_timeout: member.session_timeout,
            rebalance_timeout: member.rebalance_timeout,
            subscription: member.metadata(self.protocol.as_ref()),
            assignment: member.assignment.clone(),
        });
        GroupImage {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            written_at: date,
            members: members.collect(),
        }
    }

    /// Becomes what the log says.
    pub(crate) fn replay(&mut self, image: Option<GroupImage>) {
        *self = Classic::new(self.limits);
        let Some(image) = image else { return };
        self.logged = true;
        self.generation = image.generation;
        self.phase_since = image.written_at;
        self.protocol_type = image.protocol_type;
        self.protocol = image.protocol;
        for member in image.members {
            if let Some(instance) = &member.instance {
                self.statics.insert(instance.clone(), member.member.clone());
            }
            let id = member.member.clone();
            self.members.insert(id, Member::from_image(member, self.protocol.as_ref()));
        }
        if !self.members.is_empty() {
            self.phase = Phase::Stable { sync_deadline: None };
            let known = image.leader.filter(|leader| self.members.contains_key(leader));
            self.leader = known.or_else(|| self.members.keys().next().cloned());
        }
    }

    /// Gives every member that the log knew a full session to come back in.
    pub(crate) fn loaded(&mut self, step: &mut Step) {
        let members: Vec<_> = self.members.keys().cloned().collect();
        for member in &members {
            self.restart_session(member, step);
        }
    }
}

/// Answers whatever a member waits for with an error.
fn answer_waiting(member: &Member, id: &MemberId, error: GroupError, step: &mut Step) {
    if let Some(request) = member.joining {
        step.reply(request, refuse_join(error, Some(id.clone())));
    }
    if let Some(request) = member.syncing {
        step.reply(request, Reply::Sync(Err(error)));
    }
}
