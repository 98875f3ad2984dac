//! AlterPartitionReassignments (key 45), versions 0 and 1: partitions stay where they are.
//!
//! - A reassignment to this broker alone changes nothing and succeeds; to any other list it is
//!   INVALID_REPLICA_ASSIGNMENT.
//! - Without a list it would cancel a reassignment: NO_REASSIGNMENT_IN_PROGRESS.
//! - 1+: whether the replication factor may change is echoed.
//! - More than 200,000 partitions close the connection.

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
};
use weir_model::ids::PartitionIndex;

use crate::answers::check_asked;
use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::Refusal;
use crate::exchange::RequestContext;
use crate::replicas::check_assignment;

pub(crate) const GAPS: &[&str] = &["the request's timeout is not used"];

pub(crate) async fn handle(
    context: RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> Result<AlterPartitionReassignmentsResponse, CloseReason> {
    check_asked(request.topics.iter().map(|topic| topic.partitions.len()).sum())?;
    let reassign = |topic: ReassignableTopic| {
        let result = |partition: ReassignablePartition| {
            let refusal = reassign(&context, &topic.name, &partition).err();
            let code = refusal.as_ref().map_or(ErrorCode::NONE, |refusal| refusal.code);
            ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_code: context.answer_code(code),
                error_message: refusal.and_then(|refusal| refusal.message),
            }
        };
        let partitions = topic.partitions.into_iter().map(result).collect();
        ReassignableTopicResponse { name: topic.name, partitions }
    };
    Ok(AlterPartitionReassignmentsResponse {
        throttle_time_ms: 0,
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_code: 0,
        error_message: None,
        responses: request.topics.into_iter().map(reassign).collect(),
    })
}

fn reassign(
    context: &RequestContext,
    topic: &str,
    partition: &ReassignablePartition,
) -> Result<(), Refusal> {
    let unknown = |text| Refusal::because(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text);
    let shown = ClientText(topic);
    let stream = context.broker().stream(topic);
    let stream = stream.ok_or_else(|| unknown(format!("Unable to find a topic named {shown}.")))?;
    let index = PartitionIndex::try_from(partition.partition_index).ok();
    if index.and_then(|index| stream.partition(index)).is_none() {
        let index = partition.partition_index;
        return Err(unknown(format!("Unable to find partition {shown}:{index}.")));
    }
    match &partition.replicas {
        None => Err(Refusal::of(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS)),
        Some(broker_ids) => check_assignment(broker_ids, context.broker().options().node_id),
    }
}
