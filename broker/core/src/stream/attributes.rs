//! What a stream carries beside its settings and its partitions: what its owner has said about it.
//!
//! Settings have Kafka names, and Kafka's tools show and change them. What stands here has none: it
//! belongs to the control plane of Kinesis, and is all that its operations keep of a stream.

use crate::stream::consumers::Consumers;
use crate::stream::distribution::Distribution;
use crate::stream::encryption::Encryption;
use crate::stream::labels::Labels;
use crate::stream::monitoring::ShardMetrics;
use crate::stream::rolling_count::RollingCount;
use crate::stream::state::Passing;

/// What is kept of a stream for its owner; nothing of it at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamAttributes {
    /// Its tags and its policy.
    pub labels: Labels,
    /// Whether and how its records are encrypted.
    pub encryption: Encryption,
    /// Which figures of its shards are wanted.
    pub shard_metrics: ShardMetrics,
    /// How records that the broker routes are spread.
    pub distribution: Distribution,
    /// What it is to take in without scaling first, in MiB/s; none: nobody asked for any.
    pub warm_throughput_mib: Option<u64>,
    /// Who is registered to read it.
    pub consumers: Consumers,
    /// The state that it is passing through, or has passed.
    pub passing: Option<Passing>,
    /// When it was switched between its modes.
    pub(super) mode_switches: RollingCount,
}
