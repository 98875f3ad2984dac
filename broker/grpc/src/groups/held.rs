//! What one member has, and what it is to give up and may still be reading.
//!
//! ```text
//!   move_to ──> assigned ── move_to without it ──> revoking ── released ──> gone
//! ```
//!
//! Both together are what the member owns as far as the group knows: nobody else gets a partition
//! before it has left this table.

use std::collections::BTreeMap;

use weir_core::group::assignor::Partitions;
use weir_core::group::offsets::PartitionName;
use weir_model::ids::{PartitionId, PartitionIndex, StreamId, StreamName};
use weir_proto::v1::StreamPartitions;

/// The partitions of a member, by the names that it knows them by.
#[derive(Debug, Default)]
pub(crate) struct Held {
    assigned: BTreeMap<PartitionName, StreamId>,
    revoking: BTreeMap<PartitionName, StreamId>,
}

/// What a new assignment changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) added: Vec<(PartitionName, StreamId)>,
    pub(crate) revoked: Vec<PartitionName>,
}

impl Held {
    /// What the member owns.
    pub(crate) fn owned(&self) -> Partitions {
        let all = self.assigned.iter().chain(&self.revoking);
        all.map(|((_, index), stream)| PartitionId { stream: *stream, index: *index }).collect()
    }

    /// Takes a new assignment. Streams without a name are gone: nobody can read them.
    pub(crate) fn move_to(
        &mut self,
        assignment: &Partitions,
        name_of: impl Fn(StreamId) -> Option<StreamName>,
    ) -> Moved {
        let mut moved = Moved::default();
        self.assigned.retain(|name, stream| {
            let stays = assignment.contains(&PartitionId { stream: *stream, index: name.1 });
            if !stays {
                self.revoking.insert(name.clone(), *stream);
                moved.revoked.push(name.clone());
            }
            stays
        });
        for PartitionId { stream, index } in assignment {
            let Some(name) = name_of(*stream) else { continue };
            let name = (name, *index);
            if self.assigned.insert(name.clone(), *stream).is_none() {
                moved.added.push((name, *stream));
            }
        }
        moved
    }

    /// Takes what the member has given up; whether there is any of what it was to.
    pub(crate) fn release(&mut self, released: &[StreamPartitions]) -> bool {
        let before = self.revoking.len();
        for StreamPartitions { stream, partitions } in released {
            let Ok(stream) = StreamName::new(stream) else { continue };
            for index in partitions {
                let Ok(index) = PartitionIndex::try_from(i64::from(*index)) else { continue };
                self.revoking.remove(&(stream.clone(), index));
            }
        }
        self.revoking.len() < before
    }

    /// The partition of that name, if the member has it or has not released it.
    pub(crate) fn find(&self, stream: &str, partition: u32) -> Option<PartitionId> {
        let index = PartitionIndex::try_from(i64::from(partition)).ok()?;
        let name = (StreamName::new(stream).ok()?, index);
        let stream = self.assigned.get(&name).or_else(|| self.revoking.get(&name))?;
        Some(PartitionId { stream: *stream, index })
    }
}

/// Partitions as messages list them: those of a stream together.
pub(crate) fn by_stream<'a>(
    partitions: impl IntoIterator<Item = (&'a str, PartitionIndex)>,
) -> Vec<StreamPartitions> {
    let mut streams: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (stream, index) in partitions {
        streams.entry(stream).or_default().push(index.as_u32());
    }
    let listed = |(stream, partitions): (&str, _)| StreamPartitions {
        stream: stream.to_owned(),
        partitions,
    };
    streams.into_iter().map(listed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["orders", "again"];

    fn stream(number: u8) -> StreamId {
        StreamId::from_bytes([number; 16])
    }

    fn index(number: usize) -> PartitionIndex {
        PartitionIndex::try_from(number).expect("small")
    }

    /// Partitions of stream 0; from 10 on of stream 1, from 20 on of one that is gone.
    fn partitions(numbers: &[usize]) -> Partitions {
        let partition = |number: &usize| PartitionId {
            stream: stream(u8::try_from(number / 10).expect("small")),
            index: index(number % 10),
        };
        numbers.iter().map(partition).collect()
    }

    fn name_of(id: StreamId) -> Option<StreamName> {
        let known = (0..2).find(|number| stream(*number) == id)?;
        StreamName::new(NAMES[usize::from(known)]).ok()
    }

    fn named(name: &str, number: usize) -> PartitionName {
        (StreamName::new(name).expect("a name"), index(number))
    }

    fn listed(stream: &str, partitions: &[u32]) -> Vec<StreamPartitions> {
        vec![StreamPartitions { stream: stream.to_owned(), partitions: partitions.to_vec() }]
    }

    #[test]
    fn what_is_revoked_is_owned_until_it_is_released() {
        let mut held = Held::default();
        let moved = held.move_to(&partitions(&[0, 1, 10, 20]), name_of);
        let added: Vec<_> = moved.added.into_iter().map(|(name, _)| name).collect();
        assert_eq!(added, [named("orders", 0), named("orders", 1), named("again", 0)]);
        assert_eq!(held.owned(), partitions(&[0, 1, 10]), "nobody can read what is gone");

        let moved = held.move_to(&partitions(&[1]), name_of);
        assert_eq!(moved.revoked, [named("again", 0), named("orders", 0)]);
        assert_eq!(held.owned(), partitions(&[0, 1, 10]));
        assert!(held.find("orders", 0).is_some(), "its position can still be kept");

        assert!(!held.release(&listed("orders", &[1, 7])), "it was not to give these up");
        assert!(held.release(&listed("orders", &[0, 1])));
        assert_eq!(held.owned(), partitions(&[1, 10]));
        assert_eq!((held.find("orders", 0), held.find("a b", 0)), (None, None));
    }

    #[test]
    fn a_stream_that_was_made_again_is_another_one() {
        let mut held = Held::default();
        held.move_to(&partitions(&[0]), name_of);
        let same_name = |_| StreamName::new("orders").ok();
        let moved = held.move_to(&partitions(&[10]), same_name);
        assert_eq!(moved.revoked, [named("orders", 0)]);
        assert_eq!(moved.added, [(named("orders", 0), stream(1))]);
        let new = PartitionId { stream: stream(1), index: index(0) };
        assert_eq!(held.find("orders", 0), Some(new));
        assert!(held.release(&listed("orders", &[0])), "the old one");
        assert_eq!(held.owned(), Partitions::from([new]));
    }

    #[test]
    fn lists_have_each_stream_once() {
        let all = [("b", index(1)), ("a", index(0)), ("b", index(0))];
        let expected = [listed("a", &[0]), listed("b", &[1, 0])].concat();
        assert_eq!(by_stream(all), expected);
    }
}
