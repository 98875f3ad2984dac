//! Fetch (key 1), versions 4 to 18: read batches, waiting for data.
//!
//! - Whole batches, from the one that holds the offset; the first of the answer may exceed the
//!   limits, so that a consumer always gets on. At most 64 MiB a response.
//! - Waits for min bytes, the time given, or the first error of any partition.
//! - Below the log start or above the log end: OFFSET_OUT_OF_RANGE; between the high watermark and
//!   the log end: waits.
//! - The last stable offset is the high watermark and the list of aborted transactions is empty,
//!   whatever the isolation level, since there are no transactions.
//! - 9+: current leader epoch, checked against the log epoch (KIP-320). 13+: topics by id.
//! - A partition over its read quota is not ready, and the others are served.
//!
//! Left out: sessions (KIP-227): a full answer with session id 0, after which clients send full
//! requests; diverging epochs (12+); preferred read replicas (11+).

use std::sync::Arc;
use std::time::Duration;

use weir_core::Extent;
use weir_core::error::ReadError;
use weir_core::read::fetch::{FetchPartition, FetchRequest as FetchOrder, FetchedPartition};
use weir_core::stream::stream::Stream;
use weir_kafka_protocol::messages::fetch::{
    FetchPartition as WantedPartition, FetchRequest, FetchResponse, FetchableTopicResponse,
    PartitionData,
};
use weir_kafka_protocol::{ErrorCode, RecordSet};
use weir_model::ids::PartitionIndex;
use weir_model::limits::MIB;
use weir_model::offset::Offset;

use crate::close::CloseReason;
use crate::errors::read_code;
use crate::exchange::{Answer, Exchange, PendingAnswer, RequestContext, Started};
use crate::topic::TopicRef;

pub(crate) const GAPS: &[&str] =
    &["no fetch sessions (KIP-227)", "no diverging epochs", "no preferred read replica"];

/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;
/// Most bytes of records in one response.
const RESPONSE_BYTES_MAX: usize = 64 * MIB;
/// Session epochs that ask for a full answer: to begin a session, and to have none.
const FULL_FETCH_EPOCHS: [i32; 2] = [0, -1];
/// Isolation level of consumers that read only what is committed.
const READ_COMMITTED: i8 = 1;

/// One partition of the response, in the request's order: refused at once, or asked of the core.
enum Slot {
    Refused(ErrorCode),
    Asked,
}

/// A request translated for the core, and what is needed to translate its answer back.
struct Plan {
    order: FetchOrder,
    /// One for each topic, with its slots; partition indexes are in the topics' responses.
    topics: Vec<(FetchableTopicResponse, Vec<Slot>)>,
    is_read_committed: bool,
}

/// Reads the request; everything else happens in turn.
pub(crate) fn start(mut exchange: Exchange) -> Started {
    let decoded = exchange.decode::<FetchRequest>();
    let start = |request| -> PendingAnswer { Box::pin(answer(exchange, request)) };
    Box::pin(std::future::ready(decoded.map(start)))
}

async fn answer(exchange: Exchange, request: FetchRequest) -> Result<Option<Answer>, CloseReason> {
    let context = &exchange.context;
    if !FULL_FETCH_EPOCHS.contains(&request.session_epoch) {
        let error_code = context.answer_code(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        let response = FetchResponse { error_code, ..Default::default() };
        return exchange.answer(&response, Vec::new()).map(Some);
    }
    let plan = plan(context, request);
    let fetched = fetch_until_closing(context, &plan.order).await;
    context.metrics.records_out.add(offsets_given(&plan.order, &fetched));
    let (response, extents) = translate(context, plan, fetched);
    exchange.answer(&response, extents).map(Some)
}

/// Fetches; a connection that is about to end gets what there is.
async fn fetch_until_closing(
    context: &RequestContext,
    order: &FetchOrder,
) -> Vec<FetchedPartition> {
    tokio::select! {
        biased;
        fetched = context.broker().fetch(order) => fetched,
        () = context.connection.closing() => {
            let at_once = FetchOrder { wait_max: Duration::ZERO, ..order.clone() };
            context.broker().fetch(&at_once).await
        }
    }
}

/// The offsets that the answer gets past: its records, and what compaction or control batches leave
/// between them. To count the records alone would mean to look into the batches.
fn offsets_given(order: &FetchOrder, fetched: &[FetchedPartition]) -> u64 {
    let given = order.partitions.iter().zip(fetched).map(|(wanted, result)| match result {
        Ok(ranges) => ranges.next_offset.number().saturating_sub(wanted.from.number()),
        Err(_) => 0,
    });
    given.sum()
}

fn plan(context: &RequestContext, request: FetchRequest) -> Plan {
    let bytes_max = bounded(request.max_bytes).min(RESPONSE_BYTES_MAX);
    let mut order = FetchOrder {
        partitions: Vec::new(),
        bytes_max,
        bytes_min: bounded(request.min_bytes).min(bytes_max),
        wait_max: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let reference = if context.version < TOPIC_IDS_FROM {
            TopicRef::Name(&topic.topic)
        } else {
            TopicRef::Id(topic.topic_id)
        };
        let stream = reference.resolve(context.broker());
        let mut slots = Vec::with_capacity(topic.partitions.len());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let found = stream.as_ref().map_err(|code| *code);
            slots.push(match found.and_then(|stream| wanted_of(stream, wanted)) {
                Err(code) => {
                    // Any error ends the wait.
                    order.wait_max = Duration::ZERO;
                    Slot::Refused(code)
                }
                Ok(wanted) => {
                    order.partitions.push(wanted);
                    Slot::Asked
                }
            });
            let partition_index = wanted.partition;
            partitions.push(PartitionData { partition_index, ..Default::default() });
        }
        let (topic, topic_id) = (topic.topic, topic.topic_id);
        topics.push((FetchableTopicResponse { topic, topic_id, partitions }, slots));
    }
    Plan { order, topics, is_read_committed: request.isolation_level == READ_COMMITTED }
}

fn wanted_of(stream: &Arc<Stream>, wanted: &WantedPartition) -> Result<FetchPartition, ErrorCode> {
    let partition = PartitionIndex::try_from(wanted.partition)
        .map_err(|_| ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let from = Offset::try_from(wanted.fetch_offset).map_err(|_| ErrorCode::OFFSET_OUT_OF_RANGE)?;
    Ok(FetchPartition {
        stream: Arc::clone(stream),
        partition,
        from,
        bytes_max: bounded(wanted.partition_max_bytes),
        // -1: the consumer does not say.
        current_epoch: Some(wanted.current_leader_epoch).filter(|epoch| *epoch >= 0),
    })
}

/// Fills in the response; the extents of each record set become an external part of it.
fn translate(
    context: &RequestContext,
    plan: Plan,
    fetched: Vec<FetchedPartition>,
) -> (FetchResponse, Vec<Vec<Extent>>) {
    let mut fetched = fetched.into_iter();
    let mut extents = Vec::new();
    let mut responses = Vec::with_capacity(plan.topics.len());
    for (mut topic, slots) in plan.topics {
        for (data, slot) in topic.partitions.iter_mut().zip(slots) {
            let result = match slot {
                Slot::Refused(code) => Err(code),
                Slot::Asked => fetched
                    .next()
                    .unwrap_or(Err(ReadError::UnknownPartition))
                    .map_err(|error| read_code(&error)),
            };
            data.preferred_read_replica = -1;
            match result {
                Err(code) => {
                    data.error_code = context.answer_code(code);
                    (data.high_watermark, data.last_stable_offset) = (-1, -1);
                    data.log_start_offset = -1;
                    data.records = Some(RecordSet::Bytes(bytes::Bytes::new()));
                }
                Ok(ranges) => {
                    let high_watermark = ranges.watermarks.high_watermark.as_i64();
                    (data.high_watermark, data.last_stable_offset) =
                        (high_watermark, high_watermark);
                    data.log_start_offset = ranges.watermarks.log_start.as_i64();
                    data.aborted_transactions = plan.is_read_committed.then(Vec::new);
                    let length = ranges.bytes;
                    data.records = Some(RecordSet::External { index: extents.len(), length });
                    extents.push(ranges.extents);
                }
            }
        }
        responses.push(topic);
    }
    (FetchResponse { responses, ..Default::default() }, extents)
}

/// A number of bytes; what is negative counts as none.
fn bounded(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}
