//! Closed partitions whose records have all gone: when they are too old to be shown, that is
//! written down, once and for all.
//!
//! As in AWS, a closed shard is listed until the retention period has passed since it was closed,
//! and longer while it still holds records (which go segment by segment where the settings say so).
//! The mark keeps it away when the retention is made longer afterwards: its records are gone, and a
//! consumer that has forgotten the shard must not meet it again. Kafka's clients go on seeing the
//! partition, empty, since their numbers have no holes.

use std::sync::Arc;

use tracing::{info, warn};
use weir_model::time::Timestamp;

use crate::partition::partition::Partition;
use crate::stream::layout::Layout;
use crate::stream::registry::Registry;
use crate::stream::stream::{Routing, Stream};

impl Registry {
    /// Marks the closed partitions that have expired by now, all in one metadata commit. What
    /// fails is tried again the next time.
    pub(crate) async fn mark_expired(&self) {
        if !self.all().iter().any(|stream| self.has_expired(stream)) {
            return;
        }
        let _turn = self.turn().await;
        let mut marked = Vec::new();
        for stream in self.all() {
            if self.has_expired(&stream) {
                let layout = self.with_expired(&stream);
                marked.push((stream, layout));
            }
        }
        let row = |(stream, layout): &(Arc<Stream>, Layout)| self.layout_row(stream, layout);
        if let Err(error) = self.commit(marked.iter().map(row).collect()).await {
            warn!(?error, "expired partitions not marked, tried again");
            return;
        }
        for (stream, layout) in marked {
            info!(stream = %stream.name, "closed partitions have expired");
            stream.layout().replace(layout);
        }
    }

    fn has_expired(&self, stream: &Stream) -> bool {
        if stream.routing != Routing::ByHash {
            return false;
        }
        let horizon = stream.trim_horizon(self.now());
        stream.partitions().iter().any(|partition| is_unmarked(partition, horizon))
    }

    fn with_expired(&self, stream: &Stream) -> Layout {
        let horizon = stream.trim_horizon(self.now());
        let mark = |partition: &Arc<Partition>| match is_unmarked(partition, horizon) {
            true => Arc::new(partition.expired()),
            false => Arc::clone(partition),
        };
        let layout = stream.layout().current();
        let partitions = layout.partitions.iter().map(mark).collect();
        Layout::new(partitions, layout.scalings.clone())
    }
}

/// Whether a partition has expired and is not marked yet.
fn is_unmarked(partition: &Partition, horizon: Timestamp) -> bool {
    let is_marked = partition.closed_at().is_some_and(|closed| closed.is_expired);
    !is_marked && partition.is_expired(horizon)
}
