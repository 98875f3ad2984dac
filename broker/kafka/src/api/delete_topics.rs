//! DeleteTopics (key 20), versions 1 to 6: remove topics, in all dialects.
//!
//! - Each topic has a result of its own; the name is free again when the answer arrives.
//! - 6+: by name or by id; both at once is INVALID_REQUEST. An unknown id is UNKNOWN_TOPIC_ID.
//! - Topics that hold the broker's own state are TOPIC_DELETION_DISABLED.
//!
//! Left out: the request's timeout, since the answer is given when the topic is gone.

use weir_kafka_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use weir_kafka_protocol::{ErrorCode, Uuid};

use crate::close::CloseReason;
use crate::errors::{Refusal, delete_refusal};
use crate::exchange::RequestContext;
use crate::topic::{TopicRef, topic_id};

pub(crate) const GAPS: &[&str] = &["the request's timeout is not used"];

/// First version that lists topics with names or ids, instead of names.
const STATES_FROM: i16 = 6;

pub(crate) async fn handle(
    context: RequestContext,
    request: DeleteTopicsRequest,
) -> Result<DeleteTopicsResponse, CloseReason> {
    let named = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO };
    let topics: Vec<DeleteTopicState> = if context.version >= STATES_FROM {
        request.topics
    } else {
        request.topic_names.into_iter().map(named).collect()
    };
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        responses.push(delete(&context, topic).await);
    }
    Ok(DeleteTopicsResponse { throttle_time_ms: 0, responses })
}

async fn delete(context: &RequestContext, topic: DeleteTopicState) -> DeletableTopicResult {
    let given_id = topic.topic_id;
    let reference = match (&topic.name, given_id) {
        (Some(name), Uuid::ZERO) => TopicRef::Name(name),
        (None, id) if id != Uuid::ZERO => TopicRef::Id(id),
        _ => {
            let text = "Topic name and topic id can not both be given, nor both be missing.";
            let refusal = Refusal::because(ErrorCode::INVALID_REQUEST, text);
            return result(context, topic.name, given_id, Err(refusal));
        }
    };
    let stream = match reference.resolve(context.broker()) {
        Ok(stream) => stream,
        Err(code) => return result(context, topic.name, given_id, Err(Refusal::of(code))),
    };
    let unknown = match reference {
        TopicRef::Name(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        TopicRef::Id(_) => ErrorCode::UNKNOWN_TOPIC_ID,
    };
    let deleted = context.broker().delete_stream(stream.id).await;
    let outcome = deleted.map_err(|error| delete_refusal(&error, unknown));
    result(context, Some(stream.name.to_string()), topic_id(&stream), outcome)
}

fn result(
    context: &RequestContext,
    name: Option<String>,
    topic_id: Uuid,
    outcome: Result<(), Refusal>,
) -> DeletableTopicResult {
    let refusal = outcome.err();
    let code = refusal.as_ref().map_or(ErrorCode::NONE, |refusal| refusal.code);
    DeletableTopicResult {
        name,
        topic_id,
        error_code: context.answer_code(code),
        error_message: refusal.and_then(|refusal| refusal.message),
    }
}
