//! `range`: each topic is cut into runs of neighbouring partitions, one run for each subscriber.
//!
//! Members stand in one order for all topics, static ones first by their names, so that two topics
//! with as many partitions and the same subscribers are cut alike: what has one key is then read by
//! one member in both. A static member keeps its place, and so its part, when its process changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Partitions, Subscriber, Subscribers, partitions_of};
use crate::group::identity::MemberId;

pub(super) fn assign(group: &Subscribers) -> BTreeMap<MemberId, Partitions> {
    let mut in_order: Vec<_> = group.members.iter().collect();
    in_order.sort_by_key(|(id, member)| (member.instance.is_none(), &member.instance, *id));
    let mut targets: BTreeMap<_, _> =
        group.members.keys().map(|id| (id.clone(), BTreeSet::new())).collect();
    for (topic, count) in &group.partition_counts {
        let reads = |(_, member): &&(&MemberId, &Subscriber)| member.topics.contains(topic);
        let subscribers: Vec<_> = in_order.iter().filter(reads).collect();
        let mut partitions = partitions_of(*topic, *count);
        for (position, (id, _)) in subscribers.iter().enumerate() {
            let share = share_of(position, subscribers.len(), *count);
            let target = targets.get_mut(*id).expect("every member has a target");
            target.extend(partitions.by_ref().take(share));
        }
    }
    targets
}

/// The first members take what does not divide.
fn share_of(position: usize, members: usize, partitions: u32) -> usize {
    let partitions = partitions as usize;
    partitions / members + usize::from(position < partitions % members)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_model::ids::StreamId;

    use super::*;
    use crate::group::identity::InstanceId;

    fn topic(number: u8) -> StreamId {
        StreamId::from_bytes([number; 16])
    }

    fn member(name: &str) -> MemberId {
        MemberId::from_client(name).expect("not empty")
    }

    fn reads(topics: &[u8]) -> Subscriber {
        let topics = topics.iter().map(|number| topic(*number)).collect();
        Subscriber { topics: Arc::new(topics), ..Subscriber::default() }
    }

    fn indexes(targets: &BTreeMap<MemberId, Partitions>, name: &str, of: u8) -> Vec<u32> {
        let target = targets.get(&member(name)).expect("every member has a target");
        let of_topic = target.iter().filter(|partition| partition.stream == topic(of));
        of_topic.map(|partition| partition.index.as_u32()).collect()
    }

    #[test]
    fn neighbouring_partitions_stay_together_and_topics_are_cut_alike() {
        let group = Subscribers {
            members: [("a", &[1, 2][..]), ("b", &[1, 2]), ("c", &[2])]
                .map(|(name, topics)| (member(name), reads(topics)))
                .into(),
            partition_counts: [(topic(1), 5), (topic(2), 5)].into(),
        };
        let targets = assign(&group);
        for (name, of, expected) in [
            ("a", 1, vec![0, 1, 2]),
            ("b", 1, vec![3, 4]),
            ("c", 1, vec![]),
            ("a", 2, vec![0, 1]),
            ("b", 2, vec![2, 3]),
            ("c", 2, vec![4]),
        ] {
            assert_eq!(indexes(&targets, name, of), expected, "{name} of topic {of}");
        }
    }

    #[test]
    fn a_static_member_keeps_its_part_under_a_new_id() {
        let group = |id: &str| {
            let instance = Some(InstanceId::new("first"));
            let members =
                [(member(id), Subscriber { instance, ..reads(&[1]) }), (member("m"), reads(&[1]))];
            Subscribers { members: members.into(), partition_counts: [(topic(1), 4)].into() }
        };
        assert_eq!(indexes(&assign(&group("a")), "a", 1), [0, 1]);
        assert_eq!(indexes(&assign(&group("z")), "z", 1), [0, 1]);
    }
}
