//! Planning a read: which bytes of which segments, on batch boundaries, below what readers may see.
//!
//! The lock is held to copy a few references. Where the first batch stands and where the last one
//! ends is then found by an index look-up and a short walk over headers; when one of those pages is
//! on the disk only, the plan is finished by a blocking thread ([`ReadPlan::Later`]). Nothing but
//! headers is read here.

use std::sync::Arc;

use weir_model::offset::Offset;

use crate::error::ReadError;
use crate::local::partition::{Health, Partition};
use crate::local::row::Mark;
use crate::local::scan::{Access, Found, HeaderWalk, WalkError};
use crate::local::segment::Segment;
use crate::local::segment_range::SegmentRange;
use crate::read_plan::{Extent, OversizedFirst, Ranges, ReadPlan, ReadRequest};
use crate::watermarks::Watermarks;

impl Partition {
    /// Plans a read; see [`Log::read`](crate::log::Log::read).
    pub(crate) fn read(&self, request: ReadRequest) -> Result<ReadPlan, ReadError> {
        let Some(planning) = self.begin_read(request)? else {
            let watermarks = self.progress.watermarks();
            let next_offset = request.from;
            return Ok(ReadPlan::Now(Ranges { watermarks, next_offset, ..Ranges::default() }));
        };
        match planning.plan(Access::Resident) {
            Ok(ranges) => Ok(ReadPlan::Now(ranges)),
            Err(WalkError::NotResident) => Ok(ReadPlan::Later(Box::pin(async move {
                let planned = tokio::task::spawn_blocking(move || {
                    planning.plan(Access::Blocking).map_err(|cause| planning.error(cause))
                });
                planned.await.map_err(|cause| ReadError::Io(cause.to_string()))?
            }))),
            Err(cause) => Err(planning.error(cause)),
        }
    }

    /// Takes down what a plan needs; none if there is nothing to read yet.
    fn begin_read(&self, request: ReadRequest) -> Result<Option<Planning>, ReadError> {
        let state = self.lock_open()?;
        let watermarks = self.progress.watermarks();
        let Watermarks { log_start, log_end, .. } = watermarks;
        if state.health == Health::Gone {
            return Err(ReadError::UnknownPartition);
        }
        if request.from < log_start || request.from > log_end {
            return Err(ReadError::OutOfRange { log_start, log_end });
        }
        let visible = state.visible(&self.progress);
        if request.from >= visible.offset {
            let is_lost = state.health == Health::Damaged && request.from < log_end;
            return if is_lost { Err(ReadError::Corrupt { at: visible.offset }) } else { Ok(None) };
        }
        let after = state.segments.partition_point(|segment| segment.base_offset <= request.from);
        // Without a segment for it the files are missing, and waiting would bring nothing.
        let first = after.checked_sub(1).ok_or(ReadError::Corrupt { at: request.from })?;
        let mut segments = Vec::with_capacity(1);
        let mut bytes = 0;
        for segment in state.segments.iter().skip(first) {
            let is_visible = segment.base_offset <= visible.segment;
            // The first one counts for nothing: where in it the read begins is not known yet.
            if !is_visible || bytes > request.bytes_max as u64 {
                break;
            }
            if !segments.is_empty() {
                bytes += segment.published();
            }
            segments.push(Arc::clone(segment));
        }
        Ok(Some(Planning { request, watermarks, visible, segments }))
    }
}

/// What a plan is made from, without the lock.
struct Planning {
    request: ReadRequest,
    watermarks: Watermarks,
    visible: Mark,
    segments: Vec<Arc<Segment>>,
}

/// A run of whole batches of one segment.
struct Run {
    start: u64,
    end: u64,
    next_offset: Offset,
    /// The limit stopped it, not the end of the segment.
    is_cut: bool,
}

impl Planning {
    fn plan(&self, access: Access) -> Result<Ranges, WalkError> {
        let mut ranges = Ranges {
            watermarks: self.watermarks,
            next_offset: self.request.from,
            ..Ranges::default()
        };
        for segment in &self.segments {
            let run = self.run_in(segment, &ranges, access)?;
            if run.end > run.start {
                let length =
                    usize::try_from(run.end - run.start).expect("a segment is below 2 GiB");
                let range = SegmentRange::new(Arc::clone(segment), run.start, length);
                ranges.extents.push(Extent::Segment(range));
                ranges.bytes += length;
                ranges.next_offset = run.next_offset;
            }
            if run.is_cut {
                break;
            }
        }
        Ok(ranges)
    }

    /// The batches of one segment that still fit behind what `ranges` holds.
    fn run_in(
        &self,
        segment: &Arc<Segment>,
        ranges: &Ranges,
        access: Access,
    ) -> Result<Run, WalkError> {
        let (limit, end_offset) = if segment.base_offset == self.visible.segment {
            (self.visible.position, self.visible.offset)
        } else {
            let summary = segment.summary();
            (summary.length, summary.next_offset)
        };
        let is_first = ranges.extents.is_empty();
        let start = if is_first { self.find_start(segment, limit, access)? } else { 0 };
        let room = self.request.bytes_max.saturating_sub(ranges.bytes) as u64;
        if limit.saturating_sub(start) <= room {
            return Ok(Run { start, end: limit, next_offset: end_offset, is_cut: false });
        }
        let mut run = Run { start, end: start, next_offset: ranges.next_offset, is_cut: true };
        let open = segment.open()?;
        let known_start = segment.batch_start_before(start + room, access)?.max(start);
        let mut walk = HeaderWalk::new(&*open.file, access, known_start, limit);
        while let Some(found) = walk.next()? {
            let next_offset = self.later(found.header.last_offset().saturating_add(1), &found)?;
            if found.end - start <= room {
                run.end = found.end;
                run.next_offset = next_offset;
                continue;
            }
            let is_alone = is_first && found.position == start;
            if is_alone && self.request.oversized_first == OversizedFirst::Return {
                run.end = found.end;
                run.next_offset = next_offset;
            } else if run.end < found.position {
                // The walk began behind the last batch that fits.
                run.end = found.position;
                run.next_offset = self.later(found.header.base_offset, &found)?;
            }
            break;
        }
        Ok(run)
    }

    /// An offset that a header behind the requested one names. A damaged header must neither send
    /// the reader back, to read the same for ever, nor past what it may see.
    fn later(&self, raw: i64, found: &Found) -> Result<Offset, WalkError> {
        Offset::try_from(raw)
            .ok()
            .filter(|offset| *offset > self.request.from && *offset <= self.visible.offset)
            .ok_or(WalkError::Invalid { position: found.position })
    }

    /// Where the batch that holds the requested offset begins.
    fn find_start(
        &self,
        segment: &Arc<Segment>,
        limit: u64,
        access: Access,
    ) -> Result<u64, WalkError> {
        let from = self.request.from;
        if from == segment.base_offset {
            return Ok(0);
        }
        let known_start = segment.walk_start(from, access)?;
        let open = segment.open()?;
        let mut walk = HeaderWalk::new(&*open.file, access, known_start, limit);
        while let Some(found) = walk.next()? {
            if found.header.last_offset() >= from.as_i64() {
                return Ok(found.position);
            }
        }
        // Only when compaction took the last batches; the next segment goes on.
        Ok(limit)
    }

    fn error(&self, cause: WalkError) -> ReadError {
        match cause {
            WalkError::Invalid { .. } => ReadError::Corrupt { at: self.request.from },
            WalkError::Io(cause) => ReadError::Io(cause.to_string()),
            WalkError::NotResident => ReadError::Io("not in memory".to_owned()),
        }
    }
}
