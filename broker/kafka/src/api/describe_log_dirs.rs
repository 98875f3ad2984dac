//! DescribeLogDirs (key 35), versions 1 to 4: the one directory of the logs, and what partitions
//! take of it.
//!
//! - No list of topics asks for all. What is asked for and is not there is left out, and a topic
//!   without a partition to show too.
//! - A size is that of the record batches; nothing lags and nothing moves between directories.
//! - 4+: the file system's bytes in all and those that can still be written; -1 where unknown.

use std::collections::{BTreeMap, BTreeSet};

use weir_kafka_protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use weir_model::ids::{PartitionId, PartitionIndex};

use crate::close::CloseReason;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &[];

/// Stands for a number of bytes that nobody knows.
const UNKNOWN_BYTES: i64 = -1;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeLogDirsRequest,
) -> Result<DescribeLogDirsResponse, CloseReason> {
    let topics = match request.topics {
        None => all(&context),
        Some(topics) => named(&context, topics),
    };
    let ids = topics.values().flatten().copied().collect();
    let directory = context.broker().describe_log_directory(ids).await;
    let mut sizes = directory.partition_bytes.into_iter();
    let mut results = Vec::with_capacity(topics.len());
    for (name, ids) in topics {
        let describe = |(id, bytes): (PartitionId, Option<u64>)| DescribeLogDirsPartition {
            partition_index: id.index.as_i32(),
            partition_size: as_wire(bytes),
            ..Default::default()
        };
        let found = ids.into_iter().zip(&mut sizes).filter(|(_, bytes)| bytes.is_some());
        let partitions: Vec<_> = found.map(describe).collect();
        if !partitions.is_empty() {
            results.push(DescribeLogDirsTopic { name, partitions });
        }
    }
    let space = directory.space;
    let result = DescribeLogDirsResult {
        error_code: 0,
        log_dir: directory.path,
        topics: results,
        total_bytes: as_wire(space.map(|space| space.total)),
        usable_bytes: as_wire(space.map(|space| space.free)),
    };
    Ok(DescribeLogDirsResponse { results: vec![result], ..Default::default() })
}

/// Every partition, by the name of its topic.
fn all(context: &RequestContext) -> BTreeMap<String, BTreeSet<PartitionId>> {
    let streams = context.broker().streams().into_iter();
    let with_partitions = streams.map(|stream| {
        let ids = stream.partitions().iter().map(|partition| partition.id).collect();
        (stream.name.to_string(), ids)
    });
    with_partitions.collect()
}

/// Those of the partitions asked for that there are.
fn named(
    context: &RequestContext,
    asked: Vec<DescribableLogDirTopic>,
) -> BTreeMap<String, BTreeSet<PartitionId>> {
    let mut topics: BTreeMap<String, BTreeSet<PartitionId>> = BTreeMap::new();
    for DescribableLogDirTopic { topic, partitions } in asked {
        let Some(stream) = context.broker().stream(&topic) else { continue };
        let found = partitions.into_iter().filter_map(|index| {
            let index = PartitionIndex::try_from(index).ok()?;
            Some(stream.partition(index)?.id)
        });
        topics.entry(topic).or_default().extend(found);
    }
    topics
}

fn as_wire(bytes: Option<u64>) -> i64 {
    bytes.map_or(UNKNOWN_BYTES, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}
