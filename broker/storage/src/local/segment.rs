//! One segment of a partition: a log file, the part of it that readers may see, and its indexes.
//!
//! ```text
//!   0            published            allocated
//!   |  batches       |   zeros            |          <base20>.log
//!   +----------------+--------------------+
//!      read by many    written by one, under the partition's lock
//! ```
//!
//! Published bytes never change and never go away while an `Arc<Segment>` lives: files are unlinked
//! whole, after the reader's segment was opened, and are never used again for something else.
//!
//! The open file is a cache entry ([`OpenFiles`]); a segment that nobody reads holds no descriptor,
//! no map and, once it is stored, no index in memory. One with unflushed bytes stays open, since a
//! failed write-back is only reported to a descriptor that was open then.
//!
//! What lies beside the log file is in [`stored`](super::stored), reading it in
//! [`segment_range`](super::segment_range).

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use weir_model::batch::BatchHeader;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::local::layout::{FileKind, file_name};
use crate::local::map::Map;
use crate::local::offset_index::{IndexEntry, OffsetIndex};
use crate::local::open_files::OpenFiles;
use crate::local::scan::{Access, WalkError};
use crate::local::seal::{IndexChecksums, Summary};
use crate::local::time_index::{TimeEntry, TimeIndex};

/// A segment; see the module's text.
#[derive(Debug)]
pub(crate) struct Segment {
    pub base_offset: Offset,
    pub(super) disk: Arc<dyn Disk>,
    directory: Arc<Path>,
    open_files: Arc<OpenFiles>,
    pub(super) published: AtomicU64,
    /// Bytes are unflushed, or the name is gone: the open file must be kept.
    pinned: AtomicBool,
    /// Read since the cache last looked for something to close.
    used: AtomicBool,
    open: Mutex<Option<Arc<OpenFile>>>,
    pub(super) content: Mutex<Content>,
}

/// What is known about the published part.
#[derive(Debug)]
pub(super) struct Content {
    pub next_offset: Offset,
    pub record_count: u64,
    pub max_timestamp: Timestamp,
    pub max_timestamp_offset: u32,
    first_timestamp: Option<Timestamp>,
    pub(super) indexes: Indexes,
}

/// Where a segment's indexes are.
#[derive(Debug)]
pub(super) enum Indexes {
    /// In memory, growing with the segment or not stored yet.
    Live(LiveIndexes),
    /// In files, which have these checksums.
    Stored(IndexChecksums),
}

#[derive(Debug, Default)]
pub(super) struct LiveIndexes {
    pub offsets: OffsetIndex,
    pub times: TimeIndex,
    pub bytes_since_entry: u64,
}

/// An open log file, its map if there is one, and its stored index once somebody searched in it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub file: Arc<dyn DiskFile>,
    pub(super) map: Mutex<Option<Arc<Map>>>,
    pub(super) stored_index: OnceLock<OffsetIndex>,
}

impl Segment {
    /// An empty segment whose indexes grow with it.
    pub(crate) fn empty(
        base_offset: Offset,
        directory: &Arc<Path>,
        disk: &Arc<dyn Disk>,
        open_files: &Arc<OpenFiles>,
    ) -> Arc<Segment> {
        Arc::new(Segment {
            base_offset,
            disk: Arc::clone(disk),
            directory: Arc::clone(directory),
            open_files: Arc::clone(open_files),
            published: AtomicU64::new(0),
            pinned: AtomicBool::new(false),
            used: AtomicBool::new(false),
            open: Mutex::default(),
            content: Mutex::new(Content::empty(base_offset)),
        })
    }

    /// Bytes that readers may see.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// What the published part holds.
    pub(crate) fn summary(&self) -> Summary {
        let content = self.content.lock();
        Summary {
            length: self.published(),
            next_offset: content.next_offset,
            record_count: content.record_count,
            max_timestamp: content.max_timestamp,
        }
    }

    /// Largest timestamp of its first batch, if that was seen since start.
    pub(crate) fn first_timestamp(&self) -> Option<Timestamp> {
        self.content.lock().first_timestamp
    }

    /// Publishes a batch that was written at the published end. Under the partition's lock.
    pub(crate) fn publish(&self, header: &BatchHeader, index_interval_bytes: u32) {
        let batch_bytes = header.batch_bytes() as u64;
        let position = self.published();
        let last_offset = Offset::try_from(header.last_offset()).expect("a stored offset");
        let relative_offset = u32::try_from(last_offset.since(self.base_offset))
            .expect("a segment is rolled before relative offsets overflow");
        let mut content = self.content.lock();
        assert!(last_offset >= content.next_offset, "a batch published before its predecessor");
        content.next_offset = last_offset.next();
        content.record_count += u64::from(header.record_count.unsigned_abs());
        content.first_timestamp.get_or_insert(header.max_timestamp);
        if header.max_timestamp > content.max_timestamp {
            content.max_timestamp = header.max_timestamp;
            content.max_timestamp_offset = relative_offset;
        }
        let time = content.time_entry();
        if let Indexes::Live(live) = &mut content.indexes {
            if live.bytes_since_entry > u64::from(index_interval_bytes) {
                let position = u32::try_from(position).expect("a segment is below 2 GiB");
                live.offsets.push(IndexEntry { relative_offset, position });
                live.times.push_if_later(time);
                live.bytes_since_entry = 0;
            }
            live.bytes_since_entry += batch_bytes;
        }
        drop(content);
        self.published.store(position + batch_bytes, Ordering::Release);
    }

    /// The open file, opened if it is not.
    pub(crate) fn open(self: &Arc<Segment>) -> io::Result<Arc<OpenFile>> {
        self.used.store(true, Ordering::Relaxed);
        let mut slot = self.open.lock();
        if let Some(open) = &*slot {
            return Ok(Arc::clone(open));
        }
        let path = self.path(FileKind::Log);
        let file = self.disk.open(&path, OpenMode::Existing)?;
        Ok(self.keep_open(&mut slot, file))
    }

    /// Creates the log file. Whatever a failed attempt left under the name is dropped.
    pub(crate) fn create(self: &Arc<Segment>) -> io::Result<()> {
        let file = self.disk.open(&self.path(FileKind::Log), OpenMode::Create)?;
        file.set_length(0)?;
        self.keep_open(&mut self.open.lock(), file);
        Ok(())
    }

    fn keep_open(
        self: &Arc<Segment>,
        slot: &mut Option<Arc<OpenFile>>,
        file: Arc<dyn DiskFile>,
    ) -> Arc<OpenFile> {
        let open =
            Arc::new(OpenFile { file, map: Mutex::default(), stored_index: OnceLock::new() });
        *slot = Some(Arc::clone(&open));
        self.open_files.admit(self);
        open
    }

    /// Whether the open file must be kept: bytes are unflushed or the name is about to go.
    pub(crate) fn pin(&self, pinned: bool) {
        self.pinned.store(pinned, Ordering::Relaxed);
    }

    /// Closes the file unless it must be kept or was used since the last call.
    pub(super) fn close_if_idle(&self) -> bool {
        if self.pinned.load(Ordering::Relaxed) || self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.open.try_lock().is_some_and(|mut open| open.take().is_some())
    }

    /// Opens the file for readers that still hold the segment, before its name goes.
    pub(crate) fn keep_for_readers(self: &Arc<Segment>) -> io::Result<()> {
        if Arc::strong_count(self) > 1 {
            self.pin(true);
            match self.open() {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets all that was published, before the segment is walked anew. Nobody reads it yet.
    pub(crate) fn clear(&self) {
        self.published.store(0, Ordering::Release);
        *self.content.lock() = Content::empty(self.base_offset);
    }

    pub(crate) fn path(&self, kind: FileKind) -> std::path::PathBuf {
        self.directory.join(file_name(self.base_offset, kind))
    }

    /// Where to begin the walk to the batch that holds `offset`.
    pub(crate) fn walk_start(
        self: &Arc<Segment>,
        offset: Offset,
        access: Access,
    ) -> Result<u64, WalkError> {
        let relative = offset.since(self.base_offset);
        self.search_index(access, |index| index.position_for(relative))
    }

    /// A batch's beginning at or before `position`.
    pub(crate) fn batch_start_before(
        self: &Arc<Segment>,
        position: u64,
        access: Access,
    ) -> Result<u64, WalkError> {
        self.search_index(access, |index| index.batch_start_before(position))
    }

    /// The next beginning of a batch behind `position` that the index knows. May wait for the disk.
    pub(crate) fn batch_start_behind(self: &Arc<Segment>, position: u64) -> Option<u64> {
        let next = self.search_index(Access::Blocking, |index| {
            index.batch_start_behind(position).unwrap_or(u64::MAX)
        });
        // Without an index nothing is known, and what lies there is damaged anyway.
        next.ok().filter(|next| *next < u64::MAX)
    }
}

impl Content {
    fn empty(base_offset: Offset) -> Content {
        Content {
            next_offset: base_offset,
            record_count: 0,
            max_timestamp: Timestamp::NONE,
            max_timestamp_offset: 0,
            first_timestamp: None,
            indexes: Indexes::Live(LiveIndexes::default()),
        }
    }

    /// The time index's entry for all that is published.
    pub(super) fn time_entry(&self) -> TimeEntry {
        TimeEntry { timestamp: self.max_timestamp, relative_offset: self.max_timestamp_offset }
    }
}
