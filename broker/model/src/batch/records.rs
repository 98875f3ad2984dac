//! Goes through the records of a batch.

use bytes::Bytes;

use super::{BatchError, BatchHeader, TimestampType};
use crate::record::{Record, RecordContext, RecordFault, decode_record};

/// Decodes a batch's records; see [`RecordBatch::records`](super::RecordBatch::records).
///
/// Checks that offsets rise and stay within the batch's, that there are as many records as the
/// header says and that nothing follows them.
#[derive(Clone, Debug)]
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
    /// The records in `bytes`, which are not compressed (any more).
    pub(super) fn new(header: &BatchHeader, bytes: Bytes) -> Records {
        let append_time = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        Records {
            bytes,
            position: 0,
            context: RecordContext { base_timestamp: header.base_timestamp, append_time },
            next_index: 0,
            count: usize::try_from(header.record_count).expect("peek refuses negative counts"),
            next_offset_delta_min: 0,
            last_offset_delta: header.last_offset_delta,
        }
    }

    /// Bytes of all records after decompression: what keeping them costs.
    pub fn decoded_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Where the next record begins among the decompressed records.
    pub fn position(&self) -> usize {
        self.position
    }

    #[inline]
    fn decode_next(&mut self) -> Result<Record, BatchError> {
        let malformed = |fault| BatchError::MalformedRecord { index: self.next_index, fault };
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
