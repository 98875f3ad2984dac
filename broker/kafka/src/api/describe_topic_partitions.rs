//! DescribeTopicPartitions (key 75), version 0: topics page by page.
//!
//! - Topics are answered by name, each once; none named: all. A page ends after as many partitions
//!   as the request wants, at most 2,000 and at least one, with a cursor to the next.
//! - A cursor is where to go on. A negative partition in it, or a topic that is not among those
//!   named, is INVALID_REQUEST for every topic; with none named its topic may be gone by then.
//! - Where an empty name is among them every topic is UNKNOWN_SERVER_ERROR, as in Kafka.
//! - Topics are not made on first use here. Authorised operations are all of them, since there are
//!   no ACLs; there are no eligible leaders beside the one.

use std::collections::BTreeSet;

use weir_core::stream::stream::Stream;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic, RequestCursor,
    ResponseCursor,
};
use weir_model::ids::StreamName;

use crate::api::metadata::{OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS_ALL};
use crate::close::CloseReason;
use crate::exchange::RequestContext;
use crate::topic::topic_id;

pub(crate) const GAPS: &[&str] = &[];

/// Most partitions of one page (`max.request.partition.size.limit`).
const PARTITIONS_PER_PAGE_MAX: usize = 2_000;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> Result<DescribeTopicPartitionsResponse, CloseReason> {
    let names_all = request.topics.is_empty();
    let named: BTreeSet<String> = match request.topics.is_empty() {
        true => context.broker().streams().iter().map(|stream| stream.name.to_string()).collect(),
        false => request.topics.into_iter().map(|topic| topic.name).collect(),
    };
    let is_bad = |cursor: &RequestCursor| {
        cursor.partition_index < 0 || !(names_all || named.contains(&cursor.topic_name))
    };
    let refusal = if request.cursor.as_ref().is_some_and(is_bad) {
        Some(ErrorCode::INVALID_REQUEST)
    } else if named.contains("") {
        Some(ErrorCode::UNKNOWN_SERVER_ERROR)
    } else {
        None
    };
    if let Some(code) = refusal {
        let refused = |name| without_partitions(&context, name, code);
        let topics = named.into_iter().map(refused).collect();
        return Ok(DescribeTopicPartitionsResponse { topics, ..Default::default() });
    }
    let wanted = usize::try_from(request.response_partition_limit).unwrap_or(0);
    Ok(page(&context, named, request.cursor, wanted.clamp(1, PARTITIONS_PER_PAGE_MAX)))
}

fn page(
    context: &RequestContext,
    named: BTreeSet<String>,
    cursor: Option<RequestCursor>,
    partitions_max: usize,
) -> DescribeTopicPartitionsResponse {
    let (first_topic, first_partition) = match cursor {
        None => (String::new(), 0),
        Some(cursor) => (cursor.topic_name, usize::try_from(cursor.partition_index).unwrap_or(0)),
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut room = partitions_max;
    for name in named.into_iter().filter(|name| *name >= first_topic) {
        let first = if name == first_topic { first_partition } else { 0 };
        if room == 0 {
            response.next_cursor = Some(cursor_at(name, first));
            break;
        }
        let Some(stream) = context.broker().stream(&name) else {
            let code = match StreamName::new(&name) {
                Ok(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            };
            let mut topic = without_partitions(context, name, code);
            topic.topic_authorized_operations = TOPIC_OPERATIONS_ALL;
            response.topics.push(topic);
            continue;
        };
        let partition_count = stream.partitions().len();
        let next = partition_count.min(first.saturating_add(room));
        response.topics.push(describe(context, &stream, first..next));
        room = room.saturating_sub(next.saturating_sub(first));
        if next < partition_count {
            response.next_cursor = Some(cursor_at(name, next));
            break;
        }
    }
    response
}

fn cursor_at(topic_name: String, partition: usize) -> ResponseCursor {
    let partition_index = i32::try_from(partition).unwrap_or(i32::MAX);
    ResponseCursor { topic_name, partition_index }
}

fn describe(
    context: &RequestContext,
    stream: &Stream,
    range: std::ops::Range<usize>,
) -> DescribeTopicPartitionsResponseTopic {
    let broker = context.broker();
    let node_id = broker.options().node_id;
    let leader_epoch = broker.log().epoch().as_i32();
    let partition = |partition_index| DescribeTopicPartitionsResponsePartition {
        partition_index,
        leader_id: node_id,
        leader_epoch,
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        ..Default::default()
    };
    let partitions = stream.partitions();
    let partitions = partitions.get(range).unwrap_or_default();
    DescribeTopicPartitionsResponseTopic {
        error_code: 0,
        name: Some(stream.name.to_string()),
        topic_id: topic_id(stream),
        is_internal: stream.name.is_internal(),
        partitions: partitions.iter().map(|p| partition(p.id.index.as_i32())).collect(),
        topic_authorized_operations: TOPIC_OPERATIONS_ALL,
    }
}

fn without_partitions(
    context: &RequestContext,
    name: String,
    code: ErrorCode,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: context.answer_code(code),
        is_internal: StreamName::new(&name).is_ok_and(|name| name.is_internal()),
        name: Some(name),
        topic_authorized_operations: OPERATIONS_NOT_ASKED,
        ..Default::default()
    }
}
