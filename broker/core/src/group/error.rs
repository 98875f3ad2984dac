//! Why a group request is refused, by what the client can do about it.

use crate::group::identity::MemberId;

/// Why the coordinator refused a request about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// The group's id is empty or too long.
    InvalidGroupId,
    /// The session timeout is outside the broker's bounds.
    InvalidSessionTimeout,
    /// The member's protocols and the group's have nothing in common, or their types differ.
    InconsistentProtocol,
    /// No such member: it never was one, left, or was silent for too long. It joins anew.
    UnknownMember,
    /// Another client has taken this static member's place; this one must stop.
    FencedInstance,
    /// The request belongs to another generation of the group. The member joins again.
    IllegalGeneration,
    /// The member has reached another epoch; with its next heartbeat it knows which.
    StaleMemberEpoch,
    /// The group is being rebalanced. The member joins again.
    RebalanceInProgress,
    /// The member has an id now and is to join again with it (KIP-394).
    MemberIdRequired,
    /// The group has as many members as it may.
    GroupFull,
    /// No such group, and the request cannot make one.
    GroupNotFound,
    /// The group has members, so it cannot be deleted.
    NonEmptyGroup,
    /// The broker keeps as many groups as it may.
    TooManyGroups,
    /// What the member says, or what the leader assigns, is larger than the broker keeps.
    TooLarge,
    /// The group's log cannot be written or read now; later it may be.
    NotAvailable,
    /// The broker is stopping.
    ShuttingDown,
}

/// Why a member did not get into a group, and the id that it should use next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// Why.
    pub error: GroupError,
    /// With [`GroupError::MemberIdRequired`] the id to join with, else the one that was sent.
    pub member: Option<MemberId>,
}

/// Why one partition's offset was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The stream was deleted or has no such partition.
    UnknownPartition,
    /// The text beside the offset is longer than the broker keeps.
    MetadataTooLarge,
}

/// Why one partition's offset was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOffsetError {
    /// A member is subscribed to the stream, or may be.
    Subscribed,
}
