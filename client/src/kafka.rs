//! A client of Kafka's protocol: what the client commands need of any Kafka, and of weir's own
//! dialect.
//!
//! ```text
//!   topics    made, shown, changed, removed       groups    shown, moved, removed
//!   offsets   the ends of partitions, by time     append    batches of a `Producer`, to leaders
//!   reader    records of all partitions, as a `Consumer` gives them
//! ```
//!
//! Each connection is asked which versions the broker has, and the newest that both know is spoken.
//! A connection carries one question at a time; who finds none that is idle opens another. What a
//! broker refuses for now (it leads the partition no more, it just starts) is tried again with what
//! the cluster then says of itself.

mod append;
pub(crate) mod connection;
pub(crate) mod errors;
mod groups;
mod murmur2;
mod offsets;
mod reader;
pub(crate) mod topics;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use weir_kafka_protocol::messages::api_versions::ApiVersionsRequest;
use weir_kafka_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponseTopic,
};
use weir_kafka_protocol::{ErrorCode, Request, Uuid};
use weir_model::time::{Clock, SystemClock};

use crate::consumer::{Consumer, ConsumerOptions};
use crate::error::Error;
use crate::retry::Retry;
use connection::{Connection, WireError};

pub(crate) use append::Appender;
pub(crate) use murmur2::partition_of_key;

/// How brokers see this client.
const CLIENT_ID: &str = "weir";
/// Longest wait for a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Connections to one broker that are kept for the next question.
const IDLE_MAX: usize = 4;
/// What every broker answers, in a form that never changes.
const API_VERSIONS_VERSION: i16 = 0;
/// The last version without directories of topic ids.
const METADATA_VERSION_MAX: i16 = 12;

/// The way to a cluster. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Kafka {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Where to ask first: `HOST:PORT` each.
    bootstrap: Vec<String>,
    retry: Retry,
    clock: Arc<dyn Clock>,
    /// By address. Held only to take one out or put one back.
    idle: Mutex<HashMap<String, Vec<Negotiated>>>,
}

/// A connection to a broker that said which versions it has.
#[derive(Debug)]
struct Negotiated {
    connection: Connection,
    versions: HashMap<i16, (i16, i16)>,
}

/// What a cluster says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    brokers: HashMap<i32, String>,
    controller: Option<String>,
    topics: Vec<MetadataResponseTopic>,
}

/// A topic and who leads its partitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topic {
    /// None from brokers that give topics no ids.
    pub(crate) id: Option<Uuid>,
    /// Addresses of leaders, by partition.
    pub(crate) leaders: BTreeMap<u32, String>,
}

impl Negotiated {
    async fn open(address: &str) -> Result<Negotiated, WireError> {
        let opened = Connection::open(address, CLIENT_ID);
        let mut connection = match tokio::time::timeout(CONNECT_WAIT_MAX, opened).await {
            Ok(connection) => connection?,
            Err(_) => return Err(WireError::NoAnswer(format!("{address} takes no connection"))),
        };
        let request = ApiVersionsRequest::default();
        let answer = connection.call(API_VERSIONS_VERSION, &request).await?;
        if answer.error_code != 0 {
            return Err(WireError::Protocol(format!(
                "ApiVersions: {}",
                errors::name(answer.error_code)
            )));
        }
        let versions = answer.api_keys.into_iter();
        let versions = versions.map(|api| (api.api_key, (api.min_version, api.max_version)));
        Ok(Negotiated { connection, versions: versions.collect() })
    }

    /// The newest version of a request that both know, up to `version_max`.
    fn version<R: Request>(&self, version_max: i16) -> Result<i16, WireError> {
        let (ours_min, ours_max) = R::VERSIONS;
        let theirs = self.versions.get(&R::API_KEY.as_i16()).copied();
        let common =
            theirs.map(|(min, max)| (min.max(ours_min), max.min(ours_max.min(version_max))));
        match common {
            Some((min, max)) if min <= max => Ok(max),
            _ => {
                let name = R::API_KEY.name();
                Err(WireError::Protocol(format!("the broker has no {name} that this client knows")))
            }
        }
    }

    async fn call<R: Request>(
        &mut self,
        version_max: i16,
        request: &R,
    ) -> Result<R::Response, WireError> {
        let version = self.version::<R>(version_max)?;
        self.connection.call(version, request).await
    }
}

impl Kafka {
    /// The way to the cluster of these brokers: `HOST:PORT`, or several with commas. Nothing is
    /// sent yet.
    pub(crate) fn new(brokers: &str, retry: Retry) -> Result<Kafka, Error> {
        let bootstrap: Vec<_> = brokers.split(',').map(|broker| broker.trim().to_owned()).collect();
        let is_address = |broker: &String| {
            let parts = broker.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(other) = bootstrap.iter().find(|broker| !is_address(broker)) {
            return Err(Error::Endpoint(format!("{other} is not HOST:PORT")));
        }
        let clock = Arc::new(SystemClock::new());
        let idle = Mutex::default();
        Ok(Kafka { shared: Arc::new(Shared { bootstrap, retry, clock, idle }) })
    }

    /// With other patience for what may pass by itself; without the connections.
    pub(crate) fn with_retry(&self, retry: Retry) -> Kafka {
        let bootstrap = self.shared.bootstrap.clone();
        let clock = Arc::clone(&self.shared.clock);
        Kafka { shared: Arc::new(Shared { bootstrap, retry, clock, idle: Mutex::default() }) }
    }

    pub(crate) fn retry(&self) -> &Retry {
        &self.shared.retry
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// A reader of a topic.
    pub(crate) fn consumer(&self, options: ConsumerOptions) -> Consumer {
        let kafka = self.clone();
        Consumer::of_task(|out| reader::run(kafka, options, out))
    }

    /// Asks one broker.
    async fn call_at<R: Request>(
        &self,
        address: &str,
        version_max: i16,
        request: &R,
    ) -> Result<R::Response, Error> {
        let idle = self.shared.idle.lock().get_mut(address).and_then(Vec::pop);
        let mut connection = match idle {
            Some(connection) => connection,
            None => Negotiated::open(address).await?,
        };
        // One that failed, or whose call was dropped half way, is not put back.
        let answer = connection.call(version_max, request).await?;
        let mut idle = self.shared.idle.lock();
        let idle = idle.entry(address.to_owned()).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(answer)
    }

    /// Asks the first broker of those that we were told of that answers.
    async fn call_any<R: Request>(
        &self,
        version_max: i16,
        request: &R,
    ) -> Result<R::Response, Error> {
        let mut last = Error::Unreachable("no broker is known".to_owned());
        for address in &self.shared.bootstrap {
            match self.call_at(address, version_max, request).await {
                Err(error @ Error::Unreachable(_)) => last = error,
                done => return done,
            }
        }
        Err(last)
    }

    /// Asks the broker that changes the cluster's metadata.
    async fn call_controller<R: Request>(
        &self,
        version_max: i16,
        request: &R,
    ) -> Result<R::Response, Error> {
        match self.cluster(Some(&[])).await?.controller {
            Some(address) => self.call_at(&address, version_max, request).await,
            None => self.call_any(version_max, request).await,
        }
    }

    /// What the cluster says of these topics, or of all.
    async fn cluster(&self, topics: Option<&[&str]>) -> Result<Cluster, Error> {
        let topic = |name: &&str| MetadataRequestTopic {
            name: Some((*name).to_owned()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let answer = self.call_any(METADATA_VERSION_MAX, &request).await?;
        let brokers: HashMap<_, _> = answer
            .brokers
            .into_iter()
            .map(|broker| (broker.node_id, address(&broker.host, broker.port)))
            .collect();
        let controller = brokers.get(&answer.controller_id).cloned();
        Ok(Cluster { brokers, controller, topics: answer.topics })
    }

    /// One topic, with a leader for each partition. Refuses what is no topic; what is one without
    /// leaders is busy.
    pub(crate) async fn topic(&self, name: &str) -> Result<Topic, Error> {
        let cluster = self.cluster(Some(&[name])).await?;
        let found = cluster.topics.first();
        let found =
            found.ok_or_else(|| Error::Protocol("metadata without the topic".to_owned()))?;
        cluster.topic(name, found)
    }
}

impl Cluster {
    fn topic(&self, name: &str, found: &MetadataResponseTopic) -> Result<Topic, Error> {
        match ErrorCode(found.error_code) {
            ErrorCode::NONE => {}
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => return Err(errors::unknown_stream(name)),
            ErrorCode(code) => return Err(errors::refused(code, None)),
        }
        let mut leaders = BTreeMap::new();
        for partition in &found.partitions {
            let index = index(partition.partition_index)?;
            let Some(leader) = self.brokers.get(&partition.leader_id) else {
                return Err(errors::refused(
                    ErrorCode::LEADER_NOT_AVAILABLE.0,
                    Some(format!("partition {index} of {name} has no leader")),
                ));
            };
            leaders.insert(index, leader.clone());
        }
        let id = Some(found.topic_id).filter(|id| *id != Uuid::ZERO);
        Ok(Topic { id, leaders })
    }
}

impl Topic {
    /// The partitions that each of their leaders has, of those that are wanted.
    fn by_leader(&self, wanted: impl Fn(u32) -> bool) -> BTreeMap<&str, Vec<u32>> {
        let mut by_leader: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (partition, leader) in self.leaders.iter().filter(|(index, _)| wanted(**index)) {
            by_leader.entry(leader).or_default().push(*partition);
        }
        by_leader
    }
}

fn address(host: &str, port: i32) -> String {
    // An address of IPv6 stands in brackets, as everywhere beside a port.
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A partition's index as it travels.
fn wire_index(index: u32) -> Result<i32, Error> {
    i32::try_from(index).map_err(|_| errors::unknown_partition(index))
}

/// A partition's index as it came.
fn index(index: i32) -> Result<u32, Error> {
    u32::try_from(index).map_err(|_| Error::Protocol(format!("partition {index}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_with_ports() {
        for (text, is_legal) in [
            ("localhost:9092", true),
            ("a:1, b:2", true),
            ("[::1]:9092", true),
            ("localhost", false),
            (":9092", false),
            ("a:1,", false),
            ("a:99999", false),
        ] {
            assert_eq!(Kafka::new(text, Retry::default()).is_ok(), is_legal, "{text}");
        }
    }
}
