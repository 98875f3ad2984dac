//! How far groups have read, for whoever watches them: committed offsets and numbers of members.

use weir_model::ids::{PartitionIndex, StreamName};
use weir_model::offset::Offset;

use crate::group::identity::GroupId;
use crate::group::offsets::CommittedOffset;
use crate::group::state::Group;

/// What is told of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProgress {
    /// Its name.
    pub id: GroupId,
    /// How many members it has.
    pub members: usize,
    /// What it has committed for the streams that there are, by name and partition: the next record
    /// to read.
    pub offsets: Vec<(StreamName, PartitionIndex, Offset)>,
}

impl Group {
    /// How far the group has read; `lives` says whether an offset is for a stream that there is.
    pub(crate) fn how_far(
        &self,
        id: &GroupId,
        lives: impl Fn(&StreamName, &CommittedOffset) -> bool,
    ) -> GroupProgress {
        let living =
            self.offsets().iter().filter(|(stream, _, committed)| lives(stream, committed));
        let offset = |(stream, partition, committed): (&StreamName, _, &CommittedOffset)| {
            (stream.clone(), partition, committed.offset)
        };
        GroupProgress {
            id: id.clone(),
            members: self.membership().member_count(),
            offsets: living.map(offset).collect(),
        }
    }
}
