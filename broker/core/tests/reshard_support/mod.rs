//! What the tests of resharding share: streams, writers, and a reader who follows the lineage.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_core::broker::Broker;
use weir_core::error::AppendError;
use weir_core::partition::append::{PendingAppend, QuotaWait};
use weir_core::partition::partition::Partition;
use weir_core::read::records::{CallQuota, ReadRecords};
use weir_core::request_budget::HeldBytes;
use weir_core::routing::reshard::Reshard;
use weir_core::routing::route::RoutedRecord;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_model::batch::{ProducerStamp, RecordBatch};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::hash_key::HashKey;
use weir_model::ids::{PartitionIndex, ProducerId, StreamName};
use weir_model::offset::Offset;
use weir_model::random::Random;
use weir_model::record::RecordToWrite;
use weir_model::time::Timestamp;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) async fn make_stream(broker: &Broker, partitions: u32, flush: &str) -> Arc<Stream> {
    let new = NewStream {
        name: StreamName::new("orders").expect("a legal name"),
        routing: Routing::ByHash,
        partitions,
        overrides: BTreeMap::from([("weir.flush".to_owned(), flush.to_owned())]),
        attributes: Default::default(),
        intent: Intent::Make,
    };
    broker.create_streams(vec![new]).await.remove(0).expect("made")
}

pub(crate) fn index(number: usize) -> PartitionIndex {
    PartitionIndex::try_from(number).expect("small")
}

pub(crate) fn split(number: usize, at: u128) -> Reshard {
    Reshard::Split { partition: index(number), at: HashKey(at) }
}

pub(crate) fn routed(key: &str, data: &str) -> RoutedRecord {
    RoutedRecord {
        key: Some(Bytes::copy_from_slice(key.as_bytes())).filter(|key| !key.is_empty()),
        value: Some(Bytes::copy_from_slice(data.as_bytes())),
        ..RoutedRecord::default()
    }
}

/// A batch of one record, as a Kafka client sends it: with its own key, into its own partition.
pub(crate) fn batch(key: &str, value: &str, producer: Option<(i64, i32)>) -> RecordBatch {
    let producer = producer.map(|(id, base_sequence)| ProducerStamp {
        id: ProducerId::new(id).expect("not negative"),
        epoch: 0,
        base_sequence,
    });
    let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
    let record = RecordToWrite {
        timestamp: NOW,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    builder.append(&record).expect("a small record fits");
    builder.build()
}

pub(crate) async fn begin(
    broker: &Broker,
    stream: &Stream,
    partition: usize,
    batch: RecordBatch,
) -> Result<PendingAppend, AppendError> {
    let wait = QuotaWait { time_max: Duration::ZERO, held: HeldBytes::default() };
    broker.append(stream, index(partition), batch, wait).await
}

/// Any reshard that these partitions allow.
pub(crate) fn any_reshard(partitions: &[Arc<Partition>], random: &dyn Random) -> Reshard {
    let mut open: Vec<_> = partitions.iter().filter(|partition| partition.is_open()).collect();
    open.sort_by_key(|partition| partition.hash_keys.start());
    let below = |end: usize| (random.next_u64() % end as u64) as usize;
    let number = |partition: &Partition| partition.id.index.as_usize();
    match below(10) {
        0 => Reshard::Scale { partitions: 1 + below(6) as u32 },
        1..=5 if open.len() > 1 => {
            let pair = below(open.len() - 1);
            let (lower, upper) = (number(open[pair]), number(open[pair + 1]));
            Reshard::Merge { partition: index(lower), adjacent: index(upper) }
        }
        _ => {
            let partition = open[below(open.len())];
            let range = partition.hash_keys;
            let width = range.end().0 - range.start().0;
            split(number(partition), range.start().0 + width / 4 * (1 + below(3) as u128))
        }
    }
}

/// Asserts that the open partitions cover the hash keys exactly once.
pub(crate) fn check_cover(partitions: &[Arc<Partition>]) {
    let open = partitions.iter().filter(|partition| partition.is_open());
    let mut ranges: Vec<_> = open.map(|partition| partition.hash_keys).collect();
    ranges.sort_by_key(|range| range.start());
    assert_eq!(ranges.first().map(|range| range.start()), Some(HashKey::MIN));
    assert_eq!(ranges.last().map(|range| range.end()), Some(HashKey::MAX));
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].end().0 + 1, pair[1].start().0, "a hole or an overlap");
    }
}

/// Reads each partition to its end, parents before their children; gives keys and data in that
/// order.
pub(crate) async fn read_by_lineage(
    broker: &Broker,
    stream: &Arc<Stream>,
) -> Vec<(PartitionIndex, String, String)> {
    let mut read = Vec::new();
    // A child has a higher index than its parents.
    for partition in stream.partitions().iter() {
        for parent in partition.parents.iter().flatten() {
            assert!(*parent < partition.id.index, "a parent would be read after its child");
        }
        let mut from = Offset::ZERO;
        loop {
            let request = ReadRecords {
                stream: Arc::clone(stream),
                partition: partition.id.index,
                from,
                records_max: 10_000,
                bytes_max: 10 << 20,
                call: CallQuota::Free,
            };
            let page = broker.read(&request).await.expect("readable");
            for record in &page.records {
                let data = String::from_utf8(record.data().to_vec()).expect("text");
                read.push((partition.id.index, record.partition_key().into_owned(), data));
            }
            assert!(page.next > from || page.records.is_empty(), "a read that stands still");
            from = page.next;
            if page.records.is_empty() {
                assert_eq!(page.finished, !partition.is_open(), "{}", partition.id.index);
                break;
            }
        }
        if let Some(closed) = partition.closed_at() {
            assert_eq!(partition.watermarks().log_end, closed.end, "records behind the end");
            assert_eq!(partition.watermarks().high_watermark, closed.end, "an end not kept");
        }
    }
    read
}

/// Asserts that each of the records was read exactly once, and nothing else but what may have been
/// written without an answer; and that the numbers of each key, which are its data, ascend.
pub(crate) fn check_read(
    read: &[(PartitionIndex, String, String)],
    answered: &BTreeSet<(String, u64)>,
    unanswered: &BTreeSet<(String, u64)>,
) {
    let mut seen = BTreeSet::new();
    let mut last_of_key: BTreeMap<&str, u64> = BTreeMap::new();
    for (partition, key, data) in read {
        let number: u64 = data.parse().expect("data is a number");
        assert!(seen.insert((key.clone(), number)), "{key} {number} read twice, in {partition}");
        if let Some(last) = last_of_key.insert(key, number) {
            assert!(last < number, "{key}: {number} in {partition} comes after {last}");
        }
    }
    let lost: Vec<_> = answered.difference(&seen).collect();
    assert!(lost.is_empty(), "answered and not there: {lost:?}");
    let is_strange =
        |record: &&(String, u64)| !answered.contains(*record) && !unanswered.contains(*record);
    let strange: Vec<_> = seen.iter().filter(is_strange).collect();
    assert!(strange.is_empty(), "never written: {strange:?}");
}
