//! CreatePartitions (key 37), versions 0 to 3: more partitions for topics, all of a request in one
//! commit.
//!
//! - The count is the new total and only grows, else INVALID_PARTITIONS. The hash-key ranges by
//!   which Kinesis finds a partition are cut anew over all of them.
//! - A stream made by Kinesis is INVALID_PARTITIONS: its shards are split and merged there.
//! - A manual assignment lists the new partitions only, and each must name this broker alone.
//! - A topic named twice is INVALID_REQUEST, once. More than 10,000 partitions in one request, or
//!   than the broker may have, are POLICY_VIOLATION.
//! - A topic that the client's controller mutation quota does not reach is
//!   THROTTLING_QUOTA_EXCEEDED; before version 3 it grows, and the client is paused (KIP-599).
//! - validate_only checks everything and makes nothing; it is charged to the quota all the same.
//!
//! Left out: the request's timeout, since the answer is given when the partitions are there.

use weir_core::error::GrowStreamError;
use weir_core::stream::grow::Growth;
use weir_core::stream::stream::Intent;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse,
    CreatePartitionsTopic, CreatePartitionsTopicResult,
};

use crate::close::CloseReason;
use crate::errors::{Refusal, grow_refusal};
use crate::exchange::RequestContext;
use crate::pauses::pause_ms;
use crate::replicas::check_assignment;
use crate::topic::{PARTITIONS_PER_REQUEST_MAX, each_by_name};

pub(crate) const GAPS: &[&str] = &["the request's timeout is not used"];

/// First version whose clients know that they may be over their quota.
const OVER_QUOTA_FROM: i16 = 3;

pub(crate) async fn handle(
    context: RequestContext,
    request: CreatePartitionsRequest,
) -> Result<CreatePartitionsResponse, CloseReason> {
    let intent = if request.validate_only { Intent::Validate } else { Intent::Make };
    let (mut names, mut growths, mut results) = (Vec::new(), Vec::new(), Vec::new());
    let mut added: u64 = 0;
    for (name, wanted) in each_by_name(request.topics, |topic| topic.name.clone()) {
        match wanted.and_then(|topic| growth(&context, topic, &mut added)) {
            Ok(growth) => {
                names.push(name);
                growths.push(growth);
            }
            Err(refusal) => results.push(result(&context, name, Err(refusal))),
        }
    }
    let quota = context.mutation_quota(OVER_QUOTA_FROM);
    if added > PARTITIONS_PER_REQUEST_MAX {
        let text = "Excessively large number of partitions per request.";
        let refusal = Refusal::because(ErrorCode::POLICY_VIOLATION, text);
        results.extend(names.into_iter().map(|name| result(&context, name, Err(refusal.clone()))));
    } else if !growths.is_empty() {
        let grown = context.broker().grow_streams_within(&quota, growths, intent).await;
        for (name, grown) in names.into_iter().zip(grown) {
            let outcome = grown.map_err(|error| grow_refusal(&name, &error));
            results.push(result(&context, name, outcome));
        }
    }
    Ok(CreatePartitionsResponse { throttle_time_ms: pause_ms(quota.pause()), results })
}

/// What the core is asked for, once the assignment of the new partitions has been looked at.
fn growth(
    context: &RequestContext,
    topic: CreatePartitionsTopic,
    added: &mut u64,
) -> Result<Growth, Refusal> {
    let unknown = GrowStreamError::Unknown;
    let stream = context.broker().stream(&topic.name);
    let stream = stream.ok_or_else(|| grow_refusal(&topic.name, &unknown))?;
    let now = u32::try_from(stream.partitions().len()).unwrap_or(u32::MAX);
    let more = u32::try_from(topic.count).ok().and_then(|count| count.checked_sub(now));
    let more = match more {
        None => {
            let (name, count) = (&topic.name, topic.count);
            return Err(Refusal::because(
                ErrorCode::INVALID_PARTITIONS,
                format!(
                    "The topic {name} currently has {now} partition(s); {count} would not be an \
                     increase."
                ),
            ));
        }
        Some(0) => return Err(grow_refusal(&topic.name, &GrowStreamError::NotMore { now })),
        Some(more) => more,
    };
    *added += u64::from(more);
    if let Some(assignments) = &topic.assignments {
        check_assignments(assignments, more, context.broker().options().node_id)?;
    }
    Ok(Growth { name: topic.name, partitions: now + more })
}

fn check_assignments(
    assignments: &[CreatePartitionsAssignment],
    more: u32,
    node_id: i32,
) -> Result<(), Refusal> {
    if u32::try_from(assignments.len()) != Ok(more) {
        let given = assignments.len();
        return Err(Refusal::because(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!(
                "Attempted to add {more} additional partition(s), but only {given} assignment(s) \
                 were specified."
            ),
        ));
    }
    assignments.iter().try_for_each(|assigned| check_assignment(&assigned.broker_ids, node_id))
}

fn result(
    context: &RequestContext,
    name: String,
    outcome: Result<(), Refusal>,
) -> CreatePartitionsTopicResult {
    let refusal = outcome.err();
    let code = refusal.as_ref().map_or(ErrorCode::NONE, |refusal| refusal.code);
    CreatePartitionsTopicResult {
        name,
        error_code: context.answer_code(code),
        error_message: refusal.and_then(|refusal| refusal.message),
    }
}
