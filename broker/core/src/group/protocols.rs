//! Each request to the protocol that the group's members speak, and from one protocol to the other.
//!
//! ```text
//!   Beat (join), classic members or none ──> upgrade ──┐
//!   Join, consumer group without members ──> classic   ├──> Change ── log ──> the new membership
//!   last member of the consumer protocol goes ─────────┘
//! ```

use crate::group::classic::{Classic, Join, Leaving, Sync};
use crate::group::error::GroupError;
use crate::group::identity::Claim;
use crate::group::membership::Membership;
use crate::group::modern::heartbeat::{ConsumerHeartbeat, HeartbeatRefused};
use crate::group::modern::member::JOINING_EPOCH;
use crate::group::modern::migration::upgraded;
use crate::group::modern::records::ModernRecord;
use crate::group::modern::{Change, Decision, Modern};
use crate::group::records::{GroupImage, GroupRecord};
use crate::group::state::{
    Event, Group, NotWritten, RETRY_DELAY, Reply, RequestId, Step, Then, refuse_join,
};

impl Group {
    pub(super) fn join(&mut self, request: RequestId, join: Join, step: &mut Step) {
        match &mut self.membership {
            Membership::Classic(classic) => classic.join(request, join, step),
            Membership::Modern(modern) if modern.members().is_empty() => {
                let classic = Membership::Classic(Classic::new(self.limits));
                let records = modern.tombstones().into_iter().map(GroupRecord::Modern).collect();
                let change = Change { becomes: Some(Box::new(classic)), ..Change::default() };
                self.decided(Decision { records, change }, step);
                self.hold_first(Event::Join(request, join));
            }
            Membership::Modern(modern) => match modern.last_of_its_kind(join.instance.as_ref()) {
                // A classic process takes the last place of the other kind.
                Some(gone) if join.member.is_none() => {
                    let decision = modern.fence(&gone, step.now);
                    self.decided(decision, step);
                    self.hold_first(Event::Join(request, join));
                }
                _ => {
                    let decision = modern.join(request, &join, step.now);
                    self.decided(decision, step);
                }
            },
        }
    }

    pub(super) fn sync(&mut self, request: RequestId, sync: Sync, step: &mut Step) {
        match &mut self.membership {
            Membership::Classic(classic) => classic.sync(request, sync, step),
            Membership::Modern(modern) => {
                let decision = modern.sync(request, &sync);
                self.decided(decision, step);
            }
        }
    }

    pub(super) fn heartbeat(&mut self, request: RequestId, claim: &Claim, step: &mut Step) {
        match &mut self.membership {
            Membership::Classic(classic) => {
                let result = classic.heartbeat(claim, step);
                step.reply(request, Reply::Heartbeat(result));
            }
            Membership::Modern(modern) => {
                let decision = modern.classic_heartbeat(request, claim);
                self.decided(decision, step);
            }
        }
    }

    pub(super) fn leave(&mut self, request: RequestId, leaving: &[Leaving], step: &mut Step) {
        match &mut self.membership {
            Membership::Classic(classic) => {
                let results = classic.leave(leaving, step);
                step.reply(request, Reply::Leave(results));
            }
            Membership::Modern(modern) => {
                let decision = modern.leave(request, leaving, step.now);
                self.decided(decision, step);
            }
        }
    }

    pub(super) fn beat(&mut self, request: RequestId, beat: &ConsumerHeartbeat, step: &mut Step) {
        let joins = matches!(beat, ConsumerHeartbeat::Stay(beat) if beat.epoch == JOINING_EPOCH);
        let decision = match &mut self.membership {
            Membership::Modern(modern) => modern.beat(request, beat, step.now),
            Membership::Classic(classic) if joins => {
                match upgraded(classic, self.limits, &self.topics, step.now) {
                    Ok((modern, records)) => upgrade(modern, records, request, beat, step),
                    Err(reason) => {
                        let refused = HeartbeatRefused::NoUpgrade(reason);
                        Decision::reply(request, Reply::Beat(Err(refused)))
                    }
                }
            }
            Membership::Classic(_) => {
                let refused = HeartbeatRefused::OtherProtocol;
                Decision::reply(request, Reply::Beat(Err(refused)))
            }
        };
        if let (Some(_), Membership::Classic(classic)) =
            (&decision.change.becomes, &mut self.membership)
        {
            classic.send_back(step);
        }
        self.decided(decision, step);
    }

    pub(super) fn time_passed(&mut self, step: &mut Step) {
        match &mut self.membership {
            // Looked at again when the change is over. Classic members that are being taken along
            // must not expire either: what the log was told of them then would undo the change.
            _ if self.is_changing => {}
            Membership::Classic(classic) => classic.time_passed(step),
            Membership::Modern(modern) => {
                let expired = modern.expired(step.now);
                if expired.is_empty() {
                    return wake_at_next_deadline(modern, step);
                }
                let decision = modern.fence(&expired, step.now);
                self.decided(decision, step);
            }
        }
    }

    /// Has a decision logged, or carries it out at once if there is nothing to log.
    pub(super) fn decided(&mut self, decision: Decision, step: &mut Step) {
        let Decision { records, change } = decision;
        if records.is_empty() {
            return self.carry_out(change, Vec::new(), step);
        }
        self.is_changing = true;
        step.write(records.clone(), Then::Change(Box::new(change), records));
    }

    /// The log has answered.
    pub(super) fn changed(
        &mut self,
        change: Change,
        records: Vec<GroupRecord>,
        outcome: Result<(), NotWritten>,
        step: &mut Step,
    ) {
        self.is_changing = false;
        match outcome {
            Ok(()) => {
                self.carry_out(change, records, step);
                // Somebody's time may have come while the log was written.
                self.time_passed(step);
            }
            Err(NotWritten) => {
                for (request, reply) in change.replies {
                    step.reply(request, not_available(reply));
                }
                // Whoever waited behind it would find the log as it is and fail as well.
                self.refuse_held(step);
                // Nobody may ask for it again, such as a member's expiry.
                step.deadline_in(RETRY_DELAY);
            }
        }
    }

    fn carry_out(&mut self, change: Change, records: Vec<GroupRecord>, step: &mut Step) {
        let Change { becomes, .. } = &change;
        if let Some(becomes) = becomes {
            self.membership = (**becomes).clone();
            match &mut self.membership {
                Membership::Classic(classic) if classic.members().next().is_none() => {}
                Membership::Classic(classic) => classic.resume(step),
                Membership::Modern(modern) => {
                    modern.see_topics(&self.topics);
                    modern.loaded(step);
                    modern.applied(Vec::new(), &change, step);
                }
            }
        } else if let Membership::Modern(modern) = &mut self.membership {
            modern.applied(records, &change, step);
        }
        for (request, reply) in change.replies {
            step.reply(request, reply);
        }
    }

    pub(super) fn replay_members(&mut self, image: Option<GroupImage>) {
        match (&mut self.membership, image) {
            (Membership::Classic(classic), image) => classic.replay(image),
            (Membership::Modern(_), Some(image)) => {
                let mut classic = Classic::new(self.limits);
                classic.replay(Some(image));
                self.membership = Membership::Classic(classic);
            }
            // Compaction may have left the tombstone of the classic group that this one was.
            (Membership::Modern(_), None) => {}
        }
    }

    pub(super) fn replay_modern(&mut self, record: ModernRecord) {
        if let ModernRecord::Epoch(None) = &record {
            if let Membership::Modern(_) = &self.membership {
                self.membership = Membership::Classic(Classic::new(self.limits));
            }
            return;
        }
        if let Membership::Classic(_) = &self.membership {
            if record.is_tombstone() {
                return;
            }
            let modern = Modern::new(self.limits, std::sync::Arc::clone(&self.topics));
            self.membership = Membership::Modern(modern);
        }
        if let Membership::Modern(modern) = &mut self.membership {
            modern.apply(record);
        }
    }
}

/// The joiner's heartbeat decided by the group as it will be.
fn upgrade(
    mut modern: Modern,
    mut records: Vec<GroupRecord>,
    request: RequestId,
    beat: &ConsumerHeartbeat,
    step: &Step,
) -> Decision {
    let mut decision = modern.beat(request, beat, step.now);
    if decision.records.is_empty() {
        // Refused: the group stays what it is.
        return decision;
    }
    for record in &decision.records {
        if let GroupRecord::Modern(record) = record {
            modern.apply(record.clone());
        }
    }
    records.append(&mut decision.records);
    decision.change.becomes = Some(Box::new(Membership::Modern(modern)));
    Decision { records, change: decision.change }
}

fn wake_at_next_deadline(modern: &Modern, step: &mut Step) {
    if let Some(deadline) = modern.next_deadline() {
        step.wake_by(deadline);
    }
}

/// The same answer for a change that did not come about.
fn not_available(reply: Reply) -> Reply {
    let error = GroupError::NotAvailable;
    match reply {
        Reply::Join(_) => refuse_join(error, None),
        Reply::Sync(_) => Reply::Sync(Err(error)),
        Reply::Heartbeat(_) => Reply::Heartbeat(Err(error)),
        Reply::Leave(results) => Reply::Leave(results.iter().map(|_| Err(error)).collect()),
        Reply::Beat(_) => Reply::Beat(Err(HeartbeatRefused::Group(error))),
        other => other,
    }
}
