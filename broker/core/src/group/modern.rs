//! The consumer protocol of KIP-848: members say what they read, the broker decides who reads what
//! and takes them there one by one.
//!
//! ```text
//!   subscriptions, topics ──> group epoch ──> target assignment ──> each member, at its own pace
//!       a change raises it        worked out for that epoch          reconcile.rs
//! ```
//!
//! There is one request, the heartbeat. It brings what changed of the member, and takes back its
//! epoch and, when that changed, what it has. No member waits for another, and nobody is stopped
//! but for the partitions that it has to give up.
//!
//! - **Group epoch** ([`Modern::epoch`]): raised when a subscription, a regular expression's topics
//!   or the topics themselves change, and when a member goes.
//! - **Target**: what everybody is to have in the epoch, from the [`super::assignor`] that most
//!   members ask for. Only the next heartbeat works it out: many changes cost one assignment.
//! - **Current**: what each member has and what it is giving up. A partition is given out when
//!   nobody has it, so it never has two owners.
//!
//! This module **decides** and **applies**. A decision is a list of records; nothing of it shows
//! before the log has them, and only one decision is on its way at a time, which
//! [`super::state::Group`] sees to. [`Modern::apply`] takes each record, then and at a restart.
//!
//! Members of the classic protocol may be in the group too, while an application moves from one to
//! the other: [`classic_members`] and [`migration`].
//!
//! The rules and their order follow Kafka's coordinator. Read `heartbeat.rs`, `reconcile.rs`.

pub(in crate::group) mod classic_members;
mod commit;
pub mod heartbeat;
pub mod member;
mod metadata_hash;
pub(in crate::group) mod migration;
mod reconcile;
pub mod records;
mod refresh;
mod regex;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::ids::{PartitionId, StreamId};
use weir_model::time::Moment;

use crate::group::assignor::{Assignor, Partitions};
use crate::group::identity::{InstanceId, MemberId};
use crate::group::membership::Membership;
use crate::group::modern::member::{Clocks, Member, MemberMetadata, MemberState};
use crate::group::modern::records::{GroupEpoch, ModernRecord, ResolvedRegex};
use crate::group::records::GroupRecord;
use crate::group::state::{GroupLimits, Now, Reply, RequestId, Step};
use crate::group::topics::Topics;

/// What a group of this kind is doing, as Kafka's tools call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModernState {
    /// Nobody is a member.
    Empty,
    /// The target is older than the group's epoch.
    Assigning,
    /// Somebody is on the way to the target.
    Reconciling,
    /// Everybody has its target.
    Stable,
}

/// How far a group is. What changes it may give a member something to ask for: a new epoch wants a
/// target, a new target wants members to move, and a partition that was given up is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    epoch: i32,
    target_epoch: i32,
    releases: u64,
}

/// The members of a group, where each is to go and where it stands.
#[derive(Clone, Debug)]
pub struct Modern {
    limits: GroupLimits,
    topics: Arc<Topics>,
    /// The version of the topics that the epoch was last reckoned from.
    topics_checked: Option<u64>,
    epoch: i32,
    metadata_hash: i64,
    target_epoch: i32,
    members: BTreeMap<MemberId, Member>,
    targets: BTreeMap<MemberId, Partitions>,
    regexes: BTreeMap<Arc<str>, ResolvedRegex>,
    statics: BTreeMap<InstanceId, MemberId>,
    /// Who has each partition, or has not given it up yet.
    owners: BTreeMap<PartitionId, MemberId>,
    clocks: BTreeMap<MemberId, Clocks>,
    /// How often a member has given something up since the group is in memory.
    releases: u64,
    /// The log knows of this group, so a restart will find it.
    is_logged: bool,
}

/// What is to be done about an event: logged first if there are records.
#[derive(Debug)]
pub(in crate::group) struct Decision {
    /// In the order in which they are applied.
    pub(in crate::group) records: Vec<GroupRecord>,
    /// What follows once the log has them.
    pub(in crate::group) change: Change,
}

/// What follows from a decision once its records are in the log.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub(in crate::group) replies: Vec<(RequestId, Reply)>,
    /// Members whose silence begins anew.
    pub(in crate::group) heard: Vec<MemberId>,
    /// Members that were sent back to join, or that joined: classic ones only.
    pub(in crate::group) waits: Vec<(MemberId, classic_members::Wait)>,
    /// The topics that were looked at.
    pub(in crate::group) topics_checked: Option<u64>,
    /// What the group is from then on, where it changes its protocol. The records are in it.
    pub(in crate::group) becomes: Option<Box<Membership>>,
}

impl Decision {
    /// Nothing to log.
    pub(in crate::group) fn reply(request: RequestId, reply: Reply) -> Decision {
        let change = Change { replies: vec![(request, reply)], ..Change::default() };
        Decision { records: Vec::new(), change }
    }
}

/// How a decision alters who is in the group: what new epochs and targets are reckoned with.
#[derive(Clone, Copy, Debug)]
struct Altered<'a> {
    /// The member that comes or changes.
    updated: Option<(&'a MemberId, &'a MemberMetadata)>,
    /// Those who go.
    gone: &'a BTreeSet<MemberId>,
}

impl Modern {
    pub(in crate::group) fn new(limits: GroupLimits, topics: Arc<Topics>) -> Modern {
        Modern {
            limits,
            topics,
            topics_checked: None,
            epoch: 0,
            metadata_hash: 0,
            target_epoch: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
            statics: BTreeMap::new(),
            owners: BTreeMap::new(),
            clocks: BTreeMap::new(),
            releases: 0,
            is_logged: false,
        }
    }

    /// What the group is doing.
    pub fn state(&self) -> ModernState {
        if self.members.is_empty() {
            ModernState::Empty
        } else if self.epoch > self.target_epoch {
            ModernState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch)) {
            ModernState::Stable
        } else {
            ModernState::Reconciling
        }
    }

    /// The group's epoch; 0 before the first member.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// The epoch that the targets are for.
    pub fn target_epoch(&self) -> i32 {
        self.target_epoch
    }

    /// How far the group is, for whoever waits for it to move.
    pub(in crate::group) fn progress(&self) -> Progress {
        let (epoch, target_epoch) = (self.epoch, self.target_epoch);
        Progress { epoch, target_epoch, releases: self.releases }
    }

    /// The members, by id.
    pub fn members(&self) -> &BTreeMap<MemberId, Member> {
        &self.members
    }

    /// What a member is to have.
    pub fn target(&self, member: &MemberId) -> Option<&Partitions> {
        self.targets.get(member)
    }

    /// The assignor that most members ask for.
    pub fn assignor(&self) -> Assignor {
        let members = self.members.values().map(|member| &member.metadata);
        preferred(members).unwrap_or(self.limits.default_assignor)
    }

    pub(in crate::group) fn is_vacant(&self) -> bool {
        self.members.is_empty() && !self.is_logged
    }

    pub(in crate::group) fn see_limits(&mut self, limits: GroupLimits) {
        self.limits = limits;
    }

    pub(in crate::group) fn see_topics(&mut self, topics: &Arc<Topics>) {
        self.topics = Arc::clone(topics);
    }

    /// Takes a record that the log holds: the only way in which anything logged ever changes.
    pub(in crate::group) fn apply(&mut self, record: ModernRecord) {
        self.is_logged = true;
        match record {
            ModernRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash })) => {
                (self.epoch, self.metadata_hash) = (epoch, metadata_hash);
            }
            ModernRecord::Epoch(None) => *self = Modern::new(self.limits, Arc::clone(&self.topics)),
            ModernRecord::TargetEpoch(epoch) => self.target_epoch = epoch.unwrap_or(0),
            ModernRecord::Target(id, Some(target)) => {
                self.targets.insert(id, target);
            }
            ModernRecord::Target(id, None) => {
                self.targets.remove(&id);
            }
            ModernRecord::Regex(text, Some(resolved)) => {
                self.regexes.insert(text, resolved);
            }
            ModernRecord::Regex(text, None) => {
                self.regexes.remove(&text);
            }
            ModernRecord::Member(id, Some(metadata)) => self.apply_metadata(id, metadata),
            ModernRecord::Member(id, None) => self.apply_removal(&id),
            ModernRecord::Current(id, current) => self.apply_current(id, current),
        }
    }

    fn apply_metadata(&mut self, id: MemberId, metadata: MemberMetadata) {
        if let Some(instance) = &metadata.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        match self.members.get_mut(&id) {
            Some(member) => member.metadata = metadata,
            None => {
                self.members.insert(id, Member::new(metadata));
            }
        }
    }

    fn apply_removal(&mut self, id: &MemberId) {
        self.apply_current(id.clone(), None);
        self.clocks.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.metadata.instance
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
    }

    fn apply_current(&mut self, id: MemberId, current: Option<member::CurrentAssignment>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let had = std::mem::replace(&mut member.current, current.unwrap_or_default());
        for partition in had.assigned.iter().chain(&had.revoking) {
            if self.owners.get(partition) == Some(&id) {
                self.owners.remove(partition);
            }
        }
        let has = &member.current;
        let is_kept =
            |partition| has.assigned.contains(partition) || has.revoking.contains(partition);
        self.releases += u64::from(!had.assigned.iter().chain(&had.revoking).all(is_kept));
        for partition in member.current.assigned.iter().chain(&member.current.revoking) {
            self.owners.insert(*partition, id.clone());
        }
    }

    /// Does what follows from a decision that is in the log now, but for its replies.
    pub(in crate::group) fn applied(
        &mut self,
        records: Vec<GroupRecord>,
        change: &Change,
        step: &mut Step,
    ) {
        for record in records {
            let GroupRecord::Modern(record) = record else { continue };
            let moved = match &record {
                ModernRecord::Current(id, Some(_)) => Some(id.clone()),
                _ => None,
            };
            self.apply(record);
            if let Some(id) = moved {
                self.time_revocation(&id, step);
            }
        }
        for id in &change.heard {
            self.restart_session(id, step);
        }
        for (id, wait) in &change.waits {
            self.time_wait(id, *wait, step);
        }
        self.topics_checked = change.topics_checked.or(self.topics_checked);
    }

    /// Gives every member that the log knew a full session to come back in.
    pub(in crate::group) fn loaded(&mut self, step: &mut Step) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in &ids {
            self.restart_session(id, step);
            self.time_revocation(id, step);
        }
    }

    fn restart_session(&mut self, id: &MemberId, step: &mut Step) {
        let Some(member) = self.members.get(id) else { return };
        let timeout = match &member.metadata.classic {
            Some(classic) => classic.session_timeout,
            None => self.limits.consumer_session_timeout,
        };
        let clocks = self.clocks.entry(id.clone()).or_default();
        clocks.session = Some(step.deadline_in(timeout));
    }

    /// A member that is to give something up has its rebalance timeout for it. One of the classic
    /// protocol is timed by its next join instead.
    fn time_revocation(&mut self, id: &MemberId, step: &mut Step) {
        let Some(member) = self.members.get(id).filter(|member| !member.is_classic()) else {
            return;
        };
        let timeout = member.metadata.rebalance_timeout;
        let gives_up = member.current.state == MemberState::UnrevokedPartitions;
        let deadline = gives_up.then(|| step.deadline_in(timeout));
        self.clocks.entry(id.clone()).or_default().revocation = deadline;
    }

    /// Members whose time is up.
    pub(in crate::group) fn expired(&self, now: Now) -> BTreeSet<MemberId> {
        let is_due = |clocks: &Clocks| clocks.next().is_some_and(|at| at <= now.moment);
        let due = self.clocks.iter().filter(|(_, clocks)| is_due(clocks));
        due.map(|(id, _)| id.clone()).collect()
    }

    /// When the next member's time is up.
    pub(in crate::group) fn next_deadline(&self) -> Option<Moment> {
        self.clocks.values().filter_map(|clocks| clocks.next()).min()
    }

    /// Everybody as they are once the decision is applied.
    fn altered<'a>(
        &'a self,
        altered: Altered<'a>,
    ) -> impl Iterator<Item = (&'a MemberId, &'a MemberMetadata)> + Clone {
        let updated_id = altered.updated.map(|(id, _)| id);
        let stays = move |id: &&MemberId| !altered.gone.contains(*id) && Some(*id) != updated_id;
        let others = self.members.iter().map(|(id, member)| (id, &member.metadata));
        others.filter(move |(id, _)| stays(id)).chain(altered.updated)
    }

    /// The topics that exist among those that a member reads.
    fn subscribed(
        &self,
        metadata: &MemberMetadata,
        regexes: &BTreeMap<Arc<str>, ResolvedRegex>,
    ) -> BTreeSet<StreamId> {
        let matched = metadata.regex.as_ref().and_then(|regex| regexes.get(regex));
        let names = metadata.topics.iter().chain(matched.iter().flat_map(|found| &found.topics));
        names.filter_map(|name| Some(self.topics.by_name(name)?.id)).collect()
    }
}

/// The assignor that most of these ask for, if any does; on a tie the one that stands first.
fn preferred<'a>(members: impl Iterator<Item = &'a MemberMetadata>) -> Option<Assignor> {
    let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
    for assignor in members.filter_map(|member| member.assignor) {
        *votes.entry(assignor).or_default() += 1;
    }
    let best = votes.into_iter().rev().max_by_key(|(_, count)| *count);
    best.map(|(assignor, _)| assignor)
}

/// The records, as the group logs them.
pub(in crate::group) fn logged(records: Vec<ModernRecord>) -> Vec<GroupRecord> {
    records.into_iter().map(GroupRecord::Modern).collect()
}
