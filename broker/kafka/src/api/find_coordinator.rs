//! FindCoordinator (key 10), versions 0 to 6: which broker keeps a group or a transaction.
//!
//! - Key type 0 (the only one of version 0), a group: this broker, at the address that Metadata
//!   tells this client.
//! - Key type 1, a transactional id: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, and one log line.
//!   Transactions are not built, and this is the code on which the Java client and librdkafka both
//!   fail at once; see `init_producer_id`, which answers the same.
//! - Key type 2, a share group (6+), and any other: INVALID_REQUEST.
//! - 4+: many keys at once, each with an answer of its own.
//!
//! Left out: transactions and share groups.

use tracing::warn;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::Refusal;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &["coordinators of transactions and of share groups are refused"];

/// First version that asks for many keys at once.
const MANY_KEYS_FROM: i16 = 4;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) async fn handle(
    context: RequestContext,
    request: FindCoordinatorRequest,
) -> Result<FindCoordinatorResponse, CloseReason> {
    let found = answer_for(&context, &request);
    if context.version >= MANY_KEYS_FROM {
        let named = |key| Coordinator { key, ..found.clone() };
        let coordinators = request.coordinator_keys.into_iter().map(named).collect();
        return Ok(FindCoordinatorResponse { coordinators, ..Default::default() });
    }
    Ok(FindCoordinatorResponse {
        throttle_time_ms: 0,
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        coordinators: Vec::new(),
    })
}

/// One broker keeps everything, so all keys of a request have one answer.
fn answer_for(context: &RequestContext, request: &FindCoordinatorRequest) -> Coordinator {
    match request.key_type {
        GROUP => this_broker(context),
        TRANSACTION => {
            let peer = context.connection.ends.peer;
            let first = request.coordinator_keys.first().unwrap_or(&request.key);
            let transactional_id = ClientText(first);
            warn!(%peer, %transactional_id, "refusing a transactional producer: not supported yet");
            refused(context, Refusal::of(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
        }
        other => {
            let text = format!("key type {other} is not supported");
            refused(context, Refusal::because(ErrorCode::INVALID_REQUEST, text))
        }
    }
}

fn this_broker(context: &RequestContext) -> Coordinator {
    let ends = context.connection.ends;
    let address = context.service.advertised().address_for(ends.peer, ends.local);
    Coordinator {
        key: String::new(),
        node_id: context.broker().options().node_id,
        host: address.host,
        port: i32::from(address.port),
        error_code: ErrorCode::NONE.0,
        error_message: None,
    }
}

fn refused(context: &RequestContext, refusal: Refusal) -> Coordinator {
    Coordinator {
        key: String::new(),
        node_id: -1,
        host: String::new(),
        port: -1,
        error_code: context.answer_code(refusal.code),
        error_message: refusal.message,
    }
}
