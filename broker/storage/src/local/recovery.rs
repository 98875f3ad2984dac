//! Opening a partition's directory, after a clean stop and after any other.
//!
//! ```text
//!   segments before the checkpoint's     its segment and all after
//!   |  taken by their seals  |           |  flushed   |  checked, flushed again  | torn tail
//!   +------------------------+           +------------+--------------------------+----------
//!                                      header walk    ^ durable  CRC of each batch  -> quarantine
//! ```
//!
//! - After a **clean** stop the checkpoint is exact: nothing behind it is looked at.
//! - After an **unclean** one every batch behind the durable position is read and checked; the log
//!   ends at the first that is not whole, not intact or not at the offset that follows. That is
//!   what a crash leaves: the rest goes to `quarantine/`, is cut off, and said.
//! - A bad batch *before* the durable position is not a crash's doing. Nothing is changed; the
//!   partition serves what lies before the damage and takes no writes.
//!
//! What survived is written once more in place and flushed before anybody reads it. After a kill it
//! may be in the page cache only, and after a flush that failed the cache calls it clean though the
//! disk never got it: only writing makes the next flush cover it.
//!
//! Every step may be cut short by another crash and is then done again: files are moved before logs
//! are shortened, and a derived file that could outlive its log is removed before the first write.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::error;
use weir_model::batch::{BatchHeader, TimestampType};
use weir_model::ids::{LogEpoch, PartitionId};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::disk::{EntryKind, read_file, rewrite};
use crate::local::layout::{FileKind, file_name, parse_file_name};
use crate::local::row::{EpochStart, Mark, PartitionRow};
use crate::local::scan::{Access, BatchScan, HeaderWalk, WalkError};
use crate::local::seal::Seal;
use crate::local::segment::Segment;
use crate::local::shared::Shared;
use crate::local::snapshot::{self, SNAPSHOT_BYTES_MAX};
use crate::producer_state::ProducerStates;

/// A seal of a segment of 2 GiB has 128 KiB of checksums.
const SEAL_BYTES_MAX: usize = 1 << 20;
/// Index entries are kept for about this many bytes of a log that is scanned.
const INDEX_INTERVAL_BYTES: u32 = 4096;

/// A partition as its directory shows it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub log_start: Offset,
    pub end: Mark,
    pub segments: Vec<Arc<Segment>>,
    /// Those of them that are finished but not sealed, with the producers as at their ends.
    pub unsealed: Vec<(Arc<Segment>, ProducerStates)>,
    /// Length of the last segment's file.
    pub allocated: u64,
    pub producers: ProducerStates,
    pub epochs: Vec<EpochStart>,
    pub last_append_time: Option<Timestamp>,
    /// The log has a bad place behind `end` that no crash explains.
    pub is_damaged: bool,
}

/// Opens a partition whose checkpoint is exact.
pub(crate) fn open_clean(
    id: PartitionId,
    directory: &Arc<Path>,
    row: &PartitionRow,
    shared: &Arc<Shared>,
) -> io::Result<Opened> {
    let mut recovery = Recovery::list(id, directory, row.clone(), shared)?;
    recovery.open_clean()?;
    recovery.finish()
}

/// Opens a partition after an unclean stop, and repairs what the crash left.
pub(crate) fn recover(
    id: PartitionId,
    directory: &Arc<Path>,
    row: Option<PartitionRow>,
    shared: &Arc<Shared>,
) -> io::Result<Opened> {
    // Without a checkpoint nothing was ever trimmed: the log begins at 0, and all of it is checked.
    let mut recovery = Recovery::list(id, directory, row.unwrap_or_default(), shared)?;
    recovery.recover()?;
    recovery.finish()
}

/// A partition on its way from files to [`Opened`].
pub(super) struct Recovery<'a> {
    pub(super) id: PartitionId,
    pub(super) directory: &'a Arc<Path>,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) row: PartitionRow,
    /// Whether there is a directory; a partition that was never written to has none.
    has_directory: bool,
    /// Base offsets and lengths of the log files.
    logs: BTreeMap<Offset, u64>,
    /// Derived files: base offsets and kinds.
    pub(super) derived: Vec<(Offset, FileKind)>,
    /// Producers are replayed from here; before it stands a snapshot, or nothing.
    replay_from: Offset,
    pub(super) opened: Opened,
}

impl<'a> Recovery<'a> {
    fn list(
        id: PartitionId,
        directory: &'a Arc<Path>,
        row: PartitionRow,
        shared: &'a Arc<Shared>,
    ) -> io::Result<Recovery<'a>> {
        let mut logs = BTreeMap::new();
        let mut derived = Vec::new();
        let entries = match shared.disk.list(directory) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            listed => Some(listed?),
        };
        let has_directory = entries.is_some();
        for entry in entries.into_iter().flatten() {
            match (parse_file_name(&entry.name), entry.kind) {
                (Some((base, FileKind::Log)), EntryKind::File(length)) => {
                    logs.insert(base, length);
                }
                (Some((base, kind)), EntryKind::File(_)) => derived.push((base, kind)),
                _ => {}
            }
        }
        let opened = Opened {
            log_start: row.log_start,
            end: row.durable,
            segments: Vec::new(),
            unsealed: Vec::new(),
            allocated: 0,
            producers: ProducerStates::default(),
            epochs: row.epochs.clone(),
            last_append_time: row.last_append_time,
            is_damaged: false,
        };
        let replay_from = Offset::ZERO;
        Ok(Recovery {
            id,
            directory,
            shared,
            row,
            has_directory,
            logs,
            derived,
            replay_from,
            opened,
        })
    }

    /// Unlinks logs that hold nothing above the log start. Retention had done so, but an unlinking
    /// that was not synced may be undone by a power cut, for some files and not for others.
    fn remove_trimmed(&mut self) -> io::Result<()> {
        let checkpoint = self.row.durable.segment;
        let finished: Vec<Offset> = self.logs.range(..checkpoint).map(|(base, _)| *base).collect();
        for (index, base) in finished.iter().enumerate() {
            let follower = finished.get(index + 1).copied().unwrap_or(checkpoint);
            if follower <= self.row.log_start {
                let path = self.directory.join(file_name(*base, FileKind::Log));
                self.shared.disk.remove_file(&path)?;
                self.logs.remove(base);
            }
        }
        Ok(())
    }

    fn open_clean(&mut self) -> io::Result<()> {
        self.remove_trimmed()?;
        self.load_snapshot()?;
        self.open_finished()?;
        let Mark { offset, segment: base, position } = self.row.durable;
        let Some(&length) = self.logs.get(&base) else {
            // An empty segment's file may never have been made.
            return self.check(position == 0, "its last segment is missing");
        };
        let segment = self.segment(base);
        self.opened.allocated = length;
        let is_current =
            |seal: &Seal| seal.summary.length == position && seal.summary.next_offset == offset;
        match self.read_seal(base)?.filter(is_current) {
            Some(seal) => {
                segment.restore(&seal);
                if !segment.load_live_indexes()? {
                    self.walk_into(&segment, position)?;
                }
            }
            None => self.walk_into(&segment, position)?,
        }
        let reached = segment.summary();
        self.replay(&segment)?;
        self.opened.segments.push(segment);
        self.check(reached.length == position && reached.next_offset == offset, "its log is short")
    }

    fn recover(&mut self) -> io::Result<()> {
        self.remove_trimmed()?;
        self.load_snapshot()?;
        self.open_finished()?;
        let durable = self.row.durable;
        let mut next = durable.offset;
        let unchecked: Vec<(Offset, u64)> =
            self.logs.range(durable.segment..).map(|(base, length)| (*base, *length)).collect();
        if !unchecked.iter().any(|(base, _)| *base == durable.segment) {
            self.check(durable.position == 0, "its last segment is missing")?;
        }
        let mut is_torn = self.opened.is_damaged;
        for (base, length) in unchecked {
            if is_torn || (base != next && base != durable.segment) {
                is_torn = true;
                self.set_aside(base)?;
                continue;
            }
            next = self.recover_segment(base, length)?;
            is_torn = self.opened.is_damaged;
        }
        // Trimming flushes first, so what survived reaches at least to the log start.
        self.check(self.opened.end.offset >= self.row.log_start, "it ends before its log start")?;
        if self.opened.is_damaged {
            return Ok(());
        }
        self.remove_stale_files()?;
        self.sync_names()
    }

    /// Opens the segments before the checkpoint's, which were flushed long ago.
    fn open_finished(&mut self) -> io::Result<()> {
        let finished: Vec<(Offset, u64)> = self
            .logs
            .range(..self.row.durable.segment)
            .map(|(base, length)| (*base, *length))
            .collect();
        for (index, (base, length)) in finished.iter().enumerate() {
            let follower = finished.get(index + 1).map_or(self.row.durable.segment, |next| next.0);
            let segment = self.segment(*base);
            // What a clean stop wrote about a segment that went on growing is out of date.
            let is_current = |seal: &Seal| {
                seal.summary.length <= *length && seal.summary.next_offset == follower
            };
            let seal = self.read_seal(*base)?.filter(is_current);
            let is_sealed = seal.is_some();
            match seal {
                Some(seal) => segment.restore(&seal),
                None => self.walk_into(&segment, *length)?,
            }
            let reached = segment.summary().next_offset;
            self.replay(&segment)?;
            // A crash came between the checkpoint and the seal. Behind the snapshot the producers
            // are as at its end; before it their states of that time are not known any more.
            if !is_sealed && reached >= self.replay_from {
                let producers = self.opened.producers.clone();
                self.opened.unsealed.push((Arc::clone(&segment), producers));
            }
            self.opened.segments.push(segment);
            if reached != follower {
                self.opened.end = self.end_of_last();
                return self.check(false, "a finished segment does not reach the next one");
            }
        }
        Ok(())
    }

    /// Checks one segment behind the checkpoint. Returns the offset where it ends.
    fn recover_segment(&mut self, base: Offset, length: u64) -> io::Result<Offset> {
        let durable = self.row.durable;
        let is_checkpoint = base == durable.segment;
        let flushed = if is_checkpoint { durable.position } else { 0 };
        let segment = self.segment(base);
        let open = segment.open()?;
        if let Some(finished) = self.opened.segments.last().filter(|_| !is_checkpoint) {
            let producers = self.opened.producers.clone();
            self.opened.unsealed.push((Arc::clone(finished), producers));
        }
        self.walk_into(&segment, flushed.min(length))?;
        if segment.published() < flushed {
            self.opened.segments.push(Arc::clone(&segment));
            self.opened.end = self.end_of_last();
            self.check(false, "damage before the durable position")?;
            return Ok(self.opened.end.offset);
        }
        let mut scan = BatchScan::new(&*open.file, flushed, length);
        while let Some(batch) = scan.next()? {
            if batch.header().base_offset != segment.summary().next_offset.as_i64() {
                break;
            }
            segment.publish(batch.header(), INDEX_INTERVAL_BYTES);
            self.note(batch.header());
        }
        self.replay(&segment)?;
        let end = segment.published();
        let next_offset = segment.summary().next_offset;
        self.opened.segments.push(Arc::clone(&segment));
        self.opened.end = self.end_of_last();
        self.opened.allocated = end;
        self.quarantine_rest(&*open.file, base, end, length)?;
        if end < length {
            open.file.set_length(end)?;
        }
        if end > flushed {
            rewrite(&*open.file, flushed, end)?;
        }
        if end > flushed || end < length {
            open.file.sync_data()?;
        }
        Ok(next_offset)
    }

    /// Makes last what a run before this one may have done to the names without a sync: created
    /// them, or taken them away. A log that was set aside by a recovery that was killed comes back
    /// with the next power cut, under the name that a new log may have by then.
    fn sync_names(&self) -> io::Result<()> {
        if self.has_directory {
            self.shared.disk.sync_dir(self.directory)?;
        }
        Ok(())
    }

    /// Takes the newest usable snapshot that stands within what is known to be flushed.
    fn load_snapshot(&mut self) -> io::Result<()> {
        let durable = self.row.durable.offset;
        let mut candidates: Vec<Offset> = self
            .derived
            .iter()
            .filter(|(base, kind)| *kind == FileKind::Snapshot && *base <= durable)
            .map(|(base, _)| *base)
            .collect();
        candidates.sort_unstable();
        while let Some(base) = candidates.pop() {
            let path = self.directory.join(file_name(base, FileKind::Snapshot));
            let stored = read_file(&*self.shared.disk, &path, SNAPSHOT_BYTES_MAX)?;
            if let Some(producers) = stored.and_then(|bytes| snapshot::decode(&bytes, base)) {
                self.opened.producers = producers;
                self.replay_from = base;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Remembers the producers of a segment's batches that no snapshot holds.
    fn replay(&mut self, segment: &Arc<Segment>) -> io::Result<()> {
        if segment.summary().next_offset <= self.replay_from {
            return Ok(());
        }
        let open = segment.open()?;
        let start = segment.walk_start(self.replay_from, Access::Blocking).map_err(walk_failure)?;
        let end = segment.published();
        let mut walk = HeaderWalk::new(&*open.file, Access::Blocking, start, end);
        let now = self.shared.clock.now();
        while let Some(found) = walk.next().map_err(walk_failure)? {
            let base_offset = Offset::try_from(found.header.base_offset).unwrap_or_default();
            if base_offset >= self.replay_from {
                self.opened.producers.record(&found.header, base_offset, now);
            }
        }
        Ok(())
    }

    /// Publishes the batches of a segment up to `limit` by their headers. Stops before the first
    /// that cannot be one.
    fn walk_into(&mut self, segment: &Arc<Segment>, limit: u64) -> io::Result<()> {
        segment.clear();
        let open = segment.open()?;
        let mut walk = HeaderWalk::new(&*open.file, Access::Blocking, 0, limit);
        loop {
            match walk.next() {
                Ok(Some(found)) => {
                    if found.header.base_offset != segment.summary().next_offset.as_i64() {
                        return Ok(());
                    }
                    segment.publish(&found.header, INDEX_INTERVAL_BYTES);
                    self.note(&found.header);
                }
                Ok(None) | Err(WalkError::Invalid { .. }) => return Ok(()),
                Err(cause) => return Err(walk_failure(cause)),
            }
        }
    }

    /// Takes a batch into the epoch table, and its time if the log wrote that.
    fn note(&mut self, header: &BatchHeader) {
        let epoch = u32::try_from(header.leader_epoch).ok().and_then(LogEpoch::new);
        let start = Offset::try_from(header.base_offset).unwrap_or_default();
        if let Some(epoch) = epoch
            && self.opened.epochs.last().is_none_or(|last| last.epoch < epoch)
        {
            self.opened.epochs.push(EpochStart { epoch, start });
        }
        if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
            let latest = self.opened.last_append_time.max(Some(header.max_timestamp));
            self.opened.last_append_time = latest;
        }
    }

    fn finish(mut self) -> io::Result<Opened> {
        let end = self.opened.end.offset;
        let first = match self.opened.segments.first() {
            Some(segment) => segment.base_offset,
            // All its files are missing: its records are damaged, not trimmed.
            None if self.opened.is_damaged => self.row.log_start,
            None => end,
        };
        self.opened.log_start = self.row.log_start.max(first).min(end);
        // Epochs whose records are all gone left no trace.
        self.opened.epochs.retain(|entry| entry.start < end);
        Ok(self.opened)
    }

    fn segment(&self, base: Offset) -> Arc<Segment> {
        let Shared { disk, open_files, .. } = &**self.shared;
        Segment::empty(base, self.directory, disk, open_files)
    }

    fn read_seal(&self, base: Offset) -> io::Result<Option<Seal>> {
        let path = self.directory.join(file_name(base, FileKind::Seal));
        let seal = read_file(&*self.shared.disk, &path, SEAL_BYTES_MAX)?;
        Ok(seal.and_then(|bytes| Seal::decode(&bytes)))
    }

    fn end_of_last(&self) -> Mark {
        self.opened.segments.last().map_or(self.row.durable, |segment| Mark {
            offset: segment.summary().next_offset,
            segment: segment.base_offset,
            position: segment.published(),
        })
    }

    /// Notes damage unless `holds`.
    fn check(&mut self, holds: bool, what: &'static str) -> io::Result<()> {
        if !holds {
            self.opened.is_damaged = true;
            error!(
                partition = %self.id, offset = %self.opened.end.offset, what,
                "partition is damaged: it serves what lies before and takes no writes"
            );
        }
        Ok(())
    }
}

fn walk_failure(cause: WalkError) -> io::Error {
    match cause {
        WalkError::Io(cause) => cause,
        WalkError::Invalid { position } => {
            io::Error::new(io::ErrorKind::InvalidData, format!("no batch at position {position}"))
        }
        WalkError::NotResident => io::ErrorKind::WouldBlock.into(),
    }
}
