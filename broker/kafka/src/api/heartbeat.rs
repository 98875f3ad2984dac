//! Heartbeat (key 12), versions 0 to 4: a member says that it lives, and learns of rebalances.
//!
//! - REBALANCE_IN_PROGRESS: join again. ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID: the generation or
//!   the membership is over. 3+: FENCED_INSTANCE_ID where another took a static member's place.
//!
//! Left out: nothing.

use weir_core::group::error::GroupError;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::{claim, group_id};

pub(crate) const GAPS: &[&str] = &[];

pub(crate) async fn handle(
    context: RequestContext,
    request: HeartbeatRequest,
) -> Result<HeartbeatResponse, CloseReason> {
    let code = match heartbeat(&context, &request).await {
        Ok(()) => ErrorCode::NONE,
        Err(error) => group_code(error),
    };
    Ok(HeartbeatResponse { throttle_time_ms: 0, error_code: context.answer_code(code) })
}

async fn heartbeat(context: &RequestContext, request: &HeartbeatRequest) -> Result<(), GroupError> {
    let group = group_id(&request.group_id)?;
    let instance = request.group_instance_id.as_deref();
    let claim = claim(&request.member_id, instance, request.generation_id);
    context.broker().groups().heartbeat(&group, claim).await
}
