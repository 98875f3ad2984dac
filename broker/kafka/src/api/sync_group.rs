//! SyncGroup (key 14), versions 0 to 5: a member asks for its part; the leader brings everybody's.
//!
//! - The answer comes when the leader's assignments are in the log; in a stable group at once.
//! - 3+: static members say their `group_instance_id`.
//! - 5+: protocol type and name are needed and must be the generation's, else
//!   INCONSISTENT_GROUP_PROTOCOL.
//!
//! Left out: nothing.

use std::sync::Arc;

use weir_core::group::classic::{Sync, Synced};
use weir_core::group::error::GroupError;
use weir_core::group::identity::MemberId;
use weir_kafka_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::{claim, group_id};

pub(crate) const GAPS: &[&str] = &[];

/// First version that must say the protocol.
const PROTOCOL_FROM: i16 = 5;

pub(crate) async fn handle(
    context: RequestContext,
    request: SyncGroupRequest,
) -> Result<SyncGroupResponse, CloseReason> {
    let text = |text: Arc<str>| text.to_string();
    Ok(match sync(&context, request).await {
        Ok(Synced { protocol_type, protocol, assignment }) => SyncGroupResponse {
            throttle_time_ms: 0,
            error_code: 0,
            protocol_type: protocol_type.map(text),
            protocol_name: protocol.map(text),
            assignment,
        },
        Err(error) => SyncGroupResponse {
            error_code: context.answer_code(group_code(error)),
            ..Default::default()
        },
    })
}

async fn sync(context: &RequestContext, request: SyncGroupRequest) -> Result<Synced, GroupError> {
    let group = group_id(&request.group_id)?;
    let instance = request.group_instance_id.as_deref();
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.version >= PROTOCOL_FROM && !says_protocol {
        return Err(GroupError::InconsistentProtocol);
    }
    let mut sync = Sync {
        claim: claim(&request.member_id, instance, request.generation_id),
        protocol_type: request.protocol_type.map(Arc::from),
        protocol: request.protocol_name.map(Arc::from),
        assignments: Default::default(),
    };
    for share in request.assignments {
        // Nobody is a member without an id, so such a share is for nobody.
        if let Some(member) = MemberId::from_client(&share.member_id) {
            sync.assignments.insert(member, share.assignment);
        }
    }
    tokio::select! {
        result = context.broker().groups().sync(&group, sync) => result,
        // The broker stops or the client has gone.
        () = context.connection.closing() => Err(GroupError::ShuttingDown),
    }
}
