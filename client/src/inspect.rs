//! The inside of a stream: what its partitions are made of, down to the bytes on the disk.
//!
//! What is shown is what readers may see. Damage is no error: it is shown where it is.

use tonic::Status;
use weir_proto::v1;
pub use weir_proto::v1::list_index_entries_request::Index;
pub use weir_proto::v1::read_batch_request::Batch as WantedBatch;
pub use weir_proto::v1::{
    Batch, BatchHeader, BatchPlace, BatchRecord, Bucket, IndexEntry, ListIndexEntriesResponse,
    ListSegmentsResponse, ReadBatchResponse, Segment, SegmentFile, ShowBucketsResponse, bucket,
    list_index_entries_response, segment,
};

use crate::connection::Client;
use crate::error::Error;

/// Most segments and batches that one answer has.
const PAGE: u32 = 1_000;
/// Most index entries that one answer has.
const INDEX_PAGE: u32 = 10_000;

/// Shows the inside of partitions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inspector {
    client: Client,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPlace {
    /// The stream's name.
    pub stream: String,
    /// Its index.
    pub partition: u32,
}

impl Inspector {
    pub(crate) fn new(client: Client) -> Inspector {
        Inspector { client }
    }

    /// A partition's segments, oldest first, at most so many, and its offsets. `next_offset` is
    /// left out where these are all.
    pub async fn segments(
        &self,
        of: &PartitionPlace,
        count_max: usize,
    ) -> Result<ListSegmentsResponse, Error> {
        let mut whole = self.segments_from(of, 0, count_max).await?;
        while let Some(next) = whole.next_offset.filter(|_| whole.segments.len() < count_max) {
            let page = self.segments_from(of, next, count_max - whole.segments.len()).await?;
            whole.segments.extend(page.segments);
            whole.next_offset = page.next_offset;
        }
        Ok(whole)
    }

    async fn segments_from(
        &self,
        of: &PartitionPlace,
        from_offset: u64,
        count_max: usize,
    ) -> Result<ListSegmentsResponse, Error> {
        let request = v1::ListSegmentsRequest {
            stream: of.stream.clone(),
            partition: of.partition,
            from_offset,
            count_max: page(count_max, PAGE),
        };
        self.ask(async |client: &Client| client.inspect().list_segments(request.clone()).await)
            .await
    }

    /// The batches of the segment with this base offset, in their order, at most so many; and
    /// where the next ones begin, if there are more.
    pub async fn batches(
        &self,
        of: &PartitionPlace,
        segment: u64,
        count_max: usize,
    ) -> Result<(Vec<Batch>, Option<u64>), Error> {
        let mut batches = Vec::new();
        let mut next = Some(0);
        while let Some(position) = next.filter(|_| batches.len() < count_max) {
            let request = v1::ListBatchesRequest {
                stream: of.stream.clone(),
                partition: of.partition,
                segment,
                position,
                count_max: page(count_max - batches.len(), PAGE),
            };
            let page = self
                .ask(async |client: &Client| client.inspect().list_batches(request.clone()).await);
            let page = page.await?;
            batches.extend(page.batches);
            next = page.next_position;
        }
        Ok((batches, next))
    }

    /// One batch with at most so many of its records, all of them within about 1 MiB, and at most
    /// so many of its first bytes, 1 MiB at most.
    pub async fn batch(
        &self,
        of: &PartitionPlace,
        batch: WantedBatch,
        records_max: u32,
        bytes_max: u32,
    ) -> Result<ReadBatchResponse, Error> {
        let request = v1::ReadBatchRequest {
            stream: of.stream.clone(),
            partition: of.partition,
            batch: Some(batch),
            records_max,
            bytes_max,
            ..Default::default()
        };
        self.ask(async |client: &Client| client.inspect().read_batch(request.clone()).await).await
    }

    /// The first entries of an index of the segment with this base offset, at most so many.
    pub async fn index(
        &self,
        of: &PartitionPlace,
        segment: u64,
        index: Index,
        count_max: usize,
    ) -> Result<ListIndexEntriesResponse, Error> {
        let request = v1::ListIndexEntriesRequest {
            stream: of.stream.clone(),
            partition: of.partition,
            segment,
            index: index.into(),
            skipped: 0,
            count_max: page(count_max, INDEX_PAGE),
        };
        self.ask(async |client: &Client| client.inspect().list_index_entries(request.clone()).await)
            .await
    }

    /// What a partition's quotas let in and out now.
    pub async fn buckets(&self, of: &PartitionPlace) -> Result<ShowBucketsResponse, Error> {
        let request = v1::ShowBucketsRequest { stream: of.stream.clone(), partition: of.partition };
        self.ask(async |client: &Client| client.inspect().show_buckets(request.clone()).await).await
    }

    /// A look changes nothing, so it is tried again whatever went wrong with its answer.
    async fn ask<T>(
        &self,
        call: impl AsyncFn(&Client) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Error> {
        let asked = || async { Ok(call(&self.client).await?.into_inner()) };
        self.client.retry().run(asked).await
    }
}

/// How many of a page are asked for; 0 would be the broker's default.
fn page(count: usize, most: u32) -> u32 {
    u32::try_from(count).unwrap_or(most).clamp(1, most)
}
