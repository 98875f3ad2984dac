//! SyncGroup: the leader's assignments go to the log, then to everybody.

use std::collections::BTreeMap;

use bytes::Bytes;
use tracing::warn;

use crate::group::classic::{Classic, Phase, Sync, Synced};
use crate::group::error::GroupError;
use crate::group::identity::MemberId;
use crate::group::records::GROUP_IMAGE_BYTES_MAX;
use crate::group::state::{NotWritten, Reply, RequestId, Step, Then};

/// A generation's assignments on their way to the log.
#[derive(Clone, Debug)]
pub struct Assignments {
    generation: i32,
    /// Their record's number among those about the group's members. A group that was deleted and
    /// made again counts its generations anew, but not these.
    image: u64,
    by_member: BTreeMap<MemberId, Bytes>,
}

impl Classic {
    pub(crate) fn sync(&mut self, request: RequestId, sync: Sync, step: &mut Step) {
        let id = match self.check_sync(&sync) {
            Ok(id) => id,
            Err(error) => return step.reply(request, Reply::Sync(Err(error))),
        };
        match self.phase {
            Phase::Empty | Phase::Preparing { .. } => {
                step.reply(request, Reply::Sync(Err(GroupError::RebalanceInProgress)));
            }
            Phase::Completing { storing, .. } => {
                self.hold_sync(&id, request, step);
                if !storing && self.leader.as_ref() == Some(&id) {
                    self.store(sync.assignments, step);
                }
            }
            Phase::Stable { .. } => {
                let member = self.members.get_mut(&id).expect("the claim was checked");
                member.has_synced = true;
                let assignment = member.assignment.clone();
                self.restart_session(&id, step);
                self.note_all_synced();
                step.reply(request, Reply::Sync(Ok(self.synced(assignment))));
            }
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<MemberId, GroupError> {
        let id = self.check_member(&sync.claim)?;
        if sync.claim.generation != Some(self.generation) {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |said: &Option<_>, is: &Option<_>| said.is_some() && said != is;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        Ok(id)
    }

    fn hold_sync(&mut self, id: &MemberId, request: RequestId, step: &mut Step) {
        let member = self.members.get_mut(id).expect("the claim was checked");
        member.has_synced = true;
        if let Some(earlier) = member.syncing.replace(request) {
            step.reply(earlier, Reply::Sync(Err(GroupError::RebalanceInProgress)));
        }
    }

    /// Decides the assignments: members that the leader left out get an empty one, and what it
    /// gave to strangers is dropped.
    fn store(&mut self, mut assigned: BTreeMap<MemberId, Bytes>, step: &mut Step) {
        let Phase::Completing { sync_deadline, .. } = self.phase else { return };
        let mut by_member = BTreeMap::new();
        for id in self.members.keys() {
            // Copied, since a slice would keep the leader's whole request in memory.
            let assignment = assigned.remove(id).unwrap_or_default();
            by_member.insert(id.clone(), Bytes::copy_from_slice(&assignment));
        }
        if !assigned.is_empty() {
            warn!(strangers = assigned.len(), "group leader assigned to members that do not exist");
        }
        let mut image = self.image(step.now.date);
        for member in &mut image.members {
            member.assignment = by_member.get(&member.member).cloned().unwrap_or_default();
        }
        if image.stored_bytes() > GROUP_IMAGE_BYTES_MAX {
            self.fail_syncs(GroupError::TooLarge, step);
            return self.prepare_rebalance(step);
        }
        self.phase = Phase::Completing { sync_deadline, storing: true };
        let (generation, image_number) = (self.generation, self.images + 1);
        let assignments = Assignments { generation, image: image_number, by_member };
        self.log(image, Then::Assign(assignments), step);
    }

    /// The log has answered. If the group has moved on meanwhile, the outcome no longer matters.
    pub(crate) fn assigned(
        &mut self,
        assignments: Assignments,
        outcome: Result<(), NotWritten>,
        step: &mut Step,
    ) {
        let Phase::Completing { sync_deadline, .. } = self.phase else { return };
        if (assignments.generation, assignments.image) != (self.generation, self.images) {
            return;
        }
        if let Err(NotWritten) = outcome {
            self.fail_syncs(GroupError::NotAvailable, step);
            return self.prepare_rebalance(step);
        }
        for (id, assignment) in assignments.by_member {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.enter(Phase::Stable { sync_deadline: Some(sync_deadline) }, step);
        self.answer_syncs(step);
        self.note_all_synced();
    }

    fn answer_syncs(&mut self, step: &mut Step) {
        for id in self.members_where(|member| member.syncing.is_some()) {
            let member = self.members.get_mut(&id).expect("the id was just read");
            let assignment = member.assignment.clone();
            let request = member.syncing.take().expect("it was just seen");
            self.restart_session(&id, step);
            step.reply(request, Reply::Sync(Ok(self.synced(assignment))));
        }
    }

    fn note_all_synced(&mut self) {
        if self.members.values().all(|member| member.has_synced) {
            self.phase = Phase::Stable { sync_deadline: None };
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }
}
