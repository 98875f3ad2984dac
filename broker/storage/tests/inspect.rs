//! What the log shows of its inside, by both arms, and what of it is damaged.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::os::unix::fs::FileExt;

use support::{Batch, START, TestDisk, TestLog, partition};
use weir_model::batch::{BatchError, RecordBatch};
use weir_model::offset::Offset;
use weir_storage::commit::CommitSet;
use weir_storage::config::{FlushPolicy, LogConfig};
use weir_storage::error::ReadError;
use weir_storage::inspect::{
    BatchFault, BatchPlace, BatchView, IndexEntryView, IndexKind, IndexState, SegmentState,
    SegmentView, WantedBatch,
};
use weir_storage::local::{Flushing, LocalOptions};

const BATCHES: u64 = 20;

/// A log of 20 batches of two records, on files of a few batches each.
async fn filled(log: &TestLog) {
    let config =
        LogConfig { segment_bytes: 600, index_interval_bytes: 100, ..LogConfig::default() };
    log.log.declare(partition(0), config);
    for mark in 0..BATCHES {
        let at = START.plus_millis(mark.cast_signed() * 10);
        let batch = Batch { mark, records: 2, value_bytes: 40, at, producer: None };
        log.append(batch.append_to(partition(0))).await.expect("accepted");
    }
}

async fn segments(log: &TestLog) -> Vec<SegmentView> {
    log.log.segments(partition(0), Offset::ZERO, 1_000).await.expect("there are some")
}

async fn batches(log: &TestLog, segment: Offset, count_max: usize) -> Vec<BatchView> {
    let (mut found, mut position) = (Vec::new(), Some(0));
    while let Some(from) = position {
        let place = BatchPlace { segment, position: from };
        let page = log.log.batches(partition(0), place, count_max).await.expect("a page");
        assert!(page.batches.len() <= count_max, "more than were asked for");
        found.extend(page.batches);
        position = page.next_position;
    }
    found
}

async fn both_arms() -> [TestLog; 2] {
    let logs = [TestLog::local().await, TestLog::memory()];
    for log in &logs {
        filled(log).await;
    }
    logs
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_and_batches_lie_one_behind_the_other() {
    for log in both_arms().await {
        let (mut next_offset, mut count) = (Offset::ZERO, 0);
        for segment in segments(&log).await {
            assert_eq!(segment.base_offset, next_offset);
            let mut end = 0;
            for batch in batches(&log, segment.base_offset, 2).await {
                let header = batch.header.expect("a header");
                assert_eq!((batch.position, batch.fault, batch.crc_holds), (end, None, true));
                assert_eq!(header.base_offset, next_offset.as_i64());
                end += batch.bytes;
                next_offset = next_offset.plus(2);
                count += 1;
            }
            assert_eq!((segment.bytes, segment.readable_bytes), (end, end));
            assert_eq!(segment.next_offset, next_offset);
            assert!(segment.first_timestamp <= segment.max_timestamp);
        }
        assert_eq!(count, BATCHES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_found_by_its_place_and_by_each_of_its_offsets() {
    for log in both_arms().await {
        for segment in segments(&log).await {
            let segment = segment.base_offset;
            for view in batches(&log, segment, 100).await {
                let place = BatchPlace { segment, position: view.position };
                let at = WantedBatch::At(place);
                let found = log.log.batch(partition(0), at).await.expect("it is there");
                assert_eq!((found.place, &found.view), (place, &view));
                let batch = RecordBatch::parse(found.bytes.clone()).expect("whole");
                for offset in batch.header().base_offset..=batch.header().last_offset() {
                    let offset = Offset::try_from(offset).expect("not negative");
                    let holding = WantedBatch::Holding(offset);
                    assert_eq!(log.log.batch(partition(0), holding).await, Ok(found.clone()));
                }
            }
        }
        let holding = WantedBatch::Holding(Offset::new(2 * BATCHES));
        let behind = log.log.batch(partition(0), holding).await;
        assert!(matches!(behind, Err(ReadError::OutOfRange { .. })), "{behind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_readers_do_not_see_is_not_shown() {
    for log in both_arms().await {
        log.trim(0, 5).await.expect("trimmed");
        let holding = WantedBatch::Holding(Offset::new(4));
        let trimmed = log.log.batch(partition(0), holding).await;
        assert!(matches!(trimmed, Err(ReadError::OutOfRange { .. })), "{trimmed:?}");
    }
    let unflushed = LocalOptions { flushing: Flushing::Stepped, ..LocalOptions::default() };
    let log = TestLog::local_on(TestDisk::directory(), unflushed).await;
    log.log.declare(partition(0), LogConfig { flush: FlushPolicy::Group, ..LogConfig::default() });
    let batch = Batch::default().append_to(partition(0));
    let ticket = log.log.submit(CommitSet::of(batch));
    let shown = segments(&log).await;
    let [segment] = &shown[..] else { panic!("{shown:?}") };
    assert!(segment.bytes > 0 && segment.readable_bytes == 0, "{segment:?}");
    assert_eq!(batches(&log, Offset::ZERO, 10).await, []);
    let holding = WantedBatch::Holding(Offset::ZERO);
    let hidden = log.log.batch(partition(0), holding).await;
    assert!(matches!(hidden, Err(ReadError::OutOfRange { .. })), "{hidden:?}");
    log.log.flush(partition(0)).await.expect("flushed");
    assert_eq!(batches(&log, Offset::ZERO, 10).await.len(), 1);
    drop(ticket);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_name_batches_and_files_are_listed() {
    let log = TestLog::local().await;
    filled(&log).await;
    let log = log.reopen(true).await;
    log.log.declare(partition(0), LogConfig::default());
    let shown = segments(&log).await;
    assert!(shown.len() > 3, "{shown:?}");
    let (active, finished) = shown.split_last().expect("some");
    assert_eq!(active.state, SegmentState::Active);
    for segment in finished {
        assert_eq!(segment.state, SegmentState::Sealed);
        let base = segment.base_offset;
        let names: Vec<_> = segment.files.iter().map(|file| file.name.as_str()).collect();
        let name = |extension: &str| format!("{:020}.{extension}", base.number());
        assert_eq!(names[0], name("log"));
        assert_eq!(segment.files[0].bytes, segment.bytes);
        for extension in ["index", "timeindex", "seal"] {
            assert!(names.contains(&name(extension).as_str()), "{extension} of {names:?}");
        }
        let known = batches(&log, base, 100).await;
        let page = log.log.index_entries(partition(0), base, IndexKind::Offset, (0, 10)).await;
        let page = page.expect("an index");
        assert_eq!(page.state, IndexState::Stored);
        assert!(page.entry_count > 0, "{page:?}");
        for entry in page.entries {
            let IndexEntryView::Offset { offset, position } = entry else { panic!("{entry:?}") };
            let batch = known.iter().find(|batch| batch.position == position).expect("a batch");
            assert_eq!(batch.header.map(|header| header.last_offset()), Some(offset.as_i64()));
        }
        let page = log.log.index_entries(partition(0), base, IndexKind::Time, (0, 1)).await;
        assert_eq!(page.expect("an index").entries.len(), 1);
    }
}

/// Overwrites bytes of the first segment's file after a clean stop, and opens it again.
async fn damaged(at: u64, bytes: &[u8]) -> TestLog {
    let log = TestLog::local().await;
    filled(&log).await;
    log.log.close().await.expect("it closes");
    let log = log.reopen_after(|disk| {
        let name = format!("logs/{}-0/{:020}.log", partition(0).stream, 0);
        let file = std::fs::File::options().write(true).open(disk.path().join(name));
        file.expect("it is there").write_all_at(bytes, at).expect("it takes bytes");
    });
    let log = log.await;
    log.log.declare(partition(0), LogConfig::default());
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_shown_where_it_is_and_ends_nothing() {
    let whole = TestLog::local().await;
    filled(&whole).await;
    let intact = batches(&whole, Offset::ZERO, 100).await;
    assert!(intact.len() > 2, "{intact:?}");
    let second = intact[1].position;
    // A bit of a record, the format's number, the base offset that no checksum covers.
    let log = damaged(second + 90, &[0xff]).await;
    let found = batches(&log, Offset::ZERO, 100).await;
    assert!(matches!(found[1].fault, Some(BatchFault::Bytes(BatchError::CrcMismatch { .. }))));
    assert!(!found[1].crc_holds);
    assert_eq!(found[1].header, intact[1].header);
    assert_eq!((&found[0], &found[2..]), (&intact[0], &intact[2..]));

    let log = damaged(second + 16, &[9]).await;
    let found = batches(&log, Offset::ZERO, 100).await;
    let magic = Some(BatchFault::Bytes(BatchError::UnsupportedMagic(9)));
    assert_eq!((found[1].fault, found[1].header.map(|header| header.magic)), (magic, Some(9)));
    assert_eq!(found.iter().map(|view| view.bytes).sum::<u64>(), segments(&log).await[0].bytes);
    assert_eq!(found.last(), intact.last(), "the walk goes on behind it");
    // By the offset that it held, what is there now is shown.
    let held = log.log.batch(partition(0), WantedBatch::Holding(Offset::new(2))).await;
    assert_eq!(held.map(|held| held.view), Ok(found[1].clone()));

    let log = damaged(second, &7_000_u64.to_be_bytes()).await;
    let found = batches(&log, Offset::ZERO, 100).await;
    assert_eq!((found[1].fault, found[1].crc_holds), (Some(BatchFault::OutOfPlace), true));
    assert_eq!(found[2..], intact[2..]);
}
