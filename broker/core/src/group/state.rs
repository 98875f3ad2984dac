//! One group as a pure state machine: an [`Event`] goes in, [`Effects`] come out.
//!
//! Nothing here does I/O, asks for the time or waits. An event that changes what a restart must
//! know only **decides**: it returns a [`Write`] whose records the coordinator appends to the log,
//! and the change is **applied** when the coordinator comes back with [`Event::Written`]. Between
//! the two other events may come in, so every `Written` looks again at what it finds.
//!
//! ```text
//!   step(Commit)  ──> Write { records, then }      the table still shows the old offset
//!        … the log places the records …
//!   step(Written) ──> reply to the commit          the table shows the new offset
//! ```
//!
//! A restart calls [`Group::replay`] with the same records in the same order and then steps
//! [`Event::Loaded`], which starts the members' session clocks.
//!
//! A change of a group of the consumer protocol is reckoned with the group as a whole, so only one
//! is on its way to the log at a time; requests that could change it wait behind it in the group.
//!
//! Every request that comes in with a [`RequestId`] is answered exactly once, in this step or a
//! later one. Read [`super::classic`] and [`super::modern`] for who is a member and when.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir_model::ids::{StreamId, StreamName};
use weir_model::time::{Moment, Timestamp};

use crate::group::administer::Removal;
use crate::group::assignor::Assignor;
use crate::group::classic::{
    Assignments, Classic, Join, Joined, Leaving, Replacement, Sync, Synced,
};
use crate::group::error::{CommitError, DeleteOffsetError, GroupError, JoinRefused};
use crate::group::identity::{Claim, MemberId};
use crate::group::membership::Membership;
use crate::group::modern::heartbeat::{ConsumerHeartbeat, HeartbeatRefused, Standing};
use crate::group::modern::{Change, Progress};
use crate::group::offsets::{CommittedOffset, Offsets, PartitionName};
use crate::group::records::GroupRecord;
use crate::group::topics::Topics;
use crate::settings::broker_settings::{BrokerSettings, MigrationPolicy};
use crate::stream::config::Overrides;

/// The bounds of a group: those that all groups of a broker share, but for what it sets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Most members of one group (Kafka's `group.max.size`).
    pub members_max: usize,
    /// Shortest session timeout that a member may ask for (`group.min.session.timeout.ms`).
    pub session_timeout_min: Duration,
    /// Longest session timeout that a member may ask for (`group.max.session.timeout.ms`).
    pub session_timeout_max: Duration,
    /// How long an empty group waits for more members before its first generation
    /// (`group.initial.rebalance.delay.ms`). Zero: a first poll has its records at once.
    pub initial_rebalance_delay: Duration,
    /// Most members of one group of the consumer protocol (`group.consumer.max.size`).
    pub consumer_members_max: usize,
    /// How long a member of the consumer protocol may be silent
    /// (`group.consumer.session.timeout.ms`).
    pub consumer_session_timeout: Duration,
    /// How often such a member is to be heard of (`group.consumer.heartbeat.interval.ms`).
    pub consumer_heartbeat_interval: Duration,
    /// The assignor of groups whose members ask for none (the first of
    /// `group.consumer.assignors`).
    pub default_assignor: Assignor,
    /// Which way a group may change its protocol while it has members
    /// (`group.consumer.migration.policy`).
    pub migration: MigrationPolicy,
    /// Longest text beside an offset (`offset.metadata.max.bytes`).
    pub metadata_bytes_max: usize,
    /// How long offsets outlive their group's last member (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
}

impl Default for GroupLimits {
    /// What holds when nobody set anything.
    fn default() -> GroupLimits {
        GroupLimits::of(&BrokerSettings::default())
    }
}

impl GroupLimits {
    /// What the broker's settings say.
    pub fn of(settings: &BrokerSettings) -> GroupLimits {
        let (classic, consumer) = (&settings.groups, &settings.consumer_groups);
        let assignor = consumer.assignors.first().and_then(|name| Assignor::from_name(name));
        GroupLimits {
            members_max: classic.members_max,
            session_timeout_min: classic.session_timeout_min,
            session_timeout_max: classic.session_timeout_max,
            initial_rebalance_delay: classic.initial_rebalance_delay,
            consumer_members_max: consumer.members_max,
            consumer_session_timeout: consumer.session_timeout,
            consumer_heartbeat_interval: consumer.heartbeat_interval,
            default_assignor: assignor.unwrap_or(Assignor::DEFAULT),
            migration: consumer.migration,
            metadata_bytes_max: settings.offsets.metadata_bytes_max,
            offsets_retention: settings.offsets.retention,
        }
    }

    /// These bounds for a group with settings of its own, each of which is legal.
    pub fn with_own(self, own: &Overrides) -> GroupLimits {
        let millis = |name: &str| {
            let millis = own.get(name)?.trim().parse().ok()?;
            Some(Duration::from_millis(millis))
        };
        GroupLimits {
            consumer_session_timeout: millis("consumer.session.timeout.ms")
                .unwrap_or(self.consumer_session_timeout),
            consumer_heartbeat_interval: millis("consumer.heartbeat.interval.ms")
                .unwrap_or(self.consumer_heartbeat_interval),
            ..self
        }
    }
}

/// The time of a step: a moment for deadlines, a date for what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub moment: Moment,
    /// For records.
    pub date: Timestamp,
}

/// Names a request until it is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Something that happened to a group.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client wants to be a member of the next generation.
    Join(RequestId, Join),
    /// A member asks for its assignment; the leader brings everybody's.
    Sync(RequestId, Sync),
    /// A member says that it lives.
    Heartbeat(RequestId, Claim),
    /// Members go, by their own wish or an administrator's.
    Leave(RequestId, Vec<Leaving>),
    /// A member of the consumer protocol joins, stays or goes.
    Beat(RequestId, ConsumerHeartbeat),
    /// Offsets are to be kept.
    Commit(RequestId, Commit),
    /// A stream is being deleted, and its offsets with it.
    ForgetStream(RequestId, StreamName, StreamId),
    /// An administrator deletes the group.
    Delete(RequestId),
    /// An administrator deletes offsets.
    DeleteOffsets(RequestId, Vec<PartitionName>),
    /// It is time to look at the retention of offsets.
    Expire,
    /// The log has answered an earlier [`Write`].
    Written(Then, Result<(), NotWritten>),
    /// Time went by; deadlines may have passed.
    TimePassed,
    /// The group was rebuilt from the log.
    Loaded,
}

/// Offsets that a client wants kept.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Who commits.
    pub claim: Claim,
    /// What, in the client's order.
    pub offsets: Vec<(PartitionName, CommittedOffset)>,
}

/// The log did not take a write, or nobody knows whether it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWritten;

/// What a group wants done after a step.
#[derive(Debug, Default)]
pub struct Effects {
    /// Answers to requests, of this step's event or of earlier ones.
    pub replies: Vec<(RequestId, Reply)>,
    /// Records to be logged, in this order.
    pub writes: Vec<Write>,
    /// The group wants [`Event::TimePassed`] no later than this.
    pub wake_by: Option<Moment>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To [`Event::Join`].
    Join(Result<Joined, JoinRefused>),
    /// To [`Event::Sync`].
    Sync(Result<Synced, GroupError>),
    /// To [`Event::Heartbeat`].
    Heartbeat(Result<(), GroupError>),
    /// To [`Event::Leave`], in the order of the request.
    Leave(Vec<Result<(), GroupError>>),
    /// To [`Event::Beat`].
    Beat(Result<Standing, HeartbeatRefused>),
    /// To [`Event::Commit`], in the order of the request.
    Commit(Result<Vec<Result<(), CommitError>>, GroupError>),
    /// To [`Event::ForgetStream`].
    Forgotten(Result<(), GroupError>),
    /// To [`Event::Delete`].
    Deleted(Result<(), GroupError>),
    /// To [`Event::DeleteOffsets`], in the order of the request.
    OffsetsDeleted(Result<Vec<Result<(), DeleteOffsetError>>, GroupError>),
}

/// Records to be logged together, and what they are for.
#[derive(Clone, Debug)]
pub struct Write {
    /// The records, at least one.
    pub records: Vec<GroupRecord>,
    /// Comes back in [`Event::Written`].
    pub then: Then,
}

/// What a write was for, so that its outcome can be applied.
#[derive(Clone, Debug)]
pub enum Then {
    /// The leader's assignments for a generation.
    Assign(Assignments),
    /// A static member came back under a new id; its join waits.
    Replace(Replacement),
    /// The last member went. Nobody waits.
    Emptied,
    /// A change of a group of the consumer protocol, or of a group's protocol.
    Change(Box<Change>, Vec<GroupRecord>),
    /// Offsets; the request, the answer per partition, and what to apply.
    Commit {
        /// Who waits.
        request: RequestId,
        /// The answer if the write succeeds.
        results: Vec<Result<(), CommitError>>,
        /// What the table takes.
        offsets: Vec<(PartitionName, CommittedOffset)>,
    },
    /// Tombstones for a deleted stream's offsets.
    Forget {
        /// Who waits.
        request: RequestId,
        /// The stream.
        stream: StreamId,
        /// What the table loses.
        partitions: Vec<PartitionName>,
    },
    /// Tombstones for offsets, and maybe for the group.
    Remove(Removal),
}

/// How long after a failed write a group tries again what nobody asks for.
pub(crate) const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A step in the making: when it happens, and what it has led to so far.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) now: Now,
    pub(crate) effects: Effects,
}

impl Step {
    pub(crate) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.effects.replies.push((request, reply));
    }

    pub(crate) fn write(&mut self, records: Vec<GroupRecord>, then: Then) {
        self.effects.writes.push(Write { records, then });
    }

    /// The moment this long after the step, at which the group is to be woken.
    pub(crate) fn deadline_in(&mut self, delay: Duration) -> Moment {
        let deadline = self.now.moment.plus(delay);
        self.wake_by(deadline);
        deadline
    }

    pub(crate) fn wake_by(&mut self, deadline: Moment) {
        let earliest = self.effects.wake_by.map_or(deadline, |other| other.min(deadline));
        self.effects.wake_by = Some(earliest);
    }
}

/// A group: who its members are and how far it has read.
#[derive(Debug)]
pub struct Group {
    pub(super) limits: GroupLimits,
    pub(super) membership: Membership,
    pub(super) offsets: Offsets,
    pub(super) topics: Arc<Topics>,
    /// It had offsets. When they are gone tools still list it until retention is looked at.
    pub(super) lingers: bool,
    /// A change that others must not be reckoned beside is on its way to the log.
    pub(super) is_changing: bool,
    /// What came meanwhile.
    held: VecDeque<Event>,
}

impl Group {
    /// A group that nobody has joined and that has no offsets.
    pub fn new(limits: GroupLimits) -> Group {
        Group {
            limits,
            membership: Membership::Classic(Classic::new(limits)),
            offsets: Offsets::default(),
            topics: Arc::default(),
            lingers: false,
            is_changing: false,
            held: VecDeque::new(),
        }
    }

    /// Tells the group which topics there are now; before a step of a group that
    /// [`Group::reads_topics`], and of every other that may become one.
    pub fn see_topics(&mut self, topics: &Arc<Topics>) {
        self.topics = Arc::clone(topics);
        if let Membership::Modern(modern) = &mut self.membership {
            modern.see_topics(topics);
        }
    }

    /// Tells the group what bounds it has now: a group's own settings change while it lives.
    pub fn see_limits(&mut self, limits: GroupLimits) {
        self.limits = limits;
        if let Membership::Modern(modern) = &mut self.membership {
            modern.see_limits(limits);
        }
    }

    /// Whether a step depends on the topics that there are.
    pub fn reads_topics(&self) -> bool {
        matches!(self.membership, Membership::Modern(_))
    }

    /// Takes one event and says what is to be done about it.
    pub fn step(&mut self, event: Event, now: Now) -> Effects {
        let mut step = Step { now, effects: Effects::default() };
        self.take(event, &mut step);
        while !self.is_changing {
            let Some(event) = self.held.pop_front() else { break };
            self.take(event, &mut step);
        }
        step.effects
    }

    /// Sends away those whose requests were held.
    pub(super) fn refuse_held(&mut self, step: &mut Step) {
        let error = GroupError::NotAvailable;
        for event in std::mem::take(&mut self.held) {
            match event {
                Event::Join(request, join) => step.reply(request, refuse_join(error, join.member)),
                Event::Sync(request, _) => step.reply(request, Reply::Sync(Err(error))),
                Event::Heartbeat(request, _) => step.reply(request, Reply::Heartbeat(Err(error))),
                Event::Leave(request, leaving) => {
                    step.reply(request, Reply::Leave(vec![Err(error); leaving.len()]));
                }
                Event::Beat(request, _) => step.reply(request, Reply::Beat(Err(error.into()))),
                Event::Delete(request) => step.reply(request, Reply::Deleted(Err(error))),
                other => unreachable!("only requests about members are held, not {other:?}"),
            }
        }
    }

    /// Has this event come first once the change that is on its way is over.
    pub(super) fn hold_first(&mut self, event: Event) {
        self.held.push_front(event);
    }

    fn take(&mut self, event: Event, step: &mut Step) {
        match event {
            Event::Join(..)
            | Event::Sync(..)
            | Event::Heartbeat(..)
            | Event::Leave(..)
            | Event::Beat(..)
            | Event::Delete(_)
                if self.is_changing =>
            {
                self.held.push_back(event);
            }
            Event::Join(request, join) => self.join(request, join, step),
            Event::Sync(request, sync) => self.sync(request, sync, step),
            Event::Heartbeat(request, claim) => self.heartbeat(request, &claim, step),
            Event::Leave(request, leaving) => self.leave(request, &leaving, step),
            Event::Beat(request, beat) => self.beat(request, &beat, step),
            Event::Commit(request, commit) => self.commit(request, commit, step),
            Event::ForgetStream(request, name, id) => self.forget(request, &name, id, step),
            Event::Delete(request) => self.delete(request, step),
            Event::DeleteOffsets(request, wanted) => self.delete_offsets(request, wanted, step),
            Event::Expire => self.expire(step),
            Event::Written(then, outcome) => self.written(then, outcome, step),
            Event::TimePassed => self.time_passed(step),
            Event::Loaded => self.membership.loaded(step),
        }
    }

    /// Takes a record that the log holds. Only while the group is rebuilt, in log order.
    pub fn replay(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::Members(image) => self.replay_members(image),
            GroupRecord::Modern(record) => self.replay_modern(record),
            GroupRecord::Offset(partition, committed) => self.offsets.apply(partition, committed),
        }
    }

    /// What the group has committed.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Who the members are.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// How far a group of the consumer protocol is; of others nothing is told.
    pub(crate) fn progress(&self) -> Progress {
        match &self.membership {
            Membership::Modern(modern) => modern.progress(),
            Membership::Classic(_) => Progress::default(),
        }
    }

    /// Forgets offsets that `lives` does not accept. Only while the group is rebuilt.
    pub fn retain_offsets(&mut self, lives: impl FnMut(&StreamName, &CommittedOffset) -> bool) {
        self.offsets.retain(lives);
    }

    /// Whether nothing would be lost with the group: no member, no offset, no trace in the log.
    pub fn is_vacant(&self) -> bool {
        self.membership.is_vacant() && !self.is_changing && self.offsets.is_empty() && !self.lingers
    }

    fn commit(&mut self, request: RequestId, commit: Commit, step: &mut Step) {
        if let Err(error) = self.membership.check_commit(&commit.claim, step) {
            return step.reply(request, Reply::Commit(Err(error)));
        }
        let mut results = Vec::with_capacity(commit.offsets.len());
        let mut offsets = Vec::with_capacity(commit.offsets.len());
        for (partition, committed) in commit.offsets {
            if committed.metadata.len() > self.limits.metadata_bytes_max {
                results.push(Err(CommitError::MetadataTooLarge));
            } else {
                results.push(Ok(()));
                offsets.push((partition, committed));
            }
        }
        if offsets.is_empty() {
            return step.reply(request, Reply::Commit(Ok(results)));
        }
        let record = |(partition, committed): &(PartitionName, CommittedOffset)| {
            GroupRecord::Offset(partition.clone(), Some(committed.clone()))
        };
        let records = offsets.iter().map(record).collect();
        for (partition, committed) in &offsets {
            self.offsets.submitted(partition, committed.stream);
        }
        step.write(records, Then::Commit { request, results, offsets });
    }

    /// Commits on their way to the log are covered too: their tombstones stand behind them.
    fn forget(&mut self, request: RequestId, name: &StreamName, id: StreamId, step: &mut Step) {
        let partitions = self.offsets.partitions_of(name, id);
        if partitions.is_empty() {
            return step.reply(request, Reply::Forgotten(Ok(())));
        }
        let tombstone = |partition: &PartitionName| GroupRecord::Offset(partition.clone(), None);
        let records = partitions.iter().map(tombstone).collect();
        step.write(records, Then::Forget { request, stream: id, partitions });
    }

    fn written(&mut self, then: Then, outcome: Result<(), NotWritten>, step: &mut Step) {
        match then {
            Then::Assign(assignments) => {
                if let Membership::Classic(classic) = &mut self.membership {
                    classic.assigned(assignments, outcome, step);
                }
            }
            Then::Replace(replacement) => {
                if let Membership::Classic(classic) = &mut self.membership {
                    classic.replaced(replacement, outcome, step);
                }
            }
            Then::Change(change, records) => self.changed(*change, records, outcome, step),
            // The members are gone whatever the log says; a restart that finds them in it again
            // expires them by their session timeouts.
            Then::Emptied => {}
            Then::Commit { request, results, offsets } => {
                for (partition, committed) in offsets {
                    self.offsets.answered(&partition);
                    if outcome.is_ok() {
                        self.lingers = true;
                        self.offsets.apply(partition, Some(committed));
                    }
                }
                let reply =
                    outcome.map(|()| results).map_err(|NotWritten| GroupError::NotAvailable);
                step.reply(request, Reply::Commit(reply));
            }
            Then::Remove(removal) => self.removed(removal, outcome, step),
            Then::Forget { request, stream, partitions } => {
                if outcome.is_ok() {
                    for partition in partitions {
                        self.offsets.forget(partition, stream);
                    }
                }
                let reply = outcome.map_err(|NotWritten| GroupError::NotAvailable);
                step.reply(request, Reply::Forgotten(reply));
            }
        }
    }
}

/// Refuses a join.
pub(crate) fn refuse_join(error: GroupError, member: Option<MemberId>) -> Reply {
    Reply::Join(Err(JoinRefused { error, member }))
}
