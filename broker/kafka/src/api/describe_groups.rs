//! DescribeGroups (key 15), versions 0 to 6: classic groups in full, with their members.
//!
//! - What members said is told of a stable group only; in a rebalance it means nothing.
//! - A group that is not there, or one of another protocol, is in state `Dead` without an error;
//!   6+: GROUP_ID_NOT_FOUND.
//! - A group that is named twice is answered once; more than 200,000 close the connection.
//! - 3+: the operations that the client may do, if it asks: all of them.
//! - 4+: static members' names.
//!
//! Left out: nothing.

use weir_core::group::description::{ClassicDescription, DescribedMember, Description};
use weir_core::group::error::GroupError;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use crate::answers::{check_asked, each_once};
use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::{GROUP_OPERATIONS_ALL, OPERATIONS_NOT_ASKED, group_id, state_name};

pub(crate) const GAPS: &[&str] = &[];

/// First version that says of a group that it is not there.
const NOT_FOUND_FROM: i16 = 6;

/// The state of a group that is not there.
const DEAD: &str = "Dead";

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeGroupsRequest,
) -> Result<DescribeGroupsResponse, CloseReason> {
    check_asked(request.groups.len())?;
    let asked = each_once(request.groups);
    let mut groups = Vec::with_capacity(asked.len());
    for group in asked {
        let mut described = describe(&context, &group).await;
        if request.include_authorized_operations && described.error_code == ErrorCode::NONE.0 {
            described.authorized_operations = GROUP_OPERATIONS_ALL;
        }
        groups.push(DescribedGroup { group_id: group, ..described });
    }
    Ok(DescribeGroupsResponse { throttle_time_ms: 0, groups })
}

async fn describe(context: &RequestContext, group: &str) -> DescribedGroup {
    let found = match group_id(group) {
        Ok(id) => context.broker().groups().describe(&id).await,
        // A name that no group can have is one that no group has.
        Err(_) => Err(GroupError::GroupNotFound),
    };
    let none =
        DescribedGroup { authorized_operations: OPERATIONS_NOT_ASKED, ..DescribedGroup::default() };
    match found {
        Ok(Description::Classic(classic)) => classic_group(classic, none),
        Ok(Description::Modern(_)) => {
            not_found(context, none, format!("Group {} is not a classic group.", ClientText(group)))
        }
        Err(GroupError::GroupNotFound) => {
            not_found(context, none, format!("Group {} not found.", ClientText(group)))
        }
        Err(error) => DescribedGroup { error_code: context.answer_code(group_code(error)), ..none },
    }
}

fn not_found(context: &RequestContext, none: DescribedGroup, text: String) -> DescribedGroup {
    let dead = DescribedGroup { group_state: DEAD.to_owned(), ..none };
    if context.version < NOT_FOUND_FROM {
        return dead;
    }
    let error_code = context.answer_code(ErrorCode::GROUP_ID_NOT_FOUND);
    DescribedGroup { error_code, error_message: Some(text), ..dead }
}

fn classic_group(group: ClassicDescription, none: DescribedGroup) -> DescribedGroup {
    DescribedGroup {
        group_state: state_name(group.state).to_owned(),
        protocol_type: group.protocol_type.map(|text| text.to_string()).unwrap_or_default(),
        protocol_data: group.protocol.map(|text| text.to_string()).unwrap_or_default(),
        members: group.members.into_iter().map(member).collect(),
        ..none
    }
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member.as_str().to_owned(),
        group_instance_id: member.instance.map(|instance| instance.as_str().to_owned()),
        client_id: member.client.id.to_string(),
        client_host: member.client.host.to_string(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}
