//! A topic or stream as an endpoint describes it, whatever the endpoint speaks.

use std::collections::BTreeMap;

use weir_proto::v1;

/// A topic or stream. What is none the endpoint does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    /// Who chooses a record's partition.
    pub(crate) by: Option<By>,
    /// Milliseconds since 1970, UTC.
    pub(crate) created_at_ms: Option<i64>,
    /// Partitions that take records.
    pub(crate) open_partitions: Option<u32>,
    /// Those that were set on it.
    pub(crate) settings: BTreeMap<String, String>,
    /// By index; empty in lists.
    pub(crate) partitions: Vec<DescribedPartition>,
}

/// How records find their partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Partition,
    Hash,
}

/// A partition or shard. What is none the endpoint does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DescribedPartition {
    pub(crate) index: u32,
    pub(crate) is_open: bool,
    pub(crate) parents: Vec<u32>,
    /// The first and the last that belong to it, in decimal.
    pub(crate) hash_keys: Option<(String, String)>,
    pub(crate) log_start: Option<u64>,
    pub(crate) high_watermark: Option<u64>,
    pub(crate) log_end: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) segments: Option<u64>,
}

impl From<v1::Stream> for Described {
    fn from(stream: v1::Stream) -> Described {
        let by = match stream.routing() {
            v1::Routing::ByHash => By::Hash,
            v1::Routing::ByPartition | v1::Routing::Unspecified => By::Partition,
        };
        Described {
            name: stream.name,
            id: Some(stream.id),
            by: Some(by),
            created_at_ms: Some(stream.created_at_ms),
            open_partitions: Some(stream.open_partitions),
            settings: stream.settings.into_iter().collect(),
            partitions: stream.partitions.into_iter().map(DescribedPartition::from).collect(),
        }
    }
}

impl From<v1::Partition> for DescribedPartition {
    fn from(partition: v1::Partition) -> DescribedPartition {
        let range = partition.hash_keys.unwrap_or_default();
        DescribedPartition {
            index: partition.index,
            is_open: partition.is_open,
            parents: partition.parents,
            hash_keys: Some((range.starting, range.ending)),
            log_start: Some(partition.log_start),
            high_watermark: Some(partition.high_watermark),
            log_end: Some(partition.log_end),
            bytes: Some(partition.bytes),
            segments: Some(partition.segments),
        }
    }
}
