//! What holds for every assignor and every group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use weir_model::ids::StreamId;

use super::{Assignor, Partitions, Subscriber, Subscribers, partitions_of};
use crate::group::identity::{InstanceId, MemberId};

/// Topics by number, so that a subscription is a set of small numbers.
const TOPICS: u8 = 4;

fn topic(number: u8) -> StreamId {
    StreamId::from_bytes([number; 16])
}

fn member(number: usize) -> MemberId {
    MemberId::from_client(&format!("member-{number}")).expect("not empty")
}

/// A group as it was last assigned by chance: each member's topics, whether it is static, and who
/// had which partition, some of which are gone by now.
fn group() -> impl Strategy<Value = Subscribers> {
    let topics = proptest::collection::btree_set(0..TOPICS, 0..=usize::from(TOPICS));
    let members = proptest::collection::vec((topics, any::<bool>()), 1..8);
    let counts = proptest::collection::vec(0u32..12, usize::from(TOPICS));
    let had = proptest::collection::vec((0..TOPICS, 0u32..14, 0usize..8), 0..40);
    (members, counts, had).prop_map(|(members, counts, had)| {
        let mut group = Subscribers::default();
        for (number, (topics, is_static)) in members.iter().enumerate() {
            let subscriber = Subscriber {
                instance: is_static.then(|| InstanceId::new(&format!("static-{number}"))),
                topics: Arc::new(topics.iter().map(|number| topic(*number)).collect()),
                target: Partitions::new(),
            };
            group.members.insert(member(number), subscriber);
        }
        let subscribed: BTreeSet<_> = members.iter().flat_map(|(topics, _)| topics).collect();
        for number in subscribed {
            group.partition_counts.insert(topic(*number), counts[usize::from(*number)]);
        }
        let mut owned = BTreeSet::new();
        for (number, index, owner) in had {
            let partition = partitions_of(topic(number), index + 1).last().expect("at least one");
            let owner = group.members.get_mut(&member(owner % members.len()));
            if owned.insert(partition) {
                owner.expect("the remainder is a member").target.insert(partition);
            }
        }
        group
    })
}

/// A group whose members all read all topics.
fn even_group() -> impl Strategy<Value = Subscribers> {
    group().prop_map(|mut group| {
        let all: Arc<BTreeSet<_>> = Arc::new(group.partition_counts.keys().copied().collect());
        for member in group.members.values_mut() {
            member.topics = Arc::clone(&all);
        }
        group
    })
}

fn check_complete(group: &Subscribers, targets: &BTreeMap<MemberId, Partitions>) {
    let mut owners: BTreeMap<_, &MemberId> = BTreeMap::new();
    for (id, target) in targets {
        for partition in target {
            let subscriber = group.members.get(id).expect("only members have targets");
            assert!(subscriber.topics.contains(&partition.stream), "{id:?} does not read it");
            let other = owners.insert(*partition, id);
            assert_eq!(other, None, "{partition:?} has two owners");
        }
    }
    let all = group.partition_counts.iter();
    let all: BTreeSet<_> = all.flat_map(|(topic, count)| partitions_of(*topic, *count)).collect();
    assert_eq!(owners.into_keys().collect::<BTreeSet<_>>(), all, "every partition has an owner");
    assert!(group.members.keys().eq(targets.keys()), "every member has a target");
}

/// The group as it is once everybody has reached its target.
fn settled(group: &Subscribers, targets: &BTreeMap<MemberId, Partitions>) -> Subscribers {
    let mut settled = group.clone();
    for (id, subscriber) in &mut settled.members {
        subscriber.target = targets.get(id).cloned().unwrap_or_default();
    }
    settled
}

fn loads(targets: &BTreeMap<MemberId, Partitions>) -> (usize, usize) {
    let loads = || targets.values().map(BTreeSet::len);
    (loads().min().unwrap_or(0), loads().max().unwrap_or(0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn every_partition_goes_to_one_subscriber(group in group()) {
        for assignor in Assignor::ALL {
            check_complete(&group, &assignor.assign(&group));
        }
    }

    #[test]
    fn nothing_moves_where_nothing_changed(group in group()) {
        for assignor in Assignor::ALL {
            let targets = assignor.assign(&group);
            assert_eq!(assignor.assign(&settled(&group, &targets)), targets, "{assignor:?}");
        }
    }

    #[test]
    fn members_that_read_the_same_get_the_same_number(group in even_group()) {
        let (least, most) = loads(&Assignor::Uniform.assign(&group));
        prop_assert!(most - least <= 1, "uniform: {least} to {most}");
        let (least, most) = loads(&Assignor::Range.assign(&group));
        prop_assert!(most - least <= group.partition_counts.len(), "range: {least} to {most}");
    }

    /// With other subscriptions an even number need not be possible; but no partition is left with
    /// one who has two more than another that could take it.
    #[test]
    fn no_single_move_would_make_uniform_more_even(group in group()) {
        let targets = Assignor::Uniform.assign(&group);
        for (owner, target) in &targets {
            for partition in target {
                let reads = |id: &MemberId| group.members[id].topics.contains(&partition.stream);
                for (other, has) in targets.iter().filter(|(id, _)| reads(id)) {
                    let (more, less) = (target.len(), has.len());
                    prop_assert!(more <= less + 1, "{owner:?} has {more}, {other:?} {less}");
                }
            }
        }
    }

    #[test]
    fn uniform_moves_no_more_than_it_must(group in even_group(), leaver in 0usize..8) {
        let before = Assignor::Uniform.assign(&group);
        let mut group = settled(&group, &before);
        let all = Arc::clone(&group.members[&member(0)].topics);
        let newcomer = MemberId::from_client("newcomer").expect("not empty");
        group.members.insert(newcomer.clone(), Subscriber { topics: all, ..Subscriber::default() });
        let joined = Assignor::Uniform.assign(&group);
        for (id, had) in &before {
            prop_assert!(joined[id].is_subset(had), "{id:?} got something when another joined");
        }
        let mut group = settled(&group, &joined);
        group.members.remove(&member(leaver % before.len()));
        let left = Assignor::Uniform.assign(&group);
        for (id, has) in &left {
            prop_assert!(joined[id].is_subset(has), "{id:?} lost something when another left");
        }
    }
}
