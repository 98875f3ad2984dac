//! What the logs take of the disk, for tools that ask.

use std::sync::Arc;

use weir_model::ids::PartitionId;
use weir_storage::disk::Space;

use crate::broker::Broker;

/// The directory that holds the logs.
#[derive(Clone, Debug)]
pub struct LogDirectory {
    /// Its path.
    pub path: String,
    /// The file system that it lies on; none if there is none, or it does not say.
    pub space: Option<Space>,
    /// Bytes of each partition that was asked for, in that order; none where there is no such
    /// partition any more, or its files cannot be listed.
    pub partition_bytes: Vec<Option<u64>>,
}

impl Broker {
    /// Describes the directory. Partitions that nobody used since the start are listed for it, away
    /// from the workers.
    pub async fn describe_log_directory(&self, partitions: Vec<PartitionId>) -> LogDirectory {
        let log = Arc::clone(self.log());
        let looking = tokio::task::spawn_blocking(move || {
            let bytes = |id: PartitionId| log.size(id).ok().map(|size| size.bytes);
            (log.space(), partitions.into_iter().map(bytes).collect())
        });
        let (space, partition_bytes) = looking.await.expect("looking does not panic");
        let path = self.options().log_directory.clone();
        LogDirectory { path, space, partition_bytes }
    }
}
