//! What the log in files does when its disk is full, fails, or was damaged.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use support::{Batch, START, TestDisk, TestLog, batches, partition, request};
use weir_model::offset::Offset;
use weir_model::random::SeededRandom;
use weir_model::time::ManualClock;
use weir_storage::commit::{CommitSet, Novelty};
use weir_storage::config::{FlushPolicy, LogConfig};
use weir_storage::disk::Disk;
use weir_storage::error::{ReadError, SubmitError};
use weir_storage::local::{DataDir, Flushing, LocalLog, LocalOptions, Reserve};
use weir_storage::log::{Log, Lookup};
use weir_storage::meta::RedbStore;
use weir_storage::sim_disk::{Faults, SimDisk};

fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime").block_on(case);
}

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 600, index_interval_bytes: 100, ..LogConfig::default() }
}

fn batch(mark: u64) -> Batch {
    Batch { mark, records: 2, value_bytes: 40, ..Batch::default() }
}

async fn append(log: &TestLog, marks: std::ops::Range<u64>) {
    for mark in marks {
        log.append(batch(mark).append_to(partition(0))).await.expect("accepted");
    }
}

/// The files of partition 0 with this extension, sorted.
fn files(disk: &TestDisk, extension: &str) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory(disk)).expect("the partition has a directory");
    let mut found: Vec<PathBuf> = listed.map(|entry| entry.expect("listed").path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found.sort();
    found
}

fn flip_byte(path: &Path, position: usize) {
    let mut content = fs::read(path).expect("readable");
    content[position] ^= 0xff;
    fs::write(path, content).expect("writable");
}

#[test]
fn a_failed_flush_stops_its_partition_until_restart() {
    run(async {
        let log = TestLog::local_on(TestDisk::simulated(64 << 20), LocalOptions::default()).await;
        for index in 0..2 {
            log.log.declare(partition(index), small_segments());
        }
        append(&log, 0..5).await;
        log.disk.sim().set_faults(Faults { sync_failures: 1000, ..Faults::default() });
        let failed = log.append(batch(5).append_to(partition(0))).await;
        assert_eq!(failed.err(), Some(SubmitError::FlushFailed));
        log.disk.sim().set_faults(Faults::default());
        let refused = log.append(batch(6).append_to(partition(0))).await;
        assert_eq!(refused.err(), Some(SubmitError::Stopped), "never tried again");
        assert_eq!(log.count(0).await, 5, "what was durable is served");
        log.append(batch(7).append_to(partition(1))).await.expect("the other one goes on");
        assert_eq!(log.log.stats().unflushed_bytes, 0, "nothing counts against the bound");

        let log = log.reopen_after(|disk| disk.sim().cut_power()).await;
        log.log.declare(partition(0), small_segments());
        assert_eq!(log.count(0).await, 5);
        append(&log, 5..6).await;
    });
}

#[test]
fn a_full_disk_refuses_appends_and_takes_them_again_when_there_is_space() {
    run(async {
        let log = TestLog::local_on(TestDisk::simulated(16 << 20), LocalOptions::default()).await;
        for index in 0..2 {
            log.log.declare(
                partition(index),
                LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() },
            );
        }
        let large = |mark| Batch { value_bytes: 200_000, ..batch(mark) };
        let mut count = 0;
        let refused = loop {
            match log.append(large(count).append_to(partition(0))).await {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, SubmitError::DiskFull);
        assert!(count > 10, "{count} batches fit");
        assert_eq!(log.count(0).await as u64, count, "reads go on");
        log.log.housekeep().await;
        let again = log.append(batch(0).append_to(partition(0))).await;
        assert_eq!(again.err(), Some(SubmitError::DiskFull), "no space has come back");
        // Trimming commits metadata and frees files, on a disk that is full.
        let half = Offset::new(count);
        assert_eq!(log.trim(0, half.number()).await, Ok(half));
        log.log.housekeep().await;
        let placed = log.append(large(count).append_to(partition(0))).await.expect("space is back");
        assert_eq!(placed.base_offset, Offset::new(count * 2));
    });
}

#[test]
fn unflushed_bytes_are_bounded_under_every_policy() {
    run(async {
        for flush in [FlushPolicy::Group, FlushPolicy::INTERVAL, FlushPolicy::Os] {
            let options = LocalOptions {
                flushing: Flushing::Stepped,
                unflushed_bytes_max_partition: 1000,
                ..LocalOptions::default()
            };
            let log = TestLog::local_on(TestDisk::simulated(64 << 20), options).await;
            log.log.declare(partition(0), LogConfig { flush, ..LogConfig::default() });
            let mut held_back = 0;
            for mark in 0..50 {
                let Log::Local(local) = &log.log else { unreachable!("it was made in files") };
                loop {
                    let room = log.log.wait_for_room(partition(0));
                    match futures_now(room) {
                        Some(()) => break,
                        None => held_back += 1,
                    }
                    while local.step_flush(0) {}
                }
                let unflushed = log.log.stats().unflushed_bytes;
                assert!(unflushed <= 1000, "{flush:?}: {unflushed} bytes");
                drop(log.log.submit(CommitSet::of(batch(mark).append_to(partition(0)))));
            }
            assert!(held_back > 0, "{flush:?}: nobody waited");
        }
    });
}

#[test]
fn segments_are_sealed_while_flushes_keep_waiting() {
    run(async {
        let options = LocalOptions { flushing: Flushing::Stepped, ..LocalOptions::default() };
        let log = TestLog::local_on(TestDisk::simulated(64 << 20), options).await;
        for index in 0..3 {
            log.log.declare(partition(index), small_segments());
        }
        let Log::Local(local) = &log.log else { unreachable!("it was made in files") };
        for mark in 0..50 {
            for index in 0..3 {
                let append = batch(mark).append_to(partition(index));
                drop(log.log.submit(CommitSet::of(append)));
            }
            // One flush is made; two partitions still wait.
            let flushes = log.log.stats().flushes;
            while log.log.stats().flushes == flushes {
                assert!(local.step_flush(0));
            }
        }
        let directory = Path::new("logs").join(format!("{}-0", partition(0).stream));
        let files = log.disk.sim().list(&directory).expect("it is there");
        assert!(files.iter().any(|file| file.name.ends_with(".seal")), "none was sealed");
    });
}

#[test]
fn the_bound_on_all_partitions_holds_writers_back_and_lets_them_go_on() {
    run(async {
        for flush in [FlushPolicy::Group, FlushPolicy::INTERVAL, FlushPolicy::Os] {
            let options = LocalOptions {
                flushing: Flushing::Threads(2),
                unflushed_bytes_max: 1000,
                ..LocalOptions::default()
            };
            let log = TestLog::local_on(TestDisk::simulated(64 << 20), options).await;
            let log = Arc::new(log.log);
            let writers = (0..4).map(|index| {
                let log = Arc::clone(&log);
                log.declare(partition(index), LogConfig { flush, ..LogConfig::default() });
                tokio::spawn(async move {
                    for mark in 0..200 {
                        log.wait_for_room(partition(index)).await;
                        let append = batch(mark).append_to(partition(index));
                        drop(log.submit(CommitSet::of(append)));
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.expect("it wrote all of it");
            }
        }
    });
}

#[test]
fn a_log_that_is_dropped_with_work_queued_leaves_nothing_behind() {
    run(async {
        let sim = SimDisk::new(1, 64 << 20);
        let disk: Arc<dyn Disk> = Arc::new(sim);
        let data = DataDir::open(Arc::clone(&disk), Reserve::None).expect("a new directory");
        let meta = RedbStore::open(&data).expect("a new store");
        let clock = Arc::new(ManualClock::starting_at(START));
        let options = LocalOptions { flushing: Flushing::Stepped, ..LocalOptions::default() };
        let random = SeededRandom::new(1);
        let log = LocalLog::open(data, Arc::new(meta), clock, &random, options).await;
        let log = Log::Local(log.expect("a new directory"));
        for index in 0..2 {
            log.declare(partition(index), small_segments());
            for mark in 0..9 {
                drop(log.submit(CommitSet::of(batch(mark).append_to(partition(index)))));
            }
        }
        let Log::Local(local) = &log else { unreachable!("it was made in files") };
        // The first flush has begun and queued its directories' names; the second waits.
        assert!(local.step_flush(0));
        drop(log);
        assert_eq!(Arc::strong_count(&disk), 1, "something still holds the disk");
    });
}

fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(result) => Some(result),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn a_torn_tail_goes_to_quarantine() {
    run(async {
        let log = TestLog::local().await;
        log.log.declare(partition(0), small_segments());
        append(&log, 0..10).await;
        let log = log
            .reopen_after(|disk| {
                let path = files(disk, "log").pop().expect("a segment");
                let whole = fs::read(&path).expect("readable");
                let content = whole.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
                // Half of another batch stands behind the last one.
                let torn = batch(99).build().bytes().slice(..80);
                fs::write(&path, [&whole[..content], &torn].concat()).expect("writable");
            })
            .await;
        log.log.declare(partition(0), small_segments());
        assert_eq!(log.count(0).await, 10);
        let quarantine = files(&log.disk, "log")[0].with_file_name("quarantine");
        let kept: Vec<_> = fs::read_dir(quarantine).expect("it was made").collect();
        assert_eq!(kept.len(), 1);
        let kept = kept[0].as_ref().expect("listed").metadata().expect("there").len();
        assert!(kept <= 80 && kept > 70, "{kept} bytes");
        append(&log, 10..20).await;
        assert_eq!(log.count(0).await, 20);
    });
}

#[test]
fn damage_before_the_durable_position_is_not_cut_off() {
    run(async {
        let log = TestLog::local().await;
        log.log.declare(partition(0), LogConfig::default());
        append(&log, 0..10).await;
        let log = log.reopen(true).await;
        log.log.declare(partition(0), LogConfig::default());
        append(&log, 10..12).await;
        let size = batch(0).build().bytes().len();
        let mut log =
            log.reopen_after(|disk| flip_byte(&files(disk, "log")[0], 4 * size + 16)).await;
        log.log.declare(partition(0), LogConfig::default());
        assert_eq!(log.count(0).await, 4, "the good prefix is served");
        let refused = log.append(batch(12).append_to(partition(0))).await;
        assert_eq!(refused.err(), Some(SubmitError::Stopped));
        let file = fs::metadata(&files(&log.disk, "log")[0]).expect("there").len();
        assert!(file >= 12 * size as u64, "nothing was cut off");
        // Neither a checkpoint nor a clean stop makes the damage forgotten: a row that said
        // "durable up to here" would make the good batches behind it a torn tail.
        for is_clean in [false, true] {
            log.clock.advance(Duration::from_secs(6));
            log.log.housekeep().await;
            log = log.reopen(is_clean).await;
            log.log.declare(partition(0), LogConfig::default());
            assert_eq!(log.count(0).await, 4);
            let refused = log.append(batch(12).append_to(partition(0))).await;
            assert_eq!(refused.err(), Some(SubmitError::Stopped), "offsets are not used again");
            let now = fs::metadata(&files(&log.disk, "log")[0]).expect("there").len();
            assert_eq!(now, file, "nothing was cut off");
        }
    });
}

/// Where the partition's files are.
fn directory(disk: &TestDisk) -> PathBuf {
    disk.path().join("logs").join(format!("{}-0", partition(0).stream))
}

#[test]
fn a_partition_without_its_files_is_an_error_to_read() {
    run(async {
        for (is_clean, is_listable) in [(true, true), (false, true), (false, false)] {
            let log = TestLog::local().await;
            log.log.declare(partition(0), LogConfig::default());
            append(&log, 0..12).await;
            log.log.close().await.expect("it closes");
            let log = log
                .reopen_after(|disk| {
                    fs::remove_dir_all(directory(disk)).expect("it is there");
                    if !is_listable {
                        fs::write(directory(disk), "").expect("writable");
                    }
                    if !is_clean {
                        fs::remove_file(disk.path().join("CLEAN")).expect("it is there");
                    }
                })
                .await;
            log.log.declare(partition(0), LogConfig::default());
            let read = log.log.read(request(0, 0, 1 << 20)).err();
            assert_eq!(read, Some(ReadError::Corrupt { at: Offset::ZERO }));
            let found = log.log.lookup(partition(0), Lookup::LargestTimestamp).await;
            assert_eq!(found, Err(ReadError::Corrupt { at: Offset::ZERO }));
            let refused = log.append(batch(12).append_to(partition(0))).await;
            assert_eq!(refused.err(), Some(SubmitError::Stopped));
        }
    });
}

#[test]
fn a_directory_that_cannot_be_listed_now_is_listed_later() {
    run(async {
        let log = TestLog::local().await;
        log.log.declare(partition(0), LogConfig::default());
        append(&log, 0..12).await;
        let log = log.reopen(true).await;
        log.log.declare(partition(0), LogConfig::default());
        // As when the process has no descriptor left.
        let directory = directory(&log.disk);
        let away = directory.with_extension("away");
        fs::rename(&directory, &away).expect("it is there");
        fs::write(&directory, "").expect("writable");
        let read = log.log.read(request(0, 0, 1 << 20)).err();
        assert!(matches!(read, Some(ReadError::Io(_))), "{read:?}");
        assert!(matches!(log.log.size(partition(0)), Err(ReadError::Io(_))));
        let refused = log.append(batch(12).append_to(partition(0))).await;
        assert_eq!(refused.err(), Some(SubmitError::Stopped));
        log.log.housekeep().await;

        fs::remove_file(&directory).expect("it is there");
        fs::rename(&away, &directory).expect("it is there");
        assert_eq!(log.count(0).await, 12);
        append(&log, 12..13).await;
    });
}

#[test]
fn a_damaged_header_never_sends_a_reader_back() {
    run(async {
        let log = TestLog::local().await;
        log.log.declare(partition(0), LogConfig::default());
        append(&log, 0..12).await;
        let size = batch(0).build().bytes().len();
        let path = &files(&log.disk, "log")[0];
        // The base offset of batch 3, 6, becomes 1; then it becomes larger than any.
        for (position, byte) in [(7, 1), (0, 0x7f)] {
            let file = fs::OpenOptions::new().write(true).open(path).expect("writable");
            file.write_all_at(&[byte], (3 * size + position) as u64).expect("written");
            let plan = log.log.read(request(0, 4, size * 2 + 1));
            let read = match plan {
                Ok(plan) => plan.ranges().await.err(),
                Err(error) => Some(error),
            };
            assert_eq!(read, Some(ReadError::Corrupt { at: Offset::new(4) }), "byte {position}");
        }
    });
}

#[test]
fn every_derived_file_comes_back() {
    run(async {
        for is_clean in [true, false] {
            let log = TestLog::local().await;
            log.log.declare(partition(0), small_segments());
            for mark in 0..30 {
                let producer = Some((1, 0, mark * 2));
                let batch = Batch { producer, ..batch(mark.unsigned_abs().into()) };
                log.append(batch.append_to(partition(0))).await.expect("accepted");
            }
            if is_clean {
                log.log.close().await.expect("it closes");
            }
            let log = log
                .reopen_after(|disk| {
                    for extension in ["index", "timeindex", "snapshot", "seal"] {
                        for path in files(disk, extension) {
                            fs::remove_file(path).expect("it is there");
                        }
                    }
                })
                .await;
            log.log.declare(partition(0), small_segments());
            assert_eq!(log.count(0).await, 30);
            let (bytes, _) = log.read(request(0, 41, 1 << 20)).await;
            assert_eq!(batches(bytes)[0].header().base_offset, 40);
            let newest = log.log.lookup(partition(0), Lookup::LargestTimestamp).await;
            assert!(newest.expect("searched").is_some());
            let again = Batch { producer: Some((1, 0, 58)), ..batch(29) };
            let placed = log.append(again.append_to(partition(0))).await.expect("known");
            assert_eq!((placed.novelty, placed.base_offset.number()), (Novelty::Duplicate, 58));
        }
    });
}

#[test]
fn damaged_derived_files_are_never_believed() {
    run(async {
        for extension in ["index", "timeindex", "snapshot", "seal"] {
            for position in [0, 5, 7, 11, 15, 25] {
                let log = TestLog::local().await;
                log.log.declare(partition(0), small_segments());
                append(&log, 0..30).await;
                log.log.close().await.expect("it closes");
                let log = log
                    .reopen_after(|disk| {
                        for path in files(disk, extension) {
                            if fs::metadata(&path).expect("there").len() > position as u64 {
                                flip_byte(&path, position);
                            }
                        }
                    })
                    .await;
                log.log.declare(partition(0), small_segments());
                assert_eq!(log.count(0).await, 30, "{extension}, byte {position}");
                for from in 0..60 {
                    let (bytes, _) = log.read(request(0, from, 200)).await;
                    let first = batches(bytes)[0].header().base_offset;
                    assert_eq!(first.unsigned_abs(), from / 2 * 2, "{extension}, byte {position}");
                }
                append(&log, 30..31).await;
            }
        }
    });
}

#[test]
fn a_file_made_for_a_batch_that_was_refused_lasts_with_the_next_run() {
    run(async {
        for seed in 0..10 {
            let disk = SimDisk::new(seed, 64 << 20);
            let test_disk = TestDisk::Simulated(disk.clone());
            let log = TestLog::local_on(test_disk, LocalOptions::default()).await;
            log.log.declare(partition(0), LogConfig::default());
            // The file is made, and then has no room for anything.
            let space = disk.space().expect("up");
            disk.set_capacity(space.total - space.free);
            let refused = log.append(batch(0).append_to(partition(0))).await;
            assert_eq!(refused.err(), Some(SubmitError::DiskFull));
            disk.set_capacity(64 << 20);
            let log = log.reopen_on_sim(true).await;
            log.log.declare(partition(0), LogConfig::default());
            append(&log, 0..1).await;
            let log = log.reopen_after(|disk| disk.sim().cut_power()).await;
            log.log.declare(partition(0), LogConfig::default());
            assert_eq!(log.count(0).await, 1, "seed {seed}");
        }
    });
}
