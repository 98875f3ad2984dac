//! One stream: what never changes about it, and behind a lock what does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use weir_model::ids::{PartitionIndex, StreamId, StreamName};
use weir_model::time::Timestamp;

use crate::metrics::stream::StreamMetrics;
use crate::partition::partition::Partition;
use crate::stream::attributes::StreamAttributes;
use crate::stream::config::{Overrides, StreamConfig};
use crate::stream::layout::{Layout, SharedLayout};
use crate::stream::mode::StreamMode;
use crate::stream::on_demand::Traffic;

/// How writes find their partition; fixed when the stream is made (design.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Made by Kinesis: shards own hash-key ranges, split and merge, and have a lineage.
    ByHash,
    /// Made by Kafka: the client picks the partition; hash ranges are only a view of it.
    ByPartition,
}

/// What is needed to make a stream.
#[derive(Clone, Debug)]
pub struct NewStream {
    /// Its name.
    pub name: StreamName,
    /// How writes find their partition.
    pub routing: Routing,
    /// How many partitions it begins with, at least one.
    pub partitions: u32,
    /// Its settings, by Kafka name.
    pub overrides: Overrides,
    /// What its owner says of it from the start.
    pub attributes: StreamAttributes,
    /// Whether to make it or only to say whether it could be made.
    pub intent: Intent,
}

/// Do it, or only check that it could be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Do it.
    Make,
    /// Check only (Kafka's `validate_only`).
    Validate,
}

/// A stream, called topic by Kafka.
#[derive(Debug)]
pub struct Stream {
    /// Its id, for ever its own.
    pub id: StreamId,
    /// Its name, free again once it is deleted.
    pub name: StreamName,
    /// How writes find their partition.
    pub routing: Routing,
    /// When it was made.
    pub created: Timestamp,
    config: RwLock<Arc<StreamConfig>>,
    attributes: RwLock<Arc<StreamAttributes>>,
    layout: Arc<SharedLayout>,
    deleted: AtomicBool,
    pub(crate) traffic: Traffic,
    metrics: Arc<StreamMetrics>,
}

impl Stream {
    pub(crate) fn new(
        id: StreamId,
        new: &NewStream,
        created: Timestamp,
        config: StreamConfig,
        layout: Layout,
    ) -> Stream {
        let metrics = Arc::<StreamMetrics>::default();
        if new.routing == Routing::ByHash {
            metrics.gather_minutes();
        }
        Stream {
            id,
            name: new.name.clone(),
            routing: new.routing,
            created,
            config: RwLock::new(Arc::new(config)),
            attributes: RwLock::new(Arc::new(new.attributes.clone())),
            layout: Arc::new(SharedLayout::new(layout)),
            deleted: AtomicBool::new(false),
            traffic: Traffic::default(),
            metrics,
        }
    }

    /// The settings it runs with now.
    pub fn config(&self) -> Arc<StreamConfig> {
        Arc::clone(&self.config.read())
    }

    /// What its owner has said of it.
    pub fn attributes(&self) -> Arc<StreamAttributes> {
        Arc::clone(&self.attributes.read())
    }

    /// Its partitions in index order, closed ones included.
    pub fn partitions(&self) -> Arc<[Arc<Partition>]> {
        Arc::clone(&self.layout.current().partitions)
    }

    /// Its partitions without the closed ones that nobody needs to know of any more.
    pub fn known_partitions(&self, now: Timestamp) -> Vec<Arc<Partition>> {
        let (horizon, partitions) = (self.trim_horizon(now), self.partitions());
        partitions.iter().filter(|partition| !partition.is_expired(horizon)).cloned().collect()
    }

    /// The time before which its records are too old.
    pub fn trim_horizon(&self, now: Timestamp) -> Timestamp {
        match self.config().retention_ms {
            None => Timestamp::from_millis(i64::MIN),
            Some(retention_ms) => {
                let back = i64::try_from(retention_ms).unwrap_or(i64::MAX);
                now.plus_millis(back.saturating_neg())
            }
        }
    }

    /// The earliest time of which the known partitions tell: of them, those that were open then, or
    /// at any time since, cover the hash keys. Never before anything expired was closed, since that
    /// stays hidden when a longer retention moves the trim horizon back.
    pub fn lineage_horizon(&self, now: Timestamp) -> Timestamp {
        let partitions = self.partitions();
        let closed = partitions.iter().filter_map(|partition| partition.closed_at());
        let expired = closed.filter(|closed| closed.is_expired).map(|closed| closed.time);
        expired.fold(self.trim_horizon(now).max(self.created), Timestamp::max)
    }

    /// One of its partitions, open or closed.
    pub fn partition(&self, index: PartitionIndex) -> Option<Arc<Partition>> {
        self.layout.partition(index)
    }

    /// What is counted of it since the start.
    pub fn metrics(&self) -> &Arc<StreamMetrics> {
        &self.metrics
    }

    /// Counts what is written to it, if it is scaled by that.
    pub(crate) fn count_traffic(&self, bytes: usize, records: usize) {
        if self.config().mode == StreamMode::OnDemand {
            self.traffic.count(bytes, records);
        }
    }

    pub(super) fn set_config(&self, config: StreamConfig) {
        *self.config.write() = Arc::new(config);
    }

    pub(super) fn set_attributes(&self, attributes: StreamAttributes) {
        *self.attributes.write() = Arc::new(attributes);
    }

    /// Its partitions, and what is done to them.
    pub(crate) fn layout(&self) -> &Arc<SharedLayout> {
        &self.layout
    }

    /// Tells when partitions are closed and added; what it holds means nothing to others.
    pub fn partition_changes(&self) -> tokio::sync::watch::Receiver<bool> {
        self.layout().changes()
    }

    /// Whether it was deleted since the caller got hold of it.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(crate) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }
}
