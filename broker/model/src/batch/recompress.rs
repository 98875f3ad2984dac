//! The same records under another codec: for topics whose `compression.type` is not the producer's.
//!
//! The records' bytes stay as they are; the payload, its length, the codec bits and so the CRC are
//! new. Producer, offsets and timestamps are the old batch's.

use bytes::Bytes;

use super::{BatchError, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, RecordBatch};
use crate::compression::{Compression, decompress};
use crate::limits::{BATCH_BYTES_MAX, DecodeLimits};

impl RecordBatch {
    /// The batch with its records compressed like that. The caller has verified the CRC, since the
    /// new one would seal damage. Costs a decompression, a compression and two buffers.
    ///
    /// Decompression is refused above `limits`, and so is a batch that would be larger than any.
    pub fn recompressed(
        &self,
        compression: Compression,
        limits: &DecodeLimits,
    ) -> Result<RecordBatch, BatchError> {
        let payload = self.payload();
        let output_bytes_max = limits.output_bytes_max_for(payload.len());
        let records = decompress(self.codec(), &payload, output_bytes_max)
            .map_err(BatchError::Compression)?;
        let mut bytes = vec![0; HEADER_BYTES];
        compression.compress(&records, &mut bytes);
        let length = bytes.len() - LENGTH_PREFIX_BYTES;
        let batch_length = i32::try_from(length).unwrap_or(i32::MAX);
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchError::LengthOutOfRange(batch_length));
        }
        let mut header = BatchHeader {
            batch_length,
            attributes: self.header().attributes.with_codec(compression.codec()),
            ..*self.header()
        };
        header.write_to(&mut bytes);
        header.crc = super::crc32c_of_batch(&bytes);
        header.write_to(&mut bytes);
        Ok(RecordBatch { header, bytes: Bytes::from(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_builder::{BatchBuilder, BatchOptions};
    use crate::compression::Codec;
    use crate::record::RecordToWrite;
    use crate::time::Timestamp;

    fn batch(codec: Codec) -> RecordBatch {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        for value in ["a".repeat(500), "b".repeat(500)] {
            let record = RecordToWrite {
                timestamp: Timestamp::from_millis(5),
                key: Some(b"key"),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            builder.append(&record).expect("a small record fits");
        }
        builder.build()
    }

    #[test]
    fn every_codec_becomes_every_other_and_the_records_stay() {
        let records = |batch: &RecordBatch| {
            batch.records(&DecodeLimits::default()).expect("decodes").collect::<Vec<_>>()
        };
        for from in Codec::ALL {
            for to in Codec::ALL {
                let before = batch(from);
                let compression = Compression::of(to);
                let after = before.recompressed(compression, &DecodeLimits::default());
                let after = after.expect("sound records");
                assert_eq!((after.verify_crc(), after.codec()), (Ok(()), to));
                assert_eq!(records(&after), records(&before), "{from} to {to}");
                assert_eq!(RecordBatch::parse(after.bytes().clone()), Ok(after.clone()));
                let expected = BatchHeader {
                    batch_length: after.header().batch_length,
                    crc: after.header().crc,
                    attributes: after.header().attributes,
                    ..*before.header()
                };
                assert_eq!(*after.header(), expected, "nothing else changes");
            }
        }
    }

    #[test]
    fn levels_are_obeyed_and_damage_is_refused() {
        let limits = DecodeLimits::default();
        let bytes = |compression| {
            let after = batch(Codec::None).recompressed(compression, &limits);
            after.expect("sound records").bytes().clone()
        };
        let (fast, small) = (Compression::Zstd { level: -5 }, Compression::Zstd { level: 19 });
        assert_ne!(bytes(fast), bytes(small));
        let (fast, small) = (Compression::Gzip { level: 1 }, Compression::Gzip { level: 9 });
        assert_ne!(bytes(fast), bytes(small));

        let mut damaged = batch(Codec::Gzip).bytes().to_vec();
        damaged.truncate(damaged.len() - 4);
        let length = i32::try_from(damaged.len() - LENGTH_PREFIX_BYTES).expect("small");
        damaged[8..12].copy_from_slice(&length.to_be_bytes());
        let damaged = RecordBatch::parse(Bytes::from(damaged)).expect("a batch by its length");
        let refused = damaged.recompressed(Compression::None, &limits);
        assert!(matches!(refused, Err(BatchError::Compression(_))), "{refused:?}");
    }
}
