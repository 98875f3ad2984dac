//! Each arm of the log against a list of batches: random appends, reads, trims, restarts.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use support::{Batch, TestDisk, TestLog, batches, partition, request};
use weir_model::offset::Offset;
use weir_storage::config::{FlushPolicy, LogConfig};
use weir_storage::error::ReadError;
use weir_storage::local::LocalOptions;

#[derive(Clone, Debug)]
enum Action {
    Append {
        records: u32,
        value_bytes: usize,
    },
    /// From this share of the log, so many bytes.
    Read {
        share: u8,
        bytes_max: usize,
    },
    Trim {
        share: u8,
    },
    /// Only where there is a disk.
    Restart {
        is_clean: bool,
    },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (1..5u32, 8..400usize)
            .prop_map(|(records, value_bytes)| Action::Append { records, value_bytes }),
        6 => (any::<u8>(), 0..3000usize)
            .prop_map(|(share, bytes_max)| Action::Read { share, bytes_max }),
        1 => any::<u8>().prop_map(|share| Action::Trim { share }),
        1 => any::<bool>().prop_map(|is_clean| Action::Restart { is_clean }),
    ]
}

/// What the log should be.
#[derive(Default)]
struct Model {
    /// Base offset, records, bytes of the whole batch, payload.
    batches: Vec<(u64, u64, usize, Bytes)>,
    log_start: u64,
}

impl Model {
    fn end(&self) -> u64 {
        self.batches.last().map_or(0, |(base, records, ..)| base + records)
    }

    /// An offset from just below the log start to just above the end.
    fn offset_at(&self, share: u8) -> u64 {
        let span = self.end() - self.log_start + 3;
        (self.log_start + span * u64::from(share) / 256).saturating_sub(1)
    }

    /// The batches that a read should return.
    fn read(&self, from: u64, bytes_max: usize) -> Vec<&(u64, u64, usize, Bytes)> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for batch in self.batches.iter().filter(|(base, records, ..)| base + records > from) {
            if bytes + batch.2 > bytes_max && !found.is_empty() {
                break;
            }
            bytes += batch.2;
            found.push(batch);
        }
        found
    }
}

async fn run(mut log: TestLog, flush: FlushPolicy, actions: &[Action]) {
    let config =
        LogConfig { flush, segment_bytes: 1200, index_interval_bytes: 300, ..LogConfig::default() };
    log.log.declare(partition(0), config);
    let mut model = Model::default();
    for (mark, action) in actions.iter().enumerate() {
        match *action {
            Action::Append { records, value_bytes } => {
                let mark = mark as u64;
                let batch = Batch { records, value_bytes, mark, ..Batch::default() };
                let placed = log.append(batch.append_to(partition(0))).await.expect("accepted");
                assert_eq!(placed.base_offset.number(), model.end());
                let built = batch.build();
                let bytes = built.bytes().len();
                model.batches.push((model.end(), records.into(), bytes, built.payload()));
            }
            Action::Read { share, bytes_max } => {
                check_read(&log, &model, model.offset_at(share), bytes_max).await;
            }
            Action::Trim { share } => {
                let before = model.offset_at(share);
                let trimmed = log.trim(0, before).await;
                model.log_start = before.clamp(model.log_start, model.end());
                assert_eq!(trimmed, Ok(Offset::new(model.log_start)));
            }
            Action::Restart { .. } if matches!(log.disk, TestDisk::None) => {}
            Action::Restart { is_clean } => {
                log = log.reopen_on_sim(is_clean).await;
                log.log.declare(partition(0), config);
            }
        }
        let marks = log.log.progress(partition(0)).expect("declared").watermarks();
        assert_eq!(
            (marks.log_start.number(), marks.log_end.number()),
            (model.log_start, model.end())
        );
    }
    check_read(&log, &model, model.log_start, usize::MAX).await;
}

async fn check_read(log: &TestLog, model: &Model, from: u64, bytes_max: usize) {
    if from < model.log_start || from > model.end() {
        let refused = log.log.read(request(0, from, bytes_max)).err();
        assert!(matches!(refused, Some(ReadError::OutOfRange { .. })), "from {from}");
        return;
    }
    let expected = model.read(from, bytes_max);
    let (bytes, next) = log.read(request(0, from, bytes_max)).await;
    let found = batches(bytes);
    assert_eq!(found.len(), expected.len(), "from {from}, {bytes_max} bytes");
    for (batch, (base, _, _, payload)) in found.iter().zip(&expected) {
        assert_eq!(batch.header().base_offset.unsigned_abs(), *base);
        assert_eq!(&batch.payload(), payload);
    }
    let end = expected.last().map_or(from, |(base, records, ..)| base + records);
    assert_eq!(next.number(), end, "from {from}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_arm_is_a_list_of_batches(
        actions in prop::collection::vec(action(), 1..60),
        policy in 0..3usize,
    ) {
        let flush = [FlushPolicy::Group, FlushPolicy::INTERVAL, FlushPolicy::Os][policy];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        runtime.expect("a runtime").block_on(async {
            run(TestLog::memory(), flush, &actions).await;
            let disk = TestDisk::simulated(64 << 20);
            run(TestLog::local_on(disk, LocalOptions::default()).await, flush, &actions).await;
        });
    }
}
