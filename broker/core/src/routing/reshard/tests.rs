//! Splits, merges and scalings against their invariants: chosen cases, and random histories.

use proptest::prelude::*;
use weir_model::hash_key::HashKeyRange;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const STREAM: StreamId = StreamId::from_bytes([1; 16]);

fn index(number: usize) -> PartitionIndex {
    index_of(number)
}

/// A stream of even partitions that nobody has changed yet.
fn even(count: u32) -> Vec<Arc<Partition>> {
    let partition = |(number, range)| {
        let id = PartitionId { stream: STREAM, index: index(number) };
        Arc::new(attached(Partition::new(id, range, Origin::without_parents(NOW), None)))
    };
    HashKeyRange::even_ranges(count).into_iter().enumerate().map(partition).collect()
}

fn attached(partition: Partition) -> Partition {
    partition.attach(Arc::default());
    partition
}

/// What a reshard makes of partitions; logs end at 7 times their partition's number.
fn resharded(
    partitions: &[Arc<Partition>],
    reshard: Reshard,
    now: Timestamp,
) -> Result<Vec<Arc<Partition>>, ReshardError> {
    let plan = Plan::of(partitions, reshard, now)?;
    let end_of = |index: PartitionIndex| Offset::new(u64::from(index.as_u32()) * 7);
    let after = plan.carried_out(STREAM, partitions, end_of);
    for made in after.iter().skip(partitions.len()) {
        made.attach(Arc::default());
    }
    Ok(after)
}

fn split(number: usize, at: u128) -> Reshard {
    Reshard::Split { partition: index(number), at: HashKey(at) }
}

fn merge(number: usize, adjacent: usize) -> Reshard {
    Reshard::Merge { partition: index(number), adjacent: index(adjacent) }
}

fn open_ranges(partitions: &[Arc<Partition>]) -> Vec<HashKeyRange> {
    let open = partitions.iter().filter(|partition| partition.is_open());
    let mut ranges: Vec<_> = open.map(|partition| partition.hash_keys).collect();
    ranges.sort_by_key(|range| range.start());
    ranges
}

/// What is wrong with a lineage, in words; none if nothing is.
fn fault(partitions: &[Arc<Partition>]) -> Option<String> {
    let ranges = open_ranges(partitions);
    let ends = (ranges.first().map(|r| r.start()), ranges.last().map(|r| r.end()));
    if ends != (Some(HashKey::MIN), Some(HashKey::MAX)) {
        return Some(format!("open ranges reach from {:?} to {:?}", ends.0, ends.1));
    }
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].end().0 + 1 != pair[1].start().0) {
        return Some(format!("a hole or an overlap between {pair:?}"));
    }
    for (number, partition) in partitions.iter().enumerate() {
        let children: Vec<_> =
            partitions.iter().filter(|p| p.parents.contains(&Some(index(number)))).collect();
        match (partition.closed_at(), children.as_slice()) {
            (None, []) => {}
            (Some(closed), children @ ([_] | [_, _])) => {
                let range = partition.hash_keys;
                let covered = match children {
                    [merged] => covers(merged.hash_keys, range),
                    [a, b] => a.hash_keys.merged_with(b.hash_keys) == Some(range),
                    _ => false,
                };
                if !covered {
                    return Some(format!("{number}'s children do not cover it"));
                }
                for child in children {
                    if child.created != closed.time {
                        return Some(format!("{number} closes when its children do not open"));
                    }
                    let (from, to) = (partition.numbered_from, child.numbered_from);
                    if to.as_seconds() <= from.as_seconds() {
                        return Some(format!("numbers of {number} may be above its children's"));
                    }
                }
            }
            _ => return Some(format!("{number} is open with children, or closed without")),
        }
    }
    None
}

fn covers(whole: HashKeyRange, part: HashKeyRange) -> bool {
    whole.contains(part.start()) && whole.contains(part.end())
}

#[test]
fn a_split_has_two_children_and_closes_its_parent_where_its_log_ends() {
    let after = resharded(&even(2), split(1, 3 << 126), NOW).expect("inside");
    let shown: Vec<_> = after
        .iter()
        .map(|p| (p.hash_keys.start().0, p.parents[0].map(PartitionIndex::as_usize)))
        .collect();
    assert_eq!(shown, [(0, None), (1 << 127, None), (1 << 127, Some(1)), (3 << 126, Some(1))]);
    let closed: Vec<_> = after.iter().map(|p| p.closed_at()).collect();
    let at = ClosedAt { end: Offset::new(7), time: NOW, is_expired: false };
    assert_eq!(closed, [None, Some(at), None, None]);
    assert_eq!(after[2].numbered_from, NOW.plus_millis(1_000), "made in its parent's second");
    assert_eq!(fault(&after), None);
}

#[test]
fn a_merge_takes_its_parents_in_either_order() {
    for (number, adjacent) in [(0, 1), (1, 0)] {
        let after = resharded(&even(3), merge(number, adjacent), NOW).expect("adjacent");
        let child = &after[3];
        assert_eq!(child.parents, [Some(index(number)), Some(index(adjacent))]);
        assert_eq!(child.hash_keys.start(), HashKey::MIN);
        assert_eq!(child.hash_keys.end(), after[1].hash_keys.end());
        assert_eq!(fault(&after), None);
    }
}

#[test]
fn what_aws_refuses_is_refused() {
    let half = 1 << 127;
    let split_once = resharded(&even(2), split(0, 1 << 126), NOW).expect("inside");
    let lower = HashKeyRange::new(HashKey::MIN, HashKey(half - 1)).expect("not empty");
    let key = |range| Some(ReshardError::SplitKey { range });
    let closed = Some(ReshardError::Closed { partition: index(0) });
    let too_many = Some(ReshardError::PartitionCount { max: 10_000 });
    for (partitions, reshard, expected) in [
        (even(2), split(0, 0), key(lower)),
        (even(2), split(0, 1), key(lower)),
        (even(2), split(0, 2), None),
        (even(2), split(0, half - 2), None),
        (even(2), split(0, half - 1), key(lower)),
        (even(2), split(0, u128::MAX), key(lower)),
        (even(2), split(2, 5), Some(ReshardError::UnknownPartition { partition: index(2) })),
        (even(3), merge(0, 2), Some(ReshardError::NotAdjacent)),
        (even(3), merge(1, 1), Some(ReshardError::NotAdjacent)),
        (even(2), merge(0, 5), Some(ReshardError::UnknownPartition { partition: index(5) })),
        (split_once.clone(), split(0, 1 << 125), closed.clone()),
        (split_once.clone(), merge(1, 0), closed),
        (split_once, merge(3, 1), None),
        (even(2), Reshard::Scale { partitions: 0 }, too_many.clone()),
        (even(2), Reshard::Scale { partitions: 10_001 }, too_many),
    ] {
        let outcome = resharded(&partitions, reshard, NOW);
        assert_eq!(outcome.err(), expected, "{reshard:?}");
    }
}

#[test]
fn scaling_makes_even_ranges_with_as_few_steps_as_it_takes() {
    for (from, to, made) in [
        (1, 2, 2),
        (2, 4, 4),
        (4, 2, 2),
        // As AWS: 4 splits and 3 merges.
        (4, 5, 11),
        (3, 6, 6),
        (6, 3, 3),
        (7, 7, 0),
        (5, 3, 2 * 2 + 4),
        (1_000, 2_000, 2_000),
    ] {
        let reshard = Reshard::Scale { partitions: to };
        let after = resharded(&even(from), reshard, NOW).expect("legal");
        assert_eq!(after.len() - from as usize, made, "{from} to {to}");
        assert_eq!(fault(&after), None, "{from} to {to}");
        check_even(&after, to);
    }
}

fn check_even(partitions: &[Arc<Partition>], count: u32) {
    let ranges = open_ranges(partitions);
    assert_eq!(ranges.len(), count as usize);
    let width = u128::MAX / u128::from(count);
    for range in ranges {
        let actual = range.end().0 - range.start().0;
        assert!(actual.abs_diff(width) <= width >> 18, "{range:?} of {count}");
    }
}

#[test]
fn a_clock_that_was_set_back_closes_nothing_before_it_was_made() {
    let after = resharded(&even(1), split(0, 99), NOW.plus_millis(-5_000)).expect("inside");
    assert_eq!(after[0].closed_at().map(|closed| closed.time), Some(NOW));
    assert_eq!(after[1].created, NOW);
}

/// Says nothing of where and which: the history's own partitions decide that.
#[derive(Clone, Debug)]
enum Step {
    Split { pick: prop::sample::Index, part: u128 },
    Merge { pick: prop::sample::Index, is_swapped: bool },
    Scale { partitions: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let pick = any::<prop::sample::Index>;
    prop_oneof![
        4 => (pick(), any::<u128>()).prop_map(|(pick, part)| Step::Split { pick, part }),
        4 => (pick(), any::<bool>())
            .prop_map(|(pick, is_swapped)| Step::Merge { pick, is_swapped }),
        1 => (1..20u32).prop_map(|partitions| Step::Scale { partitions }),
    ]
}

impl Step {
    /// What it asks of these partitions; none where it cannot be asked.
    fn of(&self, partitions: &[Arc<Partition>]) -> Option<Reshard> {
        let mut open: Vec<_> = partitions.iter().filter(|p| p.is_open()).collect();
        open.sort_by_key(|partition| partition.hash_keys.start());
        match self {
            Step::Split { pick, part } => {
                let partition = pick.get(&open);
                let (start, end) = (partition.hash_keys.start().0, partition.hash_keys.end().0);
                let width = end - start;
                // Below 4 keys nothing can be split.
                (width >= 3)
                    .then(|| split(partition.id.index.as_usize(), start + 2 + part % (width - 2)))
            }
            Step::Merge { pick, is_swapped } => {
                let pairs: Vec<_> = open.windows(2).collect();
                let pair = (!pairs.is_empty()).then(|| *pick.get(&pairs))?;
                let [lower, upper] = [pair[0], pair[1]].map(|p| p.id.index.as_usize());
                Some(if *is_swapped { merge(upper, lower) } else { merge(lower, upper) })
            }
            Step::Scale { partitions } => Some(Reshard::Scale { partitions: *partitions }),
        }
    }
}

proptest! {
    #[test]
    fn the_open_partitions_always_cover_the_keys_once_and_the_lineage_fits(
        count in 1..8u32,
        steps in proptest::collection::vec((step(), 0..1_500i64), 1..30),
    ) {
        let (mut partitions, mut now) = (even(count), NOW);
        for (step, pause_ms) in steps {
            now = now.plus_millis(pause_ms);
            let Some(reshard) = step.of(&partitions) else { continue };
            let after = match resharded(&partitions, reshard, now) {
                Ok(after) => after,
                Err(error) => return Err(TestCaseError::fail(format!("{reshard:?}: {error:?}"))),
            };
            prop_assert_eq!(fault(&after), None, "after {:?}", reshard);
            for (before, after) in partitions.iter().zip(&after) {
                let kept = before.closed_at().is_none() || before.closed_at() == after.closed_at();
                prop_assert!(kept && before.hash_keys == after.hash_keys, "the past was changed");
            }
            if let Reshard::Scale { partitions } = reshard {
                check_even(&after, partitions);
            }
            partitions = after;
        }
    }
}

#[test]
fn the_fault_finder_finds_faults() {
    let sound = resharded(&even(2), split(0, 1 << 126), NOW).expect("inside");
    assert_eq!(fault(&sound), None);
    let without = |number: usize| {
        let mut partitions = sound.clone();
        partitions.remove(number);
        partitions
    };
    assert!(fault(&without(1)).is_some(), "a hole");
    assert!(fault(&without(3)).is_some(), "a child is missing");
    let mut reopened = sound.clone();
    reopened[0] = even(2).remove(0);
    assert!(fault(&reopened).is_some(), "an overlap");
}
