//! A reader that goes on: the records of partitions, one answer at a time.
//!
//! The next answer is made when HTTP/2 asks for it, which it does when the last was taken, so a
//! reader that stops reading costs one answer. It is made as soon as there is a record: the log's
//! watermarks wake it, nothing is polled. Partitions take turns. One that was split or merged out
//! of others is read when those are finished, so that the records of a key come in their order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_core::Waiter;
use weir_core::alarm::Alarm;
use weir_core::broker::Broker;
use weir_core::error::ReadError;
use weir_core::metrics::RequestMetrics;
use weir_core::partition::partition::Partition;
use weir_core::read::position::StartAt;
use weir_core::read::records::{CallQuota, ReadRecord, ReadRecords};
use weir_core::stream::stream::Stream;
use weir_model::ids::PartitionIndex;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::position::Place as From;
use weir_proto::v1::{Header, Position, Record, TailRequest, TailResponse};

use crate::answers::Source;
use crate::errors::{Refusal, read_refusal};
use crate::streams::find;

/// Most records of one answer.
const ANSWER_RECORDS_MAX: usize = 1_000;
/// Most bytes of keys and values in one answer; its first record may be larger.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// One reader.
#[derive(Debug)]
pub(crate) struct Tail {
    broker: Arc<Broker>,
    stream: Arc<Stream>,
    partition_changes: watch::Receiver<bool>,
    stopped: watch::Receiver<bool>,
    metrics: Arc<RequestMetrics>,
    /// Whether partitions that come are read too.
    takes_all: bool,
    until_now: bool,
    /// None for no limit.
    records_left: Option<u64>,
    places: Vec<ReadPlace>,
    /// Whose turn it is.
    turn: usize,
    /// How many places the reader was told of, or need not be.
    announced: usize,
}

/// Where the reader is in one partition.
#[derive(Debug)]
struct ReadPlace {
    partition: PartitionIndex,
    from: Offset,
    /// Where it ends, if not with the partition.
    until: Option<Offset>,
    is_finished: bool,
}

impl Tail {
    pub(crate) async fn begin(
        broker: Arc<Broker>,
        request: &TailRequest,
        stopped: watch::Receiver<bool>,
        metrics: Arc<RequestMetrics>,
    ) -> Result<Tail, Refusal> {
        let stream = find(&broker, &request.stream)?;
        let partition_changes = stream.partition_changes();
        let from = request.from.and_then(|Position { place }| place);
        let from = from.ok_or_else(|| Refusal::invalid("the request does not say from where"))?;
        if matches!(from, From::Earliest(false) | From::Latest(false)) {
            return Err(Refusal::invalid("earliest and latest are true or left out"));
        }
        let mut tail = Tail {
            broker,
            partition_changes,
            stopped,
            metrics,
            takes_all: request.partitions.is_empty(),
            until_now: request.until_now,
            records_left: Some(request.records_max).filter(|max| *max > 0),
            places: Vec::new(),
            turn: 0,
            announced: 0,
            stream,
        };
        for partition in tail.chosen(&request.partitions)? {
            let own = request.offsets.get(&partition.id.index.as_u32());
            let from = own.map_or(from, |offset| From::Offset(*offset));
            let place = tail.place(&partition, from).await.map_err(|e| read_refusal(&e))?;
            tail.places.push(place);
        }
        if !request.announce_positions {
            tail.announced = usize::MAX;
        }
        Ok(tail)
    }

    /// The partitions that a request names; all if it names none.
    fn chosen(&self, named: &[u32]) -> Result<Vec<Arc<Partition>>, Refusal> {
        if named.is_empty() {
            return Ok(self.stream.partitions().to_vec());
        }
        let mut chosen: Vec<Arc<Partition>> = Vec::new();
        for index in named {
            let unknown =
                || Refusal::new(Reason::UnknownPartition, format!("there is no partition {index}"));
            let number = PartitionIndex::try_from(*index as usize).map_err(|_| unknown())?;
            if chosen.iter().any(|partition| partition.id.index == number) {
                return Err(Refusal::invalid(format!("partition {index} is named twice")));
            }
            chosen.push(self.stream.partition(number).ok_or_else(unknown)?);
        }
        Ok(chosen)
    }

    async fn place(&self, partition: &Partition, from: From) -> Result<ReadPlace, ReadError> {
        let end = self.broker.find_offset(partition, StartAt::Latest).await?;
        let end = end.offset.unwrap_or(Offset::ZERO);
        let marks = partition.watermarks();
        let found = match from {
            From::Earliest(_) => marks.log_start,
            From::Latest(_) => end,
            From::Offset(offset) if offset > marks.log_end.number() => {
                let (log_start, log_end) = (marks.log_start, marks.log_end);
                return Err(ReadError::OutOfRange { log_start, log_end });
            }
            From::Offset(offset) => Offset::new(offset).max(marks.log_start),
            From::Last(count) => {
                Offset::new(end.number().saturating_sub(count)).max(marks.log_start)
            }
            From::TimestampMs(time) => {
                let at = StartAt::AtTime(Timestamp::from_millis(time));
                self.broker.find_offset(partition, at).await?.offset.unwrap_or(end)
            }
        };
        let until = self.until_now.then_some(end);
        Ok(ReadPlace { partition: partition.id.index, from: found, until, is_finished: false })
    }

    async fn next_answer(&mut self) -> Option<Result<TailResponse, Refusal>> {
        loop {
            if self.records_left == Some(0) {
                return None;
            }
            if *self.stopped.borrow() {
                self.records_left = Some(0);
                let why = "the broker is stopping";
                return Some(Err(Refusal::new(Reason::ShuttingDown, why)));
            }
            if let Some(place) = self.places.get(self.announced) {
                self.announced += 1;
                return Some(Ok(announcement(place)));
            }
            if self.stream.is_deleted() {
                let gone = Refusal::unknown_stream(self.stream.name.as_str());
                self.places.clear();
                self.records_left = Some(0);
                return Some(Err(gone));
            }
            // What changes after this look wakes the wait that follows it.
            self.partition_changes.mark_unchanged();
            self.take_up_new_partitions();
            let pause = match self.look().await {
                Look::Answer(answer) => return Some(Ok(answer)),
                Look::Failed(refusal) => {
                    self.records_left = Some(0);
                    return Some(Err(refusal));
                }
                Look::Nothing(pause) => pause,
            };
            if self.places.iter().all(|place| place.is_finished) && !self.goes_on() {
                return None;
            }
            self.wait(pause).await;
        }
    }

    /// Whether there may be partitions that are not known yet.
    fn goes_on(&self) -> bool {
        self.takes_all && !self.until_now
    }

    fn take_up_new_partitions(&mut self) {
        if !self.goes_on() {
            return;
        }
        for partition in self.stream.partitions().iter().skip(self.places.len()) {
            let from = partition.watermarks().log_start;
            let partition = partition.id.index;
            self.places.push(ReadPlace { partition, from, until: None, is_finished: false });
        }
    }

    /// Looks at each partition once, beginning with the one whose turn it is.
    async fn look(&mut self) -> Look {
        let mut pause: Option<Duration> = None;
        for step in 0..self.places.len() {
            let number = (self.turn + step) % self.places.len();
            if !self.is_ready(number) {
                continue;
            }
            match self.read(number).await {
                Ok(Some(answer)) => {
                    self.turn = number + 1;
                    return Look::Answer(answer);
                }
                Ok(None) => {}
                Err(ReadError::OverQuota { retry_after }) => {
                    pause = Some(pause.map_or(retry_after, |least| least.min(retry_after)));
                }
                Err(error) => return Look::Failed(read_refusal(&error)),
            }
        }
        Look::Nothing(pause)
    }

    /// Whether the partition is to be read now: not to its end yet, and its parents are.
    fn is_ready(&self, number: usize) -> bool {
        let Some(place) = self.places.get(number) else { return false };
        let Some(partition) = self.stream.partition(place.partition) else { return false };
        let is_read = |parent: &PartitionIndex| {
            let read = self.places.iter().find(|place| place.partition == *parent);
            read.is_none_or(|place| place.is_finished)
        };
        !place.is_finished && partition.parents.iter().flatten().all(is_read)
    }

    async fn read(&mut self, number: usize) -> Result<Option<TailResponse>, ReadError> {
        let place = self.places.get_mut(number).expect("it was looked at");
        let left = self.records_left.unwrap_or(u64::MAX);
        let left = place.until.map_or(left, |until| left.min(until.since(place.from)));
        let request = ReadRecords {
            stream: Arc::clone(&self.stream),
            partition: place.partition,
            from: place.from,
            records_max: usize::try_from(left).unwrap_or(usize::MAX).min(ANSWER_RECORDS_MAX),
            bytes_max: ANSWER_BYTES_MAX,
            call: CallQuota::Free,
        };
        if request.records_max == 0 {
            place.is_finished = true;
            return Ok(None);
        }
        let read = self.broker.read(&request).await?;
        place.from = read.next;
        let is_beyond = |record: &ReadRecord| place.until.is_some_and(|u| record.offset >= u);
        let records: Vec<_> =
            read.records.iter().filter(|record| !is_beyond(record)).map(shown).collect();
        place.is_finished = read.finished || place.until.is_some_and(|until| read.next >= until);
        if records.is_empty() && !place.is_finished {
            return Ok(None);
        }
        let sent = records.len() as u64;
        self.records_left = self.records_left.map(|left| left.saturating_sub(sent));
        self.metrics.records_out.add(sent);
        Ok(Some(TailResponse {
            partition: place.partition.as_u32(),
            records,
            next_offset: place.from.number(),
            behind_ms: read.behind_ms,
            is_finished: read.finished,
        }))
    }

    /// Returns when there may be something to say.
    async fn wait(&mut self, pause: Option<Duration>) {
        let ready = (0..self.places.len()).filter(|number| self.is_ready(*number));
        let waiting: Vec<_> = ready
            .filter_map(|number| self.places.get(number))
            .filter_map(|place| Some((self.stream.partition(place.partition)?, place.from)))
            .collect();
        let waiter = Waiter::new();
        let mut watches = Vec::with_capacity(waiting.len());
        // Over its quota it does not matter what comes; and one whose storage failed has no more
        // to give, and would wake at once.
        for (partition, from) in waiting.iter().filter(|_| pause.is_none()) {
            if !partition.progress().is_stopped() {
                watches.push(partition.progress().watch(*from, &waiter));
            }
        }
        let mut alarm = Alarm::for_client(self.broker.clock());
        let paused = async {
            match pause {
                Some(pause) => alarm.after(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waiter.woken(), if !watches.is_empty() => {}
            _ = self.partition_changes.changed() => {}
            () = paused => {}
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
        }
    }
}

impl Source for Tail {
    type Answer = TailResponse;

    async fn next(&mut self) -> Option<Result<TailResponse, Refusal>> {
        self.next_answer().await
    }
}

/// What a look at all partitions came to.
enum Look {
    Answer(TailResponse),
    Failed(Refusal),
    /// There is nothing to send; until then, where quotas are what hinders it.
    Nothing(Option<Duration>),
}

fn announcement(place: &ReadPlace) -> TailResponse {
    let partition = place.partition.as_u32();
    TailResponse { partition, next_offset: place.from.number(), ..TailResponse::default() }
}

fn shown(record: &ReadRecord) -> Record {
    let header = |header: weir_model::record::Header| Header {
        name: String::from_utf8_lossy(&header.key).into_owned(),
        value: header.value,
    };
    Record {
        offset: record.offset.number(),
        timestamp_ms: record.stored_timestamp.as_millis(),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(header).collect(),
    }
}
