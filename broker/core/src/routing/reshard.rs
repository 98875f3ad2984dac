//! What a split, a merge or a scaling makes of a stream's partitions, worked out on paper: nothing
//! here is written or sealed. [`change_over`](crate::stream::change_over) carries it out.
//!
//! ```text
//!   split at k              merge                    scale 4 -> 5 (evenly)
//!   [s ........ e]          [a ... b][b+1 ... c]     [    |   ][   |    ][    |   ][   |    ]
//!   [s .. k-1][k .. e]      [a .............. c]     [    ][       ][       ][       ][     ]
//! ```
//!
//! A scaling is a plan of splits and merges, as AWS makes one: each partition is split where the
//! new ranges end inside it, and the pieces of one new range are merged. Most pieces only live
//! inside the plan: they are closed when they are made, hold nothing, and are there for the
//! lineage, since no partition has more than two parents (AWS calls them short-lived).
//!
//! Invariant, which the tests hold every plan to: the open partitions cover the hash keys exactly
//! once, a child's range is the union of its parents' or a part of its one parent's, and what a
//! closed partition covered is covered by its children.

use std::sync::Arc;

use weir_model::hash_key::{HashKey, HashKeyRange};
use weir_model::ids::{PartitionId, PartitionIndex, StreamId};
use weir_model::limits::{STREAM_LINEAGE_MAX, STREAM_PARTITIONS_MAX};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::error::ReshardError;
use crate::partition::partition::{ClosedAt, Origin, Partition};

/// How far a new even range may end from where it should, as a part of its width: an end that there
/// is already within that stays. Rounding makes the ends of 3 and of 6 even ranges differ by a few
/// keys, and nobody wants partitions of a few keys cut off and glued on elsewhere for that.
const UNEVEN_PART_MAX: u128 = 1 << 20;

/// A wish for other partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reshard {
    /// One becomes two.
    Split {
        /// Which.
        partition: PartitionIndex,
        /// The first hash key of the upper one.
        at: HashKey,
    },
    /// Two with ranges next to each other become one.
    Merge {
        /// The parent.
        partition: PartitionIndex,
        /// The adjacent parent; its range may lie on either side.
        adjacent: PartitionIndex,
    },
    /// As many as this, of even width.
    Scale {
        /// How many.
        partitions: u32,
    },
}

/// A stream's partitions as a plan changes them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    drafts: Vec<Draft>,
    /// How many there are already; the drafts behind them are to be made.
    present: usize,
    /// When the change happens, as far as anyone is told.
    time: Timestamp,
}

/// A partition in a plan.
#[derive(Clone, Debug)]
struct Draft {
    hash_keys: HashKeyRange,
    origin: Origin,
    is_open: bool,
}

impl Plan {
    /// Works out a reshard, or says what AWS says against it.
    pub(crate) fn of(
        partitions: &[Arc<Partition>],
        reshard: Reshard,
        now: Timestamp,
    ) -> Result<Plan, ReshardError> {
        let mut plan = Plan::unchanged(partitions, now);
        match reshard {
            Reshard::Split { partition, at } => plan.split_one(partition, at)?,
            Reshard::Merge { partition, adjacent } => plan.merge_two(partition, adjacent)?,
            Reshard::Scale { partitions } => plan.scale(partitions)?,
        }
        let max = u32::try_from(STREAM_PARTITIONS_MAX).unwrap_or(u32::MAX);
        if plan.open_count() > STREAM_PARTITIONS_MAX {
            return Err(ReshardError::PartitionCount { max });
        }
        if plan.drafts.len() > STREAM_LINEAGE_MAX {
            return Err(ReshardError::LineageFull { max: STREAM_LINEAGE_MAX });
        }
        Ok(plan)
    }

    fn unchanged(partitions: &[Arc<Partition>], now: Timestamp) -> Plan {
        let draft = |partition: &Arc<Partition>| Draft {
            hash_keys: partition.hash_keys,
            origin: partition.origin(),
            is_open: partition.is_open(),
        };
        let open = partitions.iter().filter(|partition| partition.is_open());
        // A clock that was set back must not close a partition before it was made.
        let time = open.map(|partition| partition.created).fold(now, Timestamp::max);
        Plan { drafts: partitions.iter().map(draft).collect(), present: partitions.len(), time }
    }

    /// How many are open after it.
    pub(crate) fn open_count(&self) -> usize {
        self.drafts.iter().filter(|draft| draft.is_open).count()
    }

    /// How many it makes, those that live inside it only included.
    pub(crate) fn made_count(&self) -> usize {
        self.drafts.len() - self.present
    }

    /// The partitions that it closes, of those that there are.
    pub(crate) fn parents(&self, partitions: &[Arc<Partition>]) -> Vec<Arc<Partition>> {
        let closes =
            |(partition, draft): &(&Arc<Partition>, &Draft)| partition.is_open() && !draft.is_open;
        let parents = partitions.iter().zip(&self.drafts).filter(closes);
        parents.map(|(partition, _)| Arc::clone(partition)).collect()
    }

    /// The partitions after it; `end_of` says where a parent's log ends.
    pub(crate) fn carried_out(
        &self,
        stream: StreamId,
        partitions: &[Arc<Partition>],
        end_of: impl Fn(PartitionIndex) -> Offset,
    ) -> Vec<Arc<Partition>> {
        assert_eq!(partitions.len(), self.present, "the plan was made for other partitions");
        let closed_at = |end| ClosedAt { end, time: self.time, is_expired: false };
        let carry_out = |(number, draft): (usize, &Draft)| match partitions.get(number) {
            Some(partition) if partition.is_open() == draft.is_open => Arc::clone(partition),
            Some(partition) => Arc::new(partition.closed(closed_at(end_of(partition.id.index)))),
            None => {
                let id = PartitionId { stream, index: index_of(number) };
                // What lives inside the plan only never took a record.
                let closed = (!draft.is_open).then(|| closed_at(Offset::ZERO));
                Arc::new(Partition::new(id, draft.hash_keys, draft.origin, closed))
            }
        };
        self.drafts.iter().enumerate().map(carry_out).collect()
    }

    fn split_one(&mut self, index: PartitionIndex, at: HashKey) -> Result<(), ReshardError> {
        let number = self.find_open(index)?;
        let range = self.range(number);
        // AWS wants each of the two to keep two keys.
        let is_inside = at.0 > range.start().0.saturating_add(1) && at < range.end();
        if !is_inside {
            return Err(ReshardError::SplitKey { range });
        }
        self.split(number, at);
        Ok(())
    }

    fn merge_two(
        &mut self,
        index: PartitionIndex,
        adjacent: PartitionIndex,
    ) -> Result<(), ReshardError> {
        let (number, other) = (self.find_open(index)?, self.find_open(adjacent)?);
        if !self.range(number).is_adjacent_to(self.range(other)) {
            return Err(ReshardError::NotAdjacent);
        }
        self.merge(number, other);
        Ok(())
    }

    fn find_open(&self, index: PartitionIndex) -> Result<usize, ReshardError> {
        let number = index.as_usize();
        match self.drafts.get(number) {
            None => Err(ReshardError::UnknownPartition { partition: index }),
            Some(draft) if !draft.is_open => Err(ReshardError::Closed { partition: index }),
            Some(_) => Ok(number),
        }
    }

    /// Makes even ranges; does nothing where they are even already.
    fn scale(&mut self, partitions: u32) -> Result<(), ReshardError> {
        let max = u32::try_from(STREAM_PARTITIONS_MAX).unwrap_or(u32::MAX);
        if !(1..=max).contains(&partitions) {
            return Err(ReshardError::PartitionCount { max });
        }
        let open = self.open_by_start();
        let present: Vec<HashKey> = open.iter().map(|number| self.range(*number).start()).collect();
        let starts = even_starts(partitions, &present);
        let mut pieces = Vec::with_capacity(open.len() + starts.len());
        for number in open {
            let range = self.range(number);
            let (upto_end, _) =
                starts.split_at(starts.partition_point(|start| *start <= range.end()));
            let (_, inside) =
                upto_end.split_at(upto_end.partition_point(|start| *start <= range.start()));
            self.cut(number, inside, &mut pieces);
        }
        let mut rest = &pieces[..];
        for next in starts.iter().skip(1).copied().map(Some).chain([None]) {
            let belongs = |piece: &usize| next.is_none_or(|next| self.range(*piece).start() < next);
            let (whole, behind) = rest.split_at(rest.partition_point(belongs));
            self.join(whole);
            rest = behind;
        }
        Ok(())
    }

    /// The open ones in the order of their ranges.
    fn open_by_start(&self) -> Vec<usize> {
        let numbered = self.drafts.iter().enumerate();
        let mut open: Vec<usize> =
            numbered.filter(|(_, draft)| draft.is_open).map(|(number, _)| number).collect();
        open.sort_by_key(|number| self.range(*number).start());
        open
    }

    /// Splits a partition at each of the keys, which are ascending and inside its range, and adds
    /// the pieces in order. Halves the keys, so that the lineage is as deep as it must be.
    fn cut(&mut self, number: usize, keys: &[HashKey], pieces: &mut Vec<usize>) {
        let (below, above) = keys.split_at(keys.len() / 2);
        let Some((middle, above)) = above.split_first() else {
            pieces.push(number);
            return;
        };
        let (lower, upper) = self.split(number, *middle);
        self.cut(lower, below, pieces);
        self.cut(upper, above, pieces);
    }

    /// Merges pieces that lie one behind the other; returns the whole.
    fn join(&mut self, pieces: &[usize]) -> usize {
        match pieces {
            [] => unreachable!("each even range begins where a piece does"),
            [whole] => *whole,
            _ => {
                let (below, above) = pieces.split_at(pieces.len() / 2);
                let (lower, upper) = (self.join(below), self.join(above));
                self.merge(lower, upper)
            }
        }
    }

    fn split(&mut self, number: usize, at: HashKey) -> (usize, usize) {
        let halves = self.range(number).split_at(at);
        let (lower, upper) = halves.expect("the key was found inside the range");
        self.close(number);
        let parents = [Some(number), None];
        (self.add(lower, parents), self.add(upper, parents))
    }

    fn merge(&mut self, number: usize, adjacent: usize) -> usize {
        let both = self.range(number).merged_with(self.range(adjacent));
        let both = both.expect("the ranges were found next to each other");
        self.close(number);
        self.close(adjacent);
        self.add(both, [Some(number), Some(adjacent)])
    }

    fn range(&self, number: usize) -> HashKeyRange {
        self.draft(number).hash_keys
    }

    fn draft(&self, number: usize) -> &Draft {
        self.drafts.get(number).expect("numbers come from the plan itself")
    }

    fn close(&mut self, number: usize) {
        let draft = self.drafts.get_mut(number).expect("numbers come from the plan itself");
        assert!(draft.is_open, "a partition would have two sets of children");
        draft.is_open = false;
    }

    fn add(&mut self, hash_keys: HashKeyRange, parents: [Option<usize>; 2]) -> usize {
        let parents_from = parents.iter().flatten().map(|parent| {
            // A second later, since sequence numbers count whole ones.
            self.draft(*parent).origin.numbered_from.plus_millis(1_000)
        });
        let origin = Origin {
            created: self.time,
            numbered_from: parents_from.fold(self.time, Timestamp::max),
            parents: parents.map(|parent| parent.map(index_of)),
        };
        self.drafts.push(Draft { hash_keys, origin, is_open: true });
        self.drafts.len() - 1
    }
}

/// Where `count` even ranges begin, each at a start that there is if one is close.
fn even_starts(count: u32, present: &[HashKey]) -> Vec<HashKey> {
    let tolerance = u128::MAX / u128::from(count) / UNEVEN_PART_MAX;
    let nearest = |wanted: HashKey| {
        let after = present.partition_point(|start| *start <= wanted);
        let below = after.checked_sub(1).and_then(|before| present.get(before));
        let close = below.into_iter().chain(present.get(after));
        close.copied().find(|start| start.0.abs_diff(wanted.0) <= tolerance).unwrap_or(wanted)
    };
    HashKeyRange::even_ranges(count).into_iter().map(|range| nearest(range.start())).collect()
}

fn index_of(number: usize) -> PartitionIndex {
    PartitionIndex::try_from(number).expect("a lineage has far fewer partitions than indexes")
}

#[cfg(test)]
mod tests;
