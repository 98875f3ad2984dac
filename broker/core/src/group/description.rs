//! What administrators are shown of a group.

use std::sync::Arc;

use bytes::Bytes;
use weir_kafka_records::decode_versioned_prefix;
use weir_kafka_records::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;

use crate::group::assignor::{Assignor, Partitions};
use crate::group::classic::Client;
use crate::group::identity::{GroupId, InstanceId, MemberId};
use crate::group::modern::member::MemberMetadata;

/// The protocol by which a group's members agree on who reads what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GroupType {
    /// Clients assign: JoinGroup and SyncGroup. A group of offsets without members is one too.
    Classic,
    /// The broker assigns: ConsumerGroupHeartbeat.
    Consumer,
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
    /// A consumer group's target is older than its epoch.
    Assigning,
    /// Members of a consumer group are on the way to their targets.
    Reconciling,
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
    /// A [`GroupType::Consumer`] group.
    Modern(ModernDescription),
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

impl DescribedMember {
    /// Its part as stream names with the indexes of partitions; nothing if it is not a consumer's.
    pub fn assigned(&self) -> Vec<(String, Vec<i32>)> {
        // What another protocol type says may be anything, and is only shown where it can be read.
        decode_versioned_prefix::<ConsumerProtocolAssignment>(self.assignment.clone())
            .map(|assignment| assignment.assigned_partitions)
            .unwrap_or_default()
            .into_iter()
            .map(|topic| (topic.topic, topic.partitions))
            .collect()
    }
}

/// A group of the consumer protocol in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModernDescription {
    /// Where it stands.
    pub state: GroupState,
    /// The group's epoch.
    pub epoch: i32,
    /// The epoch of its target assignment.
    pub target_epoch: i32,
    /// The assignor that most members ask for.
    pub assignor: Assignor,
    /// The members, in the order of their ids.
    pub members: Vec<ModernMember>,
}

/// A member of a group of the consumer protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModernMember {
    /// Its id.
    pub member: MemberId,
    /// The epoch it is in.
    pub epoch: i32,
    /// Whether it still speaks the classic protocol.
    pub is_classic: bool,
    /// What it said of itself.
    pub metadata: MemberMetadata,
    /// What it has.
    pub assigned: Partitions,
    /// What it is to have.
    pub target: Partitions,
}
