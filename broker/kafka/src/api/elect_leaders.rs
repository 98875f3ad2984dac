//! ElectLeaders (key 43), versions 0 to 2: every partition has its leader already.
//!
//! - A partition that is there is ELECTION_NOT_NEEDED, whatever the kind of election (1+); one that
//!   is not is UNKNOWN_TOPIC_OR_PARTITION. A kind that does not exist is INVALID_REQUEST.
//! - No list: every topic, without partitions, since Kafka leaves out those that need no election.
//! - More than 200,000 partitions close the connection.

use std::collections::BTreeMap;

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use weir_model::ids::PartitionIndex;

use crate::answers::check_asked;
use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::Refusal;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &[];

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) async fn handle(
    context: RequestContext,
    request: ElectLeadersRequest,
) -> Result<ElectLeadersResponse, CloseReason> {
    let kind = request.election_type;
    let unknown_kind = (!matches!(kind, PREFERRED | UNCLEAN)).then(|| {
        let text = format!("Unknown election type {kind}");
        Refusal::because(ErrorCode::INVALID_REQUEST, text)
    });
    let mut asked: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    match request.topic_partitions {
        None => {
            asked.extend(context.broker().streams().iter().map(|s| (s.name.to_string(), vec![])));
        }
        Some(topics) => {
            check_asked(topics.iter().map(|topic| topic.partitions.len()).sum())?;
            for topic in topics {
                asked.entry(topic.topic).or_default().extend(topic.partitions);
            }
        }
    }
    let elect = |(topic, partitions): (String, Vec<i32>)| {
        let result = |partition_id| {
            let refusal = unknown_kind.clone();
            let refusal = refusal.unwrap_or_else(|| not_elected(&context, &topic, partition_id));
            PartitionResult {
                partition_id,
                error_code: context.answer_code(refusal.code),
                error_message: refusal.message,
            }
        };
        let partition_result = partitions.into_iter().map(result).collect();
        ReplicaElectionResult { topic, partition_result }
    };
    let replica_election_results = asked.into_iter().map(elect).collect();
    let code = unknown_kind.as_ref().map_or(ErrorCode::NONE, |refusal| refusal.code);
    Ok(ElectLeadersResponse { throttle_time_ms: 0, error_code: code.0, replica_election_results })
}

fn not_elected(context: &RequestContext, topic: &str, partition: i32) -> Refusal {
    let unknown = |text| Refusal::because(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text);
    let Some(stream) = context.broker().stream(topic) else {
        return unknown(format!("No such topic as {}", ClientText(topic)));
    };
    let index = PartitionIndex::try_from(partition).ok();
    match index.and_then(|index| stream.partition(index)) {
        None => unknown(format!("No such partition as {}-{partition}", ClientText(topic))),
        Some(_) => Refusal::because(
            ErrorCode::ELECTION_NOT_NEEDED,
            "Leader election not needed for topic partition.",
        ),
    }
}
