//! ListGroups (key 16), versions 0 to 5: the names of all groups and what kind they are.
//!
//! - 4+: each group's state is told, and only groups in the states of the filter are listed; case
//!   and spaces around a state do not matter, and a state that does not exist matches nothing.
//! - 5+: likewise its type, whose case does not matter.
//! - A group of offsets that no member committed has an empty protocol type and is a classic one.
//!
//! Left out: nothing.

use weir_core::group::description::ListedGroup as Listed;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::list_groups::{
    ListGroupsRequest, ListGroupsResponse, ListedGroup,
};

use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::{state_name, type_name};

pub(crate) const GAPS: &[&str] = &[];

pub(crate) async fn handle(
    context: RequestContext,
    request: ListGroupsRequest,
) -> Result<ListGroupsResponse, CloseReason> {
    let found = match context.broker().groups().list().await {
        Ok(found) => found,
        Err(error) => {
            let error_code = context.answer_code(group_code(error));
            return Ok(ListGroupsResponse { error_code, ..Default::default() });
        }
    };
    let groups = found.into_iter().filter(|group| is_wanted(group, &request)).map(listed);
    let error_code = ErrorCode::NONE.0;
    Ok(ListGroupsResponse { throttle_time_ms: 0, error_code, groups: groups.collect() })
}

fn is_wanted(group: &Listed, request: &ListGroupsRequest) -> bool {
    let ListGroupsRequest { states_filter, types_filter } = request;
    let state = state_name(group.state);
    let group_type = type_name(group.group_type);
    (states_filter.is_empty()
        || states_filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(state)))
        && (types_filter.is_empty()
            || types_filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(group_type)))
}

fn listed(group: Listed) -> ListedGroup {
    ListedGroup {
        group_id: group.id.as_str().to_owned(),
        protocol_type: group.protocol_type.map(|text| text.to_string()).unwrap_or_default(),
        group_state: state_name(group.state).to_owned(),
        group_type: type_name(group.group_type).to_owned(),
    }
}
