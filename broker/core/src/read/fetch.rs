//! The long-polled read of many partitions: ranges of whole batches, nothing decoded or copied.
//!
//! A fetch is answered at once when it has `bytes_min` bytes or any error, and otherwise waits on
//! the watermarks of all its partitions together; a wake-up re-reads only those that moved.

use std::sync::Arc;
use std::time::Duration;

use weir_model::ids::PartitionIndex;
use weir_model::offset::Offset;
use weir_storage::read_plan::{OversizedFirst, Ranges, ReadRequest};
use weir_storage::watermarks::Waiter;

use crate::broker::Broker;
use crate::error::ReadError;
use crate::partition::partition::Partition;
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
    /// Its number.
    pub partition: PartitionIndex,
    /// The first offset wanted.
    pub from: Offset,
    /// Most bytes of this partition.
    pub bytes_max: usize,
    /// The log epoch that the reader believes to be current, if it says (KIP-320).
    pub current_epoch: Option<i32>,
}

/// What one partition gives; its watermarks are in the ranges.
pub type FetchedPartition = Result<Ranges, ReadError>;

impl Broker {
    /// Reads many partitions, waiting for data as the request says. Answers are in the request's
    /// order.
    pub async fn fetch(&self, request: &FetchRequest) -> Vec<FetchedPartition> {
        let deadline = tokio::time::sleep(request.wait_max);
        tokio::pin!(deadline);
        let mut answer = Answer::new(self, request).await;
        while !answer.is_due() {
            tokio::select! {
                () = answer.moved() => answer.refresh().await,
                () = &mut deadline => break,
            }
        }
        answer.finish()
    }
}

/// An answer in the making.
struct Answer<'a> {
    broker: &'a Broker,
    request: &'a FetchRequest,
    partitions: Vec<Found>,
    bytes: usize,
    /// The shortest time until a throttled partition may be read.
    throttle: Option<Duration>,
}

struct Found {
    /// None where there is no such partition.
    partition: Option<Arc<Partition>>,
    result: FetchedPartition,
}

impl<'a> Answer<'a> {
    async fn new(broker: &'a Broker, request: &'a FetchRequest) -> Answer<'a> {
        let find = |wanted: &FetchPartition| Found {
            partition: wanted.stream.partition(wanted.partition),
            result: Ok(Ranges::default()),
        };
        let partitions = request.partitions.iter().map(find).collect();
        let mut answer = Answer { broker, request, partitions, bytes: 0, throttle: None };
        for position in 0..request.partitions.len() {
            answer.read(position).await;
        }
        answer
    }

    fn is_due(&self) -> bool {
        self.bytes >= self.request.bytes_min
            || self.partitions.iter().any(|found| found.result.is_err())
    }

    /// Returns when a partition has more to give, or a throttled one may be read again.
    async fn moved(&self) {
        let waiter = Waiter::new();
        let mut watches = Vec::with_capacity(self.partitions.len());
        for (wanted, found) in self.request.partitions.iter().zip(&self.partitions) {
            let (Some(partition), Ok(ranges)) = (&found.partition, &found.result) else {
                continue;
            };
            // A partition whose storage failed gives no more; a deleted one is an error to report.
            if partition.progress().is_stopped() && !wanted.stream.is_deleted() {
                continue;
            }
            let beyond = ranges.watermarks.high_watermark.max(wanted.from);
            watches.push(partition.progress().watch(beyond, &waiter));
        }
        match self.throttle {
            None => waiter.woken().await,
            Some(wait) => {
                tokio::select! {
                    () = waiter.woken() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }

    /// Reads again what moved since the last look.
    async fn refresh(&mut self) {
        let throttled = self.throttle.take().is_some();
        for position in 0..self.request.partitions.len() {
            if throttled || self.has_moved(position) {
                self.read(position).await;
            }
        }
    }

    fn has_moved(&self, position: usize) -> bool {
        let (Some(wanted), Some(found)) =
            (self.request.partitions.get(position), self.partitions.get(position))
        else {
            return false;
        };
        match (&found.partition, &found.result) {
            (Some(partition), Ok(ranges)) => {
                wanted.stream.is_deleted()
                    || partition.watermarks().high_watermark > ranges.watermarks.high_watermark
            }
            _ => false,
        }
    }

    async fn read(&mut self, position: usize) {
        let (Some(wanted), Some(found)) =
            (self.request.partitions.get(position), self.partitions.get_mut(position))
        else {
            return;
        };
        let before = found.result.as_ref().map_or(0, |ranges| ranges.bytes);
        let others = self.bytes - before;
        let bytes_max = wanted.bytes_max.min(self.request.bytes_max.saturating_sub(others));
        // Only the first data of an answer may be oversized, so that the whole stays near its
        // limit.
        let oversized_first = match others {
            0 => OversizedFirst::Return,
            _ => OversizedFirst::Skip,
        };
        found.result = match &found.partition {
            None => Err(ReadError::UnknownPartition),
            Some(_) if wanted.stream.is_deleted() => Err(ReadError::UnknownPartition),
            Some(partition) => {
                let quota = self.broker.read_wait(&wanted.stream, partition);
                match quota {
                    Some(wait) => {
                        self.throttle = Some(self.throttle.map_or(wait, |best| best.min(wait)));
                        let watermarks = partition.watermarks();
                        Ok(Ranges { watermarks, next_offset: wanted.from, ..Ranges::default() })
                    }
                    None => {
                        let request = ReadRequest {
                            partition: partition.id,
                            from: wanted.from,
                            bytes_max,
                            oversized_first,
                        };
                        self.broker.ranges(wanted.current_epoch, request).await
                    }
                }
            }
        };
        self.bytes = others + found.result.as_ref().map_or(0, |ranges| ranges.bytes);
    }

    /// Charges the read quotas and hands the answer out.
    fn finish(self) -> Vec<FetchedPartition> {
        let (broker, request) = (self.broker, self.request);
        let charged =
            self.partitions.into_iter().zip(&request.partitions).map(|(found, wanted)| {
                if let (Some(partition), Ok(ranges)) = (&found.partition, &found.result)
                    && ranges.bytes > 0
                {
                    broker.with_quota(&wanted.stream, partition, |q| q.charge_read(ranges.bytes));
                }
                found.result
            });
        charged.collect()
    }
}

impl Broker {
    async fn ranges(
        &self,
        current_epoch: Option<i32>,
        request: ReadRequest,
    ) -> Result<Ranges, ReadError> {
        self.check_epoch(current_epoch)?;
        Ok(self.log().read(request)?.ranges().await?)
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
        let now = self.clock().moment();
        let wait = self.with_quota(stream, partition, |quota| quota.read_wait(now))?;
        Some(wait).filter(|wait| !wait.is_zero())
    }
}
