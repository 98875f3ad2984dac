//! One connection: one task that reads requests and writes their answers in the same order.
//!
//! ```text
//!   socket ─► frame_reader ─► begin ─► queue of pending answers ─► awaited one by one ─► socket
//!              limits          Produce: admission and order
//! ```
//!
//! Two loops run in the task, so that reading goes on while an answer is waited for: a producer may
//! pipeline, and a Produce takes its place in the log when it is read, not when it is answered.
//! Everything else runs when its turn to answer comes, as in Kafka.
//!
//! The end. When the client closes its side, sends what cannot be answered, or the broker stops,
//! reading ends first; requests that were read are still carried out and answered, for at most
//! [`DRAIN_MAX`], and long polls are told to hurry ([`ConnectionInfo::closing`]).
//!
//! A client over its quota is paused: both loops stop for that time, see [`crate::pauses`].

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, warn};
use weir_core::log_limit::LogLimit;
use weir_core::metrics::Dialect;
use weir_core::metrics::latency::Stage;
use weir_core::quota::busy::measured;
use weir_core::request_budget::{BudgetShare, HeldBytes};
use weir_model::limits::MIB;
use weir_model::time::Moment;

use crate::answer_writer::AnswerWriter;
use crate::close::{CloseReason, Closed, RequestName};
use crate::dispatch::{self, Begun};
use crate::exchange::{Answer, PendingAnswer};
use crate::frame_reader::FrameReader;
use crate::handover::{Giver, Taker, handover};
use crate::pauses::{Pauses, reached};
use crate::request_times::RequestTimes;
use crate::service::KafkaService;
use crate::unanswered::{Unanswered, UnansweredRequest};

/// How long requests that were read may take to be answered once reading has ended.
const DRAIN_MAX: Duration = Duration::from_secs(4);

/// After so many requests in a row a connection lets others run …
const REQUESTS_PER_TURN: usize = 8;
/// … or after so many bytes of them.
const BYTES_PER_TURN: usize = 4 * MIB;

/// The two addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's.
    pub peer: SocketAddr,
    /// The one of ours that the client reached.
    pub local: SocketAddr,
}

/// What handlers may know of the connection.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) ends: Ends,
    closing: watch::Receiver<bool>,
    /// When the client may be read on.
    pub(crate) pauses: Pauses,
    /// A producer that sends bad batches sends them by the thousand.
    pub(crate) refused_batches: LogLimit,
    /// Whether this client has got past its bootstrap; see `bootstrap`.
    is_past_bootstrap: AtomicBool,
}

impl ConnectionInfo {
    /// Notes that the client got past its bootstrap. True the first time.
    pub(crate) fn pass_bootstrap(&self) -> bool {
        !self.is_past_bootstrap.swap(true, Ordering::Relaxed)
    }

    /// Returns when the connection is about to end: who waits for something should answer now.
    pub(crate) async fn closing(&self) {
        // An error means that the connection is gone already.
        let _ = self.closing.clone().wait_for(|closing| *closing).await;
    }
}

/// A request that was read, on its way to its answer.
struct Queued {
    request: RequestName,
    answer: PendingAnswer,
    times: RequestTimes,
    /// Given back as soon as the answer is made.
    budget: BudgetShare,
    /// Given back when the answer has been written.
    place: UnansweredRequest,
}

/// Serves one connection until it ends. `stop` turning true, or its sender going away, ends it
/// after what was read has been answered.
pub async fn serve_connection<R, W>(
    reader: R,
    writer: W,
    ends: Ends,
    service: Arc<KafkaService>,
    stop: watch::Receiver<bool>,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let _counted = service.broker().metrics().connection(Dialect::Kafka);
    let (closing, is_closing) = watch::channel(false);
    let info = Arc::new(ConnectionInfo {
        ends,
        closing: is_closing,
        pauses: Pauses::default(),
        refused_batches: LogLimit::default(),
        is_past_bootstrap: AtomicBool::new(false),
    });
    let (queue, queued) = handover();
    let answers = Answers {
        writer: AnswerWriter::new(writer),
        info: Arc::clone(&info),
        service: Arc::clone(&service),
        paused_until: None,
    };
    let requests = Requests {
        frames: FrameReader::new(reader),
        unanswered: Arc::default(),
        info,
        service,
        queue,
    };
    let ended = {
        let mut reading = pin!(requests.read_until_end(stop));
        let mut writing = pin!(answers.write_all(queued));
        tokio::select! {
            // The reading loop first, as `handover` wants it.
            biased;
            ended = &mut reading => {
                closing.send_replace(true);
                let drained = timeout(DRAIN_MAX, writing).await;
                ended.and(drained.unwrap_or(Err(CloseReason::DrainTimedOut.into())))
            }
            ended = &mut writing => ended,
        }
    };
    match ended {
        Ok(()) => debug!(peer = %ends.peer, "kafka connection closed"),
        Err(closed) => log_end(ends, &closed),
    }
}

/// A frame with all that it holds.
struct NextFrame {
    frame: Bytes,
    place: UnansweredRequest,
    budget: BudgetShare,
    /// How long its body took to come.
    took: Duration,
}

struct Requests<R> {
    frames: FrameReader<R>,
    unanswered: Arc<Unanswered>,
    info: Arc<ConnectionInfo>,
    service: Arc<KafkaService>,
    /// Bounded by `unanswered`.
    queue: Giver<Queued>,
}

impl<R: AsyncRead + Unpin> Requests<R> {
    /// Reads and begins requests until the client is done, the broker stops or something is wrong.
    /// Dropping the queue's sender at its end lets the writing loop end too.
    async fn read_until_end(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Closed> {
        let (mut requests_in_turn, mut bytes_in_turn) = (0, 0);
        loop {
            // Only here may the stop interrupt: a request that was begun is carried out.
            let next = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => None,
                next = self.next_frame() => next?,
            };
            let Some(NextFrame { frame, place, budget, took }) = next else {
                return Ok(());
            };
            let clock = self.service.broker().clock();
            let received = clock.real_moment();
            requests_in_turn += 1;
            bytes_in_turn += frame.len();
            let begun = dispatch::begin(&self.service, &self.info, frame, budget.held());
            let Begun { name: request, answer, metrics } = begun.await?;
            metrics.latency.observe(Stage::Receive, took);
            let times = RequestTimes::begun(metrics, received, clock.real_moment());
            self.queue.give(Queued { request, answer, times, budget, place });
            if requests_in_turn >= REQUESTS_PER_TURN || bytes_in_turn >= BYTES_PER_TURN {
                (requests_in_turn, bytes_in_turn) = (0, 0);
                tokio::task::yield_now().await;
            }
        }
    }

    /// The next frame, once the connection and the broker have room for it and no pause is on.
    async fn next_frame(&mut self) -> Result<Option<NextFrame>, CloseReason> {
        let unanswered = &self.unanswered;
        let Some(length) = self.frames.next_length(|| !unanswered.is_empty()).await? else {
            return Ok(None);
        };
        let (broker, pauses) = (self.service.broker(), &self.info.pauses);
        pauses.over(broker.clock()).await;
        let place = unanswered.admit(length).await;
        let mut budget = broker.request_budget().begin(length);
        let began = broker.clock().real_moment();
        let frame = self.frames.body(length, &mut budget).await?;
        let took = broker.clock().real_moment().since(began);
        // One that began while the frame came.
        pauses.over_holding(broker, budget.held()).await;
        Ok(Some(NextFrame { frame, place, budget, took }))
    }
}

/// Awaits answers in the order of their requests and writes them.
struct Answers<W> {
    writer: AnswerWriter<W>,
    info: Arc<ConnectionInfo>,
    service: Arc<KafkaService>,
    /// The end of the pause that an answer has announced. The reading loop's may be a later one:
    /// that of a request whose answer is still to come.
    paused_until: Option<Moment>,
}

impl<W: AsyncWrite + Unpin> Answers<W> {
    async fn write_all(mut self, mut queued: Taker<Queued>) -> Result<(), Closed> {
        while let Some(Queued { request, answer, mut times, budget, place }) = queued.take().await {
            self.wait_out(budget.held()).await;
            times.end(Stage::Turn, self.now());
            let answer = answer.await.map_err(|reason| reason.of(request))?;
            times.end(Stage::Answer, self.now());
            drop(budget);
            if let Some(answer) = answer {
                self.write(answer).await.map_err(|reason| reason.of(request))?;
                times.end(Stage::Send, self.now());
            }
            times.done();
            drop(place);
        }
        Ok(self.writer.shut_down().await?)
    }

    fn now(&self) -> Moment {
        self.service.broker().clock().real_moment()
    }

    /// Writes an answer. The pause that it announces begins before: the client may be quick.
    async fn write(&mut self, mut answer: Answer) -> Result<(), CloseReason> {
        let broker = self.service.broker();
        if !answer.pause.is_zero() {
            self.paused_until = Some(self.info.pauses.begin(broker.clock(), answer.pause));
        }
        let Some(payer) = answer.payer.take() else {
            return self.writer.send(answer).await;
        };
        // The answer is on its way: its own pause cannot grow by what sending it takes.
        let (sent, busy) = measured(broker.clock(), self.writer.send(answer)).await;
        broker.client_quotas().charge_busy(payer.client(), busy);
        sent
    }

    /// Returns when the announced pause is over, or when there is a reason not to wait for that.
    async fn wait_out(&mut self, held: HeldBytes) {
        let Some(until) = self.paused_until.take() else {
            return;
        };
        let broker = self.service.broker();
        if let Some(_idle) = broker.request_budget().try_idle(held) {
            tokio::select! {
                () = reached(broker.clock(), until) => {}
                () = self.info.closing() => {}
            }
        }
    }
}

fn log_end(ends: Ends, closed: &Closed) {
    let (peer, reason) = (ends.peer, &closed.reason);
    let api = closed.request.map(|request| request.api_key.name());
    let version = closed.request.map(|request| request.version);
    if reason.is_ordinary() {
        debug!(%peer, api, version, %reason, "kafka connection closed");
    } else {
        warn!(%peer, api, version, %reason, "closing kafka connection");
    }
}
