//! ConsumerGroupHeartbeat: how a member joins, stays, learns what it has, and goes.
//!
//! A heartbeat goes through these steps, each of which may add records to the decision:
//!
//! 1. who it is: a new member, a known one in the epoch it names, or a static one that takes an
//!    earlier one's place;
//! 2. what it says of itself now;
//! 3. whether the group needs another epoch, because of that or because topics changed;
//! 4. whether the targets are older than the epoch, and then new ones;
//! 5. its next step towards its target.
//!
//! In a group at rest none adds anything, and the answer leaves at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::group::assignor::{Assignor, Partitions};
use crate::group::classic::Client;
use crate::group::error::GroupError;
use crate::group::identity::{InstanceId, MemberId, TEXT_BYTES_MAX};
use crate::group::modern::member::{
    AWAY_EPOCH, CurrentAssignment, JOINING_EPOCH, Member, MemberMetadata,
};
use crate::group::modern::reconcile::Aim;
use crate::group::modern::records::ModernRecord;
use crate::group::modern::regex;
use crate::group::modern::{Altered, Change, Decision, Modern, logged};
use crate::group::records::GROUP_IMAGE_BYTES_MAX;
use crate::group::state::{Now, Reply, RequestId};

pub use crate::group::modern::regex::InvalidRegex;

/// A member's heartbeat.
#[derive(Clone, Debug)]
pub enum ConsumerHeartbeat {
    /// It joins or stays.
    Stay(Box<Beat>),
    /// It goes.
    Leave(Going),
}

/// The heartbeat of a member that joins or stays. What is none has not changed.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Its id, which clients make themselves.
    pub member: MemberId,
    /// The epoch it is in; 0 to join, or to join anew.
    pub epoch: i32,
    /// Its static name, if it has one.
    pub instance: Option<InstanceId>,
    /// The rack it runs in.
    pub rack: Option<Arc<str>>,
    /// How long it may take to give up partitions.
    pub rebalance_timeout: Option<Duration>,
    /// The topics that it reads.
    pub topics: Option<BTreeSet<Arc<str>>>,
    /// A regular expression for more topics; the empty text takes it back.
    pub regex: Option<Arc<str>>,
    /// The assignor it would have.
    pub assignor: Option<Assignor>,
    /// What it owns.
    pub owned: Option<Partitions>,
    /// The client program.
    pub client: Client,
}

/// A member that goes.
#[derive(Clone, Debug)]
pub struct Going {
    /// Its id.
    pub member: MemberId,
    /// Its static name, if it has one.
    pub instance: Option<InstanceId>,
    /// Whether it comes back.
    pub returns: Returns,
}

/// Whether a member that goes means to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// No: what it has is free at once.
    Never,
    /// Yes, within its session: a static member that restarts keeps what it has.
    Soon,
}

/// A member's place after its heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub member: MemberId,
    /// Its epoch; when it has gone, the one that it went with.
    pub epoch: i32,
    /// How soon it is to be heard of again; none once it has gone.
    pub heartbeat_interval: Option<Duration>,
    /// What it has, if that changed or it asked for everything.
    pub assignment: Option<Partitions>,
}

/// Why a heartbeat is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatRefused {
    /// A reason that other requests have too.
    Group(GroupError),
    /// The group exists, and speaks another protocol.
    OtherProtocol,
    /// The group speaks the classic protocol, and cannot be taken over.
    NoUpgrade(NoUpgrade),
    /// No such member.
    UnknownMember,
    /// No member has this static name.
    UnknownInstance,
    /// The member is in another epoch: it gives everything up and joins anew.
    FencedEpoch {
        /// Which it named.
        received: i32,
        /// Which it is in.
        known: i32,
    },
    /// The static name is another member's, which has not gone.
    UnreleasedInstance(MemberId),
    /// The static name has become another member's.
    FencedInstance(MemberId),
    /// The group has as many members as it may.
    GroupFull {
        /// That many.
        members_max: usize,
    },
    /// The regular expression is none.
    InvalidRegex(InvalidRegex),
}

/// Why a classic group cannot become one of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoUpgrade {
    /// The broker's settings do not allow it.
    Disabled,
    /// Its protocol type is not `consumer`.
    OtherType,
    /// It has more members than a group of this kind may have.
    TooManyMembers,
    /// What a member said in the classic protocol cannot be read.
    Malformed,
    /// Its assignor keeps data of its own in the assignments, which would be lost.
    CustomAssignor,
}

impl From<GroupError> for HeartbeatRefused {
    fn from(error: GroupError) -> HeartbeatRefused {
        HeartbeatRefused::Group(error)
    }
}

/// Who a heartbeat is from, and what must be logged before anything else about it.
pub(super) struct Found {
    /// The member as it is, or as it would be if it had just come.
    pub(super) member: Member,
    /// The member whose place it takes.
    pub(super) replaces: Option<MemberId>,
    pub(super) records: Vec<ModernRecord>,
}

impl Modern {
    /// Decides what a heartbeat leads to.
    pub(in crate::group) fn beat(
        &self,
        request: RequestId,
        heartbeat: &ConsumerHeartbeat,
        now: Now,
    ) -> Decision {
        let decided = match heartbeat {
            ConsumerHeartbeat::Stay(beat) => self.stay(request, beat, now),
            ConsumerHeartbeat::Leave(going) => self.go(request, going, now),
        };
        decided.unwrap_or_else(|refused| Decision::reply(request, Reply::Beat(Err(refused))))
    }

    fn stay(
        &self,
        request: RequestId,
        beat: &Beat,
        now: Now,
    ) -> Result<Decision, HeartbeatRefused> {
        self.check_room(&beat.member)?;
        let found = self.find(beat)?;
        let metadata = updated_metadata(&found.member.metadata, beat)?;
        if let Some(text) = metadata.regex.as_ref().filter(|text| !self.regexes.contains_key(*text))
        {
            regex::check(text).map_err(HeartbeatRefused::InvalidRegex)?;
        }
        let before = found.member.current.assigned.clone();
        let moved = self.advance(&beat.member, found, metadata, beat.owned.as_ref(), now);
        let Moved { current, records, topics_checked } = moved;
        check_size(&records)?;
        let shows_all = beat.epoch == JOINING_EPOCH || asks_for_all(beat);
        let standing = Standing {
            member: beat.member.clone(),
            epoch: current.epoch,
            heartbeat_interval: Some(self.limits.consumer_heartbeat_interval),
            assignment: (shows_all || current.assigned != before).then_some(current.assigned),
        };
        let change = Change {
            replies: vec![(request, Reply::Beat(Ok(standing)))],
            heard: vec![beat.member.clone()],
            topics_checked: Some(topics_checked),
            ..Change::default()
        };
        Ok(Decision { records: logged(records), change })
    }

    pub(super) fn check_room(&self, member: &MemberId) -> Result<(), HeartbeatRefused> {
        let members_max = self.limits.consumer_members_max;
        if self.members.len() >= members_max && !self.members.contains_key(member) {
            return Err(HeartbeatRefused::GroupFull { members_max });
        }
        Ok(())
    }

    fn find(&self, beat: &Beat) -> Result<Found, HeartbeatRefused> {
        let id = &beat.member;
        let member = match (&beat.instance, beat.epoch) {
            (Some(instance), JOINING_EPOCH) => return self.find_static(id, instance, beat),
            (Some(instance), _) => self.static_member(id, instance)?,
            (None, JOINING_EPOCH) => match self.members.get(id) {
                Some(member) => member,
                None => return Ok(Found::new(beat)),
            },
            (None, _) => self.members.get(id).ok_or(HeartbeatRefused::UnknownMember)?,
        };
        check_epoch(member, beat)?;
        Ok(Found { member: member.clone(), replaces: None, records: Vec::new() })
    }

    /// A static member joins: for the first time, again, or in the place of one that went.
    fn find_static(
        &self,
        id: &MemberId,
        instance: &InstanceId,
        beat: &Beat,
    ) -> Result<Found, HeartbeatRefused> {
        let Some((old_id, old)) = self.holder(instance) else { return Ok(Found::new(beat)) };
        if !old.is_classic() && old.current.epoch != AWAY_EPOCH {
            return Err(HeartbeatRefused::UnreleasedInstance(old_id.clone()));
        }
        Ok(self.replace(old_id, old, id))
    }

    /// The new member has what the old one had, and its target, and no epoch yet.
    pub(super) fn replace(&self, old_id: &MemberId, old: &Member, new: &MemberId) -> Found {
        let current = CurrentAssignment {
            epoch: JOINING_EPOCH,
            previous_epoch: JOINING_EPOCH,
            ..old.current.clone()
        };
        let member = Member { metadata: old.metadata.clone(), current };
        let target = self.targets.get(old_id).cloned().unwrap_or_default();
        let mut records = removal(old_id).to_vec();
        records.extend([
            ModernRecord::Member(new.clone(), Some(member.metadata.clone())),
            ModernRecord::Target(new.clone(), Some(target)),
            ModernRecord::Current(new.clone(), Some(member.current.clone())),
        ]);
        let replaces = Some(old_id.clone());
        Found { member, replaces, records }
    }

    /// The member that a static name stands for.
    pub(super) fn holder(&self, instance: &InstanceId) -> Option<(&MemberId, &Member)> {
        self.members.get_key_value(self.statics.get(instance)?)
    }

    pub(super) fn static_member(
        &self,
        id: &MemberId,
        instance: &InstanceId,
    ) -> Result<&Member, HeartbeatRefused> {
        let (holder, member) = self.holder(instance).ok_or(HeartbeatRefused::UnknownInstance)?;
        if holder != id {
            return Err(HeartbeatRefused::FencedInstance(holder.clone()));
        }
        Ok(member)
    }

    /// Steps 3 to 5, for a member that was found and has said what it has to say.
    pub(super) fn advance(
        &self,
        id: &MemberId,
        found: Found,
        metadata: MemberMetadata,
        owned: Option<&Partitions>,
        now: Now,
    ) -> Moved {
        let Found { member, replaces, mut records } = found;
        let is_new = !self.members.contains_key(id) && replaces.is_none();
        if is_new || metadata != member.metadata {
            records.push(ModernRecord::Member(id.clone(), Some(metadata.clone())));
        }
        let has_resubscribed = (&metadata.topics, &metadata.regex)
            != (&member.metadata.topics, &member.metadata.regex);
        let gone: BTreeSet<MemberId> = replaces.iter().filter(|old| *old != id).cloned().collect();
        let altered = Altered { updated: Some((id, &metadata)), gone: &gone };
        let (mut epoch, mut regexes) = (self.epoch, None);
        if self.epoch == 0 || has_resubscribed || self.has_new_topics() {
            let refreshed = self.refresh(altered, now);
            records.extend(refreshed.records);
            let differs =
                refreshed.has_regex_changed || refreshed.metadata_hash != self.metadata_hash;
            if self.epoch == 0 || has_resubscribed || differs {
                let (next, record) = self.next_epoch(refreshed.metadata_hash);
                epoch = next;
                records.push(record);
            }
            regexes = Some(refreshed.regexes);
        }
        let regexes = regexes.as_ref().unwrap_or(&self.regexes);
        let (target_epoch, target) = if epoch > self.target_epoch {
            let mut targets = self.assign(altered, regexes, replaces.as_ref());
            let target = targets.get(id).cloned().unwrap_or_default();
            records.extend(targets.iter_mut().filter_map(|(member, target)| {
                let changed = self.targets.get(member) != Some(target);
                let target = std::mem::take(target);
                changed.then(|| ModernRecord::Target(member.clone(), Some(target)))
            }));
            records.push(ModernRecord::TargetEpoch(Some(epoch)));
            (epoch, target)
        } else {
            let target = self.targets.get(replaces.as_ref().unwrap_or(id));
            (self.target_epoch, target.cloned().unwrap_or_default())
        };
        let aim = Aim {
            target_epoch,
            target: &target,
            subscribed: &self.subscribed(&metadata, regexes),
            has_resubscribed,
            owned,
        };
        let current = self.reconcile(id, &member.current, replaces.as_ref(), &aim);
        if current != member.current {
            records.push(ModernRecord::Current(id.clone(), Some(current.clone())));
        }
        Moved { current, records, topics_checked: self.topics.version() }
    }

    fn reconcile(
        &self,
        id: &MemberId,
        current: &CurrentAssignment,
        replaces: Option<&MemberId>,
        aim: &Aim<'_>,
    ) -> CurrentAssignment {
        aim.next(current, |partition| {
            let owner = self.owners.get(partition);
            owner.is_some_and(|owner| owner != id && Some(owner) != replaces)
        })
    }

    fn go(
        &self,
        request: RequestId,
        going: &Going,
        now: Now,
    ) -> Result<Decision, HeartbeatRefused> {
        let Going { member: id, instance, returns } = going;
        let member = match instance {
            Some(instance) => self.static_member(id, instance)?,
            None => self.members.get(id).ok_or(HeartbeatRefused::UnknownMember)?,
        };
        let epoch = match returns {
            Returns::Never => -1,
            Returns::Soon => AWAY_EPOCH,
        };
        let standing =
            Standing { member: id.clone(), epoch, heartbeat_interval: None, assignment: None };
        let reply = (request, Reply::Beat(Ok(standing)));
        if let (Returns::Soon, Some(_)) = (returns, instance) {
            let current = CurrentAssignment {
                epoch: AWAY_EPOCH,
                revoking: Partitions::new(),
                ..member.current.clone()
            };
            let record = ModernRecord::Current(id.clone(), Some(current));
            let change = Change { replies: vec![reply], ..Change::default() };
            return Ok(Decision { records: logged(vec![record]), change });
        }
        let mut decision = self.fence(&BTreeSet::from([id.clone()]), now);
        decision.change.replies.push(reply);
        Ok(decision)
    }

    /// Takes members out. Where only classic ones are left, the group speaks classic again.
    pub(in crate::group) fn fence(&self, gone: &BTreeSet<MemberId>, now: Now) -> Decision {
        if let Some(decision) = self.downgrade_without(gone, now) {
            return decision;
        }
        let altered = Altered { updated: None, gone };
        let mut records: Vec<_> = gone.iter().flat_map(removal).collect();
        let refreshed = self.refresh(altered, now);
        records.extend(refreshed.records);
        records.push(self.next_epoch(refreshed.metadata_hash).1);
        let change = Change { topics_checked: Some(self.topics.version()), ..Change::default() };
        Decision { records: logged(records), change }
    }
}

/// Where a heartbeat has brought a member.
pub(super) struct Moved {
    pub(super) current: CurrentAssignment,
    pub(super) records: Vec<ModernRecord>,
    pub(super) topics_checked: u64,
}

impl Found {
    fn new(beat: &Beat) -> Found {
        let metadata = MemberMetadata {
            instance: beat.instance.clone(),
            rack: None,
            client: beat.client.clone(),
            rebalance_timeout: Duration::ZERO,
            topics: BTreeSet::new(),
            regex: None,
            assignor: None,
            classic: None,
        };
        Found { member: Member::new(metadata), replaces: None, records: Vec::new() }
    }
}

/// The records that take a member back.
pub(super) fn removal(id: &MemberId) -> [ModernRecord; 3] {
    [
        ModernRecord::Current(id.clone(), None),
        ModernRecord::Target(id.clone(), None),
        ModernRecord::Member(id.clone(), None),
    ]
}

fn asks_for_all(beat: &Beat) -> bool {
    let names_topics = beat.topics.is_some() || beat.regex.is_some();
    beat.rebalance_timeout.is_some() && names_topics && beat.owned.is_some()
}

/// A member that names the epoch before its own has not got the last answer. It is believed if all
/// that it owns is still its own.
fn check_epoch(member: &Member, beat: &Beat) -> Result<(), HeartbeatRefused> {
    let CurrentAssignment { epoch: known, previous_epoch, assigned, .. } = &member.current;
    let owns_its_own = beat.owned.as_ref().is_some_and(|owned| owned.is_subset(assigned));
    let missed_one = beat.epoch == *previous_epoch && owns_its_own;
    match beat.epoch {
        JOINING_EPOCH => Ok(()),
        received if received == *known => Ok(()),
        received if received < *known && missed_one => Ok(()),
        received => Err(HeartbeatRefused::FencedEpoch { received, known: *known }),
    }
}

fn updated_metadata(
    known: &MemberMetadata,
    beat: &Beat,
) -> Result<MemberMetadata, HeartbeatRefused> {
    let instance = beat.instance.as_ref().map_or("", InstanceId::as_str);
    let keys = [beat.member.as_str(), instance, beat.regex.as_deref().unwrap_or_default()];
    // Kafka's record formats cannot hold longer ones.
    if keys.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(GroupError::TooLarge.into());
    }
    Ok(MemberMetadata {
        instance: beat.instance.clone().or_else(|| known.instance.clone()),
        rack: beat.rack.clone().or_else(|| known.rack.clone()),
        client: beat.client.clone(),
        rebalance_timeout: beat.rebalance_timeout.unwrap_or(known.rebalance_timeout),
        topics: beat.topics.clone().unwrap_or_else(|| known.topics.clone()),
        regex: match &beat.regex {
            Some(text) => Some(Arc::clone(text)).filter(|text| !text.is_empty()),
            None => known.regex.clone(),
        },
        assignor: beat.assignor.or(known.assignor),
        classic: None,
    })
}

pub(super) fn check_size(records: &[ModernRecord]) -> Result<(), HeartbeatRefused> {
    let bytes: usize = records.iter().map(ModernRecord::stored_bytes).sum();
    if bytes > GROUP_IMAGE_BYTES_MAX {
        return Err(GroupError::TooLarge.into());
    }
    Ok(())
}
