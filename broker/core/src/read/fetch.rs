//! The long-polled read of many partitions: ranges of whole batches, nothing decoded or copied.
//!
//! A fetch is answered at once when it has `bytes_min` bytes, any error, or a reader whose history
//! is not the log's, and otherwise waits on the watermarks of all its partitions together; a
//! wake-up re-reads only those that moved.

use std::sync::Arc;
use std::time::Duration;

use weir_model::ids::LogEpoch;
use weir_model::offset::Offset;
use weir_storage::log::EpochEnd;
use weir_storage::read_plan::{OversizedFirst, Ranges, ReadRequest};
use weir_storage::watermarks::{Waiter, Watermarks};

use crate::alarm::Alarm;
use crate::broker::Broker;
use crate::error::ReadError;
use crate::events::Direction;
use crate::partition::partition::Partition;
use crate::quota::limits::ShardQuota;
use crate::stream::stream::Stream;

/// What to fetch.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The partitions, served in this order.
    pub partitions: Vec<FetchPartition>,
    /// Most bytes in all; the first batch of the answer may be larger.
    pub bytes_max: usize,
    /// Fewest bytes to answer with before `wait_max` is over.
    pub bytes_min: usize,
    /// Longest wait for `bytes_min`.
    pub wait_max: Duration,
}

/// One partition of a fetch.
#[derive(Clone, Debug)]
pub struct FetchPartition {
    /// Its stream.
    pub stream: Arc<Stream>,
    /// The partition.
    pub partition: Arc<Partition>,
    /// The first offset wanted.
    pub from: Offset,
    /// Most bytes of this partition.
    pub bytes_max: usize,
    /// The log epoch that the reader believes to be current, if it says (KIP-320).
    pub current_epoch: Option<i32>,
    /// The log epoch of the last record that the reader has read, if it says (KIP-595).
    pub last_epoch: Option<i32>,
}

/// What one partition gives.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The records, and the partition's watermarks.
    pub ranges: Ranges,
    /// Set, and no records given, when the log does not hold what the reader has read: it was lost
    /// with a power cut. The reader goes back to this end and on from there.
    pub diverged_at: Option<EpochEnd>,
}

impl Fetched {
    /// Nothing yet.
    fn nothing(watermarks: Watermarks, from: Offset) -> Fetched {
        let ranges = Ranges { watermarks, next_offset: from, ..Ranges::default() };
        Fetched { ranges, diverged_at: None }
    }
}

/// The answer for one partition of a fetch.
pub type FetchedPartition = Result<Fetched, ReadError>;

impl Broker {
    /// Reads many partitions, waiting for data as the request says. Answers are in the request's
    /// order.
    pub async fn fetch(&self, request: &FetchRequest) -> Vec<FetchedPartition> {
        let deadline = tokio::time::sleep(request.wait_max);
        tokio::pin!(deadline);
        let mut answer = Answer::new(self, request).await;
        while !answer.is_due() && !request.wait_max.is_zero() {
            tokio::select! {
                () = answer.moved() => answer.refresh().await,
                () = &mut deadline => break,
            }
        }
        answer.results
    }
}

/// An answer in the making.
struct Answer<'a> {
    broker: &'a Broker,
    request: &'a FetchRequest,
    /// One for each partition of the request.
    results: Vec<FetchedPartition>,
    bytes: usize,
    /// The shortest time until a throttled partition may be read.
    throttle: Option<Duration>,
}

impl<'a> Answer<'a> {
    async fn new(broker: &'a Broker, request: &'a FetchRequest) -> Answer<'a> {
        let results = Vec::with_capacity(request.partitions.len());
        let mut answer = Answer { broker, request, results, bytes: 0, throttle: None };
        for wanted in &request.partitions {
            let nothing = || Fetched::nothing(wanted.partition.watermarks(), wanted.from);
            let result = answer.read(wanted, 0).await.unwrap_or_else(|| Ok(nothing()));
            answer.bytes += bytes_of(&result);
            answer.results.push(result);
        }
        answer
    }

    fn is_due(&self) -> bool {
        let cannot_wait = |result: &FetchedPartition| match result {
            Ok(fetched) => fetched.diverged_at.is_some(),
            Err(_) => true,
        };
        self.bytes >= self.request.bytes_min || self.results.iter().any(cannot_wait)
    }

    /// Returns when a partition has more to give, or a throttled one may be read again.
    async fn moved(&self) {
        let waiter = Waiter::new();
        let mut watches = Vec::with_capacity(self.results.len());
        for (wanted, result) in self.request.partitions.iter().zip(&self.results) {
            let Ok(Fetched { ranges, .. }) = result else { continue };
            let progress = wanted.partition.progress();
            // A partition whose storage failed gives no more; a deleted one is an error to report.
            if progress.is_stopped() && !wanted.stream.is_deleted() {
                continue;
            }
            let beyond = ranges.watermarks.high_watermark.max(wanted.from);
            watches.push(progress.watch(beyond, &waiter));
        }
        match self.throttle {
            None => waiter.woken().await,
            Some(wait) => {
                let mut alarm = Alarm::for_client(self.broker.clock());
                tokio::select! {
                    () = waiter.woken() => {}
                    () = alarm.after(wait) => {}
                }
            }
        }
    }

    /// Reads again what moved since the last look.
    async fn refresh(&mut self) {
        let is_throttled = self.throttle.take().is_some();
        for (position, wanted) in self.request.partitions.iter().enumerate() {
            let Some(result) = self.results.get(position) else { continue };
            if is_throttled || has_moved(wanted, result) {
                let before = bytes_of(result);
                let Some(result) = self.read(wanted, before).await else { continue };
                self.bytes = self.bytes - before + bytes_of(&result);
                if let Some(place) = self.results.get_mut(position) {
                    *place = result;
                }
            }
        }
    }

    /// Reads one partition, which has given so many bytes of the answer until now, and charges its
    /// shard for what is new; none while its shard's quota is used up.
    async fn read(&mut self, wanted: &FetchPartition, before: usize) -> Option<FetchedPartition> {
        let FetchPartition { stream, partition, .. } = wanted;
        if stream.is_deleted() {
            return Some(Err(ReadError::UnknownPartition));
        }
        if !self.broker.has_quotas(stream) {
            return Some(self.read_now(wanted, before).await);
        }
        let _turn = partition.gate.read_turn().await;
        if let Some(wait) = self.broker.read_wait(stream, partition) {
            self.throttle = Some(self.throttle.map_or(wait, |best| best.min(wait)));
            self.broker.metrics().count_throttle();
            self.broker.events().tell_throttled(stream, partition, Direction::Read, wait);
            return None;
        }
        let result = self.read_now(wanted, before).await;
        let bytes = bytes_of(&result).saturating_sub(before);
        self.broker.with_quota(stream, partition, |quota| quota.charge_read(bytes));
        Some(result)
    }

    async fn read_now(&self, wanted: &FetchPartition, before: usize) -> FetchedPartition {
        let others = self.bytes - before;
        let request = ReadRequest {
            partition: wanted.partition.id,
            from: wanted.from,
            bytes_max: wanted.bytes_max.min(self.request.bytes_max.saturating_sub(others)),
            // Only the first data of an answer may be oversized, so that the whole stays near its
            // limit.
            oversized_first: match others {
                0 => OversizedFirst::Return,
                _ => OversizedFirst::Skip,
            },
        };
        self.broker.read_for_fetch(wanted, request).await
    }
}

fn bytes_of(result: &FetchedPartition) -> usize {
    result.as_ref().map_or(0, |fetched| fetched.ranges.bytes)
}

/// Whether another look at the partition may give more than the last one, which gave `result`.
fn has_moved(wanted: &FetchPartition, result: &FetchedPartition) -> bool {
    match result {
        Ok(Fetched { ranges, .. }) => {
            let high_watermark = wanted.partition.watermarks().high_watermark;
            wanted.stream.is_deleted() || high_watermark > ranges.watermarks.high_watermark
        }
        Err(_) => false,
    }
}

impl Broker {
    async fn read_for_fetch(
        &self,
        wanted: &FetchPartition,
        request: ReadRequest,
    ) -> FetchedPartition {
        self.check_epoch(wanted.current_epoch)?;
        let watermarks = wanted.partition.watermarks();
        let nothing = Fetched::nothing(watermarks, wanted.from);
        if let Some(epoch) = wanted.last_epoch {
            let diverged_at = self.divergence(wanted, epoch, watermarks)?;
            if diverged_at.is_some() {
                return Ok(Fetched { diverged_at, ..nothing });
            }
        }
        // Most partitions of most fetches have nothing new, which is known without asking the log.
        let Watermarks { high_watermark, log_end, .. } = watermarks;
        let is_at_end = high_watermark == wanted.from && log_end == wanted.from;
        if is_at_end && !wanted.partition.progress().is_stopped() {
            return Ok(nothing);
        }
        let ranges = self.log().read(request)?.ranges().await?;
        Ok(Fetched { ranges, diverged_at: None })
    }

    /// Where the log parts from the history of a reader whose last record was of `epoch`; none if
    /// the log holds all that it has read.
    fn divergence(
        &self,
        wanted: &FetchPartition,
        epoch: i32,
        Watermarks { log_start, log_end, .. }: Watermarks,
    ) -> Result<Option<EpochEnd>, ReadError> {
        let out_of_range = ReadError::OutOfRange { log_start, log_end };
        let last_read = u32::try_from(epoch).ok().and_then(LogEpoch::new);
        let last_read = last_read.ok_or_else(|| out_of_range.clone())?;
        let end = self.written_epoch_end(&wanted.partition, last_read)?;
        // What was trimmed is out of range for every reader, whatever its history.
        let end = end.filter(|_| wanted.from >= log_start).ok_or(out_of_range)?;
        Ok(Some(end).filter(|end| end.epoch < last_read || end.end < wanted.from))
    }

    /// Compares the reader's idea of the current log epoch with the broker's (KIP-320).
    pub fn check_epoch(&self, readers: Option<i32>) -> Result<(), ReadError> {
        let own = self.log().epoch().as_i32();
        match readers {
            Some(epoch) if epoch < own => Err(ReadError::FencedEpoch),
            Some(epoch) if epoch > own => Err(ReadError::UnknownEpoch),
            _ => Ok(()),
        }
    }

    fn read_wait(&self, stream: &Stream, partition: &Partition) -> Option<Duration> {
        // Most streams have no quota, and to read a clock for each partition would show.
        let look = |quota: &mut ShardQuota| quota.read_wait(self.clock().moment());
        let wait = self.with_quota(stream, partition, look)?;
        Some(wait).filter(|wait| !wait.is_zero())
    }
}
