//! One crash history: the log on a faulty disk, driven by a seed and compared with what was
//! written.
//!
//! A history has a few lives. In each, batches are appended, flushes stepped, records read, the log
//! start moved, until the power is cut, the process killed or the log closed, often in the middle
//! of an operation. Opening it again may crash too. Then everything that the log shows is compared
//! with what went in:
//!
//! - the log is a prefix of what was written, with equal bytes, dense offsets and the epochs
//!   written;
//! - under `group`, nothing that was answered and nothing that a reader saw is missing; after a
//!   kill that holds under every policy;
//! - an idempotent producer that repeats a batch which is in the log learns its first place;
//! - opening once more changes nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use weir_model::batch::RecordBatch;
use weir_model::ids::{LogEpoch, PartitionId};
use weir_model::offset::Offset;
use weir_model::random::{Random, SeededRandom};
use weir_model::time::{Clock, ManualClock};
use weir_storage::commit::{Append, CommitSet, Novelty, Outcome, Stamp};
use weir_storage::config::{FlushPolicy, LogConfig};
use weir_storage::disk::Disk;
use weir_storage::error::SubmitError;
use weir_storage::local::{DataDir, Flushing, LocalLog, LocalOptions, Mutation, Reserve};
use weir_storage::log::Log;
use weir_storage::meta::RedbStore;
use weir_storage::read_plan::{OversizedFirst, ReadRequest};
use weir_storage::sim_disk::{Faults, SimDisk};

use super::{Batch, START, batches, partition};

const DISK_BYTES: u64 = 64 << 20;
const LIVES: u64 = 3;
const STEPS_MAX: u64 = 60;
const PRODUCERS: usize = 2;

/// What a history came to, to compare two runs of one seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    pub operations: u64,
    pub digest: u32,
    pub answered: u64,
    pub power_cuts: u64,
}

/// Runs the history of a seed. An error says what was wrong.
pub(crate) async fn run(seed: u64, mutation: Option<Mutation>) -> Result<Trace, String> {
    let mut history = History::new(seed, mutation);
    let mut log = history.open(&[]).await?;
    for _ in 0..LIVES {
        history.live(&log).await?;
        let ending = history.end(log).await?;
        log = history.open(&ending).await?;
        history.check(&log, &ending).await?;
        if history.chance(30) {
            // Everything that recovery showed is durable now, under every policy.
            history.everything_counts();
            let ending = [history.crash(log)];
            log = history.open(&ending).await?;
            history
                .check(&log, &ending)
                .await
                .map_err(|text| format!("second recovery: {text}"))?;
        }
    }
    history.trace.operations = history.disk.operations();
    history.trace.digest = history.disk.digest();
    Ok(history.trace)
}

/// How lives ended, since the log was last open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Clean,
    WhileClosing,
    Kill,
    PowerCut,
}

struct History {
    random: SeededRandom,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    mutation: Option<Mutation>,
    partitions: Vec<Model>,
    pending: Vec<Pending>,
    last_epoch: Option<LogEpoch>,
    trace: Trace,
    /// Power cuts before the last check.
    power_cuts_checked: u64,
    /// Print each step: `WEIR_SIM_TRACE` is set.
    is_traced: bool,
}

/// What went into a partition.
struct Model {
    id: PartitionId,
    config: LogConfig,
    stamp: Stamp,
    written: Vec<Written>,
    /// A batch whose append failed in a crash: it may be there or not.
    uncertain: Option<Written>,
    /// One past the last offset that somebody was answered, or shown.
    answered: u64,
    seen: u64,
    log_start: u64,
    /// A trim that failed in a crash may have got this far.
    log_start_max: u64,
    next_sequence: [i32; PRODUCERS],
    /// A fault stopped it; it takes no writes until the next life.
    is_stopped: bool,
}

#[derive(Clone, Debug)]
struct Written {
    base: u64,
    records: u64,
    payload: Bytes,
    producer: Option<(usize, i32)>,
    epoch: LogEpoch,
    batch: RecordBatch,
}

struct Pending {
    partition: usize,
    end: u64,
    settled: Pin<Box<dyn Future<Output = Vec<Outcome>>>>,
}

impl Model {
    fn end(&self) -> u64 {
        self.written.last().map_or(self.log_start, |last| last.base + last.records)
    }
}

impl History {
    fn new(seed: u64, mutation: Option<Mutation>) -> History {
        let random = SeededRandom::new(seed);
        let disk = SimDisk::new(random.next_u64(), DISK_BYTES);
        let count = 1 + random.next_u64() % 3;
        let partitions = (0..count).map(|index| Model {
            id: partition(i32::try_from(index).expect("small")),
            config: LogConfig {
                flush: match random.next_u64() % 4 {
                    0 => FlushPolicy::Os,
                    1 => FlushPolicy::Interval { delay: Duration::from_millis(50), bytes: 2000 },
                    _ => FlushPolicy::Group,
                },
                segment_bytes: 1500,
                index_interval_bytes: 200,
                ..LogConfig::default()
            },
            stamp: if random.next_u64().is_multiple_of(3) {
                Stamp::AppendTime
            } else {
                Stamp::Keep
            },
            written: Vec::new(),
            uncertain: None,
            answered: 0,
            seen: 0,
            log_start: 0,
            log_start_max: 0,
            next_sequence: [0; PRODUCERS],
            is_stopped: false,
        });
        History {
            partitions: partitions.collect(),
            random,
            disk,
            clock: Arc::new(ManualClock::starting_at(START)),
            mutation,
            pending: Vec::new(),
            last_epoch: None,
            trace: Trace::default(),
            power_cuts_checked: 0,
            is_traced: std::env::var_os("WEIR_SIM_TRACE").is_some(),
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.next_u64() % bound.max(1)
    }

    fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick(&self) -> usize {
        usize::try_from(self.below(self.partitions.len() as u64)).expect("small")
    }

    /// Opens the log; opening may crash up to three times itself.
    async fn open(&mut self, ended: &[Ending]) -> Result<Log, String> {
        // A start that crashes before it took the mark of a clean stop away leaves it.
        // One that was asked to close may have left its mark just before it crashed.
        let is_clean = ended.contains(&Ending::Clean) || ended.contains(&Ending::WhileClosing);
        self.disk.set_capacity(DISK_BYTES);
        for attempt in 0.. {
            let is_last = attempt == 3;
            if !is_last && self.chance(40) {
                let crash_at = Some(1 + self.below(80));
                self.disk.set_faults(Faults { crash_at, ..Faults::default() });
            }
            let opened = self.try_open().await;
            if self.disk.is_down() {
                drop(opened);
                self.crash_disk();
                continue;
            }
            self.disk.set_faults(Faults::default());
            let log = opened.map_err(|text| format!("open failed on a healthy disk: {text}"))?;
            if let Some(last) = self.last_epoch
                && !is_clean
                && log.epoch() <= last
            {
                return Err(format!("epoch {} again after an unclean stop", log.epoch()));
            }
            self.last_epoch = Some(log.epoch());
            for model in &mut self.partitions {
                model.is_stopped = false;
                log.declare(model.id, model.config);
            }
            for index in 0..self.partitions.len() {
                if self.chance(50) {
                    log.prepare(self.partitions[index].id);
                }
            }
            return Ok(log);
        }
        unreachable!("the last attempt has no faults")
    }

    async fn try_open(&self) -> Result<Log, String> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let data = DataDir::open(disk, Reserve::None).map_err(|error| error.to_string())?;
        let meta = RedbStore::open(&data).map_err(|error| error.to_string())?;
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let options = LocalOptions {
            flushing: Flushing::Stepped,
            recovery_threads: 1,
            open_files_max: 3,
            mutation: self.mutation,
            ..LocalOptions::default()
        };
        let log = LocalLog::open(data, Arc::new(meta), clock, &self.random, options).await;
        log.map(Log::Local).map_err(|error| error.to_string())
    }

    /// One life: random steps until the disk goes down or it is enough.
    async fn live(&mut self, log: &Log) -> Result<(), String> {
        let faults = Faults {
            crash_at: self.chance(60).then(|| 1 + self.below(150)),
            sync_failures: if self.chance(15) { 30 } else { 0 },
            write_failures: if self.chance(10) { 10 } else { 0 },
        };
        if self.chance(10) {
            let space = self.disk.space().map_err(|error| error.to_string())?;
            self.disk.set_capacity(space.total - space.free + self.below(200_000));
        }
        if self.is_traced {
            eprintln!("operation {}: a life with {faults:?}", self.disk.operations());
        }
        self.disk.set_faults(faults);
        for _ in 0..self.below(STEPS_MAX) {
            self.step(log).await?;
            self.poll_pending();
            if self.disk.is_down() {
                break;
            }
        }
        Ok(())
    }

    async fn step(&mut self, log: &Log) -> Result<(), String> {
        let index = self.pick();
        let action = self.below(100);
        if self.is_traced {
            let marks = log.progress(self.partitions[index].id).map(|p| p.watermarks());
            let operation = self.disk.operations();
            eprintln!("operation {operation}: action {action} on partition {index} at {marks:?}");
        }
        match action {
            0..50 => self.append(log, index)?,
            50..78 => {
                let choice = usize::try_from(self.below(4)).expect("small");
                let Log::Local(local) = log else { unreachable!("it was opened in files") };
                local.step_flush(choice);
            }
            78..88 => self.read(log, index).await?,
            88..92 => self.repeat(log, index)?,
            92..96 => {
                self.clock.advance(Duration::from_secs(3));
                log.housekeep().await;
            }
            96..98 => self.trim(log, index).await,
            _ => self.clock.advance(Duration::from_millis(30)),
        }
        Ok(())
    }

    fn append(&mut self, log: &Log, index: usize) -> Result<(), String> {
        let records = 1 + self.below(3);
        let producer = usize::try_from(self.below(3)).expect("small");
        let value_bytes = usize::try_from(self.below(300)).expect("small");
        let mark = self.random.next_u64();
        let at = self.clock.now();
        let model = &mut self.partitions[index];
        if model.is_stopped {
            return Ok(());
        }
        let producer = (producer < PRODUCERS).then(|| (producer, model.next_sequence[producer]));
        let batch = Batch {
            records: u32::try_from(records).expect("small"),
            value_bytes,
            mark,
            at,
            producer: producer.map(|(id, sequence)| (id as i64, 0, sequence)),
        }
        .build();
        let written = Written {
            base: model.end(),
            records,
            payload: batch.payload(),
            producer,
            epoch: log.epoch(),
            batch: batch.clone(),
        };
        let (partition, stamp) = (model.id, model.stamp);
        let append = Append { partition, batch, stamp, expect_end: None };
        let mut ticket = log.submit(CommitSet::of(append));
        let placed = now(ticket.placed()).pop().expect("one outcome");
        let model = &mut self.partitions[index];
        match placed {
            Ok(placed) if placed.base_offset.number() != written.base => {
                return Err(format!("placed at {}, not {}", placed.base_offset, written.base));
            }
            Ok(_) => {
                if let Some((producer, sequence)) = producer {
                    model.next_sequence[producer] = sequence + records as i32;
                }
                let end = written.base + records;
                model.written.push(written);
                self.pending.push(Pending {
                    partition: index,
                    end,
                    settled: Box::pin(ticket.settled()),
                });
            }
            Err(SubmitError::DiskFull) => {}
            Err(_) => {
                model.uncertain = Some(written);
                model.is_stopped = true;
            }
        }
        Ok(())
    }

    /// Sees which of the writes that wait are answered now.
    fn poll_pending(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let (partitions, trace) = (&mut self.partitions, &mut self.trace);
        self.pending.retain_mut(|pending| match pending.settled.as_mut().poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(outcomes) => {
                let model = &mut partitions[pending.partition];
                if outcomes.iter().all(Result::is_ok) {
                    model.answered = model.answered.max(pending.end);
                    trace.answered += 1;
                }
                false
            }
        });
    }

    async fn read(&mut self, log: &Log, index: usize) -> Result<(), String> {
        let model = &self.partitions[index];
        let from = model.log_start + self.below(model.end() - model.log_start + 1);
        let bytes_max = usize::try_from(self.below(2000)).expect("small");
        let (found, next) = read_from(log, model.id, from, bytes_max).await?;
        let model = &mut self.partitions[index];
        compare(model, from, &found)?;
        if !found.is_empty() {
            model.seen = model.seen.max(next);
        }
        Ok(())
    }

    /// An idempotent producer repeats one of its last batches.
    fn repeat(&mut self, log: &Log, index: usize) -> Result<(), String> {
        let choice = self.random.next_u64();
        let model = &self.partitions[index];
        let producer = usize::try_from(choice % 2).expect("small");
        let of_producer = |written: &&Written| {
            written.producer.is_some_and(|(id, _)| id == producer)
                && written.base >= model.log_start
        };
        let last: Vec<_> = model.written.iter().rev().filter(of_producer).take(5).collect();
        if last.is_empty() || model.is_stopped {
            return Ok(());
        }
        let written = last[usize::try_from(choice >> 8).unwrap_or(0) % last.len()];
        let append = Append {
            partition: model.id,
            batch: written.batch.clone(),
            stamp: model.stamp,
            expect_end: None,
        };
        let mut ticket = log.submit(CommitSet::of(append));
        match now(ticket.placed()).pop().expect("one outcome") {
            Ok(placed)
                if placed.novelty == Novelty::Duplicate
                    && placed.base_offset.number() == written.base =>
            {
                Ok(())
            }
            Err(SubmitError::Stopped) => Ok(()),
            other => Err(format!("repeating offset {}: {other:?}", written.base)),
        }
    }

    async fn trim(&mut self, log: &Log, index: usize) {
        // Now and then two partitions with one commit.
        let mut indexes = vec![index];
        let other = self.pick();
        if other != index && self.chance(30) {
            indexes.push(other);
        }
        let mut cuts = Vec::with_capacity(indexes.len());
        for index in &indexes {
            let (log_start, end) = {
                let model = &self.partitions[*index];
                (model.log_start, model.end())
            };
            let before = log_start + self.below(end - log_start + 1);
            cuts.push((self.partitions[*index].id, Offset::new(before)));
        }
        let trimmed = log.trim(&cuts).await;
        if self.is_traced {
            eprintln!("operation {}: trim {cuts:?}: {trimmed:?}", self.disk.operations());
        }
        for ((index, (_, before)), result) in indexes.into_iter().zip(cuts).zip(trimmed) {
            let model = &mut self.partitions[index];
            match result {
                // A log start that stays is not written: an earlier trim whose commit failed, and
                // may lie on the disk all the same, is not undone by it.
                Ok(log_start) if log_start.number() == model.log_start => {}
                Ok(log_start) => {
                    model.log_start = log_start.number();
                    model.log_start_max = model.log_start;
                }
                Err(_) => model.log_start_max = model.log_start_max.max(before.number()),
            }
        }
    }

    /// Ends a life: by closing now and then, by a crash mostly.
    async fn end(&mut self, log: Log) -> Result<Vec<Ending>, String> {
        if self.disk.is_down() || !self.chance(20) {
            return Ok(vec![self.crash(log)]);
        }
        let is_closed = log.close().await.is_ok();
        self.poll_pending();
        if is_closed && !self.disk.is_down() {
            self.pending.clear();
            self.disk.kill();
            return Ok(vec![Ending::Clean]);
        }
        Ok(vec![Ending::WhileClosing, self.crash(log)])
    }

    fn crash(&mut self, log: Log) -> Ending {
        self.pending.clear();
        // The process is gone before anything of it can write again.
        self.disk.set_faults(Faults { crash_at: Some(0), ..Faults::default() });
        let ending = self.crash_disk();
        drop(log);
        ending
    }

    fn crash_disk(&mut self) -> Ending {
        if self.chance(30) {
            self.disk.kill();
            Ending::Kill
        } else {
            self.trace.power_cuts += 1;
            self.disk.cut_power();
            Ending::PowerCut
        }
    }

    fn everything_counts(&mut self) {
        for model in &mut self.partitions {
            model.answered = model.end();
            model.seen = model.end();
        }
    }

    /// Compares what the log shows with what went in, and goes on from what it shows.
    async fn check(&mut self, log: &Log, endings: &[Ending]) -> Result<(), String> {
        if self.is_traced {
            eprintln!("operation {}: check after {endings:?}", self.disk.operations());
        }
        for index in 0..self.partitions.len() {
            let context = |text: String| {
                let model = &self.partitions[index];
                format!("partition {index} ({}), {endings:?}: {text}", model.config.flush.name())
            };
            let checked = self.check_partition(log, index).await;
            let (written, log_start) = checked.map_err(context)?;
            self.partitions[index].go_on_from(written, log_start);
            self.repeat(log, index)?;
        }
        self.power_cuts_checked = self.trace.power_cuts;
        Ok(())
    }

    async fn check_partition(
        &self,
        log: &Log,
        index: usize,
    ) -> Result<(Vec<Written>, u64), String> {
        let model = &self.partitions[index];
        let progress = log.progress(model.id).map_err(|error| format!("{error:?}"))?;
        let marks = progress.watermarks();
        let (start, end) = (marks.log_start.number(), marks.log_end.number());
        if marks.high_watermark != marks.log_end {
            return Err(format!("the watermark {} is not the end {end}", marks.high_watermark));
        }
        if start < model.log_start || start > model.log_start_max.max(model.log_start) {
            return Err(format!("log start {start}, not {}", model.log_start));
        }
        let is_kill_only = self.trace.power_cuts == self.power_cuts_checked;
        if model.config.flush == FlushPolicy::Group || is_kill_only {
            if end < model.answered {
                return Err(format!("ends at {end}, answered to {}", model.answered));
            }
            if end < model.seen {
                return Err(format!("ends at {end}, seen to {}", model.seen));
            }
        }
        let mut written = model.written.clone();
        written.extend(model.uncertain.clone());
        written.retain(|batch| batch.base + batch.records <= end);
        let reached = written.last().map_or(model.log_start, |last| last.base + last.records);
        if reached.max(start) != end {
            return Err(format!("ends at {end}, batches end at {reached}"));
        }
        let expected = Model { written, ..model.bare() };
        let (found, next) = read_from(log, model.id, start, usize::MAX).await?;
        if next != end {
            return Err(format!("reading ends at {next}, not {end}"));
        }
        let count = expected.written.iter().filter(|w| w.base + w.records > start).count();
        if found.len() != count {
            return Err(format!("{} batches, not {count}", found.len()));
        }
        compare(&expected, start, &found)?;
        check_epochs(log, &expected, start, end)?;
        Ok((expected.written, start))
    }
}

impl Model {
    fn bare(&self) -> Model {
        Model {
            id: self.id,
            config: self.config,
            stamp: self.stamp,
            written: Vec::new(),
            uncertain: None,
            answered: 0,
            seen: 0,
            log_start: self.log_start,
            log_start_max: self.log_start_max,
            next_sequence: [0; PRODUCERS],
            is_stopped: false,
        }
    }

    /// Takes what survived as what was written.
    fn go_on_from(&mut self, written: Vec<Written>, log_start: u64) {
        self.written = written;
        self.uncertain = None;
        self.log_start = log_start;
        self.log_start_max = log_start;
        let end = self.end();
        self.answered = self.answered.min(end);
        self.seen = self.seen.min(end);
        for (id, next) in self.next_sequence.iter_mut().enumerate() {
            let own = |batch: &&Written| batch.producer.is_some_and(|(owner, _)| owner == id);
            let last = self.written.iter().rev().find(own);
            *next =
                last.and_then(|batch| Some(batch.producer?.1 + batch.records as i32)).unwrap_or(0);
        }
    }
}

/// Batches read must be those that were written there.
fn compare(model: &Model, from: u64, found: &[RecordBatch]) -> Result<(), String> {
    let mut expected = model.written.iter().filter(|batch| batch.base + batch.records > from);
    for batch in found {
        let Some(written) = expected.next() else {
            return Err(format!("a batch at {} that nobody wrote", batch.header().base_offset));
        };
        let header = batch.header();
        if header.base_offset.cast_unsigned() != written.base
            || batch.payload() != written.payload
            || header.leader_epoch != written.epoch.as_i32()
        {
            return Err(format!(
                "offset {} epoch {} holds other bytes than were written at {} in epoch {}",
                header.base_offset, header.leader_epoch, written.base, written.epoch
            ));
        }
    }
    Ok(())
}

fn check_epochs(log: &Log, model: &Model, start: u64, end: u64) -> Result<(), String> {
    for written in model.written.iter().filter(|written| written.base >= start) {
        let later = model.written.iter().find(|other| other.epoch > written.epoch);
        let expected = later.map_or(end, |later| later.base);
        let found = log.epoch_end(model.id, written.epoch).map_err(|error| format!("{error:?}"))?;
        if found.map(|found| (found.epoch, found.end.number())) != Some((written.epoch, expected)) {
            return Err(format!("epoch {} ends at {expected}, told {found:?}", written.epoch));
        }
    }
    Ok(())
}

async fn read_from(
    log: &Log,
    partition: PartitionId,
    from: u64,
    bytes_max: usize,
) -> Result<(Vec<RecordBatch>, u64), String> {
    let from = Offset::new(from);
    let request =
        ReadRequest { partition, from, bytes_max, oversized_first: OversizedFirst::Return };
    let plan = log.read(request).map_err(|error| format!("read at {from}: {error:?}"))?;
    let ranges = plan.ranges().await.map_err(|error| format!("read at {from}: {error:?}"))?;
    let mut bytes = Vec::new();
    for extent in &ranges.extents {
        let loaded = extent.load().await.map_err(|error| format!("read at {from}: {error:?}"))?;
        bytes.extend_from_slice(&loaded);
    }
    Ok((batches(bytes), ranges.next_offset.number()))
}

/// The result of a future that needs no waiting.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("a local log knows places at once"),
    }
}
