//! What a log in files shows after it was stopped, cleanly or by a kill, and opened again.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use support::{Batch, START, TestLog, batches, partition, request};
use weir_model::ids::LogEpoch;
use weir_model::offset::Offset;
use weir_storage::commit::Novelty;
use weir_storage::config::{FlushPolicy, LogConfig};
use weir_storage::log::Lookup;

fn config(flush: FlushPolicy) -> LogConfig {
    LogConfig { flush, segment_bytes: 600, index_interval_bytes: 100, ..LogConfig::default() }
}

fn batch(mark: u64) -> Batch {
    let producer = Some((5, 0, i32::try_from(mark).expect("small") * 2));
    let at = START.plus_millis(mark.cast_signed() * 10);
    Batch { mark, records: 2, value_bytes: 40, producer, at }
}

async fn append(log: &TestLog, marks: std::ops::Range<u64>) {
    for mark in marks {
        let placed = log.append(batch(mark).append_to(partition(0))).await.expect("accepted");
        assert_eq!((placed.base_offset.number(), placed.novelty), (mark * 2, Novelty::New));
    }
}

/// Runs a case for each flush policy and each kind of stop.
fn for_every_stop(case: impl AsyncFn(TestLog, FlushPolicy, bool)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime").block_on(async {
        for flush in [FlushPolicy::Group, FlushPolicy::INTERVAL, FlushPolicy::Os] {
            for is_clean in [true, false] {
                let log = TestLog::local().await;
                log.log.declare(partition(0), config(flush));
                case(log, flush, is_clean).await;
            }
        }
    });
}

#[test]
fn nothing_is_lost_and_appends_go_on() {
    for_every_stop(async |log, flush, is_clean| {
        append(&log, 0..20).await;
        let (before, _) = log.read(request(0, 0, 1 << 20)).await;
        let mut log = log;
        // Twice: once from a directory that was just recovered.
        for round in 0..2 {
            log = log.reopen(is_clean).await;
            log.log.declare(partition(0), config(flush));
            let (after, next) = log.read(request(0, 0, 1 << 20)).await;
            assert_eq!(next, Offset::new(40 + round * 20), "{flush:?}, clean: {is_clean}");
            assert!(after.starts_with(&before), "{flush:?}, clean: {is_clean}");
            append(&log, 20 + round * 10..30 + round * 10).await;
        }
        let (bytes, _) = log.read(request(0, 0, 1 << 20)).await;
        assert_eq!(batches(bytes).len(), 40);
        let found = log.log.lookup(partition(0), Lookup::AtTime(START.plus_millis(105))).await;
        assert_eq!(found.map(|found| found.map(|r| r.offset)), Ok(Some(Offset::new(22))));
    });
}

#[test]
fn a_partition_that_awaits_its_first_batch_is_empty_after_a_stop() {
    for_every_stop(async |log, flush, is_clean| {
        let mut log = log;
        for round in 0..2 {
            log.log.prepare(partition(0));
            log = log.reopen(is_clean).await;
            let epoch = if is_clean { 0 } else { round + 1 };
            assert_eq!(log.log.epoch(), LogEpoch::new(epoch).expect("small"), "{flush:?}");
            log.log.declare(partition(0), config(flush));
            let size = log.log.size(partition(0)).expect("declared");
            assert_eq!(size.bytes, 0, "{flush:?}, clean: {is_clean}");
        }
        log.log.prepare(partition(0));
        append(&log, 0..20).await;
        let (bytes, _) = log.read(request(0, 0, 1 << 20)).await;
        assert_eq!(batches(bytes).len(), 20, "{flush:?}, clean: {is_clean}");
    });
}

#[test]
fn producers_are_remembered() {
    for_every_stop(async |log, flush, is_clean| {
        append(&log, 0..20).await;
        let log = log.reopen(is_clean).await;
        log.log.declare(partition(0), config(flush));
        for mark in [15, 19] {
            let placed = log.append(batch(mark).append_to(partition(0))).await.expect("known");
            let expected = (mark * 2, Novelty::Duplicate);
            assert_eq!((placed.base_offset.number(), placed.novelty), expected);
        }
        assert!(log.append(batch(14).append_to(partition(0))).await.is_err(), "five are kept");
    });
}

#[test]
fn the_epoch_rises_at_unclean_starts_only() {
    for_every_stop(async |log, flush, is_clean| {
        append(&log, 0..5).await;
        let log = log.reopen(is_clean).await;
        log.log.declare(partition(0), config(flush));
        append(&log, 5..7).await;
        let log = log.reopen(true).await;
        log.log.declare(partition(0), config(flush));
        let first_end = log.log.epoch_end(partition(0), LogEpoch::ZERO).expect("declared");
        let (epoch, end) = if is_clean { (0, 14) } else { (1, 10) };
        assert_eq!(log.log.epoch().number(), epoch);
        assert_eq!(first_end.map(|end| end.end), Some(Offset::new(end)));
    });
}

#[test]
fn the_log_start_stays_and_trimmed_files_are_gone() {
    for_every_stop(async |log, flush, is_clean| {
        append(&log, 0..20).await;
        log.trim(0, 25).await.expect("trimmed");
        let size = log.log.size(partition(0)).expect("declared");
        let log = log.reopen(is_clean).await;
        log.log.declare(partition(0), config(flush));
        let marks = log.log.progress(partition(0)).expect("declared").watermarks();
        assert_eq!((marks.log_start.number(), marks.log_end.number()), (25, 40));
        assert_eq!(log.log.size(partition(0)).expect("declared"), size);
        append(&log, 20..25).await;
    });
}

#[test]
fn a_clean_stop_leaves_every_finished_segment_sealed() {
    for_every_stop(async |log, flush, is_clean| {
        append(&log, 0..20).await;
        let log = log.reopen(is_clean).await;
        log.log.declare(partition(0), config(flush));
        log.log.close().await.expect("it closes");
        check_sealed(&segments(&log), &format!("{flush:?}, clean: {is_clean}"));
    });
}

#[test]
fn a_segment_whose_seal_is_missing_is_sealed_by_the_next_stop() {
    for_every_stop(async |log, flush, is_clean| {
        append(&log, 0..20).await;
        let log = log.reopen(true).await;
        log.log.declare(partition(0), config(flush));
        for derived in files(&log, |extension| extension != "log") {
            std::fs::remove_file(derived).expect("removed");
        }
        let log = log.reopen(is_clean).await;
        log.log.declare(partition(0), config(flush));
        log.read(request(0, 0, 1)).await;
        log.log.close().await.expect("it closes");
        // The last one is not finished, and nothing was written to it.
        let mut finished = segments(&log);
        finished.pop();
        check_sealed(&finished, &format!("{flush:?}, clean: {is_clean}"));
    });
}

/// The files of all partitions with such extensions.
fn files(log: &TestLog, is_wanted: impl Fn(&OsStr) -> bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in std::fs::read_dir(log.disk.path().join("logs")).expect("listed") {
        for file in std::fs::read_dir(directory.expect("listed").path()).expect("listed") {
            files.push(file.expect("listed").path());
        }
    }
    files.retain(|path| path.extension().is_some_and(&is_wanted));
    files
}

/// The logs of all segments, in order.
fn segments(log: &TestLog) -> Vec<PathBuf> {
    let mut segments = files(log, |extension| extension == "log");
    segments.sort_unstable();
    segments
}

/// Every segment has its derived files.
fn check_sealed(segments: &[PathBuf], case: &str) {
    assert!(segments.len() > 3, "{segments:?}");
    for log in segments {
        for extension in ["seal", "index", "timeindex"] {
            let beside = log.with_extension(extension);
            assert!(beside.exists(), "{case}: no {beside:?}");
        }
    }
}

#[test]
fn deleted_partitions_do_not_return() {
    for_every_stop(async |log, flush, is_clean| {
        append(&log, 0..20).await;
        log.log.delete(&[partition(0)]).await.expect("deleted");
        let log = log.reopen(is_clean).await;
        log.log.declare(partition(0), config(flush));
        let marks = log.log.progress(partition(0)).expect("declared").watermarks();
        assert_eq!(marks.log_end, Offset::ZERO);
        let root = log.disk.path().join("logs");
        assert_eq!(std::fs::read_dir(root).expect("it is there").count(), 0);
    });
}

thread_local! {
    /// What this thread's logs have told at the level that users see.
    static TOLD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes down what is told, for the thread that tells it.
struct Told;

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TOLD.with_borrow_mut(|told| told.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One subscriber for all threads: a thread's own could miss what another thread met first, while
/// there was none.
fn take_down_what_is_told() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(|| Told);
    tracing::subscriber::set_global_default(subscriber.finish()).expect("the first one");
}

#[test]
fn only_an_unclean_start_is_told() {
    take_down_what_is_told();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (is_clean, expected) in [(true, ""), (false, "records=6")] {
        runtime.block_on(async {
            let log = TestLog::local().await;
            log.log.declare(partition(0), config(FlushPolicy::Group));
            for mark in 0..3 {
                log.append(batch(mark).append_to(partition(0))).await.expect("accepted");
            }
            TOLD.take();
            log.reopen(is_clean).await;
        });
        let told = String::from_utf8(TOLD.take()).expect("text");
        assert_eq!(told.is_empty(), expected.is_empty(), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_leaves_every_partition_ready_to_go_on() {
    let partitions = 50;
    let mut log = TestLog::local().await;
    for round in 0..3 {
        for number in 0..partitions {
            log.log.declare(partition(number), config(FlushPolicy::Os));
            let placed = log.append(batch(round).append_to(partition(number))).await;
            let placed = placed.expect("accepted");
            let expected = (round * 2, Novelty::New);
            assert_eq!((placed.base_offset.number(), placed.novelty), expected, "{number}");
            // One that was written before is taken up with the partition's state.
            let again = log.append(batch(round).append_to(partition(number))).await;
            assert_eq!(again.expect("known").novelty, Novelty::Duplicate, "{number}");
        }
        log = log.reopen(true).await;
    }
}
