//! One request and its answer on their way through a handler.
//!
//! A handler is `async fn handle(context: RequestContext, request: XRequest) ->
//! Result<XResponse, CloseReason>`. It runs when the answers to all earlier requests of its
//! connection have gone out ([`Exchange::in_turn`]), as in Kafka, which takes up one request of a
//! connection at a time. Produce alone has a part that runs earlier, while its requests are read,
//! since the order of its batches is decided there.
//!
//! What an exchange has cost is charged to its client when the answer is made: the time that a
//! processor was busy with it, where anybody has a quota of that ([`Exchange::work`]). A response
//! may ask for a pause of its own; the longer one is announced and counts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_core::Extent;
use weir_core::broker::Broker;
use weir_core::faults::Fault;
use weir_core::metrics::RequestMetrics;
use weir_core::quota::Client;
use weir_core::quota::busy::measured;
use weir_core::quota::client_quotas::{MutationQuota, OverQuota};
use weir_core::quota::entity::QuotaKey;
use weir_core::request_budget::HeldBytes;
use weir_kafka_protocol::{ErrorCode, Gather, Reader, Request, RequestHeader, Response, frame};

use crate::close::CloseReason;
use crate::connection::ConnectionInfo;
use crate::faults;
use crate::pauses::pause_ms;
use crate::service::KafkaService;

/// Who clients are that have not proven to be anybody.
const ANONYMOUS: &str = "ANONYMOUS";

/// What a handler is told beside the request's body.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) service: Arc<KafkaService>,
    /// Who asks, and whether the connection is about to end.
    pub(crate) connection: Arc<ConnectionInfo>,
    /// One of the versions that `dispatch` lists for the API.
    pub(crate) version: i16,
    /// As the client calls itself; show it through [`crate::client_text::ClientText`].
    pub(crate) client_id: Option<String>,
    pub(crate) metrics: Arc<RequestMetrics>,
    /// Header and body.
    pub(crate) request_bytes: usize,
    /// What the request holds of the broker's budget until it is answered.
    pub(crate) held: HeldBytes,
    /// What somebody wants to happen to it.
    pub(crate) fault: Option<Fault>,
}

impl RequestContext {
    pub(crate) fn broker(&self) -> &Broker {
        self.service.broker()
    }

    /// Whom quotas hold for.
    pub(crate) fn client(&self) -> Client<'_> {
        Client { user: ANONYMOUS, id: self.client_id.as_deref().unwrap_or_default() }
    }

    /// The quota of a request that makes or deletes partitions. From version `refused_from` on the
    /// client knows that it may be refused (KIP-599).
    pub(crate) fn mutation_quota(&self, refused_from: i16) -> Arc<MutationQuota> {
        let knows = self.version >= refused_from;
        let over_quota = if knows { OverQuota::Refused } else { OverQuota::CarriedOut };
        self.broker().client_quotas().begin_mutation(self.client(), over_quota)
    }

    /// Counts a pause, if it is one.
    pub(crate) fn count_pause(&self, pause: Duration) {
        if !pause.is_zero() {
            self.metrics.pauses.add(1);
            self.metrics.pause_micros.add(u64::try_from(pause.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Whether somebody has a quota of time.
    fn is_timed(&self) -> bool {
        self.broker().client_quotas().has(QuotaKey::RequestPercentage)
    }

    /// The code as the wire has it; counted, unless it is the code of success.
    pub(crate) fn answer_code(&self, code: ErrorCode) -> i16 {
        if code != ErrorCode::NONE {
            self.metrics.errors.add(1);
        }
        code.0
    }
}

/// An answer, ready for the socket.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) frame: Gather,
    /// What the frame's external parts stand for, by their index: each is a run of extents.
    pub(crate) extents: Vec<Vec<Extent>>,
    /// How long the client is not listened to after it.
    pub(crate) pause: Duration,
    /// To whom the time of sending it is charged, if that is counted.
    pub(crate) payer: Option<Box<RequestContext>>,
}

impl Answer {
    pub(crate) fn new(frame: Gather, extents: Vec<Vec<Extent>>) -> Answer {
        Answer { frame, extents, pause: Duration::ZERO, payer: None }
    }
}

/// Becomes the answer when polled; `None` where the protocol wants none (Produce with acks=0).
pub(crate) type PendingAnswer =
    Pin<Box<dyn Future<Output = Result<Option<Answer>, CloseReason>> + Send>>;

/// What is done at once when a request has been read; its result is done in turn.
pub(crate) type Started = Pin<Box<dyn Future<Output = Result<PendingAnswer, CloseReason>> + Send>>;

/// One request whose header has been read.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) context: RequestContext,
    header: RequestHeader,
    body: Reader,
    /// How long processors were busy with it; atomic because work may move between threads.
    busy_nanos: AtomicU64,
}

impl Exchange {
    pub(crate) fn new(context: RequestContext, header: RequestHeader, body: Reader) -> Exchange {
        Exchange { context, header, body, busy_nanos: AtomicU64::new(0) }
    }

    /// Reads the body. Bytes after it are ignored, as Kafka does.
    pub(crate) fn decode<R: Request>(&mut self) -> Result<R, CloseReason> {
        assert_eq!(R::API_KEY, self.header.api_key, "dispatched to the handler of another API");
        let clock = self.context.broker().clock();
        let begun = self.context.is_timed().then(|| clock.real_moment());
        let decoded = R::decode(&mut self.body, self.header.api_version);
        if let Some(begun) = begun {
            self.count_busy(clock.real_moment().since(begun));
        }
        Ok(decoded?)
    }

    /// Does a part of what the request asks for, on its client's time.
    pub(crate) async fn work<F: Future>(&self, work: F) -> F::Output {
        if !self.context.is_timed() {
            return work.await;
        }
        let (output, busy) = measured(self.context.broker().clock(), work).await;
        self.count_busy(busy);
        output
    }

    fn count_busy(&self, busy: Duration) {
        let nanos = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The answer with the error that somebody wants.
    fn wanted_error<R: Response + Default>(&self) -> Option<R> {
        let code = faults::code_of(self.context.fault.as_ref()?)?;
        let mut response = R::default();
        *response.error_code()? = self.context.answer_code(code);
        Some(response)
    }

    /// Charges the client for the time that the request took; the pause that it deserves, or that
    /// somebody wants.
    fn charge_time(&self) -> Duration {
        let wanted = self.context.fault.as_ref().map(Fault::throttle).unwrap_or_default();
        wanted.max(self.charge_busy())
    }

    fn charge_busy(&self) -> Duration {
        if !self.context.is_timed() {
            return Duration::ZERO;
        }
        let busy = Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed));
        self.context.broker().client_quotas().charge_busy(self.context.client(), busy)
    }

    /// Charges the client for the records of an answer and for the time that it took. Where that
    /// deserves a pause, the records are not given and not charged.
    pub(crate) fn charge_fetched(&self, bytes: usize) -> Duration {
        let (quotas, client) = (self.context.broker().client_quotas(), self.context.client());
        let pause = quotas.charge_fetched(client, bytes).max(self.charge_time());
        if !pause.is_zero() {
            quotas.refund_fetched(client, bytes);
        }
        pause
    }

    /// The answer with this body after which the client pauses as long as its time deserves, or
    /// as long as the body says already.
    pub(crate) fn answer_charged<R: Response>(
        &self,
        mut response: R,
    ) -> Result<Answer, CloseReason> {
        let mut pause = self.charge_time();
        if let Some(announced_ms) = response.throttle_time_ms() {
            pause = pause.max(Duration::from_millis(u64::try_from(*announced_ms).unwrap_or(0)));
            *announced_ms = pause_ms(pause);
        }
        self.answer_paused(&response, Vec::new(), pause)
    }

    /// The answer with this body, after which the client pauses as the body says.
    pub(crate) fn answer_paused<R: Response>(
        &self,
        response: &R,
        extents: Vec<Vec<Extent>>,
        pause: Duration,
    ) -> Result<Answer, CloseReason> {
        self.context.count_pause(pause);
        let answer = self.answer(response, extents)?;
        Ok(Answer { pause, ..answer })
    }

    /// The answer with this body.
    pub(crate) fn answer<R: Response>(
        &self,
        response: &R,
        extents: Vec<Vec<Extent>>,
    ) -> Result<Answer, CloseReason> {
        self.answer_in_version(response, self.header.api_version, extents)
    }

    /// The answer in another version than the request's: only ApiVersions has that.
    pub(crate) fn answer_in_version<R: Response>(
        &self,
        response: &R,
        version: i16,
        extents: Vec<Vec<Extent>>,
    ) -> Result<Answer, CloseReason> {
        let frame = frame::encode_response(self.header.correlation_id, version, response)?;
        self.context.metrics.bytes_out.add(frame.total_length() as u64);
        let payer = self.context.is_timed().then(|| Box::new(self.context.clone()));
        Ok(Answer { payer, ..Answer::new(frame, extents) })
    }

    /// Decodes now, and runs `handle` when all earlier requests have been answered.
    pub(crate) fn in_turn<R, H, F>(mut self, handle: H) -> Started
    where
        R: Request + Send + 'static,
        R::Response: Send + Default,
        H: FnOnce(RequestContext, R) -> F + Send + 'static,
        F: Future<Output = Result<R::Response, CloseReason>> + Send + 'static,
    {
        let decoded = self.decode::<R>();
        let start = |request| -> PendingAnswer {
            Box::pin(async move {
                if let Some(response) = self.wanted_error::<R::Response>() {
                    return self.answer_charged(response).map(Some);
                }
                let response = self.work(handle(self.context.clone(), request)).await?;
                self.answer_charged(response).map(Some)
            })
        };
        Box::pin(std::future::ready(decoded.map(start)))
    }
}
