//! What administrators are shown of a group.

use std::sync::Arc;

use bytes::Bytes;

use crate::group::classic::Client;
use crate::group::identity::{GroupId, InstanceId, MemberId};

/// The protocol by which a group's members agree on who reads what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GroupType {
    /// Clients assign: JoinGroup and SyncGroup. A group of offsets without members is one too.
    Classic,
}

/// Where a group stands, by the names that tools show.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GroupState {
    /// Nobody is a member; offsets may be kept.
    Empty,
    /// A classic group collects the joins for its next generation.
    PreparingRebalance,
    /// A classic group waits for its leader's assignments.
    CompletingRebalance,
    /// Everybody can know its part.
    Stable,
}

/// A group in a list of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub id: GroupId,
    /// Its protocol.
    pub group_type: GroupType,
    /// Where it stands.
    pub state: GroupState,
    /// What kind of members it has or had: `consumer`, `connect`, …; none if it never had any.
    pub protocol_type: Option<Arc<str>>,
}

/// A group in full, as far as its type has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Description {
    /// A [`GroupType::Classic`] group.
    Classic(ClassicDescription),
}

/// A classic group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicDescription {
    /// Where it stands.
    pub state: GroupState,
    /// What kind of members it has or had; none if it never had any.
    pub protocol_type: Option<Arc<str>>,
    /// The generation's protocol; none unless the group is stable.
    pub protocol: Option<Arc<str>>,
    /// The members, in the order of their ids.
    pub members: Vec<DescribedMember>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: MemberId,
    /// Its static name, if it has one.
    pub instance: Option<InstanceId>,
    /// The client program.
    pub client: Client,
    /// What it said for the generation's protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its part; that of the last generation while a rebalance goes on.
    pub assignment: Bytes,
}
