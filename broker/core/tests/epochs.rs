//! Log epochs on a simulated disk: what readers are told when a power cut took what they had read.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use support::{NOW, open};
use weir_core::broker::Broker;
use weir_core::error::ReadError;
use weir_core::partition::append::QuotaWait;
use weir_core::read::fetch::{FetchPartition, FetchRequest, FetchedPartition};
use weir_core::read::position::StartAt;
use weir_core::request_budget::HeldBytes;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::ids::{LogEpoch, PartitionIndex, StreamName};
use weir_model::offset::Offset;
use weir_model::record::RecordToWrite;
use weir_storage::log::EpochEnd;
use weir_storage::sim_disk::SimDisk;

/// A stream that answers before anything is flushed.
async fn unflushed_stream(broker: &Broker) -> Arc<Stream> {
    let new = NewStream {
        name: StreamName::new("orders").expect("a legal name"),
        routing: Routing::ByPartition,
        partitions: 1,
        overrides: BTreeMap::from([("weir.flush".to_owned(), "os".to_owned())]),
        attributes: Default::default(),
        intent: Intent::Make,
    };
    broker.create_streams(vec![new]).await.remove(0).expect("made")
}

async fn append(broker: &Broker, stream: &Stream, count: u64) {
    for _ in 0..count {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = [7; 5_000];
        let record = RecordToWrite { timestamp: NOW, key: None, value: Some(&value), headers: &[] };
        builder.append(&record).expect("it fits");
        let wait = QuotaWait { time_max: Duration::ZERO, held: HeldBytes::default() };
        let batch = builder.build();
        let pending = broker.append(stream, PartitionIndex::ZERO, batch, wait).await;
        pending.expect("accepted").settled().await.expect("answered");
    }
}

/// One fetch from `from` of a reader whose last record was of `last_epoch`.
async fn fetch(
    broker: &Broker,
    stream: &Arc<Stream>,
    from: u64,
    last_epoch: i32,
) -> FetchedPartition {
    let wanted = FetchPartition {
        stream: Arc::clone(stream),
        partition: stream.partition(PartitionIndex::ZERO).expect("the first"),
        from: Offset::new(from),
        bytes_max: 1 << 20,
        current_epoch: None,
        last_epoch: Some(last_epoch),
    };
    let request = FetchRequest {
        partitions: vec![wanted],
        bytes_max: 1 << 20,
        bytes_min: 1,
        wait_max: Duration::ZERO,
    };
    broker.fetch(&request).await.remove(0)
}

#[tokio::test]
async fn a_reader_of_records_that_were_lost_is_told_where_the_log_parted() {
    let disk = SimDisk::new(5, 64 << 20);
    let read_to = {
        let broker = open(&disk).await;
        let stream = unflushed_stream(&broker).await;
        append(&broker, &stream, 2).await;
        let partition = &stream.partitions()[0];
        broker.log().flush(partition.id).await.expect("flushed");
        append(&broker, &stream, 30).await;
        let read_to = partition.watermarks().high_watermark.number();
        disk.cut_power();
        read_to
    };
    let broker = open(&disk).await;
    let stream = broker.stream("orders").expect("it was committed");
    let partition = &stream.partitions()[0];
    let kept = partition.watermarks().log_end.number();
    assert!(2 <= kept && kept < read_to, "{kept} of {read_to} records are left");
    append(&broker, &stream, 50).await;
    let end = partition.watermarks().log_end.number();

    let parted = Some(EpochEnd { epoch: LogEpoch::ZERO, end: Offset::new(kept) });
    for (from, last_epoch, diverged_at) in [
        (read_to, 0, parted),
        (kept + 1, 0, parted),
        (kept, 0, None),
        (1, 0, None),
        (kept + 1, 1, None),
        (end, 1, None),
    ] {
        let fetched = fetch(&broker, &stream, from, last_epoch).await.expect("in range");
        let case = format!("from {from}, last epoch {last_epoch}");
        assert_eq!(fetched.diverged_at, diverged_at, "{case}");
        let gives_records = diverged_at.is_none() && from < end;
        assert_eq!(fetched.ranges.bytes > 0, gives_records, "{case}");
    }
    let unknown = fetch(&broker, &stream, 1, 2).await.err();
    assert!(matches!(unknown, Some(ReadError::OutOfRange { .. })), "{unknown:?}");

    for (at, offset, epoch) in [(StartAt::Earliest, 0, 0), (StartAt::Latest, end, 1)] {
        let found = broker.find_offset(partition, at).await.expect("found");
        let found = (found.offset.map(Offset::number), found.epoch.number());
        assert_eq!(found, (Some(offset), epoch), "{at:?}");
    }
}
