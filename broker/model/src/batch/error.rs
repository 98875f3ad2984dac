//! What can be wrong with a batch. Dialects decide what each variant is called on their wire.

use std::fmt;

use crate::compression::CompressionError;
use crate::record::RecordFault;

/// Why bytes are not a batch, or not one that may be appended or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The bytes end before the header or the batch does. In a log: a torn tail.
    Incomplete {
        /// Bytes that are needed at least.
        needed_bytes: usize,
        /// Bytes that are there.
        found_bytes: usize,
    },
    /// More bytes follow the batch where only one batch may be.
    TrailingBytes {
        /// How many.
        trailing_bytes: usize,
    },
    /// A message format other than 2.
    UnsupportedMagic(i8),
    /// The length is too small for a header, or above
    /// [`BATCH_BYTES_MAX`](crate::limits::BATCH_BYTES_MAX).
    LengthOutOfRange(i32),
    /// Codec bits 5, 6 or 7.
    UnknownCodec(u8),
    /// The number of records cannot fit the offsets, or (from a producer) does not fill them.
    CountsDisagree {
        /// Records that the header claims.
        record_count: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// A producer claims more records than the batch's bytes can hold.
    CountExceedsBytes(i32),
    /// The bytes are not those that the CRC was computed over.
    CrcMismatch {
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// A producer sent a control batch; only the broker writes them.
    ControlFromProducer,
    /// A producer set the log-append bit or a delete horizon; only the broker does.
    TimestampTypeFromProducer,
    /// Producer id, epoch and sequence do not go together.
    InvalidProducer,
    /// The records do not decompress.
    Compression(CompressionError),
    /// A record's bytes are wrong.
    MalformedRecord {
        /// Which one, counted from 0 among the records that the batch holds.
        index: usize,
        /// What is wrong.
        fault: RecordFault,
    },
    /// More bytes follow the last record.
    BytesAfterRecords {
        /// How many.
        extra_bytes: usize,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Incomplete { needed_bytes, found_bytes } => {
                write!(out, "batch ends after {found_bytes} of {needed_bytes} bytes")
            }
            BatchError::TrailingBytes { trailing_bytes } => {
                write!(out, "{trailing_bytes} bytes follow the batch")
            }
            BatchError::UnsupportedMagic(magic) => {
                write!(out, "message format {magic} is not supported, only 2 is")
            }
            BatchError::LengthOutOfRange(length) => {
                write!(out, "batch length {length} is out of range")
            }
            BatchError::UnknownCodec(bits) => write!(out, "unknown compression codec {bits}"),
            BatchError::CountsDisagree { record_count, last_offset_delta } => write!(
                out,
                "record count {record_count} disagrees with last offset delta {last_offset_delta}"
            ),
            BatchError::CountExceedsBytes(count) => {
                write!(out, "{count} records do not fit the batch's bytes")
            }
            BatchError::CrcMismatch { stored, computed } => {
                write!(out, "crc is {computed:#010x}, header says {stored:#010x}")
            }
            BatchError::ControlFromProducer => {
                out.write_str("producers may not write control batches")
            }
            BatchError::TimestampTypeFromProducer => {
                out.write_str("producers may not set log-append time or a delete horizon")
            }
            BatchError::InvalidProducer => {
                out.write_str("producer id, epoch and sequence do not go together")
            }
            BatchError::Compression(error) => error.fmt(out),
            BatchError::MalformedRecord { index, fault } => {
                write!(out, "record {index} is malformed: {fault}")
            }
            BatchError::BytesAfterRecords { extra_bytes } => {
                write!(out, "{extra_bytes} bytes follow the last record")
            }
        }
    }
}

impl std::error::Error for BatchError {}
