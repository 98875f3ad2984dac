//! What the tests of the log share: batches to append, and logs to append them to.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod history;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir_model::batch::{ProducerStamp, RecordBatch};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::ids::{PartitionId, PartitionIndex, ProducerId, StreamId};
use weir_model::offset::Offset;
use weir_model::random::SeededRandom;
use weir_model::record::RecordToWrite;
use weir_model::time::{Clock, ManualClock, Timestamp};
use weir_storage::commit::{Append, CommitSet, Outcome, Stamp};
use weir_storage::disk::{Disk, SystemDisk};
use weir_storage::error::ReadError;
use weir_storage::local::{DataDir, LocalLog, LocalOptions, OpenError, Reserve};
use weir_storage::log::Log;
use weir_storage::memory::MemoryLog;
use weir_storage::meta::RedbStore;
use weir_storage::read_plan::{OversizedFirst, ReadRequest};
use weir_storage::sim_disk::SimDisk;

/// When the tests' clock starts.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn partition(index: i32) -> PartitionId {
    PartitionId {
        stream: StreamId::from_bytes([7; 16]),
        index: PartitionIndex::try_from(index).expect("not negative"),
    }
}

/// How a test's batch looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub records: u32,
    pub value_bytes: usize,
    /// Marks the values, so that one batch cannot pass for another.
    pub mark: u64,
    /// Time of the first record; each next one is a millisecond later.
    pub at: Timestamp,
    pub producer: Option<(i64, i16, i32)>,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { records: 1, value_bytes: 8, mark: 0, at: START, producer: None }
    }
}

impl Batch {
    pub(crate) fn build(&self) -> RecordBatch {
        let producer = self.producer.map(|(id, epoch, base_sequence)| ProducerStamp {
            id: ProducerId::new(id).expect("not negative"),
            epoch,
            base_sequence,
        });
        let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
        let mut value = vec![b'.'; self.value_bytes.max(8)];
        value[..8].copy_from_slice(&self.mark.to_be_bytes());
        for index in 0..self.records {
            let record = RecordToWrite {
                timestamp: self.at.plus_millis(i64::from(index)),
                key: None,
                value: Some(&value),
                headers: &[],
            };
            builder.append(&record).expect("there is room");
        }
        builder.build()
    }

    pub(crate) fn append_to(&self, partition: PartitionId) -> Append {
        Append { partition, batch: self.build(), stamp: Stamp::Keep, expect_end: None }
    }
}

/// A log under test, with whatever must live as long.
pub(crate) struct TestLog {
    pub log: Log,
    pub clock: Arc<ManualClock>,
    pub disk: TestDisk,
}

/// What a log under test is kept on.
pub(crate) enum TestDisk {
    None,
    Directory(tempfile::TempDir),
    Simulated(SimDisk),
}

impl TestDisk {
    pub(crate) fn directory() -> TestDisk {
        TestDisk::Directory(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn simulated(bytes: u64) -> TestDisk {
        TestDisk::Simulated(SimDisk::new(1, bytes))
    }

    /// The path of a directory on this machine.
    pub(crate) fn path(&self) -> &Path {
        match self {
            TestDisk::Directory(directory) => directory.path(),
            TestDisk::None | TestDisk::Simulated(_) => panic!("not on this machine's disk"),
        }
    }

    pub(crate) fn sim(&self) -> &SimDisk {
        match self {
            TestDisk::Simulated(disk) => disk,
            TestDisk::None | TestDisk::Directory(_) => panic!("not simulated"),
        }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        match self {
            TestDisk::None => panic!("there is no disk"),
            TestDisk::Directory(directory) => {
                Arc::new(SystemDisk::at(directory.path()).expect("it is there"))
            }
            TestDisk::Simulated(disk) => Arc::new(disk.clone()),
        }
    }
}

impl TestLog {
    /// The arm without a disk.
    pub(crate) fn memory() -> TestLog {
        let clock = Arc::new(ManualClock::starting_at(START));
        let log = Log::Memory(MemoryLog::start(Arc::clone(&clock) as Arc<dyn Clock>));
        TestLog { log, clock, disk: TestDisk::None }
    }

    /// The arm in files, in a new directory.
    pub(crate) async fn local() -> TestLog {
        TestLog::local_on(TestDisk::directory(), LocalOptions::default()).await
    }

    pub(crate) async fn local_on(disk: TestDisk, options: LocalOptions) -> TestLog {
        let clock = Arc::new(ManualClock::starting_at(START));
        let log = open_local(&disk, &clock, options).await.expect("a new directory opens");
        TestLog { log, clock, disk }
    }

    /// Stops, cleanly or as by a kill, and opens the same directory again.
    pub(crate) async fn reopen(self, is_clean: bool) -> TestLog {
        if is_clean {
            self.log.close().await.expect("it closes");
        }
        self.reopen_after(|_| {}).await
    }

    /// The same on a simulated disk, whose open files end with the process.
    pub(crate) async fn reopen_on_sim(self, is_clean: bool) -> TestLog {
        if is_clean {
            self.log.close().await.expect("it closes");
        }
        self.reopen_after(|disk| disk.sim().kill()).await
    }

    /// Stops as by a kill, does something to the disk, and opens it again.
    pub(crate) async fn reopen_after(self, change: impl FnOnce(&TestDisk)) -> TestLog {
        let TestLog { log, clock, disk } = self;
        drop(log);
        change(&disk);
        let log = open_local(&disk, &clock, LocalOptions::default()).await.expect("it opens again");
        TestLog { log, clock, disk }
    }

    /// Appends one batch and waits until it is kept.
    pub(crate) async fn append(&self, append: Append) -> Outcome {
        settle(&self.log, append).await
    }

    /// Moves the log start of one partition.
    pub(crate) async fn trim(&self, index: i32, before: u64) -> Result<Offset, ReadError> {
        let cuts = [(partition(index), Offset::new(before))];
        self.log.trim(&cuts).await.pop().expect("one result for one cut")
    }

    /// Whole batches from an offset on, and the offset to go on from.
    pub(crate) async fn read(&self, request: ReadRequest) -> (Vec<u8>, Offset) {
        let ranges = self.log.read(request).expect("in range").ranges().await.expect("readable");
        let mut bytes = Vec::new();
        for extent in &ranges.extents {
            bytes.extend_from_slice(&extent.load().await.expect("readable"));
        }
        assert_eq!(bytes.len(), ranges.bytes, "the plan says how long it is");
        (bytes, ranges.next_offset)
    }

    /// How far the test has moved the clock.
    pub(crate) fn clock_elapsed(&self) -> Duration {
        self.clock.moment().since_start()
    }

    /// How many batches can be read from the log start on.
    pub(crate) async fn count(&self, index: i32) -> usize {
        let start = self.log.progress(partition(index)).expect("declared").watermarks().log_start;
        batches(self.read(request(index, start.number(), usize::MAX)).await.0).len()
    }
}

pub(crate) async fn settle(log: &Log, append: Append) -> Outcome {
    let mut outcomes = log.submit(CommitSet::of(append)).settled().await;
    outcomes.pop().expect("one outcome for one append")
}

pub(crate) fn request(index: i32, from: u64, bytes_max: usize) -> ReadRequest {
    ReadRequest {
        partition: partition(index),
        from: Offset::new(from),
        bytes_max,
        oversized_first: OversizedFirst::Return,
    }
}

pub(crate) async fn open_local(
    disk: &TestDisk,
    clock: &Arc<ManualClock>,
    options: LocalOptions,
) -> Result<Log, OpenError> {
    let reserve = match disk {
        TestDisk::Simulated(_) => Reserve::Ballast,
        TestDisk::None | TestDisk::Directory(_) => Reserve::None,
    };
    let data = DataDir::open(disk.disk(), reserve)?;
    let meta = Arc::new(RedbStore::open(&data)?);
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let random = SeededRandom::new(1);
    LocalLog::open(data, meta, clock, &random, options).await.map(Log::Local)
}

/// The batches in bytes that were read.
pub(crate) fn batches(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let mut bytes = bytes.into();
    let mut batches = Vec::new();
    loop {
        let rest: &bytes::Bytes = &bytes;
        if rest.is_empty() {
            return batches;
        }
        let batch = RecordBatch::split_first(&mut bytes).expect("whole batches");
        batch.verify_crc().expect("undamaged");
        batches.push(batch);
    }
}
