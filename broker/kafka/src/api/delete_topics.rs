//! DeleteTopics (key 20), versions 1 to 6: remove topics, in all dialects.
//!
//! - Each topic has a result of its own; the name is free again when the answer arrives.
//! - 6+: by name or by id; both at once is INVALID_REQUEST. An unknown id is UNKNOWN_TOPIC_ID.
//! - Topics that hold the broker's own state are TOPIC_DELETION_DISABLED.
//!
//! Left out: the request's timeout, since the answer is given when the topic is gone.

use std::sync::Arc;

use weir_core::stream::stream::Stream;
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
    let resolved: Vec<_> = topics.iter().map(|topic| resolve(&context, topic)).collect();
    let ids = resolved.iter().flatten().map(|(stream, _)| stream.id).collect();
    let mut deleted = context.broker().delete_streams(ids).await.into_iter();
    let mut responses = Vec::with_capacity(topics.len());
    for (topic, resolved) in topics.into_iter().zip(resolved) {
        responses.push(match resolved {
            Err(refusal) => result(&context, topic.name, topic.topic_id, Err(refusal)),
            Ok((stream, unknown)) => {
                let deleted = deleted.next().expect("one result for each stream");
                let outcome = deleted.map_err(|error| delete_refusal(&error, unknown));
                result(&context, Some(stream.name.to_string()), topic_id(&stream), outcome)
            }
        });
    }
    Ok(DeleteTopicsResponse { throttle_time_ms: 0, responses })
}

/// The stream, and the code for the case that it is gone before it can be deleted.
fn resolve(
    context: &RequestContext,
    topic: &DeleteTopicState,
) -> Result<(Arc<Stream>, ErrorCode), Refusal> {
    let (reference, unknown) = match (&topic.name, topic.topic_id) {
        (Some(name), Uuid::ZERO) => (TopicRef::Name(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (None, id) if id != Uuid::ZERO => (TopicRef::Id(id), ErrorCode::UNKNOWN_TOPIC_ID),
        _ => {
            let text = "Topic name and topic id can not both be given, nor both be missing.";
            return Err(Refusal::because(ErrorCode::INVALID_REQUEST, text));
        }
    };
    let stream = reference.resolve(context.broker()).map_err(Refusal::of)?;
    Ok((stream, unknown))
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
