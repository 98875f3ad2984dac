//! How bytes become durable. Nothing else in the log knows.
//!
//! ```text
//!   request(partition)  -->  queue  -->  thread:  begin   (lock: what is unflushed?)
//!                                                 sync    files, oldest first, then directories
//!                                                 finish  (lock: durable, watermark, waiters)
//! ```
//!
//! One flush of a partition is in flight and at most one waits behind it, so all batches that come
//! during a flush share the next one; that is the whole of group commit, without a timer. A flush
//! covers everything written when it began. `durable` is contiguous: a segment counts only together
//! with all before it.
//!
//! A failed sync stops the partition until restart and is never tried again: the kernel has marked
//! the pages clean, and a later success would prove nothing about them.
//!
//! The threads only loop over [`Task::step`]; a simulator calls it itself, one sync at a time.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::broadcast;
use tracing::{debug, warn};
use weir_model::histogram::Histogram;
use weir_model::time::Moment;

use crate::local::directories::DirectoryTicket;
use crate::local::layout::FileKind;
use crate::local::partition::{FlushPhase, Health, Partition, State};
use crate::local::row::Mark;
use crate::local::segment::Segment;
use crate::local::shared::Shared;
use crate::local::snapshot;
use crate::local::stored::write_whole;
use crate::log::Flushed;
use crate::producer_state::ProducerStates;

/// Flushes begun after which a seal that waits has its turn.
const FLUSHES_PER_SEAL: u32 = 16;

/// How often a flush of one partition is told, at most.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Flushes that a listener may lie behind before it misses some.
const TOLD_RING: usize = 1_024;

/// Work that waits for a thread.
#[derive(Debug, Default)]
pub(crate) struct FlushQueue {
    waiting: Mutex<Waiting>,
    /// Wakes one thread.
    pushed: Condvar,
    pub counters: FlushCounters,
    pub told: ToldFlushes,
}

/// Tells of flushes while somebody listens, of each partition at most one in [`TOLD_EVERY`].
#[derive(Debug)]
pub(crate) struct ToldFlushes(broadcast::Sender<Flushed>);

impl Default for ToldFlushes {
    fn default() -> ToldFlushes {
        ToldFlushes(broadcast::Sender::new(TOLD_RING))
    }
}

impl ToldFlushes {
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Flushed> {
        self.0.subscribe()
    }

    fn has_listeners(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

#[derive(Debug, Default)]
struct Waiting {
    flushes: VecDeque<Arc<Partition>>,
    /// Names that a flush will need under `group`, from the moment that they are made. Each flush
    /// redeems its own; these let other threads sync the directories meanwhile, so that whoever
    /// waits for a new partition waits for one sync, not three one after the other.
    names: VecDeque<(Arc<Shared>, DirectoryTicket)>,
    /// New partitions whose first batch is likely to come soon.
    first_files: VecDeque<Arc<Partition>>,
    /// Flushes with a time of their own, in no order: as many as partitions with `interval`.
    timed: Vec<(Moment, Weak<Partition>)>,
    /// Less urgent: nobody waits for a seal. Yet one is written after every
    /// [`FLUSHES_PER_SEAL`] flushes, or a log that is always written to would have none.
    seals: VecDeque<Seal>,
    flushes_since_seal: u32,
    stopping: bool,
}

/// Flushes made and the time they took.
#[derive(Debug, Default)]
pub(crate) struct FlushCounters {
    pub flushes: Histogram,
    pub micros_max: AtomicU64,
}

#[derive(Debug)]
struct Seal {
    partition: Arc<Partition>,
    segment: Arc<Segment>,
    producers: ProducerStates,
}

/// Something in flight.
#[derive(Debug)]
pub(crate) enum Task {
    Flush(Flush),
    Name(Arc<Shared>, DirectoryTicket),
    FirstFile(FirstFile),
    Seal(Box<SealTask>),
}

/// The first file of a partition, and its names, before there is a batch for it.
#[derive(Debug)]
pub(crate) struct FirstFile {
    partition: Arc<Partition>,
    /// What is not synced yet; none before the file is made.
    names: Option<Vec<DirectoryTicket>>,
}

#[derive(Debug)]
pub(crate) struct SealTask(Seal);

/// A flush in flight.
#[derive(Debug)]
pub(crate) struct Flush {
    partition: Arc<Partition>,
    began: Moment,
    /// Oldest first.
    segments: VecDeque<Arc<Segment>>,
    directories: Vec<DirectoryTicket>,
    /// What is durable when all is synced.
    until: Mark,
    bytes: u64,
}

/// Whether a task has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    Done,
}

impl FlushQueue {
    /// Queues a flush. The caller holds the partition's lock and has set its phase.
    pub(crate) fn push(&self, partition: &Arc<Partition>) {
        self.waiting.lock().flushes.push_back(Arc::clone(partition));
        self.pushed.notify_one();
    }

    /// Queues a flush for `due`.
    pub(crate) fn push_timed(&self, due: Moment, partition: &Arc<Partition>) {
        self.waiting.lock().timed.push((due, Arc::downgrade(partition)));
        // A thread may sleep past `due`.
        self.pushed.notify_one();
    }

    /// Has other threads sync the directories of names that a flush will need.
    pub(crate) fn push_names(&self, shared: &Arc<Shared>, tickets: &[DirectoryTicket]) {
        let mut waiting = self.waiting.lock();
        for ticket in tickets {
            waiting.names.push_back((Arc::clone(shared), ticket.clone()));
        }
        self.pushed.notify_one();
    }

    /// Has a new partition's first file made and its names synced.
    pub(crate) fn push_first_file(&self, partition: Arc<Partition>) {
        self.waiting.lock().first_files.push_back(partition);
        self.pushed.notify_one();
    }

    fn push_seals(&self, seals: impl Iterator<Item = Seal>) {
        let mut waiting = self.waiting.lock();
        let before = waiting.seals.len();
        waiting.seals.extend(seals);
        if waiting.seals.len() > before {
            self.pushed.notify_one();
        }
    }

    /// Begins the next piece of work; none if there is none now.
    pub(crate) fn begin_next(&self, now: Moment) -> Option<Task> {
        self.queue_what_is_due(now);
        loop {
            let mut waiting = self.waiting.lock();
            if let Some((shared, ticket)) = waiting.names.pop_front() {
                return Some(Task::Name(shared, ticket));
            }
            if let Some(partition) = waiting.first_files.pop_front() {
                return Some(Task::FirstFile(FirstFile { partition, names: None }));
            }
            let is_turn_of_seals = waiting.flushes_since_seal >= FLUSHES_PER_SEAL;
            if waiting.flushes.is_empty() || is_turn_of_seals {
                waiting.flushes_since_seal = 0;
                if let Some(seal) = waiting.seals.pop_front() {
                    return Some(Task::Seal(Box::new(SealTask(seal))));
                }
            }
            let partition = waiting.flushes.pop_front()?;
            waiting.flushes_since_seal += 1;
            drop(waiting);
            if let Some(flush) = Flush::begin(partition, now) {
                return Some(Task::Flush(flush));
            }
        }
    }

    fn queue_what_is_due(&self, now: Moment) {
        let mut due = Vec::new();
        self.waiting.lock().timed.retain(|(moment, partition)| {
            let is_due = *moment <= now;
            if is_due {
                due.extend(partition.upgrade());
            }
            !is_due
        });
        for partition in due {
            let mut state = partition.lock();
            if matches!(state.flush, FlushPhase::Timed(moment) if moment <= now) {
                state.queue_flush(&partition);
            }
        }
    }

    /// What a thread of the flusher does until the queue is stopped and empty.
    pub(crate) fn work(&self, now: impl Fn() -> Moment) {
        loop {
            if let Some(mut task) = self.begin_next(now()) {
                while task.step(&now) == Step::More {}
                continue;
            }
            let mut waiting = self.waiting.lock();
            if waiting.has_work() {
                continue;
            }
            if waiting.stopping {
                return;
            }
            match waiting.timed.iter().map(|(due, _)| *due).min() {
                Some(due) => {
                    let wait = due.since(now()).max(Duration::from_millis(1));
                    self.pushed.wait_for(&mut waiting, wait);
                }
                None => self.pushed.wait(&mut waiting),
            }
        }
    }

    /// Drops what waits. Work holds its partition, and with it this queue: a log that ends with
    /// work in it would keep itself alive.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.waiting.lock());
        drop(dropped);
    }

    /// Has the threads end once the queue is empty.
    pub(crate) fn stop(&self) {
        self.waiting.lock().stopping = true;
        self.pushed.notify_all();
    }
}

impl Waiting {
    fn has_work(&self) -> bool {
        !self.flushes.is_empty()
            || !self.names.is_empty()
            || !self.first_files.is_empty()
            || !self.seals.is_empty()
    }
}

impl Task {
    /// Makes one sync (or one seal).
    pub(crate) fn step(&mut self, now: impl Fn() -> Moment) -> Step {
        match self {
            Task::Flush(flush) => flush.step(now),
            Task::Name(shared, ticket) => {
                // A failure is kept with the directory, and met again by the flush that needs it.
                let _kept_for_the_flush = ticket.redeem(&*shared.disk);
                Step::Done
            }
            Task::FirstFile(first) => first.step(),
            Task::Seal(seal) => {
                seal.run();
                Step::Done
            }
        }
    }
}

impl FirstFile {
    fn step(&mut self) -> Step {
        let partition = &self.partition;
        let Some(names) = &mut self.names else {
            let made = partition.lock_open().and_then(|mut s| s.make_first_file(partition));
            // The first append tries again, and says why where it fails too.
            let kept_from_it = |error| debug!(partition = %partition.id, %error, "no first file");
            self.names = Some(made.map_err(kept_from_it).unwrap_or_default());
            return Step::More;
        };
        if let Some(ticket) = names.pop() {
            // A failure is kept with the directory, and met again by the flush that needs it.
            let _kept_for_the_flush = ticket.redeem(&*partition.shared.disk);
            return Step::More;
        }
        partition.lock().directory_tickets.retain(|ticket| !ticket.is_free());
        Step::Done
    }
}

impl Flush {
    /// Takes down what is unflushed now.
    fn begin(partition: Arc<Partition>, now: Moment) -> Option<Flush> {
        let mut state = partition.lock();
        if state.health != Health::Good {
            state.flush = FlushPhase::Idle;
            return None;
        }
        assert!(state.flush == FlushPhase::Queued, "two flushes of one partition at a time");
        state.flush = FlushPhase::Running;
        let first = state.durable.segment;
        let unflushed = state.segments.iter().filter(|segment| segment.base_offset >= first);
        let segments = unflushed.cloned().collect();
        let directories = std::mem::take(&mut state.directory_tickets);
        let (until, bytes) = (state.end, state.unflushed);
        drop(state);
        Some(Flush { partition, began: now, segments, directories, until, bytes })
    }

    fn step(&mut self, now: impl Fn() -> Moment) -> Step {
        match self.sync_next() {
            Ok(Step::More) => Step::More,
            Ok(Step::Done) => {
                let ended = now();
                self.partition.shared.flushes.counters.note(ended.since(self.began));
                self.finish(ended);
                Step::Done
            }
            Err(cause) => {
                let mut state = self.partition.lock();
                state.flush = FlushPhase::Idle;
                self.partition.fail(&mut state, "flush", &cause);
                Step::Done
            }
        }
    }

    /// Syncs one thing. Files come first: on ext4 that commits their names too, and makes the
    /// directory syncs cheap.
    fn sync_next(&mut self) -> io::Result<Step> {
        if let Some(segment) = self.segments.pop_front() {
            segment.open()?.file.sync_data()?;
            return Ok(Step::More);
        }
        let disk = &*self.partition.shared.disk;
        while let Some(ticket) = self.directories.pop() {
            if !ticket.is_free() {
                ticket.redeem(disk)?;
                return Ok(Step::More);
            }
        }
        Ok(Step::Done)
    }

    /// Publishes what is durable now, and queues the flush that was asked for meanwhile.
    fn finish(&self, ended: Moment) {
        let partition = &self.partition;
        let mut state = partition.lock();
        let is_wanted_again = state.flush == FlushPhase::RunningAgain;
        state.flush = FlushPhase::Idle;
        if state.health != Health::Good {
            return;
        }
        state.durable = self.until;
        state.unflushed -= self.bytes;
        state.unflushed_since = self.began;
        state.flushed_since_checkpoint += self.bytes;
        partition.shared.unflushed.subtract(self.bytes);
        self.tell(&mut state, ended);
        if state.unflushed == 0
            && let Some(active) = state.segments.last()
        {
            active.pin(false);
            // An empty new segment is where the log ends, durably so.
            state.durable = state.end;
        }
        if partition.progress.watermarks().high_watermark < state.durable.offset {
            partition.progress.publish_high_watermark(state.durable.offset);
        }
        if is_wanted_again && state.unflushed > 0 {
            state.queue_flush(partition);
        } else {
            // Under `interval`, what came during this flush has no date yet.
            state.request_flush(partition);
        }
        partition.shared.flushes.push_seals(state.take_sealable(partition).into_iter());
    }
}

impl Flush {
    fn tell(&self, state: &mut State, ended: Moment) {
        let partition = &self.partition;
        let told = &partition.shared.flushes.told;
        let is_due = |before: Moment| ended.since(before) >= TOLD_EVERY;
        if self.bytes == 0 || !told.has_listeners() || !state.flush_told.is_none_or(is_due) {
            return;
        }
        state.flush_told = Some(ended);
        let flushed = Flushed {
            partition: partition.id,
            time: partition.shared.clock.now(),
            bytes: self.bytes,
            took: ended.since(self.began),
        };
        // Nobody hears it if the last listener has just left.
        let _heard_by = told.0.send(flushed);
    }
}

impl Partition {
    /// Seals what is finished and flushed. After an unclean stop that is what recovery found, which
    /// waits for a flush otherwise: a partition that nobody writes to has none.
    pub(crate) fn seal_finished(self: &Arc<Self>) {
        let sealable = self.lock().take_sealable(self);
        for seal in sealable {
            SealTask(seal).run();
        }
    }
}

impl State {
    /// Finished segments that are flushed.
    fn take_sealable(&mut self, partition: &Arc<Partition>) -> Vec<Seal> {
        let durable = self.durable.segment;
        let mut sealable = Vec::new();
        self.unsealed.retain_mut(|(segment, producers)| {
            let is_flushed = segment.base_offset < durable;
            if is_flushed {
                segment.pin(false);
                sealable.push(Seal {
                    partition: Arc::clone(partition),
                    segment: Arc::clone(segment),
                    producers: std::mem::take(producers),
                });
            }
            !is_flushed
        });
        sealable
    }
}

impl SealTask {
    /// Writes the derived files of a finished segment. A failure costs time at the next start.
    fn run(&self) {
        let Seal { partition, segment, producers } = &self.0;
        let _sealing = partition.lock_sealing();
        let is_wanted = {
            let state = partition.lock();
            state.health == Health::Good && state.segments.iter().any(|s| Arc::ptr_eq(s, segment))
        };
        if !is_wanted {
            return;
        }
        let disk = &*partition.shared.disk;
        let next = segment.summary().next_offset;
        let name = crate::local::layout::file_name(next, FileKind::Snapshot);
        let snapshot = snapshot::encode(producers, next);
        let result = write_whole(disk, &partition.directory.join(name), &snapshot)
            .and_then(|()| segment.store());
        if let Err(error) = result {
            let base_offset = segment.base_offset.number();
            warn!(partition = %partition.id, base_offset, %error, "segment not sealed");
        }
    }
}

impl FlushCounters {
    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.flushes.observe(took);
        self.micros_max.fetch_max(micros, Ordering::Relaxed);
    }
}
