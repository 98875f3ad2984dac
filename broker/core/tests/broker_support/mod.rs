//! What the tests of the core share: a broker on the in-memory log, and short requests.

#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use weir_core::Ranges;
use weir_core::broker::{Broker, BrokerOptions, Foundations};
use weir_core::error::{AppendError, ReadError};
use weir_core::in_memory;
use weir_core::partition::append::QuotaWait;
use weir_core::read::fetch::{FetchPartition, FetchRequest};
use weir_core::read::records::{CallQuota, ReadRecords};
use weir_core::request_budget::HeldBytes;
use weir_core::routing::route::RoutedRecord;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_model::batch::RecordBatch;
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::ids::{PartitionIndex, StreamName};
use weir_model::offset::Offset;
use weir_model::random::SeededRandom;
use weir_model::record::RecordToWrite;
use weir_model::time::{ManualClock, Timestamp};
use weir_storage::log::Log;
use weir_storage::memory::MemoryLog;
use weir_storage::meta::MetaStore;
use weir_storage::meta::memory::MemoryMeta;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) fn quota_wait(time_max_ms: u64) -> QuotaWait {
    QuotaWait { time_max: Duration::from_millis(time_max_ms), held: HeldBytes::default() }
}

pub(crate) struct Bench {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        Bench::with(in_memory::default_options()).await
    }

    pub(crate) async fn with(options: BrokerOptions) -> Bench {
        Bench::on(Arc::new(MemoryMeta::default()), options).await
    }

    pub(crate) async fn on(meta: Arc<dyn MetaStore>, options: BrokerOptions) -> Bench {
        let clock = Arc::new(ManualClock::starting_at(NOW));
        let random = Arc::new(SeededRandom::new(1));
        let log = Arc::new(Log::Memory(MemoryLog::start(Arc::clone(&clock) as _)));
        let foundations = Foundations { log, meta, clock: Arc::clone(&clock) as _, random };
        let broker = Broker::open(foundations, options).await;
        Bench { broker: broker.expect("an in-memory broker opens"), clock }
    }

    pub(crate) async fn stream(
        &self,
        name: &str,
        routing: Routing,
        partitions: u32,
    ) -> Arc<Stream> {
        let new = new_stream(name, routing, partitions);
        let mut created = self.broker.create_streams(vec![new]).await;
        created.remove(0).expect("the stream is made")
    }

    pub(crate) async fn append(
        &self,
        stream: &Stream,
        batch: RecordBatch,
    ) -> Result<Offset, AppendError> {
        let zero = PartitionIndex::ZERO;
        let pending = self.broker.append(stream, zero, batch, quota_wait(500)).await?;
        pending.settled().await.map(|placed| placed.base_offset)
    }
}

pub(crate) fn new_stream(name: &str, routing: Routing, partitions: u32) -> NewStream {
    NewStream {
        name: StreamName::new(name).expect("a legal name"),
        routing,
        partitions,
        overrides: BTreeMap::new(),
        attributes: Default::default(),
        intent: Intent::Make,
    }
}

pub(crate) fn batch_of(values: &[&str], options: BatchOptions) -> RecordBatch {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        let record = RecordToWrite {
            timestamp: NOW,
            key: Some(b"key"),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        builder.append(&record).expect("a small record fits");
    }
    builder.build()
}

pub(crate) fn plain(values: &[&str]) -> RecordBatch {
    batch_of(values, BatchOptions::default())
}

pub(crate) fn fetch_of(stream: &Arc<Stream>, from: u64, wait_ms: u64) -> FetchRequest {
    FetchRequest {
        partitions: vec![FetchPartition {
            stream: Arc::clone(stream),
            partition: stream.partition(PartitionIndex::ZERO).expect("each has a first"),
            from: Offset::new(from),
            bytes_max: 1 << 20,
            current_epoch: None,
            last_epoch: None,
        }],
        bytes_max: 1 << 20,
        bytes_min: 1,
        wait_max: Duration::from_millis(wait_ms),
    }
}

pub(crate) async fn fetch_one(bench: &Bench, request: &FetchRequest) -> Result<Ranges, ReadError> {
    bench.broker.fetch(request).await.remove(0).map(|fetched| fetched.ranges)
}

pub(crate) fn read_of(stream: &Arc<Stream>, partition: PartitionIndex, from: u64) -> ReadRecords {
    ReadRecords {
        stream: Arc::clone(stream),
        partition,
        from: Offset::new(from),
        records_max: 10_000,
        bytes_max: 10 << 20,
        call: CallQuota::Free,
    }
}

pub(crate) fn routed(key: &str, data: &str) -> RoutedRecord {
    RoutedRecord {
        key: Some(Bytes::copy_from_slice(key.as_bytes())).filter(|key| !key.is_empty()),
        value: Some(Bytes::copy_from_slice(data.as_bytes())),
        ..RoutedRecord::default()
    }
}
