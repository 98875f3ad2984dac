//! What goes by age and by size, segment by segment and record by record.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::{Batch, START, TestLog, partition, settle};
use weir_model::offset::Offset;
use weir_model::random::SeededRandom;
use weir_model::time::{Clock, ManualClock, Timestamp};
use weir_storage::commit::Novelty;
use weir_storage::config::{LogConfig, TrimBy};
use weir_storage::local::{DataDir, LocalLog, LocalOptions, Reserve};
use weir_storage::log::Log;
use weir_storage::meta::{MetaChange, MetaFuture, MetaStore, RedbStore, Versioned};
use weir_storage::sim_disk::SimDisk;

fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime").block_on(case);
}

/// Batches of two records, ten seconds apart; three batches fill a segment.
async fn log_with(config: LogConfig, count: u64) -> TestLog {
    let log = TestLog::local().await;
    log.log.declare(partition(0), config);
    for mark in 0..count {
        let at = START.plus_millis(mark.cast_signed() * 10_000);
        let batch = Batch { mark, records: 2, value_bytes: 40, at, ..Batch::default() };
        log.append(batch.append_to(partition(0))).await.expect("accepted");
    }
    log
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 600, retention_ms: None, ..LogConfig::default() }
}

fn log_start(log: &TestLog) -> u64 {
    log.log.progress(partition(0)).expect("declared").watermarks().log_start.number()
}

#[test]
fn by_segment_a_segment_goes_when_its_newest_record_is_too_old() {
    run(async {
        let config = LogConfig { retention_ms: Some(60_000), ..config() };
        let log = log_with(config, 9).await;
        // Newest records of the segments: 20.001 s, 50.001 s, 80.001 s.
        for (seconds, expected) in [(80, 0), (81, 6), (110, 6), (111, 12), (141, 18)] {
            log.clock.advance(Duration::from_secs(seconds) - log.clock_elapsed());
            log.log.housekeep().await;
            assert_eq!(log_start(&log), expected, "after {seconds} s");
        }
        let size = log.log.size(partition(0)).expect("declared");
        assert_eq!(size.bytes, 0, "the growing segment was rolled and went too");
        let late = Batch { at: START.plus_millis(150_000), ..Batch::default() };
        let placed = log.append(late.append_to(partition(0))).await.expect("accepted");
        assert_eq!(placed.base_offset, Offset::new(18));
    });
}

#[test]
fn by_record_the_log_start_moves_to_the_first_young_record() {
    run(async {
        let retention_ms = Some(60_000);
        let config = LogConfig { retention_ms, trim_by: TrimBy::Record, ..config() };
        let log = log_with(config, 9).await;
        let files = log.log.size(partition(0)).expect("declared").segments;
        for (seconds, expected) in [(59, 0), (61, 2), (70, 2), (71, 4), (115, 12), (1000, 18)] {
            log.clock.advance(Duration::from_secs(seconds) - log.clock_elapsed());
            log.log.housekeep().await;
            assert_eq!(log_start(&log), expected, "after {seconds} s");
        }
        assert!(log.log.size(partition(0)).expect("declared").segments < files);
        let log = log.reopen(false).await;
        log.log.declare(partition(0), config);
        assert_eq!(log_start(&log), 18, "the log start is durable");
    });
}

#[test]
fn a_sealed_partition_without_records_keeps_no_bytes() {
    run(async {
        let retention_ms = Some(60_000);
        let config =
            LogConfig { retention_ms, trim_by: TrimBy::Record, segment_bytes: 1 << 20, ..config() };
        for is_reopened in [false, true] {
            let mut log = log_with(config, 3).await;
            log.clock.advance(Duration::from_secs(1000));
            log.log.housekeep().await;
            let size = |log: &TestLog| log.log.size(partition(0)).expect("declared");
            assert_eq!(log_start(&log), 6);
            assert!(size(&log).bytes > 0, "an open one goes on in its segment");
            if is_reopened {
                log = log.reopen(true).await;
                log.log.declare(partition(0), config);
            }
            assert_eq!(log.log.seal(partition(0)), Ok(Offset::new(6)));
            for _ in 0..3 {
                log.clock.advance(Duration::from_secs(10));
                log.log.housekeep().await;
            }
            let empty = size(&log);
            assert_eq!((empty.bytes, empty.segments), (0, 1), "reopened: {is_reopened}");
            for is_clean in [false, true] {
                log = log.reopen(is_clean).await;
                log.log.declare(partition(0), config);
                assert_eq!(log.log.seal(partition(0)), Ok(Offset::new(6)), "its end is kept");
                assert_eq!(log_start(&log), 6);
            }
        }
    });
}

#[test]
fn by_size_the_oldest_segments_go_and_the_growing_one_stays() {
    run(async {
        let log = log_with(config(), 12).await;
        let whole = log.log.size(partition(0)).expect("declared");
        let segment = whole.bytes / whole.segments;
        for (keep, expected) in [(whole.bytes, 0), (segment * 2, 12), (0, 18)] {
            let limit = LogConfig { retention_bytes: Some(keep), ..config() };
            log.log.declare(partition(0), limit);
            log.log.housekeep().await;
            assert_eq!(log_start(&log), expected, "keeping {keep} bytes");
        }
    });
}

#[test]
fn a_segment_is_rolled_when_its_first_record_is_too_old() {
    run(async {
        let config = LogConfig { segment_bytes: 1 << 20, segment_ms: 25_000, ..config() };
        let log = log_with(config, 9).await;
        let size = log.log.size(partition(0)).expect("declared");
        assert_eq!(size.segments, 3, "three batches span 25 s");
    });
}

/// Counts the commits that a store makes: each is a flush.
#[derive(Debug)]
struct CountingStore {
    store: RedbStore,
    commits: AtomicU64,
}

impl MetaStore for CountingStore {
    fn get(&self, key: Bytes) -> MetaFuture<'_, Option<Versioned>> {
        self.store.get(key)
    }

    fn scan(&self, prefix: Bytes) -> MetaFuture<'_, Vec<(Bytes, Versioned)>> {
        self.store.scan(prefix)
    }

    fn commit(&self, changes: Vec<MetaChange>) -> MetaFuture<'_, ()> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.store.commit(changes)
    }
}

#[test]
fn one_round_of_retention_is_one_commit() {
    run(async {
        let data = DataDir::open(Arc::new(SimDisk::new(1, 64 << 20)), Reserve::None);
        let data = data.expect("a new directory");
        let store = RedbStore::open(&data).expect("a new store");
        let store = Arc::new(CountingStore { store, commits: AtomicU64::new(0) });
        let meta = Arc::clone(&store) as Arc<dyn MetaStore>;
        let clock = Arc::new(ManualClock::starting_at(START));
        let (dyn_clock, random) = (Arc::clone(&clock) as Arc<dyn Clock>, SeededRandom::new(1));
        // No checkpoint falls into the round.
        let checkpoint_interval = Duration::from_secs(1 << 30);
        let options = LocalOptions { checkpoint_interval, ..LocalOptions::default() };
        let log = LocalLog::open(data, meta, dyn_clock, &random, options).await;
        let log = Log::Local(log.expect("a new directory"));
        for index in 0..20 {
            let retention_ms = Some(60_000);
            log.declare(partition(index), LogConfig { retention_ms, ..config() });
            settle(&log, Batch::default().append_to(partition(index))).await.expect("accepted");
        }
        clock.advance(Duration::from_secs(61));
        let before = store.commits.load(Ordering::Relaxed);
        log.housekeep().await;
        for index in 0..20 {
            let marks = log.progress(partition(index)).expect("declared").watermarks();
            assert_eq!(marks.log_start, Offset::new(1), "partition {index}");
        }
        assert_eq!(store.commits.load(Ordering::Relaxed) - before, 1);
    });
}

#[test]
fn idle_producers_are_forgotten_after_a_day() {
    run(async {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        // Records that were old when they came make no producer idle.
        for at in [START, START.plus_millis(-1_000_000_000), Timestamp::NONE] {
            let log = log_with(config(), 0).await;
            let append = async || {
                let batch = Batch { at, producer: Some((1, 0, 0)), ..Batch::default() };
                let placed = log.append(batch.append_to(partition(0))).await.expect("accepted");
                (placed.novelty, placed.base_offset.number())
            };
            assert_eq!(append().await, (Novelty::New, 0));
            log.clock.advance(hours(23));
            log.log.housekeep().await;
            assert_eq!(append().await, (Novelty::Duplicate, 0));
            log.clock.advance(hours(2));
            log.log.housekeep().await;
            assert_eq!(append().await, (Novelty::New, 1), "it was forgotten");
        }
    });
}

#[test]
fn only_live_streams_are_kept_at_start() {
    run(async {
        let log = log_with(config(), 3).await.reopen(false).await;
        let Log::Local(local) = &log.log else { unreachable!("in files") };
        let live = [partition(0).stream].into();
        local.retain_streams(&live).await.expect("kept");
        log.log.declare(partition(0), config());
        assert_eq!(log.count(0).await, 3);
        local.retain_streams(&Default::default()).await.expect("removed");
        let left = std::fs::read_dir(log.disk.path().join("logs")).expect("it is there").count();
        assert_eq!(left, 0);
    });
}
