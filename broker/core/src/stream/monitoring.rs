//! Enhanced monitoring: which figures of its shards a stream's owner wants. The wish is kept and
//! shown; what weir counts it counts in any case, for `/metrics`.

use std::collections::BTreeSet;
use std::convert::Infallible;

use weir_model::ids::StreamId;

use crate::broker::Broker;
use crate::error::AmendError;

/// A figure of a shard, as AWS names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShardMetric {
    /// Bytes written.
    IncomingBytes,
    /// Records written.
    IncomingRecords,
    /// Bytes read.
    OutgoingBytes,
    /// Records read.
    OutgoingRecords,
    /// Writes refused by the quota.
    WriteProvisionedThroughputExceeded,
    /// Reads refused by the quota.
    ReadProvisionedThroughputExceeded,
    /// How far readers are behind.
    IteratorAgeMilliseconds,
}

impl ShardMetric {
    /// All of them.
    pub const ALL: [ShardMetric; 7] = [
        ShardMetric::IncomingBytes,
        ShardMetric::IncomingRecords,
        ShardMetric::OutgoingBytes,
        ShardMetric::OutgoingRecords,
        ShardMetric::WriteProvisionedThroughputExceeded,
        ShardMetric::ReadProvisionedThroughputExceeded,
        ShardMetric::IteratorAgeMilliseconds,
    ];

    /// Its name, in requests and in rows.
    pub const fn name(self) -> &'static str {
        match self {
            ShardMetric::IncomingBytes => "IncomingBytes",
            ShardMetric::IncomingRecords => "IncomingRecords",
            ShardMetric::OutgoingBytes => "OutgoingBytes",
            ShardMetric::OutgoingRecords => "OutgoingRecords",
            ShardMetric::WriteProvisionedThroughputExceeded => "WriteProvisionedThroughputExceeded",
            ShardMetric::ReadProvisionedThroughputExceeded => "ReadProvisionedThroughputExceeded",
            ShardMetric::IteratorAgeMilliseconds => "IteratorAgeMilliseconds",
        }
    }

    /// The figure of this name.
    pub fn of_name(name: &str) -> Option<ShardMetric> {
        ShardMetric::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

/// Figures of shards.
pub type ShardMetrics = BTreeSet<ShardMetric>;

/// A wish for other figures.
#[derive(Clone, Debug)]
pub enum MetricsChange {
    /// These too.
    Enable(ShardMetrics),
    /// These no more.
    Disable(ShardMetrics),
}

/// What was wanted before a change, and what is after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsChanged {
    /// Before.
    pub before: ShardMetrics,
    /// After.
    pub after: ShardMetrics,
}

impl Broker {
    /// Changes which figures of a stream's shards are wanted.
    pub async fn change_shard_metrics(
        &self,
        stream: StreamId,
        change: MetricsChange,
    ) -> Result<MetricsChanged, AmendError<Infallible>> {
        let amended = self.registry().amend(stream, move |draft| {
            let wanted = &mut draft.attributes.shard_metrics;
            let before = wanted.clone();
            match change {
                MetricsChange::Enable(more) => wanted.extend(more),
                MetricsChange::Disable(fewer) => wanted.retain(|metric| !fewer.contains(metric)),
            }
            Ok(MetricsChanged { before, after: wanted.clone() })
        });
        amended.await
    }
}
