//! The names and labels of kafka_exporter (github.com/danielqsj/kafka_exporter), which asks a
//! cluster from outside; Grafana dashboard 7589 and its many copies query them.

use weir_core::partition::partition::Partition;

use crate::metrics::exposition::{Exposition, Kind};
use crate::metrics::{GroupOffset, Scrape, is_offline};

pub(super) fn write(out: &mut Exposition, scrape: &Scrape) {
    out.single(Kind::Gauge, "kafka_brokers", "Brokers of the cluster", 1_u64);
    let help = "Partitions of the topic";
    let mut family = out.family(Kind::Gauge, "kafka_topic_partitions", help);
    for stream in &scrape.streams {
        family.sample(&[("topic", stream.name.as_str())], stream.partitions().len());
    }
    write_partitions(out, scrape);
    write_groups(out, scrape);
}

fn write_partitions(out: &mut Exposition, scrape: &Scrape) {
    type Field = fn(&Partition) -> u64;
    let families: [(&str, &str, Field); 6] = [
        ("current_offset", "Next offset that readers will see", |partition| {
            partition.watermarks().high_watermark.number()
        }),
        ("oldest_offset", "Oldest offset kept", |partition| {
            partition.watermarks().log_start.number()
        }),
        ("replicas", "Replicas", |_| 1),
        ("in_sync_replica", "Replicas in sync", |partition| u64::from(!is_offline(partition))),
        ("leader_is_preferred", "Whether the leader is the preferred one", |_| 1),
        ("under_replicated_partition", "Whether replicas are behind", |partition| {
            u64::from(is_offline(partition))
        }),
    ];
    for (name, help, field) in families {
        let name = format!("kafka_topic_partition_{name}");
        let mut family = out.family(Kind::Gauge, &name, help);
        scrape.each_partition(|topic, index, partition| {
            family.sample(&[("topic", topic), ("partition", index)], field(partition));
        });
    }
    let leader = f64::from(scrape.broker.options().node_id);
    let mut family = out.family(Kind::Gauge, "kafka_topic_partition_leader", "Leader's id");
    scrape.each_partition(|topic, index, _| {
        family.sample(&[("topic", topic), ("partition", index)], leader);
    });
}

fn write_groups(out: &mut Exposition, scrape: &Scrape) {
    type Field = fn(&GroupOffset) -> u64;
    let families: [(&str, &str, &str, Field); 2] = [
        (
            "kafka_consumergroup_current_offset",
            "kafka_consumergroup_current_offset_sum",
            "Committed offset: the next record to read",
            |offset| offset.committed,
        ),
        (
            "kafka_consumergroup_lag",
            "kafka_consumergroup_lag_sum",
            "Records behind the latest that readers may see",
            |offset| offset.lag,
        ),
    ];
    for (name, sum_name, help, field) in families {
        let mut family = out.family(Kind::Gauge, name, help);
        for group in &scrape.groups {
            for offset in &group.offsets {
                let labels = [
                    ("consumergroup", group.id.as_str()),
                    ("topic", &offset.topic),
                    ("partition", &offset.partition),
                ];
                family.sample(&labels, field(offset));
            }
        }
        let mut family = out.family(Kind::Gauge, sum_name, help);
        for group in &scrape.groups {
            for (topic, offsets) in group.by_topic() {
                let sum: u64 = offsets.iter().map(field).sum();
                family.sample(&[("consumergroup", &group.id), ("topic", topic)], sum);
            }
        }
    }
    let help = "Members of the group";
    let mut family = out.family(Kind::Gauge, "kafka_consumergroup_members", help);
    for group in &scrape.groups {
        family.sample(&[("consumergroup", &group.id)], group.members);
    }
}
