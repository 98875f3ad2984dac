//! Streams that there are, changed: partitions split, merged and added, settings set and taken
//! back.

use std::collections::HashMap;

use weir_proto::v1;
use weir_proto::v1::Partition;

use super::{Admin, nothing};
use crate::error::Error;
use crate::retry::Retry;

/// How many partitions took records before, and how many do now.
pub use weir_proto::v1::SetPartitionCountResponse as PartitionCounts;

/// Settings to be set, and to be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// By name, as Kafka names a topic's, such as `retention.ms`.
    pub set: HashMap<String, String>,
    /// For which the broker's default is to hold again.
    pub removed: Vec<String>,
    /// Only judge, and change nothing.
    pub validate_only: bool,
}

impl Admin {
    /// Splits a partition of a stream that routes by hash, in its middle or so that the upper part
    /// begins with a hash key. Returns the two that were made.
    ///
    /// A split whose answer was lost is not tried again: it may have been made.
    pub async fn split(
        &self,
        stream: &str,
        partition: u32,
        hash_key: Option<u128>,
    ) -> Result<Vec<Partition>, Error> {
        let hash_key = hash_key.map(|key| key.to_string());
        let request = v1::SplitPartitionRequest { stream: stream.to_owned(), partition, hash_key };
        let call = || {
            let (mut streams, request) = (self.client.streams(), request.clone());
            async move { Ok(streams.split_partition(request).await?.into_inner().partitions) }
        };
        once(self.client.retry(), call).await
    }

    /// Merges two partitions whose hash keys lie next to each other. Returns the one that was made.
    ///
    /// A merge whose answer was lost is not tried again: it may have been made.
    pub async fn merge(
        &self,
        stream: &str,
        partition: u32,
        adjacent: u32,
    ) -> Result<Partition, Error> {
        let request = v1::MergePartitionsRequest { stream: stream.to_owned(), partition, adjacent };
        let call = || {
            let (mut streams, request) = (self.client.streams(), request.clone());
            async move { Ok(streams.merge_partitions(request).await?.into_inner().partition) }
        };
        once(self.client.retry(), call).await?.ok_or_else(nothing)
    }

    /// Gives a stream another number of partitions: more of them where writers choose, splits and
    /// merges where the hash does. With `validate_only` it is only judged.
    pub async fn set_partition_count(
        &self,
        stream: &str,
        partitions: u32,
        validate_only: bool,
    ) -> Result<PartitionCounts, Error> {
        let stream = stream.to_owned();
        let request = v1::SetPartitionCountRequest { stream, partitions, validate_only };
        let call = || {
            let (mut streams, request) = (self.client.streams(), request.clone());
            async move { Ok(streams.set_partition_count(request).await?.into_inner()) }
        };
        once(self.client.retry(), call).await
    }

    /// Sets settings of a stream and takes others back, all or none. Returns those that are set.
    pub async fn alter(
        &self,
        stream: &str,
        settings: Settings,
    ) -> Result<HashMap<String, String>, Error> {
        let Settings { set, removed, validate_only } = settings;
        let stream = stream.to_owned();
        let request = v1::AlterStreamRequest { stream, set, removed, validate_only };
        let call = || {
            let (mut streams, request) = (self.client.streams(), request.clone());
            async move { Ok(streams.alter_stream(request).await?.into_inner().settings) }
        };
        self.client.retry().run(call).await
    }
}

/// Tries again what the broker has refused for now, and nothing that it may have carried out.
pub(super) async fn once<T, F>(retry: &Retry, call: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let call = || async {
        match call().await {
            Err(lost @ Error::Unreachable(_)) => Ok(Err(lost)),
            told => told.map(Ok),
        }
    };
    retry.run(call).await?
}
