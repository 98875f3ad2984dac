//! The core through its façade, on the in-memory log: what any dialect may rely on.

mod broker_support;

use broker_support::{
    Bench, NOW, batch_of, fetch_of, fetch_one, new_stream, plain, quota_wait, read_of, routed,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_core::Novelty;
use weir_core::broker::BrokerOptions;
use weir_core::error::{AppendError, CreateStreamError, DeleteStreamError, ReadError};
use weir_core::group::identity::{Claim, GroupId};
use weir_core::in_memory;
use weir_core::read::position::{RememberedPlace, Resolved, StartAt};
use weir_core::stream::registry::Deletion;
use weir_core::stream::stream::{Intent, Routing};
use weir_model::batch::{ProducerStamp, RecordBatch, crc32c_of_batch};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::compression::Codec;
use weir_model::ids::{LogEpoch, PartitionIndex, ProducerId, StreamId};
use weir_model::offset::Offset;
use weir_model::record::RecordToWrite;
use weir_storage::meta::memory::MemoryMeta;
use weir_storage::meta::{MetaChange, MetaFuture, MetaStore, Versioned};
#[tokio::test]
async fn each_stream_of_a_request_is_judged_on_its_own() {
    let bench = Bench::new().await;
    bench.stream("a.b", Routing::ByPartition, 1).await;
    let mut bad_config = new_stream("config", Routing::ByPartition, 1);
    bad_config.overrides.insert("retention.minutes".to_owned(), "1".to_owned());
    let mut only_checked = new_stream("checked", Routing::ByPartition, 1);
    only_checked.intent = Intent::Validate;
    let request = vec![
        new_stream("fresh", Routing::ByPartition, 3),
        new_stream("fresh", Routing::ByPartition, 3),
        new_stream("a.b", Routing::ByHash, 1),
        new_stream("a_b", Routing::ByHash, 1),
        new_stream("none", Routing::ByHash, 0),
        bad_config,
        only_checked,
    ];
    let results = bench.broker.create_streams(request).await;
    let errors: Vec<_> = results.into_iter().map(Result::err).collect();
    assert_eq!(errors[0], None);
    assert_eq!(errors[1], Some(CreateStreamError::AlreadyExists));
    assert_eq!(errors[2], Some(CreateStreamError::AlreadyExists));
    assert!(matches!(errors[3], Some(CreateStreamError::NameCollision { .. })));
    assert!(matches!(errors[4], Some(CreateStreamError::PartitionCount { .. })));
    assert!(matches!(errors[5], Some(CreateStreamError::Config(_))));
    assert_eq!(errors[6], None);
    let user_streams = bench.broker.streams().into_iter().filter(|s| !s.name.is_internal());
    let names: Vec<_> = user_streams.map(|stream| stream.name.to_string()).collect();
    assert_eq!(names, ["a.b", "fresh"]);
}

/// A store whose commits take a while.
#[derive(Debug, Default)]
struct SlowMeta(MemoryMeta);

impl MetaStore for SlowMeta {
    fn get(&self, key: Bytes) -> MetaFuture<'_, Option<Versioned>> {
        self.0.get(key)
    }

    fn scan(&self, prefix: Bytes) -> MetaFuture<'_, Vec<(Bytes, Versioned)>> {
        self.0.scan(prefix)
    }

    fn commit(&self, changes: Vec<MetaChange>) -> MetaFuture<'_, ()> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.0.commit(changes).await
        })
    }
}

#[tokio::test]
async fn a_creation_is_carried_out_though_its_client_went_away() {
    let bench = Bench::on(Arc::new(SlowMeta::default()), in_memory::default_options()).await;
    let creation = bench.broker.create_streams(vec![new_stream("left", Routing::ByHash, 1)]);
    // Polled once and dropped, as by a connection that breaks.
    tokio::select! {
        biased;
        _ = creation => panic!("a creation has to wait for its commit"),
        () = std::future::ready(()) => {}
    }
    while bench.broker.stream("left").is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_deleted_stream_is_gone_for_those_who_still_hold_it() {
    let bench = Bench::new().await;
    let stream = bench.stream("orders", Routing::ByPartition, 1).await;
    bench.append(&stream, plain(&["one"])).await.expect("an append");
    bench.broker.delete_stream(stream.id, Deletion::WithConsumers).await.expect("a deletion");

    assert_eq!(bench.append(&stream, plain(&["two"])).await, Err(AppendError::UnknownPartition));
    let gone = fetch_one(&bench, &fetch_of(&stream, 0, 0)).await.err();
    assert_eq!(gone, Some(ReadError::UnknownPartition));
    let again = bench.broker.delete_stream(stream.id, Deletion::WithConsumers).await;
    assert_eq!(again, Err(DeleteStreamError::Unknown));

    let recreated = bench.stream("orders", Routing::ByPartition, 1).await;
    assert_ne!(recreated.id, stream.id);
    assert_eq!(recreated.partitions()[0].watermarks().log_end, Offset::ZERO);
}

#[tokio::test]
async fn each_stream_of_a_deletion_is_judged_on_its_own() {
    let bench = Bench::new().await;
    let (a, b) = (
        bench.stream("a", Routing::ByPartition, 2).await,
        bench.stream("b", Routing::ByHash, 1).await,
    );
    let unknown = StreamId::from_bytes([9; 16]);
    let results = bench.broker.delete_streams(vec![a.id, unknown, b.id, a.id]).await;
    let gone = Err(DeleteStreamError::Unknown);
    assert_eq!(results, [Ok(()), gone.clone(), Ok(()), gone]);
    assert!(bench.broker.streams().is_empty());
}

#[tokio::test]
async fn a_waiting_fetch_ends_with_an_error_when_its_stream_is_deleted() {
    let bench = Bench::new().await;
    let stream = bench.stream("orders", Routing::ByPartition, 1).await;
    let request = fetch_of(&stream, 0, 60_000);
    let deleting = async {
        tokio::task::yield_now().await;
        bench.broker.delete_stream(stream.id, Deletion::WithConsumers).await
    };
    let (fetched, deleted) = tokio::join!(bench.broker.fetch(&request), deleting);
    deleted.expect("a deletion");
    assert_eq!(fetched[0].as_ref().err(), Some(&ReadError::UnknownPartition));
}

#[tokio::test]
async fn a_batch_is_stored_byte_for_byte_but_for_its_place() {
    let bench = Bench::new().await;
    let stream = bench.stream("orders", Routing::ByPartition, 1).await;
    bench.append(&stream, plain(&["zero", "one"])).await.expect("an append");
    let sent = plain(&["two"]);
    assert_eq!(bench.append(&stream, sent.clone()).await, Ok(Offset::new(2)));
    let ranges = fetch_one(&bench, &fetch_of(&stream, 2, 0)).await.expect("a fetch");
    let stored = ranges.extents[0].load().await.expect("bytes");
    assert_eq!(stored[..8], 2u64.to_be_bytes());
    assert_eq!(stored[16..], sent.bytes()[16..]);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_the_bytes_it_wants_and_no_longer_than_it_may() {
    let bench = Bench::new().await;
    let stream = bench.stream("orders", Routing::ByPartition, 1).await;
    let nothing = fetch_one(&bench, &fetch_of(&stream, 0, 500)).await.expect("an empty answer");
    assert_eq!(nothing.bytes, 0);

    let request = fetch_of(&stream, 0, 60_000);
    let (fetched, appended) = tokio::join!(bench.broker.fetch(&request), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        bench.append(&stream, plain(&["late"])).await
    });
    appended.expect("an append");
    assert!(fetched[0].as_ref().expect("an answer").ranges.bytes > 0);
    assert_eq!(stream.partitions()[0].progress().waiter_count(), 0, "no wait is left behind");
}

#[tokio::test]
async fn batches_too_large_or_dated_too_far_ahead_are_refused() {
    let bench = Bench::new().await;
    let mut new = new_stream("small", Routing::ByPartition, 1);
    new.overrides.insert("max.message.bytes".to_owned(), "100".to_owned());
    let stream = bench.broker.create_streams(vec![new]).await.remove(0).expect("made");
    let long = "x".repeat(100);
    let refused = bench.append(&stream, plain(&[&long])).await;
    assert!(matches!(refused, Err(AppendError::BatchTooLarge { limit_bytes: 100, .. })));

    let stream = bench.stream("dated", Routing::ByPartition, 1).await;
    bench.append(&stream, plain(&["now"])).await.expect("dated now");
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let timestamp = NOW.plus_millis(3_600_001);
    let record = RecordToWrite { timestamp, key: None, value: None, headers: &[] };
    builder.append(&record).expect("a small record fits");
    let refused = bench.append(&stream, builder.build()).await;
    assert_eq!(refused, Err(AppendError::InvalidTimestamp));
}

#[tokio::test]
async fn a_producers_retry_gets_its_first_offset_again() {
    let bench = Bench::new().await;
    let stream = bench.stream("orders", Routing::ByPartition, 1).await;
    let producer = |base_sequence| {
        let id = ProducerId::new(4).expect("not negative");
        let producer = Some(ProducerStamp { id, epoch: 0, base_sequence });
        BatchOptions { producer, ..BatchOptions::default() }
    };
    let first = batch_of(&["a", "b"], producer(0));
    assert_eq!(bench.append(&stream, first.clone()).await, Ok(Offset::ZERO));
    bench.append(&stream, batch_of(&["c"], producer(2))).await.expect("the next sequence");
    let zero = PartitionIndex::ZERO;
    let retried = bench.broker.append(&stream, zero, first, quota_wait(500)).await;
    let placed = retried.expect("admitted").settled().await.expect("answered");
    assert_eq!((placed.base_offset, placed.novelty), (Offset::ZERO, Novelty::Duplicate));
    let gap = bench.append(&stream, batch_of(&["e"], producer(9))).await;
    assert_eq!(gap, Err(AppendError::SequenceGap));
}

#[tokio::test]
async fn routed_records_keep_the_order_of_their_key_and_are_read_back() {
    let bench = Bench::new().await;
    let stream = bench.stream("clicks", Routing::ByHash, 4).await;
    let records: Vec<_> =
        (0..400).map(|n| routed(&format!("user-{}", n % 7), &format!("{n}"))).collect();
    let places = bench.broker.append_routed(&stream, &records).await;
    let mut last_of_key: BTreeMap<String, (PartitionIndex, Offset)> = BTreeMap::new();
    for (record, place) in records.iter().zip(&places) {
        let place = place.as_ref().expect("within the quota");
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        if let Some((partition, offset)) = last_of_key.insert(key, (place.partition, place.offset))
        {
            assert_eq!(partition, place.partition, "one key, one shard");
            assert!(offset < place.offset, "order of a key");
        }
    }
    let mut seen = BTreeSet::new();
    for partition in stream.partitions().iter() {
        let read = bench.broker.read(&read_of(&stream, partition.id.index, 0)).await;
        let read = read.expect("a read");
        assert_eq!(read.behind_ms, 0);
        seen.extend(read.records.iter().map(|record| record.data()));
    }
    assert_eq!(seen.len(), 400);
}

#[tokio::test]
async fn the_broker_has_no_more_partitions_than_it_may() {
    let options = BrokerOptions { partitions_max: 4, ..in_memory::default_options() };
    let bench = Bench::with(options).await;
    let by_hash = |name, partitions| new_stream(name, Routing::ByHash, partitions);
    let new = vec![by_hash("a", 3), by_hash("b", 2), by_hash("c", 1)];
    let made = bench.broker.create_streams(new).await;
    let made: Vec<_> = made.into_iter().map(|result| result.map(|made| made.id)).collect();
    let refused = CreateStreamError::PartitionLimit { used: 3, asked: 2, max: 4 };
    assert!(made[0].is_ok() && made[1] == Err(refused) && made[2].is_ok(), "{made:?}");
    let group = GroupId::new("g").expect("a group id");
    let asked = bench.broker.groups().fetch_offsets(&group, &Claim::nobody(), &[]).await;
    asked.expect("its own log is not counted");
    bench
        .broker
        .delete_stream(made[0].clone().expect("made"), Deletion::WithConsumers)
        .await
        .expect("it lives");
    bench.stream("d", Routing::ByPartition, 3).await;
}

#[tokio::test]
async fn clients_neither_make_nor_write_the_brokers_own_streams() {
    let bench = Bench::new().await;
    let new = new_stream("__consumer_offsets", Routing::ByPartition, 1);
    let made = bench.broker.create_streams(vec![new]).await.remove(0);
    assert_eq!(made.map(|made| made.id), Err(CreateStreamError::Internal));
    let group = GroupId::new("g").expect("a group id");
    let asked = bench.broker.groups().fetch_offsets(&group, &Claim::nobody(), &[]).await;
    asked.expect("this makes it");
    let stream = bench.broker.stream("__consumer_offsets").expect("made");
    assert_eq!(bench.append(&stream, plain(&["x"])).await, Err(AppendError::Internal));
    let routed = bench.broker.append_routed(&stream, &[routed("k", "x")]).await.remove(0);
    assert_eq!(routed.map(|place| place.offset), Err(AppendError::Internal));
}

#[tokio::test]
async fn records_of_every_codec_are_read_from_any_offset_within_limits() {
    for codec in Codec::ALL {
        let bench = Bench::new().await;
        let stream = bench.stream("orders", Routing::ByPartition, 1).await;
        let options = || BatchOptions { codec, ..BatchOptions::default() };
        bench.append(&stream, batch_of(&["a", "b", "c"], options())).await.expect("an append");
        bench.append(&stream, batch_of(&["d", "e"], options())).await.expect("an append");
        bench.clock.advance(Duration::from_millis(70));

        let mut request = read_of(&stream, PartitionIndex::ZERO, 1);
        request.records_max = 3;
        let read = bench.broker.read(&request).await.expect("a read");
        let values: Vec<_> = read.records.iter().map(|record| record.data()).collect();
        assert_eq!(values, ["b", "c", "d"], "{codec:?}");
        assert_eq!((read.next, read.behind_ms), (Offset::new(4), 70));

        request.from = read.next;
        let read = bench.broker.read(&request).await.expect("a read");
        assert_eq!((read.records.len(), read.next, read.behind_ms), (1, Offset::new(5), 0));
    }
}

/// A batch with a legal header and checksum whose first record is far too long.
fn nonsense(values: &[&str]) -> RecordBatch {
    let mut bytes = plain(values).bytes().to_vec();
    let first_length = bytes.get_mut(61..70).expect("there is a record");
    first_length.fill(0xff);
    let crc = crc32c_of_batch(&bytes).to_be_bytes();
    bytes.get_mut(17..21).expect("there is a header").copy_from_slice(&crc);
    let nonsense = RecordBatch::parse(Bytes::from(bytes)).expect("the header is legal");
    nonsense.verify_crc().expect("so is the checksum");
    nonsense
}

#[tokio::test]
async fn a_read_looks_at_so_much_and_goes_on_behind_it() {
    let bench = Bench::new().await;
    let stream = bench.stream("orders", Routing::ByPartition, 1).await;
    let large = nonsense(&[&"x".repeat(1_000_000)]);
    for _ in 0..70 {
        bench.append(&stream, large.clone()).await.expect("an append");
    }
    bench.append(&stream, plain(&["after"])).await.expect("an append");
    bench.clock.advance(Duration::from_secs(1));

    let read = bench.broker.read(&read_of(&stream, PartitionIndex::ZERO, 0)).await;
    let read = read.expect("an empty answer is legal");
    assert!(read.records.is_empty() && read.next > Offset::new(60), "{:?}", read.next);
    assert!(read.next < Offset::new(70), "{:?}", read.next);
    assert_eq!(read.behind_ms, 1000, "not at the tip");
    let next = read.next.number();
    let read = bench.broker.read(&read_of(&stream, PartitionIndex::ZERO, next)).await;
    let read = read.expect("a read");
    assert_eq!((read.records.len(), read.next), (1, Offset::new(71)));
}

#[tokio::test]
async fn a_batch_whose_producer_wrote_nonsense_is_stepped_over() {
    let bench = Bench::new().await;
    let stream = bench.stream("orders", Routing::ByPartition, 1).await;
    bench.append(&stream, plain(&["before"])).await.expect("an append");
    bench.append(&stream, nonsense(&["x", "y"])).await.expect("an append");
    bench.append(&stream, plain(&["after"])).await.expect("an append");

    let read = bench.broker.read(&read_of(&stream, PartitionIndex::ZERO, 0)).await;
    let read = read.expect("a read");
    let values: Vec<_> = read.records.iter().map(|record| record.data()).collect();
    assert_eq!(values, ["before", "after"]);
    assert_eq!(read.next, Offset::new(4));
}

#[tokio::test]
async fn positions_are_found_by_name_and_time() {
    let bench = Bench::new().await;
    let stream = bench.stream("orders", Routing::ByPartition, 1).await;
    let partition = &stream.partitions()[0];
    let find = async |at| bench.broker.find_offset(partition, at).await.expect("found").offset;
    assert_eq!(find(StartAt::Latest).await, Some(Offset::ZERO));
    assert_eq!(find(StartAt::AtTime(NOW)).await, None);
    bench.append(&stream, plain(&["a", "b"])).await.expect("an append");
    assert_eq!(find(StartAt::Earliest).await, Some(Offset::ZERO));
    assert_eq!(find(StartAt::Latest).await, Some(Offset::new(2)));
    assert_eq!(find(StartAt::AtTime(NOW)).await, Some(Offset::ZERO));
    assert_eq!(find(StartAt::AtTime(NOW.plus_millis(1))).await, None);
    assert_eq!(find(StartAt::LargestTimestamp).await, Some(Offset::ZERO));

    let place = RememberedPlace { epoch: LogEpoch::ZERO, offset: Offset::new(1) };
    let resolved = bench.broker.resolve(partition, place);
    assert_eq!(resolved, Ok(Resolved::Exact(Offset::new(1))));
}

#[tokio::test]
async fn producer_ids_are_never_given_out_twice() {
    let bench = Bench::new().await;
    let mut ids = BTreeSet::new();
    for _ in 0..2500 {
        ids.insert(bench.broker.allocate_producer_id().await.expect("an id"));
    }
    assert_eq!(ids.len(), 2500);
}
