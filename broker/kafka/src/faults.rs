//! Faults on request, as this dialect has them: delays, pauses, connections that break off, and
//! the errors of requests that have a place for one.
//!
//! A rule that names neither a topic nor a partition meets requests as wholes. One that does meets
//! the topics and partitions of Produce and Fetch, which can only fail. An API whose answers have
//! no error for the request as a whole (Metadata, say) can be asked for no error.

use weir_core::faults::{AskedOf, Fault, FaultDialect, FaultRule};
use weir_core::stream::stream::Stream;
use weir_kafka_protocol::{ApiKey, ErrorCode};

use crate::dispatch::SERVED;
use crate::exchange::RequestContext;

/// The APIs whose answers have an error for the request as a whole, in every version. Of Produce
/// and Fetch the partitions fail.
const WITH_ERROR: [ApiKey; 10] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::ListGroups,
    ApiKey::InitProducerId,
    ApiKey::DescribeCluster,
    ApiKey::ConsumerGroupHeartbeat,
];

/// Checks a rule that is about this dialect, among others perhaps.
pub fn check(rule: &FaultRule) -> Result<(), String> {
    let api = match &rule.operation {
        None => None,
        Some(name) => {
            let mut keys = SERVED.iter().map(|api| api.key);
            let found = keys.find(|key| format!("{key:?}") == *name);
            Some(found.ok_or_else(|| format!("the Kafka dialect does not serve {name}"))?)
        }
    };
    if let Some(error) = &rule.error {
        if code_named(error).is_none() {
            return Err(format!("Kafka has no error {error}"));
        }
        if !api.is_some_and(|api| WITH_ERROR.contains(&api)) {
            let names = WITH_ERROR.map(|key| format!("{key:?}")).join(", ");
            return Err(format!("an error needs an operation that can answer one: {names}"));
        }
    }
    let is_part = rule.stream.is_some() || rule.shard.is_some();
    let has_parts = api.is_some_and(|api| matches!(api, ApiKey::Produce | ApiKey::Fetch));
    if is_part && !has_parts {
        return Err("stream and shard need the operation Produce or Fetch".to_owned());
    }
    if is_part && (rule.error.is_none() || has_other(rule)) {
        return Err("topics and partitions can only fail with an error".to_owned());
    }
    if rule.message.is_some() {
        return Err("Kafka's errors have no text".to_owned());
    }
    Ok(())
}

fn has_other(rule: &FaultRule) -> bool {
    rule.latency_ms.is_some() || rule.throttle_ms.is_some() || rule.disconnect.is_some()
}

fn code_named(name: &str) -> Option<ErrorCode> {
    let mut known = ErrorCode::DEFINITIONS.iter().filter(|known| !known.code.is_none());
    known.find(|known| known.name == name).map(|known| known.code)
}

/// The error that a fault answers, if it answers one. Its name was checked when it was set.
pub(crate) fn code_of(fault: &Fault) -> Option<ErrorCode> {
    fault.error().and_then(|(name, _)| code_named(name))
}

/// What is wanted to happen to a request as a whole.
pub(crate) fn of_request(context: &RequestContext, api: ApiKey) -> Option<Fault> {
    look(context, api, None, None)
}

/// Fails if an error is wanted for a topic of a request, or for the request; each call counts.
pub(crate) fn pass_topic(
    context: &RequestContext,
    api: ApiKey,
    topic: &Stream,
) -> Result<(), ErrorCode> {
    if let Some(code) = context.fault.as_ref().and_then(code_of) {
        return Err(code);
    }
    let part = look(context, api, Some(topic), None);
    part.as_ref().and_then(code_of).map_or(Ok(()), Err)
}

/// Fails if an error is wanted for a partition of a request; each call counts.
pub(crate) fn pass_partition(
    context: &RequestContext,
    api: ApiKey,
    topic: &Stream,
    partition: i32,
) -> Result<(), ErrorCode> {
    let partition = u32::try_from(partition).unwrap_or(u32::MAX);
    let wanted = look(context, api, Some(topic), Some(partition));
    wanted.as_ref().and_then(code_of).map_or(Ok(()), Err)
}

fn look(
    context: &RequestContext,
    api: ApiKey,
    topic: Option<&Stream>,
    partition: Option<u32>,
) -> Option<Fault> {
    let (broker, faults) = (context.broker(), context.broker().faults());
    if !faults.is_any() {
        return None;
    }
    let asked = AskedOf {
        dialect: FaultDialect::Kafka,
        operation: &format!("{api:?}"),
        stream: topic.map(|topic| topic.name.as_str()),
        shard: partition,
        is_part: topic.is_some(),
    };
    faults.look(&asked, broker.clock().now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_kafka_protocol::Response;
    use weir_kafka_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
    use weir_kafka_protocol::messages::describe_cluster::DescribeClusterResponse;
    use weir_kafka_protocol::messages::heartbeat::HeartbeatResponse;
    use weir_kafka_protocol::messages::init_producer_id::InitProducerIdResponse;
    use weir_kafka_protocol::messages::join_group::JoinGroupResponse;
    use weir_kafka_protocol::messages::leave_group::LeaveGroupResponse;
    use weir_kafka_protocol::messages::list_groups::ListGroupsResponse;
    use weir_kafka_protocol::messages::metadata::MetadataResponse;
    use weir_kafka_protocol::messages::sync_group::SyncGroupResponse;

    #[test]
    fn the_apis_with_an_error_have_a_place_for_it() {
        fn has<R: Response + Default>() -> (ApiKey, bool) {
            (R::API_KEY, R::default().error_code().is_some())
        }
        let with = [
            has::<JoinGroupResponse>(),
            has::<HeartbeatResponse>(),
            has::<LeaveGroupResponse>(),
            has::<SyncGroupResponse>(),
            has::<ListGroupsResponse>(),
            has::<InitProducerIdResponse>(),
            has::<DescribeClusterResponse>(),
            has::<ConsumerGroupHeartbeatResponse>(),
        ];
        for (key, has_error) in with {
            assert!(has_error && WITH_ERROR.contains(&key), "{key:?}");
        }
        assert_eq!(with.len() + 2, WITH_ERROR.len(), "and Produce and Fetch");
        assert!(!has::<MetadataResponse>().1);
    }

    #[test]
    fn rules_that_this_dialect_cannot_follow_are_refused() {
        let fault = |text: &str| -> FaultRule { serde_json::from_str(text).expect("a rule") };
        for (rule, why) in [
            (r#"{"operation": "Prodcue", "latency_ms": 1}"#, "does not serve Prodcue"),
            (r#"{"operation": "Produce", "error": "NONE"}"#, "Kafka has no error NONE"),
            (r#"{"operation": "Metadata", "error": "UNKNOWN_SERVER_ERROR"}"#, "can answer one"),
            (r#"{"error": "UNKNOWN_SERVER_ERROR"}"#, "can answer one"),
            (r#"{"operation": "JoinGroup", "stream": "t", "latency_ms": 1}"#, "Produce or Fetch"),
            (r#"{"operation": "Fetch", "stream": "t", "latency_ms": 1}"#, "can only fail"),
        ] {
            let refused = check(&fault(rule)).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        for rule in [
            r#"{"operation": "Produce", "shard": 2, "error": "NOT_LEADER_OR_FOLLOWER"}"#,
            r#"{"operation": "Metadata", "disconnect": "before"}"#,
            r#"{"throttle_ms": 100}"#,
        ] {
            assert_eq!(check(&fault(rule)), Ok(()), "{rule}");
        }
    }
}
