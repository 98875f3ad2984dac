//! Why an append, a read or a metadata commit did not happen. Each variant says what the caller can
//! do; the dialects turn them into their protocol's codes.

use std::io;

use weir_model::offset::Offset;

use crate::producer_state::ProducerError;

/// Why a batch was not appended. Nothing of it is in the log, except after [`FlushFailed`].
///
/// [`FlushFailed`]: SubmitError::FlushFailed
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// No such partition: never declared, or deleted meanwhile.
    UnknownPartition,
    /// The producer's epoch or sequence does not fit; see [`ProducerError`].
    Producer(ProducerError),
    /// `expect_end` was given and the log ends elsewhere: somebody else appended. Read on and
    /// retry.
    EndMoved {
        /// Where the log really ends.
        end: Offset,
    },
    /// The disk has no room. Reads and deletes go on; the append may be retried.
    DiskFull,
    /// The partition was sealed ([`Log::seal`]): it takes no new batch, and may never again. What
    /// an idempotent producer sends again is still answered as a duplicate.
    ///
    /// [`Log::seal`]: crate::log::Log::seal
    Sealed,
    /// The partition takes no writes until somebody looks at it: its log is damaged, or an earlier
    /// write or flush failed.
    Stopped,
    /// The flush that would have covered the batch failed: it may or may not be in the log.
    FlushFailed,
    /// Another append of the same atomic set failed, so this one was not made either.
    SetAborted,
    /// The partition has given out its last offset.
    OffsetsExhausted,
    /// The log is shutting down.
    ShuttingDown,
}

/// Why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// No such partition: never declared, or deleted meanwhile.
    UnknownPartition,
    /// The offset is below the log start or above the log end.
    OutOfRange {
        /// First offset that can be read.
        log_start: Offset,
        /// One past the last offset.
        log_end: Offset,
    },
    /// The bytes at this offset are damaged; what lies before is served.
    Corrupt {
        /// First offset that cannot be served.
        at: Offset,
    },
    /// The operating system refused the read.
    Io(String),
}

impl From<io::Error> for ReadError {
    fn from(cause: io::Error) -> ReadError {
        ReadError::Io(cause.to_string())
    }
}

/// Why a metadata commit or look-up failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaError {
    /// A key has another version than the change expected; nothing of the commit was made.
    Conflict,
    /// The disk has no room; nothing of the commit was made.
    DiskFull,
    /// The store failed and takes no more commits until restart.
    Failed(String),
}
