//! What all connections of the Kafka dialect share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_core::broker::Broker;
use weir_core::metrics::{Dialect, RequestMetrics};

use crate::advertised::Advertised;
use crate::bootstrap::Bootstraps;
use crate::dispatch::{SERVED, ServedApi};
use crate::sessions::FetchSessions;

/// Most connections at one time; one more is closed at once.
const CONNECTIONS_MAX: usize = 10_000;

/// A broker that speaks Kafka's protocol, on any number of listeners.
#[derive(Debug)]
pub struct KafkaService {
    broker: Arc<Broker>,
    advertised: Advertised,
    bootstraps: Bootstraps,
    fetch_sessions: FetchSessions,
    connections: Arc<Semaphore>,
    /// One for each line of [`SERVED`], in its order.
    metrics: Vec<Arc<RequestMetrics>>,
}

impl KafkaService {
    /// The dialect of `broker`, whose peers are told the addresses that `advertised` decides.
    pub fn new(broker: Arc<Broker>, advertised: Advertised) -> Arc<KafkaService> {
        let metrics = SERVED
            .iter()
            .map(|api| broker.metrics().request(Dialect::Kafka, api.key.name()))
            .collect();
        let sessions_max = broker.settings().fetch_sessions.sessions_max;
        Arc::new(KafkaService {
            broker,
            advertised,
            bootstraps: Bootstraps::default(),
            fetch_sessions: FetchSessions::new(sessions_max),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            metrics,
        })
    }

    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    pub(crate) fn advertised(&self) -> &Advertised {
        &self.advertised
    }

    pub(crate) fn bootstraps(&self) -> &Bootstraps {
        &self.bootstraps
    }

    pub(crate) fn fetch_sessions(&self) -> &FetchSessions {
        &self.fetch_sessions
    }

    /// A place for one more connection, or none when [`CONNECTIONS_MAX`] are open.
    pub(crate) fn connection_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// The counters of an entry of [`SERVED`].
    pub(crate) fn metrics_of(&self, served: &ServedApi) -> Arc<RequestMetrics> {
        let index = SERVED.iter().position(|api| api.key == served.key);
        let metrics = index.and_then(|index| self.metrics.get(index));
        Arc::clone(metrics.expect("there is one counter for each line of the table"))
    }
}
