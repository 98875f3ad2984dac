//! One member's next step towards its target.
//!
//! ```text
//!                       target has moved
//!     Stable ─────────────────────────────────┬──────────────────────────────┐
//!       ▲                                     ▼                              ▼
//!       │                            UnrevokedPartitions           UnreleasedPartitions
//!       │                            keeps its epoch until         has the new epoch, waits for
//!       │                            it owns them no more          what others still have
//!       │                                     │                              │
//!       └───────── all there ─────────────────┴────────── free by now ───────┘
//! ```
//!
//! A partition is given to a member only when no other has it or is still giving it up: that is why
//! it never has two owners. A member moves to the target's epoch only when it owns nothing that the
//! target takes away, so its epoch tells what it may own.

use std::collections::BTreeSet;

use weir_model::ids::{PartitionId, StreamId};

use crate::group::assignor::Partitions;
use crate::group::modern::member::{CurrentAssignment, MemberState};

/// Where a member is to go and what it says that it owns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim<'a> {
    /// The epoch of the target.
    pub(super) target_epoch: i32,
    /// What the member is to have then.
    pub(super) target: &'a Partitions,
    /// The topics that it reads now: it gets nothing else, even if the target is older.
    pub(super) subscribed: &'a BTreeSet<StreamId>,
    /// Its subscription has changed in this very step.
    pub(super) has_resubscribed: bool,
    /// What it says that it owns; unknown if it does not say.
    pub(super) owned: Option<&'a Partitions>,
}

impl Aim<'_> {
    /// Where the member stands after this step. `is_taken` tells of partitions that another member
    /// has, or has not given up yet.
    pub(super) fn next(
        &self,
        current: &CurrentAssignment,
        is_taken: impl Fn(&PartitionId) -> bool,
    ) -> CurrentAssignment {
        match current.state {
            MemberState::Stable if current.epoch == self.target_epoch => self.stay(current),
            MemberState::UnrevokedPartitions if self.still_owns(&current.revoking) => {
                self.stay(current)
            }
            MemberState::Stable
            | MemberState::UnrevokedPartitions
            | MemberState::UnreleasedPartitions => self.advance(current, is_taken),
        }
    }

    /// A member that does not say what it owns may own everything.
    fn still_owns(&self, partitions: &Partitions) -> bool {
        match self.owned {
            Some(owned) => !owned.is_disjoint(partitions),
            None => true,
        }
    }

    fn reads(&self, partition: &PartitionId) -> bool {
        self.subscribed.contains(&partition.stream)
    }

    /// Nothing to do but to take away what the member does not read any more.
    fn stay(&self, current: &CurrentAssignment) -> CurrentAssignment {
        let mut next = current.clone();
        if !self.has_resubscribed {
            return next;
        }
        let (assigned, dropped): (Partitions, Partitions) =
            current.assigned.iter().copied().partition(|partition| self.reads(partition));
        if dropped.is_empty() {
            return next;
        }
        next.assigned = assigned;
        let revoking: Partitions = current.revoking.union(&dropped).copied().collect();
        if self.still_owns(&revoking) {
            next.state = MemberState::UnrevokedPartitions;
            next.revoking = revoking;
        }
        next
    }

    fn advance(
        &self,
        current: &CurrentAssignment,
        is_taken: impl Fn(&PartitionId) -> bool,
    ) -> CurrentAssignment {
        let wanted: Partitions =
            self.target.iter().filter(|partition| self.reads(partition)).copied().collect();
        let kept: Partitions = current.assigned.intersection(&wanted).copied().collect();
        let revoking: Partitions = current.assigned.difference(&kept).copied().collect();
        if !revoking.is_empty() && self.still_owns(&revoking) {
            return CurrentAssignment {
                epoch: current.epoch,
                previous_epoch: current.epoch,
                state: MemberState::UnrevokedPartitions,
                assigned: kept,
                revoking,
            };
        }
        let (taken, free): (Partitions, Partitions) =
            wanted.difference(&kept).copied().partition(|partition| is_taken(partition));
        CurrentAssignment {
            epoch: self.target_epoch,
            previous_epoch: current.epoch,
            state: match taken.is_empty() {
                true => MemberState::Stable,
                false => MemberState::UnreleasedPartitions,
            },
            assigned: kept.union(&free).copied().collect(),
            revoking: Partitions::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_model::ids::PartitionIndex;

    use super::*;

    fn topic(number: u8) -> StreamId {
        StreamId::from_bytes([number; 16])
    }

    /// Partitions of topic 1, and those from 100 on of topic 2.
    fn partitions(numbers: &[u32]) -> Partitions {
        let partition = |number: &u32| PartitionId {
            stream: topic(if *number < 100 { 1 } else { 2 }),
            index: PartitionIndex::try_from(i64::from(number % 100)).expect("small"),
        };
        numbers.iter().map(partition).collect()
    }

    fn at(epoch: i32, state: MemberState, assigned: &[u32], revoking: &[u32]) -> CurrentAssignment {
        CurrentAssignment {
            epoch,
            previous_epoch: epoch,
            state,
            assigned: partitions(assigned),
            revoking: partitions(revoking),
        }
    }

    /// A member whose target in epoch 7 is this.
    struct Case {
        current: CurrentAssignment,
        target: &'static [u32],
        owned: Option<&'static [u32]>,
        taken: &'static [u32],
        reads: &'static [u8],
        has_resubscribed: bool,
    }

    impl Case {
        fn new(current: CurrentAssignment, target: &'static [u32]) -> Case {
            let (reads, has_resubscribed) = (&[1, 2][..], false);
            Case { current, target, owned: None, taken: &[], reads, has_resubscribed }
        }

        fn check(self, epoch: i32, state: MemberState, assigned: &[u32], revoking: &[u32]) {
            let owned = self.owned.map(partitions);
            let aim = Aim {
                target_epoch: 7,
                target: &partitions(self.target),
                subscribed: &self.reads.iter().map(|number| topic(*number)).collect(),
                has_resubscribed: self.has_resubscribed,
                owned: owned.as_ref(),
            };
            let taken = partitions(self.taken);
            let next = aim.next(&self.current, |partition| taken.contains(partition));
            let expected = at(epoch, state, assigned, revoking);
            let expected = CurrentAssignment { previous_epoch: next.previous_epoch, ..expected };
            assert_eq!(next, expected, "from {:?}", self.current);
        }
    }

    use MemberState::{Stable, UnreleasedPartitions, UnrevokedPartitions};

    #[test]
    fn a_member_that_joins_gets_what_is_free_at_once() {
        Case::new(CurrentAssignment::default(), &[0, 1]).check(7, Stable, &[0, 1], &[]);
        let waits = Case { taken: &[1], ..Case::new(CurrentAssignment::default(), &[0, 1]) };
        waits.check(7, UnreleasedPartitions, &[0], &[]);
    }

    #[test]
    fn a_member_gives_up_before_it_gets() {
        let had = || at(6, Stable, &[0, 1], &[]);
        Case::new(had(), &[1, 2]).check(6, UnrevokedPartitions, &[1], &[0]);
        let gives = || at(6, UnrevokedPartitions, &[1], &[0]);
        Case::new(gives(), &[1, 2]).check(6, UnrevokedPartitions, &[1], &[0]);
        let still = Case { owned: Some(&[0, 1]), ..Case::new(gives(), &[1, 2]) };
        still.check(6, UnrevokedPartitions, &[1], &[0]);
        let gave = Case { owned: Some(&[1]), ..Case::new(gives(), &[1, 2]) };
        gave.check(7, Stable, &[1, 2], &[]);
    }

    #[test]
    fn what_a_member_does_not_own_need_not_be_given_up() {
        let lost = Case { owned: Some(&[]), ..Case::new(at(6, Stable, &[0, 1], &[]), &[2]) };
        lost.check(7, Stable, &[2], &[]);
    }

    #[test]
    fn a_member_that_waits_gets_what_was_released_meanwhile() {
        let waits = || at(7, UnreleasedPartitions, &[0], &[]);
        let some = Case { taken: &[2], ..Case::new(waits(), &[0, 1, 2]) };
        some.check(7, UnreleasedPartitions, &[0, 1], &[]);
        Case::new(waits(), &[0, 1, 2]).check(7, Stable, &[0, 1, 2], &[]);
    }

    #[test]
    fn a_topic_that_is_not_read_any_more_goes_before_the_target_says_so() {
        let has = || at(7, Stable, &[0, 100], &[]);
        let reads = &[1][..];
        let case = || Case { reads, has_resubscribed: true, ..Case::new(has(), &[0, 100]) };
        case().check(7, UnrevokedPartitions, &[0], &[100]);
        Case { owned: Some(&[0]), ..case() }.check(7, Stable, &[0], &[]);
        // Without a change of its own nothing is taken from a member that stands still.
        Case { has_resubscribed: false, ..case() }.check(7, Stable, &[0, 100], &[]);
    }
}
