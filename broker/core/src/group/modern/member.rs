//! What the coordinator knows of a member: what it said of itself, and where it stands.
//!
//! The two halves are the two records that the log keeps of it, so that a heartbeat which changes
//! one half writes only that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir_model::time::Moment;

use crate::group::assignor::{Assignor, Partitions};
use crate::group::classic::{Client, Protocol};
use crate::group::identity::InstanceId;

/// Epoch of a member that has not reached any: it joins.
pub const JOINING_EPOCH: i32 = 0;
/// Epoch of a static member that has gone and means to come back under another id.
pub const AWAY_EPOCH: i32 = -2;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it said of itself.
    pub metadata: MemberMetadata,
    /// Where it stands.
    pub current: CurrentAssignment,
}

impl Member {
    /// A member that has just come.
    pub(super) fn new(metadata: MemberMetadata) -> Member {
        Member { metadata, current: CurrentAssignment::default() }
    }

    /// Whether it speaks the classic protocol, which the coordinator translates for it.
    pub fn is_classic(&self) -> bool {
        self.metadata.classic.is_some()
    }

    /// Whether it has all that this epoch's target gives it, and nothing else.
    pub(super) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == target_epoch
    }
}

/// What a member says of itself. Heartbeats bring only what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its static name, if it has one.
    pub instance: Option<InstanceId>,
    /// The rack it runs in, for descriptions only.
    pub rack: Option<Arc<str>>,
    /// The client program.
    pub client: Client,
    /// How long it may take to give up partitions.
    pub rebalance_timeout: Duration,
    /// The topics it names, which need not exist.
    pub topics: BTreeSet<Arc<str>>,
    /// A regular expression for the names of more topics.
    pub regex: Option<Arc<str>>,
    /// The assignor that it would have.
    pub assignor: Option<Assignor>,
    /// What it said in the classic protocol, if it speaks that.
    pub classic: Option<ClassicPart>,
}

/// The part of a classic join that has no place elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicPart {
    /// How long the member may be silent.
    pub session_timeout: Duration,
    /// What it can do, best first; at least one.
    pub protocols: Vec<Protocol>,
}

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has what its epoch's target gives it.
    #[default]
    Stable,
    /// It is to give up partitions, and has not said that it did.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions,
}

/// Where a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch whose target it has, or is getting.
    pub epoch: i32,
    /// The epoch before, which it may still name if an answer got lost.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it has.
    pub assigned: Partitions,
    /// What it is to give up and may still be reading.
    pub revoking: Partitions,
}

impl Default for CurrentAssignment {
    /// Of a member that has just come.
    fn default() -> CurrentAssignment {
        CurrentAssignment {
            epoch: JOINING_EPOCH,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Partitions::new(),
            revoking: Partitions::new(),
        }
    }
}

/// When a member is given up. Only in memory: a restart gives everybody a full session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clocks {
    /// Unless it is heard of.
    pub(super) session: Option<Moment>,
    /// Unless it has given up what it is to give up.
    pub(super) revocation: Option<Moment>,
    /// A classic member, unless it joins again.
    pub(super) rejoin: Option<Moment>,
    /// A classic member, unless it asks for its assignment.
    pub(super) sync: Option<Moment>,
}

impl Clocks {
    /// The first of the deadlines.
    pub(super) fn next(self) -> Option<Moment> {
        let all = [self.session, self.revocation, self.rejoin, self.sync];
        all.into_iter().flatten().min()
    }
}
