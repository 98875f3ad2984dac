//! One partition: its segments, its producers, how far it is written and how far flushed.
//!
//! ```text
//!   log start          durable            end
//!      |  on the disk     |   written       |
//!   ---+------------------+-----------------+--->  segments, the last one growing
//! ```
//!
//! Everything that changes is in [`State`], behind one lock: the producer's check, the offset and
//! the write are one step there, and nothing that waits for a disk to flush happens under it. What
//! many read, the watermarks, is published in [`Progress`] as well.
//!
//! A partition that was closed cleanly costs its row until somebody appends to it or reads it; only
//! then its directory is listed ([`State::open`]).
//!
//! Read [`append`](super::append) next, then [`flusher`](super::flusher).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tracing::{error, warn};
use weir_model::ids::{LogEpoch, PartitionId};
use weir_model::offset::Offset;
use weir_model::time::{Moment, Timestamp};

use crate::config::{FlushPolicy, LogConfig};
use crate::error::ReadError;
use crate::local::directories::DirectoryTicket;
use crate::local::layout::partition_directory;
use crate::local::recovery::{self, Opened};
use crate::local::row::{EpochStart, Mark, PartitionRow};
use crate::local::segment::Segment;
use crate::local::shared::Shared;
use crate::log::{EpochEnd, LogSize};
use crate::producer_state::ProducerStates;
use crate::watermarks::{Progress, Watermarks};

/// A partition; see the module's text.
#[derive(Debug)]
pub(crate) struct Partition {
    pub id: PartitionId,
    pub progress: Arc<Progress>,
    pub shared: Arc<Shared>,
    pub directory: Arc<Path>,
    /// The core has said that it exists. Until then recovery alone knows it.
    declared: AtomicBool,
    state: Mutex<State>,
    /// Held while files are written beside finished segments, and by whoever unlinks those, so that
    /// none appears behind an unlinking. Taken before `state`.
    sealing: Mutex<()>,
}

/// Whether a partition can be written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    /// Recovery found damage: what lies before it is served, nothing is written.
    Damaged,
    /// A write or flush failed: what was durable is served, nothing is written until restart.
    Failed,
    /// It is deleted.
    Gone,
}

/// Where a partition's flush stands. One is in flight and at most one waits behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushPhase {
    Idle,
    /// To be queued at this moment (`interval`).
    Timed(Moment),
    Queued,
    Running,
    /// In flight, and appended to since: queued again when it ends.
    RunningAgain,
}

#[derive(Debug)]
pub(crate) struct State {
    pub config: LogConfig,
    pub health: Health,
    /// Takes no new batch: its end was fixed by a change of the stream's partitions.
    pub is_sealed: bool,
    /// False until the directory was listed.
    pub is_open: bool,
    /// The last checkpoint in the metadata store.
    pub row: PartitionRow,
    pub epochs: Vec<EpochStart>,
    pub producers: ProducerStates,
    /// In offset order; the last one grows.
    pub segments: Vec<Arc<Segment>>,
    /// Bytes of the last segment's file that have room on the disk.
    pub allocated: u64,
    /// Where the next batch goes.
    pub end: Mark,
    /// Everything before it is flushed.
    pub durable: Mark,
    pub last_append_time: Option<Timestamp>,
    /// Bytes between `durable` and `end`, all segments together.
    pub unflushed: u64,
    /// When the first of them was written.
    pub unflushed_since: Moment,
    pub flush: FlushPhase,
    /// When the last flush was told to whoever listens.
    pub flush_told: Option<Moment>,
    /// Names that must last before the next flush counts.
    pub directory_tickets: Vec<DirectoryTicket>,
    /// Finished segments that are not sealed yet, with the producers as they were at their ends.
    pub unsealed: Vec<(Arc<Segment>, ProducerStates)>,
    /// Bytes flushed since the last checkpoint.
    pub flushed_since_checkpoint: u64,
    /// Appended to, or repaired, since start: what was stored for a restart is out of date.
    pub has_changed: bool,
    /// With record-wise retention: the time of the first record, if it was looked up.
    pub oldest_timestamp: Option<Timestamp>,
}

impl Partition {
    /// A partition as its row describes it; nothing is read.
    pub(crate) fn closed(id: PartitionId, row: PartitionRow, shared: &Arc<Shared>) -> Partition {
        let end = row.durable.offset;
        let marks = Watermarks { log_start: row.log_start, high_watermark: end, log_end: end };
        Partition {
            id,
            progress: Arc::new(Progress::starting_at(marks)),
            shared: Arc::clone(shared),
            directory: partition_directory(id).into(),
            declared: AtomicBool::new(false),
            state: Mutex::new(State::closed(row)),
            sealing: Mutex::default(),
        }
    }

    /// A partition that recovery has opened already.
    pub(crate) fn recovered(
        id: PartitionId,
        row: PartitionRow,
        opened: Opened,
        shared: &Arc<Shared>,
    ) -> Partition {
        let mut partition = Partition::closed(id, row, shared);
        let end = opened.end.offset;
        partition.progress = Arc::new(Progress::starting_at(Watermarks {
            log_start: opened.log_start,
            high_watermark: end,
            log_end: end,
        }));
        let state = partition.state.get_mut();
        state.install(opened);
        state.has_changed = true;
        partition
    }

    /// A partition that could not be opened at all.
    pub(crate) fn unusable(id: PartitionId, row: PartitionRow, shared: &Arc<Shared>) -> Partition {
        let mut partition = Partition::closed(id, row, shared);
        let state = partition.state.get_mut();
        state.is_open = true;
        state.health = Health::Damaged;
        partition
    }

    pub(crate) fn declare(&self, config: LogConfig) {
        self.state.lock().config = config;
        self.declared.store(true, Ordering::Release);
    }

    pub(crate) fn is_declared(&self) -> bool {
        self.declared.load(Ordering::Acquire)
    }

    /// Waits for the seal being written, and keeps the next one waiting. May block for long.
    pub(crate) fn lock_sealing(&self) -> MutexGuard<'_, ()> {
        self.sealing.lock()
    }

    /// The state, as it is.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The state, its directory listed. Listing happens once, at the first use after a clean start.
    /// An error is of this call alone: the next one tries again.
    pub(crate) fn lock_open(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        if !state.is_open && state.health != Health::Gone {
            state.open(self)?;
        }
        Ok(state)
    }

    /// Stops writes for good, after a write or flush that failed. What was durable stays readable.
    pub(crate) fn fail(&self, state: &mut State, what: &'static str, cause: &io::Error) {
        if state.health != Health::Good {
            return;
        }
        error!(partition = %self.id, error = %cause, what, "partition stopped until restart");
        state.health = Health::Failed;
        self.shared.unflushed.subtract(state.unflushed);
        state.unflushed = 0;
        self.progress.stop();
    }

    /// Marks the partition as deleted and lets its waits end; returns its segments.
    pub(crate) fn end(&self) -> Vec<Arc<Segment>> {
        let mut state = self.state.lock();
        if state.health == Health::Good {
            self.shared.unflushed.subtract(state.unflushed);
            state.unflushed = 0;
        }
        state.health = Health::Gone;
        state.unsealed.clear();
        self.progress.stop();
        std::mem::take(&mut state.segments)
    }

    /// The size; lists the directory if nobody has yet.
    pub(crate) fn size(&self) -> Result<LogSize, ReadError> {
        let state = self.lock_open()?;
        let bytes = state.segments.iter().map(|segment| segment.published()).sum();
        Ok(LogSize { bytes, segments: state.segments.len() as u64 })
    }

    pub(crate) fn epoch_end(&self, epoch: LogEpoch) -> Option<EpochEnd> {
        let state = self.lock();
        let after = state.epochs.partition_point(|entry| entry.epoch <= epoch);
        let found = state.epochs.get(after.checked_sub(1)?)?;
        let end = state.epochs.get(after).map_or(state.end.offset, |next| next.start);
        Some(EpochEnd { epoch: found.epoch, end })
    }

    /// The epoch of the record at an offset; none where there is no record yet.
    pub(crate) fn epoch_at(&self, offset: Offset) -> Option<LogEpoch> {
        let state = self.lock();
        let after = state.epochs.partition_point(|entry| entry.start <= offset);
        let found = state.epochs.get(after.checked_sub(1)?)?;
        (offset < state.end.offset).then_some(found.epoch)
    }
}

impl State {
    fn closed(row: PartitionRow) -> State {
        State {
            config: LogConfig::default(),
            health: Health::Good,
            is_sealed: false,
            is_open: false,
            epochs: row.epochs.clone(),
            producers: ProducerStates::default(),
            segments: Vec::new(),
            allocated: 0,
            end: row.durable,
            durable: row.durable,
            last_append_time: row.last_append_time,
            unflushed: 0,
            unflushed_since: Moment::default(),
            flush: FlushPhase::Idle,
            flush_told: None,
            directory_tickets: Vec::new(),
            unsealed: Vec::new(),
            flushed_since_checkpoint: 0,
            has_changed: false,
            oldest_timestamp: None,
            row,
        }
    }

    /// Lists the directory of a partition that was closed cleanly. What the files say is judged
    /// once and for all; that they cannot be had, for want of a descriptor say, may pass.
    fn open(&mut self, partition: &Partition) -> io::Result<()> {
        let directory = &partition.directory;
        match recovery::open_clean(partition.id, directory, &self.row, &partition.shared) {
            Ok(opened) => self.install(opened),
            Err(cause) => {
                warn!(partition = %partition.id, error = %cause, "partition cannot be opened");
                if cause.kind() != io::ErrorKind::InvalidData {
                    return Err(cause);
                }
                self.is_open = true;
                self.health = Health::Damaged;
            }
        }
        if self.end.offset != self.row.durable.offset {
            // Its row promised more than there is; the published end cannot move back.
            self.health = Health::Damaged;
        }
        Ok(())
    }

    fn install(&mut self, opened: Opened) {
        self.is_open = true;
        self.health = if opened.is_damaged { Health::Damaged } else { Health::Good };
        self.epochs = opened.epochs;
        self.producers = opened.producers;
        self.segments = opened.segments;
        self.unsealed = opened.unsealed;
        self.allocated = opened.allocated;
        self.end = opened.end;
        self.durable = opened.end;
        self.last_append_time = opened.last_append_time;
    }

    /// Where readers stop: what the policy shows, and after a failure only what is durable.
    pub(crate) fn visible(&self, progress: &Progress) -> Mark {
        if progress.watermarks().high_watermark == self.end.offset && self.health == Health::Good {
            self.end
        } else {
            self.durable
        }
    }

    /// Whether all that was written lasts, names too: a full disk may have refused the first batch
    /// of a file that was just created, and the next run takes a file that it finds for granted.
    pub(crate) fn is_flushed(&self) -> bool {
        self.health == Health::Good && self.unflushed == 0 && self.directory_tickets.is_empty()
    }

    pub(crate) fn is_group(&self) -> bool {
        self.config.flush == FlushPolicy::Group
    }

    /// What a checkpoint would write now; none if the row must stay as it is.
    ///
    /// A damaged partition's `durable` is where the damage begins. In its row that would tell the
    /// next start that the good batches behind the damage are a crash's torn tail.
    pub(crate) fn checkpoint(&self, log_start: Offset) -> Option<PartitionRow> {
        match self.health {
            Health::Good | Health::Failed => {}
            Health::Damaged | Health::Gone => return None,
        }
        let mut durable = self.durable;
        // A finished segment that is flushed whole is nothing that recovery need look at.
        let starts_there = |segment: &&Arc<Segment>| segment.base_offset == durable.offset;
        if let Some(next) = self.segments.last().filter(starts_there) {
            durable = Mark { segment: next.base_offset, position: 0, ..durable };
        }
        Some(PartitionRow {
            log_start,
            durable,
            last_append_time: self.last_append_time,
            epochs: self.epochs.clone(),
        })
    }
}
