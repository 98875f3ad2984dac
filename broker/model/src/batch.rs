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

use std::fmt;

use bytes::{Buf, BufMut, Bytes};
use crc_fast::CrcAlgorithm::Crc32Iscsi as Crc32c;

use crate::compression::{self, Codec, CompressionError};
use crate::ids::{LogEpoch, ProducerId};
use crate::limits::{
    BATCH_BYTES_MAX, DECOMPRESSED_BYTES_ALWAYS, DECOMPRESSED_BYTES_MAX, DECOMPRESSED_RATIO_MAX,
};
use crate::offset::Offset;
use crate::record::{Record, RecordContext, RecordFault, decode_record};
use crate::time::Timestamp;

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = 61;
/// Bytes up to and including the batch length, which that length does not count.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// The only message format that weir speaks; Kafka 4 dropped 0 and 1.
pub const MAGIC: i8 = 2;

/// Where the bytes begin that the CRC covers.
const CRC_COVERS_FROM: usize = 21;

/// Whose clock the records' timestamps come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    #[default]
    CreateTime,
    /// The broker's: all records of the batch have its max timestamp.
    LogAppendTime,
}

/// The attribute bits of a batch.
///
/// | bits | |
/// |---|---|
/// | 0–2 | [`Codec`] |
/// | 3 | [`TimestampType`], 1 = log append |
/// | 4 | transactional |
/// | 5 | control: holds a transaction marker, not data |
/// | 6 | the base timestamp is a delete horizon (set by compaction) |
/// | 7–15 | unused, ignored |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The attributes of a batch that weir builds.
    pub fn new(codec: Codec, timestamp_type: TimestampType, kind: BatchKind) -> Attributes {
        let timestamp_bit = match timestamp_type {
            TimestampType::CreateTime => 0,
            TimestampType::LogAppendTime => Attributes::LOG_APPEND_TIME,
        };
        let kind_bits = match kind {
            BatchKind::Plain => 0,
            BatchKind::Transactional => Attributes::TRANSACTIONAL,
            BatchKind::Control => Attributes::TRANSACTIONAL | Attributes::CONTROL,
        };
        Attributes(i16::from(codec.bits()) | timestamp_bit | kind_bits)
    }

    /// How the records are compressed; none for the three unused numbers.
    pub const fn codec(self) -> Option<Codec> {
        Codec::from_bits(self.codec_bits())
    }

    const fn codec_bits(self) -> u8 {
        (self.0 & 0x07) as u8
    }

    /// Whose clock the timestamps come from.
    pub const fn timestamp_type(self) -> TimestampType {
        match self.0 & Attributes::LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether the batch belongs to a transaction.
    pub const fn is_transactional(self) -> bool {
        self.0 & Attributes::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a transaction marker, which readers never show.
    pub const fn is_control(self) -> bool {
        self.0 & Attributes::CONTROL != 0
    }

    /// Whether the base timestamp tells when compaction may drop the batch's tombstones.
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Attributes::DELETE_HORIZON != 0
    }

    const fn with_log_append_time(self) -> Attributes {
        Attributes(self.0 | Attributes::LOG_APPEND_TIME)
    }
}

/// What a batch is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BatchKind {
    /// Data outside a transaction.
    #[default]
    Plain,
    /// Data that readers see when its transaction commits.
    Transactional,
    /// A transaction's commit or abort marker.
    Control,
}

/// The producer's part of a header, of an idempotent producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerStamp {
    /// The producer.
    pub id: ProducerId,
    /// Its epoch; a higher one fences the lower.
    pub epoch: i16,
    /// Sequence number of the batch's first record; -1 in transaction markers.
    pub base_sequence: i32,
}

/// All fields of a header, as they travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record that the batch had when it was appended.
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    /// The log epoch at append, -1 from a producer.
    pub leader_epoch: i32,
    /// Message format, [`MAGIC`].
    pub magic: i8,
    /// CRC-32C from the attributes to the end.
    pub crc: u32,
    /// Codec, timestamp type and kind.
    pub attributes: Attributes,
    /// Offset of the last record, counted from the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from.
    pub base_timestamp: Timestamp,
    /// The latest timestamp in the batch.
    pub max_timestamp: Timestamp,
    /// Id of the idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Records that the batch holds now; compaction lowers it.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which need not hold the rest of the batch, and
    /// checks what can be checked without it: format, length, codec and counts.
    pub fn peek(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        match bytes.first_chunk::<HEADER_BYTES>() {
            Some(head) => {
                let header = BatchHeader::decode(head);
                header.check()?;
                Ok(header)
            }
            None => Err(BatchError::Incomplete {
                needed_bytes: HEADER_BYTES,
                found_bytes: bytes.len(),
            }),
        }
    }

    /// Bytes of the whole batch, header included.
    pub fn batch_bytes(&self) -> usize {
        let length = usize::try_from(self.batch_length).expect("a checked length is not negative");
        LENGTH_PREFIX_BYTES + length
    }

    /// Offset of the last record that the batch had when it was appended.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The producer, if it is idempotent.
    pub fn producer(&self) -> Option<ProducerStamp> {
        ProducerId::new(self.producer_id).map(|id| ProducerStamp {
            id,
            epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
        })
    }

    /// Sequence number of the last record that the batch had; after 2^31 - 1 they go on at 0.
    pub fn last_sequence(&self) -> i32 {
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    fn decode(head: &[u8; HEADER_BYTES]) -> BatchHeader {
        let mut input = head.as_slice();
        BatchHeader {
            base_offset: input.get_i64(),
            batch_length: input.get_i32(),
            leader_epoch: input.get_i32(),
            magic: input.get_i8(),
            crc: input.get_u32(),
            attributes: Attributes(input.get_i16()),
            last_offset_delta: input.get_i32(),
            base_timestamp: Timestamp::from_millis(input.get_i64()),
            max_timestamp: Timestamp::from_millis(input.get_i64()),
            producer_id: input.get_i64(),
            producer_epoch: input.get_i16(),
            base_sequence: input.get_i32(),
            record_count: input.get_i32(),
        }
    }

    /// Writes the header over the first bytes of a batch.
    pub(crate) fn write_to(&self, batch: &mut [u8]) {
        let head = batch.first_chunk_mut();
        *head.expect("a batch begins with room for its header") = self.encode();
    }

    /// The header's bytes.
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        let mut output = head.as_mut_slice();
        output.put_i64(self.base_offset);
        output.put_i32(self.batch_length);
        output.put_i32(self.leader_epoch);
        output.put_i8(self.magic);
        output.put_u32(self.crc);
        output.put_i16(self.attributes.0);
        output.put_i32(self.last_offset_delta);
        output.put_i64(self.base_timestamp.as_millis());
        output.put_i64(self.max_timestamp.as_millis());
        output.put_i64(self.producer_id);
        output.put_i16(self.producer_epoch);
        output.put_i32(self.base_sequence);
        output.put_i32(self.record_count);
        assert!(output.is_empty(), "the header's fields are not 61 bytes");
        head
    }

    fn check(&self) -> Result<(), BatchError> {
        // The magic first: the older formats have other fields at all later places.
        if self.magic != MAGIC {
            return Err(BatchError::UnsupportedMagic(self.magic));
        }
        let batch_bytes = usize::try_from(self.batch_length)
            .map(|length| LENGTH_PREFIX_BYTES + length)
            .unwrap_or(0);
        if !(HEADER_BYTES..=BATCH_BYTES_MAX).contains(&batch_bytes) {
            return Err(BatchError::LengthOutOfRange(self.batch_length));
        }
        if self.attributes.codec().is_none() {
            return Err(BatchError::UnknownCodec(self.attributes.codec_bits()));
        }
        let room_for_records = i64::from(self.last_offset_delta) + 1;
        let has_sane_counts = self.last_offset_delta >= 0
            && self.record_count >= 0
            && i64::from(self.record_count) <= room_for_records;
        if has_sane_counts {
            Ok(())
        } else {
            Err(self.counts_disagree())
        }
    }

    fn counts_disagree(&self) -> BatchError {
        BatchError::CountsDisagree {
            record_count: self.record_count,
            last_offset_delta: self.last_offset_delta,
        }
    }
}

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
    /// The length is too small for a header, or above [`BATCH_BYTES_MAX`].
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
            BatchError::Incomplete {
                needed_bytes,
                found_bytes,
            } => write!(
                out,
                "batch ends after {found_bytes} of {needed_bytes} bytes"
            ),
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
            BatchError::CountsDisagree {
                record_count,
                last_offset_delta,
            } => write!(
                out,
                "record count {record_count} disagrees with last offset delta {last_offset_delta}"
            ),
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

/// How much a reader is willing to decompress.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Most bytes of output.
    pub output_bytes_max: usize,
    /// Most bytes of output for one byte of input.
    pub output_ratio_max: usize,
    /// Output that is granted whatever the ratio, in bytes.
    pub output_bytes_always: usize,
}

impl Default for DecodeLimits {
    fn default() -> DecodeLimits {
        DecodeLimits {
            output_bytes_max: DECOMPRESSED_BYTES_MAX,
            output_ratio_max: DECOMPRESSED_RATIO_MAX,
            output_bytes_always: DECOMPRESSED_BYTES_ALWAYS,
        }
    }
}

impl DecodeLimits {
    fn output_bytes_max_for(&self, input_bytes: usize) -> usize {
        input_bytes
            .saturating_mul(self.output_ratio_max)
            .max(self.output_bytes_always)
            .min(self.output_bytes_max)
    }
}

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
        let header = &self.header;
        let append_time = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        Ok(Records {
            bytes,
            position: 0,
            context: RecordContext {
                base_timestamp: header.base_timestamp,
                append_time,
            },
            next_index: 0,
            count: usize::try_from(header.record_count).expect("peek refuses negative counts"),
            next_offset_delta_min: 0,
            last_offset_delta: header.last_offset_delta,
        })
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

/// Decodes a batch's records; see [`RecordBatch::records`].
///
/// Checks that offsets rise and stay within the batch's, that there are as many records as the
/// header says and that nothing follows them.
#[derive(Debug)]
pub struct Records {
    /// All records, not compressed.
    bytes: Bytes,
    position: usize,
    context: RecordContext,
    next_index: usize,
    count: usize,
    next_offset_delta_min: i32,
    last_offset_delta: i32,
}

impl Records {
    /// Bytes of all records after decompression: what keeping them costs.
    pub fn decoded_bytes(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    fn decode_next(&mut self) -> Result<Record, BatchError> {
        let malformed = |fault| BatchError::MalformedRecord {
            index: self.next_index,
            fault,
        };
        let (record, end) =
            decode_record(&self.bytes, self.position, &self.context).map_err(malformed)?;
        let legal = self.next_offset_delta_min..=self.last_offset_delta;
        if !legal.contains(&record.offset_delta) {
            return Err(malformed(RecordFault::OffsetOutOfOrder));
        }
        self.position = end;
        self.next_index += 1;
        self.next_offset_delta_min = record.offset_delta.saturating_add(1);
        let extra_bytes = self.bytes.len() - end;
        if self.next_index == self.count && extra_bytes > 0 {
            return Err(BatchError::BytesAfterRecords { extra_bytes });
        }
        Ok(record)
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Result<Record, BatchError>> {
        if self.next_index >= self.count {
            return None;
        }
        let record = self.decode_next();
        if record.is_err() {
            // Behind a bad record no other one can be found.
            self.next_index = self.count;
        }
        Some(record)
    }
}

/// CRC-32C of what the CRC covers, by the processor's instructions where it has them.
pub(crate) fn crc32c_of_batch(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(batch.get(CRC_COVERS_FROM..).unwrap_or_default())
}
