//! What administrators and time do to a group: it is described, deleted, and its offsets forgotten.
//!
//! Offsets are forgotten `offsets.retention.minutes` after their group was left by its last member.
//! Where there never was one, or where members live on without reading a topic any more, the time
//! counts from the last commit. An old client may have asked for an expiry time of its own.
//!
//! A group whose last offset is gone and which has no members goes too, with a tombstone if the
//! log knows of it, but only when retention is looked at: until then tools still list it.

use weir_model::time::Timestamp;

use crate::group::classic::Classic;
use crate::group::description::{Description, GroupState, ListedGroup};
use crate::group::error::{DeleteOffsetError, GroupError};
use crate::group::identity::GroupId;
use crate::group::membership::Membership;
use crate::group::modern::logged;
use crate::group::offsets::{CommittedOffset, PartitionName};
use crate::group::records::GroupRecord;
use crate::group::state::{Group, NotWritten, Reply, RequestId, Step, Then};

/// Most tombstones in one write, so that their batch stays small whatever the names' lengths.
const TOMBSTONES_PER_WRITE_MAX: usize = 4_096;

/// From when the retention of a group's offsets is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetainedFrom {
    /// All of them from this time.
    Since(Timestamp),
    /// Each from its commit.
    Commit,
    /// They are in use.
    Never,
}

/// Offsets, and maybe their group, on the way out.
#[derive(Clone, Debug)]
pub struct Removal {
    /// What the table of offsets loses.
    partitions: Vec<PartitionName>,
    /// What becomes of the members' protocol.
    members: Members,
    /// Who waits, and for what.
    answer: Option<(RequestId, Reply)>,
}

/// Whether the group goes with its offsets, and what the log has to forget then.
#[derive(Clone, Copy, Debug)]
enum Members {
    /// The group stays.
    Stay,
    /// A classic group goes, of which the log was given this many records.
    Classic(u64),
    /// A group of the consumer protocol goes.
    Modern,
}

impl Group {
    /// How the group appears in a list.
    pub fn listed(&self, id: &GroupId) -> ListedGroup {
        ListedGroup {
            id: id.clone(),
            group_type: self.membership.group_type(),
            state: self.membership.state(),
            protocol_type: self.membership.protocol_type(),
        }
    }

    /// The group in full.
    pub fn describe(&self) -> Description {
        self.membership.describe()
    }

    pub(crate) fn delete(&mut self, request: RequestId, step: &mut Step) {
        if self.membership.state() != GroupState::Empty {
            return step.reply(request, Reply::Deleted(Err(GroupError::NonEmptyGroup)));
        }
        let partitions = self.offsets.partitions();
        self.remove_group(partitions, Some((request, Reply::Deleted(Ok(())))), step);
    }

    pub(crate) fn delete_offsets(
        &mut self,
        request: RequestId,
        wanted: Vec<PartitionName>,
        step: &mut Step,
    ) {
        let is_empty = self.membership.state() == GroupState::Empty;
        if !is_empty && !self.membership.is_consumer_group() {
            return step.reply(request, Reply::OffsetsDeleted(Err(GroupError::NonEmptyGroup)));
        }
        let subscriptions = self.membership.subscriptions();
        let mut results = Vec::with_capacity(wanted.len());
        let mut partitions = Vec::new();
        for partition in wanted {
            if subscriptions.may_include(&partition.0) {
                results.push(Err(DeleteOffsetError::Subscribed));
                continue;
            }
            results.push(Ok(()));
            if self.offsets.knows(&partition) {
                partitions.push(partition);
            }
        }
        let answer = Some((request, Reply::OffsetsDeleted(Ok(results))));
        self.remove(Removal { partitions, members: Members::Stay, answer }, Vec::new(), step);
    }

    /// Forgets what is due, and the group with its last offset.
    pub(crate) fn expire(&mut self, step: &mut Step) {
        let due = self.due_offsets(step.now.date);
        let is_last = self.offsets.partitions().len() == due.len();
        if is_last && self.membership.is_deserted() && !self.is_changing {
            self.remove_group(due, None, step);
        } else if !due.is_empty() {
            self.remove(
                Removal { partitions: due, members: Members::Stay, answer: None },
                Vec::new(),
                step,
            );
        }
    }

    fn due_offsets(&self, date: Timestamp) -> Vec<PartitionName> {
        let retention_ms = self.limits.offsets_retention.as_millis();
        let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
        let retained_from = self.membership.offsets_retained_from();
        let is_due = |committed: &CommittedOffset| {
            let from = match retained_from {
                RetainedFrom::Never => return false,
                RetainedFrom::Since(since) => since,
                RetainedFrom::Commit => committed.committed_at,
            };
            match committed.expires_at {
                Some(at) => date >= at,
                None => date.millis_since(from) >= retention_ms,
            }
        };
        let mut due: Vec<PartitionName> = Vec::new();
        for (stream, partition, committed) in self.offsets.iter() {
            let name = (stream.clone(), partition);
            if is_due(committed) && !self.offsets.is_submitted(&name) {
                due.push(name);
            }
        }
        if !due.is_empty() {
            let subscriptions = self.membership.subscriptions();
            due.retain(|(stream, _)| !subscriptions.may_include(stream));
        }
        due
    }

    /// Deletes the group: whoever joins from now on finds a new one.
    fn remove_group(
        &mut self,
        partitions: Vec<PartitionName>,
        answer: Option<(RequestId, Reply)>,
        step: &mut Step,
    ) {
        self.lingers = false;
        let (members, tombstones) = match &mut self.membership {
            Membership::Classic(classic) => match classic.delete() {
                Some(images) => (Members::Classic(images), vec![GroupRecord::Members(None)]),
                None => (Members::Stay, Vec::new()),
            },
            Membership::Modern(modern) => {
                self.is_changing = true;
                (Members::Modern, logged(modern.tombstones()))
            }
        };
        self.remove(Removal { partitions, members, answer }, tombstones, step);
    }

    /// Writes the tombstones of a removal, in as many batches as they need. When one fails, those
    /// behind it do too, so the last one's outcome is that of all.
    fn remove(&mut self, mut removal: Removal, last: Vec<GroupRecord>, step: &mut Step) {
        let tombstone = |partition: &PartitionName| GroupRecord::Offset(partition.clone(), None);
        while removal.partitions.len() > TOMBSTONES_PER_WRITE_MAX {
            let partitions = removal.partitions.split_off(TOMBSTONES_PER_WRITE_MAX);
            let partitions = std::mem::replace(&mut removal.partitions, partitions);
            let records = partitions.iter().map(tombstone).collect();
            step.write(
                records,
                Then::Remove(Removal { partitions, members: Members::Stay, answer: None }),
            );
        }
        let mut records: Vec<_> = removal.partitions.iter().map(tombstone).collect();
        records.extend(last);
        if !records.is_empty() {
            step.write(records, Then::Remove(removal));
        } else if let Some((request, reply)) = removal.answer {
            step.reply(request, reply);
        }
    }

    pub(crate) fn removed(
        &mut self,
        removal: Removal,
        outcome: Result<(), NotWritten>,
        step: &mut Step,
    ) {
        if outcome.is_ok() {
            for partition in removal.partitions {
                self.offsets.apply(partition, None);
            }
            match (removal.members, &mut self.membership) {
                (Members::Classic(images), Membership::Classic(classic)) => classic.deleted(images),
                (Members::Modern, membership) => {
                    *membership = Membership::Classic(Classic::new(self.limits));
                }
                (Members::Stay | Members::Classic(_), _) => {}
            }
        }
        if let Members::Modern = removal.members {
            self.is_changing = false;
        }
        let Some((request, reply)) = removal.answer else { return };
        let reply = match (outcome, reply) {
            (Ok(()), reply) => reply,
            (Err(NotWritten), Reply::OffsetsDeleted(_)) => {
                Reply::OffsetsDeleted(Err(GroupError::NotAvailable))
            }
            (Err(NotWritten), _) => Reply::Deleted(Err(GroupError::NotAvailable)),
        };
        step.reply(request, reply);
    }
}
