//! Resharding while others write, read and look on: nothing is lost, doubled or out of order, and
//! nobody sees a hole.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod reshard_support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reshard_support::{
    NOW, any_reshard, batch, begin, check_cover, check_read, index, make_stream, read_by_lineage,
    routed, split,
};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use weir_core::broker::{Broker, BrokerOptions, Foundations};
use weir_core::error::{AppendError, ReshardError};
use weir_core::in_memory;
use weir_core::quota::limits::QuotaPolicy;
use weir_core::routing::reshard::Reshard;
use weir_core::settings::alteration::{Alteration, Change, Changes};
use weir_core::settings::holder::Resource;
use weir_core::stream::change_over::Resharded;
use weir_core::stream::registry::Deletion;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_core::{MetaError, Novelty};
use weir_model::ids::StreamName;
use weir_model::offset::Offset;
use weir_model::random::SeededRandom;
use weir_model::time::{Clock, ManualClock};
use weir_storage::local::{DataDir, Flushing, LocalLog, LocalOptions, Reserve};
use weir_storage::log::Log;
use weir_storage::memory::MemoryLog;
use weir_storage::meta::memory::MemoryMeta;
use weir_storage::meta::{MetaChange, MetaFuture, MetaStore, RedbStore, Versioned};
use weir_storage::sim_disk::SimDisk;

const HALF: u128 = 1 << 127;

fn options() -> BrokerOptions {
    BrokerOptions { quotas: QuotaPolicy::Off, ..in_memory::default_options() }
}

/// A broker in memory whose metadata does as it is told.
async fn broker_with(meta: Arc<dyn MetaStore>) -> Arc<Broker> {
    broker_at(meta, Arc::new(ManualClock::starting_at(NOW))).await
}

async fn broker_at(meta: Arc<dyn MetaStore>, clock: Arc<dyn Clock>) -> Arc<Broker> {
    let foundations = Foundations {
        log: Arc::new(Log::Memory(MemoryLog::start(Arc::clone(&clock)))),
        meta,
        clock,
        random: Arc::new(SeededRandom::new(1)),
    };
    Broker::open(foundations, options()).await.expect("a broker")
}

async fn broker_on(disk: &SimDisk) -> Arc<Broker> {
    let data = DataDir::open(Arc::new(disk.clone()), Reserve::None).expect("a data directory");
    let meta = Arc::new(RedbStore::open(&data).expect("a store"));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(NOW));
    let random = Arc::new(SeededRandom::new(1));
    let local = LocalOptions { flushing: Flushing::Threads(2), ..LocalOptions::default() };
    let log = LocalLog::open(data, meta.clone(), Arc::clone(&clock), &*random, local).await;
    let log = Arc::new(Log::Local(log.expect("a log")));
    Broker::open(Foundations { log, meta, clock, random }, options()).await.expect("a broker")
}

/// Writers put numbered records, each with a few keys of its own; gives what was answered.
async fn write_until(
    broker: Arc<Broker>,
    stream: Arc<Stream>,
    writer: usize,
    ends: Arc<AtomicBool>,
) -> BTreeSet<(String, u64)> {
    let mut answered = BTreeSet::new();
    let mut number = 0;
    while !ends.load(Ordering::Relaxed) {
        let numbered: Vec<_> = (0..20)
            .map(|_| {
                number += 1;
                (format!("{writer}-{}", number % 5), number)
            })
            .collect();
        let records: Vec<_> =
            numbered.iter().map(|(key, number)| routed(key, &number.to_string())).collect();
        for (record, place) in
            numbered.into_iter().zip(broker.append_routed(&stream, &records).await)
        {
            place.expect("a reshard is waited for");
            answered.insert(record);
        }
        tokio::task::yield_now().await;
    }
    answered
}

async fn reshard_under_load(broker: Arc<Broker>, flush: &str, seed: u64) {
    let stream = make_stream(&broker, 2, flush).await;
    let ends = Arc::new(AtomicBool::new(false));
    let writer = |number| {
        let (broker, stream) = (Arc::clone(&broker), Arc::clone(&stream));
        tokio::spawn(write_until(broker, stream, number, Arc::clone(&ends)))
    };
    let writers: Vec<_> = (0..4).map(writer).collect();
    let onlooker = tokio::spawn({
        let (stream, ends) = (Arc::clone(&stream), Arc::clone(&ends));
        async move {
            while !ends.load(Ordering::Relaxed) {
                check_cover(&stream.partitions());
                tokio::task::yield_now().await;
            }
        }
    });
    let random = SeededRandom::new(seed);
    for _ in 0..40 {
        let reshard = any_reshard(&stream.partitions(), &random);
        broker.reshard(&stream, reshard).await.unwrap_or_else(|e| panic!("{reshard:?}: {e:?}"));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ends.store(true, Ordering::Relaxed);
    onlooker.await.expect("never saw a hole");
    let mut answered = BTreeSet::new();
    for writer in writers {
        answered.extend(writer.await.expect("a writer"));
    }
    let read = read_by_lineage(&broker, &stream).await;
    check_read(&read, &answered, &BTreeSet::new());
    assert!(answered.len() > 1_000, "only {} records", answered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_and_records_are_kept_by_writers_who_do_not_stop() {
    reshard_under_load(broker_with(Arc::new(MemoryMeta::default())).await, "group", 1).await;
    for (flush, seed) in [("group", 2), ("os", 3)] {
        let disk = SimDisk::new(seed, 256 << 20);
        reshard_under_load(broker_on(&disk).await, flush, seed).await;
    }
}

/// Metadata whose next commits wait, or fail.
#[derive(Debug, Default)]
struct Controlled {
    rows: MemoryMeta,
    /// Nothing is committed while somebody holds it alone.
    gate: RwLock<()>,
    failure: Mutex<Option<MetaError>>,
}

impl MetaStore for Controlled {
    fn get(&self, key: bytes::Bytes) -> MetaFuture<'_, Option<Versioned>> {
        self.rows.get(key)
    }

    fn scan(&self, prefix: bytes::Bytes) -> MetaFuture<'_, Vec<(bytes::Bytes, Versioned)>> {
        self.rows.scan(prefix)
    }

    fn commit(&self, changes: Vec<MetaChange>) -> MetaFuture<'_, ()> {
        Box::pin(async move {
            let _through = self.gate.read().await;
            let failure = self.failure.lock().take();
            match failure {
                Some(error) => Err(error),
                None => self.rows.commit(changes).await,
            }
        })
    }
}

/// Lets everything run that can.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// A split that is under way as far as it can be.
async fn begin_split(
    broker: &Arc<Broker>,
    stream: &Arc<Stream>,
) -> JoinHandle<Result<Resharded, ReshardError>> {
    let (broker, stream) = (Arc::clone(broker), Arc::clone(stream));
    let split = async move { broker.reshard(&stream, split(0, HALF)).await };
    let resharding = tokio::spawn(split);
    settle().await;
    resharding
}

#[tokio::test(start_paused = true)]
async fn writers_wait_for_the_change_over_and_go_where_their_records_belong_then() {
    let meta = Arc::new(Controlled::default());
    let broker = broker_with(meta.clone()).await;
    let stream = make_stream(&broker, 1, "group").await;
    let held = meta.gate.write().await;
    let resharding = begin_split(&broker, &stream).await;
    let put = tokio::spawn({
        let (broker, stream) = (Arc::clone(&broker), Arc::clone(&stream));
        async move { broker.append_routed(&stream, &[routed("b", "1")]).await.remove(0) }
    });
    let pending = begin(&broker, &stream, 0, batch("k", "2", None)).await.expect("submitted");
    let produced = tokio::spawn(pending.settled());
    settle().await;
    assert!(!resharding.is_finished() && !put.is_finished() && !produced.is_finished());
    assert_eq!(stream.partitions().len(), 1, "nothing is shown before it is committed");
    assert!(stream.partitions()[0].is_open());

    drop(held);
    resharding.await.expect("runs").expect("made");
    let place = put.await.expect("runs").expect("written");
    assert_eq!(place.partition, index(2), "the MD5 of b is in the upper half");
    let open = vec![index(1), index(2)];
    let refused = produced.await.expect("runs");
    assert_eq!(refused, Err(AppendError::Closed { open: open.clone() }));
    let late = begin(&broker, &stream, 0, batch("k", "3", None)).await;
    assert_eq!(late.err(), Some(AppendError::Closed { open }));
    let read = read_by_lineage(&broker, &stream).await;
    assert_eq!(read, [(index(2), "b".to_owned(), "1".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn writers_are_told_to_try_again_when_a_change_over_takes_longer_than_a_second() {
    let meta = Arc::new(Controlled::default());
    let broker = broker_with(meta.clone()).await;
    let stream = make_stream(&broker, 1, "group").await;
    let held = meta.gate.write().await;
    let resharding = begin_split(&broker, &stream).await;
    let put = broker.append_routed(&stream, &[routed("b", "1")]).await.remove(0);
    assert_eq!(put.err(), Some(AppendError::Resharding));
    let pending = begin(&broker, &stream, 0, batch("k", "2", None)).await.expect("submitted");
    assert_eq!(pending.settled().await, Err(AppendError::Resharding));
    drop(held);
    resharding.await.expect("runs").expect("made");
    assert!(read_by_lineage(&broker, &stream).await.is_empty(), "what was refused is not there");
}

#[tokio::test]
async fn a_reshard_that_was_not_made_leaves_everything_as_it_was() {
    let meta = Arc::new(Controlled::default());
    let broker = broker_with(meta.clone()).await;
    let stream = make_stream(&broker, 1, "group").await;
    for (error, then) in [
        (MetaError::DiskFull, Ok(())),
        (MetaError::Conflict, Ok(())),
        // It may have been made after all, so a record behind the end might be lost.
        (MetaError::Failed("power".to_owned()), Err(AppendError::Resharding)),
    ] {
        *meta.failure.lock() = Some(error.clone());
        let failed = broker.reshard(&stream, split(0, HALF)).await;
        assert_eq!(failed, Err(ReshardError::Meta(error.clone())));
        assert!(stream.partitions().len() == 1 && stream.partitions()[0].is_open());
        let put = broker.append_routed(&stream, &[routed("k", "1")]).await.remove(0);
        assert_eq!(put.map(drop), then, "{error:?}");
    }
    // Nor may a second one, which could fail in a way that takes the seal back.
    *meta.failure.lock() = Some(MetaError::DiskFull);
    let again = broker.reshard(&stream, split(0, HALF)).await;
    assert!(matches!(again, Err(ReshardError::Meta(MetaError::Failed(_)))), "{again:?}");
    let put = broker.append_routed(&stream, &[routed("k", "1")]).await.remove(0);
    assert_eq!(put.map(drop), Err(AppendError::Resharding));
    assert_eq!(read_by_lineage(&broker, &stream).await.len(), 2);
}

#[tokio::test]
async fn a_producers_retry_of_what_the_parent_took_is_no_new_record() {
    let broker = broker_with(Arc::new(MemoryMeta::default())).await;
    let stream = make_stream(&broker, 1, "group").await;
    let append = async |sequence, value| {
        let batch = batch("k", value, Some((7, sequence)));
        let placed = begin(&broker, &stream, 0, batch).await?.settled().await?;
        Ok((placed.base_offset, placed.novelty))
    };
    assert_eq!(append(0, "0").await, Ok((Offset::ZERO, Novelty::New)));
    broker.reshard(&stream, split(0, HALF)).await.expect("made");
    assert_eq!(append(0, "0").await, Ok((Offset::ZERO, Novelty::Duplicate)));
    let closed = Err(AppendError::Closed { open: vec![index(1), index(2)] });
    assert_eq!(append(1, "1").await, closed, "the next one has to go elsewhere");
    assert_eq!(append(5, "5").await, closed, "whatever its sequence");
    assert_eq!(read_by_lineage(&broker, &stream).await.len(), 1);
}

#[tokio::test]
async fn streams_whose_clients_choose_partitions_are_not_resharded() {
    let broker = broker_with(Arc::new(MemoryMeta::default())).await;
    let new = NewStream {
        name: StreamName::new("topic").expect("legal"),
        routing: Routing::ByPartition,
        partitions: 2,
        overrides: Default::default(),
        attributes: Default::default(),
        intent: Intent::Make,
    };
    let topic = broker.create_streams(vec![new]).await.remove(0).expect("made");
    for reshard in [
        split(0, 99),
        Reshard::Merge { partition: index(0), adjacent: index(1) },
        Reshard::Scale { partitions: 4 },
    ] {
        let refused = broker.reshard(&topic, reshard).await;
        assert_eq!(refused, Err(ReshardError::RoutedByPartition), "{reshard:?}");
    }
    let stream = make_stream(&broker, 1, "group").await;
    broker.delete_stream(stream.id, Deletion::WithConsumers).await.expect("deleted");
    assert_eq!(broker.reshard(&stream, split(0, 99)).await, Err(ReshardError::Unknown));
}

#[tokio::test]
async fn the_closed_partitions_of_all_streams_have_a_limit_too() {
    let options = BrokerOptions { partitions_max: 3, ..options() };
    let clock = Arc::new(ManualClock::starting_at(NOW));
    let random = Arc::new(SeededRandom::new(1));
    let broker = in_memory::open(clock, random, options).await.expect("a broker");
    let stream = make_stream(&broker, 2, "group").await;
    let other = NewStream {
        name: StreamName::new("other").expect("a legal name"),
        routing: Routing::ByPartition,
        partitions: 1,
        overrides: Default::default(),
        attributes: Default::default(),
        intent: Intent::Make,
    };
    let other = broker.create_streams(vec![other]).await.remove(0).expect("made");
    let scale = async |partitions| broker.reshard(&stream, Reshard::Scale { partitions }).await;
    for _ in 0..9 {
        scale(1).await.expect("a merge makes one");
        scale(2).await.expect("a split makes two");
    }
    assert_eq!(stream.partitions().len(), 29);
    let full = Err(ReshardError::LineagesFull { max: 30 });
    assert_eq!(scale(1).await, full, "one open, but one more is kept");
    let too_many_open = ReshardError::PartitionLimit { used: 3, asked: 1, max: 3 };
    assert_eq!(scale(3).await, Err(too_many_open), "told first");
    scale(2).await.expect("as many as there are takes no room");
    broker.delete_stream(other.id, Deletion::WithConsumers).await.expect("deleted");
    scale(1).await.expect("the other's room");
    assert_eq!(scale(2).await, full);
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_does_not_come_back_with_a_longer_retention() {
    let clock = Arc::new(ManualClock::starting_at(NOW));
    let broker = broker_at(Arc::new(MemoryMeta::default()), Arc::clone(&clock) as _).await;
    let stream = make_stream(&broker, 1, "group").await;
    broker.reshard(&stream, split(0, HALF)).await.expect("made");
    let known = |stream: &Stream, now| -> Vec<usize> {
        stream.known_partitions(now).iter().map(|p| p.id.index.as_usize()).collect()
    };
    let day_ms = 86_400_000;
    // It ends a millisecond after the last that it may hold.
    assert_eq!(known(&stream, NOW.plus_millis(day_ms)), [0, 1, 2]);
    assert_eq!(known(&stream, NOW.plus_millis(day_ms + 1)), [1, 2]);
    let keep = async |days: i64| {
        let change = ("retention.ms".to_owned(), Change::Set((days * day_ms).to_string()));
        let alteration = Alteration {
            resource: Resource::Stream("orders".to_owned()),
            changes: Changes::Some([change].into()),
        };
        let altered = broker.configurations().alter(vec![alteration], Intent::Make).await;
        assert_eq!(altered, [Ok(())]);
    };
    // Nobody has looked yet, so nothing is decided.
    keep(2).await;
    assert_eq!(known(&stream, NOW.plus_millis(day_ms + 1)), [0, 1, 2]);
    clock.advance(Duration::from_millis(1));
    // A retention of no time: the parent expires at the next look.
    keep(0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    keep(2).await;
    assert_eq!(known(&stream, NOW), [1, 2]);
    assert_eq!(stream.partitions().len(), 3, "Kafka's numbers have no holes");
    broker.reshard(&stream, split(1, HALF / 2)).await.expect("goes on");
    assert_eq!(known(&stream, NOW), [1, 2, 3, 4]);
}
