//! The fields of a batch's header, and what they say about the batch.

use bytes::{Buf, BufMut};

use super::{BatchError, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC};
use crate::compression::Codec;
use crate::ids::ProducerId;
use crate::limits::BATCH_BYTES_MAX;
use crate::time::Timestamp;

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

    pub(super) fn with_codec(self, codec: Codec) -> Attributes {
        Attributes((self.0 & !0x07) | i16::from(codec.bits()))
    }

    pub(super) const fn with_log_append_time(self) -> Attributes {
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
            None => {
                Err(BatchError::Incomplete { needed_bytes: HEADER_BYTES, found_bytes: bytes.len() })
            }
        }
    }

    /// What the bytes say, whether it makes sense or not: to be shown, not to be acted on.
    pub fn unchecked(head: &[u8; HEADER_BYTES]) -> BatchHeader {
        BatchHeader::decode(head)
    }

    /// Bytes of the whole batch, header included. Only of a header that was checked.
    pub fn batch_bytes(&self) -> usize {
        let length = usize::try_from(self.batch_length).expect("a checked length is not negative");
        LENGTH_PREFIX_BYTES + length
    }

    /// Offset of the last record that the batch had when it was appended.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
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
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
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
        if has_sane_counts { Ok(()) } else { Err(self.counts_disagree()) }
    }

    pub(super) fn counts_disagree(&self) -> BatchError {
        BatchError::CountsDisagree {
            record_count: self.record_count,
            last_offset_delta: self.last_offset_delta,
        }
    }
}
