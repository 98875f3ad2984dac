//! Searching a record by time. Blocking: it reads and decodes batches.

use std::io;
use std::sync::Arc;

use weir_model::batch::RecordBatch;
use weir_model::ids::LogEpoch;
use weir_model::limits::DecodeLimits;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::error::ReadError;
use crate::local::partition::{Health, Partition};
use crate::local::row::Mark;
use crate::local::scan::{Access, Found, HeaderWalk, WalkError};
use crate::local::segment::Segment;
use crate::log::{FoundRecord, Lookup};

impl Partition {
    /// See [`Log::lookup`](crate::log::Log::lookup).
    pub(crate) fn lookup(&self, lookup: Lookup) -> Result<Option<FoundRecord>, ReadError> {
        let search = {
            let state = self.lock_open()?;
            if state.health == Health::Gone {
                return Err(ReadError::UnknownPartition);
            }
            let log_start = self.progress.watermarks().log_start;
            let visible = state.visible(&self.progress);
            if state.segments.is_empty() && log_start < visible.offset {
                return Err(ReadError::Corrupt { at: log_start });
            }
            Search { log_start, visible, segments: state.segments.clone() }
        };
        let found = match lookup {
            Lookup::AtTime(timestamp) => search.first_at(timestamp),
            Lookup::LargestTimestamp => search.largest(),
        };
        found.map_err(|cause| match cause {
            WalkError::Invalid { .. } => ReadError::Corrupt { at: search.log_start },
            WalkError::Io(cause) => ReadError::Io(cause.to_string()),
            WalkError::NotResident => ReadError::Io("not in memory".to_owned()),
        })
    }
}

struct Search {
    log_start: Offset,
    visible: Mark,
    segments: Vec<Arc<Segment>>,
}

impl Search {
    /// The first visible record at or after `timestamp`.
    fn first_at(&self, timestamp: Timestamp) -> Result<Option<FoundRecord>, WalkError> {
        for segment in self.visible_segments() {
            if segment.summary().max_timestamp < timestamp {
                continue;
            }
            let start = segment.time_search_start(timestamp)?;
            let mut found = None;
            self.walk(segment, start, |batch| {
                if batch.header.max_timestamp >= timestamp {
                    found = self.record_in(segment, batch, |time| time >= timestamp)?;
                }
                Ok(found.is_none())
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first visible record with the largest timestamp.
    fn largest(&self) -> Result<Option<FoundRecord>, WalkError> {
        // Segments tell their largest at once, except the one that is visible in part.
        let mut largest: Option<Timestamp> = None;
        for segment in self.visible_segments() {
            if segment.base_offset >= self.log_start && segment.base_offset < self.visible.segment {
                largest = largest.max(Some(segment.summary().max_timestamp));
                continue;
            }
            self.walk(segment, self.log_start.max(segment.base_offset), |batch| {
                largest = largest.max(Some(batch.header.max_timestamp));
                Ok(true)
            })?;
        }
        match largest {
            Some(largest) => self.first_at(largest),
            None => Ok(None),
        }
    }

    fn visible_segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter().filter(|segment| {
            segment.base_offset <= self.visible.segment
                && segment.summary().next_offset > self.log_start
        })
    }

    /// Shows the visible batches of a segment from the one that holds `from`, while `look` wants
    /// more.
    fn walk(
        &self,
        segment: &Arc<Segment>,
        from: Offset,
        mut look: impl FnMut(&Found) -> Result<bool, WalkError>,
    ) -> Result<(), WalkError> {
        let limit = if segment.base_offset == self.visible.segment {
            self.visible.position
        } else {
            segment.published()
        };
        let start = segment.walk_start(from, Access::Blocking)?;
        let open = segment.open()?;
        let mut walk = HeaderWalk::new(&*open.file, Access::Blocking, start, limit);
        while let Some(found) = walk.next()? {
            let is_wanted = found.header.last_offset() >= from.max(self.log_start).as_i64();
            if is_wanted && !look(&found)? {
                break;
            }
        }
        Ok(())
    }

    /// The first record of a batch, not below the log start, whose time `fits`.
    fn record_in(
        &self,
        segment: &Arc<Segment>,
        found: &Found,
        fits: impl Fn(Timestamp) -> bool,
    ) -> Result<Option<FoundRecord>, WalkError> {
        let invalid = || WalkError::Invalid { position: found.position };
        let mut bytes = vec![0; found.header.batch_bytes()];
        if segment.open()?.file.read_at(&mut bytes, found.position)? < bytes.len() {
            return Err(WalkError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let batch = RecordBatch::parse(bytes.into()).map_err(|_| invalid())?;
        let base = Offset::try_from(found.header.base_offset).map_err(|_| invalid())?;
        let epoch = u32::try_from(found.header.leader_epoch).ok().and_then(LogEpoch::new);
        // A client may have sent records that cannot be read; they are stored as they came, and
        // have no times to search for.
        let Ok(records) = batch.records(&DecodeLimits::default()) else { return Ok(None) };
        for record in records {
            let Ok(record) = record else { return Ok(None) };
            let offset = base.plus(u64::from(record.offset_delta.unsigned_abs()));
            if offset >= self.log_start && fits(record.timestamp) {
                let epoch = epoch.unwrap_or(LogEpoch::ZERO);
                return Ok(Some(FoundRecord { offset, timestamp: record.timestamp, epoch }));
            }
        }
        Ok(None)
    }
}
