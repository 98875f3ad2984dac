//! The dialect as one object: the broker it serves, its limits, and its counters.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::warn;
use weir_core::broker::Broker;
use weir_core::log_limit::LogLimit;
use weir_core::metrics::{Dialect, RequestMetrics};

use crate::action::{ACTIONS, Action, Call};

/// Bytes of replies to GetRecords that may be in memory at once; further ones are small.
const REPLY_BYTES_MAX: usize = 192 * 1024 * 1024;
/// Bytes of small replies that may be in memory at once; further GetRecords wait.
const SMALL_REPLY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What the dialect is told when it starts.
#[derive(Clone, Debug)]
pub struct KinesisOptions {
    /// The region in ARNs, where a request's signature names none.
    pub region: String,
    /// Most open shards of the account that CreateStream may lead to; AWS's figure for its largest
    /// regions.
    pub shard_limit: u32,
    /// Most on-demand streams of the account.
    pub on_demand_stream_limit: u32,
}

impl Default for KinesisOptions {
    fn default() -> KinesisOptions {
        KinesisOptions {
            region: "us-east-1".to_owned(),
            shard_limit: 20_000,
            on_demand_stream_limit: 50,
        }
    }
}

/// The Kinesis Data Streams API over one broker.
#[derive(Debug)]
pub struct KinesisService {
    broker: Arc<Broker>,
    options: KinesisOptions,
    /// In the order of [`ACTIONS`].
    metrics: Vec<Arc<RequestMetrics>>,
    pub(crate) reply_bytes: Arc<Semaphore>,
    pub(crate) small_reply_bytes: Arc<Semaphore>,
    throttle_log: LogLimit,
}

impl KinesisService {
    /// Serves this broker.
    pub fn new(broker: Arc<Broker>, options: KinesisOptions) -> KinesisService {
        let metrics = ACTIONS
            .iter()
            .map(|action| broker.metrics().request(Dialect::Kinesis, action.name))
            .collect();
        KinesisService {
            broker,
            options,
            metrics,
            reply_bytes: Arc::new(Semaphore::new(REPLY_BYTES_MAX)),
            small_reply_bytes: Arc::new(Semaphore::new(SMALL_REPLY_BYTES_MAX)),
            throttle_log: LogLimit::default(),
        }
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(crate) fn options(&self) -> &KinesisOptions {
        &self.options
    }

    /// The operation of this name, with its counters.
    pub(crate) fn action(&self, name: &str) -> Option<(&'static Action, &RequestMetrics)> {
        let mut actions = ACTIONS.iter().zip(&self.metrics);
        let (action, metrics) = actions.find(|(action, _)| action.name == name)?;
        Some((action, metrics))
    }

    /// Says in the log that a shard's quota refused something, at most once a second: a client that
    /// is over its quota is so a thousand times a second.
    pub(crate) fn log_throttle(&self, call: &Call<'_>, why: &str) {
        if let Some(unsaid) = self.throttle_log.admit(call.now()) {
            warn!(peer = %call.peer, why, unsaid, "kinesis quota refused records");
        }
    }
}
