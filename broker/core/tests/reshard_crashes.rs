//! Resharding and crashes, on the disk's faulty twin under redb: whatever operation of the disk
//! everything stops in, the next start finds the stream before the change or after it.
//!
//! How many runs is set by `WEIR_RESHARD_CRASHES`; each stops in another operation of another
//! random reshard, by a power cut or a kill. What must be there afterwards: after a kill, all that
//! was answered; after a power cut, under `group` all of it too, under `os` what had been answered
//! from partitions that are closed now, by the reshard in question or an earlier one.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod reshard_support;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use reshard_support::{
    NOW, any_reshard, batch, begin, check_cover, check_read, index, make_stream, read_by_lineage,
    routed, split,
};
use weir_core::Novelty;
use weir_core::broker::{Broker, BrokerOptions, Foundations};
use weir_core::error::AppendError;
use weir_core::in_memory;
use weir_core::partition::partition::Partition;
use weir_core::quota::limits::QuotaPolicy;
use weir_core::routing::reshard::Reshard;
use weir_core::routing::route::RoutedPlace;
use weir_core::stream::stream::Stream;
use weir_model::ids::PartitionIndex;
use weir_model::offset::Offset;
use weir_model::random::{Random, SeededRandom};
use weir_model::time::{Clock, ManualClock};
use weir_storage::config::FlushPolicy;
use weir_storage::local::{DataDir, Flushing, LocalLog, LocalOptions, Reserve};
use weir_storage::log::Log;
use weir_storage::meta::RedbStore;
use weir_storage::sim_disk::{Faults, SimDisk};

const HALF: u128 = 1 << 127;

/// Flushes are made by whoever waits for them, so that a seed is one history.
async fn open(disk: &SimDisk) -> Arc<Broker> {
    let data = DataDir::open(Arc::new(disk.clone()), Reserve::None).expect("a data directory");
    let meta = Arc::new(RedbStore::open(&data).expect("a store"));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(NOW));
    let random = Arc::new(SeededRandom::new(1));
    let options = LocalOptions {
        flushing: Flushing::Stepped,
        recovery_threads: 1,
        ..LocalOptions::default()
    };
    let log = LocalLog::open(data, meta.clone(), Arc::clone(&clock), &*random, options).await;
    let log = Arc::new(Log::Local(log.expect("a log")));
    let options = BrokerOptions { quotas: QuotaPolicy::Off, ..in_memory::default_options() };
    Broker::open(Foundations { log, meta, clock, random }, options).await.expect("a broker")
}

/// Records by key and number, with the partition that took each.
type Answered = BTreeMap<(String, u64), PartitionIndex>;

#[derive(Default)]
struct Written {
    answered: Answered,
    unanswered: BTreeSet<(String, u64)>,
}

/// Numbered records with a few keys, in several requests.
async fn write(broker: &Broker, stream: &Stream, numbers: std::ops::Range<u64>) -> Written {
    let mut written = Written::default();
    for number in numbers {
        let key = format!("key-{}", number % 7);
        match put(broker, stream, &key, number).await {
            Ok(place) => drop(written.answered.insert((key, number), place.partition)),
            Err(_) => drop(written.unanswered.insert((key, number))),
        }
    }
    written
}

/// Puts a record and makes the flush that it waits for under `group`; under `os` none is needed.
async fn put(
    broker: &Broker,
    stream: &Stream,
    key: &str,
    number: u64,
) -> Result<RoutedPlace, AppendError> {
    let Log::Local(log) = &**broker.log() else { panic!("opened with a log on a disk") };
    let records = [routed(key, &number.to_string())];
    let mut put = pin!(broker.append_routed(stream, &records));
    loop {
        tokio::select! {
            biased;
            mut results = &mut put => return results.remove(0),
            () = tokio::task::yield_now() => log.step_flush(0),
        };
    }
}

/// What of a partition tells before from after.
fn shown(partitions: &[Arc<Partition>]) -> Vec<(String, bool)> {
    let shown = |p: &Arc<Partition>| (format!("{:?} {:?}", p.hash_keys, p.parents), p.is_open());
    partitions.iter().map(shown).collect()
}

/// Where a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Before,
    After,
}

/// A history up to the reshard in whose middle everything stopped.
struct Interrupted {
    disk: SimDisk,
    random: SeededRandom,
    before: Arc<[Arc<Partition>]>,
    reshard: Reshard,
    was_answered: bool,
    /// Answered before the reshard began.
    answered: Answered,
    /// May have been written, while everything stopped or earlier.
    perhaps: BTreeSet<(String, u64)>,
}

/// A few reshards that succeed, and one that stops in this operation of the disk. None if it was
/// through before the operation came.
async fn interrupt(seed: u64, flush: FlushPolicy, crash_at: u64) -> Option<Interrupted> {
    let random = SeededRandom::new(seed);
    let disk = SimDisk::new(seed, 64 << 20);
    let broker = open(&disk).await;
    let stream = make_stream(&broker, 1 + (seed % 3) as u32, flush.name()).await;
    let mut answered = write(&broker, &stream, 0..20).await.answered;
    for _ in 0..seed % 4 {
        let reshard = any_reshard(&stream.partitions(), &random);
        broker.reshard(&stream, reshard).await.expect("made");
    }
    answered.append(&mut write(&broker, &stream, 20..60).await.answered);
    assert_eq!(answered.len(), 60);

    let before = stream.partitions();
    let reshard = any_reshard(&before, &random);
    disk.set_faults(Faults { crash_at: Some(crash_at), ..Faults::default() });
    let was_answered = broker.reshard(&stream, reshard).await.is_ok();
    if !disk.is_down() {
        return None;
    }
    let Written { answered: late, unanswered: mut perhaps } = write(&broker, &stream, 60..70).await;
    assert!(late.is_empty() || flush == FlushPolicy::Os, "answered without a flush: {late:?}");
    perhaps.extend(late.into_keys());
    perhaps.extend(answered.keys().cloned());
    Some(Interrupted { disk, random, before, reshard, was_answered, answered, perhaps })
}

/// How a run ended.
struct Ended {
    found: Found,
    /// How many records a power cut had to leave; none after a kill.
    left_by_a_power_cut: usize,
}

/// Lets everything stop in this operation of this seed's reshard, starts again, and asserts that
/// the stream is before the reshard or after it, holds what it must, and goes on.
async fn run(seed: u64, flush: FlushPolicy, crash_at: u64) -> Option<Ended> {
    let Interrupted { disk, random, before, reshard, was_answered, answered, perhaps } =
        interrupt(seed, flush, crash_at).await?;
    let context = format!("seed {seed}, {}, operation {crash_at}, {reshard:?}", flush.name());
    let is_power_cut = random.next_u64() % 3 != 0;
    match is_power_cut {
        true => disk.cut_power(),
        false => disk.kill(),
    }
    let broker = open(&disk).await;
    let stream = broker.stream("orders").expect("it was committed");
    check_cover(&stream.partitions());
    let found = found(&before, &stream, &context);
    assert!(found == Found::After || !was_answered, "answered and lost: {context}");

    let mut lasting = match is_power_cut && flush == FlushPolicy::Os {
        true => in_closed_partitions(&stream, answered),
        false => answered.into_keys().collect(),
    };
    let left_by_a_power_cut = if is_power_cut { lasting.len() } else { 0 };
    check_read(&read_by_lineage(&broker, &stream).await, &lasting, &perhaps);
    let next = write(&broker, &stream, 100..120).await;
    assert!(next.unanswered.is_empty(), "writes are refused: {context}");
    broker.reshard(&stream, any_reshard(&stream.partitions(), &random)).await.expect("made");
    lasting.extend(next.answered.into_keys());
    check_read(&read_by_lineage(&broker, &stream).await, &lasting, &perhaps);
    Some(Ended { found, left_by_a_power_cut })
}

/// Whether the reshard was made; no partition may be gone or have become another either way.
fn found(before: &[Arc<Partition>], now: &Stream, context: &str) -> Found {
    let (old, kept) = (shown(before), shown(&now.partitions()));
    for (old, kept) in old.iter().zip(&kept) {
        assert_eq!(old.0, kept.0, "a partition became another: {context}");
    }
    assert!(kept.len() >= old.len(), "a partition is gone: {context}");
    if old == kept { Found::Before } else { Found::After }
}

/// What a power cut may not take under `os`: what lies in front of a committed end, whichever
/// reshard made it. The rest need not have been flushed.
fn in_closed_partitions(now: &Stream, answered: Answered) -> BTreeSet<(String, u64)> {
    let is_closed = |index: &PartitionIndex| {
        now.partition(*index).is_some_and(|partition| !partition.is_open())
    };
    answered.into_iter().filter(|(_, home)| is_closed(home)).map(|(record, _)| record).collect()
}

/// What was seen in many runs under one flush policy.
#[derive(Default, Debug)]
struct Seen {
    before: usize,
    after: usize,
    /// Power cuts that ended before the change and had to leave records all the same.
    before_with_records: usize,
}

/// From the first operation of a reshard to its last; every seed has another reshard.
async fn crash_everywhere(flush: FlushPolicy, wanted: usize) -> Seen {
    let mut seen = Seen::default();
    for seed in 0.. {
        for crash_at in 1.. {
            if seen.before + seen.after == wanted {
                return seen;
            }
            match run(seed, flush, crash_at).await {
                Some(Ended { found: Found::After, .. }) => seen.after += 1,
                Some(Ended { found: Found::Before, left_by_a_power_cut }) => {
                    seen.before += 1;
                    seen.before_with_records += usize::from(left_by_a_power_cut > 0);
                }
                None => break,
            }
        }
    }
    seen
}

#[tokio::test]
async fn whatever_a_crash_interrupts_the_stream_is_before_the_change_or_after_it() {
    let wanted = std::env::var("WEIR_RESHARD_CRASHES").ok().and_then(|text| text.parse().ok());
    let wanted: usize = wanted.unwrap_or(300);
    // A third of them where all that was answered lasts.
    for (flush, wanted) in
        [(FlushPolicy::Os, wanted - wanted / 3), (FlushPolicy::Group, wanted / 3)]
    {
        let seen = crash_everywhere(flush, wanted).await;
        println!("{wanted} crashes under {}: {seen:?}", flush.name());
        let all_seen = [seen.before, seen.after, seen.before_with_records];
        assert!(!all_seen.contains(&0), "too few sorts of ends: {seen:?}");
    }
}

#[tokio::test]
async fn what_is_closed_stays_closed_and_remembers_its_producers_over_a_restart() {
    for is_clean in [true, false] {
        let disk = SimDisk::new(3, 64 << 20);
        let append = async |broker: &Broker, stream: &Stream, sequence, value| {
            let batch = batch("k", value, Some((7, sequence)));
            let placed = begin(broker, stream, 0, batch).await?.settled().await?;
            Ok((placed.base_offset, placed.novelty))
        };
        {
            let broker = open(&disk).await;
            let stream = make_stream(&broker, 1, "os").await;
            assert_eq!(append(&broker, &stream, 0, "0").await, Ok((Offset::ZERO, Novelty::New)));
            broker.reshard(&stream, split(0, HALF)).await.expect("made");
            if is_clean {
                broker.close().await.expect("a clean stop");
            }
            disk.cut_power();
        }
        let broker = open(&disk).await;
        let stream = broker.stream("orders").expect("it was committed");
        let retry = append(&broker, &stream, 0, "0").await;
        assert_eq!(retry, Ok((Offset::ZERO, Novelty::Duplicate)), "clean: {is_clean}");
        let closed = Err(AppendError::Closed { open: vec![index(1), index(2)] });
        assert_eq!(append(&broker, &stream, 1, "1").await, closed);
        let without_producer = begin(&broker, &stream, 0, batch("k", "2", None)).await;
        assert_eq!(without_producer.err().map(Err), Some(closed));
        // The log itself refuses too: nobody has to ask the core.
        let sealed = broker.log().seal(stream.partitions()[0].id);
        assert_eq!(sealed, Ok(Offset::new(1)), "where it ended");
        assert_eq!(read_by_lineage(&broker, &stream).await.len(), 1);
    }
}
