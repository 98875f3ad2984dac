//! The way in: checks, admission, and the hand-over to the log, for one batch or for routed
//! records.
//!
//! Two stages, as the protocols need them. [`PendingAppend`] exists once the order is fixed; its
//! [`placed`](PendingAppend::placed) says where the batch stands (acks=1) and its
//! [`settled`](PendingAppend::settled) that it is kept by the stream's flush policy (acks=all).
//!
//! A partition may be sealed by a reshard at any moment up to the log's own decision. Then nothing
//! was written; the append waits until the reshard is made or given up. A batch whose partition was
//! chosen by its client is refused with the names of those that are open; routed records go where
//! they belong now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout_at};
use weir_model::batch::{RecordBatch, TimestampType};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::ids::{PartitionIndex, ProducerId};
use weir_model::limits::BUILT_BATCH_BYTES_MAX;
use weir_model::record::{Header, HeaderToWrite, RecordToWrite};
use weir_model::time::Timestamp;
use weir_storage::commit::{Append, CommitSet, Novelty, Outcome, Placed, Stamp, Ticket};

use crate::alarm::Alarm;
use crate::broker::Broker;
use crate::error::AppendError;
use crate::events::Direction;
use crate::metrics::Metrics;
use crate::metrics::stream::{StreamMetrics, StreamNumber};
use crate::partition::inspect::{compressed, inspected};
use crate::partition::partition::Partition;
use crate::request_budget::HeldBytes;
use crate::routing::route::{RoutedPlace, RoutedRecord, WantedPlace};
use crate::stream::config::StreamConfig;
use crate::stream::distribution::Distribution;
use crate::stream::layout::{Layout, SharedLayout};
use crate::stream::stream::Stream;

/// Longest wait for quota before an append of a batch is refused, whatever its client would wait:
/// it holds its bytes and its connection meanwhile. Kafka's default request timeout.
const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(30);

/// How many open partitions an error names.
const NAMED_PARTITIONS_MAX: usize = 100;

/// How often records are routed before they are refused. Each time a whole reshard has come between
/// the look at the partitions and the write.
const ROUTINGS_MAX: usize = 5;

/// How the append of a batch may wait for its shard's quota.
#[derive(Clone, Copy, Debug)]
pub struct QuotaWait {
    /// The longest wait; more than 30 s counts as 30 s.
    pub time_max: Duration,
    /// What the request holds of the broker's budget meanwhile.
    pub held: HeldBytes,
}

/// A batch that has its place in the log.
#[derive(Debug)]
pub struct PendingAppend {
    ticket: Ticket,
    partition: PartitionIndex,
    layout: Arc<SharedLayout>,
    counts: Counts,
}

/// What is counted when the batch has its place, and where.
#[derive(Debug)]
struct Counts {
    all: Arc<Metrics>,
    stream: Arc<StreamMetrics>,
    records: u64,
    bytes: u64,
}

impl PendingAppend {
    /// Where the batch stands. It is written, and survives a kill, but not yet a power cut.
    pub async fn placed(mut self) -> Result<Placed, AppendError> {
        let outcome = only(self.ticket.placed().await);
        self.counts.take(&outcome);
        told_apart(outcome, &self.layout, self.partition).await
    }

    /// Where the batch stands, once it is kept as the stream's flush policy promises.
    pub async fn settled(mut self) -> Result<Placed, AppendError> {
        // By now, since whoever waits may give up.
        self.counts.take(&only(self.ticket.placed().await));
        let outcome = only(self.ticket.settled().await);
        told_apart(outcome, &self.layout, self.partition).await
    }
}

impl Counts {
    fn take(&self, outcome: &Result<Placed, AppendError>) {
        if outcome.as_ref().is_ok_and(|placed| placed.novelty == Novelty::New) {
            self.all.count_written(&self.stream, self.records, self.bytes);
        }
    }
}

fn only(outcomes: Vec<Outcome>) -> Result<Placed, AppendError> {
    let outcome = outcomes.into_iter().next().ok_or(AppendError::ShuttingDown)?;
    outcome.map_err(AppendError::from)
}

/// Whether a partition that was found sealed is closed now, or only may be.
async fn told_apart(
    outcome: Result<Placed, AppendError>,
    layout: &SharedLayout,
    partition: PartitionIndex,
) -> Result<Placed, AppendError> {
    if outcome != Err(AppendError::Resharding) {
        return outcome;
    }
    layout.settled().await;
    let layout = layout.current();
    match layout.partitions.get(partition.as_usize()) {
        Some(partition) if !partition.is_open() => Err(closed(&layout)),
        _ => outcome,
    }
}

impl Broker {
    /// Appends a batch whose partition the client chose, byte for byte. The caller has verified its
    /// CRC and its counts. Waits for admission (quota, room) before the order is fixed; for quota
    /// as `quota_wait` says, and not at all where too many wait already. Calls for one partition
    /// that are made one after the other keep their order.
    pub async fn append(
        &self,
        stream: &Stream,
        partition: PartitionIndex,
        batch: RecordBatch,
        quota_wait: QuotaWait,
    ) -> Result<PendingAppend, AppendError> {
        let partition = writable(stream, partition)?;
        let config = stream.config();
        let counts = Counts {
            all: Arc::clone(self.metrics()),
            stream: Arc::clone(stream.metrics()),
            records: u64::try_from(batch.header().record_count).unwrap_or(0),
            bytes: batch.bytes().len() as u64,
        };
        let pending = |ticket| PendingAppend {
            ticket,
            partition: partition.id.index,
            layout: Arc::clone(stream.layout()),
            counts,
        };
        if !partition.is_open() {
            // All that a closed partition can still say is that it took the batch before.
            return match ProducerId::new(batch.header().producer_id) {
                None => Err(closed(&stream.layout().current())),
                Some(_) => Ok(pending(self.submit(&partition, &config, batch))),
            };
        }
        let now = self.clock().now();
        check_batch(&config, &batch, now)?;
        let batch = inspected(&config, batch, now).await?;
        self.admit_write(stream, &partition, &batch, quota_wait).await?;
        let records = usize::try_from(batch.header().record_count).unwrap_or(0);
        stream.count_traffic(batch.bytes().len(), records);
        self.log().wait_for_room(partition.id).await;
        Ok(pending(self.submit(&partition, &config, batch)))
    }

    /// Appends records whose partition the broker picks: by the MD5 of the key, by the explicit
    /// hash key, or in turn for records without a key and streams that are written evenly. Each
    /// record has an answer of its own, in the order given; what a shard's quota refuses is not
    /// written. A reshard under way is waited for. Returns when the rest is kept.
    pub async fn append_routed(
        &self,
        stream: &Stream,
        records: &[RoutedRecord],
    ) -> Vec<Result<RoutedPlace, AppendError>> {
        let now = self.clock().now();
        let mut results: Vec<Result<RoutedPlace, AppendError>> =
            records.iter().map(|_| Err(AppendError::UnknownPartition)).collect();
        if stream.is_deleted() {
            return results;
        }
        if stream.name.is_internal() {
            results.fill(Err(AppendError::Internal));
            return results;
        }
        let mut unwritten: Vec<usize> = (0..records.len()).collect();
        for _ in 0..ROUTINGS_MAX {
            unwritten = self.append_each(stream, records, unwritten, now, &mut results).await;
            if unwritten.is_empty() {
                break;
            }
            stream.layout().settled().await;
        }
        results
    }

    /// Appends those of the records to the partitions that are open for them now. Returns those
    /// that found theirs sealed by a reshard: they are not written, and go elsewhere next time. All
    /// records of one key before them in the request are, in the partition that was sealed.
    async fn append_each(
        &self,
        stream: &Stream,
        records: &[RoutedRecord],
        members: Vec<usize>,
        now: Timestamp,
        results: &mut [Result<RoutedPlace, AppendError>],
    ) -> Vec<usize> {
        let config = stream.config();
        let mut pending = Vec::new();
        for group in self.group_by_partition(stream, records, &members, results) {
            self.log().wait_for_room(group.partition.id).await;
            for run in group.build(records, now, config.timestamp_type) {
                stream.count_traffic(run.batch.bytes().len(), run.members.len());
                let batch = compressed(&config, run.batch).await;
                let ticket = self.submit(&group.partition, &config, batch);
                pending.push((group.partition.id.index, run.members, ticket));
            }
        }
        let mut sealed = Vec::new();
        for (partition, members, ticket) in pending {
            let outcome = only(ticket.settled().await);
            if outcome == Err(AppendError::Resharding) {
                sealed.extend(&members);
            }
            if outcome.is_ok() {
                let sizes = members.iter().filter_map(|member| records.get(*member));
                let bytes: usize = sizes.map(RoutedRecord::size_bytes).sum();
                let count = members.len() as u64;
                self.metrics().count_written(stream.metrics(), count, bytes as u64);
            }
            for (position, member) in (0u64..).zip(members) {
                let place = outcome.clone().map(|placed| RoutedPlace {
                    partition,
                    offset: placed.base_offset.plus(position),
                    epoch: placed.epoch,
                    timestamp: placed.append_time.unwrap_or_else(|| made_at(records, member, now)),
                });
                if let Some(result) = results.get_mut(member) {
                    *result = place;
                }
            }
        }
        // In the request's order again, which is the order of each key's records.
        sealed.sort_unstable();
        sealed
    }

    /// Routes and admits each of the records; refusals go straight into `results`.
    fn group_by_partition(
        &self,
        stream: &Stream,
        records: &[RoutedRecord],
        members: &[usize],
        results: &mut [Result<RoutedPlace, AppendError>],
    ) -> Vec<RoutedGroup> {
        let layout = stream.layout().current();
        let distribution = Distribution::of(stream);
        let mut groups: BTreeMap<PartitionIndex, RoutedGroup> = BTreeMap::new();
        for member in members.iter().copied() {
            let (Some(record), Some(result)) = (records.get(member), results.get_mut(member))
            else {
                continue;
            };
            let turn = || self.turns.fetch_add(1, Ordering::Relaxed);
            let routed = match (distribution, record.wanted) {
                (Distribution::Even, WantedPlace::ByKey | WantedPlace::HashKey(_)) => {
                    layout.open.in_turn(turn())
                }
                (Distribution::Even, WantedPlace::Partition(_)) | (Distribution::ByKey, _) => {
                    layout.open.route(record, turn)
                }
            };
            let Some(partition) = routed else {
                if let WantedPlace::Partition(index) = record.wanted
                    && layout.partitions.get(index.as_usize()).is_some()
                {
                    *result = Err(closed(&layout));
                }
                continue;
            };
            if let Err(error) = self.admit_record(stream, partition, record.size_bytes()) {
                *result = Err(error);
                continue;
            }
            let group = groups.entry(partition.id.index).or_insert_with(|| RoutedGroup {
                partition: Arc::clone(partition),
                members: Vec::new(),
            });
            group.members.push(member);
        }
        groups.into_values().collect()
    }

    fn submit(&self, partition: &Partition, config: &StreamConfig, batch: RecordBatch) -> Ticket {
        let stamp = match config.timestamp_type {
            TimestampType::CreateTime => Stamp::Keep,
            TimestampType::LogAppendTime => Stamp::AppendTime,
        };
        let append = Append { partition: partition.id, batch, stamp, expect_end: None };
        self.log().submit(CommitSet::of(append))
    }

    /// One record against its shard's quota: refused while in debt, otherwise charged in full.
    fn admit_record(
        &self,
        stream: &Stream,
        partition: &Partition,
        size_bytes: usize,
    ) -> Result<(), AppendError> {
        let now = self.clock().moment();
        self.with_quota(stream, partition, |quota| {
            let wait = quota.write_wait(now);
            if !wait.is_zero() {
                self.metrics().count_throttle();
                self.events().tell_throttled(stream, partition, Direction::Write, wait);
                stream.metrics().add(StreamNumber::WriteExceeded, 1);
                return Err(AppendError::OverQuota { partition: partition.id.index });
            }
            quota.charge_write(size_bytes, 1);
            Ok(())
        })
        .unwrap_or(Ok(()))
    }

    /// A batch against its shard's quota: waits for the batches before it and while the shard is in
    /// debt, then charges in full.
    async fn admit_write(
        &self,
        stream: &Stream,
        partition: &Partition,
        batch: &RecordBatch,
        quota_wait: QuotaWait,
    ) -> Result<(), AppendError> {
        if !self.has_quotas(stream) {
            return Ok(());
        }
        let over_quota = AppendError::OverQuota { partition: partition.id.index };
        // How long a client waits is real time, whatever the clock of the buckets does.
        let deadline = sleep(quota_wait.time_max.min(ADMISSION_WAIT_MAX)).deadline();
        let records = usize::try_from(batch.header().record_count).unwrap_or(0);
        let mut idle = None;
        let _turn = match partition.gate.try_write_turn() {
            Some(turn) => turn,
            None => {
                self.metrics().count_throttle();
                idle = self.request_budget().try_idle(quota_wait.held);
                if idle.is_none() {
                    return Err(over_quota);
                }
                let turn = timeout_at(deadline, partition.gate.write_turn()).await;
                turn.map_err(|_| over_quota.clone())?
            }
        };
        let mut alarm = Alarm::for_work(self.clock());
        loop {
            let now = self.clock().moment();
            let wait = self.with_quota(stream, partition, |quota| {
                let wait = quota.write_wait(now);
                if wait.is_zero() {
                    quota.charge_write(batch.bytes().len(), records);
                }
                wait
            });
            let wait = wait.unwrap_or_default();
            if wait.is_zero() {
                return Ok(());
            }
            self.metrics().count_throttle();
            self.events().tell_throttled(stream, partition, Direction::Write, wait);
            idle = idle.or_else(|| self.request_budget().try_idle(quota_wait.held));
            if idle.is_none() || sleep(wait).deadline() > deadline {
                return Err(over_quota);
            }
            // A clock that does not move by itself may never pay the debt off.
            let paid_off = alarm.after(wait);
            timeout_at(deadline, paid_off).await.map_err(|_| over_quota.clone())?;
        }
    }
}

/// The records of one request that go to one partition, by their position in the request.
struct RoutedGroup {
    partition: Arc<Partition>,
    members: Vec<usize>,
}

/// One batch of a group.
struct Run {
    members: Vec<usize>,
    batch: RecordBatch,
}

impl RoutedGroup {
    /// Builds the group's batches: one, or several where it is larger than a built batch may be.
    fn build(
        &self,
        records: &[RoutedRecord],
        now: Timestamp,
        timestamp_type: TimestampType,
    ) -> Vec<Run> {
        let options = || BatchOptions { timestamp_type, ..BatchOptions::default() };
        let mut runs = Vec::with_capacity(1);
        let mut builder = BatchBuilder::new(options());
        let mut members = Vec::new();
        for member in &self.members {
            let Some(record) = records.get(*member) else {
                continue;
            };
            let full = builder.batch_bytes() + record.size_bytes() > BUILT_BATCH_BYTES_MAX;
            if full && !builder.is_empty() {
                let batch = std::mem::replace(&mut builder, BatchBuilder::new(options())).build();
                runs.push(Run { members: std::mem::take(&mut members), batch });
            }
            let headers: Vec<_> = record.headers.iter().map(header_to_write).collect();
            let write = RecordToWrite {
                timestamp: record.timestamp.unwrap_or(now),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            };
            builder.append(&write).expect("a batch is closed long before it is full");
            members.push(*member);
        }
        if !builder.is_empty() {
            runs.push(Run { members, batch: builder.build() });
        }
        runs
    }
}

fn header_to_write(header: &Header) -> HeaderToWrite<'_> {
    HeaderToWrite { key: &header.key, value: header.value.as_deref() }
}

/// When the record was made, as its writer says; now if it does not.
fn made_at(records: &[RoutedRecord], member: usize, now: Timestamp) -> Timestamp {
    records.get(member).and_then(|record| record.timestamp).unwrap_or(now)
}

/// The partition, if clients may write to its stream.
fn writable(stream: &Stream, index: PartitionIndex) -> Result<Arc<Partition>, AppendError> {
    if stream.is_deleted() {
        return Err(AppendError::UnknownPartition);
    }
    if stream.name.is_internal() {
        return Err(AppendError::Internal);
    }
    stream.partition(index).ok_or(AppendError::UnknownPartition)
}

/// Why a closed partition of this layout takes no batch.
fn closed(layout: &Layout) -> AppendError {
    AppendError::Closed { open: layout.open.indexes(NAMED_PARTITIONS_MAX) }
}

fn check_batch(
    config: &StreamConfig,
    batch: &RecordBatch,
    now: Timestamp,
) -> Result<(), AppendError> {
    let (size_bytes, limit_bytes) = (batch.bytes().len(), config.message_bytes_max);
    if size_bytes > limit_bytes {
        return Err(AppendError::BatchTooLarge { size_bytes, limit_bytes });
    }
    check_time(config, batch.header().max_timestamp, now)
}

/// Checks the time that a writer gives to its newest record.
pub(super) fn check_time(
    config: &StreamConfig,
    newest: Timestamp,
    now: Timestamp,
) -> Result<(), AppendError> {
    if config.timestamp_type == TimestampType::CreateTime && newest != Timestamp::NONE {
        let ahead_ms = newest.millis_since(now);
        let too_late = ahead_ms > config.timestamp_after_ms_max;
        if too_late || ahead_ms < config.timestamp_before_ms_max.saturating_neg() {
            return Err(AppendError::InvalidTimestamp);
        }
    }
    Ok(())
}
