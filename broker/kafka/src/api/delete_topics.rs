//! DeleteTopics (key 20), versions 1 to 6: remove topics, in all dialects.
//!
//! - Each topic has a result of its own; the name is free again when the answer arrives.
//! - 6+: by name or by id; both at once is INVALID_REQUEST. An unknown id is UNKNOWN_TOPIC_ID.
//! - A topic that is named twice, in whichever way, is INVALID_REQUEST, once, and stays.
//! - A topic that the client's controller mutation quota does not reach is
//!   THROTTLING_QUOTA_EXCEEDED; before version 5 it is deleted, and the client paused (KIP-599).
//! - Topics that hold the broker's own state are TOPIC_DELETION_DISABLED.
//!
//! Left out: the request's timeout, since the answer is given when the topic is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::stream::stream::Stream;
use weir_kafka_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use weir_kafka_protocol::{ErrorCode, Uuid};

use crate::close::CloseReason;
use crate::errors::{Refusal, delete_refusal};
use crate::exchange::RequestContext;
use crate::pauses::pause_ms;
use crate::topic::{TopicRef, topic_id};

pub(crate) const GAPS: &[&str] = &["the request's timeout is not used"];

/// First version whose clients know that they may be over their quota.
const OVER_QUOTA_FROM: i16 = 5;
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
    let mut wanted = Wanted::default();
    for (topic, times) in counted(topics) {
        match resolve(&context, &topic, times) {
            Ok((stream, unknown)) => wanted.add(stream, unknown),
            Err(refusal) => {
                responses.push(result(&context, topic.name, topic.topic_id, Err(refusal)));
            }
        }
    }
    let ids = wanted.once.values().map(|(stream, _)| stream.id).collect();
    let quota = context.mutation_quota(OVER_QUOTA_FROM);
    let deleted = context.broker().delete_streams_within(&quota, ids).await;
    let outcomes = wanted.once.into_values().zip(deleted).map(|((stream, unknown), deleted)| {
        (stream, deleted.map_err(|error| delete_refusal(&error, unknown)))
    });
    let twice = wanted.twice.into_values().map(|stream| {
        let text = "The provided topic name maps to an ID that was already supplied.";
        (stream, Err(Refusal::because(ErrorCode::INVALID_REQUEST, text)))
    });
    for (stream, outcome) in outcomes.chain(twice) {
        responses.push(result(&context, Some(stream.name.to_string()), topic_id(&stream), outcome));
    }
    Ok(DeleteTopicsResponse { throttle_time_ms: pause_ms(quota.pause()), responses })
}

/// The topics as they are named, each with how many times it is.
fn counted(topics: Vec<DeleteTopicState>) -> Vec<(DeleteTopicState, usize)> {
    let mut times: BTreeMap<(Option<String>, Uuid), usize> = BTreeMap::new();
    for topic in topics {
        *times.entry((topic.name, topic.topic_id)).or_default() += 1;
    }
    let state = |((name, topic_id), times)| (DeleteTopicState { name, topic_id }, times);
    times.into_iter().map(state).collect()
}

/// Streams that are there, by id, each with the code for the case that it is gone before it can be
/// deleted. `twice` are those that are named by name and by id.
#[derive(Default)]
struct Wanted {
    once: BTreeMap<Uuid, (Arc<Stream>, ErrorCode)>,
    twice: BTreeMap<Uuid, Arc<Stream>>,
}

impl Wanted {
    fn add(&mut self, stream: Arc<Stream>, unknown: ErrorCode) {
        let id = topic_id(&stream);
        if self.once.remove(&id).is_some() {
            self.twice.insert(id, stream);
        } else {
            self.once.insert(id, (stream, unknown));
        }
    }
}

/// The stream, and the code for the case that it is gone before it can be deleted.
fn resolve(
    context: &RequestContext,
    topic: &DeleteTopicState,
    times: usize,
) -> Result<(Arc<Stream>, ErrorCode), Refusal> {
    let invalid = |text: &str| Refusal::because(ErrorCode::INVALID_REQUEST, text);
    let (reference, unknown, twice) = match (&topic.name, topic.topic_id) {
        (Some(name), Uuid::ZERO) => {
            let unknown = Refusal::because(
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                "This server does not host this topic-partition.",
            );
            (TopicRef::Name(name), unknown, "Duplicate topic name.")
        }
        (None, Uuid::ZERO) => return Err(invalid("Neither topic name nor id were specified.")),
        (None, id) => {
            let unknown = Refusal::because(
                ErrorCode::UNKNOWN_TOPIC_ID,
                "This server does not host this topic ID.",
            );
            (TopicRef::Id(id), unknown, "Duplicate topic id.")
        }
        (Some(_), _) => {
            return Err(invalid("You may not specify both topic name and topic id."));
        }
    };
    if times > 1 {
        return Err(invalid(twice));
    }
    let code = unknown.code;
    let stream = reference.resolve(context.broker()).map_err(|_| unknown)?;
    Ok((stream, code))
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
