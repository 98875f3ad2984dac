//! What every arm of the log must do, run against each.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::time::Duration;

use support::{Batch, START, TestDisk, TestLog, batches, partition, request};
use weir_model::batch::{HEADER_BYTES, RecordBatch, crc32c_of_batch};
use weir_model::ids::LogEpoch;
use weir_model::offset::Offset;
use weir_storage::commit::{Append, CommitSet, Novelty, Stamp};
use weir_storage::config::{FlushPolicy, LogConfig};
use weir_storage::error::{ReadError, SubmitError};
use weir_storage::local::LocalOptions;
use weir_storage::log::{FoundRecord, Lookup};
use weir_storage::producer_state::ProducerError;
use weir_storage::read_plan::{OversizedFirst, ReadRequest};

/// Where a batch's header has its checksum.
const CRC_AT: usize = 17;

const POLICIES: [FlushPolicy; 3] = [FlushPolicy::Group, FlushPolicy::INTERVAL, FlushPolicy::Os];

/// Runs a case on every arm, with every flush policy.
fn on_every_arm(case: impl AsyncFn(&TestLog)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime").block_on(async {
        for flush in POLICIES {
            let simulated = TestDisk::simulated(64 << 20);
            let simulated = TestLog::local_on(simulated, LocalOptions::default()).await;
            for log in [TestLog::memory(), TestLog::local().await, simulated] {
                for index in 0..2 {
                    log.log.declare(partition(index), config(flush));
                }
                case(&log).await;
            }
        }
    });
}

/// Small segments, so that most cases cross some.
fn config(flush: FlushPolicy) -> LogConfig {
    LogConfig { flush, segment_bytes: 600, index_interval_bytes: 100, ..LogConfig::default() }
}

fn batch(mark: u64) -> Batch {
    Batch { mark, records: 2, value_bytes: 40, ..Batch::default() }
}

#[test]
fn offsets_are_dense_and_bytes_come_back() {
    on_every_arm(async |log| {
        let mut written = Vec::new();
        for mark in 0..20 {
            let placed = log.append(batch(mark).append_to(partition(0))).await.expect("accepted");
            assert_eq!(placed.base_offset, Offset::new(mark * 2));
            assert_eq!(placed.last_offset, Offset::new(mark * 2 + 1));
            assert_eq!(placed.novelty, Novelty::New);
            written.push(batch(mark).build().payload());
        }
        let (bytes, next) = log.read(request(0, 0, 1 << 20)).await;
        assert_eq!(next, Offset::new(40));
        let read = batches(bytes);
        assert_eq!(read.len(), written.len());
        for (mark, (batch, payload)) in read.iter().zip(written).enumerate() {
            assert_eq!(batch.header().base_offset, mark as i64 * 2);
            assert_eq!(batch.payload(), payload, "batch {mark}");
        }
        let (other, next) = log.read(request(1, 0, 1 << 20)).await;
        assert!(other.is_empty() && next == Offset::ZERO, "partitions do not mix");
    });
}

#[test]
fn a_read_returns_whole_batches_within_its_limit() {
    on_every_arm(async |log| {
        for mark in 0..20 {
            log.append(batch(mark).append_to(partition(0))).await.expect("accepted");
        }
        let one = batch(0).build().bytes().len();
        for from in 0..40u64 {
            for (limit, count) in [(one, 1), (one * 2 - 1, 1), (one * 7 + 3, 7), (one * 50, 50)] {
                let (bytes, next) = log.read(request(0, from, limit)).await;
                let found = batches(bytes);
                let expected = count.min(20 - from as usize / 2);
                assert_eq!(found.len(), expected, "from {from}, {limit} bytes");
                assert_eq!(found[0].header().base_offset as u64, from / 2 * 2, "from {from}");
                assert_eq!(next.number(), (from / 2 + expected as u64) * 2, "from {from}");
            }
        }
    });
}

#[test]
fn an_oversized_first_batch_comes_alone_or_not_at_all() {
    on_every_arm(async |log| {
        for mark in 0..3 {
            let large = Batch { value_bytes: 2_000, ..batch(mark) };
            log.append(large.append_to(partition(0))).await.expect("accepted");
        }
        let (bytes, next) = log.read(request(0, 2, 10)).await;
        assert_eq!((batches(bytes).len(), next), (1, Offset::new(4)));
        let skip = ReadRequest { oversized_first: OversizedFirst::Skip, ..request(0, 2, 10) };
        let (bytes, next) = log.read(skip).await;
        assert_eq!((bytes.len(), next), (0, Offset::new(2)));
    });
}

#[test]
fn offsets_outside_the_log_are_out_of_range() {
    on_every_arm(async |log| {
        for mark in 0..10 {
            log.append(batch(mark).append_to(partition(0))).await.expect("accepted");
        }
        log.trim(0, 7).await.expect("trimmed");
        let (log_start, log_end) = (Offset::new(7), Offset::new(20));
        let out = ReadError::OutOfRange { log_start, log_end };
        for (from, expected) in [(6, Err(&out)), (7, Ok(7)), (20, Ok(0)), (21, Err(&out))] {
            let plan = log.log.read(request(0, from, 1 << 20));
            match (plan, expected) {
                (Err(found), Err(expected)) => assert_eq!(&found, expected, "from {from}"),
                (Ok(plan), Ok(count)) => {
                    let ranges = plan.ranges().await.expect("readable");
                    let (bytes, _) = log.read(request(0, from, 1 << 20)).await;
                    assert_eq!(batches(bytes).len(), count, "from {from}");
                    assert_eq!(ranges.watermarks.log_start, log_start);
                }
                (found, expected) => panic!("from {from}: {:?}, {expected:?}", found.is_ok()),
            }
        }
        let unknown = log.log.read(request(9, 0, 1)).err();
        assert_eq!(unknown, Some(ReadError::UnknownPartition));
    });
}

#[test]
fn a_sealed_partition_takes_nothing_but_retries() {
    on_every_arm(async |log| {
        let from = |sequence| Batch { producer: Some((5, 0, sequence)), ..batch(1) };
        let append = async |batch: Batch| {
            let outcome = log.append(batch.append_to(partition(0))).await;
            outcome.map(|placed| (placed.base_offset.number(), placed.novelty))
        };
        append(from(0)).await.expect("accepted");
        append(batch(2)).await.expect("accepted");
        assert_eq!(log.log.seal(partition(0)), Ok(Offset::new(4)), "where it ends");
        for (refused, what) in
            [(batch(3), "new"), (from(2), "next of its producer"), (from(9), "a gap")]
        {
            assert_eq!(append(refused).await, Err(SubmitError::Sealed), "{what}");
        }
        assert_eq!(append(from(0)).await, Ok((0, Novelty::Duplicate)));
        log.log.declare(partition(0), config(FlushPolicy::Group));
        assert_eq!(log.log.seal(partition(0)), Ok(Offset::new(4)), "nothing moved it");
        assert_eq!(append(batch(3)).await, Err(SubmitError::Sealed), "settings do not unseal");
        assert!(log.append(batch(3).append_to(partition(1))).await.is_ok(), "the other is open");
        log.log.unseal(partition(0)).expect("known");
        assert_eq!(append(from(2)).await, Ok((4, Novelty::New)), "as if nothing had been");
        assert_eq!(log.log.seal(partition(9)), Err(SubmitError::UnknownPartition));
    });
}

#[test]
fn producers_get_duplicates_and_gaps_told_apart() {
    on_every_arm(async |log| {
        let from = |epoch, sequence| Batch { producer: Some((5, epoch, sequence)), ..batch(1) };
        let append = async |epoch, sequence| {
            let outcome = log.append(from(epoch, sequence).append_to(partition(0))).await;
            outcome.map(|placed| (placed.base_offset.number(), placed.novelty))
        };
        let refused = |error| Err(SubmitError::Producer(error));
        for (epoch, sequence, expected) in [
            (0, 0, Ok((0, Novelty::New))),
            (0, 2, Ok((2, Novelty::New))),
            (0, 0, Ok((0, Novelty::Duplicate))),
            (0, 2, Ok((2, Novelty::Duplicate))),
            (0, 6, refused(ProducerError::SequenceGap { expected: 4, found: 6 })),
            (1, 0, Ok((4, Novelty::New))),
            (0, 4, refused(ProducerError::StaleEpoch { current: 1 })),
        ] {
            assert_eq!(append(epoch, sequence).await, expected, "epoch {epoch}, {sequence}");
        }
    });
}

#[test]
fn an_expected_end_must_be_the_end() {
    on_every_arm(async |log| {
        let append =
            |end| Append { expect_end: Some(Offset::new(end)), ..batch(0).append_to(partition(0)) };
        let moved = |end| SubmitError::EndMoved { end: Offset::new(end) };
        assert_eq!(log.append(append(2)).await.err(), Some(moved(0)));
        assert!(log.append(append(0)).await.is_ok());
        assert_eq!(log.append(append(0)).await.err(), Some(moved(2)));
        assert!(log.append(append(2)).await.is_ok());
    });
}

#[test]
fn a_wait_ends_when_the_records_can_be_read() {
    on_every_arm(async |log| {
        let progress = log.log.progress(partition(0)).expect("declared");
        let waiting = tokio::spawn(async move { progress.wait_beyond(Offset::new(1)).await });
        let ticket = log.log.submit(CommitSet::of(batch(0).append_to(partition(0))));
        assert_eq!(waiting.await.expect("the task ends"), Ok(()));
        let (bytes, _) = log.read(request(0, 0, 1 << 20)).await;
        assert_eq!(batches(bytes).len(), 1);
        assert!(ticket.settled().await[0].is_ok());
    });
}

#[test]
fn records_are_found_by_time() {
    on_every_arm(async |log| {
        // Batches of two records, a millisecond apart, every 10 ms; the eighth comes late.
        for mark in 0..20 {
            let at = START.plus_millis(if mark == 7 { 0 } else { mark as i64 * 10 });
            log.append(Batch { at, ..batch(mark) }.append_to(partition(0)))
                .await
                .expect("accepted");
        }
        let found = |offset, millis| {
            let (offset, timestamp) = (Offset::new(offset), START.plus_millis(millis));
            Some(FoundRecord { offset, timestamp, epoch: LogEpoch::ZERO })
        };
        for (lookup, expected) in [
            (Lookup::AtTime(START.plus_millis(-5)), found(0, 0)),
            (Lookup::AtTime(START.plus_millis(1)), found(1, 1)),
            (Lookup::AtTime(START.plus_millis(2)), found(2, 10)),
            (Lookup::AtTime(START.plus_millis(65)), found(16, 80)),
            (Lookup::AtTime(START.plus_millis(191)), found(39, 191)),
            (Lookup::AtTime(START.plus_millis(192)), None),
            (Lookup::LargestTimestamp, found(39, 191)),
        ] {
            let result = log.log.lookup(partition(0), lookup).await;
            assert_eq!(result, Ok(expected), "{lookup:?}");
        }
        let empty = log.log.lookup(partition(1), Lookup::LargestTimestamp).await;
        assert_eq!(empty, Ok(None));
    });
}

#[test]
fn records_that_cannot_be_read_have_no_times_to_search() {
    on_every_arm(async |log| {
        // What a client may send: a checksum that is right, over records that are none.
        let mut bytes = batch(0).build().bytes().to_vec();
        bytes[HEADER_BYTES..].fill(0xff);
        let crc = crc32c_of_batch(&bytes);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        let unreadable = RecordBatch::parse(bytes.into()).expect("its header is right");
        assert_eq!(unreadable.verify_crc(), Ok(()));
        let append = Append { batch: unreadable, ..batch(0).append_to(partition(0)) };
        log.append(append).await.expect("accepted");
        log.append(batch(1).append_to(partition(0))).await.expect("accepted");
        let found = log.log.lookup(partition(0), Lookup::AtTime(START)).await.expect("searched");
        assert_eq!(found.map(|found| found.offset), Some(Offset::new(2)));
    });
}

#[test]
fn append_times_never_go_back() {
    on_every_arm(async |log| {
        let append = || Append { stamp: Stamp::AppendTime, ..batch(0).append_to(partition(0)) };
        let first = log.append(append()).await.expect("accepted").append_time;
        assert_eq!(first, Some(START));
        log.clock.advance(Duration::from_millis(250));
        let second = log.append(append()).await.expect("accepted").append_time;
        assert_eq!(second, Some(START.plus_millis(250)));
        let (bytes, _) = log.read(request(0, 2, 1 << 20)).await;
        assert_eq!(batches(bytes)[0].header().max_timestamp, START.plus_millis(250));
    });
}

#[test]
fn trimming_moves_the_log_start_and_never_back() {
    on_every_arm(async |log| {
        for mark in 0..20 {
            log.append(batch(mark).append_to(partition(0))).await.expect("accepted");
        }
        let whole = log.log.size(partition(0)).expect("declared");
        for (before, expected) in [(9, 9), (3, 9), (30, 30), (1_000, 40), (0, 40)] {
            let log_start = log.trim(0, before).await;
            assert_eq!(log_start, Ok(Offset::new(expected)), "trim to {before}");
        }
        let marks = log.log.progress(partition(0)).expect("declared").watermarks();
        assert_eq!((marks.log_start.number(), marks.log_end.number()), (40, 40));
        assert!(log.log.size(partition(0)).expect("declared").bytes < whole.bytes);
        let placed = log.append(batch(99).append_to(partition(0))).await.expect("accepted");
        assert_eq!(placed.base_offset, Offset::new(40));
        assert_eq!(placed.log_start, Offset::new(40));
    });
}

#[test]
fn many_partitions_are_trimmed_in_one_call_and_each_has_its_own_result() {
    on_every_arm(async |log| {
        for (index, mark) in [(0, 0), (0, 1), (1, 2)] {
            log.append(batch(mark).append_to(partition(index))).await.expect("accepted");
        }
        let cuts = [(1, 1), (99, 1), (0, 3), (0, 2)];
        let cuts = cuts.map(|(index, before)| (partition(index), Offset::new(before)));
        let results = log.log.trim(&cuts).await;
        let starts: Vec<_> = results.iter().map(|r| r.as_ref().ok().copied()).collect();
        // Of two cuts of one partition the further one holds.
        let three = Some(Offset::new(3));
        assert_eq!(starts, [Some(Offset::new(1)), None, three, three]);
        assert_eq!(results[1], Err(ReadError::UnknownPartition));
    });
}

#[test]
fn epochs_end_at_the_log_end() {
    on_every_arm(async |log| {
        log.append(batch(0).append_to(partition(0))).await.expect("accepted");
        let end = log.log.epoch_end(partition(0), LogEpoch::ZERO).expect("declared");
        let end = end.map(|end| (end.epoch, end.end));
        assert_eq!(end, Some((LogEpoch::ZERO, Offset::new(2))));
    });
}

#[test]
fn deleted_partitions_are_unknown_and_end_their_waits() {
    on_every_arm(async |log| {
        log.append(batch(0).append_to(partition(0))).await.expect("accepted");
        let progress = log.log.progress(partition(0)).expect("declared");
        let waiting = tokio::spawn(async move { progress.wait_beyond(Offset::new(99)).await });
        let (held, _) = log.read(request(0, 0, 1 << 20)).await;
        log.log.delete(&[partition(0)]).await.expect("deleted");
        assert!(waiting.await.expect("the task ends").is_err());
        assert_eq!(batches(held).len(), 1, "a reader keeps what it has");
        let refused = log.append(batch(0).append_to(partition(0))).await;
        assert_eq!(refused.err(), Some(SubmitError::UnknownPartition));
        assert!(log.append(batch(0).append_to(partition(1))).await.is_ok());
    });
}
