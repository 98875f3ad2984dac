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
//! All numbers are big-endian. A [`RecordBatch`] is exactly one whole batch whose header makes
//! sense; its bytes are never changed. An append gives it its place in the log
//! ([`RecordBatch::place`]), which makes a new header and leaves the payload where it is, so
//! storing a batch copies 61 bytes.
//!
//! Parsing, checking the CRC and placing allocate nothing. Reading the records of an uncompressed
//! batch allocates nothing either; a compressed one allocates its decompressed bytes, once.
//!
//! Read [`crate::batch_builder`] for how weir makes batches of its own.

use bytes::Bytes;

use crate::compression::{self, Codec};
use crate::ids::LogEpoch;
use crate::limits::DecodeLimits;
use crate::offset::Offset;
use crate::record::RECORD_BYTES_MIN;
use crate::time::Timestamp;

mod error;
mod header;
mod recompress;
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
            None => Err(BatchError::Incomplete { needed_bytes, found_bytes: bytes.len() }),
        }
    }

    /// Takes the batch at the start of `bytes` off, leaving what follows. On an error `bytes` is
    /// as it was.
    pub fn split_first(bytes: &mut Bytes) -> Result<RecordBatch, BatchError> {
        let header = BatchHeader::peek(bytes)?;
        let needed_bytes = header.batch_bytes();
        if bytes.len() < needed_bytes {
            return Err(BatchError::Incomplete { needed_bytes, found_bytes: bytes.len() });
        }
        Ok(RecordBatch { header, bytes: bytes.split_to(needed_bytes) })
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
            Err(BatchError::CrcMismatch { stored: self.header.crc, computed })
        }
    }

    /// Checks what Kafka asks of a batch that a client produces, records and CRC apart: at least
    /// one record and an offset for each, no more of them than its bytes can hold, no broker-only
    /// attributes, a producer that makes sense.
    pub fn check_produced(&self) -> Result<(), BatchError> {
        let header = &self.header;
        if header.record_count == 0 || header.record_count - 1 != header.last_offset_delta {
            return Err(header.counts_disagree());
        }
        if self.count_exceeds_bytes() {
            return Err(BatchError::CountExceedsBytes(header.record_count));
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
        if is_sound_producer { Ok(()) } else { Err(BatchError::InvalidProducer) }
    }

    /// Whether the header claims more records than the payload can hold, even decompressed. Records
    /// are not decoded at append, and without this check 68 bytes could use up 2^31 offsets.
    fn count_exceeds_bytes(&self) -> bool {
        let payload_bytes = self.bytes.len() - HEADER_BYTES;
        let record_bytes_max = match self.codec() {
            Codec::None => payload_bytes,
            _ => DecodeLimits::default().output_bytes_max_for(payload_bytes),
        };
        let record_count = usize::try_from(self.header.record_count);
        record_count.expect("peek refuses negative counts") > record_bytes_max / RECORD_BYTES_MIN
    }

    /// Gives the batch its place in a log. The payload is shared, not copied.
    ///
    /// An append time makes a new CRC over whatever the payload is, so the caller must have
    /// verified the old one: damage would get a seal of its own.
    pub fn place(&self, placement: &Placement) -> PlacedBatch {
        let payload = self.payload();
        let mut header = BatchHeader {
            base_offset: placement.base_offset.as_i64(),
            leader_epoch: placement.leader_epoch.as_i32(),
            ..self.header
        };
        if let Some(append_time) = placement.append_time {
            // As Kafka does: the base timestamp stays, and readers ignore it.
            header.attributes = header.attributes.with_log_append_time();
            header.max_timestamp = append_time;
            let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
            crc.update(covered_by_crc(&header.encode()));
            crc.update(&payload);
            header.crc = u32::try_from(crc.finalize()).expect("a CRC-32 has 32 bits");
        }
        PlacedBatch { head: header.encode(), header, payload }
    }

    /// The same records from another idempotent producer. The payload is copied, for the CRC covers
    /// the producer too; the caller must have made the batch, or verified its CRC.
    pub fn stamped(&self, producer: ProducerStamp) -> RecordBatch {
        let mut bytes = self.bytes.to_vec();
        let mut header = BatchHeader {
            producer_id: producer.id.as_i64(),
            producer_epoch: producer.epoch,
            base_sequence: producer.base_sequence,
            ..self.header
        };
        header.write_to(&mut bytes);
        header.crc = crc32c_of_batch(&bytes);
        header.write_to(&mut bytes);
        RecordBatch { header, bytes: Bytes::from(bytes) }
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
        RecordBatch { header: self.header, bytes: Bytes::from(bytes) }
    }
}

/// CRC-32C of a whole batch's bytes, by the processor's instructions where it has them: what its
/// header should say. Panics if there are fewer bytes than a header has.
pub fn crc32c_of_batch(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(covered_by_crc(batch))
}

/// The part of a batch, or of its header, that the CRC covers.
fn covered_by_crc(batch: &[u8]) -> &[u8] {
    let covered = batch.get(CRC_COVERS_FROM..);
    covered.expect("a batch is never shorter than its header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_builder::{BatchBuilder, BatchOptions};
    use crate::ids::ProducerId;
    use crate::limits::BATCH_BYTES_MAX;
    use crate::record::{RecordFault, RecordToWrite};

    const LAST_OFFSET_DELTA: usize = 23;
    const ATTRIBUTES: usize = 21;
    const RECORD_COUNT: usize = 57;

    fn three_records(options: BatchOptions) -> RecordBatch {
        let mut builder = BatchBuilder::new(options);
        for value in [&b"first"[..], b"second", b"third"] {
            let record = RecordToWrite { value: Some(value), ..RecordToWrite::default() };
            builder.append(&record).expect("fits");
        }
        builder.build()
    }

    /// The batch with other bytes at `at`; its CRC then is wrong.
    fn patched(batch: &RecordBatch, at: usize, bytes: &[u8]) -> Bytes {
        let mut patched = batch.bytes().to_vec();
        patched[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(patched)
    }

    #[test]
    fn a_batch_of_another_producer_is_as_that_producer_would_have_built_it() {
        let stamp = |id, base_sequence| {
            let id = ProducerId::new(id).expect("not negative");
            ProducerStamp { id, epoch: 3, base_sequence }
        };
        let built = |producer| three_records(BatchOptions { producer, ..BatchOptions::default() });
        let again = built(Some(stamp(1, 0))).stamped(stamp(2, 40));
        assert_eq!(again, built(Some(stamp(2, 40))));
        assert_eq!(again.verify_crc(), Ok(()));
        assert_eq!(built(None).stamped(stamp(1, 0)), built(Some(stamp(1, 0))));
    }

    fn record_error(batch: &RecordBatch) -> Option<BatchError> {
        match batch.records(&DecodeLimits::default()) {
            Ok(mut records) => records.find_map(Result::err),
            Err(error) => Some(error),
        }
    }

    #[test]
    fn a_batch_cut_anywhere_is_incomplete() {
        let bytes = three_records(BatchOptions::default()).bytes().clone();
        for found_bytes in 0..bytes.len() {
            let needed_bytes = match found_bytes < HEADER_BYTES {
                true => HEADER_BYTES,
                false => bytes.len(),
            };
            let expected = BatchError::Incomplete { needed_bytes, found_bytes };
            let mut cut = bytes.slice(..found_bytes);
            assert_eq!(RecordBatch::parse(cut.clone()), Err(expected));
            assert_eq!(RecordBatch::split_first(&mut cut), Err(expected));
            assert_eq!(cut.len(), found_bytes, "an error takes nothing");
        }
    }

    #[test]
    fn two_batches_are_not_one_but_can_be_taken_apart() {
        let batch = three_records(BatchOptions::default());
        let mut two = Bytes::from(batch.bytes().repeat(2));
        let trailing_bytes = batch.bytes().len();
        let expected = BatchError::TrailingBytes { trailing_bytes };
        assert_eq!(RecordBatch::parse(two.clone()), Err(expected));
        assert_eq!(RecordBatch::split_first(&mut two).as_ref(), Ok(&batch));
        assert_eq!(RecordBatch::split_first(&mut two).as_ref(), Ok(&batch));
        assert!(two.is_empty());
    }

    #[test]
    fn every_flipped_bit_that_the_crc_covers_is_found() {
        for codec in Codec::ALL {
            let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
            let record = RecordToWrite {
                key: Some(b"key"),
                value: Some(&[b'v'; 100]),
                ..RecordToWrite::default()
            };
            builder.append(&record).expect("fits");
            let batch = builder.build();
            assert_eq!(batch.codec(), codec);
            for bit in 0..batch.bytes().len() * 8 {
                let byte = bit / 8;
                let flipped = batch.bytes()[byte] ^ (1 << (bit % 8));
                let damaged = RecordBatch::parse(patched(&batch, byte, &[flipped]));
                let is_found = damaged.and_then(|damaged| damaged.verify_crc()).is_err();
                // Base offset and leader epoch are the broker's and stand outside the CRC.
                let is_free = byte < 8 || (12..16).contains(&byte);
                assert_eq!(is_found, !is_free, "bit {bit}, {codec}");
            }
        }
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        let batch = three_records(BatchOptions::default());
        let too_long = i32::try_from(BATCH_BYTES_MAX).expect("below 2^31") - 11;
        let counts = |record_count, last_offset_delta| BatchError::CountsDisagree {
            record_count,
            last_offset_delta,
        };
        for (at, bytes, expected) in [
            (8, &48i32.to_be_bytes()[..], BatchError::LengthOutOfRange(48)),
            (8, &(-1i32).to_be_bytes(), BatchError::LengthOutOfRange(-1)),
            (8, &i32::MIN.to_be_bytes(), BatchError::LengthOutOfRange(i32::MIN)),
            (8, &too_long.to_be_bytes(), BatchError::LengthOutOfRange(too_long)),
            (16, &[1], BatchError::UnsupportedMagic(1)),
            (16, &[0xff], BatchError::UnsupportedMagic(-1)),
            (ATTRIBUTES, &[0, 5], BatchError::UnknownCodec(5)),
            (RECORD_COUNT, &4i32.to_be_bytes(), counts(4, 2)),
            (RECORD_COUNT, &(-1i32).to_be_bytes(), counts(-1, 2)),
            (LAST_OFFSET_DELTA, &1i32.to_be_bytes(), counts(3, 1)),
            (LAST_OFFSET_DELTA, &(-1i32).to_be_bytes(), counts(3, -1)),
        ] {
            let parsed = RecordBatch::parse(patched(&batch, at, bytes));
            assert_eq!(parsed, Err(expected));
        }
    }

    #[test]
    fn producers_may_not_send_what_only_the_broker_writes() {
        let batch = three_records(BatchOptions::default());
        assert_eq!(batch.check_produced(), Ok(()));
        let (count, last) = (RECORD_COUNT, LAST_OFFSET_DELTA);
        let counts = |record_count, last_offset_delta| BatchError::CountsDisagree {
            record_count,
            last_offset_delta,
        };
        for (at, bytes, expected) in [
            (count, &2i32.to_be_bytes()[..], counts(2, 2)),
            (count, &0i32.to_be_bytes(), counts(0, 2)),
            (last, &i32::MAX.to_be_bytes(), counts(3, i32::MAX)),
            (ATTRIBUTES, &[0, 0x20], BatchError::ControlFromProducer),
            (ATTRIBUTES, &[0, 0x08], BatchError::TimestampTypeFromProducer),
            (ATTRIBUTES, &[0, 0x40], BatchError::TimestampTypeFromProducer),
            // A transaction without a producer; one without epoch; an id that cannot be.
            (ATTRIBUTES, &[0, 0x10], BatchError::InvalidProducer),
            (43, &7i64.to_be_bytes(), BatchError::InvalidProducer),
            (43, &(-2i64).to_be_bytes(), BatchError::InvalidProducer),
        ] {
            let batch = RecordBatch::parse(patched(&batch, at, bytes)).expect("parses");
            assert_eq!(batch.check_produced(), Err(expected), "{bytes:x?} at {at}");
        }
    }

    #[test]
    fn a_small_batch_cannot_claim_many_offsets() {
        for (codec_bits, claimed, is_possible) in [
            (0, 5, true),
            (0, 6, false),
            (4, 599_186, true),
            (4, 599_187, false),
            (4, i32::MAX, false),
        ] {
            let batch = three_records(BatchOptions::default());
            assert_eq!(batch.payload().len(), 12 + 13 + 12);
            let bytes = patched(&batch, ATTRIBUTES, &[0, codec_bits]);
            let batch = RecordBatch::parse(bytes).expect("parses");
            let bytes = patched(&batch, LAST_OFFSET_DELTA, &(claimed - 1i32).to_be_bytes());
            let batch = RecordBatch::parse(bytes).expect("parses");
            let bytes = patched(&batch, RECORD_COUNT, &claimed.to_be_bytes());
            let expected = match is_possible {
                true => Ok(()),
                false => Err(BatchError::CountExceedsBytes(claimed)),
            };
            let batch = RecordBatch::parse(bytes).expect("parses");
            assert_eq!(batch.check_produced(), expected, "codec {codec_bits}");
        }
    }

    #[test]
    fn placing_keeps_the_payload_where_it_is() {
        let batch = three_records(BatchOptions::default());
        let placed = batch.place(&Placement {
            base_offset: Offset::new(1 << 40),
            leader_epoch: LogEpoch::ZERO,
            append_time: None,
        });
        assert_eq!(placed.payload().as_ptr(), batch.payload().as_ptr());
        assert_eq!(placed.header().base_offset, 1 << 40);
        assert_eq!(placed.header().last_offset(), (1 << 40) + 2);
        assert_eq!(placed.head()[16..], batch.bytes()[16..HEADER_BYTES]);
        assert_eq!(placed.to_batch().verify_crc(), Ok(()));
        assert_eq!(RecordBatch::parse(placed.to_batch().bytes().clone()), Ok(placed.to_batch()));
    }

    #[test]
    fn records_that_differ_from_the_header_are_refused() {
        let batch = three_records(BatchOptions::default());
        // Each record: length, attributes, timestamp, offset, key -1, value, no headers.
        let second_length = HEADER_BYTES + 12;
        assert_eq!(batch.bytes()[second_length], 2 * 12, "length of the second record");
        let malformed = |index, fault| Some(BatchError::MalformedRecord { index, fault });
        let out_of_order = RecordFault::OffsetOutOfOrder;
        for (at, bytes, expected) in [
            (0, &[0][..], None),
            (second_length + 3, &[0], malformed(1, out_of_order)),
            (second_length + 3, &[1], malformed(1, out_of_order)),
            (second_length + 3, &[6], malformed(1, out_of_order)),
            (second_length + 3, &[4], malformed(2, out_of_order)),
            (second_length, &[26], malformed(1, RecordFault::BytesLeftOver)),
            (RECORD_COUNT + 3, &[2], Some(BatchError::BytesAfterRecords { extra_bytes: 12 })),
        ] {
            let batch = RecordBatch::parse(patched(&batch, at, bytes)).expect("parses");
            assert_eq!(record_error(&batch), expected, "{bytes:x?} at {at}");
        }
        let fewer = patched(&batch, LAST_OFFSET_DELTA, &[0, 0, 0, 3, 0, 0, 0, 0]);
        let batch = RecordBatch::parse(patched(
            &RecordBatch::parse(fewer).expect("parses"),
            RECORD_COUNT + 3,
            &[4],
        ));
        let past_the_end = malformed(3, RecordFault::PastTheEnd);
        assert_eq!(record_error(&batch.expect("parses")), past_the_end);
    }

    #[test]
    fn gaps_that_compaction_leaves_are_read() {
        let batch = three_records(BatchOptions::default());
        let second_offset = HEADER_BYTES + 12 + 3;
        // Offsets 0, 5 and … the third stays at 2 and would step back, so it is cut off.
        let mut bytes = patched(&batch, second_offset, &[10]).to_vec();
        bytes.truncate(batch.bytes().len() - 12);
        let length = i32::try_from(bytes.len() - LENGTH_PREFIX_BYTES).expect("short");
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[LAST_OFFSET_DELTA + 3] = 9;
        bytes[RECORD_COUNT + 3] = 2;
        let batch = RecordBatch::parse(Bytes::from(bytes)).expect("parses");
        let records = batch.records(&DecodeLimits::default()).expect("decodes");
        let offsets: Vec<_> =
            records.map(|record| record.map(|record| record.offset_delta)).collect();
        assert_eq!(offsets, [Ok(0), Ok(5)]);
        assert_eq!(batch.header().last_offset(), 9);
    }

    #[test]
    fn a_batch_of_zeros_is_read_although_its_ratio_is_high() {
        let value = vec![0; 1 << 20];
        let record = RecordToWrite { value: Some(&value), ..RecordToWrite::default() };
        let mut builder =
            BatchBuilder::new(BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() });
        builder.append(&record).expect("fits");
        let batch = builder.build();
        assert!(batch.bytes().len() < 1 << 10);
        assert_eq!(record_error(&batch), None);
        let strict = DecodeLimits { output_bytes_always: 0, ..DecodeLimits::default() };
        assert!(matches!(batch.records(&strict), Err(BatchError::Compression(_))));
    }

    #[test]
    fn sequences_go_on_at_zero() {
        let mut header = *three_records(BatchOptions::default()).header();
        for (base_sequence, last_sequence) in
            [(0, 2), (i32::MAX - 2, i32::MAX), (i32::MAX - 1, 0), (i32::MAX, 1)]
        {
            header.base_sequence = base_sequence;
            assert_eq!(header.last_sequence(), last_sequence);
        }
    }
}
