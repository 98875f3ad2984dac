//! `weir bench consume`: every connection reads its share of the partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use weir_kafka_protocol::RecordSet;
use weir_kafka_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use weir_model::batch::{BatchError, BatchHeader, RecordBatch};
use weir_model::time::{Clock, Moment};

use super::kafka::{self, EARLIEST, FETCH_VERSION, KafkaConnection, LATEST};
use super::kinesis::{KinesisConnection, read_shard};
use super::produce::merge;
use super::tally::Tally;
use super::{ANSWER_WAIT_MAX, BenchError, ConsumeOptions, Endpoint};

/// How long a fetch waits for records; only when less was written than is to be read.
const FETCH_WAIT_MS: i32 = 500;
/// Kafka consumers' default for a whole answer.
const FETCH_BYTES_MAX: i32 = 50 << 20;

/// The records that all connections have read, and how many are wanted.
#[derive(Debug)]
pub(super) struct Goal {
    wanted: Option<u64>,
    read: AtomicU64,
}

impl Goal {
    /// Counts records; they may be more than were wanted, since batches are read whole.
    pub(super) fn count(&self, records: u64) {
        self.read.fetch_add(records, Ordering::Relaxed);
    }

    /// Whether as many were read as were wanted; without a number there is no such point.
    pub(super) fn is_reached(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.read.load(Ordering::Relaxed) >= wanted)
    }

    /// Whether reading ends where the log ended at the start.
    pub(super) fn is_open_ended(&self) -> bool {
        self.wanted.is_none()
    }
}

/// Reads over all connections; returns how many records were to be read, if that is known.
pub(super) async fn run(
    options: &ConsumeOptions,
    endpoint: &Endpoint,
    clock: &Arc<dyn Clock>,
) -> Result<(Tally, Option<u64>), BenchError> {
    let goal = Arc::new(Goal { wanted: options.records, read: AtomicU64::new(0) });
    match endpoint {
        Endpoint::Kafka(address) => run_kafka(options, address, &goal, clock).await,
        Endpoint::Kinesis(url) => {
            let mut connection =
                KinesisConnection::open(url, options.target.encoding, clock).await?;
            let shards = connection.shards(&options.target.topic).await?;
            let mut connections = JoinSet::new();
            for share in shares(&shards, options.target.connections) {
                let (url, options) = (url.clone(), options.clone());
                let (goal, clock) = (Arc::clone(&goal), Arc::clone(clock));
                connections.spawn(async move {
                    let encoding = options.target.encoding;
                    let mut connection = KinesisConnection::open(&url, encoding, &clock).await?;
                    let mut tally = Tally::new();
                    for shard in share {
                        read_shard(&mut connection, &options, &shard, &goal, &mut tally).await?;
                    }
                    Ok(tally)
                });
            }
            Ok((merge(connections).await?, options.records))
        }
    }
}

/// Deals the partitions out to at most this many connections; none goes empty-handed.
fn shares<T: Clone>(all: &[T], connections: u32) -> Vec<Vec<T>> {
    let connections = connections as usize;
    (0..connections.min(all.len()))
        .map(|first| all.iter().skip(first).step_by(connections).cloned().collect())
        .collect()
}

async fn run_kafka(
    options: &ConsumeOptions,
    address: &str,
    goal: &Arc<Goal>,
    clock: &Arc<dyn Clock>,
) -> Result<(Tally, Option<u64>), BenchError> {
    let topic = &options.target.topic;
    let mut connection = KafkaConnection::open(address, clock).await?;
    let indexes = connection.partitions(topic).await?;
    let starts = connection.offsets(topic, &indexes, EARLIEST).await?;
    let ends = connection.offsets(topic, &indexes, LATEST).await?;
    let cursors: Vec<(i32, Cursor)> = indexes
        .into_iter()
        .zip(starts.into_iter().zip(ends))
        .map(|(index, (next, end))| (index, Cursor { next, end }))
        .collect();
    let mut connections = JoinSet::new();
    for share in shares(&cursors, options.target.connections) {
        let mut reader = KafkaReader {
            options: options.clone(),
            connection: KafkaConnection::open(address, clock).await?,
            clock: Arc::clone(clock),
            cursors: share.into_iter().collect(),
            goal: Arc::clone(goal),
            tally: Tally::new(),
        };
        connections.spawn(async move {
            reader.run().await?;
            Ok(reader.tally)
        });
    }
    Ok((merge(connections).await?, options.records))
}

/// Where a partition is read.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// Offset of the next record to be read.
    next: i64,
    /// Where the partition ended when the run began.
    end: i64,
}

/// One connection's closed loop of fetches.
#[derive(Debug)]
struct KafkaReader {
    options: ConsumeOptions,
    connection: KafkaConnection,
    clock: Arc<dyn Clock>,
    cursors: BTreeMap<i32, Cursor>,
    goal: Arc<Goal>,
    tally: Tally,
}

impl KafkaReader {
    async fn run(&mut self) -> Result<(), BenchError> {
        let mut last_progress = self.clock.moment();
        while !self.is_done() {
            let request = self.request();
            let sent = self.clock.moment();
            let response = self.connection.call(FETCH_VERSION, &request).await?;
            let now = self.clock.moment();
            let read_before = self.tally.records;
            self.read(response, sent, now)?;
            match self.tally.records > read_before {
                true => last_progress = now,
                false => self.check_patience(now.since(last_progress))?,
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_at_end = || self.cursors.values().all(|cursor| cursor.next >= cursor.end);
        self.goal.is_reached() || (self.goal.is_open_ended() && is_at_end())
    }

    fn check_patience(&self, idle: Duration) -> Result<(), BenchError> {
        match idle > ANSWER_WAIT_MAX {
            true => Err(BenchError::NoAnswer(format!(
                "no record for {ANSWER_WAIT_MAX:?}, {} read on this connection",
                self.tally.records
            ))),
            false => Ok(()),
        }
    }

    fn request(&self) -> FetchRequest {
        let wanted = |cursor: &Cursor| !self.goal.is_open_ended() || cursor.next < cursor.end;
        let partitions = self
            .cursors
            .iter()
            .filter(|(_, cursor)| wanted(cursor))
            .map(|(index, cursor)| FetchPartition {
                partition: *index,
                fetch_offset: cursor.next,
                partition_max_bytes: self.options.partition_bytes,
                ..Default::default()
            })
            .collect();
        FetchRequest {
            max_wait_ms: FETCH_WAIT_MS,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            topics: vec![FetchTopic {
                topic: self.options.target.topic.clone(),
                partitions,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn read(
        &mut self,
        response: FetchResponse,
        sent: Moment,
        now: Moment,
    ) -> Result<(), BenchError> {
        if response.error_code != 0 {
            return Err(BenchError::Refused(kafka::name(response.error_code)));
        }
        let read_before = self.tally.records;
        for partition in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            if partition.error_code != 0 {
                self.tally.failed(kafka::name(partition.error_code), 1);
                return Err(BenchError::Refused(format!(
                    "partition {}: {}",
                    partition.partition_index,
                    kafka::name(partition.error_code)
                )));
            }
            let records = partition.records.as_ref().and_then(RecordSet::as_bytes);
            let cursor = self.cursors.get_mut(&partition.partition_index).ok_or_else(|| {
                BenchError::Protocol(format!("partition {} unasked", partition.partition_index))
            })?;
            if let Some(records) = records {
                let counted = read_batches(records, cursor, self.options.verify)?;
                self.tally.records += counted.records;
                self.tally.value_bytes += counted.bytes;
            }
        }
        let records = self.tally.records - read_before;
        self.goal.count(records);
        // A fetch that only waited says nothing about latency.
        if records > 0 {
            self.tally.answered(sent, now);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    records: u64,
    bytes: u64,
}

/// Counts the records from the cursor on and moves it behind them. A last batch that is cut off is
/// left for the next fetch.
///
/// Bytes are those of the batches as they travelled: to count the values' alone every record would
/// have to be decoded, and the client would be measured rather than the broker.
fn read_batches(records: &Bytes, cursor: &mut Cursor, verify: bool) -> Result<Counted, BenchError> {
    let malformed = |error: BatchError| BenchError::Protocol(format!("bad batch: {error}"));
    let mut counted = Counted::default();
    let mut at = 0;
    while at < records.len() {
        let header = match BatchHeader::peek(records.slice(at..).as_ref()) {
            Ok(header) if at + header.batch_bytes() <= records.len() => header,
            Ok(_) | Err(BatchError::Incomplete { .. }) => break,
            Err(error) => return Err(malformed(error)),
        };
        let batch_bytes = header.batch_bytes();
        if verify {
            let batch = records.slice(at..at + batch_bytes);
            RecordBatch::parse(batch).and_then(|batch| batch.verify_crc()).map_err(malformed)?;
        }
        at += batch_bytes;
        if header.last_offset() < cursor.next {
            continue;
        }
        if header.base_offset > cursor.next {
            return Err(BenchError::Protocol(format!(
                "offsets {} to {} are missing",
                cursor.next, header.base_offset
            )));
        }
        let skipped = cursor.next - header.base_offset;
        let fresh = i64::from(header.record_count) - skipped;
        counted.records += u64::try_from(fresh).unwrap_or(0);
        counted.bytes += batch_bytes as u64;
        cursor.next = header.last_offset() + 1;
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::batch::Placement;
    use weir_model::batch_builder::{BatchBuilder, BatchOptions};
    use weir_model::ids::LogEpoch;
    use weir_model::offset::Offset;
    use weir_model::record::RecordToWrite;
    use weir_model::time::Timestamp;

    fn batch(base_offset: u64, records: u32) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let record = RecordToWrite {
            timestamp: Timestamp::from_millis(1),
            key: None,
            value: Some(b"value"),
            headers: &[],
        };
        for _ in 0..records {
            builder.append(&record).expect("small");
        }
        let placement = Placement {
            base_offset: Offset::new(base_offset),
            leader_epoch: LogEpoch::ZERO,
            append_time: None,
        };
        let placed = builder.build().place(&placement);
        [placed.head().as_slice(), placed.payload()].concat()
    }

    fn read(bytes: Vec<u8>, next: i64) -> (Result<Counted, BenchError>, i64) {
        let mut cursor = Cursor { next, end: i64::MAX };
        (read_batches(&Bytes::from(bytes), &mut cursor, true), cursor.next)
    }

    #[test]
    fn records_before_the_cursor_do_not_count() {
        for (next, records, after) in [(0, 15, 15), (4, 11, 15), (10, 5, 15), (15, 0, 15)] {
            let (counted, cursor) = read([batch(0, 10), batch(10, 5)].concat(), next);
            let counted = counted.expect("sound batches");
            assert_eq!((counted.records, cursor), (records, after), "from {next}");
        }
    }

    #[test]
    fn a_batch_that_is_cut_off_waits_for_the_next_fetch() {
        let mut bytes = [batch(0, 10), batch(10, 5)].concat();
        bytes.pop();
        let (counted, cursor) = read(bytes, 0);
        assert_eq!((counted.expect("sound").records, cursor), (10, 10));
    }

    #[test]
    fn gaps_and_damage_are_errors() {
        let (gap, _) = read([batch(0, 10), batch(11, 5)].concat(), 0);
        assert!(matches!(gap, Err(BenchError::Protocol(why)) if why.contains("missing")));
        let mut bytes = batch(0, 10);
        *bytes.last_mut().expect("not empty") ^= 1;
        assert!(matches!(read(bytes, 0).0, Err(BenchError::Protocol(_))));
    }

    #[test]
    fn every_partition_is_dealt_to_one_connection() {
        assert_eq!(shares(&[0, 1, 2, 3, 4], 2), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(shares(&[0, 1], 5), [vec![0], vec![1]]);
        assert!(shares::<u8>(&[], 3).is_empty());
    }
}
