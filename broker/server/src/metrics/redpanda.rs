//! The few names of Redpanda's `/public_metrics` that say what no other name here says in its form.

use weir_core::metrics::Dialect;

use crate::metrics::Scrape;
use crate::metrics::exposition::{Exposition, Kind};

/// The name space in which Redpanda keeps topics.
const NAMESPACE: (&str, &str) = ("redpanda_namespace", "kafka");

pub(super) fn write(out: &mut Exposition, scrape: &Scrape) {
    let help = "Bytes of records written and read";
    let mut family = out.family(Kind::Counter, "redpanda_kafka_request_bytes", help);
    for stream in &scrape.streams {
        let (topic, metrics) = (("redpanda_topic", stream.name.as_str()), stream.metrics());
        for (request, bytes) in [("produce", &metrics.bytes_in), ("consume", &metrics.bytes_out)] {
            family.sample(&[NAMESPACE, topic, ("redpanda_request", request)], bytes.get());
        }
    }
    let help = "Time of produce and fetch requests";
    let mut family = out.family(Kind::Histogram, "redpanda_kafka_request_latency_seconds", help);
    for (request, api) in [("produce", "Produce"), ("consume", "Fetch")] {
        if let Some(metrics) = scrape.api(Dialect::Kafka, api) {
            family.histogram(&[("redpanda_request", request)], &metrics.latency.total());
        }
    }
    let help = "Committed offset of a group";
    let name = "redpanda_kafka_consumer_group_committed_offset";
    let mut family = out.family(Kind::Gauge, name, help);
    for group in &scrape.groups {
        for offset in &group.offsets {
            let labels = [
                ("redpanda_group", group.id.as_str()),
                ("redpanda_topic", &offset.topic),
                ("redpanda_partition", &offset.partition),
            ];
            family.sample(&labels, offset.committed);
        }
    }
    let name = "redpanda_kafka_consumer_group_consumers";
    let mut family = out.family(Kind::Gauge, name, "Members of a group");
    for group in &scrape.groups {
        family.sample(&[("redpanda_group", &group.id)], group.members);
    }
}
