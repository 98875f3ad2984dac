//! `uniform`: every member gets about as many partitions, and keeps what it has where it can.
//!
//! Topics with the same subscribers are looked at together, as one *class*; a group whose members
//! all read the same has one. For each class in turn:
//!
//! 1. every member keeps what it had and still reads;
//! 2. what nobody has goes, one by one, to the subscriber with fewest partitions;
//! 3. while some subscriber has at least two more than another, one partition moves between them.
//!
//! The number that counts is the member's total over all classes. Moves for one class can unbalance
//! an earlier one, so step 3 goes round until nothing moves, at most [`ROUNDS_MAX`] times.
//!
//! With one class the result is even to one partition and needs as few moves as that allows: a
//! member that joins only takes, and when one leaves the others only gain. With several, no single
//! move would make it more even, short of the bound on rounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::ids::{PartitionId, StreamId};

use super::{Partitions, Subscribers, partitions_of};
use crate::group::identity::MemberId;

/// A group that is still uneven after as many rounds stays so: each round costs the more the larger
/// the group, and what is left to gain is small (Kafka stops after as many).
const ROUNDS_MAX: usize = 16;

pub(super) fn assign(group: &Subscribers) -> BTreeMap<MemberId, Partitions> {
    let mut balance = Balance::begin(group);
    let classes = classes_of(group);
    for class in &classes {
        balance.hand_out(class, group);
    }
    for _ in 0..ROUNDS_MAX {
        // Every class in every round, so that `any` must not stop at the first that moves.
        let moved: Vec<_> = classes.iter().map(|class| balance.even_out(class)).collect();
        if !moved.contains(&true) || classes.len() == 1 {
            break;
        }
    }
    group.members.keys().cloned().zip(balance.targets).collect()
}

/// Topics that the same members read. Members go by their position in the group.
struct Class {
    subscribers: Vec<usize>,
    topics: BTreeSet<StreamId>,
}

/// Members are few kinds: each kind is compared topic by topic, not each member.
fn classes_of(group: &Subscribers) -> Vec<Class> {
    let mut kinds: BTreeMap<Arc<BTreeSet<StreamId>>, Vec<usize>> = BTreeMap::new();
    for (position, member) in group.members.values().enumerate() {
        kinds.entry(Arc::clone(&member.topics)).or_default().push(position);
    }
    let mut by_kinds: BTreeMap<Vec<usize>, BTreeSet<StreamId>> = BTreeMap::new();
    for topic in group.partition_counts.keys() {
        let readers = kinds.keys().enumerate().filter(|(_, topics)| topics.contains(topic));
        let readers: Vec<_> = readers.map(|(kind, _)| kind).collect();
        if !readers.is_empty() {
            by_kinds.entry(readers).or_default().insert(*topic);
        }
    }
    let members: Vec<_> = kinds.into_values().collect();
    let class = |(readers, topics): (Vec<usize>, _)| {
        let subscribers = readers.iter().filter_map(|kind| members.get(*kind)).flatten();
        Class { subscribers: subscribers.copied().collect(), topics }
    };
    by_kinds.into_iter().map(class).collect()
}

/// The targets in the making, by the member's position.
struct Balance {
    targets: Vec<Partitions>,
}

impl Balance {
    /// Everybody keeps what it had and still reads. What two members had at once, which only a
    /// mistake elsewhere could bring about, stays with the first.
    fn begin(group: &Subscribers) -> Balance {
        let mut taken = BTreeSet::new();
        let targets = group.members.values().map(|member| {
            let reads_still = |partition: &&PartitionId| {
                let count = group.partition_counts.get(&partition.stream);
                let exists = count.is_some_and(|count| partition.index.as_u32() < *count);
                exists && member.topics.contains(&partition.stream)
            };
            let kept = member.target.iter().filter(reads_still).copied();
            kept.filter(|partition| taken.insert(*partition)).collect()
        });
        Balance { targets: targets.collect() }
    }

    fn load(&self, position: usize) -> usize {
        self.targets.get(position).map_or(0, BTreeSet::len)
    }

    /// Gives every partition of the class that nobody has to the subscriber with the least.
    fn hand_out(&mut self, class: &Class, group: &Subscribers) {
        let taken: BTreeSet<_> = self.of_class(class).into_values().flatten().collect();
        let mut by_load: BTreeSet<_> =
            class.subscribers.iter().map(|position| (self.load(*position), *position)).collect();
        for topic in &class.topics {
            let count = group.partition_counts.get(topic).copied().unwrap_or(0);
            for partition in partitions_of(*topic, count) {
                if taken.contains(&partition) {
                    continue;
                }
                let (load, position) = by_load.pop_first().expect("a class has subscribers");
                self.target(position).insert(partition);
                by_load.insert((load + 1, position));
            }
        }
    }

    /// Moves partitions of the class until no subscriber has two more than another, or those who
    /// do have none of this class. Says whether anything moved. It ends, because every move makes
    /// the sum of the squared loads smaller.
    fn even_out(&mut self, class: &Class) -> bool {
        let mut of_class = self.of_class(class);
        let by_load = |position: &usize| (self.load(*position), *position);
        let mut takers: BTreeSet<_> = class.subscribers.iter().map(by_load).collect();
        let mut givers = takers.clone();
        let mut moved = false;
        while let (Some(giver), Some(taker)) = (givers.last().copied(), takers.first().copied()) {
            let ((most, from), (least, to)) = (giver, taker);
            if most < least + 2 {
                break;
            }
            let Some(partition) = of_class.get_mut(&from).and_then(Vec::pop) else {
                givers.remove(&giver);
                continue;
            };
            of_class.entry(to).or_default().push(partition);
            self.target(from).remove(&partition);
            self.target(to).insert(partition);
            takers.remove(&giver);
            takers.remove(&taker);
            takers.extend([(most - 1, from), (least + 1, to)]);
            givers.remove(&giver);
            givers.insert((most - 1, from));
            if givers.remove(&taker) {
                givers.insert((least + 1, to));
            }
            moved = true;
        }
        moved
    }

    /// What each subscriber of the class has of it.
    fn of_class(&self, class: &Class) -> BTreeMap<usize, Vec<PartitionId>> {
        let own = |position: &usize| {
            let target = self.targets.get(*position).into_iter().flatten();
            let own = target.filter(|partition| class.topics.contains(&partition.stream));
            (*position, own.copied().collect())
        };
        class.subscribers.iter().map(own).collect()
    }

    fn target(&mut self, position: usize) -> &mut Partitions {
        self.targets.get_mut(position).expect("positions are members")
    }
}
