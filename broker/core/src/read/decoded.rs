//! The batches that were decompressed last, so that small reads do not decompress one again and
//! again: a GetRecords of ten records walks through a batch of a thousand in a hundred calls.
//!
//! Large batches are decompressed by blocking threads, since one may take 64 MiB and tens of
//! milliseconds, and only a few at a time, so that many readers do not take that much each.
//!
//! One cache for the broker, bounded in bytes, least recently used out first. A batch is known by
//! its partition, base offset and epoch, which together are never given out twice, so nothing in
//! here can be out of date.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use weir_model::batch::{BatchError, RecordBatch, Records};
use weir_model::compression::Codec;
use weir_model::ids::PartitionId;
use weir_model::limits::{DECODED_CACHE_BYTES_MAX, DecodeLimits, KIB};

/// Stored bytes that are decompressed on the spot: well below half a millisecond's work, unless a
/// producer means to make it more.
const ON_THE_SPOT_BYTES_MAX: usize = 64 * KIB;

/// How many large batches are decompressed at the same time.
const LARGE_AT_ONCE_MAX: usize = 4;

/// Which batch.
type Key = (PartitionId, i64, i32);

/// Keeps decompressed batches.
#[derive(Debug)]
pub(crate) struct DecodedBatches {
    /// A sync lock: held for a look-up or an insertion, never while decompressing.
    kept: Mutex<Kept>,
    /// Places for large batches.
    large: Semaphore,
}

impl Default for DecodedBatches {
    fn default() -> DecodedBatches {
        DecodedBatches { kept: Mutex::default(), large: Semaphore::new(LARGE_AT_ONCE_MAX) }
    }
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
    pub(crate) async fn records(
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
        let records = if batch.bytes().len() <= ON_THE_SPOT_BYTES_MAX {
            batch.records(&DecodeLimits::default())?
        } else {
            let _place = self.large.acquire().await.expect("the places are never closed");
            // Others may have waited for the same batch.
            if let Some(records) = self.kept.lock().get(key) {
                return Ok(records);
            }
            decompress_elsewhere(batch.clone()).await?
        };
        self.kept.lock().insert(key, records.clone());
        Ok(records)
    }
}

/// Decompresses a batch on a blocking thread.
async fn decompress_elsewhere(batch: RecordBatch) -> Result<Records, BatchError> {
    let decompress = move || batch.records(&DecodeLimits::default());
    match tokio::task::spawn_blocking(decompress).await {
        Ok(records) => records,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is being torn down: nobody is left to answer.
        Err(_) => std::future::pending().await,
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
    use weir_model::random::{Random, SeededRandom};
    use weir_model::record::RecordToWrite;
    use weir_model::time::Timestamp;

    const PARTITION: PartitionId =
        PartitionId { stream: StreamId::from_bytes([3; 16]), index: PartitionIndex::ZERO };

    fn repetitive(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|position| (position / 64) as u8).collect()
    }

    fn batch_of(value: &[u8]) -> RecordBatch {
        let options = BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        let timestamp = Timestamp::default();
        let record = RecordToWrite { timestamp, key: None, value: Some(value), headers: &[] };
        builder.append(&record).expect("one record fits");
        builder.build()
    }

    #[tokio::test]
    async fn a_batch_is_decompressed_once_wherever_that_is_done() {
        let small = batch_of(&repetitive(1000));
        // Does not get smaller.
        let mut noise = vec![0; 2 * ON_THE_SPOT_BYTES_MAX];
        SeededRandom::new(1).fill(&mut noise);
        let large = batch_of(&noise);
        assert!(small.bytes().len() <= ON_THE_SPOT_BYTES_MAX);
        assert!(large.bytes().len() > ON_THE_SPOT_BYTES_MAX);
        let pointer = |records: Records| {
            let record = records.into_iter().next().expect("one record").expect("a legal record");
            record.value.expect("a value").as_ptr()
        };
        for batch in [small, large] {
            let cache = DecodedBatches::default();
            let first = pointer(cache.records(PARTITION, &batch).await.expect("decodes"));
            let second = pointer(cache.records(PARTITION, &batch).await.expect("decodes"));
            assert_eq!(first, second, "the same decompressed bytes");
        }
    }

    #[test]
    fn what_is_kept_stays_within_its_bytes_and_the_least_used_goes() {
        let mut kept = Kept::default();
        let size_bytes = DECODED_CACHE_BYTES_MAX / 4;
        let records = batch_of(&repetitive(size_bytes - 100))
            .records(&DecodeLimits::default())
            .expect("decodes");
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

    #[tokio::test]
    async fn batches_that_are_not_compressed_are_not_kept() {
        let cache = DecodedBatches::default();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = Bytes::from_static(b"plain");
        let timestamp = Timestamp::default();
        let record = RecordToWrite { timestamp, key: None, value: Some(&value), headers: &[] };
        builder.append(&record).expect("one record fits");
        cache.records(PARTITION, &builder.build()).await.expect("decodes");
        assert_eq!(cache.kept.lock().bytes, 0);
    }
}
