//! What Kafka's brokers say of themselves over JMX, by the names that the Prometheus JMX exporter's
//! usual rules give it; Grafana dashboard 721 and its like query them.
//!
//! A number without `topic` is the sum over all topics, deleted ones included, and stands beside
//! those of the topics, as in Kafka. All dialects are counted where records are, the Kafka protocol
//! alone where requests are.
//!
//! Quantiles are those of the last one to two minutes, exact to the bucket of weir's histograms;
//! sums and counts are since the start. Of Kafka's parts of a request's time, the request queue is
//! weir's `turn` and sending is `send`; what Kafka calls local and remote time weir cannot tell
//! apart, and leaves out.

use std::time::Duration;

use weir_core::metrics::latency::{Latency, Stage};
use weir_core::metrics::stream::StreamMetrics;
use weir_core::metrics::{Dialect, RequestMetrics};
use weir_model::histogram::Durations;

use crate::metrics::exposition::{Exposition, Kind};
use crate::metrics::{Scrape, is_offline};

/// The quantiles that the exporter's rules spell, and what they mean.
const QUANTILES: [(&str, f64); 6] = [
    ("0.50", 0.5),
    ("0.75", 0.75),
    ("0.95", 0.95),
    ("0.98", 0.98),
    ("0.99", 0.99),
    ("0.999", 0.999),
];

pub(super) fn write(out: &mut Exposition, scrape: &Scrape) {
    write_topics(out, scrape);
    write_requests(out, scrape);
    write_times(out, scrape);
    write_replicas(out, scrape);
}

fn write_topics(out: &mut Exposition, scrape: &Scrape) {
    type Field = fn(&StreamMetrics) -> u64;
    let families: [(&str, &str, Field); 3] = [
        ("messagesin", "Records written", |stream| stream.records_in.get()),
        ("bytesin", "Bytes of records written", |stream| stream.bytes_in.get()),
        ("bytesout", "Bytes of records read", |stream| stream.bytes_out.get()),
    ];
    for (name, help, field) in families {
        let name = format!("kafka_server_brokertopicmetrics_{name}");
        let mut family = out.family(Kind::Counter, &name, help);
        family.sample(&[], field(scrape.broker.metrics().all_streams()));
        for stream in &scrape.streams {
            family.sample(&[("topic", stream.name.as_str())], field(stream.metrics()));
        }
    }
}

fn write_requests(out: &mut Exposition, scrape: &Scrape) {
    type Field = fn(&RequestMetrics) -> u64;
    let families: [(&str, &str, Field); 2] = [
        ("total", "Requests", |api| api.requests.get()),
        ("failed", "Requests or parts of them that failed", |api| api.errors.get()),
    ];
    for (name, help, field) in families {
        for (kind, api) in [("produce", "Produce"), ("fetch", "Fetch")] {
            let name = format!("kafka_server_brokertopicmetrics_{name}{kind}requests");
            let count = scrape.api(Dialect::Kafka, api).map_or(0, field);
            out.single(Kind::Counter, &name, help, count);
        }
    }
    let mut family = out.family(Kind::Counter, "kafka_network_requestmetrics_requests", "Requests");
    each_request(scrape, |request, metrics| {
        family.sample(&[("request", request)], metrics.requests.get());
    });
}

fn write_times(out: &mut Exposition, scrape: &Scrape) {
    type Part = fn(&Latency) -> (Durations, Durations);
    let families: [(&str, &str, Part); 3] = [
        ("totaltimems", "Time from a whole request to its answer sent", |latency| {
            (latency.total(), latency.recent().total)
        }),
        ("requestqueuetimems", "Time until the answers to earlier requests went out", |latency| {
            (latency.stage(Stage::Turn), latency.recent().turn)
        }),
        ("responsesendtimems", "Time of sending the answer", |latency| {
            (latency.stage(Stage::Send), latency.recent().send)
        }),
    ];
    for (name, help, part) in families {
        let name = format!("kafka_network_requestmetrics_{name}");
        let mut family = out.family(Kind::Summary, &name, help);
        each_request(scrape, |request, metrics| {
            let (since_start, recent) = part(&metrics.latency);
            if since_start.count() == 0 {
                return;
            }
            for (spelled, quantile) in QUANTILES {
                if let Some(time) = recent.quantile(quantile) {
                    family.quantile(&[("request", request)], spelled, millis(time));
                }
            }
            let labels = [("request", request)];
            family.sum_and_count(&labels, millis(since_start.sum()), since_start.count());
        });
    }
}

/// Calls `each` for the APIs of the Kafka protocol by Kafka's names. Every reader is a consumer, so
/// fetches stand under both of their names.
fn each_request(scrape: &Scrape, mut each: impl FnMut(&str, &RequestMetrics)) {
    for ((dialect, api), metrics) in &scrape.requests {
        if *dialect == Dialect::Kafka {
            each(api, metrics);
            if *api == "Fetch" {
                each("FetchConsumer", metrics);
            }
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// One broker has one replica of each partition, which is its leader, and controls itself. A
/// partition whose storage has failed is offline.
fn write_replicas(out: &mut Exposition, scrape: &Scrape) {
    let (mut partitions, mut offline) = (0_u64, 0_u64);
    scrape.each_partition(|_, _, partition| {
        partitions += 1;
        offline += u64::from(is_offline(partition));
    });
    let gauges = [
        ("kafka_server_replicamanager_partitioncount", "Partitions", partitions),
        ("kafka_server_replicamanager_leadercount", "Partitions led", partitions - offline),
        ("kafka_server_replicamanager_underreplicatedpartitions", "Replicas behind", 0),
        ("kafka_server_replicamanager_underminisrpartitioncount", "Too few in sync", 0),
        ("kafka_server_replicamanager_offlinereplicacount", "Replicas offline", offline),
        ("kafka_controller_kafkacontroller_activecontrollercount", "Active controllers", 1),
        ("kafka_controller_kafkacontroller_offlinepartitionscount", "Without a leader", offline),
        ("kafka_controller_kafkacontroller_activebrokercount", "Active brokers", 1),
        ("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions", partitions),
    ];
    for (name, help, value) in gauges {
        out.single(Kind::Gauge, name, help, value);
    }
    let topics = scrape.streams.len();
    out.single(Kind::Gauge, "kafka_controller_kafkacontroller_globaltopiccount", "Topics", topics);
    let mut family = out.family(Kind::Gauge, "kafka_log_log_size", "Bytes of batches held");
    scrape.each_partition(|topic, index, partition| {
        // One that is being deleted has no size any more.
        if let Ok(size) = scrape.broker.log().size(partition.id) {
            family.sample(&[("topic", topic), ("partition", index)], size.bytes);
        }
    });
    // With one replica the least number that must be in sync is one (KIP-966), and met exactly.
    let help = "Whether no replica may fall behind any more";
    let mut family = out.family(Kind::Gauge, "kafka_cluster_partition_atminisr", help);
    scrape.each_partition(|topic, index, partition| {
        let is_met = u64::from(!is_offline(partition));
        family.sample(&[("topic", topic), ("partition", index)], is_met);
    });
    let help = "Whether too few replicas are in sync";
    let mut family = out.family(Kind::Gauge, "kafka_cluster_partition_underminisr", help);
    scrape.each_partition(|topic, index, partition| {
        let is_missed = u64::from(is_offline(partition));
        family.sample(&[("topic", topic), ("partition", index)], is_missed);
    });
}
