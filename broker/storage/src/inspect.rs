//! What a log shows of its inside: segments, batches where they lie, entries of indexes.
//!
//! For people who look, not for readers: bytes are shown as they are, and what is damaged is shown
//! damaged. Readers' limits hold all the same: nothing behind the high watermark is shown, since a
//! power cut could still take it back.
//!
//! Looking is done by a thread that may block; a partition's lock is held to copy a few references.

use std::fmt;

use bytes::Bytes;
use weir_model::batch::{BatchError, BatchHeader, HEADER_BYTES, RecordBatch};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// One past its last offset.
    pub next_offset: Offset,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Where in it readers stop.
    pub readable_bytes: u64,
    /// Records that were appended to it.
    pub record_count: u64,
    /// The first batch's latest time; none without a batch, or one with times.
    pub first_timestamp: Option<Timestamp>,
    /// The latest time of all; none without a record that has one.
    pub max_timestamp: Option<Timestamp>,
    /// What is done with it.
    pub state: SegmentState,
    /// The files under its name, the batches' first.
    pub files: Vec<FileView>,
}

/// What is done with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Appends go to it.
    Active,
    /// It is full, and what lies beside it is not written yet.
    Full,
    /// It is full and flushed, and has its indexes and its seal beside it.
    Sealed,
}

/// A file of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    /// Its name, without its directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// The segment's base offset.
    pub segment: Offset,
    /// In bytes from the segment's beginning.
    pub position: u64,
}

/// Which batch is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedBatch {
    /// The one at this place.
    At(BatchPlace),
    /// The one that holds this offset.
    Holding(Offset),
}

/// A batch, or what lies where one should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    /// Where it begins, in bytes from the segment's beginning.
    pub position: u64,
    /// How long it is; of what is no batch: up to the next known beginning of one.
    pub bytes: u64,
    /// What its first bytes say; none where there are too few. Nothing of it is checked where the
    /// batch has a fault.
    pub header: Option<BatchHeader>,
    /// Whether its checksum is that of its bytes.
    pub crc_holds: bool,
    /// What is wrong with it.
    pub fault: Option<BatchFault>,
}

/// What is wrong with a batch where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFault {
    /// Its bytes are not those of a batch, or not those that its checksum was made of.
    Bytes(BatchError),
    /// It has offsets that its segment does not have. The checksum does not cover them.
    OutOfPlace,
}

impl fmt::Display for BatchFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchFault::Bytes(error) => error.fmt(out),
            BatchFault::OutOfPlace => out.write_str("its offsets are not those of its segment"),
        }
    }
}

/// Batches that lie one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchPage {
    /// The batches.
    pub batches: Vec<BatchView>,
    /// Where the next one begins; none at the end of what readers see of the segment.
    pub next_position: Option<u64>,
}

/// A batch with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchBytes {
    /// Where it lies.
    pub place: BatchPlace,
    /// What it is.
    pub view: BatchView,
    /// Its bytes as they are stored; of what is no batch at most the first 64 KiB.
    pub bytes: Bytes,
}

/// An index of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// From an offset to a position.
    Offset,
    /// From a time to an offset.
    Time,
}

/// One entry of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexEntryView {
    /// Of the offset index.
    Offset {
        /// Last offset of a batch.
        offset: Offset,
        /// Where that batch begins.
        position: u64,
    },
    /// Of the time index.
    Time {
        /// The latest time up to the offset.
        timestamp: Timestamp,
        /// Last offset of the batch that brought it.
        offset: Offset,
    },
}

/// Where an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// In memory; it grows with its segment.
    InMemory,
    /// In a file.
    Stored,
    /// Its file is gone, or not what was written.
    Damaged,
}

/// Entries of an index, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPage {
    /// The entries.
    pub entries: Vec<IndexEntryView>,
    /// How many the index has.
    pub entry_count: u64,
    /// Where it is.
    pub state: IndexState,
}

/// Most bytes that are shown of what is no batch.
pub(crate) const RUBBLE_BYTES_MAX: u64 = 64 << 10;

impl BatchView {
    /// A whole batch.
    pub(crate) fn of(position: u64, batch: &RecordBatch) -> BatchView {
        let fault = batch.verify_crc().err();
        BatchView {
            position,
            bytes: batch.bytes().len() as u64,
            header: Some(*batch.header()),
            crc_holds: fault.is_none(),
            fault: fault.map(BatchFault::Bytes),
        }
    }

    /// What lies from `position` to `end` and is no batch, for this reason. `head` has its first
    /// bytes.
    pub(crate) fn rubble(position: u64, end: u64, head: &[u8], why: BatchError) -> BatchView {
        BatchView {
            position,
            bytes: end - position,
            header: head.first_chunk::<HEADER_BYTES>().map(BatchHeader::unchecked),
            crc_holds: false,
            fault: Some(BatchFault::Bytes(why)),
        }
    }
}
