//! Looks into partitions for people: segments, batches where they lie, records with their places.
//!
//! A look may read and decompress the largest batch, so only [`LOOKS_MAX`] are under way at a time;
//! others wait. Nobody else waits for them.

use bytes::Bytes;
use weir_model::batch::{BatchError, RecordBatch};
use weir_model::limits::DecodeLimits;
use weir_model::offset::Offset;
use weir_model::record::Record;
use weir_storage::inspect::{
    BatchBytes, BatchPage, BatchPlace, IndexKind, IndexPage, SegmentView, WantedBatch,
};

use crate::broker::Broker;
use crate::error::ReadError;
use crate::partition::partition::Partition;

/// Looks under way at a time.
pub(crate) const LOOKS_MAX: usize = 2;

/// Which records of a batch are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedRecords {
    /// So many at the beginning are left out.
    pub skipped: usize,
    /// Most records.
    pub count_max: usize,
    /// Most bytes of them; the first may be larger.
    pub bytes_max: usize,
}

/// A batch that was looked at.
#[derive(Clone, Debug)]
pub struct LookedAt {
    /// Where and what it is, and its bytes.
    pub batch: BatchBytes,
    /// The records that were wanted.
    pub records: Vec<PlacedRecord>,
    /// What ends the records before their time.
    pub records_fault: Option<BatchError>,
    /// Bytes of all records, decompressed; 0 where none were wanted or can be had.
    pub records_bytes: usize,
}

/// A record and its place in its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRecord {
    /// The record.
    pub record: Record,
    /// Its offset in the partition. Of a damaged batch it may be anything.
    pub offset: u64,
    /// Where it begins among the decompressed records, in bytes.
    pub position: usize,
    /// Bytes that it takes there.
    pub bytes: usize,
}

impl Broker {
    /// The segments of a partition; see [`Log::segments`](weir_storage::log::Log::segments).
    pub async fn segments(
        &self,
        partition: &Partition,
        from: Offset,
        count_max: usize,
    ) -> Result<Vec<SegmentView>, ReadError> {
        let _look = self.look().await;
        Ok(self.log().segments(partition.id, from, count_max).await?)
    }

    /// The batches of a segment; see [`Log::batches`](weir_storage::log::Log::batches).
    pub async fn batches(
        &self,
        partition: &Partition,
        place: BatchPlace,
        count_max: usize,
    ) -> Result<BatchPage, ReadError> {
        let _look = self.look().await;
        Ok(self.log().batches(partition.id, place, count_max).await?)
    }

    /// One batch with its bytes, and records of it as far as they can be decoded.
    pub async fn look_at_batch(
        &self,
        partition: &Partition,
        wanted: WantedBatch,
        records: WantedRecords,
    ) -> Result<LookedAt, ReadError> {
        let _look = self.look().await;
        let batch = self.log().batch(partition.id, wanted).await?;
        let decoding = tokio::task::spawn_blocking(move || LookedAt::of(batch, records));
        decoding.await.map_err(|cause| ReadError::Io(cause.to_string()))
    }

    /// Entries of an index; see [`Log::index_entries`](weir_storage::log::Log::index_entries).
    pub async fn index_entries(
        &self,
        partition: &Partition,
        segment: Offset,
        kind: IndexKind,
        skipped_and_max: (usize, usize),
    ) -> Result<IndexPage, ReadError> {
        let _look = self.look().await;
        Ok(self.log().index_entries(partition.id, segment, kind, skipped_and_max).await?)
    }
}

impl LookedAt {
    fn of(batch: BatchBytes, wanted: WantedRecords) -> LookedAt {
        let bytes = batch.bytes.clone();
        let mut looked =
            LookedAt { batch, records: Vec::new(), records_fault: None, records_bytes: 0 };
        if wanted.count_max > 0 {
            looked.records_fault = looked.decode(bytes, wanted).err();
        }
        looked
    }

    fn decode(&mut self, bytes: Bytes, wanted: WantedRecords) -> Result<(), BatchError> {
        let batch = RecordBatch::parse(bytes)?;
        let base_offset = batch.header().base_offset.cast_unsigned();
        let mut records = batch.records(&DecodeLimits::default())?;
        self.records_bytes = records.decoded_bytes();
        let (mut number, mut taken_bytes) = (0, 0);
        loop {
            let position = records.position();
            let Some(record) = records.next().transpose()? else { return Ok(()) };
            let bytes = records.position() - position;
            number += 1;
            if number <= wanted.skipped {
                continue;
            }
            let is_full = self.records.len() >= wanted.count_max
                || (taken_bytes + bytes > wanted.bytes_max && !self.records.is_empty());
            if is_full {
                return Ok(());
            }
            taken_bytes += bytes;
            let offset = base_offset.wrapping_add(u64::from(record.offset_delta.unsigned_abs()));
            self.records.push(PlacedRecord { record, offset, position, bytes });
        }
    }
}
