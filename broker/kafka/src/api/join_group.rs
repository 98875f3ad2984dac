//! JoinGroup (key 11), versions 0 to 9: be a member of the group's next generation.
//!
//! - The answer comes when the generation begins: when all members have joined, or after the
//!   rebalance timeout without those who have not.
//! - 0: there is no rebalance timeout; the session timeout stands for it.
//! - 4+: a dynamic member without an id gets MEMBER_ID_REQUIRED and one, and joins again (KIP-394).
//! - 5+: a `group_instance_id` makes the member static (KIP-345). With an id that was given out to
//!   a member without a name it is UNKNOWN_MEMBER_ID, where Kafka fails (UNKNOWN_SERVER_ERROR).
//! - 7+: the protocol type is told, and the protocol's name is null where there is none.
//! - 9+: a static leader that comes back is told to skip the assignment (KIP-814).
//! - In a KIP-848 group the broker leads, and the answer comes at once.
//! - Metadata above 64 KiB for one protocol, or more than 16 protocols: MESSAGE_TOO_LARGE.
//!
//! Left out: the reason (8+) is not used.

use std::sync::Arc;
use std::time::Duration;

use weir_core::group::classic::{Client, Join, Joined, JoinedMember, Protocol};
use weir_core::group::error::{GroupError, JoinRefused};
use weir_core::group::identity::{InstanceId, MemberId};
use weir_kafka_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};

use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::group_id;

pub(crate) const GAPS: &[&str] = &["the reason (8+) is not used"];

/// First version of which clients know MEMBER_ID_REQUIRED.
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// First version in which the protocol's name may be null.
const NULL_PROTOCOL_FROM: i16 = 7;
/// First version of which clients know `skip_assignment`.
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// The generation of an answer that does not bring one.
const NO_GENERATION: i32 = -1;

pub(crate) async fn handle(
    context: RequestContext,
    request: JoinGroupRequest,
) -> Result<JoinGroupResponse, CloseReason> {
    let sent_member_id = request.member_id.clone();
    match join(&context, request).await {
        Ok(joined) => Ok(welcome(joined)),
        Err(JoinRefused { error, member }) => Ok(JoinGroupResponse {
            error_code: context.answer_code(group_code(error)),
            generation_id: NO_GENERATION,
            protocol_name: (context.version < NULL_PROTOCOL_FROM).then(String::new),
            member_id: member.map_or(sent_member_id, |member| member.as_str().to_owned()),
            ..Default::default()
        }),
    }
}

async fn join(context: &RequestContext, request: JoinGroupRequest) -> Result<Joined, JoinRefused> {
    let refused = |error| JoinRefused { error, member: None };
    let group = group_id(&request.group_id).map_err(refused)?;
    let groups = context.broker().groups();
    let join = parse(context, request);
    tokio::select! {
        result = groups.join(&group, join) => result,
        // The broker stops or the client has gone; a member that is left behind expires.
        () = context.connection.closing() => Err(refused(GroupError::ShuttingDown)),
    }
}

fn parse(context: &RequestContext, request: JoinGroupRequest) -> Join {
    let client_id = context.client_id.as_deref().unwrap_or_default();
    let name = request.group_instance_id.as_deref().unwrap_or(client_id);
    let protocol = |protocol: JoinGroupRequestProtocol| Protocol {
        name: Arc::from(protocol.name),
        metadata: protocol.metadata,
    };
    Join {
        member: MemberId::from_client(&request.member_id),
        fresh_id: MemberId::fresh(name, context.broker().random()),
        needs_known_id: context.version >= MEMBER_ID_REQUIRED_FROM,
        knows_skip_assignment: context.version >= SKIP_ASSIGNMENT_FROM,
        client: Client {
            id: Arc::from(client_id),
            host: Arc::from(format!("/{}", context.connection.ends.peer.ip().to_canonical())),
        },
        session_timeout: timeout(request.session_timeout_ms),
        rebalance_timeout: match request.rebalance_timeout_ms {
            -1 => timeout(request.session_timeout_ms),
            millis => timeout(millis),
        },
        instance: request.group_instance_id.as_deref().map(InstanceId::new),
        protocol_type: Arc::from(request.protocol_type),
        protocols: request.protocols.into_iter().map(protocol).collect(),
    }
}

/// Negative timeouts mean none at all.
fn timeout(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn welcome(joined: Joined) -> JoinGroupResponse {
    let member = |member: JoinedMember| JoinGroupResponseMember {
        member_id: member.member.as_str().to_owned(),
        group_instance_id: member.instance.map(|instance| instance.as_str().to_owned()),
        metadata: member.metadata,
    };
    let text = |text: Arc<str>| text.to_string();
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: 0,
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.map(text),
        protocol_name: joined.protocol.map(text),
        leader: joined.leader.map(|leader| leader.as_str().to_owned()).unwrap_or_default(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member.as_str().to_owned(),
        members: joined.members.into_iter().map(member).collect(),
    }
}
