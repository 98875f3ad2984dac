//! The topics as a group sees them: which there are and how many partitions each has.
//!
//! Groups are pure, so they cannot ask the registry. The coordinator hands them this picture
//! instead, whole and never changed, and a newer one when streams were made, removed or got more
//! partitions. A group compares versions to learn whether there is anything to look at.

use std::collections::{BTreeMap, HashMap};

use weir_model::ids::{StreamId, StreamName};

/// A topic that a group may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id, for ever its own.
    pub id: StreamId,
    /// How many partitions it has, closed ones included.
    pub partition_count: u32,
}

/// All topics at one moment.
#[derive(Debug, Default)]
pub struct Topics {
    version: u64,
    by_name: BTreeMap<StreamName, Topic>,
    names: HashMap<StreamId, StreamName>,
}

impl Topics {
    /// The topics of this version. Versions only grow while the broker runs.
    pub fn new(version: u64, topics: impl IntoIterator<Item = (StreamName, Topic)>) -> Topics {
        let by_name: BTreeMap<_, _> = topics.into_iter().collect();
        let names = by_name.iter().map(|(name, topic)| (topic.id, name.clone())).collect();
        Topics { version, by_name, names }
    }

    /// Tells this picture from earlier ones.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The topic with this name; any text may be asked for.
    pub fn by_name(&self, name: &str) -> Option<Topic> {
        self.by_name.get(&StreamName::new(name).ok()?).copied()
    }

    /// The name of a topic that is still there.
    pub fn name_of(&self, id: StreamId) -> Option<&StreamName> {
        self.names.get(&id)
    }

    /// How many partitions a topic has; none if it is gone.
    pub fn partition_count(&self, id: StreamId) -> Option<u32> {
        let topic = self.by_name.get(self.names.get(&id)?)?;
        Some(topic.partition_count)
    }

    /// Every name, in order.
    pub fn names(&self) -> impl Iterator<Item = &StreamName> {
        self.by_name.keys()
    }
}
