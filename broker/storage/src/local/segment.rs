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

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use weir_model::batch::BatchHeader;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::disk::{Disk, DiskFile, OpenMode, read_file};
use crate::error::ReadError;
use crate::local::layout::{FileKind, file_name};
use crate::local::map::Map;
use crate::local::offset_index::{IndexEntry, OffsetIndex};
use crate::local::scan::{Access, WalkError};
use crate::local::seal::Summary;
use crate::local::time_index::{TimeEntry, TimeIndex};

/// An index of a segment of 2 GiB, with an entry for every batch, is below this many bytes.
const INDEX_BYTES_MAX: usize = 512 << 20;

/// A segment; see the module's text.
#[derive(Debug)]
pub(crate) struct Segment {
    pub base_offset: Offset,
    disk: Arc<dyn Disk>,
    directory: Arc<Path>,
    open_files: Arc<OpenFiles>,
    published: AtomicU64,
    /// Bytes are unflushed, or the name is gone: the open file must be kept.
    pinned: AtomicBool,
    /// Read since the cache last looked for something to close.
    used: AtomicBool,
    open: Mutex<Option<Arc<OpenFile>>>,
    content: Mutex<Content>,
}

/// What is known about the published part.
#[derive(Debug)]
struct Content {
    next_offset: Offset,
    record_count: u64,
    max_timestamp: Timestamp,
    max_timestamp_offset: u32,
    first_timestamp: Option<Timestamp>,
    /// In memory until they are stored.
    live: Option<LiveIndexes>,
}

#[derive(Debug, Default)]
struct LiveIndexes {
    offsets: OffsetIndex,
    times: TimeIndex,
    bytes_since_entry: u64,
}

/// An open log file, its map if there is one, and its stored index once somebody searched in it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub file: Arc<dyn DiskFile>,
    map: Mutex<Option<Arc<Map>>>,
    stored_index: OnceLock<OffsetIndex>,
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

    /// Makes an empty segment one that was stored earlier; its index is read when it is needed.
    pub(crate) fn restore(&self, summary: &Summary) {
        let mut content = self.content.lock();
        content.next_offset = summary.next_offset;
        content.record_count = summary.record_count;
        content.max_timestamp = summary.max_timestamp;
        content.live = None;
        self.published.store(summary.length, Ordering::Release);
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
        if let Some(live) = &mut content.live {
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

    fn close_if_idle(&self) -> bool {
        if self.pinned.load(Ordering::Relaxed) || self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.open.try_lock().is_some_and(|mut open| open.take().is_some())
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

    fn search_index(
        self: &Arc<Segment>,
        access: Access,
        search: impl Fn(&OffsetIndex) -> u64,
    ) -> Result<u64, WalkError> {
        if let Some(live) = &self.content.lock().live {
            return Ok(search(&live.offsets));
        }
        let open = self.open()?;
        if let Some(index) = open.stored_index.get() {
            return Ok(search(index));
        }
        if access == Access::Resident {
            return Err(WalkError::NotResident);
        }
        let path = self.path(FileKind::OffsetIndex);
        let stored = read_file(&*self.disk, &path, INDEX_BYTES_MAX)?;
        let index = stored.and_then(|bytes| OffsetIndex::decode(&bytes, self.published()));
        // Without a usable index every walk begins at the front; recovery writes a new one.
        Ok(search(open.stored_index.get_or_init(|| index.unwrap_or_default())))
    }

    /// Where records at or after `timestamp` can begin: an offset at or before the first of them.
    pub(crate) fn time_search_start(&self, timestamp: Timestamp) -> Result<Offset, WalkError> {
        let search = |times: &TimeIndex| match times.offset_before(timestamp) {
            Some(relative) => self.base_offset.plus(u64::from(relative) + 1),
            None => self.base_offset,
        };
        if let Some(live) = &self.content.lock().live {
            return Ok(search(&live.times));
        }
        let stored = read_file(&*self.disk, &self.path(FileKind::TimeIndex), INDEX_BYTES_MAX)?;
        let index = stored.and_then(|bytes| TimeIndex::decode(&bytes));
        Ok(index.map_or(self.base_offset, |index| search(&index)))
    }

    /// Writes the indexes and the seal beside a finished segment, and takes the indexes out of
    /// memory. Called once its bytes are flushed; nothing here needs a flush, all can be rebuilt.
    pub(crate) fn store(self: &Arc<Segment>) -> io::Result<()> {
        let open = self.open()?;
        let summary = self.summary();
        // The length that a roll leaves is the published one; recovery does not depend on it.
        open.file.set_length(summary.length)?;
        self.store_indexes()?;
        let seal = summary.seal(&*open.file)?;
        write_whole(&*self.disk, &self.path(FileKind::Seal), &seal)?;
        self.content.lock().live = None;
        Ok(())
    }

    /// Writes what lets the next start take this growing segment up without walking it.
    pub(crate) fn store_for_restart(&self) -> io::Result<()> {
        self.store_indexes()?;
        // Its checksums come when it is finished.
        write_whole(&*self.disk, &self.path(FileKind::Seal), &self.summary().encode())
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

    /// Writes the indexes as they are now.
    fn store_indexes(&self) -> io::Result<()> {
        let (offsets, times) = {
            let mut content = self.content.lock();
            let time = content.time_entry();
            let has_records = content.record_count > 0;
            let Some(live) = &mut content.live else { return Ok(()) };
            let mut times = live.times.clone();
            if has_records {
                times.push_if_later(time);
            }
            (live.offsets.encode(), times.encode())
        };
        write_whole(&*self.disk, &self.path(FileKind::OffsetIndex), &offsets)?;
        write_whole(&*self.disk, &self.path(FileKind::TimeIndex), &times)
    }

    /// Forgets all that was published, before the segment is walked anew. Nobody reads it yet.
    pub(crate) fn clear(&self) {
        self.published.store(0, Ordering::Release);
        *self.content.lock() = Content::empty(self.base_offset);
    }

    /// Takes up the stored indexes of a segment that goes on growing; false if they are not there.
    pub(crate) fn load_live_indexes(&self) -> io::Result<bool> {
        let offsets = read_file(&*self.disk, &self.path(FileKind::OffsetIndex), INDEX_BYTES_MAX)?;
        let times = read_file(&*self.disk, &self.path(FileKind::TimeIndex), INDEX_BYTES_MAX)?;
        let offsets = offsets.and_then(|bytes| OffsetIndex::decode(&bytes, self.published()));
        let times = times.and_then(|bytes| TimeIndex::decode(&bytes));
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(false) };
        let bytes_since_entry = self.published() - offsets.batch_start_before(u64::MAX);
        let mut content = self.content.lock();
        content.max_timestamp_offset = times.last_relative_offset().unwrap_or(0);
        content.live = Some(LiveIndexes { offsets, times, bytes_since_entry });
        Ok(true)
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
            live: Some(LiveIndexes::default()),
        }
    }

    fn time_entry(&self) -> TimeEntry {
        TimeEntry { timestamp: self.max_timestamp, relative_offset: self.max_timestamp_offset }
    }
}

/// Replaces a derived file's content. Not atomic: whoever reads it checks it.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Create)?;
    file.set_length(0)?;
    file.write_at(content, &[], 0)
}

/// The published range of a segment that a read plan names.
#[derive(Clone, Debug)]
pub struct SegmentRange {
    segment: Arc<Segment>,
    position: u64,
    length: usize,
}

/// How far apart residency is asked for: the kernel reads ahead and evicts in larger steps.
const RESIDENCY_STEP_BYTES: usize = 64 << 10;

impl SegmentRange {
    /// `length` published bytes from `position` on.
    pub(crate) fn new(segment: Arc<Segment>, position: u64, length: usize) -> SegmentRange {
        assert!(
            position + length as u64 <= segment.published(),
            "a range past the published end would show bytes that are still being written"
        );
        SegmentRange { segment, position, length }
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// `length` of its bytes from its byte `from` on.
    pub(crate) fn piece(&self, from: usize, length: usize) -> SegmentRange {
        assert!(from + length <= self.length, "a piece that reaches past its range");
        let position = self.position + from as u64;
        SegmentRange { segment: Arc::clone(&self.segment), position, length }
    }

    /// The bytes, if they are in memory: a slice of the map, nothing copied.
    pub fn resident(&self) -> Option<Bytes> {
        let open = self.segment.open().ok()?;
        if !self.is_resident(&*open.file) {
            return None;
        }
        match self.mapped(&open) {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => {
                let mut bytes = vec![0; self.length];
                let read = open.file.read_resident_at(&mut bytes, self.position).ok()?;
                (read == Some(self.length)).then(|| bytes.into())
            }
            Err(_) => None,
        }
    }

    /// The bytes; a cold range is read by a blocking thread.
    pub async fn load(&self) -> Result<Bytes, ReadError> {
        if let Some(bytes) = self.resident() {
            return Ok(bytes);
        }
        let range = self.clone();
        let reading = tokio::task::spawn_blocking(move || range.read());
        let read = reading.await.map_err(io::Error::other).flatten();
        read.map_err(|error| ReadError::Io(error.to_string()))
    }

    fn read(&self) -> io::Result<Bytes> {
        let open = self.segment.open()?;
        let mut bytes = vec![0; self.length];
        if open.file.read_at(&mut bytes, self.position)? < self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }

    fn is_resident(&self, file: &dyn DiskFile) -> bool {
        let last = self.length.saturating_sub(1);
        let mut byte = [0];
        (0..last).step_by(RESIDENCY_STEP_BYTES).chain([last]).all(|skipped| {
            let position = self.position + skipped as u64;
            matches!(file.read_resident_at(&mut byte, position), Ok(Some(1)))
        })
    }

    fn mapped(&self, open: &OpenFile) -> io::Result<Option<Bytes>> {
        let start = usize::try_from(self.position).map_err(io::Error::other)?;
        let range = start..start + self.length;
        let mut slot = open.map.lock();
        if let Some(map) = &*slot
            && let Some(bytes) = map.window(range.clone())
        {
            return Ok(Some(bytes));
        }
        // The file is longer than what is published, so the map serves later reads too.
        let Some(map) = open.file.map(open.file.length()?)? else { return Ok(None) };
        let map = Arc::new(map);
        debug_assert!(map.length() >= range.end as u64, "published bytes are in the file");
        let bytes = map.window(range);
        *slot = Some(map);
        Ok(bytes)
    }
}

/// Bounds the open segment files, and with them the maps, of the whole log.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    limit: usize,
    /// In the order in which they were opened; those in use get a second turn.
    queue: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenFiles {
    pub(crate) fn with_limit(limit: usize) -> Arc<OpenFiles> {
        Arc::new(OpenFiles { limit, queue: Mutex::default() })
    }

    fn admit(&self, segment: &Arc<Segment>) {
        let mut queue = self.queue.lock();
        for _ in 0..queue.len() {
            if queue.len() < self.limit {
                break;
            }
            let Some(oldest) = queue.pop_front() else { break };
            let Some(candidate) = oldest.upgrade() else { continue };
            if !candidate.close_if_idle() {
                queue.push_back(oldest);
            }
        }
        queue.push_back(Arc::downgrade(segment));
    }
}
