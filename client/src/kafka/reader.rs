//! Fetch: the records of a topic's partitions, as a `Consumer` gives them.
//!
//! Each round asks all leaders at the same time. What readers of committed transactions do not see
//! is left out: the records of transactions that were aborted, and the markers that end them.
//! Partitions that are added are found within [`LOOK_EVERY`] and read from their beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use weir_model::batch::{BatchError, RecordBatch};
use weir_model::limits::DecodeLimits;
use weir_model::time::Moment;

use super::offsets::Wanted;
use super::{Kafka, Topic, errors, index, wire_index};
use crate::consumer::{ConsumerOptions, Out};
use crate::error::{Error, Reason};
use crate::record::{From, Place, Record};

/// The last version that names topics by name.
const VERSION_MAX: i16 = 12;
/// How long a broker waits for records that are not there yet, in milliseconds.
const WAIT_MS: i32 = 500;
/// Most bytes of an answer, but for a first batch that is larger.
const BYTES_MAX: i32 = 8 << 20;
/// Most bytes of one partition in it.
const PARTITION_BYTES_MAX: i32 = 1 << 20;
/// Transactions that are not committed are not seen.
const READ_COMMITTED: i8 = 1;
/// How often is looked for partitions that were added.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The task.
struct Reader {
    kafka: Kafka,
    options: ConsumerOptions,
    topic: Topic,
    looked: Moment,
    cursors: BTreeMap<u32, Cursor>,
    records_left: Option<u64>,
    out: Out,
}

/// Where a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    next: u64,
    /// Where it ended at the beginning; none where it is read on for ever.
    end: Option<u64>,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Goes,
    Ends,
}

/// Reads until there is nothing more to come or nobody takes it.
pub(super) async fn run(kafka: Kafka, options: ConsumerOptions, out: Out) {
    let told = out.clone();
    let result = async {
        let mut reader = Reader::begin(kafka, options, out).await?;
        reader.run().await
    };
    if let Err(error) = result.await {
        // If nobody takes it, nobody wants it.
        let _ = told.send(Err(error)).await;
    }
}

impl Reader {
    async fn begin(kafka: Kafka, options: ConsumerOptions, out: Out) -> Result<Reader, Error> {
        let topic = kafka.retry().run(|| kafka.topic(&options.stream)).await?;
        let chosen: Vec<u32> = match options.partitions.is_empty() {
            true => topic.leaders.keys().copied().collect(),
            false => options.partitions.clone(),
        };
        let mut reader = Reader {
            looked: kafka.clock().real_moment(),
            records_left: options.records_max,
            cursors: BTreeMap::new(),
            kafka,
            options,
            topic,
            out,
        };
        reader.cursors = reader.places(&chosen).await?;
        Ok(reader)
    }

    /// Where these partitions are begun.
    async fn places(&self, chosen: &[u32]) -> Result<BTreeMap<u32, Cursor>, Error> {
        let stream = &self.options.stream;
        let starts = self.kafka.ends(stream, chosen, Wanted::Earliest).await?;
        let ends = self.kafka.ends(stream, chosen, Wanted::LastStable).await?;
        let timed = match self.options.from {
            From::TimestampMs(millis) => {
                self.kafka.offsets(stream, chosen, Wanted::AtMs(millis)).await?
            }
            _ => BTreeMap::new(),
        };
        let mut cursors = BTreeMap::new();
        for (partition, end) in ends {
            let start = starts.get(&partition).copied().unwrap_or(0);
            let next = match self.options.from {
                From::Earliest => start,
                From::Latest => end,
                From::Offset(offset) if offset > end => return Err(out_of_range(start, end)),
                From::Offset(offset) => offset.max(start),
                From::Last(count) => end.saturating_sub(count).max(start),
                From::TimestampMs(_) => timed.get(&partition).copied().flatten().unwrap_or(end),
            };
            let end = self.options.until_now.then_some(end);
            cursors.insert(partition, Cursor { next, end });
        }
        Ok(cursors)
    }

    async fn run(&mut self) -> Result<(), Error> {
        let clock = Arc::clone(self.kafka.clock());
        let retry = *self.kafka.retry();
        let (mut failures, mut failing_since) = (0, clock.real_moment());
        while self.is_unfinished() {
            let error = match self.round().await {
                Ok(Flow::Goes) => {
                    (failures, failing_since) = (0, clock.real_moment());
                    continue;
                }
                Ok(Flow::Ends) => return Ok(()),
                Err(error) => error,
            };
            let is_over = clock.real_moment().since(failing_since) > retry.time_max;
            if is_over || !error.may_pass() {
                return Err(error);
            }
            tokio::time::sleep(retry.pause(failures)).await;
            failures += 1;
            if let Ok(topic) = self.kafka.topic(&self.options.stream).await {
                self.topic = topic;
            }
        }
        Ok(())
    }

    fn is_unfinished(&self) -> bool {
        self.records_left != Some(0) && self.cursors.values().any(Cursor::is_open)
    }

    /// Asks all leaders once, and hands on what they have.
    async fn round(&mut self) -> Result<Flow, Error> {
        self.look().await?;
        let mut calls = JoinSet::new();
        let is_wanted = |index| self.cursors.get(&index).is_some_and(Cursor::is_open);
        for (leader, partitions) in self.topic.by_leader(is_wanted) {
            let request = self.request(&partitions)?;
            let (kafka, leader) = (self.kafka.clone(), leader.to_owned());
            calls.spawn(async move { kafka.call_at(&leader, VERSION_MAX, &request).await });
        }
        if calls.is_empty() {
            return Err(errors::refused(ErrorCode::LEADER_NOT_AVAILABLE.0, None));
        }
        while let Some(called) = calls.join_next().await {
            let answer = called.map_err(|error| Error::Protocol(error.to_string()))??;
            if self.take(answer).await? == Flow::Ends {
                return Ok(Flow::Ends);
            }
        }
        Ok(Flow::Goes)
    }

    /// Looks for new partitions when it is time.
    async fn look(&mut self) -> Result<(), Error> {
        let now = self.kafka.clock().real_moment();
        let takes_new = self.options.partitions.is_empty() && !self.options.until_now;
        if !takes_new || now.since(self.looked) < LOOK_EVERY {
            return Ok(());
        }
        self.looked = now;
        self.topic = self.kafka.topic(&self.options.stream).await?;
        for partition in self.topic.leaders.keys() {
            // One that came while nobody looked is read from its beginning.
            self.cursors.entry(*partition).or_insert(Cursor { next: 0, end: None });
        }
        Ok(())
    }

    fn request(&self, partitions: &[u32]) -> Result<FetchRequest, Error> {
        let mut asked = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let next = self.cursors.get(partition).map_or(0, |cursor| cursor.next);
            asked.push(FetchPartition {
                partition: wire_index(*partition)?,
                fetch_offset: i64::try_from(next).unwrap_or(i64::MAX),
                partition_max_bytes: PARTITION_BYTES_MAX,
                ..FetchPartition::default()
            });
        }
        let topic = self.options.stream.clone();
        Ok(FetchRequest {
            max_wait_ms: WAIT_MS,
            min_bytes: 1,
            max_bytes: BYTES_MAX,
            isolation_level: READ_COMMITTED,
            topics: vec![FetchTopic { topic, partitions: asked, ..FetchTopic::default() }],
            ..FetchRequest::default()
        })
    }

    async fn take(&mut self, answer: FetchResponse) -> Result<Flow, Error> {
        if answer.error_code != 0 {
            return Err(errors::refused(answer.error_code, None));
        }
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let partition = index(data.partition_index)?;
            let Some(cursor) = self.cursors.get(&partition).copied() else { continue };
            match ErrorCode(data.error_code) {
                ErrorCode::NONE => {}
                ErrorCode::OFFSET_OUT_OF_RANGE => {
                    self.jump(partition, cursor).await?;
                    continue;
                }
                // The topic is known: one that does not lead the partition may say this, too.
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                    self.kafka.topic(&self.options.stream).await?;
                    return Err(errors::refused(ErrorCode::NOT_LEADER_OR_FOLLOWER.0, None));
                }
                ErrorCode(code) => return Err(errors::refused(code, None)),
            }
            let stream: Arc<str> = self.options.stream.as_str().into();
            let (records, next) = decoded(&stream, partition, cursor, &data)?;
            self.cursors.insert(partition, Cursor { next, ..cursor });
            if self.hand_on(records).await == Flow::Ends {
                return Ok(Flow::Ends);
            }
        }
        Ok(Flow::Goes)
    }

    /// Goes on at the oldest record, where what was next is gone.
    async fn jump(&mut self, partition: u32, cursor: Cursor) -> Result<(), Error> {
        let stream = &self.options.stream;
        let starts = self.kafka.ends(stream, &[partition], Wanted::Earliest).await?;
        let start = starts.get(&partition).copied().unwrap_or(0);
        if start <= cursor.next {
            let ends = self.kafka.ends(stream, &[partition], Wanted::LastStable).await?;
            return Err(out_of_range(start, ends.get(&partition).copied().unwrap_or(start)));
        }
        self.cursors.insert(partition, Cursor { next: start, ..cursor });
        Ok(())
    }

    async fn hand_on(&mut self, mut records: Vec<Record>) -> Flow {
        if let Some(left) = &mut self.records_left {
            records.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left = left.saturating_sub(records.len() as u64);
        }
        if !records.is_empty() && self.out.send(Ok(records)).await.is_err() {
            return Flow::Ends;
        }
        if self.records_left == Some(0) { Flow::Ends } else { Flow::Goes }
    }
}

impl Cursor {
    /// Whether there is something to be read, now or later.
    fn is_open(&self) -> bool {
        self.end.is_none_or(|end| self.next < end)
    }
}

fn out_of_range(start: u64, end: u64) -> Error {
    errors::refusal(Reason::OutOfRange, format!("offsets {start} to {end} can be read"))
}

/// The records of an answer that are to be seen, and the offset behind all that it has.
fn decoded(
    stream: &Arc<str>,
    partition: u32,
    cursor: Cursor,
    data: &PartitionData,
) -> Result<(Vec<Record>, u64), Error> {
    let malformed =
        |error: BatchError| Error::Protocol(format!("a batch of partition {partition}: {error}"));
    let bytes = data.records.as_ref().and_then(|records| records.as_bytes());
    let mut rest: Bytes = bytes.cloned().unwrap_or_default();
    let mut aborted = Aborted::of(data.aborted_transactions.as_deref().unwrap_or_default());
    let (mut records, mut next) = (Vec::new(), cursor.next);
    while !rest.is_empty() {
        let batch = match RecordBatch::split_first(&mut rest) {
            Ok(batch) => batch,
            // A last batch may be cut off; it comes again with the next answer.
            Err(BatchError::Incomplete { .. }) => break,
            Err(error) => return Err(malformed(error)),
        };
        batch.verify_crc().map_err(malformed)?;
        let base = offset(batch.header().base_offset)?;
        let is_seen = aborted.lets_through(&batch);
        if is_seen {
            for record in batch.records(&DecodeLimits::default()).map_err(malformed)? {
                let record = record.map_err(malformed)?;
                let offset = base + u64::try_from(record.offset_delta).unwrap_or(0);
                let is_before_end = cursor.end.is_none_or(|end| offset < end);
                if offset >= cursor.next && is_before_end {
                    records.push(shown(stream, partition, offset, record));
                }
            }
        }
        next = next.max(offset(batch.header().last_offset())? + 1);
    }
    Ok((records, next))
}

fn offset(offset: i64) -> Result<u64, Error> {
    u64::try_from(offset).map_err(|_| Error::Protocol(format!("offset {offset}")))
}

fn shown(
    stream: &Arc<str>,
    partition: u32,
    offset: u64,
    record: weir_model::record::Record,
) -> Record {
    let text = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
    let headers = record.headers.iter();
    let headers = headers.map(|header| (text(&header.key), header.value)).collect();
    let timestamp_ms = record.timestamp.as_millis();
    let place = Place { partition, offset, timestamp_ms };
    Record {
        stream: Arc::clone(stream),
        place,
        sequence_number: None,
        key: record.key,
        value: record.value,
        headers,
    }
}

/// Which transactions were aborted: those whose first record was passed, and those to come.
struct Aborted {
    /// By the offset of their first record, the last one first.
    to_come: Vec<(i64, i64)>,
    producers: BTreeSet<i64>,
}

impl Aborted {
    fn of(transactions: &[AbortedTransaction]) -> Aborted {
        let mut to_come: Vec<_> = transactions
            .iter()
            .map(|aborted| (aborted.first_offset, aborted.producer_id))
            .collect();
        to_come.sort_unstable_by(|one, other| other.cmp(one));
        Aborted { to_come, producers: BTreeSet::new() }
    }

    /// Whether a batch, the next in the partition, is to be seen.
    fn lets_through(&mut self, batch: &RecordBatch) -> bool {
        let header = batch.header();
        let producer = header.producer().map(|stamp| stamp.id.as_i64());
        while let Some((first, producer)) = self.to_come.last().copied() {
            if first > header.last_offset() {
                break;
            }
            self.producers.insert(producer);
            self.to_come.pop();
        }
        if header.attributes.is_control() {
            // The marker ends the transaction, whichever way.
            producer.map(|producer| self.producers.remove(&producer));
            return false;
        }
        let is_aborted = producer.is_some_and(|producer| self.producers.contains(&producer));
        !(header.attributes.is_transactional() && is_aborted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_kafka_protocol::RecordSet;
    use weir_model::batch::{Attributes, BatchKind, ProducerStamp, TimestampType};
    use weir_model::batch_builder::{BatchBuilder, BatchOptions};
    use weir_model::compression::Codec;
    use weir_model::ids::ProducerId;
    use weir_model::record::RecordToWrite;

    /// Two records from an offset on, as a broker has them.
    fn batch(base_offset: u64, kind: BatchKind, producer: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for value in [b"one", b"two"] {
            let record = RecordToWrite { value: Some(value), ..RecordToWrite::default() };
            builder.append(&record).expect("it fits");
        }
        let id = ProducerId::new(producer).expect("it is not negative");
        builder.stamp(ProducerStamp { id, epoch: 0, base_sequence: 0 });
        let mut bytes = builder.build().bytes().to_vec();
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        let attributes = Attributes::new(Codec::None, TimestampType::CreateTime, kind);
        bytes[21..23].copy_from_slice(&attributes.0.to_be_bytes());
        let crc = weir_model::batch::crc32c_of_batch(&bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn offsets(data: &PartitionData, cursor: Cursor) -> (Vec<u64>, u64) {
        let (records, next) = decoded(&"s".into(), 0, cursor, data).expect("it is sound");
        (records.iter().map(|record| record.place.offset).collect(), next)
    }

    #[test]
    fn records_before_the_place_and_behind_the_end_are_left_out() {
        let mut bytes = batch(4, BatchKind::Plain, 1);
        bytes.extend(batch(6, BatchKind::Plain, 1));
        let whole = bytes.len();
        bytes.extend(&batch(8, BatchKind::Plain, 1)[..70]);
        let records = Some(RecordSet::Bytes(bytes.clone().into()));
        let data = PartitionData { records, ..PartitionData::default() };
        assert_eq!(offsets(&data, Cursor { next: 5, end: None }), (vec![5, 6, 7], 8));
        assert_eq!(offsets(&data, Cursor { next: 5, end: Some(7) }), (vec![5, 6], 8));

        bytes[whole - 1] ^= 1;
        let records = Some(RecordSet::Bytes(bytes.into()));
        let data = PartitionData { records, ..PartitionData::default() };
        assert!(decoded(&"s".into(), 0, Cursor { next: 0, end: None }, &data).is_err());
    }

    #[test]
    fn aborted_transactions_and_markers_are_not_seen() {
        let mut bytes = Vec::new();
        for (base_offset, kind, producer) in [
            (0, BatchKind::Transactional, 1),
            (2, BatchKind::Transactional, 2),
            (4, BatchKind::Control, 1),
            (6, BatchKind::Transactional, 1),
            (8, BatchKind::Plain, 3),
        ] {
            bytes.extend(batch(base_offset, kind, producer));
        }
        let data = PartitionData {
            records: Some(RecordSet::Bytes(bytes.into())),
            aborted_transactions: Some(vec![AbortedTransaction {
                producer_id: 1,
                first_offset: 0,
            }]),
            ..PartitionData::default()
        };
        let seen = vec![2, 3, 6, 7, 8, 9];
        assert_eq!(offsets(&data, Cursor { next: 0, end: None }), (seen, 10));
    }
}
