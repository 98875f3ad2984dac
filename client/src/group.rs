//! Reads streams together with others: the members of a group share the partitions.
//!
//! ```text
//!   broker ── Join ──> membership ── a reader for each stream ──> records ahead ──> the program
//!                          ^                                                             |
//!                          └──────────── share: what it has, and is through with <───────┘
//! ```
//!
//! Any number of programs, Kafka's consumers among them, may be members of a group; the broker
//! gives each partition to one of them. What this module promises:
//!
//! - A record is through, and its position may be kept, only when the program has come back for the
//!   next one ([`Commit::Automatic`]) or has said so ([`Commit::Manual`]). A program that ends in
//!   between gets it again, or another member does: every record is handled at least once.
//! - A partition that is taken away is given up only when the program has come back and what it is
//!   through with is kept; the next member goes on right there. No record of it comes after
//!   [`GroupEvent::Taken`]. Nothing is handled twice by that, and the records of a partition come
//!   in their order.
//! - A membership that ends without the program's doing (the broker was killed, the connection was
//!   lost) is taken up again, for as long as [`Retry`](crate::Retry) says, and goes on at the
//!   positions that were kept. What was read since then comes again.
//!
//! A few answers are read ahead, for all partitions together; then the broker waits for the
//! program.
//!
//! The order of a key over a split is that of its partitions only while one member has both: the
//! broker gives a split partition and what came out of it to whoever is free.

mod membership;
mod reader;
mod share;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::vec;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::Stream;

use crate::connection::Client;
use crate::error::Error;
use crate::record::{From, Record};
use membership::{Command, Membership};
use share::{Key, Next, Shared};

/// Answers of at most 256 KiB that are read ahead, of all partitions together.
const AHEAD_MAX: usize = 8;
/// Commands of the program that wait for the membership.
const COMMANDS_MAX: usize = 8;

/// Which group, and what to read with it.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// The group; 1 to 1,024 bytes.
    pub group: String,
    /// Streams by name, which need not exist yet.
    pub streams: Vec<String>,
    /// Streams by a regular expression that matches whole names, beside those by name.
    pub pattern: Option<String>,
    /// Where to begin where the group has no position; at the oldest record by default.
    pub from: From,
    /// How positions are kept.
    pub commit: Commit,
    /// Names the program in descriptions.
    pub client_id: String,
    /// Makes this a static member: whoever joins with this name within the session takes the place
    /// of the one that had it, without any partition moving.
    pub instance_id: Option<String>,
    /// How long the broker waits for a member that it does not hear; 1 second to an hour, and what
    /// the broker is set to where it is left out.
    pub session_timeout: Option<Duration>,
    /// How long the program may take to come back when partitions are taken from it, before it is
    /// put out of the group; 5 minutes where it is left out.
    pub rebalance_timeout: Option<Duration>,
    /// How long the program may be busy with one record or event. A longer time is taken for a
    /// program that hangs: its partitions go to others. 5 minutes by default.
    pub processing_max: Duration,
}

/// How the positions of a group are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Each record is through when the program comes back for the next. Positions are kept this
    /// often, and before partitions are given up.
    Automatic {
        /// The time between.
        every: Duration,
    },
    /// Only what the program has said ([`GroupConsumer::acknowledge`]) is through. It is kept by
    /// [`GroupConsumer::commit`], and before partitions are given up.
    Manual,
}

impl GroupOptions {
    /// The defaults, for these streams: from the oldest record on, positions kept automatically
    /// every second.
    pub fn new(
        group: impl Into<String>,
        streams: impl IntoIterator<Item = impl Into<String>>,
    ) -> GroupOptions {
        GroupOptions {
            group: group.into(),
            streams: streams.into_iter().map(Into::into).collect(),
            pattern: None,
            from: From::Earliest,
            commit: Commit::Automatic { every: Duration::from_secs(1) },
            client_id: "weir-client".to_owned(),
            instance_id: None,
            session_timeout: None,
            rebalance_timeout: None,
            processing_max: Duration::from_secs(300),
        }
    }
}

/// A partition of a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupPartition {
    /// The stream.
    pub stream: Arc<str>,
    /// Index of the partition.
    pub partition: u32,
}

/// What comes to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// A record.
    Record(Record),
    /// These partitions are the program's from now on.
    Given(Vec<GroupPartition>),
    /// These are taken away, and no record of them comes any more. They go to others when the
    /// program comes back for the next event: until then it can finish what it began, acknowledge
    /// it and commit.
    Taken(Vec<GroupPartition>),
    /// These were lost: others may have them already, and nothing can be kept of them.
    Lost(Vec<GroupPartition>),
}

/// A member of a group; the module says what holds. It is a [`Stream`] of records, which ends only
/// after an error that trying again did not end.
///
/// Dropped, it leaves the group at once, and what was not kept comes again; [`close`] keeps it.
///
/// [`close`]: GroupConsumer::close
#[derive(Debug)]
pub struct GroupConsumer {
    shared: Arc<Shared>,
    answers: mpsc::Receiver<Result<Batch, Error>>,
    batch: Option<Batch>,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
    is_over: bool,
}

/// Records of one partition that were read ahead.
#[derive(Debug)]
struct Batch {
    key: Key,
    /// Under which giving of the partition they were read.
    life: u64,
    records: vec::IntoIter<Record>,
    /// Where the partition goes on behind them.
    next_offset: u64,
}

impl GroupConsumer {
    pub(crate) fn begin(client: Client, options: GroupOptions) -> GroupConsumer {
        let (out, answers) = mpsc::channel(AHEAD_MAX);
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let is_automatic = options.commit != Commit::Manual;
        let shared = Arc::new(Shared::new(Arc::clone(&client.clock), is_automatic));
        let membership = Membership::new(client, options, Arc::clone(&shared), out, asked);
        let task = tokio::spawn(membership.run());
        GroupConsumer { shared, answers, batch: None, commands, task, is_over: false }
    }

    /// The next record; none at the end, which is after an error. Partitions come and go meanwhile
    /// without the program's doing. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Result<Record, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The next record, or the next change of what the program has. Cancellation-safe.
    pub async fn next_event(&mut self) -> Option<Result<GroupEvent, Error>> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// The partitions that the program has now.
    pub fn partitions(&self) -> Vec<GroupPartition> {
        self.shared.share.lock().partitions()
    }

    /// Says that the program is through with this record and all before it in its partition. Is
    /// kept by the next [`commit`](GroupConsumer::commit), and soon by itself.
    ///
    /// Fails with [`Reason::NotAssigned`](crate::Reason::NotAssigned) if the program does not have
    /// the partition any more.
    pub fn acknowledge(&self, record: &Record) -> Result<(), Error> {
        self.shared.share.lock().acknowledge(record)
    }

    /// Returns when everything is kept that the program is through with; in
    /// [`Commit::Automatic`] the record that it got last is counted in. An error says that some of
    /// it was not kept: what was lost with its partition, or what may be committed again.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.shared.share.lock().finish_handed();
        self.ask(Command::Commit).await
    }

    /// Keeps what the program is through with, the last record included in [`Commit::Automatic`],
    /// and leaves the group. A member with an instance id keeps its place for its session.
    pub async fn close(self) -> Result<(), Error> {
        self.shared.come_back();
        self.ask(Command::Close).await
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Command,
    ) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Error::Closed)?;
        answered.await.unwrap_or(Err(Error::Closed))
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<GroupEvent, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.shared.come_back();
        loop {
            match self.shared.next(&mut self.batch, context.waker()) {
                Next::Event(event) => return Poll::Ready(Some(Ok(event))),
                Next::Nothing => {}
            }
            match ready!(self.answers.poll_recv(context)) {
                Some(Ok(batch)) => self.batch = Some(batch),
                Some(Err(error)) => {
                    self.is_over = true;
                    self.task.abort();
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Stream for GroupConsumer {
    type Item = Result<Record, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(self.poll_event(context)) {
                Some(Ok(GroupEvent::Record(record))) => return Poll::Ready(Some(Ok(record))),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
