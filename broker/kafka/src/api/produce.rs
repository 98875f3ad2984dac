//! Produce (key 0), versions 3 to 13 (listed from 0, see `api_versions`): append record batches.
//!
//! - Exactly one batch of message format 2 for each partition, else INVALID_RECORD; a wrong CRC is
//!   CORRUPT_MESSAGE. The records inside are looked at where the topic's settings ask for it
//!   (compaction, old dates, another codec); otherwise the bytes are stored as they came.
//! - The order of batches is fixed while requests are read, so a client may pipeline; answers
//!   follow in the order of the requests.
//! - acks 0: no answer, and an error closes the connection; 1: answered at the append; -1: once
//!   kept by the stream's flush policy. Anything else is INVALID_REQUIRED_ACKS.
//! - The request's timeout bounds the wait for quota, after which nothing was appended, and then
//!   the wait for acks, which does not undo the append; both end as REQUEST_TIMED_OUT. Where too
//!   many requests wait for quota already, the first ends so at once.
//! - A client over its quota of written bytes or of time is answered at once and then paused, after
//!   acks 0 too; what it sent is appended.
//! - zstd needs version 7, else UNSUPPORTED_COMPRESSION_TYPE.
//! - acks -1 waits for the one replica that there is, whatever min.insync.replicas says: Kafka
//!   lowers the minimum to the topic's replicas (KIP-966).
//! - Records without a key on a compacted topic are INVALID_RECORD.
//! - 5+: log start offset. 8+: an error message, and which records a batch is refused for. 13+:
//!   topics by id.
//! - A duplicate of an idempotent producer is answered like its first, with the first offset.
//!
//! Left out: transactions, so a transactional batch is INVALID_TXN_STATE, which no client retries;
//! the node endpoints of KIP-951, since there is one node.

use std::time::Duration;

use tracing::warn;
use weir_core::Placed;
use weir_core::error::AppendError;
use weir_core::faults::Fault;
use weir_core::partition::append::{PendingAppend, QuotaWait};
use weir_core::stream::stream::Stream;
use weir_kafka_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use weir_kafka_protocol::{ApiKey, ErrorCode};
use weir_model::batch::RecordBatch;
use weir_model::compression::Codec;
use weir_model::ids::PartitionIndex;

use crate::close::CloseReason;
use crate::errors::{Refusal, append_refusal, batch_refusal, blames_the_batch};
use crate::exchange::{Answer, Exchange, PendingAnswer, RequestContext, Started};
use crate::faults;
use crate::pauses::pause_ms;
use crate::topic::TopicRef;

pub(crate) const GAPS: &[&str] = &[
    "versions 0-2 close the connection, they are listed for librdkafka only",
    "no transactional batches",
    "of single records only missing keys are named, at most 1,000 of a batch",
];

/// First version whose clients can read zstd.
const ZSTD_FROM: i16 = 7;
/// Records that a refusal's sentence names.
const SHOWN_RECORDS_MAX: usize = 3;
/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// What a producer wants to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acks {
    None,
    Placed,
    Settled,
}

/// A topic whose batches have been handed to the core.
struct BegunTopic {
    response: TopicProduceResponse,
    partitions: Vec<BegunPartition>,
}

struct BegunPartition {
    index: i32,
    record_count: u64,
    begun: Result<PendingAppend, NotAppended>,
}

/// Why a batch was not appended, and for which of its records if it is for some of them.
struct NotAppended {
    refusal: Refusal,
    record_errors: Vec<BatchIndexAndErrorMessage>,
}

impl From<Refusal> for NotAppended {
    fn from(refusal: Refusal) -> NotAppended {
        NotAppended { refusal, record_errors: Vec::new() }
    }
}

/// Fixes the order of the batches now; the answer waits for what the acks ask.
pub(crate) fn start(exchange: Exchange) -> Started {
    Box::pin(begin(exchange))
}

async fn begin(mut exchange: Exchange) -> Result<PendingAnswer, CloseReason> {
    let request: ProduceRequest = exchange.decode()?;
    let acks = match request.acks {
        0 => Ok(Acks::None),
        1 => Ok(Acks::Placed),
        -1 => Ok(Acks::Settled),
        _ => Err(Refusal::of(ErrorCode::INVALID_REQUIRED_ACKS)),
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let topics = begin_topics(&exchange.context, request.topic_data, &acks, timeout);
    let topics = exchange.work(topics).await;
    let context = &exchange.context;
    let quotas = context.broker().client_quotas();
    let wanted = context.fault.as_ref().map(Fault::throttle).unwrap_or_default();
    let pause = quotas.charge_produced(context.client(), context.request_bytes).max(wanted);
    if !pause.is_zero() {
        // From here on, since the answer may wait for a flush, and after acks 0 there is none.
        context.connection.pauses.begin(context.broker().clock(), pause);
    }
    Ok(Box::pin(finish(exchange, acks.unwrap_or(Acks::Settled), timeout, topics, pause)))
}

/// Hands the batches of a request to the core, one after the other.
async fn begin_topics(
    context: &RequestContext,
    topic_data: Vec<TopicProduceData>,
    acks: &Result<Acks, Refusal>,
    timeout: Duration,
) -> Vec<BegunTopic> {
    let may_append = acks.as_ref().map(|_| ()).map_err(Refusal::clone);
    let clock = context.broker().clock();
    let asked = clock.real_moment();
    let mut topics = Vec::with_capacity(topic_data.len());
    for topic in topic_data {
        let reference = if context.version < TOPIC_IDS_FROM {
            TopicRef::Name(&topic.name)
        } else {
            TopicRef::Id(topic.topic_id)
        };
        let stream = reference.resolve(context.broker()).map_err(Refusal::of);
        let stream = stream.and_then(|stream| {
            let passed = faults::pass_topic(context, ApiKey::Produce, &stream);
            passed.map(|()| stream).map_err(Refusal::of)
        });
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let target = may_append.clone().and(stream.as_deref().map_err(Refusal::clone));
            let target = target.and_then(|stream| {
                let passed = faults::pass_partition(context, ApiKey::Produce, stream, data.index);
                passed.map(|()| stream).map_err(Refusal::of)
            });
            let quota_wait = QuotaWait {
                time_max: timeout.saturating_sub(clock.real_moment().since(asked)),
                held: context.held,
            };
            let partition = begin_partition(context, target, data, quota_wait).await;
            // Where no answer is wanted, the connection's end says it.
            if let (Err(failed), true) = (&partition.begun, *acks != Ok(Acks::None)) {
                let topic = stream.as_deref().map(|stream| stream.name.as_str());
                let topic = topic.unwrap_or_default();
                log_refused(context, topic, partition.index, &failed.refusal);
            }
            partitions.push(partition);
        }
        let (name, topic_id) = (topic.name, topic.topic_id);
        let response = TopicProduceResponse { name, topic_id, partition_responses: Vec::new() };
        topics.push(BegunTopic { response, partitions });
    }
    topics
}

async fn begin_partition(
    context: &RequestContext,
    target: Result<&Stream, Refusal>,
    data: PartitionProduceData,
    quota_wait: QuotaWait,
) -> BegunPartition {
    let index = data.index;
    let mut record_count = 0;
    let begun = match target.and_then(|stream| Ok((stream, checked_batch(context, data)?))) {
        Err(refusal) => Err(refusal.into()),
        Ok((stream, (partition, batch))) => {
            record_count = u64::try_from(batch.header().record_count).unwrap_or(0);
            let broker = context.broker();
            let appended = broker.append(stream, partition, batch, quota_wait).await;
            appended.map_err(|error| not_appended(&error, stream, partition))
        }
    };
    BegunPartition { index, record_count, begun }
}

/// Why the core refused a batch. Where it is for some records, the texts are Kafka's.
fn not_appended(error: &AppendError, stream: &Stream, partition: PartitionIndex) -> NotAppended {
    let refusal = append_refusal(error);
    let AppendError::KeyMissing { records, record_count } = error else {
        return refusal.into();
    };
    let text = format!(
        "Compacted topic cannot accept message without key in topic partition {}-{partition}",
        stream.name
    );
    let shown = records.iter().take(SHOWN_RECORDS_MAX);
    let shown = shown.map(|index| format!("RecordError(batchIndex={index}, message='{text}')"));
    let shown: Vec<String> = shown.collect();
    let message = format!(
        "One or more records have been rejected due to {record_count} record errors in total, and \
         only showing the first three errors at most: [{}]",
        shown.join(", ")
    );
    let record_error = |index: &u32| BatchIndexAndErrorMessage {
        batch_index: i32::try_from(*index).unwrap_or(i32::MAX),
        batch_index_error_message: Some(text.clone()),
    };
    NotAppended {
        refusal: Refusal::because(refusal.code, message),
        record_errors: records.iter().map(record_error).collect(),
    }
}

/// One line for a producer whose batches are bad, at most once a second.
fn log_refused(context: &RequestContext, topic: &str, partition: i32, refusal: &Refusal) {
    if !blames_the_batch(refusal.code) {
        return;
    }
    let now = context.broker().clock().now();
    if let Some(unsaid) = context.connection.refused_batches.admit(now) {
        let (peer, code) = (context.connection.ends.peer, refusal.code);
        let reason = refusal.message.as_deref();
        warn!(%peer, topic, partition, %code, reason, unsaid, "kafka batch refused");
    }
}

/// Everything that can be said about a batch without asking the core. One pass over its bytes.
fn checked_batch(
    context: &RequestContext,
    data: PartitionProduceData,
) -> Result<(PartitionIndex, RecordBatch), Refusal> {
    let partition = PartitionIndex::try_from(data.index)
        .map_err(|_| Refusal::of(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
    let batch = RecordBatch::parse(data.records.unwrap_or_default())
        .and_then(|batch| batch.verify_crc().map(|()| batch))
        .and_then(|batch| batch.check_produced().map(|()| batch))
        .map_err(|error| batch_refusal(&error))?;
    if batch.header().attributes.is_transactional() {
        let text = "transactions are not supported by this broker";
        return Err(Refusal::because(ErrorCode::INVALID_TXN_STATE, text));
    }
    if batch.codec() == Codec::Zstd && context.version < ZSTD_FROM {
        return Err(Refusal::of(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
    }
    Ok((partition, batch))
}

async fn finish(
    exchange: Exchange,
    acks: Acks,
    timeout: Duration,
    topics: Vec<BegunTopic>,
    pause: Duration,
) -> Result<Option<Answer>, CloseReason> {
    let responses = exchange.work(finish_topics(&exchange.context, acks, timeout, topics)).await;
    if acks == Acks::None {
        exchange.context.count_pause(pause);
        return match first_error(&responses) {
            None => Ok(None),
            Some(code) => Err(CloseReason::FailedWithoutAcks(code)),
        };
    }
    let throttle_time_ms = pause_ms(pause);
    let response = ProduceResponse { responses, throttle_time_ms, ..Default::default() };
    exchange.answer_charged(response).map(Some)
}

/// Waits for what the acks ask.
async fn finish_topics(
    context: &RequestContext,
    acks: Acks,
    timeout: Duration,
    topics: Vec<BegunTopic>,
) -> Vec<TopicProduceResponse> {
    let mut responses = Vec::with_capacity(topics.len());
    let deadline = tokio::time::sleep(timeout);
    tokio::pin!(deadline);
    for BegunTopic { mut response, partitions } in topics {
        for BegunPartition { index, record_count, begun } in partitions {
            let outcome = match begun {
                Err(failed) => Err(failed),
                // An append is decided by now; the deadline is only for what may take long.
                Ok(pending) => tokio::select! {
                    biased;
                    outcome = wait(pending, acks) => outcome.map_err(NotAppended::from),
                    () = &mut deadline => {
                        Err(Refusal::of(ErrorCode::REQUEST_TIMED_OUT).into())
                    }
                },
            };
            if outcome.is_ok() {
                context.metrics.records_in.add(record_count);
            }
            response.partition_responses.push(answer_partition(context, index, outcome));
        }
        responses.push(response);
    }
    responses
}

async fn wait(pending: PendingAppend, acks: Acks) -> Result<Placed, Refusal> {
    let outcome = match acks {
        Acks::None | Acks::Placed => pending.placed().await,
        Acks::Settled => pending.settled().await,
    };
    outcome.map_err(|error| append_refusal(&error))
}

fn answer_partition(
    context: &RequestContext,
    index: i32,
    outcome: Result<Placed, NotAppended>,
) -> PartitionProduceResponse {
    match outcome {
        Ok(placed) => PartitionProduceResponse {
            index,
            base_offset: placed.base_offset.as_i64(),
            log_append_time_ms: placed.append_time.map_or(-1, |time| time.as_millis()),
            log_start_offset: placed.log_start.as_i64(),
            ..Default::default()
        },
        Err(NotAppended { refusal, record_errors }) => PartitionProduceResponse {
            index,
            error_code: context.answer_code(refusal.code),
            error_message: refusal.message,
            record_errors,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            ..Default::default()
        },
    }
}

fn first_error(responses: &[TopicProduceResponse]) -> Option<ErrorCode> {
    let partitions = responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.map(|partition| ErrorCode(partition.error_code)).find(|code| !code.is_none())
}
