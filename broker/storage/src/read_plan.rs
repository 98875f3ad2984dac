//! What a read answers: ranges of the log, not bytes.
//!
//! A plan is cheap to make under a lock and cheap to throw away, and nothing is copied until the
//! connection's writer sends it. Ranges keep their segment alive, so retention may unlink the file
//! meanwhile.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use weir_model::ids::PartitionId;
use weir_model::offset::Offset;

use crate::error::ReadError;
use crate::local::segment_range::SegmentRange;
use crate::watermarks::Watermarks;

/// What to read from one partition.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The partition.
    pub partition: PartitionId,
    /// Read from the batch that holds this offset; the reader skips what lies before it.
    pub from: Offset,
    /// Whole batches up to this many bytes.
    pub bytes_max: usize,
    /// Whether a first batch above `bytes_max` is returned all the same, so that a reader always
    /// gets on.
    pub oversized_first: OversizedFirst,
}

/// What to do with a first batch that is larger than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OversizedFirst {
    /// Return it alone.
    Return,
    /// Return nothing.
    Skip,
}

/// The answer to a [`ReadRequest`]: now, or when a colder store has looked.
pub enum ReadPlan {
    /// The ranges are known.
    Now(Ranges),
    /// The ranges come later.
    Later(Pin<Box<dyn Future<Output = Result<Ranges, ReadError>> + Send>>),
}

impl ReadPlan {
    /// The ranges, waited for if need be.
    pub async fn ranges(self) -> Result<Ranges, ReadError> {
        match self {
            ReadPlan::Now(ranges) => Ok(ranges),
            ReadPlan::Later(ranges) => ranges.await,
        }
    }
}

/// Consecutive whole batches below the high watermark, as ranges.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    /// The partition's positions when the plan was made.
    pub watermarks: Watermarks,
    /// The ranges, in offset order; empty when there is nothing to read yet.
    pub extents: Vec<Extent>,
    /// Sum of the extents' lengths.
    pub bytes: usize,
    /// One past the last offset that the extents hold; the request's `from` when they are empty.
    pub next_offset: Offset,
}

/// A run of bytes of the log.
#[derive(Clone, Debug)]
pub enum Extent {
    /// Bytes that are in memory already.
    Memory(Bytes),
    /// A range of a segment file.
    Segment(SegmentRange),
}

impl Extent {
    /// Its length in bytes.
    pub fn length(&self) -> usize {
        match self {
            Extent::Memory(bytes) => bytes.len(),
            Extent::Segment(range) => range.length(),
        }
    }

    /// The same bytes in pieces of at most `piece_bytes`, so that whoever loads them one after the
    /// other holds no more than that in memory.
    pub fn pieces(&self, piece_bytes: usize) -> impl Iterator<Item = Extent> + '_ {
        assert!(piece_bytes > 0, "pieces of nothing never end");
        (0..self.length()).step_by(piece_bytes).map(move |from| {
            let length = piece_bytes.min(self.length() - from);
            match self {
                Extent::Memory(bytes) => Extent::Memory(bytes.slice(from..from + length)),
                Extent::Segment(range) => Extent::Segment(range.piece(from, length)),
            }
        })
    }

    /// The bytes, if they can be had without touching a disk.
    pub fn resident(&self) -> Option<Bytes> {
        match self {
            Extent::Memory(bytes) => Some(bytes.clone()),
            Extent::Segment(range) => range.resident(),
        }
    }

    /// The bytes; a cold range is read by a blocking thread, so that no worker waits for a disk.
    pub async fn load(&self) -> Result<Bytes, ReadError> {
        match self {
            Extent::Memory(bytes) => Ok(bytes.clone()),
            Extent::Segment(range) => range.load().await,
        }
    }
}
