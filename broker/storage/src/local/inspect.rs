//! Showing what a partition is made of; see [`crate::inspect`]. Blocking: it reads files, whole
//! batches among them.
//!
//! A walk does not end at damage: what is no batch is shown as far as the next beginning of one
//! that the segment's index knows, and the walk goes on there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use weir_model::batch::{BatchError, BatchHeader, HEADER_BYTES, RecordBatch};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::disk::{DiskFile, EntryKind};
use crate::error::ReadError;
use crate::inspect::{
    BatchBytes, BatchFault, BatchPage, BatchPlace, BatchView, FileView, IndexEntryView, IndexKind,
    IndexPage, RUBBLE_BYTES_MAX, SegmentState, SegmentView, WantedBatch,
};
use crate::local::layout::{FileKind, file_name, parse_file_name};
use crate::local::partition::{Health, Partition};
use crate::local::scan::{Access, HeaderWalk, WalkError};
use crate::local::segment::Segment;

/// Bytes of batches after which a page is full.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// A segment and how far readers see into it.
struct Shown {
    segment: Arc<Segment>,
    /// Where readers stop.
    end: u64,
    /// The file may hold more behind that, since the partition is damaged there.
    is_damaged: bool,
    is_active: bool,
}

impl Partition {
    /// The segments that readers see something of, from the first that begins at or behind `from`.
    pub(crate) fn segments(
        &self,
        from: Offset,
        count_max: usize,
    ) -> Result<Vec<SegmentView>, ReadError> {
        let shown = self.shown(|segment| segment.base_offset >= from, count_max)?;
        let mut files = self.files()?;
        let view = |shown: &Shown| {
            let mut files = files.remove(&shown.segment.base_offset).unwrap_or_default();
            files.sort_by_key(|(kind, _)| *kind != FileKind::Log);
            shown.view(files.into_iter().map(|(_, file)| file).collect())
        };
        shown.iter().map(view).collect()
    }

    /// Batches of a segment from a position on, and what is no batch.
    pub(crate) fn batches(
        &self,
        place: BatchPlace,
        count_max: usize,
    ) -> Result<BatchPage, ReadError> {
        let shown = self.shown_segment(place.segment)?;
        let open = shown.segment.open()?;
        let end = shown.file_end(&*open.file)?;
        let mut page = BatchPage::default();
        let mut position = place.position;
        while position < end {
            let is_full = position - place.position >= PAGE_BYTES_MAX;
            if page.batches.len() >= count_max || is_full {
                page.next_position = Some(position);
                break;
            }
            let Some((view, _)) = shown.batch_at(&*open.file, position, end)? else { break };
            position += view.bytes;
            page.batches.push(view);
        }
        Ok(page)
    }

    /// One batch with its bytes.
    pub(crate) fn batch(&self, wanted: WantedBatch) -> Result<BatchBytes, ReadError> {
        let (shown, position) = match wanted {
            WantedBatch::At(place) => (self.shown_segment(place.segment)?, place.position),
            WantedBatch::Holding(offset) => self.find(offset)?,
        };
        let open = shown.segment.open()?;
        let end = shown.file_end(&*open.file)?;
        let found = match position < end {
            true => shown.batch_at(&*open.file, position, end)?,
            false => None,
        };
        let (view, bytes) = found.ok_or_else(|| self.out_of_range())?;
        let is_trimmed = |header: BatchHeader| {
            header.last_offset() < self.progress.watermarks().log_start.as_i64()
        };
        if view.fault.is_none() && view.header.is_some_and(is_trimmed) {
            return Err(self.out_of_range());
        }
        let place = BatchPlace { segment: shown.segment.base_offset, position };
        Ok(BatchBytes { place, view, bytes })
    }

    /// Entries of a segment's index.
    pub(crate) fn index_entries(
        &self,
        segment: Offset,
        kind: IndexKind,
        skipped: usize,
        count_max: usize,
    ) -> Result<IndexPage, ReadError> {
        let shown = self.shown_segment(segment)?;
        let (entries, state) = shown.segment.index_views(kind)?;
        let is_shown = |entry: &IndexEntryView| match entry {
            IndexEntryView::Offset { position, .. } => *position < shown.end,
            IndexEntryView::Time { offset, .. } => {
                *offset < self.progress.watermarks().high_watermark
            }
        };
        let entries: Vec<_> = entries.into_iter().filter(is_shown).collect();
        let entry_count = entries.len() as u64;
        let entries = entries.into_iter().skip(skipped).take(count_max).collect();
        Ok(IndexPage { entries, entry_count, state })
    }

    /// Takes down segments that readers see something of.
    fn shown(
        &self,
        is_wanted: impl Fn(&Segment) -> bool,
        count_max: usize,
    ) -> Result<Vec<Shown>, ReadError> {
        let state = self.lock_open()?;
        if state.health == Health::Gone {
            return Err(ReadError::UnknownPartition);
        }
        let visible = state.visible(&self.progress);
        let active = state.segments.last().map(|segment| segment.base_offset);
        let of_segment = |segment: &Arc<Segment>| Shown {
            segment: Arc::clone(segment),
            end: match segment.base_offset == visible.segment {
                true => visible.position.min(segment.published()),
                false => segment.published(),
            },
            is_damaged: state.health == Health::Damaged && Some(segment.base_offset) == active,
            is_active: state.health != Health::Damaged && Some(segment.base_offset) == active,
        };
        let seen = state.segments.iter().filter(|s| s.base_offset <= visible.segment);
        let wanted = seen.filter(|segment| is_wanted(segment));
        Ok(wanted.take(count_max).map(of_segment).collect())
    }

    fn shown_segment(&self, base_offset: Offset) -> Result<Shown, ReadError> {
        let found = self.shown(|segment| segment.base_offset == base_offset, 1)?;
        found.into_iter().next().ok_or_else(|| self.out_of_range())
    }

    /// The segment and the position of the batch that holds an offset.
    fn find(&self, offset: Offset) -> Result<(Shown, u64), ReadError> {
        let marks = self.progress.watermarks();
        if offset < marks.log_start || offset >= marks.high_watermark {
            return Err(self.out_of_range());
        }
        let shown = self.shown(|segment| segment.base_offset <= offset, usize::MAX)?;
        let shown = shown.into_iter().next_back().ok_or_else(|| self.out_of_range())?;
        let failed = |cause| match cause {
            WalkError::Io(cause) => ReadError::Io(cause.to_string()),
            WalkError::Invalid { .. } | WalkError::NotResident => ReadError::Corrupt { at: offset },
        };
        let start = shown.segment.walk_start(offset, Access::Blocking).map_err(failed)?;
        let open = shown.segment.open()?;
        let mut walk = HeaderWalk::new(&*open.file, Access::Blocking, start, shown.end);
        loop {
            match walk.next() {
                Ok(Some(found)) if found.header.last_offset() < offset.as_i64() => {}
                Ok(Some(found)) => return Ok((shown, found.position)),
                // What hides it is shown in its place.
                Err(WalkError::Invalid { position }) => return Ok((shown, position)),
                Err(cause) => return Err(failed(cause)),
                // Compaction took the batch.
                Ok(None) => return Err(self.out_of_range()),
            }
        }
    }

    fn out_of_range(&self) -> ReadError {
        let marks = self.progress.watermarks();
        ReadError::OutOfRange { log_start: marks.log_start, log_end: marks.high_watermark }
    }

    /// The files of each segment.
    fn files(&self) -> Result<BTreeMap<Offset, Vec<(FileKind, FileView)>>, ReadError> {
        let listed = match self.shared.disk.list(&self.directory) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let mut files: BTreeMap<Offset, Vec<_>> = BTreeMap::new();
        for entry in listed {
            if let (Some((base, kind)), EntryKind::File(bytes)) =
                (parse_file_name(&entry.name), entry.kind)
            {
                let file = FileView { name: file_name(base, kind), bytes };
                files.entry(base).or_default().push((kind, file));
            }
        }
        Ok(files)
    }
}

impl Shown {
    fn view(&self, files: Vec<FileView>) -> Result<SegmentView, ReadError> {
        let summary = self.segment.summary();
        let is_stored = self.segment.is_stored();
        let known = |timestamp| Some(timestamp).filter(|time| *time != Timestamp::NONE);
        Ok(SegmentView {
            base_offset: self.segment.base_offset,
            next_offset: summary.next_offset,
            bytes: summary.length,
            readable_bytes: self.end,
            record_count: summary.record_count,
            first_timestamp: self.first_timestamp()?.and_then(known),
            max_timestamp: known(summary.max_timestamp),
            state: match (self.is_active, is_stored) {
                (true, _) => SegmentState::Active,
                (false, true) => SegmentState::Sealed,
                (false, false) => SegmentState::Full,
            },
            files,
        })
    }

    fn first_timestamp(&self) -> io::Result<Option<Timestamp>> {
        if self.end == 0 {
            return Ok(None);
        }
        let open = self.segment.open()?;
        let mut walk = HeaderWalk::new(&*open.file, Access::Blocking, 0, self.end);
        match walk.next() {
            Ok(first) => Ok(first.map(|found| found.header.max_timestamp)),
            // Shown as damage where its batches are.
            Err(WalkError::Invalid { .. } | WalkError::NotResident) => Ok(None),
            Err(WalkError::Io(cause)) => Err(cause),
        }
    }

    /// How far the file is looked at: readers stop at damage, whoever looks for it does not.
    fn file_end(&self, file: &dyn DiskFile) -> io::Result<u64> {
        match self.is_damaged {
            true => Ok(file.length()?.max(self.end)),
            false => Ok(self.end),
        }
    }

    /// What begins at a position before `end`; none where a damaged segment has room only.
    fn batch_at(
        &self,
        file: &dyn DiskFile,
        position: u64,
        end: u64,
    ) -> io::Result<Option<(BatchView, Bytes)>> {
        let head = read(file, position, (HEADER_BYTES as u64).min(end - position))?;
        if position >= self.end && head.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = match BatchHeader::peek(&head) {
            Ok(header) if header.batch_bytes() as u64 > end - position => {
                let found_bytes = usize::try_from(end - position).unwrap_or(usize::MAX);
                Err(BatchError::Incomplete { needed_bytes: header.batch_bytes(), found_bytes })
            }
            peeked => peeked,
        };
        let fault = match header {
            Ok(header) => {
                // Of a length that was checked against what there is of the segment.
                let bytes = read(file, position, header.batch_bytes() as u64)?;
                match RecordBatch::parse(bytes.clone()) {
                    Ok(batch) => return Ok(Some((self.judged(position, &batch), bytes))),
                    Err(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        let next = self.segment.batch_start_behind(position).filter(|next| *next < end);
        let view = BatchView::rubble(position, next.unwrap_or(end), &head, fault);
        let bytes = read(file, position, view.bytes.min(RUBBLE_BYTES_MAX))?;
        Ok(Some((view, bytes)))
    }
}

impl Shown {
    /// A whole batch, held against the offsets of its segment.
    fn judged(&self, position: u64, batch: &RecordBatch) -> BatchView {
        let mut view = BatchView::of(position, batch);
        let header = batch.header();
        let behind_damage = position >= self.end;
        let is_in_place = Offset::try_from(header.base_offset).is_ok_and(|base| {
            let end = self.segment.summary().next_offset;
            base >= self.segment.base_offset && (behind_damage || base < end)
        });
        if !is_in_place && view.fault.is_none() {
            view.fault = Some(BatchFault::OutOfPlace);
        }
        view
    }
}

fn read(file: &dyn DiskFile, position: u64, bytes: u64) -> io::Result<Bytes> {
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    let mut read = vec![0; bytes];
    let count = file.read_at(&mut read, position)?;
    read.truncate(count);
    Ok(read.into())
}
