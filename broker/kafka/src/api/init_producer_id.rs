//! InitProducerId (key 22), versions 0 to 6: a number for an idempotent producer.
//!
//! - Without transactional id: a new producer id with epoch 0, unique for the life of the data. An
//!   id that the client sends along (3+) is not needed and not looked at, as in Kafka.
//! - With an empty transactional id: INVALID_REQUEST.
//! - With a transactional id: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, and one log line. Transactions
//!   are not built, and this is the one code on which the Java client and librdkafka both fail at
//!   once: they take most others for a coordinator that is not ready yet, and ask again for ever.
//!
//! Left out: everything about transactions.

use tracing::warn;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};

use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::meta_refusal;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &["a transactional id is refused at once"];

pub(crate) async fn handle(
    context: RequestContext,
    request: InitProducerIdRequest,
) -> Result<InitProducerIdResponse, CloseReason> {
    let refused = |code| InitProducerIdResponse {
        error_code: context.answer_code(code),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    if let Some(transactional_id) = &request.transactional_id {
        if transactional_id.is_empty() {
            return Ok(refused(ErrorCode::INVALID_REQUEST));
        }
        let peer = context.connection.ends.peer;
        let transactional_id = ClientText(transactional_id);
        warn!(%peer, %transactional_id, "refusing a transactional producer: not supported yet");
        return Ok(refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
    }
    match context.broker().allocate_producer_id().await {
        Ok(id) => Ok(InitProducerIdResponse {
            producer_id: id.as_i64(),
            producer_epoch: 0,
            ..Default::default()
        }),
        Err(error) => Ok(refused(meta_refusal(&error).code)),
    }
}
