//! The arm without a disk: everything in memory, committed *later* and atomically.
//!
//! It exists to keep the seam honest. A submit only queues the set; a committer task applies it
//! afterwards, all of its appends or none, and fills the ticket, as a log over an object store
//! would after its transaction. Whoever reads an offset from anything but the ticket fails here.
//!
//! Invariant: one mutex owns all partitions, so a set is one step for every reader.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use weir_model::batch::{BatchHeader, Placement, RecordBatch};
use weir_model::ids::{LogEpoch, PartitionId};
use weir_model::limits::DecodeLimits;
use weir_model::offset::{OFFSET_MAX, Offset};
use weir_model::time::{Clock, Timestamp};

use crate::commit::{Append, CommitSet, Novelty, Outcome, Placed, Receipt, Stamp, Ticket};
use crate::config::LogConfig;
use crate::error::{ReadError, SubmitError};
use crate::inspect::{
    BatchBytes, BatchPage, BatchPlace, BatchView, SegmentState, SegmentView, WantedBatch,
};
use crate::log::{EpochEnd, FoundRecord, LogSize, Lookup};
use crate::producer_state::{ActiveProducer, ProducerStates, Verdict};
use crate::read_plan::{Extent, OversizedFirst, Ranges, ReadRequest};
use crate::watermarks::{Progress, Watermarks};

/// Every partition's log, in memory.
#[derive(Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    committer: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    /// A sync lock: held for one set or one look-up, never across an await.
    partitions: Mutex<HashMap<PartitionId, Partition>>,
    queue: Mutex<VecDeque<(CommitSet, oneshot::Sender<Vec<Receipt>>)>>,
    queued: Notify,
}

#[derive(Debug)]
struct Partition {
    progress: Arc<Progress>,
    producers: ProducerStates,
    last_append_time: Option<Timestamp>,
    batches: Vec<Stored>,
    is_sealed: bool,
}

#[derive(Debug)]
struct Stored {
    base_offset: Offset,
    last_offset: Offset,
    bytes: Bytes,
}

impl MemoryLog {
    /// An empty log. Must be called inside a tokio runtime, which runs its committer.
    pub fn start(clock: Arc<dyn Clock>) -> MemoryLog {
        let shared = Arc::new(Shared {
            clock,
            partitions: Mutex::default(),
            queue: Mutex::default(),
            queued: Notify::new(),
        });
        let committer = tokio::spawn(commit_queued_sets(Arc::clone(&shared)));
        MemoryLog { shared, committer }
    }

    pub(crate) fn declare(&self, partition: PartitionId, _config: LogConfig) {
        self.shared.partitions.lock().entry(partition).or_insert_with(|| Partition {
            progress: Arc::default(),
            producers: ProducerStates::default(),
            last_append_time: None,
            batches: Vec::new(),
            is_sealed: false,
        });
    }

    /// Seals a partition or takes the seal back; returns the end of its log. What waits in the
    /// queue comes after it.
    pub(crate) fn set_sealed(
        &self,
        id: PartitionId,
        is_sealed: bool,
    ) -> Result<Offset, SubmitError> {
        let end = self.with(id, |partition| {
            partition.is_sealed = is_sealed;
            partition.progress.watermarks().log_end
        });
        end.map_err(|_| SubmitError::UnknownPartition)
    }

    pub(crate) fn is_sealed(&self, id: PartitionId) -> bool {
        self.with(id, |partition| partition.is_sealed).unwrap_or(false)
    }

    pub(crate) fn delete(&self, partitions: &[PartitionId]) {
        for partition in partitions {
            if let Some(removed) = self.shared.partitions.lock().remove(partition) {
                removed.progress.stop();
            }
        }
    }

    pub(crate) fn submit(&self, set: CommitSet) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        self.shared.queue.lock().push_back((set, sender));
        self.shared.queued.notify_one();
        Ticket::later(receiver)
    }

    pub(crate) fn read(&self, request: ReadRequest) -> Result<Ranges, ReadError> {
        self.with(request.partition, |partition| partition.read(&request))?
    }

    pub(crate) fn progress(&self, partition: PartitionId) -> Result<Arc<Progress>, ReadError> {
        self.with(partition, |partition| Arc::clone(&partition.progress))
    }

    pub(crate) fn lookup(
        &self,
        partition: PartitionId,
        lookup: Lookup,
    ) -> Result<Option<FoundRecord>, ReadError> {
        self.with(partition, |partition| partition.lookup(lookup))
    }

    pub(crate) fn epoch_end(
        &self,
        partition: PartitionId,
        _epoch: LogEpoch,
    ) -> Result<Option<EpochEnd>, ReadError> {
        self.with(partition, |partition| {
            let end = partition.progress.watermarks().log_end;
            Some(EpochEnd { epoch: LogEpoch::ZERO, end })
        })
    }

    pub(crate) fn trim(&self, cuts: &[(PartitionId, Offset)]) -> Vec<Result<Offset, ReadError>> {
        let trim = |(id, before): &(PartitionId, Offset)| self.with(*id, |p| p.trim(*before));
        cuts.iter().map(trim).collect()
    }

    pub(crate) fn active_producers(
        &self,
        partition: PartitionId,
    ) -> Result<Vec<ActiveProducer>, ReadError> {
        self.with(partition, |partition| partition.producers.active().collect())
    }

    pub(crate) fn size(&self, partition: PartitionId) -> Result<LogSize, ReadError> {
        self.with(partition, |partition| {
            let bytes = partition.batches.iter().map(|batch| batch.bytes.len() as u64).sum();
            LogSize { bytes, segments: 1 }
        })
    }

    pub(crate) fn segments(
        &self,
        partition: PartitionId,
        from: Offset,
        count_max: usize,
    ) -> Result<Vec<SegmentView>, ReadError> {
        self.with(partition, |partition| {
            let segment = partition.segment_view();
            let is_wanted = count_max > 0 && segment.base_offset >= from;
            if is_wanted { vec![segment] } else { Vec::new() }
        })
    }

    pub(crate) fn batches(
        &self,
        partition: PartitionId,
        place: BatchPlace,
        count_max: usize,
    ) -> Result<BatchPage, ReadError> {
        self.with(partition, |partition| {
            let mut page = BatchPage::default();
            for (position, stored) in partition.placed(place.segment)? {
                if position >= place.position && page.batches.len() >= count_max {
                    page.next_position = Some(position);
                    break;
                }
                if position >= place.position {
                    page.batches.push(BatchView::of(position, &stored.batch()));
                }
            }
            Ok(page)
        })?
    }

    pub(crate) fn batch(
        &self,
        partition: PartitionId,
        wanted: WantedBatch,
    ) -> Result<BatchBytes, ReadError> {
        self.with(partition, |partition| {
            let segment = partition.segment_view().base_offset;
            let log_start = partition.progress.watermarks().log_start;
            let mut placed = match wanted {
                WantedBatch::At(place) => partition.placed(place.segment)?,
                WantedBatch::Holding(_) => partition.placed(segment)?,
            };
            let found = placed.find(|(position, stored)| match wanted {
                WantedBatch::At(place) => *position == place.position,
                WantedBatch::Holding(offset) => {
                    let held = stored.base_offset.max(log_start)..=stored.last_offset;
                    held.contains(&offset)
                }
            });
            let (position, stored) = found.ok_or_else(|| partition.out_of_range())?;
            Ok(BatchBytes {
                place: BatchPlace { segment, position },
                view: BatchView::of(position, &stored.batch()),
                bytes: stored.bytes.clone(),
            })
        })?
    }

    fn with<T>(
        &self,
        id: PartitionId,
        look: impl FnOnce(&mut Partition) -> T,
    ) -> Result<T, ReadError> {
        self.shared.partitions.lock().get_mut(&id).map(look).ok_or(ReadError::UnknownPartition)
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.committer.abort();
    }
}

async fn commit_queued_sets(shared: Arc<Shared>) {
    loop {
        shared.queued.notified().await;
        loop {
            let Some((set, sender)) = shared.queue.lock().pop_front() else {
                break;
            };
            let receipts = shared.commit(set);
            // Nobody waits for the ticket of an acks=0 write.
            drop(sender.send(receipts));
        }
    }
}

impl Shared {
    /// Checks every append of the set against the state that the ones before it would leave, and
    /// publishes all of them or none.
    fn commit(&self, set: CommitSet) -> Vec<Receipt> {
        let mut partitions = self.partitions.lock();
        let mut staged: HashMap<PartitionId, Staged> = HashMap::new();
        let mut outcomes = Vec::with_capacity(set.appends.len());
        for append in &set.appends {
            let outcome = match partitions.get(&append.partition) {
                None => Err(SubmitError::UnknownPartition),
                Some(partition) => staged
                    .entry(append.partition)
                    .or_insert_with(|| Staged::on(partition))
                    .append(append, &*self.clock),
            };
            outcomes.push(outcome);
        }
        if outcomes.iter().any(Result::is_err) {
            return outcomes.into_iter().map(aborted).collect();
        }
        for (id, staged) in staged {
            if let Some(partition) = partitions.get_mut(&id) {
                staged.publish(partition);
            }
        }
        outcomes.into_iter().map(|outcome| Receipt { outcome, settles_on: None }).collect()
    }
}

fn aborted(outcome: Outcome) -> Receipt {
    let outcome = outcome.and(Err(SubmitError::SetAborted));
    Receipt { outcome, settles_on: None }
}

/// What a set would add to one partition.
struct Staged {
    log_start: Offset,
    log_end: Offset,
    producers: ProducerStates,
    last_append_time: Option<Timestamp>,
    batches: Vec<Stored>,
    is_sealed: bool,
}

impl Staged {
    fn on(partition: &Partition) -> Staged {
        let marks = partition.progress.watermarks();
        Staged {
            log_start: marks.log_start,
            log_end: marks.log_end,
            producers: partition.producers.clone(),
            last_append_time: partition.last_append_time,
            batches: Vec::new(),
            is_sealed: partition.is_sealed,
        }
    }

    fn append(&mut self, append: &Append, clock: &dyn Clock) -> Outcome {
        if let Some(expected) = append.expect_end
            && expected != self.log_end
        {
            return Err(SubmitError::EndMoved { end: self.log_end });
        }
        let mut placed = Placed {
            base_offset: self.log_end,
            last_offset: self.log_end,
            epoch: LogEpoch::ZERO,
            append_time: None,
            log_start: self.log_start,
            novelty: Novelty::New,
        };
        match self.producers.check(append.batch.header()) {
            Ok(Verdict::New) | Err(_) if self.is_sealed => return Err(SubmitError::Sealed),
            Err(error) => return Err(SubmitError::Producer(error)),
            Ok(Verdict::New) => {}
            Ok(Verdict::Duplicate(original)) => {
                placed.base_offset = original.base_offset;
                placed.last_offset = original.last_offset;
                placed.novelty = Novelty::Duplicate;
                return Ok(placed);
            }
        }
        placed.append_time = match append.stamp {
            Stamp::Keep => None,
            Stamp::AppendTime => Some(self.next_append_time(clock)),
        };
        let record_span = append.batch.header().last_offset_delta.unsigned_abs();
        placed.last_offset = placed.base_offset.plus(u64::from(record_span));
        if placed.last_offset.number() >= OFFSET_MAX {
            return Err(SubmitError::OffsetsExhausted);
        }
        let batch = append.batch.place(&Placement {
            base_offset: placed.base_offset,
            leader_epoch: placed.epoch,
            append_time: placed.append_time,
        });
        self.producers.record(batch.header(), placed.base_offset, clock.now());
        self.log_end = placed.last_offset.next();
        self.batches.push(Stored {
            base_offset: placed.base_offset,
            last_offset: placed.last_offset,
            bytes: batch.to_batch().bytes().clone(),
        });
        Ok(placed)
    }

    fn next_append_time(&mut self, clock: &dyn Clock) -> Timestamp {
        let now = self.last_append_time.map_or(clock.now(), |last| clock.now().max(last));
        self.last_append_time = Some(now);
        now
    }

    fn publish(self, partition: &mut Partition) {
        partition.producers = self.producers;
        partition.last_append_time = self.last_append_time;
        partition.batches.extend(self.batches);
        partition.progress.publish_log_end(self.log_end);
        partition.progress.publish_high_watermark(self.log_end);
    }
}

impl Stored {
    fn batch(&self) -> RecordBatch {
        RecordBatch::parse(self.bytes.clone()).expect("it was parsed before")
    }
}

impl Partition {
    /// All of its batches, as one segment.
    fn segment_view(&self) -> SegmentView {
        let marks = self.progress.watermarks();
        let bytes = self.batches.iter().map(|stored| stored.bytes.len() as u64).sum();
        let headers = self.batches.iter().map(|stored| *stored.batch().header());
        let known = |header: BatchHeader| {
            Some(header.max_timestamp).filter(|time| *time != Timestamp::NONE)
        };
        SegmentView {
            base_offset: self.batches.first().map_or(marks.log_start, |stored| stored.base_offset),
            next_offset: marks.log_end,
            bytes,
            readable_bytes: bytes,
            record_count: headers.clone().map(|h| u64::from(h.record_count.unsigned_abs())).sum(),
            first_timestamp: headers.clone().next().and_then(known),
            max_timestamp: headers.filter_map(known).max(),
            state: SegmentState::Active,
            files: Vec::new(),
        }
    }

    /// The batches with their positions in the segment.
    fn placed(&self, segment: Offset) -> Result<impl Iterator<Item = (u64, &Stored)>, ReadError> {
        if segment != self.segment_view().base_offset {
            return Err(self.out_of_range());
        }
        Ok(self.batches.iter().scan(0, |end, stored| {
            let position = *end;
            *end += stored.bytes.len() as u64;
            Some((position, stored))
        }))
    }

    fn out_of_range(&self) -> ReadError {
        let Watermarks { log_start, high_watermark, .. } = self.progress.watermarks();
        ReadError::OutOfRange { log_start, log_end: high_watermark }
    }

    fn read(&self, request: &ReadRequest) -> Result<Ranges, ReadError> {
        let watermarks = self.progress.watermarks();
        let Watermarks { log_start, high_watermark, log_end } = watermarks;
        if request.from < log_start || request.from > log_end {
            return Err(ReadError::OutOfRange { log_start, log_end });
        }
        let mut ranges = Ranges { watermarks, next_offset: request.from, ..Ranges::default() };
        let first = self.batches.partition_point(|batch| batch.last_offset < request.from);
        for batch in self.batches.iter().skip(first) {
            let fits = ranges.bytes + batch.bytes.len() <= request.bytes_max;
            let oversized =
                ranges.extents.is_empty() && request.oversized_first == OversizedFirst::Return;
            if batch.last_offset >= high_watermark || !(fits || oversized) {
                break;
            }
            ranges.bytes += batch.bytes.len();
            ranges.extents.push(Extent::Memory(batch.bytes.clone()));
            ranges.next_offset = batch.last_offset.next();
        }
        Ok(ranges)
    }

    fn lookup(&self, lookup: Lookup) -> Option<FoundRecord> {
        let mut found: Option<FoundRecord> = None;
        for stored in &self.batches {
            let batch = stored.batch();
            // A client may have sent records that cannot be read; they are stored as they came, and
            // have no times to search for.
            let Ok(records) = batch.records(&DecodeLimits::default()) else { continue };
            for record in records {
                let Ok(record) = record else { break };
                let candidate = FoundRecord {
                    offset: stored.base_offset.plus(u64::from(record.offset_delta.unsigned_abs())),
                    timestamp: record.timestamp,
                    epoch: LogEpoch::ZERO,
                };
                match lookup {
                    Lookup::AtTime(from) if candidate.timestamp >= from => return Some(candidate),
                    Lookup::LargestTimestamp
                        if found.is_none_or(|best| candidate.timestamp > best.timestamp) =>
                    {
                        found = Some(candidate);
                    }
                    _ => {}
                }
            }
        }
        found
    }

    fn trim(&mut self, before: Offset) -> Offset {
        let marks = self.progress.watermarks();
        let next = before.min(marks.high_watermark).max(marks.log_start);
        self.progress.publish_log_start(next);
        self.batches.retain(|batch| batch.last_offset >= next);
        next
    }
}
