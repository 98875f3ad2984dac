//! From one generation to the next: collecting joins, choosing protocol and leader, beginning anew.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::group::classic::{Classic, Company, Phase};
use crate::group::error::GroupError;
use crate::group::state::{Reply, Step, Then};

/// Clients may ask for a rebalance timeout of zero; looking again for silent static members all
/// the time would then keep the coordinator busy for nothing.
const RECHECK_DELAY_MIN: Duration = Duration::from_secs(1);

impl Classic {
    /// Begins to collect joins. Syncs that wait are sent back to join; a group that was empty may
    /// wait for company first.
    pub(super) fn prepare_rebalance(&mut self, step: &mut Step) {
        if matches!(self.phase, Phase::Completing { .. }) {
            self.fail_syncs(GroupError::RebalanceInProgress, step);
        }
        let timeout = self.rebalance_timeout();
        let delay = self.limits.initial_rebalance_delay;
        if self.phase == Phase::Empty && !delay.is_zero() {
            let company = Company { remaining: timeout.saturating_sub(delay), came: false };
            let deadline = step.deadline_in(delay);
            self.enter(Phase::Preparing { deadline, company: Some(company) }, step);
            return;
        }
        let was_empty = self.phase == Phase::Empty;
        let deadline = step.deadline_in(timeout);
        self.enter(Phase::Preparing { deadline, company: None }, step);
        if was_empty {
            // Without a delay the first member does not wait for ids that others asked for.
            self.complete(step);
        } else {
            self.try_complete(step);
        }
    }

    /// Begins the generation if everybody is there.
    pub(super) fn try_complete(&mut self, step: &mut Step) {
        let Phase::Preparing { company: None, .. } = self.phase else { return };
        let all_joined = self.members.values().all(|member| member.joining.is_some());
        if all_joined && self.pending.is_empty() {
            self.complete(step);
        }
    }

    /// What is due when the present phase has lasted long enough.
    pub(super) fn phase_deadline_passed(&mut self, step: &mut Step) {
        let now = step.now.moment;
        match self.phase {
            Phase::Preparing { deadline, company } if deadline <= now => match company {
                Some(Company { remaining, came: true }) if !remaining.is_zero() => {
                    self.wait_for_company(remaining, step);
                }
                _ => self.complete(step),
            },
            Phase::Completing { sync_deadline, .. }
            | Phase::Stable { sync_deadline: Some(sync_deadline) }
                if sync_deadline <= now =>
            {
                for member in self.members_where(|member| !member.has_synced) {
                    self.remove(&member, step);
                }
                self.prepare_rebalance(step);
            }
            _ => {}
        }
    }

    fn wait_for_company(&mut self, remaining: Duration, step: &mut Step) {
        let delay = self.limits.initial_rebalance_delay.min(remaining);
        let company = Company { remaining: remaining.saturating_sub(delay), came: false };
        let deadline = step.deadline_in(delay);
        self.phase = Phase::Preparing { deadline, company: Some(company) };
    }

    /// Begins the next generation with those who joined.
    fn complete(&mut self, step: &mut Step) {
        // A static member keeps its place until its session ends: that is what it is for.
        for member in
            self.members_where(|member| member.joining.is_none() && member.instance.is_none())
        {
            self.remove(&member, step);
        }
        if self.members.is_empty() {
            return self.become_empty(step);
        }
        if !self.elect_leader() {
            // Only silent static members are left. They come back, or their sessions end.
            let deadline = step.deadline_in(self.rebalance_timeout().max(RECHECK_DELAY_MIN));
            self.phase = Phase::Preparing { deadline, company: None };
            return;
        }
        self.generation = self.generation.saturating_add(1);
        self.protocol = self.vote();
        let sync_deadline = step.deadline_in(self.rebalance_timeout());
        self.enter(Phase::Completing { sync_deadline, storing: false }, step);
        self.answer_joins(step);
    }

    fn become_empty(&mut self, step: &mut Step) {
        self.generation = self.generation.saturating_add(1);
        (self.protocol, self.leader) = (None, None);
        self.enter(Phase::Empty, step);
        let image = self.image(step.now.date);
        self.log(image, Then::Emptied, step);
    }

    fn answer_joins(&mut self, step: &mut Step) {
        let ids = self.members_where(|_| true);
        for id in ids {
            let member = self.members.get_mut(&id).expect("the id was just read");
            (member.is_new, member.has_synced) = (false, false);
            let request = member.joining.take();
            self.restart_session(&id, step);
            if let Some(request) = request {
                let joined = self.joined(&id, self.members_for(&id));
                step.reply(request, Reply::Join(Ok(joined)));
            }
        }
    }

    /// The leader must be somebody who listens. False if nobody does.
    fn elect_leader(&mut self) -> bool {
        let joined = |id| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        match self.members.iter().find(|(_, member)| member.joining.is_some()) {
            Some((id, _)) => {
                self.leader = Some(id.clone());
                true
            }
            None => false,
        }
    }

    /// The protocol that most members prefer among those that all of them know; on a tie the one
    /// that the leader prefers. None only without members.
    pub(super) fn vote(&self) -> Option<Arc<str>> {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader))?;
        let candidates: Vec<_> = leader
            .protocols
            .iter()
            .map(|p| &p.name)
            .filter(|name| self.all_support(name))
            .collect();
        let mut best: Option<(&Arc<str>, usize)> = None;
        for candidate in &candidates {
            let votes = self.members.values().filter(|member| {
                let mut preferred = member.protocols.iter().map(|protocol| &protocol.name);
                preferred.find(|name| candidates.contains(name)) == Some(*candidate)
            });
            let votes = votes.count();
            if best.is_none_or(|(_, most)| votes > most) {
                best = Some((*candidate, votes));
            }
        }
        best.map(|(name, _)| Arc::clone(name))
    }

    pub(super) fn all_support(&self, name: &str) -> bool {
        self.members.values().all(|member| member.supports(name))
    }

    /// How long the slowest member may take to join again.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Sends those who wait for an assignment away, and forgets assignments that no longer hold.
    pub(super) fn fail_syncs(&mut self, error: GroupError, step: &mut Step) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(request) = member.syncing.take() {
                member.expires = step.deadline_in(member.session_timeout);
                step.reply(request, Reply::Sync(Err(error)));
            }
        }
    }
}
