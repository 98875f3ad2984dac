//! The task that sends a producer's batches, and deals with what becomes of them.
//!
//! Each partition has a lane: the number under which its batches are sent, and those that were
//! refused. Up to [`IN_FLIGHT_MAX_LANE`] batches of a lane are on their way, which is as many as
//! the broker remembers. Three things can go wrong:
//!
//! - The connection is lost: what was not answered is sent again as it was; the broker knows what
//!   it has.
//! - A batch is refused for now: the ones behind it are refused too, since they do not follow
//!   what the partition has. When all of the lane are back they are sent again in their order.
//! - A batch fails for good: the lane goes on under another number, without it.
//!
//! The first batch under a number goes alone, for the broker believes whatever number it sees
//! first: a second batch that passed a refused first would be taken for the beginning.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use weir_model::batch::ProducerStamp;
use weir_model::ids::ProducerId;
use weir_model::time::Moment;
use weir_proto::v1;
use weir_proto::v1::append_batches_response::Outcome as Answer;

use crate::error::{Error, Reason, Refusal};
use crate::producer::batch::{Batch, Outcome};
use crate::producer::broker::{Broker, Call};
use crate::producer::{ProducerOptions, Shared};

/// Batches on their way, of all partitions.
const IN_FLIGHT_MAX: usize = 16;
/// Batches of one partition on their way.
const IN_FLIGHT_MAX_LANE: usize = 5;
/// How often the sender looks for partitions that were added.
const LAYOUT_AGE_MAX: Duration = Duration::from_secs(60);

/// The task.
#[derive(Debug)]
pub(super) struct Sender {
    broker: Broker,
    shared: Arc<Shared>,
    options: ProducerOptions,
    lanes: BTreeMap<u32, Lane>,
    /// In the order of sending, which is that of the answers.
    in_flight: VecDeque<Sent>,
    layout_read: Moment,
    /// What lanes get as their number; each lane had it at most once.
    producer_id: Option<(ProducerId, i16)>,
}

#[derive(Debug)]
struct Sent {
    partition: u32,
    batch: Batch,
}

/// What the sender knows of one partition.
#[derive(Debug, Default)]
struct Lane {
    number: Option<Number>,
    in_flight: usize,
    /// Refused for now, oldest first.
    refused: VecDeque<Batch>,
    /// Refused because the partition is closed, or is none, oldest first; with what the broker
    /// said.
    closed: Vec<(Batch, Refusal)>,
    /// Refusals in a row.
    failures: u32,
    /// Nothing is sent before.
    paused_until: Moment,
}

/// The number under which a lane's batches are sent.
#[derive(Clone, Copy, Debug)]
struct Number {
    id: ProducerId,
    epoch: i16,
    next_sequence: i32,
    /// Whether a batch under it was kept.
    is_known: bool,
}

impl Lane {
    /// Whether a batch that was refused, or a new one, may be sent now.
    fn is_free(&self, now: Moment) -> bool {
        let in_flight_max = match self.number {
            Some(number) if number.is_known => IN_FLIGHT_MAX_LANE,
            _ => 1,
        };
        let is_waiting_for_answers = self.has_refusals() && self.in_flight > 0;
        self.in_flight < in_flight_max && !is_waiting_for_answers && now >= self.paused_until
    }

    fn has_refusals(&self) -> bool {
        self.failures > 0 || !self.closed.is_empty()
    }

    /// Keeps a refused batch until the lane is free: those before and behind it are here, too.
    fn refuse(&mut self, batch: Batch) {
        let before = self.refused.partition_point(|other| other.number < batch.number);
        self.refused.insert(before, batch);
        self.failures = self.failures.max(1);
    }

    /// Goes on under another number: what is to come does not follow what the partition has.
    fn renumber(&mut self) {
        self.number = None;
        for batch in &mut self.refused {
            batch.stamp = None;
        }
    }
}

/// How a call ended.
enum End {
    /// There is nothing more to do.
    Finished,
    /// The connection was lost.
    Lost(Error),
}

impl Sender {
    pub(super) fn new(broker: Broker, shared: Arc<Shared>, options: ProducerOptions) -> Sender {
        let layout_read = shared.clock.real_moment();
        let (lanes, in_flight) = (BTreeMap::new(), VecDeque::new());
        Sender { broker, shared, options, lanes, in_flight, layout_read, producer_id: None }
    }

    /// Sends until the producer is closed and all is decided.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            self.wait_for_work().await;
            if self.is_done() {
                return;
            }
            let end = match self.broker.call(&self.options.stream, IN_FLIGHT_MAX).await {
                Ok(call) => {
                    failures = 0;
                    self.serve(call).await
                }
                Err(error) => End::Lost(error),
            };
            match end {
                End::Finished => return,
                End::Lost(error) => self.give_up_old(&error),
            }
            tokio::time::sleep(self.broker.retry().pause(failures)).await;
            failures += 1;
        }
    }

    fn now(&self) -> Moment {
        self.shared.clock.real_moment()
    }

    fn has_work(&self) -> bool {
        !self.in_flight.is_empty()
            || self.lanes.values().any(|lane| !lane.refused.is_empty() || !lane.closed.is_empty())
            || !self.shared.accumulator.lock().is_empty()
    }

    fn is_done(&self) -> bool {
        self.shared.is_closed.load(std::sync::atomic::Ordering::Acquire) && !self.has_work()
    }

    /// No call is made before there is something to send.
    async fn wait_for_work(&self) {
        while !self.has_work() && !self.is_done() {
            self.shared.ready.notified().await;
        }
    }

    /// Sends and hears until the call ends.
    async fn serve(&mut self, mut call: Call) -> End {
        for Sent { partition, batch } in &mut self.in_flight {
            let request = request(&self.options.stream, *partition, batch);
            if call.requests.send(request).await.is_err() {
                return End::Lost(Error::Unreachable("the call ended".to_owned()));
            }
        }
        loop {
            if let Err(error) = self.look_after_lanes().await {
                return End::Lost(error);
            }
            self.fill(&call.requests);
            if self.is_done() {
                return End::Finished;
            }
            let pause = self.next_due();
            tokio::select! {
                answer = call.answers.next(), if !self.in_flight.is_empty() => match answer {
                    Ok(Some(answer)) => {
                        if let Err(error) = self.answered(answer) {
                            return End::Lost(error);
                        }
                    }
                    Ok(None) => {
                        return End::Lost(Error::Unreachable("the call was ended".to_owned()));
                    }
                    Err(error) => return End::Lost(error),
                },
                () = self.shared.ready.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// How long nothing needs to be done unless something comes.
    fn next_due(&self) -> Duration {
        let now = self.now();
        let is_free = |partition| self.lanes.get(&partition).is_none_or(|lane| lane.is_free(now));
        let has_room = self.in_flight.len() < IN_FLIGHT_MAX;
        let open = self.shared.accumulator.lock().next_due(now, |p| has_room && is_free(p));
        let paused = self.lanes.values().filter(|lane| lane.paused_until > now);
        let paused = paused.map(|lane| lane.paused_until.since(now)).min();
        let layout = LAYOUT_AGE_MAX.saturating_sub(now.since(self.layout_read));
        // A timer is as coarse as a millisecond; below that we would only spin.
        let due = open.unwrap_or(layout).min(paused.unwrap_or(layout)).min(layout);
        due.max(Duration::from_millis(1))
    }

    /// Sends what may be sent.
    fn fill(&mut self, requests: &mpsc::Sender<v1::AppendBatchesRequest>) {
        while self.in_flight.len() < IN_FLIGHT_MAX {
            let Some((partition, mut batch)) = self.next_batch() else { return };
            let lane = self.lanes.entry(partition).or_default();
            if batch.stamp.is_none()
                && let Some(number) = &mut lane.number
            {
                let base_sequence = number.next_sequence;
                batch.stamp =
                    Some(ProducerStamp { id: number.id, epoch: number.epoch, base_sequence });
                number.next_sequence = sequence_after(base_sequence, batch.record_count());
            }
            lane.in_flight += 1;
            // There is room for all that may be on its way. Where the call has ended meanwhile, it
            // is sent with the next.
            let _ = requests.try_send(request(&self.options.stream, partition, &mut batch));
            self.in_flight.push_back(Sent { partition, batch });
        }
    }

    /// The next batch of a lane that is free and has a number.
    fn next_batch(&mut self) -> Option<(u32, Batch)> {
        let now = self.now();
        for (partition, lane) in &mut self.lanes {
            let may_send = lane.number.is_some() && lane.is_free(now) && lane.closed.is_empty();
            if may_send && let Some(batch) = lane.refused.pop_front() {
                return Some((*partition, batch));
            }
        }
        let lanes = &self.lanes;
        let may_send = |partition| {
            let is_free = |lane: &Lane| {
                let has_number = lane.number.is_some();
                has_number && lane.is_free(now) && lane.closed.is_empty() && lane.refused.is_empty()
            };
            lanes.get(&partition).is_some_and(is_free)
        };
        self.shared.accumulator.lock().take(now, may_send)
    }
}

/// What becomes of batches, and of the lanes that they leave.
impl Sender {
    /// Takes the answer for the batch that was sent first.
    fn answered(&mut self, answer: v1::AppendBatchesResponse) -> Result<(), Error> {
        let nonsense = |what: &str| Error::Protocol(what.to_owned());
        let outcome = answer.outcome.ok_or_else(|| nonsense("an answer without an outcome"))?;
        let sent = self.in_flight.pop_front();
        let Sent { partition, batch } = sent.ok_or_else(|| nonsense("an answer to nothing"))?;
        let lane = self.lanes.entry(partition).or_default();
        lane.in_flight -= 1;
        match outcome {
            Answer::Placed(placed) => {
                lane.failures = 0;
                if let (Some(number), Some(stamp)) = (&mut lane.number, batch.stamp) {
                    number.is_known |= number.id == stamp.id;
                }
                let v1::PlacedBatch { base_offset, append_time_ms, .. } = placed;
                self.decide(batch, Outcome::Kept { partition, base_offset, append_time_ms });
            }
            Answer::Error(detail) => self.refused(partition, batch, detail.into()),
        }
        Ok(())
    }

    fn refused(&mut self, partition: u32, mut batch: Batch, refusal: Refusal) {
        let now = self.now();
        let is_old = self.is_old(&batch);
        let lane = self.lanes.entry(partition).or_default();
        match refusal.reason {
            Reason::PartitionClosed | Reason::UnknownPartition => {
                lane.closed.push((batch, refusal));
            }
            Reason::SequenceGap => {
                let is_of_now = lane.number.map(|number| number.id) == batch.stamp.map(|s| s.id);
                if !is_of_now {
                    batch.stamp = None;
                } else if lane.refused.is_empty() {
                    // Nothing before it is to come: the broker has forgotten the number, or a
                    // batch before it was given up.
                    lane.renumber();
                    self.producer_id = None;
                    batch.stamp = None;
                }
                lane.refuse(batch);
            }
            _ if refusal.may_pass() && !is_old => {
                let pause = self.broker.retry().pause(lane.failures);
                lane.paused_until = now.plus(pause.max(refusal.retry_after));
                lane.failures += 1;
                lane.refuse(batch);
            }
            _ => {
                lane.renumber();
                // Those behind it come back.
                lane.failures = lane.failures.max(1);
                self.producer_id = None;
                self.decide(batch, Outcome::Failed(Error::Refused(refusal)));
            }
        }
    }

    fn decide(&self, batch: Batch, outcome: Outcome) {
        self.shared.accumulator.lock().forget(&batch);
        batch.decide(outcome);
        self.shared.freed.notify_waiters();
    }

    fn is_old(&self, batch: &Batch) -> bool {
        self.now().since(batch.began) > self.options.delivery_time_max
    }

    /// Fails what has waited too long for a connection. What was on its way may have been kept.
    fn give_up_old(&mut self, error: &Error) {
        let in_flight = std::mem::take(&mut self.in_flight);
        for Sent { partition, batch } in in_flight {
            if !self.is_old(&batch) {
                self.in_flight.push_back(Sent { partition, batch });
                continue;
            }
            let lane = self.lanes.entry(partition).or_default();
            lane.in_flight -= 1;
            lane.renumber();
            self.producer_id = None;
            self.decide(batch, Outcome::Failed(error.clone()));
        }
        self.give_up_old_refused(error);
        let age_max = self.options.delivery_time_max;
        let Some(before) = self.now().since_start().checked_sub(age_max) else { return };
        let waited = self.shared.accumulator.lock().take_older(Moment::from_start(before));
        for batch in waited {
            self.decide(batch, Outcome::Failed(error.clone()));
        }
    }

    fn give_up_old_refused(&mut self, error: &Error) {
        let mut old = Vec::new();
        let age_max = self.options.delivery_time_max;
        let now = self.now();
        for lane in self.lanes.values_mut() {
            let is_old = |batch: &Batch| now.since(batch.began) > age_max;
            while lane.refused.front().is_some_and(is_old) {
                old.extend(lane.refused.pop_front());
                lane.renumber();
                self.producer_id = None;
            }
        }
        for batch in old {
            self.decide(batch, Outcome::Failed(error.clone()));
        }
    }

    /// Numbers lanes that have something to send, reads the partitions anew when it is time, and
    /// has what was refused by closed ones go elsewhere.
    async fn look_after_lanes(&mut self) -> Result<(), Error> {
        let late = Error::Unreachable("it was refused for too long".to_owned());
        self.give_up_old_refused(&late);
        let is_back = |lane: &Lane| !lane.closed.is_empty() && lane.in_flight == 0;
        let closed = self.lanes.iter().find(|(_, lane)| is_back(lane));
        if let Some(partition) = closed.map(|(partition, _)| *partition) {
            self.reroute(partition).await?;
        } else if self.now().since(self.layout_read) > LAYOUT_AGE_MAX {
            self.layout_read = self.now();
            // One that fails is tried again a minute later; nothing depends on it.
            if let Ok(layout) = self.broker.layout(&self.options.stream).await {
                self.shared.accumulator.lock().set_layout(layout);
            }
        }
        let waiting = self.shared.accumulator.lock().waiting();
        for partition in waiting {
            self.lanes.entry(partition).or_default();
        }
        if self.lanes.values().any(|lane| lane.number.is_none()) {
            self.number_lanes().await?;
        }
        Ok(())
    }

    async fn number_lanes(&mut self) -> Result<(), Error> {
        let (id, epoch) = match self.producer_id {
            Some(known) => known,
            None => self.broker.begin_producer().await?,
        };
        self.producer_id = Some((id, epoch));
        for lane in self.lanes.values_mut().filter(|lane| lane.number.is_none()) {
            lane.number = Some(Number { id, epoch, next_sequence: 0, is_known: false });
        }
        Ok(())
    }

    /// Has the records of a partition that was closed go where they belong now.
    async fn reroute(&mut self, partition: u32) -> Result<(), Error> {
        let layout = self.broker.layout(&self.options.stream).await;
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        let layout = match layout {
            // It is tried again when the broker is back.
            Err(error) if error.may_pass() => return Err(error),
            layout => layout,
        };
        let Some((_, refusal)) = lane.closed.last() else { return Ok(()) };
        let refusal = refusal.clone();
        let closed = lane.closed.drain(..).map(|(batch, _)| batch);
        let mut batches: Vec<Batch> = lane.refused.drain(..).chain(closed).collect();
        batches.sort_by_key(|batch| batch.number);
        self.lanes.remove(&partition);
        match layout {
            Ok(layout) => {
                let now = self.now();
                let mut accumulator = self.shared.accumulator.lock();
                accumulator.set_layout(layout);
                accumulator.reroute(partition, batches, &refusal, now);
                drop(accumulator);
                self.layout_read = now;
                self.shared.freed.notify_waiters();
                Ok(())
            }
            // The stream is gone, or makes no sense.
            Err(error) => {
                for batch in batches {
                    self.decide(batch, Outcome::Failed(error.clone()));
                }
                Ok(())
            }
        }
    }
}

fn request(stream: &str, partition: u32, batch: &mut Batch) -> v1::AppendBatchesRequest {
    v1::AppendBatchesRequest { stream: stream.to_owned(), partition, batch: batch.encoded() }
}

/// Sequences count up to 2^31 - 1 and begin again at 0.
fn sequence_after(sequence: i32, records: i32) -> i32 {
    let after = i64::from(sequence) + i64::from(records);
    i32::try_from(after % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}
