//! The records that the bench writes: built once per connection, stamped anew for each request.
//!
//! Values are hex digits drawn from a seed, so that a codec has something to do (about 2:1) and two
//! runs send the same bytes.

use bytes::{BufMut, BytesMut};
use weir_model::batch::{HEADER_BYTES, ProducerStamp, crc32c_of_batch};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::compression::Codec;
use weir_model::limits::MIB;
use weir_model::random::{Random, SeededRandom};
use weir_model::record::RecordToWrite;
use weir_model::time::Timestamp;

use super::BenchError;

/// Largest batch that is built: no broker takes more by default.
const BATCH_BYTES_MAX: usize = 8 * MIB;

// Where a batch's header has what changes from one sending to the next.
const CRC_AT: usize = 17;
const TIMESTAMPS_AT: usize = 27;
const PRODUCER_AT: usize = 43;

/// A value of `size` bytes that no other record of the run has.
pub(super) fn value(random: &SeededRandom, size: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(size + 16);
    while value.len() < size {
        value.extend_from_slice(format!("{:016x}", random.next_u64()).as_bytes());
    }
    value.truncate(size);
    value
}

/// The key of a batch's record: 8 bytes.
pub(super) fn key(random: &SeededRandom) -> String {
    format!("{:08x}", random.next_u64() >> 32)
}

/// A Kafka record batch that is sent again and again.
#[derive(Debug)]
pub(super) struct BatchTemplate {
    bytes: BytesMut,
    records: u32,
}

impl BatchTemplate {
    /// A batch of `records` records with values of `size` bytes.
    pub(super) fn build(
        random: &SeededRandom,
        codec: Codec,
        records: u32,
        size: usize,
    ) -> Result<BatchTemplate, BenchError> {
        let bytes = usize::try_from(records).unwrap_or(usize::MAX).saturating_mul(size);
        if records == 0 || bytes > BATCH_BYTES_MAX {
            return Err(BenchError::Options(format!(
                "--batch {records} of --size {size} is not between one record and 8 MiB"
            )));
        }
        let options = BatchOptions { codec, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        for _ in 0..records {
            let (key, value) = (key(random), value(random, size));
            let record = RecordToWrite {
                timestamp: Timestamp::from_millis(0),
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: &[],
            };
            builder.append(&record).map_err(|_| {
                BenchError::Options(format!("--batch {records} of --size {size} is too large"))
            })?;
        }
        let bytes = BytesMut::from(builder.build().bytes().as_ref());
        Ok(BatchTemplate { bytes, records })
    }

    /// Records in the batch.
    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// Gives all records this timestamp and the batch this producer, and computes its CRC again.
    pub(super) fn stamp(&mut self, now: Timestamp, producer: Option<ProducerStamp>) {
        let at = |place: usize| place..;
        let mut field = self.bytes.get_mut(at(TIMESTAMPS_AT)).expect("a batch has a header");
        field.put_i64(now.as_millis());
        field.put_i64(now.as_millis());
        let mut field = self.bytes.get_mut(at(PRODUCER_AT)).expect("a batch has a header");
        field.put_i64(producer.map_or(-1, |producer| producer.id.as_i64()));
        field.put_i16(producer.map_or(-1, |producer| producer.epoch));
        field.put_i32(producer.map_or(-1, |producer| producer.base_sequence));
        let crc = crc32c_of_batch(&self.bytes);
        let mut field = self.bytes.get_mut(at(CRC_AT)).expect("a batch has a header");
        field.put_u32(crc);
    }

    /// Lends the batch's bytes out without a copy; [`BatchTemplate::take_back`] needs them again.
    pub(super) fn lend(&mut self) -> bytes::Bytes {
        assert!(self.bytes.len() >= HEADER_BYTES, "the batch was lent out and not given back");
        std::mem::take(&mut self.bytes).freeze()
    }

    /// Takes the bytes back once they are on the wire and nobody else holds them.
    pub(super) fn take_back(&mut self, bytes: bytes::Bytes) {
        // Should somebody hold a part still, a copy is slower but as right.
        self.bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::batch::RecordBatch;
    use weir_model::ids::ProducerId;

    #[test]
    fn stamped_batches_are_sound_and_carry_the_stamp() {
        let random = SeededRandom::new(1);
        for codec in Codec::ALL {
            let mut template = BatchTemplate::build(&random, codec, 10, 100).expect("small");
            for sequence in [0, 10] {
                let id = ProducerId::new(77).expect("not negative");
                let producer = ProducerStamp { id, epoch: 3, base_sequence: sequence };
                let now = Timestamp::from_millis(1_800_000_000_000);
                template.stamp(now, Some(producer));
                let bytes = template.lend();
                let batch = RecordBatch::parse(bytes.clone()).expect("a whole batch");
                assert_eq!(batch.verify_crc(), Ok(()), "{codec}");
                assert_eq!(batch.check_produced(), Ok(()), "{codec}");
                assert_eq!(batch.header().producer(), Some(producer));
                assert_eq!(batch.header().max_timestamp, now);
                drop(batch);
                template.take_back(bytes);
            }
        }
    }

    #[test]
    fn batches_that_no_broker_takes_are_refused() {
        let random = SeededRandom::new(1);
        for (records, size) in [(0, 10), (1, 9 * MIB), (u32::MAX, usize::MAX)] {
            assert!(BatchTemplate::build(&random, Codec::None, records, size).is_err());
        }
    }
}
