//! `weir.v1.Records`: appends records. Reading on is [`crate::tail`], appending batches that the
//! client has built [`crate::batches`].

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use weir_core::broker::Broker;
use weir_core::metrics::latency::Stage;
use weir_core::metrics::{Dialect, RequestMetrics};
use weir_core::routing::route::{RoutedPlace, RoutedRecord, WantedPlace};
use weir_model::ids::PartitionIndex;
use weir_model::record::Header as CoreHeader;
use weir_model::time::Timestamp;
use weir_proto::v1::append_result::Outcome;
use weir_proto::v1::new_record::Place as Wanted;
use weir_proto::v1::records_server::Records;
use weir_proto::v1::{
    AppendBatchesRequest, AppendRequest, AppendResponse, AppendResult, BeginProducerRequest,
    BeginProducerResponse, NewRecord, Place, TailRequest,
};

use crate::answers::{Answers, Source};
use crate::batches::BatchAppends;
use crate::errors::{Refusal, append_refusal, meta_refusal};
use crate::streams::find;
use crate::tail::Tail;

/// Most records of one request.
const RECORDS_MAX: usize = 10_000;
/// Most bytes of keys, values and headers in one request.
const REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct RecordsService {
    broker: Arc<Broker>,
    /// Turns true when the server stops: what would go on for ever ends then.
    stopped: watch::Receiver<bool>,
    append: Arc<RequestMetrics>,
    append_batches: Arc<RequestMetrics>,
    tail: Arc<RequestMetrics>,
}

impl RecordsService {
    pub(crate) fn new(broker: Arc<Broker>, stopped: watch::Receiver<bool>) -> RecordsService {
        let append = broker.metrics().request(Dialect::Grpc, "Append");
        let append_batches = broker.metrics().request(Dialect::Grpc, "AppendBatches");
        let tail = broker.metrics().request(Dialect::Grpc, "Tail");
        RecordsService { broker, stopped, append, append_batches, tail }
    }

    async fn append_all(&self, request: AppendRequest) -> Result<AppendResponse, Refusal> {
        self.append.requests.add(1);
        let stream = find(&self.broker, &request.stream)?;
        if request.records.is_empty() || request.records.len() > RECORDS_MAX {
            let why = format!("a request has 1 to {RECORDS_MAX} records");
            return Err(Refusal::invalid(why));
        }
        let records: Result<Vec<_>, _> = request.records.into_iter().map(routed).collect();
        let records = records?;
        let bytes: usize = records.iter().map(RoutedRecord::size_bytes).sum();
        if bytes > REQUEST_BYTES_MAX {
            let why = format!("the records have {bytes} bytes, at most {REQUEST_BYTES_MAX} may be");
            return Err(Refusal::invalid(why));
        }
        self.append.bytes_in.add(bytes as u64);
        let begun = self.broker.clock().real_moment();
        let results = self.broker.append_checked(&stream, records).await;
        let took = self.broker.clock().real_moment().since(begun);
        self.append.latency.observe(Stage::Answer, took);
        self.append.latency.observe_total(took);
        let written = results.iter().filter(|result| result.is_ok()).count();
        self.append.records_in.add(written as u64);
        self.append.errors.add(u64::from(written < results.len()));
        let outcome = |result: &Result<_, _>| match result {
            Ok(place) => Outcome::Place(shown(place)),
            Err(error) => Outcome::Error(append_refusal(error).detail()),
        };
        let result = |result| AppendResult { outcome: Some(outcome(result)) };
        Ok(AppendResponse { results: results.iter().map(result).collect() })
    }
}

#[tonic::async_trait]
impl Records for RecordsService {
    type AppendStreamStream = Answers<Appends>;
    type AppendBatchesStream = Answers<BatchAppends>;
    type TailStream = Answers<Tail>;

    async fn append(
        &self,
        request: Request<AppendRequest>,
    ) -> Result<Response<AppendResponse>, Status> {
        Ok(Response::new(self.append_all(request.into_inner()).await?))
    }

    async fn append_stream(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let appends = Appends { service: self.clone(), requests: request.into_inner() };
        Ok(Response::new(Answers::of(appends)))
    }

    async fn begin_producer(
        &self,
        _: Request<BeginProducerRequest>,
    ) -> Result<Response<BeginProducerResponse>, Status> {
        let id = self.broker.allocate_producer_id().await.map_err(|error| meta_refusal(&error))?;
        Ok(Response::new(BeginProducerResponse { producer_id: id.as_i64(), producer_epoch: 0 }))
    }

    async fn append_batches(
        &self,
        request: Request<Streaming<AppendBatchesRequest>>,
    ) -> Result<Response<Self::AppendBatchesStream>, Status> {
        let (broker, metrics) = (Arc::clone(&self.broker), Arc::clone(&self.append_batches));
        let requests = request.into_inner();
        let appends = BatchAppends::new(broker, self.stopped.clone(), metrics, requests);
        Ok(Response::new(Answers::of(appends)))
    }

    async fn tail(
        &self,
        request: Request<TailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        self.tail.requests.add(1);
        let (broker, metrics) = (Arc::clone(&self.broker), Arc::clone(&self.tail));
        let request = request.into_inner();
        let tail = Tail::begin(broker, &request, self.stopped.clone(), metrics).await?;
        Ok(Response::new(Answers::of(tail)))
    }
}

/// The requests of one call, answered in their order.
pub(crate) struct Appends {
    service: RecordsService,
    requests: Streaming<AppendRequest>,
}

impl Source for Appends {
    type Answer = AppendResponse;

    async fn next(&mut self) -> Option<Result<AppendResponse, Refusal>> {
        let mut stopped = self.service.stopped.clone();
        let request = tokio::select! {
            request = self.requests.message() => request,
            _ = stopped.wait_for(|stopped| *stopped) => return None,
        };
        match request {
            Ok(request) => Some(self.service.append_all(request?).await),
            // The client is gone, or what it sent is no message; nobody waits for an answer.
            Err(error) => Some(Err(Refusal::invalid(error.message()))),
        }
    }
}

fn routed(record: NewRecord) -> Result<RoutedRecord, Refusal> {
    let wanted = match record.place {
        None => WantedPlace::ByKey,
        Some(Wanted::Partition(index)) => WantedPlace::Partition(
            PartitionIndex::try_from(index as usize)
                .map_err(|_| Refusal::invalid(format!("there is no partition {index}")))?,
        ),
        Some(Wanted::HashKey(text)) => WantedPlace::HashKey(text.parse().map_err(|_| {
            Refusal::invalid(format!("{text} is not a hash key: 0 to 2^128 - 1 in decimal"))
        })?),
    };
    let header = |header: weir_proto::v1::Header| CoreHeader {
        key: header.name.into(),
        value: header.value,
    };
    Ok(RoutedRecord {
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(header).collect(),
        timestamp: record.timestamp_ms.map(Timestamp::from_millis),
        wanted,
    })
}

fn shown(place: &RoutedPlace) -> Place {
    Place {
        partition: place.partition.as_u32(),
        offset: place.offset.number(),
        timestamp_ms: place.timestamp.as_millis(),
    }
}
