//! What goes, and when: by age, by size, or because somebody asked ([`LocalLog::trim`]).
//!
//! Three steps, in this order, so that a crash between any two only leaves files to remove later:
//! what lies before the new log start is flushed, the log start is committed to the metadata store
//! and shown to readers, and only then files wholly below it are unlinked.
//!
//! | [`TrimBy`] | by age |
//! |---|---|
//! | `Segment` | a segment goes when its newest record is too old; the growing one is rolled |
//! | `Record` | the log start moves to the first record that is young enough |
//!
//! A sealed partition whose records have all gone keeps none of their bytes: its growing segment,
//! which will never grow again, is rolled and goes too.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::config::{LogConfig, TrimBy};
use crate::error::{MetaError, ReadError};
use crate::local::layout::{FileKind, file_name};
use crate::local::local_log::{LocalLog, trim_limit};
use crate::local::partition::{Health, Partition, State};
use crate::local::row::{PartitionRow, partition_key};
use crate::local::segment::Segment;
use crate::local::snapshot;
use crate::local::stored::write_whole;
use crate::log::Lookup;
use crate::meta::{Expect, MetaChange};
use weir_model::ids::PartitionId;

/// Partitions that nobody used since start whose age is looked at in one round of housekeeping.
const IDLE_PARTITIONS_PER_ROUND: usize = 64;
/// Under `os`, how long bytes stay unflushed at most. The kernel writes them back within about half
/// of that by itself, so the flush is cheap; it lets checkpoints advance and files be closed.
const UNFLUSHED_AGE_MAX: Duration = Duration::from_secs(60);
/// Producers that appended nothing for this long are forgotten (`producer.id.expiration.ms`): one
/// that comes back is taken at any sequence.
const PRODUCER_IDLE_MS_MAX: i64 = 24 * 3_600_000;
/// How often that is looked at.
const PRODUCER_CHECK_INTERVAL: Duration = Duration::from_secs(600);
/// Bytes flushed after which a checkpoint is due before its time.
const CHECKPOINT_BYTES: u64 = 64 << 20;

impl LocalLog {
    /// See [`Log::trim`](crate::log::Log::trim).
    pub(crate) async fn trim(
        &self,
        cuts: &[(PartitionId, Offset)],
    ) -> Vec<Result<Offset, ReadError>> {
        let mut results: Vec<_> = cuts.iter().map(|(id, _)| self.begin_trim(*id)).collect();
        // One move for each partition, the furthest: a later one that is shorter would move its log
        // start back. In order, so that a simulated run can be repeated.
        let mut furthest = BTreeMap::new();
        for (result, (id, before)) in results.iter_mut().zip(cuts) {
            let Ok(partition) = result else { continue };
            match self.flush_partition(partition).await {
                Ok(()) => {
                    let first = (Arc::clone(partition), *before);
                    let (_, cut) = furthest.entry(*id).or_insert(first);
                    *cut = (*cut).max(*before);
                }
                Err(_) => *result = Err(ReadError::Io("the partition is stopped".to_owned())),
            }
        }
        let moved = self.move_log_starts(furthest.into_values().collect()).await;
        let moved = moved.map_err(|cause| match cause {
            MetaError::Failed(text) => ReadError::Io(text),
            MetaError::DiskFull => ReadError::Io("disk full".to_owned()),
            MetaError::Conflict => ReadError::Io("metadata conflict".to_owned()),
        });
        let log_start = |result: Result<Arc<Partition>, ReadError>| {
            let partition = result?;
            moved.clone()?;
            Ok(partition.progress.watermarks().log_start)
        };
        results.into_iter().map(log_start).collect()
    }

    /// Finds a partition to trim and asks for its flush, so that many partitions wait for theirs
    /// together.
    fn begin_trim(&self, id: PartitionId) -> Result<Arc<Partition>, ReadError> {
        let partition = self.partition(id)?;
        let mut state = partition.lock_open()?;
        if state.health == Health::Good && state.unflushed > 0 {
            state.queue_flush(&partition);
        }
        drop(state);
        Ok(partition)
    }

    /// See [`Log::housekeep`](crate::log::Log::housekeep).
    pub(crate) async fn housekeep(&self) {
        self.shared.room.look_again();
        let partitions = self.all_partitions();
        self.remove_what_is_old(&partitions).await;
        self.empty_what_has_ended(&partitions).await;
        self.forget_idle_producers(&partitions);
        self.flush_what_is_old(&partitions);
        self.checkpoint_if_due(&partitions).await;
    }

    async fn remove_what_is_old(&self, partitions: &[Arc<Partition>]) {
        let now = self.shared.clock.now();
        let mut idle_left = IDLE_PARTITIONS_PER_ROUND;
        let mut moves = Vec::new();
        for partition in partitions {
            if !partition.is_declared() || !partition.may_have_old_records(now, &mut idle_left) {
                continue;
            }
            let due = Arc::clone(partition);
            let search = tokio::task::spawn_blocking(move || due.retention_start(now));
            match search.await {
                Ok(Ok(Some(before))) => match self.flush_partition(partition).await {
                    Ok(()) => moves.push((Arc::clone(partition), before)),
                    Err(cause) => {
                        warn!(partition = %partition.id, ?cause, "old records not removed");
                    }
                },
                Ok(Ok(None)) => {}
                Ok(Err(cause)) => warn!(partition = %partition.id, ?cause, "retention failed"),
                Err(cause) => warn!(partition = %partition.id, %cause, "retention failed"),
            }
        }
        if let Err(cause) = self.move_log_starts(moves).await {
            warn!(?cause, "old records not removed");
        }
    }

    /// Rolls and unlinks the last segments of sealed partitions that hold nothing any more. The
    /// unlinking waits for the checkpoint after the roll, since recovery begins where that says.
    async fn empty_what_has_ended(&self, partitions: &[Arc<Partition>]) {
        let mut idle_left = IDLE_PARTITIONS_PER_ROUND;
        let may_act = |partition: &&Arc<Partition>| partition.has_dead_bytes(&mut idle_left);
        let ended: Vec<_> = partitions.iter().filter(may_act).cloned().collect();
        if ended.is_empty() {
            return;
        }
        let emptying = tokio::task::spawn_blocking(move || {
            for partition in ended {
                if let Err(cause) = partition.remove_dead_bytes() {
                    warn!(partition = %partition.id, error = %cause, "ended partition not emptied");
                }
            }
        });
        if let Err(cause) = emptying.await {
            warn!(%cause, "ended partitions not emptied");
        }
    }

    fn forget_idle_producers(&self, partitions: &[Arc<Partition>]) {
        let moment = self.shared.clock.moment();
        {
            let mut checked = self.producers_checked.lock();
            if moment.since(*checked) < PRODUCER_CHECK_INTERVAL {
                return;
            }
            *checked = moment;
        }
        let before = self.shared.clock.now().plus_millis(-PRODUCER_IDLE_MS_MAX);
        for partition in partitions {
            partition.lock().producers.expire(before);
        }
    }

    fn flush_what_is_old(&self, partitions: &[Arc<Partition>]) {
        let now = self.shared.clock.real_moment();
        for partition in partitions {
            let mut state = partition.lock();
            let is_old = now.since(state.unflushed_since) > UNFLUSHED_AGE_MAX;
            if is_old && state.unflushed > 0 && state.health == Health::Good {
                state.queue_flush(partition);
            }
        }
    }

    async fn checkpoint_if_due(&self, partitions: &[Arc<Partition>]) {
        let since_last = self.shared.clock.real_moment().since(*self.rows.lock().await);
        let is_much =
            || partitions.iter().any(|p| p.lock().flushed_since_checkpoint >= CHECKPOINT_BYTES);
        if (since_last >= self.shared.options.checkpoint_interval || is_much())
            && let Err(cause) = self.checkpoint(partitions).await
        {
            warn!(?cause, "checkpoint failed");
        }
    }

    /// Commits how far the partitions are flushed, where that changed.
    pub(crate) async fn checkpoint(&self, partitions: &[Arc<Partition>]) -> Result<(), MetaError> {
        let mut last = self.rows.lock().await;
        let mut rows = Vec::new();
        for partition in partitions {
            let state = partition.lock();
            let row = state.checkpoint(partition.progress.watermarks().log_start);
            rows.extend(row.filter(|row| *row != state.row).map(|row| (partition, row)));
        }
        if !rows.is_empty() {
            let changes = rows.iter().map(|(partition, row)| row_change(partition, row));
            self.meta.commit(changes.collect()).await?;
        }
        for (partition, row) in rows {
            let mut state = partition.lock();
            state.row = row;
            state.flushed_since_checkpoint = 0;
        }
        *last = self.shared.clock.real_moment();
        Ok(())
    }

    /// Moves the log starts of flushed partitions to the given offsets, or as far as readers see,
    /// in one commit.
    async fn move_log_starts(&self, moves: Vec<(Arc<Partition>, Offset)>) -> Result<(), MetaError> {
        let mut moved = Vec::with_capacity(moves.len());
        {
            let _rows = self.rows.lock().await;
            let mut rows = Vec::with_capacity(moves.len());
            for (partition, before) in moves {
                let state = partition.lock();
                // What was appended since the flush may be visible, but must not be needed.
                let log_start = trim_limit(&partition.progress, before.min(state.durable.offset));
                if log_start == partition.progress.watermarks().log_start {
                    continue;
                }
                let row = state.checkpoint(log_start);
                drop(state);
                rows.extend(row.map(|row| (partition, row)));
            }
            if rows.is_empty() {
                return Ok(());
            }
            // A deletion waits for `rows`, so it cannot have removed a row that this writes.
            let changes = rows.iter().map(|(partition, row)| row_change(partition, row));
            self.meta.commit(changes.collect()).await?;
            for (partition, row) in rows {
                let mut state = partition.lock();
                partition.progress.publish_log_start(row.log_start);
                state.row = row;
                drop(state);
                moved.push(partition);
            }
        }
        let removing = tokio::task::spawn_blocking(move || {
            for partition in moved {
                if let Err(cause) = partition.remove_below_log_start() {
                    // The next start, or the next trim, finds them below the log start again.
                    warn!(partition = %partition.id, error = %cause, "trimmed files not removed");
                }
            }
        });
        removing.await.map_err(|cause| MetaError::Failed(cause.to_string()))
    }
}

fn row_change(partition: &Partition, row: &PartitionRow) -> MetaChange {
    MetaChange {
        key: partition_key(partition.id),
        expect: Expect::Anything,
        value: Some(row.encode()),
    }
}

impl Partition {
    /// A look that costs nothing, so that housekeeping may pass over thousands each second.
    fn may_have_old_records(&self, now: Timestamp, idle_left: &mut usize) -> bool {
        let state = self.lock();
        let marks = self.progress.watermarks();
        let is_empty = marks.log_start == marks.high_watermark;
        if state.health != Health::Good || is_empty || !state.config.has_retention() {
            return false;
        }
        if !state.is_open {
            let is_turn = *idle_left > 0;
            *idle_left = idle_left.saturating_sub(1);
            return is_turn;
        }
        state.is_too_large() || state.oldest_is_before(state.config.oldest_kept(now))
    }

    /// Whether it is sealed, holds no records, and yet bytes; costs nothing, as the look above.
    fn has_dead_bytes(&self, idle_left: &mut usize) -> bool {
        let state = self.lock();
        let is_empty = self.progress.watermarks().log_start == state.end.offset;
        if !state.is_sealed || !is_empty || state.health != Health::Good {
            return false;
        }
        if !state.is_open {
            let is_turn = state.row.durable.position > 0 && *idle_left > 0;
            *idle_left -= usize::from(is_turn);
            return is_turn;
        }
        state.end.position > 0 || state.segments.len() > 1
    }

    fn remove_dead_bytes(&self) -> io::Result<()> {
        let mut state = self.lock_open()?;
        // Unsealed or deleted since it was looked at.
        let is_empty = self.progress.watermarks().log_start == state.end.offset;
        if !state.is_sealed || !is_empty || state.health != Health::Good {
            return Ok(());
        }
        if state.end.position > 0 {
            state.roll(self)?;
        }
        drop(state);
        self.remove_below_log_start()
    }

    /// Where the log would start if retention was done now; none if it starts there already.
    fn retention_start(&self, now: Timestamp) -> Result<Option<Offset>, ReadError> {
        let (config, by_segment) = {
            let mut state = self.lock_open()?;
            let by_segment = state.retention_by_segment(self, now);
            (state.config, by_segment)
        };
        let Some(oldest_kept) =
            config.oldest_kept(now).filter(|_| config.trim_by == TrimBy::Record)
        else {
            return Ok(by_segment);
        };
        let found = self.lookup(Lookup::AtTime(oldest_kept))?;
        let marks = self.progress.watermarks();
        let by_record = found.map_or(marks.high_watermark, |found| found.offset);
        self.lock().oldest_timestamp = found.map(|found| found.timestamp);
        let start = by_segment.map_or(by_record, |by_segment| by_segment.max(by_record));
        Ok((start > marks.log_start).then_some(start))
    }

    /// Unlinks the files of segments that hold nothing above the log start.
    fn remove_below_log_start(&self) -> io::Result<()> {
        let log_start = self.progress.watermarks().log_start;
        let removed: Vec<Arc<Segment>> = {
            let mut state = self.lock();
            let checkpoint = state.row.durable.segment;
            let count = state
                .segments
                .iter()
                .take_while(|segment| {
                    segment.base_offset < checkpoint && segment.summary().next_offset <= log_start
                })
                .count();
            let removed: Vec<_> = state.segments.drain(..count).collect();
            state.unsealed.retain(|(segment, _)| segment.base_offset >= checkpoint);
            removed
        };
        let _sealing = self.lock_sealing();
        let disk = &*self.shared.disk;
        for segment in removed {
            segment.keep_for_readers()?;
            for kind in FileKind::ALL {
                match disk.remove_file(&segment.path(kind)) {
                    Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Writes what lets the next start open this partition without reading its log.
    pub(crate) fn store_for_restart(&self) -> io::Result<()> {
        let (segment, producers, end) = {
            let state = self.lock();
            if !state.is_open || state.health != Health::Good || !state.has_changed {
                return Ok(());
            }
            let Some(segment) = state.segments.last().cloned() else { return Ok(()) };
            (segment, state.producers.clone(), state.end.offset)
        };
        let path = self.directory.join(file_name(end, FileKind::Snapshot));
        let content = snapshot::encode(&producers, end);
        write_whole(&*self.shared.disk, &path, &content)?;
        segment.store_for_restart()
    }
}

impl LogConfig {
    fn has_retention(&self) -> bool {
        self.retention_ms.is_some() || self.retention_bytes.is_some()
    }

    /// Records before this time are too old.
    fn oldest_kept(&self, now: Timestamp) -> Option<Timestamp> {
        let retention_ms = i64::try_from(self.retention_ms?).unwrap_or(i64::MAX);
        Some(now.plus_millis(-retention_ms))
    }
}

impl State {
    fn is_too_large(&self) -> bool {
        let Some(bytes_max) = self.config.retention_bytes else { return false };
        let bytes: u64 = self.segments.iter().map(|segment| segment.published()).sum();
        let first = self.segments.first().map_or(0, |segment| segment.published());
        self.segments.len() > 1 && bytes - first >= bytes_max
    }

    fn oldest_is_before(&self, oldest_kept: Option<Timestamp>) -> bool {
        let Some(oldest_kept) = oldest_kept else { return false };
        match self.config.trim_by {
            TrimBy::Record => self.oldest_timestamp.is_none_or(|oldest| oldest < oldest_kept),
            TrimBy::Segment => {
                self.segments.first().is_some_and(|first| is_expired(first, oldest_kept))
            }
        }
    }

    /// The base of the first segment to keep, if that is not the first there is.
    fn retention_by_segment(&mut self, partition: &Partition, now: Timestamp) -> Option<Offset> {
        let mut bytes: u64 = self.segments.iter().map(|segment| segment.published()).sum();
        let by_age = self.config.trim_by == TrimBy::Segment;
        let oldest_kept = self.config.oldest_kept(now).filter(|_| by_age);
        let mut next_offset = None;
        for segment in &self.segments {
            let is_last = segment.published() == bytes;
            let rest = bytes - segment.published();
            let is_old = oldest_kept.is_some_and(|oldest| is_expired(segment, oldest));
            let is_surplus = self.config.retention_bytes.is_some_and(|max| rest >= max) && !is_last;
            if !(is_old || is_surplus) {
                break;
            }
            bytes = rest;
            next_offset = Some(segment.summary().next_offset);
        }
        let is_everything = next_offset == Some(self.end.offset);
        let active_has_records = self.end.position > 0;
        if is_everything
            && active_has_records
            && self.health == Health::Good
            && let Err(cause) = self.roll(partition)
        {
            // The records go all the same; their file stays until the segment is rolled.
            warn!(partition = %partition.id, error = %cause, "segment not rolled");
        }
        next_offset.filter(|next| *next > partition.progress.watermarks().log_start)
    }
}

/// Whether all of a segment's records are too old. Records without a time never are.
fn is_expired(segment: &Segment, oldest_kept: Timestamp) -> bool {
    let newest = segment.summary().max_timestamp;
    newest >= Timestamp::from_millis(0) && newest < oldest_kept
}
