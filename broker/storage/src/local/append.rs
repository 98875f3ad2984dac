//! Appending a batch: check, place, write, publish, under the partition's lock.
//!
//! One `pwritev` at the published end: the 61 bytes of header that placing made, and the producer's
//! payload as it came from the socket. Before it the file has room (`fallocate`, in steps that
//! double from 64 KiB to 16 MiB), so a full disk is an ordinary error before anything was written.

use std::io;
use std::sync::Arc;

use tracing::warn;
use weir_model::batch::{BatchHeader, PlacedBatch, Placement};
use weir_model::offset::{OFFSET_MAX, Offset};
use weir_model::time::Timestamp;

use crate::commit::{Append, Novelty, Outcome, Placed, Receipt, Stamp};
use crate::config::FlushPolicy;
use crate::disk::is_disk_full;
use crate::error::SubmitError;
use crate::local::directories::{Directory, DirectoryTicket};
use crate::local::partition::{FlushPhase, Health, Partition, State};
use crate::local::row::{EpochStart, Mark};
use crate::local::segment::Segment;
use crate::local::shared::Mutation;
use crate::producer_state::Verdict;

const ALLOCATION_STEP_MIN: u64 = 64 << 10;
const ALLOCATION_STEP_MAX: u64 = 16 << 20;
/// Positions in the offset index have 32 bits, and Kafka reads them as signed.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;
/// Under `os`, a flush is begun when a partition has this part of its bound unflushed.
const BACKGROUND_FLUSH_PART: u64 = 4;

impl Partition {
    /// Appends one batch, and asks for the flush that its policy wants.
    pub(crate) fn append(self: &Arc<Partition>, append: &Append) -> Receipt {
        let mut state = match self.lock_open() {
            Ok(state) => state,
            Err(cause) => {
                return Receipt { outcome: Err(refusal(self, &cause)), settles_on: None };
            }
        };
        let outcome = state.append(self, append);
        let must_wait = state.is_group() && !self.shared.has_mutation(Mutation::AnswerBeforeFlush);
        let settles_on = (outcome.is_ok() && must_wait).then(|| Arc::clone(&self.progress));
        if outcome.is_ok() {
            state.request_flush(self);
        }
        Receipt { outcome, settles_on }
    }
}

impl State {
    fn append(&mut self, partition: &Partition, append: &Append) -> Outcome {
        if self.health == Health::Gone {
            return Err(SubmitError::UnknownPartition);
        }
        if self.health != Health::Good {
            return Err(SubmitError::Stopped);
        }
        if let Some(expected) = append.expect_end
            && expected != self.end.offset
        {
            return Err(SubmitError::EndMoved { end: self.end.offset });
        }
        let header = append.batch.header();
        let verdict = self.producers.check(header);
        // A retry of what was accepted before the seal has to learn that, or its producer would
        // write the records again elsewhere. Nothing else matters to a sealed partition.
        if self.is_sealed && !matches!(verdict, Ok(Verdict::Duplicate(_))) {
            return Err(SubmitError::Sealed);
        }
        let verdict = verdict.map_err(SubmitError::Producer)?;
        let base_offset = self.end.offset;
        let mut placed = Placed {
            base_offset,
            last_offset: base_offset.plus(u64::from(header.last_offset_delta.unsigned_abs())),
            epoch: partition.shared.epoch,
            append_time: None,
            log_start: partition.progress.watermarks().log_start,
            novelty: Novelty::New,
        };
        if let Verdict::Duplicate(original) = verdict {
            placed.base_offset = original.base_offset;
            placed.last_offset = original.last_offset;
            placed.novelty = Novelty::Duplicate;
            return Ok(placed);
        }
        if placed.last_offset.number() >= OFFSET_MAX {
            return Err(SubmitError::OffsetsExhausted);
        }
        if partition.shared.room.is_full() {
            return Err(SubmitError::DiskFull);
        }
        if append.stamp == Stamp::AppendTime {
            placed.append_time = Some(self.next_append_time(partition));
        }
        let batch = append.batch.place(&Placement {
            base_offset,
            leader_epoch: placed.epoch,
            append_time: placed.append_time,
        });
        self.write(partition, &batch)?;
        self.publish(partition, &batch, placed.last_offset);
        Ok(placed)
    }

    /// Now, but never earlier than the time written last.
    fn next_append_time(&self, partition: &Partition) -> Timestamp {
        let now = partition.shared.clock.now();
        self.last_append_time.map_or(now, |last| now.max(last))
    }

    /// Writes the batch behind the published end. After an error nothing of it counts.
    fn write(&mut self, partition: &Partition, batch: &PlacedBatch) -> Result<(), SubmitError> {
        let refused = |cause: io::Error| refusal(partition, &cause);
        if self.must_roll(batch.header()) {
            self.roll(partition).map_err(refused)?;
        }
        let (position, batch_bytes) = (self.end.position, batch.batch_bytes() as u64);
        self.make_room(position + batch_bytes).map_err(refused)?;
        let segment = self.segments.last().expect("rolling made one");
        let open = segment.open().map_err(refused)?;
        segment.pin(true);
        let Err(cause) = open.file.write_at(batch.head(), batch.payload(), position) else {
            return Ok(());
        };
        // Nothing of a batch that was refused may stay behind the end: a shorter one written there
        // later would be followed by the rest of this one.
        self.allocated = position;
        if is_disk_full(&cause) && open.file.set_length(position).is_ok() {
            return Err(refused(cause));
        }
        partition.fail(self, "append", &cause);
        Err(SubmitError::Stopped)
    }

    fn publish(&mut self, partition: &Partition, batch: &PlacedBatch, last_offset: Offset) {
        let header = batch.header();
        let batch_bytes = batch.batch_bytes() as u64;
        let segment = self.segments.last().expect("it was just written to");
        segment.publish(header, self.config.index_interval_bytes);
        let epoch = partition.shared.epoch;
        if self.epochs.last().is_none_or(|last| last.epoch < epoch) {
            self.epochs.push(EpochStart { epoch, start: self.end.offset });
        }
        self.producers.record(header, self.end.offset, partition.shared.clock.now());
        if header.attributes.timestamp_type() == weir_model::batch::TimestampType::LogAppendTime {
            self.last_append_time = Some(header.max_timestamp);
        }
        self.end.offset = last_offset.next();
        self.end.position += batch_bytes;
        if self.unflushed == 0 {
            self.unflushed_since = partition.shared.clock.real_moment();
        }
        self.unflushed += batch_bytes;
        self.has_changed = true;
        partition.shared.unflushed.add(batch_bytes);
        partition.progress.publish_log_end(self.end.offset);
        if !self.is_group() || partition.shared.has_mutation(Mutation::WatermarkBeforeFlush) {
            partition.progress.publish_high_watermark(self.end.offset);
        }
    }

    fn must_roll(&self, next: &BatchHeader) -> bool {
        let Some(active) = self.segments.last() else { return true };
        if active.base_offset != self.end.segment {
            // The newest file was lost with a power cut, empty as it was.
            return true;
        }
        let length = active.published();
        if length == 0 {
            return false;
        }
        let bytes_max = self.config.segment_bytes.min(SEGMENT_BYTES_MAX);
        let last_offset = self.end.offset.plus(u64::from(next.last_offset_delta.unsigned_abs()));
        let is_too_old = active.first_timestamp().is_some_and(|first| {
            let age_ms = next.max_timestamp.millis_since(first);
            u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > self.config.segment_ms)
        });
        length + next.batch_bytes() as u64 > bytes_max
            || last_offset.since(active.base_offset) > u64::from(i32::MAX.unsigned_abs())
            || is_too_old
    }

    /// Makes the file of the first segment before there is a batch for it; returns the names that
    /// must last before the file counts. Only where a batch would wait for those, and nothing
    /// refuses it anyway.
    pub(crate) fn make_first_file(
        &mut self,
        partition: &Partition,
    ) -> io::Result<Vec<DirectoryTicket>> {
        let is_of_use = self.segments.is_empty() && self.health == Health::Good && self.is_group();
        if is_of_use && !partition.shared.room.is_full() {
            self.add_segment(partition)?;
        }
        Ok(self.directory_tickets.clone())
    }

    /// Begins a new segment at the end of the log. The finished one is sealed once it is flushed.
    pub(crate) fn roll(&mut self, partition: &Partition) -> io::Result<()> {
        let before = self.directory_tickets.len();
        self.add_segment(partition)?;
        if self.is_group() {
            // A flush follows at once; its names need not wait for the batch to be written.
            let names = self.directory_tickets.get(before..).unwrap_or_default();
            partition.shared.flushes.push_names(&partition.shared, names);
        }
        Ok(())
    }

    fn add_segment(&mut self, partition: &Partition) -> io::Result<()> {
        let shared = &partition.shared;
        let disk = &shared.disk;
        let base = self.end.offset;
        let is_first = self.segments.is_empty();
        if is_first {
            let ticket = shared.logs.create(&**disk, &partition.directory)?;
            self.directory_tickets.push(ticket);
        }
        let segment = Segment::empty(base, &partition.directory, disk, &shared.open_files);
        segment.create()?;
        if is_first || !shared.has_mutation(Mutation::NoDirectorySyncAtRoll) {
            let directory = Directory::at(partition.directory.to_path_buf());
            self.directory_tickets.push(directory.created());
        }
        if let Some(finished) = self.segments.last() {
            self.unsealed.push((Arc::clone(finished), self.producers.clone()));
        }
        self.segments.push(segment);
        self.allocated = 0;
        self.end = Mark { offset: base, segment: base, position: 0 };
        if self.unflushed == 0 {
            self.durable = self.end;
        }
        Ok(())
    }

    /// Makes sure that the last segment's file has room up to `end`.
    fn make_room(&mut self, end: u64) -> io::Result<()> {
        if end <= self.allocated {
            return Ok(());
        }
        let step = self.allocated.clamp(ALLOCATION_STEP_MIN, ALLOCATION_STEP_MAX);
        // No further than the segment will get, but at least as far as is needed.
        let wanted = (self.allocated + step).min(self.config.segment_bytes).max(end);
        let segment = self.segments.last().expect("there is one to append to");
        let open = segment.open()?;
        let file = &open.file;
        let allocated = match file.allocate(self.allocated, wanted) {
            Err(cause) if is_disk_full(&cause) && wanted > end => {
                file.allocate(self.allocated, end).map(|()| end)
            }
            result => result.map(|()| wanted),
        };
        self.allocated = allocated?;
        Ok(())
    }

    /// Asks for the flush that the policy wants, if there is anything to flush.
    pub(crate) fn request_flush(&mut self, partition: &Arc<Partition>) {
        let shared = &partition.shared;
        if self.unflushed == 0 {
            return;
        }
        let options = &shared.options;
        let is_much = self.unflushed
            > options.unflushed_bytes_max_partition / BACKGROUND_FLUSH_PART
            || shared.unflushed.bytes() > options.unflushed_bytes_max / BACKGROUND_FLUSH_PART;
        match self.config.flush {
            FlushPolicy::Group => self.queue_flush(partition),
            FlushPolicy::Interval { bytes, .. } if self.unflushed >= bytes || is_much => {
                self.queue_flush(partition);
            }
            FlushPolicy::Interval { delay, .. } => {
                if self.flush == FlushPhase::Idle {
                    let due = shared.clock.real_moment().plus(delay);
                    self.flush = FlushPhase::Timed(due);
                    shared.flushes.push_timed(due, partition);
                }
            }
            FlushPolicy::Os if is_much || !self.unsealed.is_empty() => self.queue_flush(partition),
            FlushPolicy::Os => {}
        }
    }

    /// Has everything written so far flushed soon.
    pub(crate) fn queue_flush(&mut self, partition: &Arc<Partition>) {
        self.flush = match self.flush {
            FlushPhase::Idle | FlushPhase::Timed(_) => {
                partition.shared.flushes.push(partition);
                FlushPhase::Queued
            }
            FlushPhase::Queued => FlushPhase::Queued,
            FlushPhase::Running | FlushPhase::RunningAgain => FlushPhase::RunningAgain,
        };
    }
}

/// What a failure before the write means for the writer. The partition itself is unharmed.
fn refusal(partition: &Partition, cause: &io::Error) -> SubmitError {
    if is_disk_full(cause) {
        partition.shared.room.note_full();
        SubmitError::DiskFull
    } else {
        warn!(partition = %partition.id, error = %cause, "append refused");
        SubmitError::Stopped
    }
}
