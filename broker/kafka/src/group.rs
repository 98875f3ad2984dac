//! Groups and members as Kafka's requests name them: empty texts and -1 stand for "none".

use weir_core::group::description::{GroupState, GroupType};
use weir_core::group::error::GroupError;
use weir_core::group::identity::{Claim, GroupId, InstanceId, MemberId};

/// Read, Delete, Describe, DescribeConfigs and AlterConfigs: all that may be done to a group.
pub(crate) const GROUP_OPERATIONS_ALL: i32 = 0b1101_0100_1000;
/// What stands for "the client did not ask for the operations".
pub(crate) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

/// The group that a request names.
pub(crate) fn group_id(text: &str) -> Result<GroupId, GroupError> {
    GroupId::new(text).map_err(|_| GroupError::InvalidGroupId)
}

/// Who a request says it comes from.
pub(crate) fn claim(member: &str, instance: Option<&str>, generation: i32) -> Claim {
    Claim {
        member: MemberId::from_client(member),
        instance: instance.map(InstanceId::new),
        generation: (generation >= 0).then_some(generation),
    }
}

/// A group's state, by the name that tools print.
pub(crate) fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Assigning => "Assigning",
        GroupState::Reconciling => "Reconciling",
        GroupState::Stable => "Stable",
    }
}

/// A group's type, by the name that tools print.
pub(crate) fn type_name(group_type: GroupType) -> &'static str {
    match group_type {
        GroupType::Classic => "classic",
        GroupType::Consumer => "consumer",
    }
}
