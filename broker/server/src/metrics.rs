//! `/metrics`: the core's counters and the process's own numbers in the OpenMetrics format.
//!
//! Nothing is kept here. Each scrape reads the atomics that were counted where things happened, so
//! a scrape costs what it prints and nothing in between. weir's own names begin with `weir_`;
//! beside them stand a few that exporters for Kafka have made common, so that existing dashboards
//! show something: `kafka_topic_partition_current_offset` and its like (kafka_exporter) and
//! `kafka_server_brokertopicmetrics_…` (JMX exporter).

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use weir_client::process::{self, Pid};
use weir_core::broker::Broker;
use weir_core::metrics::{Dialect, RequestMetrics};
use weir_core::stream::stream::Stream;

/// The media type of what [`render`] returns.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text.
pub(crate) fn render(broker: &Arc<Broker>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(BrokerNumbers(Arc::clone(broker))));
    registry.register_collector(Box::new(ProcessNumbers));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

type Requests = Vec<((Dialect, &'static str), Arc<RequestMetrics>)>;

#[derive(Debug)]
struct BrokerNumbers(Arc<Broker>);

impl Collector for BrokerNumbers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let broker = &self.0;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let help = "Version of weir";
        let mut info = encoder.encode_descriptor("weir_build", help, None, MetricType::Info)?;
        info.encode_info(&version)?;
        let requests = broker.metrics().requests();
        encode_requests(&mut encoder, &requests)?;
        encode_connections(&mut encoder, &broker.metrics().connections())?;
        let throttles = broker.metrics().throttles();
        counter(
            &mut encoder,
            "weir_throttles",
            "Writes and reads that a quota refused or delayed",
            throttles,
        )?;
        counter(
            &mut encoder,
            "weir_faults",
            "Requests that faults on request have struck",
            broker.faults().struck(),
        )?;
        encode_log(&mut encoder, broker)?;
        encode_foreign(&mut encoder, broker, &requests)
    }
}

/// What each API of each dialect has done.
fn encode_requests(encoder: &mut DescriptorEncoder<'_>, requests: &Requests) -> fmt::Result {
    type Field = fn(&RequestMetrics) -> u64;
    let families: [(&str, &str, Field); 7] = [
        ("weir_requests", "Requests begun", |api| api.requests.get()),
        ("weir_request_errors", "Requests answered with an error, wholly or in part", |api| {
            api.errors.get()
        }),
        ("weir_received_bytes", "Bytes of requests", |api| api.bytes_in.get()),
        ("weir_sent_bytes", "Bytes of answers", |api| api.bytes_out.get()),
        ("weir_written_records", "Records written", |api| api.records_in.get()),
        ("weir_read_records", "Records read, where the dialect counts them", |api| {
            api.records_out.get()
        }),
        ("weir_client_pauses", "Pauses of clients over their quota", |api| api.pauses.get()),
    ];
    for (name, help, field) in families {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((dialect, api), metrics) in requests {
            let labels = [("dialect", dialect.name()), ("api", *api)];
            counter_of(family.encode_family(&labels)?, field(metrics))?;
        }
    }
    let help = "Time of the pauses of clients over their quota";
    let mut family =
        encoder.encode_descriptor("weir_client_pause_seconds", help, None, MetricType::Counter)?;
    for ((dialect, api), metrics) in requests {
        let labels = [("dialect", dialect.name()), ("api", *api)];
        let seconds = metrics.pause_micros.get() as f64 / 1e6;
        let mut metric = family.encode_family(&labels)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
    }
    Ok(())
}

fn encode_connections(
    encoder: &mut DescriptorEncoder<'_>,
    connections: &[(Dialect, u64)],
) -> fmt::Result {
    let help = "Connections open now";
    let mut family =
        encoder.encode_descriptor("weir_connections", help, None, MetricType::Gauge)?;
    for (dialect, open) in connections {
        gauge_of(family.encode_family(&[("dialect", dialect.name())])?, *open as f64)?;
    }
    Ok(())
}

/// What the log is doing.
fn encode_log(encoder: &mut DescriptorEncoder<'_>, broker: &Broker) -> fmt::Result {
    let stats = broker.log().stats();
    let seconds = |micros: u64| micros as f64 / 1e6;
    counter(encoder, "weir_flushes", "Flushes made", stats.flushes)?;
    let help = "Time spent in flushes";
    let mut family =
        encoder.encode_descriptor("weir_flush_seconds", help, None, MetricType::Counter)?;
    family.encode_counter::<NoLabelSet, _, u64>(&seconds(stats.flush_micros), None)?;
    let gauges = [
        ("weir_flush_seconds_max", "Longest flush", seconds(stats.flush_micros_max)),
        ("weir_unflushed_bytes", "Bytes appended and not flushed", stats.unflushed_bytes as f64),
        ("weir_waiters", "Waits open on watermarks", stats.waiters as f64),
        ("weir_log_epoch", "Unclean starts so far", f64::from(broker.log().epoch().number())),
    ];
    for (name, help, value) in gauges {
        gauge(encoder, name, help, value)?;
    }
    Ok(())
}

/// The names that Kafka's exporters have made common.
fn encode_foreign(
    encoder: &mut DescriptorEncoder<'_>,
    broker: &Broker,
    requests: &Requests,
) -> fmt::Result {
    gauge(encoder, "kafka_brokers", "Brokers of the cluster", 1.0)?;
    let sum = |field: fn(&RequestMetrics) -> u64| {
        requests.iter().map(|(_, metrics)| field(metrics)).sum::<u64>()
    };
    let help = "As the JMX exporter names it, over all dialects";
    for (name, value) in [
        ("kafka_server_brokertopicmetrics_messagesin", sum(|api| api.records_in.get())),
        ("kafka_server_brokertopicmetrics_bytesin", sum(|api| api.bytes_in.get())),
        ("kafka_server_brokertopicmetrics_bytesout", sum(|api| api.bytes_out.get())),
    ] {
        counter(encoder, name, help, value)?;
    }
    let streams: Vec<Arc<Stream>> =
        broker.streams().into_iter().filter(|stream| !stream.name.is_internal()).collect();
    let help = "Partitions of the topic";
    let mut family =
        encoder.encode_descriptor("kafka_topic_partitions", help, None, MetricType::Gauge)?;
    for stream in &streams {
        let labels = [("topic", stream.name.as_str())];
        gauge_of(family.encode_family(&labels)?, stream.partitions().len() as f64)?;
    }
    type Position = fn(&weir_core::Watermarks) -> u64;
    let positions: [(&str, &str, Position); 2] = [
        ("kafka_topic_partition_current_offset", "Next offset that readers will see", |marks| {
            marks.high_watermark.number()
        }),
        ("kafka_topic_partition_oldest_offset", "Oldest offset kept", |marks| {
            marks.log_start.number()
        }),
    ];
    for (name, help, position) in positions {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for stream in &streams {
            for partition in stream.partitions().iter() {
                let index = partition.id.index.to_string();
                let labels = [("topic", stream.name.as_str()), ("partition", index.as_str())];
                let value = position(&partition.watermarks()) as f64;
                gauge_of(family.encode_family(&labels)?, value)?;
            }
        }
    }
    Ok(())
}

/// This process, under the names that every Prometheus client library uses; nothing where the
/// system does not tell.
#[derive(Debug)]
struct ProcessNumbers;

impl Collector for ProcessNumbers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        if let Some(usage) = process::usage(Pid::own()) {
            let help = "User and system CPU time";
            let mut family = encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                MetricType::Counter,
            )?;
            let seconds = usage.cpu().as_secs_f64();
            family.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
            let gauges = [
                (
                    "process_resident_memory_bytes",
                    "Memory, resident pages of mapped segments included",
                    usage.resident_bytes,
                ),
                (
                    "weir_anonymous_memory_bytes",
                    "Memory that the process allocated (RssAnon)",
                    usage.anonymous_bytes,
                ),
                ("process_threads", "Threads", usage.threads),
            ];
            for (name, help, value) in gauges {
                gauge(&mut encoder, name, help, value as f64)?;
            }
        }
        if let Some(count) = process::open_files(Pid::own()) {
            gauge(&mut encoder, "process_open_fds", "Open files and sockets", count as f64)?;
        }
        Ok(())
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    counter_of(encoder.encode_descriptor(name, help, None, MetricType::Counter)?, value)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    gauge_of(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?, value)
}

fn counter_of(mut metric: MetricEncoder<'_>, value: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn gauge_of(mut metric: MetricEncoder<'_>, value: f64) -> fmt::Result {
    metric.encode_gauge(&value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::group::identity::{Claim, GroupId};
    use weir_core::in_memory;
    use weir_core::stream::stream::{Intent, NewStream, Routing};
    use weir_model::ids::StreamName;
    use weir_model::random::SeededRandom;
    use weir_model::time::{ManualClock, Timestamp};

    #[tokio::test]
    async fn counters_are_shown_with_their_labels() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1)));
        let random = Arc::new(SeededRandom::new(1));
        let broker = in_memory::open(clock, random, in_memory::default_options())
            .await
            .expect("memory opens");
        let new = |name: &str, partitions| NewStream {
            name: StreamName::new(name).expect("legal"),
            routing: Routing::ByPartition,
            partitions,
            overrides: Default::default(),
            attributes: Default::default(),
            intent: Intent::Make,
        };
        for made in broker.create_streams(vec![new("orders", 2)]).await {
            made.expect("a free name");
        }
        let group = GroupId::new("g").expect("a group id");
        let nobody = Claim::nobody();
        broker
            .groups()
            .fetch_offsets(&group, &nobody, &[])
            .await
            .expect("this makes the groups' log");
        let produce = broker.metrics().request(Dialect::Kafka, "Produce");
        produce.requests.add(3);
        produce.bytes_in.add(1_000);
        produce.pauses.add(2);
        produce.pause_micros.add(1_500_000);
        broker.metrics().count_throttle();
        let _connection = broker.metrics().connection(Dialect::Kinesis);
        let text = render(&broker).expect("a string takes whatever is written");
        for line in [
            "weir_requests_total{dialect=\"kafka\",api=\"Produce\"} 3\n",
            "weir_received_bytes_total{dialect=\"kafka\",api=\"Produce\"} 1000\n",
            "weir_request_errors_total{dialect=\"kafka\",api=\"Produce\"} 0\n",
            "weir_client_pauses_total{dialect=\"kafka\",api=\"Produce\"} 2\n",
            "weir_client_pause_seconds_total{dialect=\"kafka\",api=\"Produce\"} 1.5\n",
            "weir_connections{dialect=\"kinesis\"} 1",
            "weir_throttles_total 1\n",
            "weir_unflushed_bytes 0",
            "kafka_topic_partitions{topic=\"orders\"} 2",
            "kafka_topic_partition_oldest_offset{topic=\"orders\",partition=\"1\"} 0",
            "kafka_server_brokertopicmetrics_bytesin_total 1000\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(!text.contains("__consumer_offsets"), "internal streams are not shown");
        assert!(text.ends_with("# EOF\n"));
    }
}
