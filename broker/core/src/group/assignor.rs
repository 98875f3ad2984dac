//! Who reads what, decided by the broker: the assignors that KIP-848 groups choose from.
//!
//! An assignor is a pure function: members, what each subscribes to and has now, and how many
//! partitions the topics have go in; a target for every member comes out. It says where the group
//! is going, not how: [`super::modern`] takes the members there step by step.
//!
//! ```text
//!   topic of 5        uniform (sticky)            range
//!   a had 0 1 2 3 4   a 0 1 2   b 3 4             a 0 1 2   b 3 4
//!   c joins           a 0 1     b 3 4   c 2       a 0 1     b 2 3   c 4
//! ```
//!
//! Invariants of both: every partition of a subscribed topic goes to exactly one member, and that
//! member subscribes to its topic; the same input gives the same target.

mod range;
mod uniform;

#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::ids::{PartitionId, PartitionIndex, StreamId};

use crate::group::identity::{InstanceId, MemberId};

/// Partitions that belong together, by stream and index.
pub type Partitions = BTreeSet<PartitionId>;

/// A server-side assignor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Assignor {
    /// Even numbers of partitions, and as few moves as that allows.
    Uniform,
    /// Neighbouring partitions together, the same part of every topic for one member.
    Range,
}

impl Assignor {
    /// All of them, the default first (Kafka's `group.consumer.assignors`).
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// The one that a group uses whose members name none.
    pub const DEFAULT: Assignor = Assignor::Uniform;

    /// The name that clients use.
    pub const fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor with this name.
    pub fn from_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// A target for each member, empty ones included.
    pub fn assign(self, group: &Subscribers) -> BTreeMap<MemberId, Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}

/// What an assignor is told of a group.
#[derive(Clone, Debug, Default)]
pub struct Subscribers {
    /// Everybody.
    pub members: BTreeMap<MemberId, Subscriber>,
    /// How many partitions each subscribed topic has.
    pub partition_counts: BTreeMap<StreamId, u32>,
}

/// What an assignor is told of a member.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// Its static name, if it has one.
    pub instance: Option<InstanceId>,
    /// The topics that it reads, each of which has a partition count. Shared, because most members
    /// of a group read the same.
    pub topics: Arc<BTreeSet<StreamId>>,
    /// Its target so far.
    pub target: Partitions,
}

/// Partitions as records and requests list them: the indexes of each stream together.
pub fn by_stream(partitions: &Partitions) -> BTreeMap<StreamId, Vec<i32>> {
    let mut by_stream: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        by_stream.entry(partition.stream).or_default().push(partition.index.as_i32());
    }
    by_stream
}

/// The partitions of a topic, in order.
fn partitions_of(stream: StreamId, count: u32) -> impl Iterator<Item = PartitionId> {
    let index = |raw: u32| PartitionIndex::try_from(i64::from(raw)).ok();
    (0..count).map_while(index).map(move |index| PartitionId { stream, index })
}
