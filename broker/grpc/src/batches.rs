//! Batches that the client has built itself, appended as they came.
//!
//! ```text
//!   requests ──> one is admitted (quota, room) ──> its place in the log is fixed ──┐
//!                                    answers <── the oldest is kept <── in flight ─┘
//! ```
//!
//! One call carries many batches, up to [`IN_FLIGHT_MAX`] of them without an answer. Their order is
//! the order of the requests: the next is admitted when the one before has its place. A request
//! is read when HTTP/2 asks for the next answer, so a client that takes no answers, or whose stream
//! is over its quota, is slowed by HTTP/2's windows.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tonic::Streaming;
use weir_core::broker::Broker;
use weir_core::error::AppendError;
use weir_core::metrics::RequestMetrics;
use weir_core::partition::append::{PendingAppend, QuotaWait};
use weir_core::request_budget::HeldBytes;
use weir_core::{Novelty, Placed};
use weir_model::batch::{BatchError, RecordBatch};
use weir_model::ids::PartitionIndex;
use weir_proto::v1::append_batches_response::Outcome;
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::{AppendBatchesRequest, AppendBatchesResponse, PlacedBatch};

use crate::answers::Source;
use crate::errors::{Refusal, append_refusal, batch_refusal};
use crate::server::turned_true;
use crate::streams::find;

/// Batches of one call that have their place and no answer yet.
const IN_FLIGHT_MAX: usize = 16;
/// Longest wait of one batch for quota.
const QUOTA_WAIT_MAX: Duration = Duration::from_secs(30);

/// The batches of one call, answered in their order.
pub(crate) struct BatchAppends {
    broker: Arc<Broker>,
    stopped: watch::Receiver<bool>,
    metrics: Arc<RequestMetrics>,
    requests: Streaming<AppendBatchesRequest>,
    /// Whether there may be more requests.
    is_open: bool,
    /// The batch that waits for its place.
    admission: Option<Admission>,
    /// Batches that have one, oldest first; each becomes its answer.
    in_flight: VecDeque<InFlight>,
}

type Admission = Pin<Box<dyn Future<Output = Result<Appended, Refusal>> + Send>>;
type InFlight = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A batch that has its place in the log.
struct Appended {
    pending: PendingAppend,
    record_count: u64,
}

impl BatchAppends {
    pub(crate) fn new(
        broker: Arc<Broker>,
        stopped: watch::Receiver<bool>,
        metrics: Arc<RequestMetrics>,
        requests: Streaming<AppendBatchesRequest>,
    ) -> BatchAppends {
        let (admission, in_flight) = (None, VecDeque::new());
        BatchAppends { broker, stopped, metrics, requests, is_open: true, admission, in_flight }
    }

    /// Begins with the next request.
    fn begin(&mut self, request: AppendBatchesRequest) {
        self.metrics.requests.add(1);
        self.metrics.bytes_in.add(request.batch.len() as u64);
        self.admission = Some(Box::pin(admit(Arc::clone(&self.broker), request)));
    }

    /// Has what was admitted, or refused, wait for its turn to be answered.
    fn admitted(&mut self, admitted: Result<Appended, Refusal>) {
        let metrics = Arc::clone(&self.metrics);
        self.in_flight.push_back(Box::pin(async move {
            let outcome = match admitted {
                Ok(appended) => settled(appended, &metrics).await,
                Err(refusal) => Err(refusal),
            };
            metrics.errors.add(u64::from(outcome.is_err()));
            outcome.map_or_else(|refusal| Outcome::Error(refusal.detail()), Outcome::Placed)
        }));
    }
}

impl Source for BatchAppends {
    type Answer = AppendBatchesResponse;

    async fn next(&mut self) -> Option<Result<AppendBatchesResponse, Refusal>> {
        loop {
            let may_read =
                self.is_open && self.admission.is_none() && self.in_flight.len() < IN_FLIGHT_MAX;
            if !may_read && self.admission.is_none() && self.in_flight.is_empty() {
                return None;
            }
            tokio::select! {
                biased;
                outcome = oldest(&mut self.in_flight), if !self.in_flight.is_empty() => {
                    self.in_flight.pop_front();
                    return Some(Ok(AppendBatchesResponse { outcome: Some(outcome) }));
                }
                admitted = current(&mut self.admission), if self.admission.is_some() => {
                    self.admission = None;
                    self.admitted(admitted);
                }
                // What has its place is answered first.
                () = turned_true(&mut self.stopped), if may_read => self.is_open = false,
                request = self.requests.message(), if may_read => match request {
                    Ok(Some(request)) => self.begin(request),
                    Ok(None) => self.is_open = false,
                    // The client is gone, or what it sent is no message.
                    Err(error) => return Some(Err(Refusal::invalid(error.message()))),
                },
            }
        }
    }
}

async fn oldest(in_flight: &mut VecDeque<InFlight>) -> Outcome {
    match in_flight.front_mut() {
        Some(oldest) => oldest.await,
        None => std::future::pending().await,
    }
}

async fn current(admission: &mut Option<Admission>) -> Result<Appended, Refusal> {
    match admission {
        Some(admission) => admission.await,
        None => std::future::pending().await,
    }
}

/// Fixes a batch's place, when its stream has quota and room for it.
async fn admit(broker: Arc<Broker>, request: AppendBatchesRequest) -> Result<Appended, Refusal> {
    let stream = find(&broker, &request.stream)?;
    let index = request.partition;
    let partition = PartitionIndex::try_from(index as usize).map_err(|_| {
        Refusal::new(Reason::UnknownPartition, format!("there is no partition {index}"))
    })?;
    let batch = checked(request.batch).map_err(batch_refusal)?;
    if batch.header().attributes.is_transactional() {
        return Err(Refusal::invalid("transactions are not supported by this broker"));
    }
    let record_count = u64::try_from(batch.header().record_count).unwrap_or(0);
    // The bytes are HTTP/2's, whose windows bound what a connection holds.
    let quota_wait = QuotaWait { time_max: QUOTA_WAIT_MAX, held: HeldBytes::default() };
    let pending = broker.append(&stream, partition, batch, quota_wait).await;
    let pending = pending.map_err(|error| append_refusal(&error))?;
    Ok(Appended { pending, record_count })
}

/// Everything that can be said about a batch without asking the core. One pass over its bytes.
fn checked(bytes: Bytes) -> Result<RecordBatch, BatchError> {
    let batch = RecordBatch::parse(bytes)?;
    batch.verify_crc()?;
    batch.check_produced()?;
    Ok(batch)
}

/// Where the batch is, once it is kept.
async fn settled(appended: Appended, metrics: &RequestMetrics) -> Result<PlacedBatch, Refusal> {
    let Appended { pending, record_count } = appended;
    let placed: Result<Placed, AppendError> = pending.settled().await;
    let placed = placed.map_err(|error| append_refusal(&error))?;
    metrics.records_in.add(record_count);
    Ok(PlacedBatch {
        base_offset: placed.base_offset.number(),
        append_time_ms: placed.append_time.map(|time| time.as_millis()),
        is_duplicate: placed.novelty == Novelty::Duplicate,
    })
}
