//! `weir.v1.Streams`: makes, shows and removes streams. What changes one that there is stands in
//! [`change`].

mod change;

use std::collections::HashMap;
use std::sync::Arc;

use tonic::{Request, Response, Status};
use weir_core::broker::Broker;
use weir_core::partition::partition::Partition as CorePartition;
use weir_core::stream::attributes::StreamAttributes;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream as CoreStream};
use weir_model::ids::{PartitionIndex, StreamName};
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::streams_server::Streams;
use weir_proto::v1::{
    AlterStreamRequest, AlterStreamResponse, CreateStreamRequest, CreateStreamResponse,
    DeleteStreamRequest, DeleteStreamResponse, DescribeStreamRequest, DescribeStreamResponse,
    HashKeyRange, ListStreamsRequest, ListStreamsResponse, MergePartitionsRequest,
    MergePartitionsResponse, Partition, Routing as WireRouting, SetPartitionCountRequest,
    SetPartitionCountResponse, SplitPartitionRequest, SplitPartitionResponse, Stream,
};

use crate::errors::{Refusal, create_refusal, delete_refusal};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct StreamsService {
    pub(crate) broker: Arc<Broker>,
}

#[tonic::async_trait]
impl Streams for StreamsService {
    async fn create_stream(
        &self,
        request: Request<CreateStreamRequest>,
    ) -> Result<Response<CreateStreamResponse>, Status> {
        let request = request.into_inner();
        let new = self.new_stream(&request)?;
        let mut made = self.broker.create_streams(vec![new]).await;
        let made = made.pop().expect("a result for each stream");
        let stream = made.map_err(|error| create_refusal(&error))?;
        let shown = match request.validate_only {
            // It has no log whose ends could be shown.
            true => Stream { id: String::new(), ..outline(&stream) },
            false => self.shown(&stream)?,
        };
        Ok(Response::new(CreateStreamResponse { stream: Some(shown) }))
    }

    async fn list_streams(
        &self,
        request: Request<ListStreamsRequest>,
    ) -> Result<Response<ListStreamsResponse>, Status> {
        let prefix = request.into_inner().prefix;
        let all = self.broker.streams();
        let visible = all.iter().filter(|stream| !stream.name.is_internal());
        let chosen = visible.filter(|stream| stream.name.as_str().starts_with(&prefix));
        let streams = chosen.map(|stream| outline(stream)).collect();
        Ok(Response::new(ListStreamsResponse { streams }))
    }

    async fn describe_stream(
        &self,
        request: Request<DescribeStreamRequest>,
    ) -> Result<Response<DescribeStreamResponse>, Status> {
        let stream = find(&self.broker, &request.into_inner().name)?;
        Ok(Response::new(DescribeStreamResponse { stream: Some(self.shown(&stream)?) }))
    }

    async fn delete_stream(
        &self,
        request: Request<DeleteStreamRequest>,
    ) -> Result<Response<DeleteStreamResponse>, Status> {
        let stream = find(&self.broker, &request.into_inner().name)?;
        let mut deleted = self.broker.delete_streams(vec![stream.id]).await;
        let deleted = deleted.pop().expect("a result for each stream");
        deleted.map_err(|error| delete_refusal(stream.name.as_str(), &error))?;
        Ok(Response::new(DeleteStreamResponse {}))
    }

    async fn split_partition(
        &self,
        request: Request<SplitPartitionRequest>,
    ) -> Result<Response<SplitPartitionResponse>, Status> {
        Ok(Response::new(self.split(request.into_inner()).await?))
    }

    async fn merge_partitions(
        &self,
        request: Request<MergePartitionsRequest>,
    ) -> Result<Response<MergePartitionsResponse>, Status> {
        Ok(Response::new(self.merge(request.into_inner()).await?))
    }

    async fn set_partition_count(
        &self,
        request: Request<SetPartitionCountRequest>,
    ) -> Result<Response<SetPartitionCountResponse>, Status> {
        Ok(Response::new(self.set_count(request.into_inner()).await?))
    }

    async fn alter_stream(
        &self,
        request: Request<AlterStreamRequest>,
    ) -> Result<Response<AlterStreamResponse>, Status> {
        Ok(Response::new(self.alter(request.into_inner()).await?))
    }
}

impl StreamsService {
    fn new_stream(&self, request: &CreateStreamRequest) -> Result<NewStream, Refusal> {
        let name = StreamName::new(&request.name)
            .map_err(|error| Refusal::invalid(format!("{:?} is no name: {error}", request.name)))?;
        let routing = match WireRouting::try_from(request.routing) {
            Ok(WireRouting::Unspecified | WireRouting::ByPartition) => Routing::ByPartition,
            Ok(WireRouting::ByHash) => Routing::ByHash,
            Err(_) => return Err(Refusal::invalid("there is no such routing")),
        };
        Ok(NewStream {
            name,
            routing,
            partitions: request.partitions.unwrap_or(self.broker.settings().topics.partitions),
            overrides: request.settings.clone().into_iter().collect(),
            attributes: StreamAttributes::default(),
            intent: if request.validate_only { Intent::Validate } else { Intent::Make },
        })
    }

    fn shown(&self, stream: &CoreStream) -> Result<Stream, Refusal> {
        let partitions = stream.partitions();
        let shown = partitions.iter().map(|partition| self.partition(partition));
        Ok(Stream { partitions: shown.collect::<Result<_, _>>()?, ..outline(stream) })
    }

    fn partition(&self, partition: &CorePartition) -> Result<Partition, Refusal> {
        let marks = partition.watermarks();
        let size = self.broker.log().size(partition.id).unwrap_or_default();
        let range = partition.hash_keys;
        Ok(Partition {
            index: partition.id.index.as_u32(),
            hash_keys: Some(HashKeyRange {
                starting: range.start().to_string(),
                ending: range.end().to_string(),
            }),
            parents: partition.parents.iter().flatten().map(|parent| parent.as_u32()).collect(),
            is_open: partition.is_open(),
            log_start: marks.log_start.number(),
            high_watermark: marks.high_watermark.number(),
            log_end: marks.log_end.number(),
            bytes: size.bytes,
            segments: size.segments,
        })
    }
}

/// The stream of that name, if clients may see it.
pub(crate) fn find(broker: &Broker, name: &str) -> Result<Arc<CoreStream>, Refusal> {
    let found = broker.stream(name).filter(|stream| !stream.name.is_internal());
    found.ok_or_else(|| Refusal::unknown_stream(name))
}

/// The number of a partition that a request names; it need not exist.
pub(crate) fn partition_index(named: u32) -> Result<PartitionIndex, Refusal> {
    PartitionIndex::try_from(named as usize).map_err(|_| {
        Refusal::new(Reason::UnknownPartition, format!("there is no partition {named}"))
    })
}

/// A stream without its partitions.
fn outline(stream: &CoreStream) -> Stream {
    let routing = match stream.routing {
        Routing::ByPartition => WireRouting::ByPartition,
        Routing::ByHash => WireRouting::ByHash,
    };
    let settings = settings_of(stream);
    Stream {
        name: stream.name.to_string(),
        id: stream.id.to_string(),
        routing: routing.into(),
        created_at_ms: stream.created.as_millis(),
        open_partitions: open_count(stream),
        partitions: Vec::new(),
        settings,
    }
}

fn settings_of(stream: &CoreStream) -> HashMap<String, String> {
    stream.config().overrides.clone().into_iter().collect()
}

fn open_count(stream: &CoreStream) -> u32 {
    let open = stream.partitions().iter().filter(|partition| partition.is_open()).count();
    u32::try_from(open).unwrap_or(u32::MAX)
}
