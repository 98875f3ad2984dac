//! What changes a stream that there is: other partitions, other settings.

use std::collections::BTreeMap;

use weir_core::routing::reshard::Reshard;
use weir_core::settings::alteration::{Alteration, Change, Changes};
use weir_core::settings::holder::Resource;
use weir_core::stream::grow::Growth;
use weir_core::stream::stream::{Intent, Routing, Stream as CoreStream};
use weir_model::hash_key::HashKey;
use weir_model::ids::PartitionIndex;
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::{
    AlterStreamRequest, AlterStreamResponse, MergePartitionsRequest, MergePartitionsResponse,
    Partition, SetPartitionCountRequest, SetPartitionCountResponse, SplitPartitionRequest,
    SplitPartitionResponse,
};

use super::{StreamsService, find, open_count, partition_index, settings_of};
use crate::errors::Refusal;
use crate::errors::change::{alter_refusal, grow_refusal, reshard_refusal};

impl StreamsService {
    pub(super) async fn split(
        &self,
        request: SplitPartitionRequest,
    ) -> Result<SplitPartitionResponse, Refusal> {
        let stream = find(&self.broker, &request.stream)?;
        let partition = partition_index(request.partition)?;
        let at = match request.hash_key {
            Some(key) => parsed(&key)?,
            // Of a partition that is not there the core says so.
            None => stream.partition(partition).map_or(HashKey::MIN, |p| p.hash_keys.middle()),
        };
        let split = self.broker.reshard(&stream, Reshard::Split { partition, at }).await;
        split.map_err(|error| reshard_refusal(&error))?;
        Ok(SplitPartitionResponse { partitions: self.children(&stream, partition)? })
    }

    pub(super) async fn merge(
        &self,
        request: MergePartitionsRequest,
    ) -> Result<MergePartitionsResponse, Refusal> {
        let stream = find(&self.broker, &request.stream)?;
        let partition = partition_index(request.partition)?;
        let adjacent = partition_index(request.adjacent)?;
        let merged = self.broker.reshard(&stream, Reshard::Merge { partition, adjacent }).await;
        merged.map_err(|error| reshard_refusal(&error))?;
        Ok(MergePartitionsResponse { partition: self.children(&stream, partition)?.pop() })
    }

    pub(super) async fn set_count(
        &self,
        request: SetPartitionCountRequest,
    ) -> Result<SetPartitionCountResponse, Refusal> {
        let stream = find(&self.broker, &request.stream)?;
        let SetPartitionCountRequest { partitions, validate_only, .. } = request;
        match stream.routing {
            Routing::ByPartition => {
                let before = open_count(&stream);
                let intent = if validate_only { Intent::Validate } else { Intent::Make };
                let growth = Growth { name: stream.name.to_string(), partitions };
                let grown = self.broker.grow_stream(growth, intent).await;
                grown.map_err(|error| grow_refusal(&request.stream, &error))?;
                Ok(SetPartitionCountResponse { before, now: open_count(&stream) })
            }
            Routing::ByHash if validate_only => Err(Refusal::new(
                Reason::NotAllowed,
                "a scaling of a stream that routes by hash is not judged without being made",
            )),
            Routing::ByHash => {
                let scaled = self.broker.reshard(&stream, Reshard::Scale { partitions }).await;
                let scaled = scaled.map_err(|error| reshard_refusal(&error))?;
                let count = |open| u32::try_from(open).unwrap_or(u32::MAX);
                let (before, now) = (count(scaled.open_before), count(scaled.open_now));
                Ok(SetPartitionCountResponse { before, now })
            }
        }
    }

    pub(super) async fn alter(
        &self,
        request: AlterStreamRequest,
    ) -> Result<AlterStreamResponse, Refusal> {
        let stream = find(&self.broker, &request.stream)?;
        let intent = if request.validate_only { Intent::Validate } else { Intent::Make };
        let mut changes: BTreeMap<_, _> =
            request.set.into_iter().map(|(name, value)| (name, Change::Set(value))).collect();
        for name in request.removed {
            if let Some(Change::Set(_)) = changes.insert(name.clone(), Change::Remove) {
                return Err(Refusal::invalid(format!("{name} is to be both set and removed")));
            }
        }
        if changes.is_empty() {
            return Err(Refusal::invalid("the request changes no setting"));
        }
        let resource = Resource::Stream(stream.name.to_string());
        let alteration = Alteration { resource, changes: Changes::Some(changes) };
        let altered = self.broker.configurations().alter(vec![alteration], intent).await;
        let altered = altered.into_iter().next().expect("a result for each resource");
        altered.map_err(|error| alter_refusal(&request.stream, &error))?;
        Ok(AlterStreamResponse { settings: settings_of(&stream) })
    }

    /// What was made out of a partition: nobody closes it a second time.
    fn children(
        &self,
        stream: &CoreStream,
        parent: PartitionIndex,
    ) -> Result<Vec<Partition>, Refusal> {
        let partitions = stream.partitions();
        let children = partitions.iter().filter(|child| child.parents.contains(&Some(parent)));
        children.map(|child| self.partition(child)).collect()
    }
}

fn parsed(key: &str) -> Result<HashKey, Refusal> {
    key.parse().map_err(|_| {
        Refusal::invalid(format!("{key:?} is no hash key: a 128-bit number in decimal is"))
    })
}
