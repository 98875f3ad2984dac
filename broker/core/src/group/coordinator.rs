//! The shell around the pure groups: finds them, logs what they decide, wakes them, and lets
//! clients wait.
//!
//! ```text
//!   request ── lock the group ── step ──┬─ replies ──> who waits, once the log is kept
//!                                       ├─ writes ───> internal log ─> writer ─> step(Written)
//!                                       └─ wake_by ──> timer ──────────────────> step(TimePassed)
//! ```
//!
//! Nothing happens before the first request about a group: then the log is read (and made, if this
//! is the first group ever) and the tasks start. Until the groups are loaded, requests wait.
//!
//! Invariants: a group's records are submitted under its lock, so the log has them in the order of
//! its steps; [`Event::Written`] comes back in that order. `kept_to` of a group is one past its
//! last applied record; an answer leaves only after the log is kept that far.
//!
//! Locks: the table of groups, then one group, then the picture of the topics (and in it the
//! registry's tables, where nobody ever takes a group) or the internal log. None across an await.
//!
//! Members' requests are here; `offsets.rs` has what groups commit, `administer.rs` what is done to
//! groups from outside, `load.rs` the start.

mod administer;
mod load;
mod offsets;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::info;
use weir_model::offset::Offset;
use weir_model::random::Random;
use weir_model::time::{Clock, Moment};
use weir_storage::config::FlushPolicy;
use weir_storage::log::Log;

use crate::alarm::Alarm;
use crate::group::classic::{Join, Joined, Leaving, Sync, Synced};
use crate::group::error::{GroupError, JoinRefused};
use crate::group::identity::{Claim, GroupId};
use crate::group::internal_log::{InternalLog, Submitted};
use crate::group::modern::Progress;
use crate::group::modern::heartbeat::{ConsumerHeartbeat, HeartbeatRefused, Standing};
use crate::group::modern::member::JOINING_EPOCH;
use crate::group::records::{self, GroupRecord};
use crate::group::state::{
    Effects, Event, Group, GroupLimits, NotWritten, Now, Reply, RequestId, Then,
};
use crate::group::timers::Timers;
use crate::group::topics::{Topic, Topics};
use crate::settings::broker_settings::BrokerSettings;
use crate::settings::configurations::Configurations;
use crate::settings::holder::Holder;
use crate::stream::registry::Registry;
use crate::stream::stream::Stream;

pub use self::offsets::OffsetToCommit;

/// The stream that holds the groups' state, in Kafka's own record formats.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// What the coordinator is told when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// What all groups share.
    pub limits: GroupLimits,
    /// Most groups that the broker keeps.
    pub groups_max: usize,
    /// How often offsets are looked at that may have expired
    /// (`offsets.retention.check.interval.ms`).
    pub offsets_check_interval: Duration,
    /// How the groups' log is flushed: `group`, but for a broker whose data need not last.
    pub flush: FlushPolicy,
}

impl Default for GroupOptions {
    fn default() -> GroupOptions {
        GroupOptions::of(&BrokerSettings::default())
    }
}

impl GroupOptions {
    /// What the broker's settings say, and for the rest what holds when nobody says anything.
    pub fn of(settings: &BrokerSettings) -> GroupOptions {
        GroupOptions {
            limits: GroupLimits::of(settings),
            groups_max: 100_000,
            offsets_check_interval: settings.offsets.retention_check_interval,
            flush: FlushPolicy::Group,
        }
    }
}

/// All groups of the broker.
#[derive(Debug)]
pub struct GroupCoordinator {
    shared: Arc<Shared>,
    /// The tasks, once they run.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry>,
    configurations: Arc<Configurations>,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    options: GroupOptions,
    /// Set once the groups are loaded. The tasks have a share of their own: they run before it is
    /// set.
    ready: OnceCell<Arc<Ready>>,
    /// A sync lock: held for a look-up or a change of the table, never across an await.
    groups: RwLock<HashMap<GroupId, Arc<Slot>>>,
    /// A sync lock: the topics as groups last saw them, remade when the registry has changed.
    topics: Mutex<Arc<Topics>>,
    timers: Timers<Weak<Slot>>,
    requests: AtomicU64,
    is_stopping: AtomicBool,
}

#[derive(Debug)]
struct Ready {
    log: InternalLog,
    /// To the writer task. Not bounded by itself, but by what waits for it: requests in flight,
    /// which the connections bound, and one write per group and wake-up.
    writes: mpsc::UnboundedSender<Pending>,
}

/// A write whose outcome the group waits for.
#[derive(Debug)]
struct Pending {
    slot: Arc<Slot>,
    submitted: Submitted,
    then: Then,
}

/// One group and who waits for it.
#[derive(Debug)]
struct Slot {
    id: GroupId,
    /// A sync lock: held for one step, never across an await.
    state: Mutex<SlotState>,
    /// Tells members that wait, rather than ask from time to time, that the group has moved.
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct SlotState {
    group: Group,
    waiting: HashMap<RequestId, oneshot::Sender<Answer>>,
    /// One past the last record of this group that was applied.
    kept_to: Offset,
    /// When the timer task looks at the group next.
    wakes_at: Option<Moment>,
    /// The slot is no longer in the table: whoever holds it looks the group up again.
    is_removed: bool,
}

/// A reply, and how far the log must be kept before anyone may see it.
#[derive(Debug)]
struct Answer {
    reply: Reply,
    kept_to: Offset,
}

/// A request that its group knows of.
#[derive(Debug)]
struct Asked(oneshot::Receiver<Answer>);

impl Asked {
    /// Waits for the group's reply, and until the log is kept that far.
    async fn answered(self, ready: &Ready) -> Result<Reply, GroupError> {
        let answer = self.0.await.map_err(|_| GroupError::ShuttingDown)?;
        let kept = ready.log.settled(answer.kept_to).await;
        kept.map_err(|_| GroupError::NotAvailable)?;
        Ok(answer.reply)
    }
}

/// Whether a request makes the group that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfAbsent {
    Make,
    Leave,
}

impl GroupCoordinator {
    /// A coordinator that has not looked at anything yet: no I/O and no task before the first
    /// request about a group, which must be made inside a tokio runtime.
    pub fn new(
        registry: Arc<Registry>,
        configurations: Arc<Configurations>,
        log: Arc<Log>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: GroupOptions,
    ) -> GroupCoordinator {
        let shared = Shared {
            registry,
            configurations,
            log,
            clock,
            random,
            options,
            ready: OnceCell::new(),
            groups: RwLock::default(),
            topics: Mutex::default(),
            timers: Timers::default(),
            requests: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
        };
        GroupCoordinator { shared: Arc::new(shared), tasks: Mutex::default() }
    }

    /// Chance, for the ids of members that have none.
    pub fn random(&self) -> &dyn Random {
        &*self.shared.random
    }

    /// Joins a group and waits for the generation to begin: up to the rebalance timeout.
    pub async fn join(&self, group: &GroupId, join: Join) -> Result<Joined, JoinRefused> {
        let member = join.member.clone();
        let refused = |error| JoinRefused { error, member: member.clone() };
        let if_absent = if member.is_none() { IfAbsent::Make } else { IfAbsent::Leave };
        let asked = self.ask_member(group, if_absent, |request| Event::Join(request, join)).await;
        match asked.map_err(refused)? {
            Some(Reply::Join(result)) => result,
            None => Err(refused(GroupError::UnknownMember)),
            Some(other) => unreachable!("a join was answered by {other:?}"),
        }
    }

    /// Asks for a member's assignment and waits for the leader's: up to the rebalance timeout.
    pub async fn sync(&self, group: &GroupId, sync: Sync) -> Result<Synced, GroupError> {
        let event = |request| Event::Sync(request, sync);
        match self.ask_member(group, IfAbsent::Leave, event).await? {
            Some(Reply::Sync(result)) => result,
            None => Err(GroupError::UnknownMember),
            Some(other) => unreachable!("a sync was answered by {other:?}"),
        }
    }

    /// Says that a member lives, and learns whether it has to join again.
    pub async fn heartbeat(&self, group: &GroupId, claim: Claim) -> Result<(), GroupError> {
        let event = |request| Event::Heartbeat(request, claim);
        match self.ask_member(group, IfAbsent::Leave, event).await? {
            Some(Reply::Heartbeat(result)) => result,
            None => Err(GroupError::UnknownMember),
            Some(other) => unreachable!("a heartbeat was answered by {other:?}"),
        }
    }

    /// Takes members out of a group; the results are in the order given.
    pub async fn leave(
        &self,
        group: &GroupId,
        leaving: Vec<Leaving>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let count = leaving.len();
        let event = |request| Event::Leave(request, leaving);
        match self.ask_member(group, IfAbsent::Leave, event).await? {
            Some(Reply::Leave(results)) => Ok(results),
            None => Ok(vec![Err(GroupError::UnknownMember); count]),
            Some(other) => unreachable!("a leave was answered by {other:?}"),
        }
    }

    /// Answers everyone who waits and takes no more requests.
    pub fn shut_down(&self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        for slot in self.shared.groups.read().values() {
            // A sender that is dropped tells its request that the broker is stopping.
            slot.state.lock().waiting.clear();
        }
    }

    /// Takes a heartbeat of the consumer protocol: a member joins, stays or goes.
    pub async fn consumer_heartbeat(
        &self,
        group: &GroupId,
        heartbeat: ConsumerHeartbeat,
    ) -> Result<Standing, HeartbeatRefused> {
        let if_absent = match &heartbeat {
            ConsumerHeartbeat::Stay(beat) if beat.epoch == JOINING_EPOCH => IfAbsent::Make,
            _ => IfAbsent::Leave,
        };
        self.ready().await?.log.wait_for_room().await;
        let event = |request| Event::Beat(request, heartbeat);
        match self.ask_member(group, if_absent, event).await? {
            Some(Reply::Beat(result)) => result,
            None => Err(GroupError::GroupNotFound.into()),
            Some(other) => unreachable!("a heartbeat was answered by {other:?}"),
        }
    }

    /// Wakes when the group has moved, so that a member's heartbeat may have something new for it;
    /// ends with the group. None if there is no such group.
    pub async fn progress(
        &self,
        group: &GroupId,
    ) -> Result<Option<watch::Receiver<Progress>>, GroupError> {
        self.ready().await?;
        self.shared.with_group(group, IfAbsent::Leave, |slot, _| slot.progress.subscribe())
    }

    /// What bounds a group now, its own settings among them.
    pub fn limits(&self, group: &GroupId) -> GroupLimits {
        self.shared.limits_of(group)
    }

    async fn ask_member(
        &self,
        group: &GroupId,
        if_absent: IfAbsent,
        event: impl FnOnce(RequestId) -> Event,
    ) -> Result<Option<Reply>, GroupError> {
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        self.ask(group, if_absent, event).await
    }

    /// Steps a group with a request and waits for its answer; none if there is no such group.
    async fn ask(
        &self,
        group: &GroupId,
        if_absent: IfAbsent,
        event: impl FnOnce(RequestId) -> Event,
    ) -> Result<Option<Reply>, GroupError> {
        let ready = self.ready().await?;
        match self.begin(ready, group, if_absent, event)? {
            Some(asked) => asked.answered(ready).await.map(Some),
            None => Ok(None),
        }
    }

    /// Steps a group with a request, whose answer may be waited for later.
    fn begin(
        &self,
        ready: &Ready,
        group: &GroupId,
        if_absent: IfAbsent,
        event: impl FnOnce(RequestId) -> Event,
    ) -> Result<Option<Asked>, GroupError> {
        let request = RequestId(self.shared.requests.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        let stepped = self.shared.with_group(group, if_absent, |slot, state| {
            if !self.shared.is_stopping.load(Ordering::SeqCst) {
                state.waiting.insert(request, sender);
                self.shared.step(ready, slot, state, event(request));
            }
        })?;
        Ok(stepped.map(|()| Asked(receiver)))
    }

    /// Looks at a group, and returns what was seen once the log is kept that far.
    async fn read<T>(
        &self,
        group: &GroupId,
        look: impl FnOnce(&Group) -> T,
    ) -> Result<Option<T>, GroupError> {
        let ready = self.ready().await?;
        let seen = self
            .shared
            .with_group(group, IfAbsent::Leave, |_, state| (look(&state.group), state.kept_to))?;
        let Some((seen, kept_to)) = seen else { return Ok(None) };
        ready.log.settled(kept_to).await.map_err(|_| GroupError::NotAvailable)?;
        Ok(Some(seen))
    }

    /// Loads the groups, the first time.
    async fn ready(&self) -> Result<&Ready, GroupError> {
        if self.shared.is_stopping.load(Ordering::SeqCst) {
            return Err(GroupError::ShuttingDown);
        }
        Ok(self.shared.ready.get_or_try_init(|| self.load()).await?)
    }

    async fn load(&self) -> Result<Arc<Ready>, GroupError> {
        let started = self.shared.clock.real_moment();
        let log = self.shared.open_log().await?;
        let groups = self.shared.read_groups(&log).await?;
        let took = self.shared.clock.real_moment().since(started);
        info!(groups = groups.len(), took_ms = took.as_millis(), "consumer groups loaded");
        *self.shared.groups.write() = groups;
        let (writes, pending) = mpsc::unbounded_channel();
        let ready = Arc::new(Ready { log, writes });
        *self.tasks.lock() = vec![
            tokio::spawn(apply_writes(Arc::clone(&self.shared), Arc::clone(&ready), pending)),
            tokio::spawn(wake_groups(Arc::clone(&self.shared), Arc::clone(&ready))),
            tokio::spawn(administer::expire_offsets(Arc::clone(&self.shared), Arc::clone(&ready))),
        ];
        Ok(ready)
    }
}

impl Drop for GroupCoordinator {
    fn drop(&mut self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

impl Shared {
    fn now(&self) -> Now {
        Now { moment: self.clock.moment(), date: self.clock.now() }
    }

    /// The bounds of a group, which its own settings may change.
    fn limits_of(&self, id: &GroupId) -> GroupLimits {
        let own = self.configurations.of(&Holder::Group(id.as_str().to_owned()));
        self.options.limits.with_own(&own)
    }

    /// The topics that there are. Every group's step asks, and few find a change.
    fn topics(&self) -> Arc<Topics> {
        let version = self.registry.version();
        let mut topics = self.topics.lock();
        if topics.version() != version {
            let topic = |stream: Arc<Stream>| {
                let partition_count = u32::try_from(stream.partitions().len()).unwrap_or(u32::MAX);
                (stream.name.clone(), Topic { id: stream.id, partition_count })
            };
            let all = self.registry.all().into_iter().map(topic);
            *topics = Arc::new(Topics::new(version, all));
        }
        Arc::clone(&topics)
    }

    /// Finds a group, or makes it, and does something under its lock.
    fn with_group<T>(
        &self,
        id: &GroupId,
        if_absent: IfAbsent,
        act: impl FnOnce(&Arc<Slot>, &mut SlotState) -> T,
    ) -> Result<Option<T>, GroupError> {
        loop {
            let found = self.groups.read().get(id).cloned();
            let slot = match (found, if_absent) {
                (Some(slot), _) => slot,
                (None, IfAbsent::Leave) => return Ok(None),
                (None, IfAbsent::Make) => self.make_group(id)?,
            };
            let mut state = slot.state.lock();
            if state.is_removed {
                continue;
            }
            let result = act(&slot, &mut state);
            self.unlock(&slot, state);
            return Ok(Some(result));
        }
    }

    fn make_group(&self, id: &GroupId) -> Result<Arc<Slot>, GroupError> {
        let mut groups = self.groups.write();
        if groups.len() >= self.options.groups_max && !groups.contains_key(id) {
            return Err(GroupError::TooManyGroups);
        }
        let fresh = || Slot::new(id.clone(), Group::new(self.options.limits), Offset::ZERO);
        Ok(Arc::clone(groups.entry(id.clone()).or_insert_with(fresh)))
    }

    /// Lets go of a group, and forgets it if only a refused or abandoned request has made it.
    fn unlock(&self, slot: &Arc<Slot>, state: MutexGuard<'_, SlotState>) {
        let is_vacant = state.group.is_vacant();
        drop(state);
        if !is_vacant {
            return;
        }
        // Taken anew, because the table comes first in the order of locks.
        let mut groups = self.groups.write();
        let mut state = slot.state.lock();
        if state.group.is_vacant() && !state.is_removed {
            state.is_removed = true;
            groups.remove(&slot.id);
        }
    }

    /// Steps a group and carries out what it wants done.
    fn step(&self, ready: &Ready, slot: &Arc<Slot>, state: &mut SlotState, event: Event) {
        let now = self.now();
        if state.group.reads_topics() || matches!(event, Event::Beat(..)) {
            state.group.see_topics(&self.topics());
            state.group.see_limits(self.limits_of(&slot.id));
        }
        let before = state.group.membership().generation();
        let Effects { replies, writes, wake_by } = state.group.step(event, now);
        let membership = state.group.membership();
        // Of a group that was deleted they begin anew, which divides nothing.
        if membership.generation() > before {
            let (generation, members) = (membership.generation(), membership.member_count());
            self.registry.events().tell_rebalanced(slot.id.as_str(), generation, members);
        }
        let progress = state.group.progress();
        slot.progress.send_if_modified(|seen| std::mem::replace(seen, progress) != progress);
        for write in writes {
            let encode = |record: &GroupRecord| records::encode(&slot.id, record);
            let encoded: Vec<_> = write.records.iter().map(encode).collect();
            let submitted = ready.log.append(&encoded, now.date);
            let pending = Pending { slot: Arc::clone(slot), submitted, then: write.then };
            if ready.writes.send(pending).is_err() {
                // The writer task ends with the coordinator only; whoever waits is told so.
                state.waiting.clear();
            }
        }
        for (request, reply) in replies {
            // Who gave up waiting has dropped its receiver.
            if let Some(sender) = state.waiting.remove(&request) {
                drop(sender.send(Answer { reply, kept_to: state.kept_to }));
            }
        }
        self.schedule(slot, state, wake_by);
    }

    fn schedule(&self, slot: &Arc<Slot>, state: &mut SlotState, wake_by: Option<Moment>) {
        let Some(at) = wake_by else { return };
        if state.wakes_at.is_none_or(|planned| at < planned) {
            state.wakes_at = Some(at);
            self.timers.push(at, Arc::downgrade(slot));
        }
    }
}

impl Slot {
    fn new(id: GroupId, group: Group, kept_to: Offset) -> Arc<Slot> {
        let state = SlotState {
            group,
            waiting: HashMap::new(),
            kept_to,
            wakes_at: None,
            is_removed: false,
        };
        let progress = watch::Sender::new(state.group.progress());
        Arc::new(Slot { id, state: Mutex::new(state), progress })
    }
}

/// The writer task: tells each group, in the log's order, what became of its writes.
async fn apply_writes(
    shared: Arc<Shared>,
    ready: Arc<Ready>,
    mut pending: mpsc::UnboundedReceiver<Pending>,
) {
    while let Some(Pending { slot, submitted, then }) = pending.recv().await {
        let placed = ready.log.placed(submitted).await;
        let mut state = slot.state.lock();
        if let Ok(end) = placed {
            state.kept_to = state.kept_to.max(end);
        }
        let outcome = placed.map(|_| ()).map_err(|_| NotWritten);
        shared.step(&ready, &slot, &mut state, Event::Written(then, outcome));
        shared.unlock(&slot, state);
    }
}

/// The timer task: wakes each group when it wanted to be woken.
async fn wake_groups(shared: Arc<Shared>, ready: Arc<Ready>) {
    let mut alarm = Alarm::for_work(&*shared.clock);
    loop {
        let (at, slot) = shared.timers.next(&*shared.clock, &mut alarm).await;
        let Some(slot) = slot.upgrade() else { continue };
        let mut state = slot.state.lock();
        if state.wakes_at != Some(at) {
            continue; // An earlier wake-up has replaced this one.
        }
        state.wakes_at = None;
        shared.step(&ready, &slot, &mut state, Event::TimePassed);
        shared.unlock(&slot, state);
    }
}

#[cfg(test)]
mod tests;
