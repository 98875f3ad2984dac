//! What is kept beside a segment's log file: its indexes and its seal. All of it can be deleted and
//! comes back from the log.
//!
//! The indexes of a growing segment are in memory. They are written when it is finished, after its
//! bytes are flushed and by a thread of the flusher, together with a [`Seal`] that carries their
//! checksums; a file that does not match is rebuilt from the log, in memory, when it is needed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::disk::{Disk, OpenMode, read_file};
use crate::inspect::{IndexEntryView, IndexKind, IndexState};
use crate::local::layout::FileKind;
use crate::local::offset_index::{IndexEntry, OffsetIndex};
use crate::local::scan::{Access, HeaderWalk, WalkError};
use crate::local::seal::{IndexChecksums, Seal};
use crate::local::segment::{Indexes, LiveIndexes, Segment};
use crate::local::time_index::{TimeEntry, TimeIndex};

/// An index of a segment of 2 GiB, with an entry for every batch, is below this many bytes.
const INDEX_BYTES_MAX: usize = 512 << 20;
/// Distance of the entries in an index that is rebuilt.
const REBUILT_INTERVAL_BYTES: u64 = 4096;

impl Segment {
    /// Makes an empty segment one that was stored earlier; its index is read when it is needed.
    pub(crate) fn restore(&self, seal: &Seal) {
        let mut content = self.content.lock();
        content.next_offset = seal.summary.next_offset;
        content.record_count = seal.summary.record_count;
        content.max_timestamp = seal.summary.max_timestamp;
        content.indexes = Indexes::Stored(seal.indexes);
        self.published.store(seal.summary.length, Ordering::Release);
    }

    /// Searches the offset index. A stored one is read first, for which a worker cannot wait.
    pub(super) fn search_index(
        self: &Arc<Segment>,
        access: Access,
        search: impl Fn(&OffsetIndex) -> u64,
    ) -> Result<u64, WalkError> {
        let checksums = match &self.content.lock().indexes {
            Indexes::Live(live) => return Ok(search(&live.offsets)),
            Indexes::Stored(checksums) => *checksums,
        };
        let open = self.open()?;
        if let Some(index) = open.stored_index.get() {
            return Ok(search(index));
        }
        if access == Access::Resident {
            return Err(WalkError::NotResident);
        }
        let index = match self.read_offset_index(checksums)? {
            Some(index) => index,
            None => self.rebuild_offset_index()?,
        };
        Ok(search(open.stored_index.get_or_init(|| index)))
    }

    /// Whether its indexes are in files.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.content.lock().indexes, Indexes::Stored(_))
    }

    /// An index as it is, to be shown. May wait for the disk.
    pub(crate) fn index_views(
        &self,
        kind: IndexKind,
    ) -> io::Result<(Vec<IndexEntryView>, IndexState)> {
        let checksums = match &self.content.lock().indexes {
            Indexes::Live(live) => {
                let views = match kind {
                    IndexKind::Offset => self.offset_views(&live.offsets),
                    IndexKind::Time => self.time_views(&live.times),
                };
                return Ok((views, IndexState::InMemory));
            }
            Indexes::Stored(checksums) => *checksums,
        };
        let views = match kind {
            IndexKind::Offset => {
                let index = self.read_offset_index(checksums)?;
                index.map(|index| self.offset_views(&index))
            }
            IndexKind::Time => {
                let index = self.read_time_index(checksums)?;
                index.map(|index| self.time_views(&index))
            }
        };
        Ok(views.map_or((Vec::new(), IndexState::Damaged), |views| (views, IndexState::Stored)))
    }

    fn offset_views(&self, index: &OffsetIndex) -> Vec<IndexEntryView> {
        let view = |entry: &IndexEntry| IndexEntryView::Offset {
            offset: self.base_offset.plus(u64::from(entry.relative_offset)),
            position: u64::from(entry.position),
        };
        index.entries().iter().map(view).collect()
    }

    fn time_views(&self, index: &TimeIndex) -> Vec<IndexEntryView> {
        let view = |entry: &TimeEntry| IndexEntryView::Time {
            timestamp: entry.timestamp,
            offset: self.base_offset.plus(u64::from(entry.relative_offset)),
        };
        index.entries().iter().map(view).collect()
    }

    /// Where records at or after `timestamp` can begin: an offset at or before the first of them.
    pub(crate) fn time_search_start(&self, timestamp: Timestamp) -> Result<Offset, WalkError> {
        let search = |times: &TimeIndex| match times.offset_before(timestamp) {
            Some(relative) => self.base_offset.plus(u64::from(relative) + 1),
            None => self.base_offset,
        };
        let checksums = match &self.content.lock().indexes {
            Indexes::Live(live) => return Ok(search(&live.times)),
            Indexes::Stored(checksums) => *checksums,
        };
        // Without its index the segment is searched from its first record.
        let index = self.read_time_index(checksums)?;
        Ok(index.map_or(self.base_offset, |index| search(&index)))
    }

    /// Writes the indexes and the seal beside a finished segment, and takes the indexes out of
    /// memory. Called once its bytes are flushed; nothing here needs a flush, all can be rebuilt.
    pub(crate) fn store(self: &Arc<Segment>) -> io::Result<()> {
        let Some(indexes) = self.store_indexes()? else { return Ok(()) };
        let seal = Seal { summary: self.summary(), indexes };
        let open = self.open()?;
        // Cuts off the room that was not used; recovery does not depend on it.
        open.file.set_length(seal.summary.length)?;
        let content = seal.encode_whole(&*open.file)?;
        write_whole(&*self.disk, &self.path(FileKind::Seal), &content)?;
        self.content.lock().indexes = Indexes::Stored(indexes);
        Ok(())
    }

    /// Writes what lets the next start take this growing segment up without walking it.
    pub(crate) fn store_for_restart(&self) -> io::Result<()> {
        let Some(indexes) = self.store_indexes()? else { return Ok(()) };
        // Its checksums come when it is finished.
        let seal = Seal { summary: self.summary(), indexes };
        write_whole(&*self.disk, &self.path(FileKind::Seal), &seal.encode())
    }

    /// Takes up the stored indexes of a segment that goes on growing; false if they are not there.
    pub(crate) fn load_live_indexes(&self) -> io::Result<bool> {
        let checksums = match &self.content.lock().indexes {
            Indexes::Live(_) => return Ok(true),
            Indexes::Stored(checksums) => *checksums,
        };
        let offsets = self.read_offset_index(checksums)?;
        let times = self.read_time_index(checksums)?;
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(false) };
        let bytes_since_entry = self.published() - offsets.batch_start_before(u64::MAX);
        let mut content = self.content.lock();
        content.max_timestamp_offset = times.last_relative_offset().unwrap_or(0);
        content.indexes = Indexes::Live(LiveIndexes { offsets, times, bytes_since_entry });
        Ok(true)
    }

    /// Writes the indexes that are in memory; none if they are stored.
    fn store_indexes(&self) -> io::Result<Option<IndexChecksums>> {
        let (offsets, times) = {
            let content = self.content.lock();
            let Indexes::Live(live) = &content.indexes else { return Ok(None) };
            let mut times = live.times.clone();
            if content.record_count > 0 {
                times.push_if_later(content.time_entry());
            }
            (live.offsets.encode(), times.encode())
        };
        write_whole(&*self.disk, &self.path(FileKind::OffsetIndex), &offsets)?;
        write_whole(&*self.disk, &self.path(FileKind::TimeIndex), &times)?;
        let offsets = crc32fast::hash(&offsets);
        Ok(Some(IndexChecksums { offsets, times: crc32fast::hash(&times) }))
    }

    fn read_offset_index(&self, checksums: IndexChecksums) -> io::Result<Option<OffsetIndex>> {
        let stored = read_file(&*self.disk, &self.path(FileKind::OffsetIndex), INDEX_BYTES_MAX)?;
        let intact = stored.filter(|bytes| crc32fast::hash(bytes) == checksums.offsets);
        Ok(intact.and_then(|bytes| OffsetIndex::decode(&bytes, self.published())))
    }

    fn read_time_index(&self, checksums: IndexChecksums) -> io::Result<Option<TimeIndex>> {
        let stored = read_file(&*self.disk, &self.path(FileKind::TimeIndex), INDEX_BYTES_MAX)?;
        let intact = stored.filter(|bytes| crc32fast::hash(bytes) == checksums.times);
        Ok(intact.and_then(|bytes| TimeIndex::decode(&bytes)))
    }

    fn rebuild_offset_index(self: &Arc<Segment>) -> Result<OffsetIndex, WalkError> {
        let open = self.open()?;
        let mut index = OffsetIndex::default();
        let mut next_entry = REBUILT_INTERVAL_BYTES;
        let mut walk = HeaderWalk::new(&*open.file, Access::Blocking, 0, self.published());
        while let Some(found) = walk.next()? {
            if found.position < next_entry {
                continue;
            }
            let last_offset = Offset::try_from(found.header.last_offset()).unwrap_or_default();
            let relative_offset = u32::try_from(last_offset.since(self.base_offset));
            let position = u32::try_from(found.position);
            let (Ok(relative_offset), Ok(position)) = (relative_offset, position) else { break };
            index.push(IndexEntry { relative_offset, position });
            next_entry = found.position + REBUILT_INTERVAL_BYTES;
        }
        Ok(index)
    }
}

/// Replaces a derived file's content. Not atomic: whoever reads it checks it.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Create)?;
    file.set_length(0)?;
    file.write_at(content, &[], 0)
}
