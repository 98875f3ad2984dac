//! `/metrics`: the core's counters and the process's own numbers as text.
//!
//! Nothing is kept here. Each scrape reads the atomics that were counted where things happened, so
//! a scrape costs what it prints and nothing in between. weir's own names begin with `weir_`
//! ([`own`]); beside them stand those that dashboards for other servers query, so that they show
//! something ([`kafka_exporter`], [`jmx`], [`redpanda`], [`cloudwatch`]). A number that weir does
//! not know is left out.

mod cloudwatch;
mod exposition;
mod jmx;
mod kafka_exporter;
mod own;
mod process;
mod redpanda;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use weir_core::broker::Broker;
use weir_core::group::progress::GroupProgress;
use weir_core::metrics::{Dialect, RequestMetrics};
use weir_core::partition::partition::Partition;
use weir_core::stream::stream::Stream;
use weir_model::ids::{PartitionIndex, StreamName};
use weir_model::offset::Offset;

use self::exposition::Exposition;
pub(crate) use self::exposition::Format;

/// A scrape does not wait longer for the consumer groups, and leaves them out then: their log may
/// be stuck on a disk, which is when metrics are wanted.
const GROUPS_WAIT_MAX: Duration = Duration::from_secs(2);

/// All metrics as text. Thousands of partitions take milliseconds, so not on a worker.
pub(crate) async fn render(broker: &Arc<Broker>, format: Format) -> String {
    let scrape = Scrape::of(broker).await;
    let rendered = tokio::task::spawn_blocking(move || {
        let mut out = Exposition::new(format);
        own::write(&mut out, &scrape);
        kafka_exporter::write(&mut out, &scrape);
        jmx::write(&mut out, &scrape);
        redpanda::write(&mut out, &scrape);
        cloudwatch::write(&mut out, &scrape);
        process::write(&mut out);
        out.finish()
    });
    rendered.await.expect("rendering does not panic and is not cancelled")
}

/// What all families are written from.
struct Scrape {
    broker: Arc<Broker>,
    requests: Vec<((Dialect, &'static str), Arc<RequestMetrics>)>,
    /// All streams but the broker's own.
    streams: Vec<Arc<Stream>>,
    groups: Vec<Group>,
}

/// A consumer group, as far as all names need it.
struct Group {
    id: String,
    members: usize,
    /// By stream name and partition.
    offsets: Vec<GroupOffset>,
}

struct GroupOffset {
    topic: String,
    partition: String,
    /// The next record to read.
    committed: u64,
    /// Records between it and what readers may see.
    lag: u64,
}

impl Scrape {
    async fn of(broker: &Arc<Broker>) -> Scrape {
        let groups = tokio::time::timeout(GROUPS_WAIT_MAX, broker.groups().progress_of_all()).await;
        let groups = match groups {
            Ok(Ok(groups)) => groups,
            Ok(Err(error)) => {
                warn!(?error, "metrics without consumer groups");
                Vec::new()
            }
            Err(_) => {
                warn!("metrics without consumer groups: their log does not settle");
                Vec::new()
            }
        };
        let mut groups: Vec<Group> =
            groups.into_iter().map(|group| Group::of(broker, group)).collect();
        groups.sort_by(|one, other| one.id.cmp(&other.id));
        Scrape {
            requests: broker.metrics().requests(),
            streams: broker.streams().into_iter().filter(|s| !s.name.is_internal()).collect(),
            broker: Arc::clone(broker),
            groups,
        }
    }

    /// The counters of one API; none where its dialect is not served.
    fn api(&self, dialect: Dialect, api: &str) -> Option<&RequestMetrics> {
        let mut requests = self.requests.iter();
        let found = requests.find(|((of, name), _)| (*of, *name) == (dialect, api));
        found.map(|(_, metrics)| &**metrics)
    }

    /// Calls `each` for every partition of every stream, with the stream's name and its number.
    fn each_partition(&self, mut each: impl FnMut(&str, &str, &Partition)) {
        for stream in &self.streams {
            for partition in stream.partitions().iter() {
                each(stream.name.as_str(), &partition.id.index.to_string(), partition);
            }
        }
    }
}

impl Group {
    fn of(broker: &Broker, GroupProgress { id, members, offsets }: GroupProgress) -> Group {
        let offset = |(name, index, committed): (StreamName, PartitionIndex, Offset)| {
            let partition = broker.stream(name.as_str())?.partition(index)?;
            let end = partition.watermarks().high_watermark;
            Some(GroupOffset {
                topic: name.to_string(),
                partition: index.to_string(),
                committed: committed.number(),
                // A commit may be ahead of what is published, after a loss or by mistake.
                lag: end.number().saturating_sub(committed.number()),
            })
        };
        let offsets = offsets.into_iter().filter_map(offset).collect();
        Group { id: id.as_str().to_owned(), members, offsets }
    }

    /// Its offsets stream by stream; they come ordered by it.
    fn by_topic(&self) -> impl Iterator<Item = (&str, &[GroupOffset])> {
        let chunks = self.offsets.chunk_by(|one, other| one.topic == other.topic);
        chunks.filter_map(|offsets| Some((offsets.first()?.topic.as_str(), offsets)))
    }
}

/// Whether a partition's storage has failed, so that it takes nothing more until a restart.
fn is_offline(partition: &Partition) -> bool {
    partition.progress().is_stopped()
}
