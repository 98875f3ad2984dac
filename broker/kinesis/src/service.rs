//! The dialect as one object: the broker it serves, its limits, and its counters.

use std::sync::Arc;

use tracing::warn;
use weir_core::broker::Broker;
use weir_core::log_limit::LogLimit;
use weir_core::metrics::{Dialect, RequestMetrics};
use weir_model::time::{Clock, SystemClock};

use crate::action::{ACTIONS, Action, Call};
use crate::auth::Authentication;
use crate::call_rates::CallRates;
use crate::event_memory::EventMemory;
use crate::reply_memory::ReplyMemory;
use crate::subscriptions::Subscriptions;

/// What the dialect is told when it starts.
#[derive(Clone, Debug)]
pub struct KinesisOptions {
    /// The region in ARNs, where a request's signature names none.
    pub region: String,
    /// Most on-demand streams of the account.
    pub on_demand_stream_limit: u32,
    /// What requests have to show.
    pub authentication: Authentication,
    /// The real date, whatever the broker's clock shows: signatures are dated by it.
    pub system_clock: Arc<dyn Clock>,
}

impl Default for KinesisOptions {
    fn default() -> KinesisOptions {
        KinesisOptions {
            region: "us-east-1".to_owned(),
            on_demand_stream_limit: 50,
            authentication: Authentication::default(),
            system_clock: Arc::new(SystemClock::new()),
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
    pub(crate) call_rates: CallRates,
    pub(crate) replies: ReplyMemory,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) events: EventMemory,
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
            call_rates: CallRates::default(),
            replies: ReplyMemory::of_service(),
            subscriptions: Subscriptions::default(),
            events: EventMemory::default(),
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
            warn!(peer = %call.caller.peer, why, unsaid, "kinesis quota refused records");
        }
    }
}
