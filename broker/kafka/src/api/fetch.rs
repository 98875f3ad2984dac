//! Fetch (key 1), versions 4 to 18: read batches, waiting for data.
//!
//! - Whole batches, from the one that holds the offset; the first of the answer may exceed the
//!   limits, so that a consumer always gets on. At most 64 MiB a response.
//! - Waits for min bytes, the time given, or the first error that the log has for a partition. A
//!   topic or partition that there is not is an error in the answer but ends no wait, as in Kafka:
//!   a consumer that still asks for a deleted topic would go round in circles.
//! - Below the log start or above the log end: OFFSET_OUT_OF_RANGE; between the high watermark and
//!   the log end: waits.
//! - The last stable offset is the high watermark and the list of aborted transactions is empty,
//!   whatever the isolation level, since there are no transactions.
//! - 7+: sessions (KIP-227), see `sessions`. 13+: topics by id.
//! - 9+: current leader epoch, checked against the log epoch (KIP-320). 12+: the epoch of the last
//!   record read; where the log parted from it is answered as diverging epoch. 16+: a fenced leader
//!   epoch is answered with the current one and the broker's address (KIP-951).
//! - 11+: racks change nothing, the preferred read replica is always -1: there is one broker.
//! - A partition over its read quota is not ready, and the others are served.
//! - A client over its own quota of read bytes or of time gets an empty answer at once, in which
//!   its session goes on, and is then paused. Only records that are given are charged. No answer is
//!   larger than what the quota lets a client save up, but for the first batch.
//!
//! Left out: nothing that a consumer asks for; followers, of which there are none, are consumers.

use std::sync::Arc;
use std::time::Duration;

use weir_core::Extent;
use weir_core::read::fetch::{
    FetchPartition, FetchRequest as FetchOrder, Fetched, FetchedPartition,
};
use weir_core::stream::stream::Stream;
use weir_kafka_protocol::messages::fetch::{
    EpochEndOffset, FetchPartition as WantedPartition, FetchRequest, FetchResponse,
    FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use weir_kafka_protocol::{ApiKey, ErrorCode, RecordSet};
use weir_model::ids::PartitionIndex;
use weir_model::limits::MIB;
use weir_model::offset::Offset;

use crate::close::CloseReason;
use crate::errors::read_code;
use crate::exchange::{Answer, Exchange, PendingAnswer, RequestContext, Started};
use crate::faults;
use crate::leader_epoch::said_epoch;
use crate::pauses::pause_ms;
use crate::sessions::{
    FetchedTopic, NO_SESSION, OpenSession, SessionWish, Subject, TrackedPartition, Turn,
};

pub(crate) const GAPS: &[&str] = &[];

/// First version that tells a fenced consumer the current leader.
const CURRENT_LEADER_FROM: i16 = 16;
/// Most bytes of records in one response.
const RESPONSE_BYTES_MAX: usize = 64 * MIB;
/// Isolation level of consumers that read only what is committed.
const READ_COMMITTED: i8 = 1;

/// One partition of the fetch, in its order: refused at once, or asked of the core.
enum Slot {
    Refused(ErrorCode),
    Asked,
}

/// A request translated for the core.
struct Plan {
    order: FetchOrder,
    slots: Vec<Slot>,
}

/// Reads the request; everything else happens in turn.
pub(crate) fn start(mut exchange: Exchange) -> Started {
    let decoded = exchange.decode::<FetchRequest>();
    let start = |request| -> PendingAnswer { Box::pin(answer(exchange, request)) };
    Box::pin(std::future::ready(decoded.map(start)))
}

async fn answer(
    exchange: Exchange,
    mut request: FetchRequest,
) -> Result<Option<Answer>, CloseReason> {
    let context = &exchange.context;
    let sessions = context.service.fetch_sessions();
    let begun = sessions.begin(context.version, &mut request, context.broker().clock().moment());
    let subject = match begun {
        Ok(subject) => subject,
        Err(code) => {
            return exchange.answer_charged(refused(context, code, NO_SESSION)).map(Some);
        }
    };
    let plan = match &subject {
        Subject::Named { partitions, .. } => Some(plan(context, &request, partitions.iter())),
        Subject::Session(session) => {
            session.lock().map(|mut session| plan(context, &request, session.partitions().iter()))
        }
    };
    let mut filling = Filling::new(context, request.isolation_level == READ_COMMITTED);
    if let Some(plan) = plan {
        let fetched = exchange.work(fetch_until_closing(context, &plan.order)).await;
        let pause = exchange.charge_fetched(record_bytes(&fetched));
        if !pause.is_zero() {
            let response = nothing_yet(&subject, pause);
            return exchange.answer_paused(&response, Vec::new(), pause).map(Some);
        }
        count_given(context, &plan.order, &fetched);
        filling.take(plan.slots, fetched);
    }
    let (response, extents) = match subject {
        Subject::Named { partitions, wish } => answer_in_full(filling, partitions, wish),
        Subject::Session(session) => answer_news(filling, &session),
    };
    exchange.answer(&response, extents).map(Some)
}

fn refused(context: &RequestContext, code: ErrorCode, session_id: i32) -> FetchResponse {
    let error_code = context.answer_code(code);
    FetchResponse { error_code, session_id, ..Default::default() }
}

/// The answer to a client that has to pause first; a session that it asks for does not begin.
fn nothing_yet(subject: &Subject, pause: Duration) -> FetchResponse {
    let session_id = match subject {
        Subject::Named { .. } => NO_SESSION,
        Subject::Session(session) => session.id(),
    };
    FetchResponse { throttle_time_ms: pause_ms(pause), session_id, ..Default::default() }
}

/// Every partition of the request, from which a session may begin.
fn answer_in_full(
    mut filling: Filling<'_>,
    mut partitions: Vec<TrackedPartition>,
    wish: SessionWish,
) -> (FetchResponse, Vec<Vec<Extent>>) {
    for partition in &mut partitions {
        filling.serve(partition, Include::Always);
    }
    let context = filling.context;
    let session_id = match wish {
        SessionWish::None => NO_SESSION,
        SessionWish::New { by } => {
            let broker = context.broker();
            let now = broker.clock().moment();
            context.service.fetch_sessions().create(by, partitions, now, broker.random())
        }
    };
    filling.finish(session_id)
}

/// The partitions of a session that have news.
fn answer_news(
    mut filling: Filling<'_>,
    session: &OpenSession,
) -> (FetchResponse, Vec<Vec<Extent>>) {
    let Some(mut locked) = session.lock() else {
        let code = ErrorCode::INVALID_FETCH_SESSION_EPOCH;
        return (refused(filling.context, code, session.id()), Vec::new());
    };
    locked.partitions().serve(|partition| filling.serve(partition, Include::News));
    filling.finish(session.id())
}

/// Fetches; a connection that is about to end gets what there is.
async fn fetch_until_closing(
    context: &RequestContext,
    order: &FetchOrder,
) -> Vec<FetchedPartition> {
    // There is nothing to wait for.
    if order.partitions.is_empty() {
        return Vec::new();
    }
    tokio::select! {
        biased;
        fetched = context.broker().fetch(order) => fetched,
        () = context.connection.closing() => {
            let at_once = FetchOrder { wait_max: Duration::ZERO, ..order.clone() };
            context.broker().fetch(&at_once).await
        }
    }
}

fn record_bytes(fetched: &[FetchedPartition]) -> usize {
    fetched.iter().flatten().map(|fetched| fetched.ranges.bytes).sum()
}

/// Counts the bytes of each stream, and the offsets that the answer gets past: its records, and
/// what compaction or control batches leave between them. To count the records alone would mean to
/// look into the batches.
fn count_given(context: &RequestContext, order: &FetchOrder, fetched: &[FetchedPartition]) {
    let mut offsets = 0;
    for (wanted, result) in order.partitions.iter().zip(fetched) {
        let Ok(Fetched { ranges, .. }) = result else { continue };
        offsets += ranges.next_offset.since(wanted.from);
        if ranges.bytes > 0 {
            context.broker().metrics().count_read(&wanted.stream, ranges.bytes as u64);
        }
    }
    context.metrics.records_out.add(offsets);
}

fn plan<'a>(
    context: &RequestContext,
    request: &FetchRequest,
    partitions: impl Iterator<Item = &'a TrackedPartition>,
) -> Plan {
    let saved_up_bytes = context.broker().client_quotas().fetch_bytes_max(context.client());
    let bytes_max = bounded(request.max_bytes)
        .min(RESPONSE_BYTES_MAX)
        .min(saved_up_bytes.unwrap_or(RESPONSE_BYTES_MAX));
    let capacity = partitions.size_hint().0;
    let mut order = FetchOrder {
        partitions: Vec::with_capacity(capacity),
        bytes_max,
        bytes_min: bounded(request.min_bytes).min(bytes_max),
        wait_max: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
    };
    let mut slots = Vec::with_capacity(capacity);
    // Neighbours are mostly of one topic, which is then looked up once.
    let mut last = None;
    for TrackedPartition { topic, wanted, .. } in partitions {
        let found = match last.take() {
            Some((known, found)) if Arc::ptr_eq(known, topic) => found,
            _ => topic.resolve(context.broker()).and_then(|stream| {
                let passed = faults::pass_topic(context, ApiKey::Fetch, &stream);
                passed.map(|()| stream).inspect_err(|_| order.wait_max = Duration::ZERO)
            }),
        };
        let slot = match &found {
            Err(code) => Slot::Refused(*code),
            Ok(stream) => match wanted_of(stream, wanted).and_then(|place| {
                let passed =
                    faults::pass_partition(context, ApiKey::Fetch, stream, wanted.partition);
                passed.map(|()| place).inspect_err(|_| order.wait_max = Duration::ZERO)
            }) {
                Err(code) => Slot::Refused(code),
                Ok(wanted) => {
                    order.partitions.push(wanted);
                    Slot::Asked
                }
            },
        };
        if let Slot::Refused(ErrorCode::OFFSET_OUT_OF_RANGE | ErrorCode::INCONSISTENT_TOPIC_ID) =
            slot
        {
            order.wait_max = Duration::ZERO;
        }
        slots.push(slot);
        last = Some((topic, found));
    }
    Plan { order, slots }
}

fn wanted_of(stream: &Arc<Stream>, wanted: &WantedPartition) -> Result<FetchPartition, ErrorCode> {
    let partition = PartitionIndex::try_from(wanted.partition)
        .ok()
        .and_then(|index| stream.partition(index))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let from = Offset::try_from(wanted.fetch_offset).map_err(|_| ErrorCode::OFFSET_OUT_OF_RANGE)?;
    Ok(FetchPartition {
        stream: Arc::clone(stream),
        partition,
        from,
        bytes_max: bounded(wanted.partition_max_bytes),
        current_epoch: said_epoch(wanted.current_leader_epoch),
        last_epoch: Some(wanted.last_fetched_epoch).filter(|epoch| *epoch >= 0),
    })
}

/// Which partitions an answer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Include {
    Always,
    /// Those that have something to tell.
    News,
}

/// A response that is being filled in; the extents of each record set are an external part of it.
struct Filling<'a> {
    context: &'a RequestContext,
    is_read_committed: bool,
    slots: std::vec::IntoIter<Slot>,
    fetched: std::vec::IntoIter<FetchedPartition>,
    responses: Vec<FetchableTopicResponse>,
    /// The topic of the last of them.
    last_topic: Option<Arc<FetchedTopic>>,
    node_endpoints: Vec<NodeEndpoint>,
    extents: Vec<Vec<Extent>>,
}

impl<'a> Filling<'a> {
    fn new(context: &'a RequestContext, is_read_committed: bool) -> Filling<'a> {
        Filling {
            context,
            is_read_committed,
            slots: Vec::new().into_iter(),
            fetched: Vec::new().into_iter(),
            responses: Vec::new(),
            last_topic: None,
            node_endpoints: Vec::new(),
            extents: Vec::new(),
        }
    }

    /// Takes what was fetched; partitions are then served in the order in which it was planned.
    fn take(&mut self, slots: Vec<Slot>, fetched: Vec<FetchedPartition>) {
        (self.slots, self.fetched) = (slots.into_iter(), fetched.into_iter());
    }

    /// Answers for the next partition.
    fn serve(&mut self, partition: &mut TrackedPartition, include: Include) -> Turn {
        let result = match self.slots.next() {
            Some(Slot::Refused(code)) => Err(code),
            Some(Slot::Asked) => {
                let fetched = self.fetched.next().expect("one result for each that was asked for");
                fetched.map_err(|error| read_code(&error))
            }
            None => unreachable!("partitions are served that were not planned"),
        };
        let mut data = PartitionData {
            partition_index: partition.wanted.partition,
            preferred_read_replica: -1,
            records: Some(RecordSet::default()),
            ..Default::default()
        };
        match result {
            Err(code) => self.fail(&mut data, code),
            Ok(fetched) => self.fill(&mut data, fetched),
        }
        let gives_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        if partition.tell(&data) || include == Include::Always {
            self.push(&partition.topic, data);
        }
        if gives_records { Turn::Used } else { Turn::Kept }
    }

    fn fail(&mut self, data: &mut PartitionData, code: ErrorCode) {
        data.error_code = self.context.answer_code(code);
        (data.high_watermark, data.last_stable_offset, data.log_start_offset) = (-1, -1, -1);
        if code == ErrorCode::FENCED_LEADER_EPOCH && self.context.version >= CURRENT_LEADER_FROM {
            let broker = self.context.broker();
            let leader_id = broker.options().node_id;
            let leader_epoch = broker.log().epoch().as_i32();
            data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
            if self.node_endpoints.is_empty() {
                self.node_endpoints.push(endpoint(self.context));
            }
        }
    }

    fn fill(&mut self, data: &mut PartitionData, fetched: Fetched) {
        let Fetched { ranges, diverged_at } = fetched;
        data.high_watermark = ranges.watermarks.high_watermark.as_i64();
        data.last_stable_offset = data.high_watermark;
        data.log_start_offset = ranges.watermarks.log_start.as_i64();
        data.aborted_transactions = self.is_read_committed.then(Vec::new);
        if let Some(end) = diverged_at {
            data.diverging_epoch =
                EpochEndOffset { epoch: end.epoch.as_i32(), end_offset: end.end.as_i64() };
        }
        if ranges.bytes > 0 {
            let (index, length) = (self.extents.len(), ranges.bytes);
            data.records = Some(RecordSet::External { index, length });
            self.extents.push(ranges.extents);
        }
    }

    /// Adds a partition; only neighbours of one topic share an entry, so that the order stays.
    fn push(&mut self, topic: &Arc<FetchedTopic>, data: PartitionData) {
        let is_same = self.last_topic.as_ref().is_some_and(|last| Arc::ptr_eq(last, topic));
        match self.responses.last_mut() {
            Some(response) if is_same => response.partitions.push(data),
            _ => {
                self.last_topic = Some(Arc::clone(topic));
                self.responses.push(FetchableTopicResponse {
                    topic: topic.response_name(),
                    topic_id: topic.response_id(),
                    partitions: vec![data],
                });
            }
        }
    }

    fn finish(self, session_id: i32) -> (FetchResponse, Vec<Vec<Extent>>) {
        let Filling { responses, node_endpoints, extents, .. } = self;
        (FetchResponse { session_id, responses, node_endpoints, ..Default::default() }, extents)
    }
}

/// Where the one broker is, as this client is told.
fn endpoint(context: &RequestContext) -> NodeEndpoint {
    let ends = context.connection.ends;
    let address = context.service.advertised().address_for(ends.peer, ends.local);
    NodeEndpoint {
        node_id: context.broker().options().node_id,
        host: address.host,
        port: i32::from(address.port),
        rack: None,
    }
}

/// A number of bytes; what is negative counts as none.
fn bounded(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}
