//! Record batch v2: the unit that producers send, that disks hold and that fetches return.
//!
//! ```text
//!  at  bytes
//!   0    8   base offset              set by the broker      ┐
//!   8    4   batch length             bytes after this field │ not covered by the CRC
//!  12    4   partition leader epoch   set by the broker      │
//!  16    1   magic, 2                                        │
//!  17    4   CRC-32C of all that follows                     ┘
//!  21    2   attributes               see [`Attributes`]
//!  23    4   last offset delta        kept by compaction when the last record goes
//!  27    8   base timestamp           the first record's
//!  35    8   max timestamp
//!  43    8   producer id              -1 if not idempotent, like the next two
//!  51    2   producer epoch
//!  53    4   base sequence
//!  57    4   record count
//!  61        records, compressed together if the attributes say so; see [`crate::record`]
//! ```
//!
//! All numbers are big-endian. A [`RecordBatch`] is exactly one whole batch whose header makes sense;
//! its bytes are never changed. An append gives it its place in the log ([`RecordBatch::place`]),
//! which makes a new header and leaves the payload where it is, so storing a batch copies 61 bytes.
//!
//! Parsing, checking the CRC and placing allocate nothing. Reading the records of an uncompressed
//! batch allocates nothing either; a compressed one allocates its decompressed bytes, once.
//!
//! Read [`crate::batch_builder`] for how weir makes batches of its own.

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc32Iscsi as Crc32c;

use crate::compression::{self, Codec};
use crate::ids::LogEpoch;
use crate::limits::DecodeLimits;
use crate::offset::Offset;
use crate::time::Timestamp;

mod error;
mod header;
mod records;

pub use error::BatchError;
pub use header::{Attributes, BatchHeader, BatchKind, ProducerStamp, TimestampType};
pub use records::Records;

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = 61;
/// Bytes up to and including the batch length, which that length does not count.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// The only message format that weir speaks; Kafka 4 dropped 0 and 1.
pub const MAGIC: i8 = 2;

/// Where the bytes begin that the CRC covers.
const CRC_COVERS_FROM: usize = 21;

/// One whole batch: a header that makes sense, and all of its bytes as they came.
///
/// The CRC is not checked by making one; [`RecordBatch::verify_crc`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// Takes bytes that must be exactly one batch.
    pub fn parse(bytes: Bytes) -> Result<RecordBatch, BatchError> {
        let header = BatchHeader::peek(&bytes)?;
        let needed_bytes = header.batch_bytes();
        match bytes.len().checked_sub(needed_bytes) {
            Some(0) => Ok(RecordBatch { header, bytes }),
            Some(trailing_bytes) => Err(BatchError::TrailingBytes { trailing_bytes }),
            None => Err(BatchError::Incomplete {
                needed_bytes,
                found_bytes: bytes.len(),
            }),
        }
    }

    /// Takes the batch at the start of `bytes` off, leaving what follows. On an error `bytes` is
    /// as it was.
    pub fn split_first(bytes: &mut Bytes) -> Result<RecordBatch, BatchError> {
        let header = BatchHeader::peek(bytes)?;
        let needed_bytes = header.batch_bytes();
        if bytes.len() < needed_bytes {
            return Err(BatchError::Incomplete {
                needed_bytes,
                found_bytes: bytes.len(),
            });
        }
        Ok(RecordBatch {
            header,
            bytes: bytes.split_to(needed_bytes),
        })
    }

    /// The header's fields.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// All bytes, header included.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How the records are compressed.
    pub fn codec(&self) -> Codec {
        let codec = self.header.attributes.codec();
        codec.expect("peek refuses unknown codecs")
    }

    /// The records' bytes, compressed if the codec says so.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Compares the CRC with the bytes. One pass, no allocation.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c_of_batch(&self.bytes);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::CrcMismatch {
                stored: self.header.crc,
                computed,
            })
        }
    }

    /// Checks what Kafka asks of a batch that a client produces, records and CRC apart: at least
    /// one record and an offset for each, no broker-only attributes, a producer that makes sense.
    pub fn check_produced(&self) -> Result<(), BatchError> {
        let header = &self.header;
        if header.record_count == 0 || header.record_count - 1 != header.last_offset_delta {
            return Err(header.counts_disagree());
        }
        if header.attributes.is_control() {
            return Err(BatchError::ControlFromProducer);
        }
        let is_create_time = header.attributes.timestamp_type() == TimestampType::CreateTime;
        if !is_create_time || header.attributes.has_delete_horizon() {
            return Err(BatchError::TimestampTypeFromProducer);
        }
        let is_sound_producer = match header.producer() {
            Some(producer) => producer.epoch >= 0 && producer.base_sequence >= 0,
            None => header.producer_id == -1 && !header.attributes.is_transactional(),
        };
        if is_sound_producer {
            Ok(())
        } else {
            Err(BatchError::InvalidProducer)
        }
    }

    /// Gives the batch its place in a log. The payload is shared, not copied.
    pub fn place(&self, placement: &Placement) -> PlacedBatch {
        let mut header = BatchHeader {
            base_offset: placement.base_offset.as_i64(),
            leader_epoch: placement.leader_epoch.as_i32(),
            ..self.header
        };
        if let Some(append_time) = placement.append_time {
            // As Kafka does: the base timestamp stays, and readers ignore it.
            header.attributes = header.attributes.with_log_append_time();
            header.max_timestamp = append_time;
            header.crc = self.crc_with_header(&header);
        }
        PlacedBatch {
            head: header.encode(),
            header,
            payload: self.payload(),
        }
    }

    /// The CRC after the header is exchanged for `changed`, without another pass over the payload.
    ///
    /// With S(c) the effect on a CRC of appending as many zeros as the payload is long, and H and P
    /// the CRCs of header and payload: CRC = S(H) ^ P, and so CRC' = S(H') ^ S(H) ^ CRC. A payload
    /// that does not match its CRC still does not match the new one, so damage stays visible.
    fn crc_with_header(&self, changed: &BatchHeader) -> u32 {
        let payload_bytes = self.bytes.len() - HEADER_BYTES;
        let replace = |crc: u32, head: [u8; HEADER_BYTES]| {
            let (head_crc, rest) = (u64::from(crc32c_of_batch(&head)), u64::from(crc));
            let combined = crc_fast::checksum_combine(Crc32c, head_crc, rest, payload_bytes as u64);
            u32::try_from(combined).expect("a CRC-32 has 32 bits")
        };
        let payload_crc = replace(self.header.crc, self.header.encode());
        replace(payload_crc, changed.encode())
    }

    /// The records, decompressed if need be, one after the other.
    ///
    /// Decompression is refused above `limits`; the iterator ends after the first error.
    pub fn records(&self, limits: &DecodeLimits) -> Result<Records, BatchError> {
        let payload = self.payload();
        let output_bytes_max = limits.output_bytes_max_for(payload.len());
        let bytes = compression::decompress(self.codec(), &payload, output_bytes_max)
            .map_err(BatchError::Compression)?;
        Ok(Records::new(&self.header, bytes))
    }
}

/// Where a batch is appended.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The broker's epoch.
    pub leader_epoch: LogEpoch,
    /// With log-append time: now.
    pub append_time: Option<Timestamp>,
}

/// A batch with its place in the log: a header of its own and the producer's payload, to be written
/// one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedBatch {
    header: BatchHeader,
    head: [u8; HEADER_BYTES],
    payload: Bytes,
}

impl PlacedBatch {
    /// The header's fields as they are stored.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header's bytes: the first part to write.
    pub const fn head(&self) -> &[u8; HEADER_BYTES] {
        &self.head
    }

    /// The records' bytes: the second part to write.
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Bytes of both parts.
    pub fn batch_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// Both parts in one piece, for what keeps batches in memory. Copies.
    pub fn to_batch(&self) -> RecordBatch {
        let mut bytes = Vec::with_capacity(self.batch_bytes());
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(&self.payload);
        RecordBatch {
            header: self.header,
            bytes: Bytes::from(bytes),
        }
    }
}

/// CRC-32C of what the CRC covers, by the processor's instructions where it has them.
pub(crate) fn crc32c_of_batch(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(batch.get(CRC_COVERS_FROM..).unwrap_or_default())
}
