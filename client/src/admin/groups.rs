//! Consumer groups, whatever their members speak: which there are, how far they have read, and
//! where they are to read on.

use std::sync::atomic::AtomicBool;

use weir_proto::v1;
use weir_proto::v1::reset_positions_request::To;

use super::{Admin, is_own, note_loss};
use crate::error::{Error, Reason};

pub use weir_proto::v1::{
    DescribeGroupResponse as GroupDescription, GroupProgress, GroupState, GroupSummary, GroupType,
    MemberDescription, ResetPosition, StreamPartitions,
};

/// Where a group is to read on, and whether it really is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The group, which may have no members at that time.
    pub group: String,
    /// Which partitions; all that it has positions in, where it is empty.
    pub partitions: Vec<StreamPartitions>,
    /// Where to.
    pub to: ResetTo,
    /// Only say what would be done.
    pub preview: bool,
}

/// Where a group is to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At this offset.
    Offset(u64),
    /// At the first record with this timestamp or a later one, in milliseconds since 1970.
    TimestampMs(i64),
    /// So many offsets on, or back, from where it is.
    By(i64),
}

impl Admin {
    /// All groups whose names begin so, ordered by name.
    pub async fn list_groups(&self, prefix: &str) -> Result<Vec<GroupSummary>, Error> {
        let request = v1::ListGroupsRequest { prefix: prefix.to_owned(), states: Vec::new() };
        let call = || {
            let (mut groups, request) = (self.client.groups(), request.clone());
            async move { Ok(groups.list_groups(request).await?.into_inner().groups) }
        };
        self.client.retry().run(call).await
    }

    /// One group with its members and how far it has read.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let request = v1::DescribeGroupRequest { group: group.to_owned() };
        let call = || {
            let (mut groups, request) = (self.client.groups(), request.clone());
            async move { Ok(groups.describe_group(request).await?.into_inner()) }
        };
        self.client.retry().run(call).await
    }

    /// Removes a group without members, and what is known of how far it has read.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let request = v1::DeleteGroupRequest { group: group.to_owned() };
        let was_lost = AtomicBool::new(false);
        let call = || {
            let (mut groups, request) = (self.client.groups(), request.clone());
            let was_lost = &was_lost;
            async move {
                let removed = groups.delete_group(request).await.map_err(Error::from);
                note_loss(&removed, was_lost);
                removed.map(|_| ())
            }
        };
        match self.client.retry().run(call).await {
            Err(error) if is_own(&error, Reason::UnknownGroup, &was_lost) => Ok(()),
            removed => removed,
        }
    }

    /// Has a group read on somewhere else, in all partitions or none. Returns where it was and
    /// where it is, or would be.
    pub async fn reset_group(&self, reset: Reset) -> Result<Vec<ResetPosition>, Error> {
        let Reset { group, partitions, to, preview } = reset;
        let to = Some(match to {
            ResetTo::Earliest => To::Earliest(true),
            ResetTo::Latest => To::Latest(true),
            ResetTo::Offset(offset) => To::Offset(offset),
            ResetTo::TimestampMs(timestamp_ms) => To::TimestampMs(timestamp_ms),
            ResetTo::By(offsets) => To::ShiftBy(offsets),
        });
        let request = v1::ResetPositionsRequest { group, streams: partitions, to, preview };
        // One by which it is moved twice is no reset to the same place.
        let is_relative = matches!(request.to, Some(To::ShiftBy(_))) && !preview;
        let call = || {
            let (mut groups, request) = (self.client.groups(), request.clone());
            async move { Ok(groups.reset_positions(request).await?.into_inner().positions) }
        };
        match is_relative {
            true => super::change::once(self.client.retry(), call).await,
            false => self.client.retry().run(call).await,
        }
    }
}
