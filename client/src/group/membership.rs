//! The membership: a task that keeps a `Join` call open, says what the program is through with,
//! gives up what is taken, and begins again when the call was lost.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use weir_proto::v1;
use weir_proto::v1::join_request::Message as Says;
use weir_proto::v1::join_response::Message as Tells;

use super::reader::{Reader, Reading};
use super::share::{Key, Position, Shared};
use super::{Batch, Commit, GroupOptions};
use crate::connection::Client;
use crate::error::{Error, Reason, Refusal};

/// Most messages that wait to be sent.
const UNSENT_MAX: usize = 16;
/// Most positions in a message.
const POSITIONS_MAX: usize = 10_000;
/// How often what was acknowledged by hand is kept without a commit.
const MANUAL_EVERY: Duration = Duration::from_secs(1);

/// What the program asks.
pub(super) enum Command {
    /// To keep what it is through with.
    Commit(Answer),
    /// To do that, and to leave.
    Close(Answer),
}

type Answer = oneshot::Sender<Result<(), Error>>;

/// The task.
pub(super) struct Membership {
    client: Client,
    options: GroupOptions,
    shared: Arc<Shared>,
    out: mpsc::Sender<Result<Batch, Error>>,
    commands: mpsc::Receiver<Command>,
    /// What the broker calls the member; empty before it has told it.
    member_id: String,
    readers: HashMap<Arc<str>, Reading>,
    /// Positions that the broker has not answered to, oldest first.
    unanswered: VecDeque<Said>,
    /// Why positions were not kept that were not said again since.
    failed: Option<Error>,
}

/// Positions that were said, and who waits until they are kept.
struct Said {
    positions: Vec<Position>,
    answers: Vec<Answer>,
}

/// How a call, or the wait for one, ended.
enum End {
    /// Nobody is there any more, or has been told so.
    Closed,
    /// The program leaves while there is no membership.
    Leaving(Answer),
    /// The membership is over; whether it had begun.
    Lost(Error, bool),
}

/// The way to the broker while the call is open.
type Say = mpsc::Sender<v1::JoinRequest>;

impl Membership {
    pub(super) fn new(
        client: Client,
        options: GroupOptions,
        shared: Arc<Shared>,
        out: mpsc::Sender<Result<Batch, Error>>,
        commands: mpsc::Receiver<Command>,
    ) -> Membership {
        Membership {
            client,
            options,
            shared,
            out,
            commands,
            member_id: String::new(),
            readers: HashMap::new(),
            unanswered: VecDeque::new(),
            failed: None,
        }
    }

    pub(super) async fn run(mut self) {
        let clock = Arc::clone(&self.client.clock);
        let retry = *self.client.retry();
        let (mut failures, mut failing_since) = (0, clock.real_moment());
        loop {
            let (error, had_begun) = match self.join().await {
                End::Lost(error, had_begun) => (error, had_begun),
                End::Leaving(answer) => return self.depart(answer).await,
                End::Closed => return,
            };
            self.lose(&error);
            if had_begun {
                (failures, failing_since) = (0, clock.real_moment());
            }
            let is_over = clock.real_moment().since(failing_since) > retry.time_max;
            if is_over || !may_pass(&error) {
                // If nobody takes it, nobody wants it.
                let _ = self.out.send(Err(error)).await;
                return;
            }
            let pause = tokio::time::sleep(retry.pause(failures));
            match self.unless_closed(pause).await {
                Ok(()) => {}
                Err(Some(answer)) => return self.depart(answer).await,
                Err(None) => return,
            }
            failures += 1;
        }
    }

    /// Waits for something while there is no membership; an error if the program leaves meanwhile,
    /// with whom to answer.
    async fn unless_closed<T>(
        &mut self,
        what: impl Future<Output = T>,
    ) -> Result<T, Option<Answer>> {
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return Ok(done),
                command = self.commands.recv() => match command {
                    Some(Command::Commit(answer)) => tell(answer, self.kept()),
                    Some(Command::Close(answer)) => return Err(Some(answer)),
                    None => return Err(None),
                },
            }
        }
    }

    /// Whether everything is kept, while nothing is on its way.
    fn kept(&self) -> Result<(), Error> {
        self.shared.share.lock().loss().map_or(Ok(()), Err)
    }

    /// Gives up the place that a lost membership may have left in the group, where it would be in
    /// the way of others until its session is over. If that fails, it is so.
    async fn depart(&self, answer: Answer) {
        if !self.member_id.is_empty() && self.options.instance_id.is_none() {
            let begin = Says::Begin(self.beginning());
            let goodbye = [begin, Says::Leave(v1::LeaveGroup {})];
            let goodbye = goodbye.map(|message| v1::JoinRequest { message: Some(message) });
            let call = || {
                let (mut groups, goodbye) = (self.client.groups(), goodbye.clone());
                async move {
                    let mut told = groups.join(tokio_stream::iter(goodbye)).await?.into_inner();
                    while told.message().await?.is_some() {}
                    Ok(())
                }
            };
            let _ = self.client.retry().run(call).await;
        }
        tell(answer, self.kept());
    }

    /// One membership, from its first message to its end.
    async fn join(&mut self) -> End {
        self.shared.share.lock().begin();
        let (say, said) = mpsc::channel(UNSENT_MAX);
        // There is room for the first message.
        let begun = say.try_send(v1::JoinRequest { message: Some(Says::Begin(self.beginning())) });
        if begun.is_err() {
            return End::Closed;
        }
        let mut groups = self.client.groups();
        let call = async move { groups.join(ReceiverStream::new(said)).await };
        match self.unless_closed(call).await {
            Err(None) => End::Closed,
            Err(Some(answer)) => End::Leaving(answer),
            Ok(Err(status)) => End::Lost(status.into(), false),
            Ok(Ok(told)) => self.live(say, told.into_inner()).await,
        }
    }

    fn beginning(&self) -> v1::BeginMembership {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let options = &self.options;
        v1::BeginMembership {
            group: options.group.clone(),
            subscription: Some(v1::Subscription {
                streams: options.streams.clone(),
                pattern: options.pattern.clone().unwrap_or_default(),
            }),
            client_id: options.client_id.clone(),
            member_id: self.member_id.clone(),
            instance_id: options.instance_id.clone().unwrap_or_default(),
            rebalance_timeout_ms: options.rebalance_timeout.map(millis),
            session_timeout_ms: options.session_timeout.map(millis),
            ..v1::BeginMembership::default()
        }
    }

    async fn live(&mut self, say: Say, mut told: Streaming<v1::JoinResponse>) -> End {
        let shared = Arc::clone(&self.shared);
        let mut tick = self.tick();
        let mut has_begun = false;
        loop {
            let going = tokio::select! {
                message = told.message() => match heard(message) {
                    Ok(message) => {
                        has_begun |= matches!(message, Some(Tells::Assignment(_)));
                        self.hear(message, &say).await
                    }
                    Err(error) => Err(error),
                },
                () = shared.returned.notified() => self.give_back(&say).await,
                _ = tick.tick() => match self.unanswered.is_empty() {
                    true => self.say_positions(&say).await,
                    false => Ok(()),
                },
                command = self.commands.recv() => match command {
                    Some(Command::Commit(answer)) => self.commit(answer, &say).await,
                    Some(Command::Close(answer)) => {
                        self.close(answer, say, told).await;
                        return End::Closed;
                    }
                    None => return End::Closed,
                },
            };
            if let Err(error) = going {
                return End::Lost(error, has_begun);
            }
        }
    }

    fn tick(&self) -> Interval {
        let every = match self.options.commit {
            Commit::Automatic { every } => every.max(Duration::from_millis(1)),
            Commit::Manual => MANUAL_EVERY,
        };
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick
    }

    async fn hear(&mut self, message: Option<Tells>, say: &Say) -> Result<(), Error> {
        match message {
            Some(Tells::Assignment(assignment)) => {
                self.assign(assignment);
                Ok(())
            }
            Some(Tells::StillThere(_)) => match self.shared.is_alive(self.options.processing_max) {
                true => send(say, Says::StillHere(v1::StillHere {})).await,
                false => Ok(()),
            },
            Some(Tells::Acknowledged(answer)) => self.note_kept(answer.results),
            // A question of a later version.
            None => Ok(()),
        }
    }

    fn assign(&mut self, assignment: v1::Assignment) {
        let v1::Assignment { member_id, added, revoked, .. } = assignment;
        self.member_id = member_id;
        let revoked = revoked.into_iter().flat_map(|one| {
            let stream: Arc<str> = one.stream.into();
            let key = move |partition| Key { stream: Arc::clone(&stream), partition };
            one.partitions.into_iter().map(key)
        });
        let revoked: Vec<Key> = revoked.collect();
        let added = added.into_iter().map(|one| {
            (Key { stream: one.stream.into(), partition: one.partition }, one.next_offset)
        });
        let added: Vec<(Key, Option<u64>)> = added.collect();
        let changed = revoked.iter().chain(added.iter().map(|(key, _)| key));
        let changed: BTreeSet<Arc<str>> = changed.map(|key| Arc::clone(&key.stream)).collect();
        let mut share = self.shared.share.lock();
        share.take(revoked);
        share.give(added);
        for stream in changed {
            match share.new_reader(&stream) {
                Some(number) => {
                    let reader = Reader {
                        client: self.client.clone(),
                        stream: Arc::clone(&stream),
                        number,
                        from: self.options.from,
                        shared: Arc::clone(&self.shared),
                        out: self.out.clone(),
                    };
                    self.readers.insert(stream, reader.begin());
                }
                None => drop(self.readers.remove(&stream)),
            }
        }
    }

    /// Gives up what the program has come back from, behind the positions of it.
    async fn give_back(&mut self, say: &Say) -> Result<(), Error> {
        let given_back = self.shared.share.lock().given_back();
        if given_back.is_empty() {
            return Ok(());
        }
        self.say_positions(say).await?;
        let mut streams: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (key, _) in &given_back {
            streams.entry(&key.stream).or_default().push(key.partition);
        }
        let partitions = streams.into_iter().map(|(stream, partitions)| v1::StreamPartitions {
            stream: stream.to_owned(),
            partitions,
        });
        let partitions = partitions.collect();
        send(say, Says::Released(v1::Released { partitions })).await?;
        self.shared.share.lock().release(&given_back);
        Ok(())
    }

    /// Says how far the program is, where the broker does not know.
    async fn say_positions(&mut self, say: &Say) -> Result<(), Error> {
        self.failed = None;
        loop {
            let positions = self.shared.share.lock().unsaid(POSITIONS_MAX);
            if positions.is_empty() {
                return Ok(());
            }
            let new = |position: &Position| v1::NewPosition {
                stream: position.key.stream.to_string(),
                partition: position.key.partition,
                next_offset: position.next_offset,
                metadata: String::new(),
            };
            let message = v1::MemberPositions { positions: positions.iter().map(new).collect() };
            self.unanswered.push_back(Said { positions, answers: Vec::new() });
            send(say, Says::Acknowledge(message)).await?;
        }
    }

    /// Takes the answer to the oldest positions that have none.
    fn note_kept(&mut self, results: Vec<v1::AcknowledgeResult>) -> Result<(), Error> {
        let said = self.unanswered.pop_front().filter(|said| said.positions.len() == results.len());
        let Some(Said { positions, answers }) = said else {
            return Err(Error::Protocol("an answer to positions that were not said".to_owned()));
        };
        let mut share = self.shared.share.lock();
        for (position, result) in positions.iter().zip(results) {
            let Some(detail) = result.error else { continue };
            let error = Error::Refused(Refusal::from(detail));
            if error.may_pass() {
                share.unsay(position);
                self.failed.get_or_insert(error);
            } else {
                share.note_loss(error);
            }
        }
        if !answers.is_empty() {
            let error = share.loss().or_else(|| self.failed.take());
            for answer in answers {
                tell(answer, error.clone().map_or(Ok(()), Err));
            }
        }
        Ok(())
    }

    async fn commit(&mut self, answer: Answer, say: &Say) -> Result<(), Error> {
        let said = self.say_positions(say).await;
        self.answer_when_kept(answer);
        said
    }

    fn answer_when_kept(&mut self, answer: Answer) {
        match self.unanswered.back_mut() {
            Some(last) => last.answers.push(answer),
            None => tell(answer, self.kept()),
        }
    }

    /// Keeps what is to be kept and ends the call.
    async fn close(&mut self, answer: Answer, say: Say, mut told: Streaming<v1::JoinResponse>) {
        let time_max = self.client.retry().time_max;
        let closing = async {
            self.give_back(&say).await?;
            self.say_positions(&say).await?;
            let (kept, mut is_kept) = oneshot::channel();
            self.answer_when_kept(kept);
            self.readers.clear();
            while !self.unanswered.is_empty() {
                let message = heard(told.message().await)?;
                // Others may have what is given now.
                if !matches!(message, Some(Tells::Assignment(_))) {
                    self.hear(message, &say).await?;
                }
            }
            if self.options.instance_id.is_none() {
                send(&say, Says::Leave(v1::LeaveGroup {})).await?;
                while heard(told.message().await).is_ok() {}
            }
            is_kept.try_recv().unwrap_or(Ok(()))
        };
        let late = || Error::Unreachable(format!("no answer within {time_max:?}"));
        let closed = tokio::time::timeout(time_max, closing).await;
        match closed.unwrap_or_else(|_| Err(late())) {
            Err(lost @ Error::Unreachable(_)) => {
                self.lose(&lost);
                self.depart(answer).await;
            }
            closed => tell(answer, closed),
        }
    }

    /// The membership is over without the program's doing.
    fn lose(&mut self, error: &Error) {
        self.readers.clear();
        self.failed = None;
        let mut share = self.shared.share.lock();
        let unanswered = std::mem::take(&mut self.unanswered);
        let mut was_told = false;
        for Said { positions, answers } in unanswered {
            positions.iter().for_each(|position| share.unsay(position));
            for answer in answers {
                was_told = true;
                tell(answer, Err(error.clone()));
            }
        }
        share.lose(error);
        if was_told {
            // It has been told why.
            share.loss();
        }
    }
}

/// A message of the broker; an error where the call has ended.
fn heard(message: Result<Option<v1::JoinResponse>, tonic::Status>) -> Result<Option<Tells>, Error> {
    match message {
        Ok(Some(v1::JoinResponse { message })) => Ok(message),
        Ok(None) => Err(Error::Unreachable("the broker has ended the membership".to_owned())),
        Err(status) => Err(status.into()),
    }
}

async fn send(say: &Say, message: Says) -> Result<(), Error> {
    let sent = say.send(v1::JoinRequest { message: Some(message) }).await;
    sent.map_err(|_| Error::Unreachable("the membership was lost".to_owned()))
}

/// Answers the program, which may have stopped waiting.
fn tell(answer: Answer, result: Result<(), Error>) {
    let _ = answer.send(result);
}

/// Whether the member may come back.
fn may_pass(error: &Error) -> bool {
    let is_out = matches!(
        error.reason(),
        Some(Reason::Fenced | Reason::Silent | Reason::UnknownMember | Reason::InstanceTaken)
    );
    is_out || error.may_pass()
}
