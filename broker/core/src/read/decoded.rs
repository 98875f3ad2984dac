//! The batches that were decompressed last, so that small reads do not decompress one again and
//! again: a GetRecords of ten records walks through a batch of a thousand in a hundred calls.
//!
//! One cache for the broker, bounded in bytes, least recently used out first. A batch is known by
//! its partition, base offset and epoch, which together are never given out twice, so nothing in
//! here can be out of date.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use weir_model::batch::{BatchError, RecordBatch, Records};
use weir_model::compression::Codec;
use weir_model::ids::PartitionId;
use weir_model::limits::{DECODED_CACHE_BYTES_MAX, DecodeLimits};

/// Which batch.
type Key = (PartitionId, i64, i32);

/// Keeps decompressed batches.
#[derive(Debug, Default)]
pub(crate) struct DecodedBatches {
    /// A sync lock: held for a look-up or an insertion, never while decompressing.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    batches: HashMap<Key, (u64, Records)>,
    /// The same batches by when they were used.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

impl DecodedBatches {
    /// The batch's records from the first on, decompressed now or before.
    pub(crate) fn records(
        &self,
        partition: PartitionId,
        batch: &RecordBatch,
    ) -> Result<Records, BatchError> {
        if batch.codec() == Codec::None {
            return batch.records(&DecodeLimits::default());
        }
        let header = batch.header();
        let key = (partition, header.base_offset, header.leader_epoch);
        if let Some(records) = self.kept.lock().get(key) {
            return Ok(records);
        }
        let records = batch.records(&DecodeLimits::default())?;
        self.kept.lock().insert(key, records.clone());
        Ok(records)
    }
}

impl Kept {
    fn get(&mut self, key: Key) -> Option<Records> {
        self.uses += 1;
        let (used, records) = self.batches.get_mut(&key)?;
        self.by_use.remove(used);
        self.by_use.insert(self.uses, key);
        *used = self.uses;
        Some(records.clone())
    }

    fn insert(&mut self, key: Key, records: Records) {
        let size_bytes = records.decoded_bytes();
        if size_bytes > DECODED_CACHE_BYTES_MAX || self.batches.contains_key(&key) {
            return;
        }
        while self.bytes + size_bytes > DECODED_CACHE_BYTES_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((_, dropped)) = self.batches.remove(&oldest) {
                self.bytes -= dropped.decoded_bytes();
            }
        }
        self.uses += 1;
        self.bytes += size_bytes;
        self.by_use.insert(self.uses, key);
        self.batches.insert(key, (self.uses, records));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use weir_model::batch_builder::{BatchBuilder, BatchOptions};
    use weir_model::ids::{PartitionIndex, StreamId};
    use weir_model::record::RecordToWrite;
    use weir_model::time::Timestamp;

    const PARTITION: PartitionId =
        PartitionId { stream: StreamId::from_bytes([3; 16]), index: PartitionIndex::ZERO };

    fn batch_of(bytes: usize) -> RecordBatch {
        let value: Vec<u8> = (0..bytes).map(|position| (position / 64) as u8).collect();
        let options = BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        let timestamp = Timestamp::default();
        let record = RecordToWrite { timestamp, key: None, value: Some(&value), headers: &[] };
        builder.append(&record).expect("one record fits");
        builder.build()
    }

    #[test]
    fn a_batch_is_decompressed_once() {
        let cache = DecodedBatches::default();
        let batch = batch_of(1000);
        let pointer = |records: Records| {
            let record = records.into_iter().next().expect("one record").expect("a legal record");
            record.value.expect("a value").as_ptr()
        };
        let first = pointer(cache.records(PARTITION, &batch).expect("decodes"));
        let second = pointer(cache.records(PARTITION, &batch).expect("decodes"));
        assert_eq!(first, second, "the same decompressed bytes");
    }

    #[test]
    fn what_is_kept_stays_within_its_bytes_and_the_least_used_goes() {
        let mut kept = Kept::default();
        let size_bytes = DECODED_CACHE_BYTES_MAX / 4;
        let records =
            batch_of(size_bytes - 100).records(&DecodeLimits::default()).expect("decodes");
        let key = |number| (PARTITION, number, 0);
        for number in 0..4 {
            kept.insert(key(number), records.clone());
        }
        assert!(kept.get(key(0)).is_some());
        kept.insert(key(4), records.clone());
        assert!(kept.bytes <= DECODED_CACHE_BYTES_MAX);
        assert!(kept.get(key(1)).is_none(), "batch 1 was used least recently");
        assert!(kept.get(key(0)).is_some());
        assert_eq!(kept.batches.len(), kept.by_use.len());
    }

    #[test]
    fn batches_that_are_not_compressed_are_not_kept() {
        let cache = DecodedBatches::default();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = Bytes::from_static(b"plain");
        let timestamp = Timestamp::default();
        let record = RecordToWrite { timestamp, key: None, value: Some(&value), headers: &[] };
        builder.append(&record).expect("one record fits");
        cache.records(PARTITION, &builder.build()).expect("decodes");
        assert_eq!(cache.kept.lock().bytes, 0);
    }
}
