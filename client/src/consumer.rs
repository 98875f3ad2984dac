//! Reads the records of a stream, in the background, as they are written.
//!
//! A task keeps a `Tail` call open and makes it again where it was when the connection is lost; so
//! a record is got once, in the order of its partition. A few answers are read ahead; then the
//! broker waits for the program. Of a stream whose partitions are split or merged, the records of a
//! key come in their order: what was split is read before what came out of it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::vec;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::Streaming;
use weir_proto::v1;
use weir_proto::v1::position::Place as WirePlace;

use crate::connection::Client;
use crate::error::Error;
use crate::record::{From, Place, Record};

/// Answers of at most 256 KiB that are read ahead.
const AHEAD_MAX: usize = 8;

/// Where a consumer's task puts the records of one partition, or why it ends.
pub(crate) type Out = mpsc::Sender<Result<Vec<Record>, Error>>;

/// What to read.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The stream.
    pub stream: String,
    /// Which partitions; all that there are and those that come, where it is empty.
    pub partitions: Vec<u32>,
    /// Where to begin; at the oldest record by default.
    pub from: From,
    /// End at what is there now.
    pub until_now: bool,
    /// Most records in all; no limit where it is none.
    pub records_max: Option<u64>,
}

impl ConsumerOptions {
    /// The defaults, for a stream: everything, for ever.
    pub fn new(stream: impl Into<String>) -> ConsumerOptions {
        ConsumerOptions {
            stream: stream.into(),
            partitions: Vec::new(),
            from: From::Earliest,
            until_now: false,
            records_max: None,
        }
    }
}

/// Reads records; the module says what holds. It is a [`Stream`] of them, which ends when there is
/// nothing more to come, or after an error that trying again did not end.
#[derive(Debug)]
pub struct Consumer {
    answers: mpsc::Receiver<Result<Vec<Record>, Error>>,
    ready: vec::IntoIter<Record>,
    task: JoinHandle<()>,
}

impl Consumer {
    pub(crate) fn begin(client: Client, options: ConsumerOptions) -> Consumer {
        let offsets = HashMap::new();
        let records_left = options.records_max;
        Consumer::of_task(|out| {
            Reader { client, options, offsets, has_begun: false, records_left, out }.run()
        })
    }

    /// One whose records come from a task, which waits when a few answers are ahead.
    pub(crate) fn of_task<F>(task: impl FnOnce(Out) -> F) -> Consumer
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (out, answers) = mpsc::channel(AHEAD_MAX);
        Consumer { answers, ready: Vec::new().into_iter(), task: tokio::spawn(task(out)) }
    }

    /// Whether a record, or an error, is there without waiting.
    pub fn has_next(&self) -> bool {
        !self.ready.as_slice().is_empty() || !self.answers.is_empty()
    }

    /// The next record; none at the end. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Result<Record, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Consumer {
    type Item = Result<Record, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.ready.next() {
                return Poll::Ready(Some(Ok(record)));
            }
            match ready!(self.answers.poll_recv(context)) {
                Some(Ok(records)) => self.ready = records.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task.
struct Reader {
    client: Client,
    options: ConsumerOptions,
    /// Where each partition that is known is to be read on.
    offsets: HashMap<u32, u64>,
    /// Whether the partitions that were there at the beginning are known.
    has_begun: bool,
    records_left: Option<u64>,
    out: Out,
}

/// How a call ended.
enum End {
    /// There is nothing more to come, or nobody to take it.
    Finished,
    /// It broke off, after so many answers.
    Lost(Error, u64),
}

impl Reader {
    async fn run(mut self) {
        let clock = Arc::clone(&self.client.clock);
        let retry = *self.client.retry();
        let (mut failures, mut failing_since) = (0, clock.real_moment());
        loop {
            let end = match self.call().await {
                Ok(answers) => self.read(answers).await,
                Err(error) => End::Lost(error, 0),
            };
            let End::Lost(error, answers) = end else { return };
            if answers > 0 {
                (failures, failing_since) = (0, clock.real_moment());
            }
            let is_over = clock.real_moment().since(failing_since) > retry.time_max;
            if is_over || !error.may_pass() {
                // If nobody takes it, nobody wants it.
                let _ = self.out.send(Err(error)).await;
                return;
            }
            tokio::time::sleep(retry.pause(failures)).await;
            failures += 1;
        }
    }

    async fn call(&self) -> Result<Streaming<v1::TailResponse>, Error> {
        // A partition that came while nobody looked is read from its beginning.
        let from = if self.has_begun { From::Earliest } else { self.options.from };
        let request = v1::TailRequest {
            stream: self.options.stream.clone(),
            partitions: self.options.partitions.clone(),
            from: Some(wire_position(from)),
            until_now: self.options.until_now,
            records_max: self.records_left.unwrap_or(0),
            offsets: self.offsets.clone(),
            announce_positions: true,
        };
        Ok(self.client.records().tail(request).await?.into_inner())
    }

    async fn read(&mut self, mut answers: Streaming<v1::TailResponse>) -> End {
        let stream: Arc<str> = self.options.stream.as_str().into();
        let mut count = 0;
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return End::Finished,
                Err(status) => return End::Lost(status.into(), count),
            };
            count += 1;
            self.offsets.insert(answer.partition, answer.next_offset);
            if answer.records.is_empty() {
                continue;
            }
            // The announcements come first.
            self.has_begun = true;
            self.records_left =
                self.records_left.map(|left| left.saturating_sub(answer.records.len() as u64));
            let partition = answer.partition;
            let records = answer.records.into_iter();
            let records = records.map(|record| got(&stream, partition, record)).collect();
            if self.out.send(Ok(records)).await.is_err() {
                return End::Finished;
            }
            if self.records_left == Some(0) {
                return End::Finished;
            }
        }
    }
}

pub(crate) fn wire_position(from: From) -> v1::Position {
    let place = match from {
        From::Earliest => WirePlace::Earliest(true),
        From::Latest => WirePlace::Latest(true),
        From::Offset(offset) => WirePlace::Offset(offset),
        From::TimestampMs(timestamp_ms) => WirePlace::TimestampMs(timestamp_ms),
        From::Last(count) => WirePlace::Last(count),
    };
    v1::Position { place: Some(place) }
}

pub(crate) fn got(stream: &Arc<str>, partition: u32, record: v1::Record) -> Record {
    let v1::Record { offset, timestamp_ms, key, value, headers } = record;
    Record {
        stream: Arc::clone(stream),
        place: Place { partition, offset, timestamp_ms },
        sequence_number: None,
        key,
        value,
        headers: headers.into_iter().map(|header| (header.name, header.value)).collect(),
    }
}
