//! Builds record batches: for Kinesis and gRPC writes, and for weir's own internal logs.
//!
//! Records are encoded once, straight behind the room for the header; [`BatchBuilder::build`] fills
//! the header in and computes the CRC, so an uncompressed batch is never copied. A compressed one
//! is compressed into a second buffer of the same shape; if that does not make it smaller, the
//! batch stays uncompressed (readers follow its attributes), so a batch never outgrows its limit.
//!
//! Read [`crate::batch`] for the layout.

use bytes::Bytes;

use crate::batch::{
    Attributes, BatchHeader, BatchKind, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC, ProducerStamp,
    RecordBatch, TimestampType, crc32c_of_batch,
};
use crate::compression::{Codec, compress};
use crate::limits::BATCH_BYTES_MAX;
use crate::record::{RecordToWrite, encode_record, length_of, record_body_bytes, varint_bytes};
use crate::time::Timestamp;

/// How a batch is to be built.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchOptions {
    /// How to compress the records.
    pub codec: Codec,
    /// What the records' timestamps are. With log-append time the placement sets the one that
    /// counts.
    pub timestamp_type: TimestampType,
    /// What the batch is for.
    pub kind: BatchKind,
    /// The idempotent producer, if there is one.
    pub producer: Option<ProducerStamp>,
}

/// The record would make the batch larger than [`BATCH_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFull;

/// A batch under construction.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the encoded records.
    buffer: Vec<u8>,
    record_count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: BatchOptions) -> BatchBuilder {
        BatchBuilder::with_capacity(options, 0)
    }

    /// An empty batch with room for this many bytes of encoded records.
    pub fn with_capacity(options: BatchOptions, record_bytes: usize) -> BatchBuilder {
        let mut buffer = Vec::with_capacity(HEADER_BYTES + record_bytes.min(BATCH_BYTES_MAX));
        buffer.resize(HEADER_BYTES, 0);
        BatchBuilder {
            options,
            buffer,
            record_count: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
        }
    }

    /// Adds a record at the next offset. An error leaves the batch as it was.
    pub fn append(&mut self, record: &RecordToWrite<'_>) -> Result<(), BatchFull> {
        let (base_timestamp, max_timestamp) = match self.record_count {
            0 => (record.timestamp, record.timestamp),
            _ => (self.base_timestamp, self.max_timestamp.max(record.timestamp)),
        };
        // A batch's timestamps lie within 292 million years of each other, or come from a client
        // that means nothing by them; then the nearest delta that can be written must do.
        let timestamp_delta = record.timestamp.millis_since(base_timestamp);
        let body_bytes = record_body_bytes(record, timestamp_delta, self.record_count);
        let record_bytes = varint_bytes(length_of(body_bytes)) + body_bytes;
        if record_bytes > BATCH_BYTES_MAX - self.buffer.len() {
            return Err(BatchFull);
        }
        self.buffer.reserve(record_bytes);
        encode_record(&mut self.buffer, record, timestamp_delta, self.record_count, body_bytes);
        self.base_timestamp = base_timestamp;
        self.max_timestamp = max_timestamp;
        self.record_count += 1;
        Ok(())
    }

    /// Bytes that the batch has now, header included and before compression.
    pub fn batch_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Records that the batch has now.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether the batch has no record yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Names the idempotent producer, in place of whom the options named.
    pub fn stamp(&mut self, producer: ProducerStamp) {
        self.options.producer = Some(producer);
    }

    /// Finishes the batch with base offset 0 and no leader epoch, as a producer would send it.
    /// There must be at least one record.
    pub fn build(self) -> RecordBatch {
        assert!(self.record_count > 0, "a batch without records has no offsets to be given");
        let (codec, mut buffer) = compressed(self.options.codec, self.buffer);
        let batch_length = i32::try_from(buffer.len() - LENGTH_PREFIX_BYTES)
            .expect("append keeps a batch within BATCH_BYTES_MAX");
        let producer = self.options.producer;
        let mut header = BatchHeader {
            base_offset: 0,
            batch_length,
            leader_epoch: -1,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::new(codec, self.options.timestamp_type, self.options.kind),
            last_offset_delta: self.record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.map_or(-1, |producer| producer.id.as_i64()),
            producer_epoch: producer.map_or(-1, |producer| producer.epoch),
            base_sequence: producer.map_or(-1, |producer| producer.base_sequence),
            record_count: self.record_count,
        };
        header.write_to(&mut buffer);
        header.crc = crc32c_of_batch(&buffer);
        header.write_to(&mut buffer);
        RecordBatch::parse(Bytes::from(buffer)).expect("a batch that was just built is sound")
    }
}

/// Compresses what follows the header, if that makes it smaller.
fn compressed(codec: Codec, buffer: Vec<u8>) -> (Codec, Vec<u8>) {
    if codec == Codec::None {
        return (codec, buffer);
    }
    let records = buffer.get(HEADER_BYTES..).unwrap_or_default();
    let mut smaller = Vec::with_capacity(HEADER_BYTES + records.len() / 2);
    smaller.resize(HEADER_BYTES, 0);
    compress(codec, records, &mut smaller);
    if smaller.len() < buffer.len() { (codec, smaller) } else { (Codec::None, buffer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DecodeLimits;
    use crate::record::HeaderToWrite;

    #[test]
    fn built_batches_read_back_in_every_codec() {
        let headers = [HeaderToWrite { key: b"h", value: None }];
        let value = vec![b'v'; 1000];
        let record = RecordToWrite {
            timestamp: Timestamp::from_millis(1_700_000_000_000),
            key: Some(b"k"),
            value: Some(&value),
            headers: &headers,
        };
        for codec in Codec::ALL {
            let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
            builder.append(&record).expect("fits");
            builder.append(&record).expect("fits");
            let batch = builder.build();
            assert_eq!(batch.codec(), codec);
            assert_eq!(batch.verify_crc(), Ok(()));
            assert_eq!(batch.check_produced(), Ok(()));
            let records = batch.records(&DecodeLimits::default()).expect("decodes");
            let records: Vec<_> = records.map(|record| record.expect("sound")).collect();
            assert_eq!(records.len(), 2);
            for (record, offset_delta) in records.iter().zip(0..) {
                assert_eq!(record.offset_delta, offset_delta);
                assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
                assert_eq!(record.value.as_deref(), Some(&value[..]));
                assert_eq!(record.headers.len(), 1);
            }
        }
    }
}
