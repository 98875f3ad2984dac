//! DeleteGroups (key 42), versions 0 to 2: groups without members go, and their offsets with them.
//!
//! - NON_EMPTY_GROUP for one that has members, GROUP_ID_NOT_FOUND for one that is not there.
//! - A group that is named twice is deleted, and answered for, once.
//!
//! The answer comes when the deletions are kept as the groups' log promises.
//!
//! Left out: nothing.

use std::collections::BTreeSet;

use weir_core::group::error::GroupError;
use weir_core::group::identity::GroupId;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::group_id;

pub(crate) const GAPS: &[&str] = &[];

pub(crate) async fn handle(
    context: RequestContext,
    request: DeleteGroupsRequest,
) -> Result<DeleteGroupsResponse, CloseReason> {
    let names: BTreeSet<String> = request.groups_names.into_iter().collect();
    // A name that no group can have is one that no group has.
    let ids: Vec<Option<GroupId>> = names.iter().map(|name| group_id(name).ok()).collect();
    let possible: Vec<GroupId> = ids.iter().flatten().cloned().collect();
    let mut deleted = match context.broker().groups().delete(&possible).await {
        Ok(results) => results,
        Err(error) => vec![Err(error); possible.len()],
    }
    .into_iter();
    let results = names.into_iter().zip(ids).map(|(name, id)| {
        let result = match id {
            Some(_) => deleted.next().expect("each group has a result"),
            None => Err(GroupError::GroupNotFound),
        };
        let code = result.map_or_else(group_code, |()| ErrorCode::NONE);
        DeletableGroupResult { group_id: name, error_code: context.answer_code(code) }
    });
    Ok(DeleteGroupsResponse { throttle_time_ms: 0, results: results.collect() })
}
