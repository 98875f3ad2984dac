//! ConsumerGroupHeartbeat (key 68), versions 0 to 1: all that a member of a KIP-848 group says.
//!
//! - Epoch 0 joins, or joins anew; -1 leaves; -2 leaves for a while, for static members only.
//! - Null, and -1 as rebalance timeout, stand for "has not changed". The assignment is told when it
//!   changed, to who joins, and to who sends everything.
//! - 0: a member without an id gets one. 1+: clients make their own, and may subscribe by a regular
//!   expression in RE2's syntax, which matches whole names; the empty text takes it back.
//! - FENCED_MEMBER_EPOCH, UNKNOWN_MEMBER_ID: give everything up and join. UNRELEASED_INSTANCE_ID,
//!   FENCED_INSTANCE_ID: the static name is another's. UNSUPPORTED_ASSIGNOR: neither `uniform` nor
//!   `range`. GROUP_MAX_SIZE_REACHED; INVALID_REGULAR_EXPRESSION; GROUP_ID_NOT_FOUND for a group
//!   that is not there or speaks another protocol.
//! - Joining a classic group of type `consumer` takes it along to this protocol.
//!
//! Left out: what RE2 and the broker's parser both refuse may be explained in other words.

use std::sync::Arc;
use std::time::Duration;

use weir_core::group::assignor::{Assignor, Partitions, by_stream};
use weir_core::group::classic::Client;
use weir_core::group::identity::{InstanceId, MemberId};
use weir_core::group::modern::heartbeat::{
    Beat, ConsumerHeartbeat, Going, HeartbeatRefused, Returns, Standing,
};
use weir_core::group::modern::member::AWAY_EPOCH;
use weir_kafka_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    RequestTopicPartitions, ResponseTopicPartitions,
};
use weir_kafka_protocol::{ErrorCode, Uuid};
use weir_model::ids::{PartitionId, PartitionIndex, StreamId};

use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::{Refusal, heartbeat_refusal};
use crate::exchange::RequestContext;
use crate::group::group_id;

pub(crate) const GAPS: &[&str] =
    &["a regular expression that is none may be refused in other words than RE2's"];

/// First version in which clients make their own ids.
const OWN_IDS_FROM: i16 = 1;
/// The epoch of a member that leaves for good.
const LEAVING_EPOCH: i32 = -1;
/// A number that has not changed.
const UNCHANGED: i32 = -1;

pub(crate) async fn handle(
    context: RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, CloseReason> {
    match heartbeat(&context, &request).await {
        Ok(standing) => Ok(answer(standing)),
        Err(refusal) => Ok(ConsumerGroupHeartbeatResponse {
            error_code: context.answer_code(refusal.code),
            error_message: refusal.message,
            ..Default::default()
        }),
    }
}

async fn heartbeat(
    context: &RequestContext,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<Standing, Refusal> {
    check(request, context.version)?;
    let refused = |refused: HeartbeatRefused| heartbeat_refusal(request, &refused);
    let group = group_id(&request.group_id).map_err(|error| refused(error.into()))?;
    let heartbeat = parse(context, request)?;
    context.broker().groups().consumer_heartbeat(&group, heartbeat).await.map_err(refused)
}

/// What Kafka checks before it looks at the group, in its order and words.
fn check(request: &ConsumerGroupHeartbeatRequest, version: i16) -> Result<(), Refusal> {
    let epoch = request.member_epoch;
    let invalid = |text| Err(Refusal::because(ErrorCode::INVALID_REQUEST, text));
    let is_blank = |text: &Option<String>| text.as_deref().is_some_and(|t| t.trim().is_empty());
    let needs_id = version >= OWN_IDS_FROM || epoch > 0 || epoch == LEAVING_EPOCH;
    if needs_id && request.member_id.trim().is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_blank(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    match epoch {
        0 if request.rebalance_timeout_ms == UNCHANGED => {
            invalid("RebalanceTimeoutMs must be provided in first request.")
        }
        0 if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            invalid("TopicPartitions must be empty when (re-)joining.")
        }
        0 if request.subscribed_topic_names.is_none()
            && request.subscribed_topic_regex.is_none() =>
        {
            invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
                 (re-)joining.",
            )
        }
        AWAY_EPOCH if request.instance_id.is_none() => invalid("InstanceId can't be null."),
        epoch if epoch < AWAY_EPOCH => invalid("MemberEpoch is invalid."),
        _ => Ok(()),
    }
}

fn parse(
    context: &RequestContext,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerHeartbeat, Refusal> {
    let named = request.server_assignor.as_deref();
    let assignor = named.map(|name| assignor(context, name)).transpose()?;
    let member = MemberId::from_client(&request.member_id).unwrap_or_else(|| fresh_id(context));
    let instance = request.instance_id.as_deref().map(InstanceId::new);
    let returns = match request.member_epoch {
        LEAVING_EPOCH => Some(Returns::Never),
        AWAY_EPOCH => Some(Returns::Soon),
        _ => None,
    };
    if let Some(returns) = returns {
        return Ok(ConsumerHeartbeat::Leave(Going { member, instance, returns }));
    }
    let shared = |text: &String| Arc::<str>::from(text.as_str());
    let millis = |millis: i32| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let timeout = request.rebalance_timeout_ms;
    let topics = request.subscribed_topic_names.as_ref();
    Ok(ConsumerHeartbeat::Stay(Box::new(Beat {
        member,
        epoch: request.member_epoch,
        instance,
        rack: request.rack_id.as_ref().map(shared),
        rebalance_timeout: (timeout != UNCHANGED).then(|| millis(timeout)),
        topics: topics.map(|names| names.iter().map(shared).collect()),
        regex: request.subscribed_topic_regex.as_ref().map(shared),
        assignor,
        owned: request.topic_partitions.as_deref().map(partitions),
        client: Client {
            id: Arc::from(context.client_id.as_deref().unwrap_or_default()),
            host: Arc::from(format!("/{}", context.connection.ends.peer.ip().to_canonical())),
        },
    })))
}

fn assignor(context: &RequestContext, name: &str) -> Result<Assignor, Refusal> {
    let supported = &context.broker().settings().consumer_groups.assignors;
    let is_supported = supported.iter().any(|one| one == name);
    Assignor::from_name(name).filter(|_| is_supported).ok_or_else(|| {
        let supported = supported.join(", ");
        let name = ClientText(name);
        let text =
            format!("ServerAssignor {name} is not supported. Supported assignors: {supported}.");
        Refusal::because(ErrorCode::UNSUPPORTED_ASSIGNOR, text)
    })
}

/// A random UUID in Kafka's letters.
fn fresh_id(context: &RequestContext) -> MemberId {
    let mut bytes = [0; 16];
    context.broker().random().fill(&mut bytes);
    MemberId::from_client(&Uuid(bytes).to_string()).expect("a UUID has letters")
}

/// Partitions with indexes that no partition can have are owned by nobody.
fn partitions(topics: &[RequestTopicPartitions]) -> Partitions {
    let partitions = topics.iter().flat_map(|topic| {
        let stream = StreamId::from_bytes(topic.topic_id.0);
        let indexes = topic.partitions.iter();
        let indexes = indexes.filter_map(|index| PartitionIndex::try_from(*index).ok());
        indexes.map(move |index| PartitionId { stream, index })
    });
    partitions.collect()
}

fn answer(standing: Standing) -> ConsumerGroupHeartbeatResponse {
    let interval = standing.heartbeat_interval.unwrap_or_default();
    let topic = |(stream, partitions): (StreamId, Vec<i32>)| ResponseTopicPartitions {
        topic_id: Uuid(stream.to_bytes()),
        partitions,
    };
    let assignment = standing.assignment.as_ref().map(|partitions| Assignment {
        topic_partitions: by_stream(partitions).into_iter().map(topic).collect(),
    });
    ConsumerGroupHeartbeatResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::NONE.0,
        error_message: None,
        member_id: Some(standing.member.as_str().to_owned()),
        member_epoch: standing.epoch,
        heartbeat_interval_ms: i32::try_from(interval.as_millis()).unwrap_or(i32::MAX),
        assignment,
    }
}
