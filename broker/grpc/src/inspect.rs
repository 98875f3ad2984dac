//! `weir.v1.Inspect`: partitions from their segments down to their bytes, and their quotas.
//!
//! Each method is a bounded page. What the log shows is translated in [`shown`].

mod shown;

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weir_core::broker::Broker;
use weir_core::inspect::{BatchPlace, IndexKind, WantedBatch};
use weir_core::partition::look::WantedRecords;
use weir_core::partition::partition::Partition;
use weir_core::stream::stream::Stream;
use weir_model::offset::{OFFSET_MAX, Offset};
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::inspect_server::Inspect;
use weir_proto::v1::list_index_entries_request::Index;
use weir_proto::v1::read_batch_request::Batch as Wanted;
use weir_proto::v1::{
    ListBatchesRequest, ListBatchesResponse, ListIndexEntriesRequest, ListIndexEntriesResponse,
    ListSegmentsRequest, ListSegmentsResponse, ReadBatchRequest, ReadBatchResponse,
    ShowBucketsRequest, ShowBucketsResponse,
};

use crate::errors::{Refusal, read_refusal};
use crate::streams::{find, partition_index};

pub(crate) use shown::millis_up;

/// Entries of a page where a request does not say, and at most.
const SEGMENTS: PageLimit = PageLimit { default: 100, max: 1_000 };
const BATCHES: PageLimit = PageLimit { default: 100, max: 1_000 };
const INDEX_ENTRIES: PageLimit = PageLimit { default: 1_000, max: 10_000 };
/// Most records of one answer.
const RECORDS_MAX: u32 = 1_000;
/// Most bytes of records in one answer; its first record may be larger.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Most raw bytes in one answer.
const RAW_BYTES_MAX: u32 = 1024 * 1024;

struct PageLimit {
    default: u32,
    max: u32,
}

impl PageLimit {
    /// How many a request wants.
    fn of(&self, asked: u32) -> Result<usize, Refusal> {
        at_most(if asked == 0 { self.default } else { asked }, self.max)
    }
}

fn at_most(asked: u32, max: u32) -> Result<usize, Refusal> {
    match asked <= max {
        true => Ok(asked as usize),
        false => Err(Refusal::invalid(format!("{asked} are asked for, at most {max} may be"))),
    }
}

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct InspectService {
    pub(crate) broker: Arc<Broker>,
}

#[tonic::async_trait]
impl Inspect for InspectService {
    async fn list_segments(
        &self,
        request: Request<ListSegmentsRequest>,
    ) -> Result<Response<ListSegmentsResponse>, Status> {
        Ok(Response::new(self.segments(request.into_inner()).await?))
    }

    async fn list_batches(
        &self,
        request: Request<ListBatchesRequest>,
    ) -> Result<Response<ListBatchesResponse>, Status> {
        Ok(Response::new(self.batches(request.into_inner()).await?))
    }

    async fn read_batch(
        &self,
        request: Request<ReadBatchRequest>,
    ) -> Result<Response<ReadBatchResponse>, Status> {
        Ok(Response::new(self.batch(request.into_inner()).await?))
    }

    async fn list_index_entries(
        &self,
        request: Request<ListIndexEntriesRequest>,
    ) -> Result<Response<ListIndexEntriesResponse>, Status> {
        Ok(Response::new(self.index_entries(request.into_inner()).await?))
    }

    async fn show_buckets(
        &self,
        request: Request<ShowBucketsRequest>,
    ) -> Result<Response<ShowBucketsResponse>, Status> {
        let ShowBucketsRequest { stream, partition } = request.into_inner();
        let (stream, partition) = self.partition(&stream, partition)?;
        Ok(Response::new(match self.broker.buckets(&stream, &partition) {
            None => ShowBucketsResponse::default(),
            Some((buckets, factor)) => {
                ShowBucketsResponse { buckets: buckets.iter().map(shown::bucket).collect(), factor }
            }
        }))
    }
}

impl InspectService {
    async fn segments(
        &self,
        request: ListSegmentsRequest,
    ) -> Result<ListSegmentsResponse, Refusal> {
        let count_max = SEGMENTS.of(request.count_max)?;
        let from = offset(request.from_offset)?;
        let (_, partition) = self.partition(&request.stream, request.partition)?;
        // One more, which tells whether there are more.
        let found = self.broker.segments(&partition, from, count_max + 1).await;
        let mut segments = found.map_err(|error| read_refusal(&error))?;
        let next = segments.get(count_max).map(|segment| segment.base_offset.number());
        segments.truncate(count_max);
        let marks = partition.watermarks();
        Ok(ListSegmentsResponse {
            segments: segments.into_iter().map(shown::segment).collect(),
            next_offset: next,
            log_start: marks.log_start.number(),
            high_watermark: marks.high_watermark.number(),
            log_end: marks.log_end.number(),
        })
    }

    async fn batches(&self, request: ListBatchesRequest) -> Result<ListBatchesResponse, Refusal> {
        let count_max = BATCHES.of(request.count_max)?;
        let (_, partition) = self.partition(&request.stream, request.partition)?;
        let place = BatchPlace { segment: offset(request.segment)?, position: request.position };
        let found = self.broker.batches(&partition, place, count_max).await;
        let page = found.map_err(|error| read_refusal(&error))?;
        let log_start = partition.watermarks().log_start;
        Ok(ListBatchesResponse {
            batches: page.batches.iter().map(|batch| shown::batch(batch, log_start)).collect(),
            next_position: page.next_position,
        })
    }

    async fn batch(&self, request: ReadBatchRequest) -> Result<ReadBatchResponse, Refusal> {
        let (_, partition) = self.partition(&request.stream, request.partition)?;
        let wanted = match request.batch {
            None => return Err(Refusal::invalid("the request does not say which batch")),
            Some(Wanted::Offset(number)) => WantedBatch::Holding(offset(number)?),
            Some(Wanted::At(place)) => {
                let segment = offset(place.segment)?;
                WantedBatch::At(BatchPlace { segment, position: place.position })
            }
        };
        let records = WantedRecords {
            skipped: request.records_skipped as usize,
            count_max: at_most(request.records_max, RECORDS_MAX)?,
            bytes_max: RECORD_BYTES_MAX,
        };
        let raw_max = at_most(request.bytes_max, RAW_BYTES_MAX)?;
        let looked = self.broker.look_at_batch(&partition, wanted, records).await;
        let looked = looked.map_err(|error| read_refusal(&error))?;
        let raw_from = usize::try_from(request.bytes_from).unwrap_or(usize::MAX);
        Ok(shown::looked_at(&looked, partition.watermarks().log_start, (raw_from, raw_max)))
    }

    async fn index_entries(
        &self,
        request: ListIndexEntriesRequest,
    ) -> Result<ListIndexEntriesResponse, Refusal> {
        let kind = match request.index() {
            Index::Unspecified | Index::Offset => IndexKind::Offset,
            Index::Time => IndexKind::Time,
        };
        if Index::try_from(request.index).is_err() {
            return Err(Refusal::invalid("there is no such index"));
        }
        let count_max = INDEX_ENTRIES.of(request.count_max)?;
        let skipped = usize::try_from(request.skipped).unwrap_or(usize::MAX);
        let segment = offset(request.segment)?;
        let (_, partition) = self.partition(&request.stream, request.partition)?;
        let found = self.broker.index_entries(&partition, segment, kind, (skipped, count_max));
        Ok(shown::index_page(&found.await.map_err(|error| read_refusal(&error))?))
    }

    fn partition(&self, name: &str, index: u32) -> Result<(Arc<Stream>, Arc<Partition>), Refusal> {
        let stream = find(&self.broker, name)?;
        let partition = stream.partition(partition_index(index)?).ok_or_else(|| {
            Refusal::new(Reason::UnknownPartition, format!("there is no partition {index}"))
        })?;
        Ok((stream, partition))
    }
}

fn offset(number: u64) -> Result<Offset, Refusal> {
    match number <= OFFSET_MAX {
        true => Ok(Offset::new(number)),
        false => Err(Refusal::invalid(format!("{number} is above all offsets"))),
    }
}
