//! The local log as a whole: which partitions there are, opening and closing, and the slow verbs.
//!
//! A start after a clean stop reads the checkpoints and touches no partition. After any other stop
//! the log epoch is raised, durably, and every partition is checked on a few threads
//! ([`opening`](super::opening)) before the first write.
//!
//! The metadata store's rows of partitions are written here only, one writer at a time.

use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use tracing::{debug, info, warn};
use weir_model::ids::{LogEpoch, PartitionId, StreamId};
use weir_model::offset::Offset;
use weir_model::random::Random;
use weir_model::time::{Clock, Moment};

use crate::commit::{CommitSet, Receipt, Ticket};
use crate::config::LogConfig;
use crate::error::{MetaError, ReadError, SubmitError};
use crate::local::data_dir::{DataDir, OpenError, cannot};
use crate::local::directories::Directory;
use crate::local::flusher::{FlushQueue, Step, Task};
use crate::local::layout::LOGS;
use crate::local::open_files::OpenFiles;
use crate::local::opening::{
    begin_epoch, identify, list_partitions, make_logs_directory, read_rows, recover_all,
};
use crate::local::partition::{Health, Partition};
use crate::local::removal::remove_partitions;
use crate::local::row::{PartitionRow, partition_key};
use crate::local::shared::{Excess, Flushing, LocalOptions, Shared, Unflushed};
use crate::log::{EpochEnd, FoundRecord, LogSize, LogStats, Lookup, Recovered};
use crate::meta::{Expect, MetaChange, MetaStore};
use crate::producer_state::ActiveProducer;
use crate::read_plan::{ReadPlan, ReadRequest};
use crate::watermarks::Progress;

/// Every partition's log, in files.
#[derive(Debug)]
pub struct LocalLog {
    data: DataDir,
    cluster_id: u128,
    /// What was found at the start, if the stop before it was not clean.
    pub(crate) recovered: Option<Recovered>,
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) partitions: RwLock<HashMap<PartitionId, Arc<Partition>>>,
    /// Held while rows are taken down and committed, so that an older one never follows a newer.
    pub(crate) rows: tokio::sync::Mutex<Moment>,
    /// When idle producers were last looked for.
    pub(crate) producers_checked: Mutex<Moment>,
    is_closing: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Flushes that a simulator has begun.
    stepped: Mutex<Vec<Task>>,
}

impl LocalLog {
    /// Opens the log of a data directory. Must be called inside a tokio runtime.
    pub async fn open(
        mut data: DataDir,
        meta: Arc<dyn MetaStore>,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
        options: LocalOptions,
    ) -> Result<LocalLog, OpenError> {
        let is_new = data.is_new();
        let cluster_id = identify(&mut data, &*meta, random).await?;
        let is_clean = data.take_clean_mark()? || is_new;
        let epoch = begin_epoch(&*meta, is_clean).await?;
        let disk = Arc::clone(data.disk());
        make_logs_directory(&data).map_err(cannot("create the logs directory"))?;
        let shared = Arc::new(Shared {
            disk,
            clock,
            epoch,
            open_files: OpenFiles::with_limit(options.open_files_max),
            logs: Directory::at(PathBuf::from(LOGS)),
            room: Arc::clone(data.room()),
            flushes: FlushQueue::default(),
            unflushed: Unflushed::default(),
            options,
        });
        let rows = read_rows(&*meta).await?;
        let partitions = if is_clean {
            let closed = |(id, row)| (id, Arc::new(Partition::closed(id, row, &shared)));
            rows.into_iter().map(closed).collect()
        } else {
            recover_all(rows, &shared).await?
        };
        let recovered = tell_opened(epoch, is_clean, &partitions);
        let threads = start_threads(&shared).map_err(cannot("start a flusher thread"))?;
        Ok(LocalLog {
            data,
            cluster_id,
            recovered,
            meta,
            partitions: RwLock::new(partitions),
            rows: tokio::sync::Mutex::new(shared.clock.real_moment()),
            producers_checked: Mutex::new(shared.clock.moment()),
            shared,
            is_closing: AtomicBool::new(false),
            threads: Mutex::new(threads),
            stepped: Mutex::default(),
        })
    }

    /// Names this data directory for ever.
    pub fn cluster_id(&self) -> u128 {
        self.cluster_id
    }

    pub(crate) fn declare(&self, id: PartitionId, config: LogConfig) {
        let known = self.partitions.read().get(&id).cloned();
        let partition = known.unwrap_or_else(|| {
            let fresh = || Arc::new(Partition::closed(id, PartitionRow::default(), &self.shared));
            Arc::clone(self.partitions.write().entry(id).or_insert_with(fresh))
        });
        partition.declare(config);
    }

    pub(crate) fn prepare(&self, id: PartitionId) {
        if self.is_closing.load(Ordering::Acquire) {
            return;
        }
        if let Ok(partition) = self.partition(id) {
            self.shared.flushes.push_first_file(partition);
        }
    }

    /// Seals a partition or takes the seal back; returns the end of its log.
    pub(crate) fn set_sealed(
        &self,
        id: PartitionId,
        is_sealed: bool,
    ) -> Result<Offset, SubmitError> {
        let partition = self.partition(id).map_err(|_| SubmitError::UnknownPartition)?;
        let mut state = partition.lock();
        state.is_sealed = is_sealed;
        Ok(state.end.offset)
    }

    pub(crate) fn is_sealed(&self, id: PartitionId) -> bool {
        self.partition(id).is_ok_and(|partition| partition.lock().is_sealed)
    }

    pub(crate) fn submit(&self, set: &CommitSet) -> Ticket {
        let receipt = |outcome| Receipt { outcome, settles_on: None };
        if self.is_closing.load(Ordering::Acquire) {
            let refused = set.appends.iter().map(|_| receipt(Err(SubmitError::ShuttingDown)));
            return Ticket::known(refused.collect());
        }
        let mut receipts = Vec::with_capacity(set.appends.len());
        for append in &set.appends {
            receipts.push(match self.partition(append.partition) {
                Ok(partition) => partition.append(append),
                Err(_) => receipt(Err(SubmitError::UnknownPartition)),
            });
        }
        Ticket::known(receipts)
    }

    pub(crate) async fn wait_for_room(&self, id: PartitionId) {
        let Ok(partition) = self.partition(id) else { return };
        let options = &self.shared.options;
        loop {
            let fewer = self.shared.unflushed.fewer();
            let excess = self.shared.unflushed.excess(options.unflushed_bytes_max);
            if excess == Excess::New {
                self.queue_all_flushes();
            }
            {
                let mut state = partition.lock();
                let is_full = state.unflushed > options.unflushed_bytes_max_partition;
                let must_wait = is_full || excess != Excess::None;
                if state.health != Health::Good || !must_wait {
                    return;
                }
                if is_full {
                    state.queue_flush(&partition);
                }
            }
            fewer.await;
        }
    }

    pub(crate) fn read(&self, request: ReadRequest) -> Result<ReadPlan, ReadError> {
        self.partition(request.partition)?.read(request)
    }

    pub(crate) fn progress(&self, id: PartitionId) -> Result<Arc<Progress>, ReadError> {
        Ok(Arc::clone(&self.partition(id)?.progress))
    }

    pub(crate) async fn lookup(
        &self,
        id: PartitionId,
        lookup: Lookup,
    ) -> Result<Option<FoundRecord>, ReadError> {
        self.look(id, move |partition| partition.lookup(lookup)).await
    }

    /// Looks at a partition on a thread that may block.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        id: PartitionId,
        look: impl FnOnce(&Partition) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let partition = self.partition(id)?;
        let looking = tokio::task::spawn_blocking(move || look(&partition));
        looking.await.map_err(|cause| ReadError::Io(cause.to_string()))?
    }

    pub(crate) fn epoch(&self) -> LogEpoch {
        self.shared.epoch
    }

    pub(crate) fn epoch_end(
        &self,
        id: PartitionId,
        epoch: LogEpoch,
    ) -> Result<Option<EpochEnd>, ReadError> {
        Ok(self.partition(id)?.epoch_end(epoch))
    }

    pub(crate) fn epoch_at(&self, id: PartitionId, offset: Offset) -> Result<LogEpoch, ReadError> {
        Ok(self.partition(id)?.epoch_at(offset).unwrap_or(self.shared.epoch))
    }

    pub(crate) fn size(&self, id: PartitionId) -> Result<LogSize, ReadError> {
        self.partition(id)?.size()
    }

    pub(crate) fn active_producers(
        &self,
        id: PartitionId,
    ) -> Result<Vec<ActiveProducer>, ReadError> {
        let partition = self.partition(id)?;
        let state = partition.lock_open()?;
        Ok(state.producers.active().collect())
    }

    pub(crate) fn stats(&self) -> LogStats {
        let counters = &self.shared.flushes.counters;
        let partitions = self.partitions.read();
        LogStats {
            unflushed_bytes: self.shared.unflushed.bytes(),
            flushes: counters.flushes.durations(),
            flush_micros_max: counters.micros_max.load(Ordering::Relaxed),
            waiters: partitions.values().map(|p| p.progress.waiter_count() as u64).sum(),
        }
    }

    /// Returns when everything that is written now is flushed, whatever the policy.
    pub(crate) async fn flush(&self, id: PartitionId) -> Result<(), SubmitError> {
        let partition = self.partition(id).map_err(|_| SubmitError::UnknownPartition)?;
        self.flush_partition(&partition).await
    }

    pub(crate) async fn flush_partition(
        &self,
        partition: &Arc<Partition>,
    ) -> Result<(), SubmitError> {
        let target = partition.lock().end.offset;
        loop {
            let fewer = self.shared.unflushed.fewer();
            {
                let mut state = partition.lock();
                if state.health != Health::Good {
                    return Err(SubmitError::FlushFailed);
                }
                if state.unflushed == 0 || state.durable.offset >= target {
                    return Ok(());
                }
                state.queue_flush(partition);
            }
            if self.shared.options.flushing == Flushing::Stepped {
                while self.step_flush(0) {}
            } else {
                fewer.await;
            }
        }
    }

    /// Makes one sync of a flush in flight, or begins the next flush; false if there is nothing to
    /// do. `choice` picks among the flushes in flight. For [`Flushing::Stepped`].
    pub fn step_flush(&self, choice: usize) -> bool {
        let now = || self.shared.clock.real_moment();
        let mut stepped = self.stepped.lock();
        // One more than in flight: the last choice begins another.
        let choice = choice % (stepped.len() + 1);
        let began = match stepped.get_mut(choice) {
            Some(_) => None,
            None => self.shared.flushes.begin_next(now()),
        };
        if let Some(task) = began {
            stepped.push(task);
            return true;
        }
        if stepped.is_empty() {
            return false;
        }
        let index = choice.min(stepped.len() - 1);
        let mut task = stepped.swap_remove(index);
        if task.step(now) == Step::More {
            stepped.push(task);
        }
        true
    }

    /// Flushes everything, writes what the next start needs to open nothing, and marks the stop as
    /// clean. No submit is taken any more.
    pub(crate) async fn close(&self) -> Result<(), MetaError> {
        self.is_closing.store(true, Ordering::Release);
        self.queue_all_flushes();
        let partitions = self.all_partitions();
        for partition in &partitions {
            // Whether it worked is looked at when nothing is in flight any more.
            let _flushed = self.flush_partition(partition).await;
        }
        self.stop_threads().await;
        let is_clean = partitions.iter().all(|partition| partition.lock().is_flushed());
        let failed = |cause: &dyn std::fmt::Display| MetaError::Failed(cause.to_string());
        let closing = partitions.clone();
        let threads = self.shared.options.recovery_threads;
        let stored = tokio::task::spawn_blocking(move || store_for_restart(&closing, threads));
        stored.await.map_err(|cause| failed(&cause))?.map_err(|cause| failed(&cause))?;
        self.checkpoint(&partitions).await?;
        if is_clean {
            self.data.put_clean_mark().map_err(|cause| failed(&cause))?;
        } else {
            warn!("not marked as a clean stop: a partition is damaged or could not be flushed");
        }
        Ok(())
    }

    async fn stop_threads(&self) {
        self.shared.flushes.stop();
        if self.shared.options.flushing == Flushing::Stepped {
            while self.step_flush(0) {}
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic ended the process already (or was reported by the thread, in tests).
                drop(thread.join());
            }
        });
        drop(joined.await);
    }

    fn queue_all_flushes(&self) {
        for partition in &self.all_partitions() {
            let mut state = partition.lock();
            if !state.is_flushed() && state.health == Health::Good {
                state.queue_flush(partition);
            }
        }
    }

    /// Removes partitions with their rows and files. Those that are not known are removed too: a
    /// deletion that a crash interrupted is finished by asking again.
    pub(crate) async fn delete(&self, ids: &[PartitionId]) -> Result<(), MetaError> {
        let mut ended = Vec::new();
        for id in ids {
            let removed = self.partitions.write().remove(id);
            ended.extend(removed.map(|partition| (partition.end(), partition)));
        }
        {
            let _rows = self.rows.lock().await;
            let removals = ids.iter().map(|id| MetaChange {
                key: partition_key(*id),
                expect: Expect::Anything,
                value: None,
            });
            self.meta.commit(removals.collect()).await?;
        }
        let (ids, shared) = (ids.to_vec(), Arc::clone(&self.shared));
        let removing = tokio::task::spawn_blocking(move || {
            for (segments, partition) in &ended {
                // No seal is begun any more; one in flight would leave files behind.
                drop(partition.lock_sealing());
                for segment in segments {
                    segment.keep_for_readers()?;
                }
            }
            remove_partitions(&shared, &ids)
        });
        let removed = removing.await.map_err(io::Error::other).flatten();
        removed.map_err(|cause| MetaError::Failed(cause.to_string()))
    }

    /// Removes what belongs to streams that do not live: remains of deletions that a crash
    /// interrupted. Called once at start, when the core knows its streams.
    pub async fn retain_streams(&self, live: &HashSet<StreamId>) -> Result<(), MetaError> {
        let failed = |cause: io::Error| MetaError::Failed(cause.to_string());
        let mut dead: HashSet<PartitionId> = self
            .partitions
            .read()
            .keys()
            .filter(|id| !live.contains(&id.stream))
            .copied()
            .collect();
        for id in list_partitions(&self.shared).map_err(failed)? {
            if !live.contains(&id.stream) {
                dead.insert(id);
            }
        }
        if dead.is_empty() {
            return Ok(());
        }
        info!(partitions = dead.len(), "removing partitions of streams that no longer exist");
        let mut dead: Vec<_> = dead.into_iter().collect();
        dead.sort_unstable();
        self.delete(&dead).await
    }

    /// All partitions, ordered, so that a simulation runs the same way each time.
    pub(crate) fn all_partitions(&self) -> Vec<Arc<Partition>> {
        let mut partitions: Vec<_> = self.partitions.read().values().cloned().collect();
        partitions.sort_unstable_by_key(|partition| partition.id);
        partitions
    }

    pub(crate) fn partition(&self, id: PartitionId) -> Result<Arc<Partition>, ReadError> {
        let partitions = self.partitions.read();
        let partition = partitions.get(&id).filter(|partition| partition.is_declared());
        partition.cloned().ok_or(ReadError::UnknownPartition)
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.shared.flushes.stop();
        for thread in self.threads.lock().drain(..) {
            drop(thread.join());
        }
        self.shared.flushes.clear();
    }
}

/// A clean start is nothing to tell; after any other somebody may want to know what is there.
fn tell_opened(
    epoch: LogEpoch,
    is_clean: bool,
    partitions: &HashMap<PartitionId, Arc<Partition>>,
) -> Option<Recovered> {
    if is_clean {
        debug!(epoch = epoch.number(), partitions = partitions.len(), "log opened");
        return None;
    }
    let damaged = partitions.values().filter(|p| p.lock().health != Health::Good).count();
    let marks = partitions.values().map(|partition| partition.progress.watermarks());
    let recovered = Recovered {
        epoch: epoch.number(),
        partitions: partitions.len() as u64,
        damaged: damaged as u64,
        records: marks.map(|marks| marks.log_end.since(marks.log_start)).sum(),
    };
    let Recovered { epoch, partitions, damaged, records } = recovered;
    info!(epoch, partitions, damaged, records, "log recovered after an unclean stop");
    Some(recovered)
}

fn start_threads(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let count = match shared.options.flushing {
        Flushing::Threads(count) => count.max(1),
        Flushing::Stepped => 0,
    };
    let mut threads = Vec::with_capacity(count);
    for index in 0..count {
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name(format!("flush-{index}"));
        threads.push(thread.spawn(move || shared.flushes.work(|| shared.clock.real_moment()))?);
    }
    Ok(threads)
}

/// Writes what the next start needs to open nothing. A file system makes small files much faster
/// for several threads than for one, and a stop has little time.
fn store_for_restart(partitions: &[Arc<Partition>], threads: usize) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let store = || {
        while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
            partition.seal_finished();
            partition.store_for_restart()?;
        }
        Ok(())
    };
    if threads <= 1 {
        return store();
    }
    std::thread::scope(|scope| {
        let stores = 0..threads.min(partitions.len());
        let stores: Vec<_> = stores.map(|_| scope.spawn(store)).collect();
        stores
            .into_iter()
            .try_for_each(|store| store.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// The last offset that a trim may reach: readers have been shown everything before it.
pub(crate) fn trim_limit(progress: &Progress, before: Offset) -> Offset {
    let marks = progress.watermarks();
    before.min(marks.high_watermark).max(marks.log_start)
}
