//! Groups and members as Kafka's requests name them: empty texts and -1 stand for "none".

use weir_core::group::error::GroupError;
use weir_core::group::identity::{Claim, GroupId, InstanceId, MemberId};

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
