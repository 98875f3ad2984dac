//! LeaveGroup (key 13), versions 0 to 5: members go, and the others need not wait for a timeout.
//!
//! - 0 to 2: one member, whose error is the answer's.
//! - 3+: many, each with an error of its own; a static member may be removed by its
//!   `group_instance_id` alone (KIP-345). The answer's own error is for the group's name.
//!
//! Left out: the reasons (5+) are not used.

use weir_core::group::classic::Leaving;
use weir_core::group::error::GroupError;
use weir_core::group::identity::{InstanceId, MemberId};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::group_id;

pub(crate) const GAPS: &[&str] = &["the reasons (5+) are not used"];

/// First version with many members.
const MANY_MEMBERS_FROM: i16 = 3;

pub(crate) async fn handle(
    context: RequestContext,
    request: LeaveGroupRequest,
) -> Result<LeaveGroupResponse, CloseReason> {
    let is_many = context.version >= MANY_MEMBERS_FROM;
    let members = if is_many {
        request.members
    } else {
        vec![MemberIdentity { member_id: request.member_id, ..Default::default() }]
    };
    let code = |result: Result<(), GroupError>| {
        let code = result.map_or_else(group_code, |()| ErrorCode::NONE);
        context.answer_code(code)
    };
    let results = match leave(&context, &request.group_id, &members).await {
        Ok(results) => results,
        Err(error) => {
            return Ok(LeaveGroupResponse { error_code: code(Err(error)), ..Default::default() });
        }
    };
    let answer = |(member, result): (MemberIdentity, _)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: code(result),
    };
    let members: Vec<_> = members.into_iter().zip(results).map(answer).collect();
    if is_many {
        return Ok(LeaveGroupResponse { members, ..Default::default() });
    }
    let error_code = members.first().map_or(ErrorCode::NONE.0, |member| member.error_code);
    Ok(LeaveGroupResponse { error_code, ..Default::default() })
}

async fn leave(
    context: &RequestContext,
    group: &str,
    members: &[MemberIdentity],
) -> Result<Vec<Result<(), GroupError>>, GroupError> {
    let group = group_id(group)?;
    let leaving = |member: &MemberIdentity| Leaving {
        member: MemberId::from_client(&member.member_id),
        instance: member.group_instance_id.as_deref().map(InstanceId::new),
    };
    let leaving = members.iter().map(leaving).collect();
    context.broker().groups().leave(&group, leaving).await
}
