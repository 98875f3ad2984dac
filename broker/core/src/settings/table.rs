//! The lists of the settings of everything but streams: one line each.
//!
//! Everything that knows a setting of the broker reads this table: `--set`, the descriptions that
//! clients ask for, and the support document. A setting marked [`Effect::Stored`] is kept and
//! reported but changes nothing; a name that is not listed is refused. Kafka's settings of
//! listeners, files, replicas and security are not listed: weir has its own flags for what it has
//! of these.
//!
//! [`Effect::Stored`]: super::setting::Effect::Stored

use super::setting::{Kind, Setting, Synonym};

const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const DATES: &[&str] = &["CreateTime", "LogAppendTime"];
const NEVER: &str = "9223372036854775807";
const MANY: &str = "2147483647";

/// Every setting of the broker, ordered by name.
pub const BROKER_SETTINGS: &[Setting] = {
    use Setting as S;
    &[
        S::acts("auto.create.topics.enable", Kind::Switch, "true").at_start(),
        S::stored("background.threads", Kind::int(1), "10"),
        S::acts("compression.gzip.level", Kind::GzipLevel, "-1"),
        S::stored("compression.lz4.level", Kind::Int { min: 1, max: 17 }, "9"),
        S::acts("compression.type", Kind::OneOf(CODECS), "producer"),
        S::acts("compression.zstd.level", Kind::Int { min: -131_072, max: 22 }, "3"),
        S::acts("controller.quota.window.num", Kind::int(1), "11").at_start(),
        S::acts("controller.quota.window.size.seconds", Kind::int(1), "1").at_start(),
        S::acts("default.replication.factor", Kind::int(1), "1").at_start(),
        S::acts("group.consumer.assignors", Kind::ListOf(&["uniform", "range"]), "uniform,range")
            .at_start(),
        S::acts("group.consumer.heartbeat.interval.ms", Kind::int(1), "5000").at_start(),
        S::acts("group.consumer.max.heartbeat.interval.ms", Kind::int(1), "15000").at_start(),
        S::acts("group.consumer.max.session.timeout.ms", Kind::int(1), "60000").at_start(),
        // Kafka has no limit.
        S::acts("group.consumer.max.size", Kind::int(1), "1000").at_start(),
        S::acts(
            "group.consumer.migration.policy",
            Kind::OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]),
            "bidirectional",
        )
        .at_start(),
        S::acts("group.consumer.min.heartbeat.interval.ms", Kind::int(1), "5000").at_start(),
        S::acts("group.consumer.min.session.timeout.ms", Kind::int(1), "45000").at_start(),
        S::acts("group.consumer.session.timeout.ms", Kind::int(1), "45000").at_start(),
        // Kafka waits for three seconds; weir's first poll has its records at once.
        S::acts("group.initial.rebalance.delay.ms", Kind::int(0), "0").at_start(),
        S::acts("group.max.session.timeout.ms", Kind::int(1), "1800000").at_start(),
        // Kafka has no limit.
        S::acts("group.max.size", Kind::int(1), "1000").at_start(),
        S::acts("group.min.session.timeout.ms", Kind::int(1), "6000").at_start(),
        S::stored("log.cleaner.backoff.ms", Kind::long(0), "15000"),
        S::stored("log.cleaner.dedupe.buffer.size", Kind::long(0), "134217728"),
        S::stored("log.cleaner.delete.retention.ms", Kind::long(0), "86400000"),
        S::stored("log.cleaner.io.buffer.load.factor", Kind::RATIO, "0.9"),
        S::stored("log.cleaner.io.buffer.size", Kind::int(0), "524288"),
        S::stored(
            "log.cleaner.io.max.bytes.per.second",
            Kind::Double { min: f64::MIN, max: f64::MAX },
            "1.7976931348623157E308",
        ),
        S::stored("log.cleaner.max.compaction.lag.ms", Kind::long(1), NEVER),
        S::stored("log.cleaner.min.cleanable.ratio", Kind::RATIO, "0.5"),
        S::stored("log.cleaner.min.compaction.lag.ms", Kind::long(0), "0"),
        S::stored("log.cleaner.threads", Kind::int(0), "1"),
        S::acts("log.cleanup.policy", Kind::ListOf(&["compact", "delete"]), "delete"),
        S::acts("log.flush.interval.messages", Kind::long(1), NEVER),
        S::acts("log.flush.interval.ms", Kind::long(0), "").unset(),
        S::acts("log.flush.scheduler.interval.ms", Kind::long(0), NEVER).at_start(),
        S::acts("log.index.interval.bytes", Kind::int(0), "4096"),
        S::stored("log.index.size.max.bytes", Kind::int(4), "10485760"),
        S::stored("log.local.retention.bytes", Kind::long(-2), "-2"),
        S::stored("log.local.retention.ms", Kind::long(-2), "-2"),
        S::acts("log.message.timestamp.after.max.ms", Kind::long(0), "3600000"),
        S::acts("log.message.timestamp.before.max.ms", Kind::long(0), NEVER),
        S::acts("log.message.timestamp.type", Kind::OneOf(DATES), "CreateTime"),
        S::stored("log.preallocate", Kind::Switch, "false"),
        S::acts("log.retention.bytes", Kind::long(-1), "-1"),
        S::acts("log.retention.hours", Kind::int(-1), "168").at_start(),
        S::acts("log.retention.minutes", Kind::int(-1), "").unset().at_start(),
        S::acts("log.retention.ms", Kind::long(-1), "").unset(),
        S::acts("log.roll.hours", Kind::int(1), "168").at_start(),
        S::stored("log.roll.jitter.hours", Kind::int(0), "0").at_start(),
        S::stored("log.roll.jitter.ms", Kind::long(0), "").unset(),
        S::acts("log.roll.ms", Kind::long(1), "").unset(),
        S::acts("log.segment.bytes", Kind::int(1 << 20), "1073741824"),
        S::stored("log.segment.delete.delay.ms", Kind::long(0), "60000"),
        S::stored("max.connection.creation.rate", Kind::int(0), MANY),
        S::stored("max.connections", Kind::int(0), MANY),
        S::stored("max.connections.per.ip", Kind::int(0), MANY),
        S::stored("max.connections.per.ip.overrides", Kind::Text, ""),
        S::stored(
            "max.decompressed.message.bytes",
            Kind::Int { min: 1, max: 2_147_483_639 },
            "2147483639",
        ),
        S::acts("max.incremental.fetch.session.cache.slots", Kind::int(0), "1000").at_start(),
        S::acts("message.max.bytes", Kind::int(0), "1048588"),
        S::stored("min.insync.replicas", Kind::int(1), "1"),
        S::stored("num.io.threads", Kind::int(1), "8"),
        S::stored("num.network.threads", Kind::int(1), "3"),
        S::acts("num.partitions", Kind::Int { min: 1, max: 10_000 }, "1").at_start(),
        S::stored("num.recovery.threads.per.data.dir", Kind::int(1), "2"),
        S::stored("num.replica.fetchers", Kind::int(1), "1"),
        S::acts("offset.metadata.max.bytes", Kind::int(0), "4096").at_start(),
        S::acts("offsets.retention.check.interval.ms", Kind::long(1), "600000").at_start(),
        S::acts("offsets.retention.minutes", Kind::int(1), "10080").at_start(),
        S::stored("producer.id.expiration.ms", Kind::int(1), "86400000"),
        S::acts("quota.window.num", Kind::int(1), "11").at_start(),
        S::acts("quota.window.size.seconds", Kind::int(1), "1").at_start(),
        S::stored("transaction.partition.verification.enable", Kind::Switch, "true"),
        S::stored("unclean.leader.election.enable", Kind::Switch, "false"),
        // Off, a factor above 1 is refused, as by a Kafka of one broker. On, any is taken, and 1 is
        // what is reported: for applications that are made for three brokers.
        S::acts("weir.replication.factor.any", Kind::Switch, "false").at_start(),
        // How long Kinesis shows what is being made, changed or deleted as such; an hour at most.
        S::acts("weir.stream.state.delay.ms", Kind::Int { min: 0, max: 3_600_000 }, "0"),
    ]
};

const fn of_broker(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

/// Every setting of a group, ordered by name.
pub const GROUP_SETTINGS: &[Setting] = {
    use Setting as S;
    &[
        S::acts("consumer.heartbeat.interval.ms", Kind::int(1), "5000")
            .defaults_to(&[of_broker("group.consumer.heartbeat.interval.ms")]),
        S::acts("consumer.session.timeout.ms", Kind::int(1), "45000")
            .defaults_to(&[of_broker("group.consumer.session.timeout.ms")]),
        S::stored("share.auto.offset.reset", Kind::Text, "latest"),
        S::stored("share.heartbeat.interval.ms", Kind::int(1), "5000"),
        S::stored(
            "share.isolation.level",
            Kind::OneOf(&["read_committed", "read_uncommitted"]),
            "read_uncommitted",
        ),
        S::stored("share.record.lock.duration.ms", Kind::int(1_000), "30000"),
        S::stored("share.session.timeout.ms", Kind::int(1), "45000"),
        S::stored("streams.heartbeat.interval.ms", Kind::int(1), "5000"),
        S::stored("streams.initial.rebalance.delay.ms", Kind::int(0), "3000"),
        S::stored("streams.num.standby.replicas", Kind::int(0), "0"),
        S::stored("streams.session.timeout.ms", Kind::int(1), "45000"),
    ]
};

/// Every setting of a client metrics subscription, ordered by name.
pub const CLIENT_METRICS_SETTINGS: &[Setting] = {
    use Setting as S;
    &[
        S::stored("interval.ms", Kind::Int { min: 100, max: 3_600_000 }, "300000"),
        S::stored(
            "match",
            Kind::PatternsOf(&[
                "client_id",
                "client_instance_id",
                "client_software_name",
                "client_software_version",
                "client_source_address",
                "client_source_port",
            ]),
            "",
        ),
        S::stored("metrics", Kind::List, ""),
    ]
};

/// The broker's setting with this name.
pub fn broker_setting(name: &str) -> Option<&'static Setting> {
    BROKER_SETTINGS.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use weir_storage::config::FlushPolicy;

    use super::*;
    use crate::group::state::GroupLimits;
    use crate::settings::broker_settings::BrokerSettings;
    use crate::settings::setting::Effect;
    use crate::settings::written::Written;
    use crate::stream::config::{Overrides, StreamConfig};
    use crate::stream::config_table::TOPIC_SETTINGS;

    #[derive(Clone, Copy, Debug)]
    enum Of {
        Broker,
        Topic,
        Group,
    }

    /// What the broker, a topic and a group run with, without what was written to that end; none
    /// where the values do not fit each other.
    fn run_with(
        of: Of,
        settings: &[(&str, &str)],
    ) -> Option<(BrokerSettings, StreamConfig, GroupLimits)> {
        let mut written = Written::default();
        let (mut topic, mut group) = (Overrides::new(), Overrides::new());
        for (name, value) in settings {
            let own = ((*name).to_owned(), (*value).to_owned());
            match of {
                Of::Broker => written.insert(name, value).expect("a legal value"),
                Of::Topic => topic.extend([own]),
                Of::Group => group.extend([own]),
            }
        }
        let mut broker = BrokerSettings::new(written).ok()?;
        let defaults = broker.topic_defaults(FlushPolicy::Os);
        let mut topic = StreamConfig::new(topic, &defaults).ok()?;
        let group = GroupLimits::of(&broker).with_own(&group);
        broker.written = Written::default();
        topic.overrides = Overrides::new();
        Some((broker, topic, group))
    }

    /// Whether some value of the setting changes something, alone or beside a codec.
    fn changes_something(of: Of, setting: &Setting) -> bool {
        let values = match setting.kind {
            Kind::OneOf(words) | Kind::OneOfAnyCase(words) | Kind::ListOf(words) => words,
            _ => &["true", "false", "0", "1", "2", "7000", "60000", "100000000"],
        };
        let codecs = [&[][..], &[("compression.type", "gzip")], &[("compression.type", "zstd")]];
        let bases = if matches!(of, Of::Group) { &codecs[..1] } else { &codecs[..] };
        let legal = values.iter().filter(|value| setting.check(value).is_ok());
        legal.flat_map(|value| bases.iter().map(move |base| (value, base))).any(|(value, base)| {
            let with = run_with(of, &[base, &[(setting.name, *value)][..]].concat());
            with.is_some() && with != run_with(of, base)
        })
    }

    #[test]
    fn what_acts_changes_what_is_run_with_and_what_is_stored_only_does_not() {
        for (of, table) in [
            (Of::Broker, BROKER_SETTINGS),
            (Of::Topic, TOPIC_SETTINGS),
            (Of::Group, GROUP_SETTINGS),
        ] {
            for setting in table {
                let acts = setting.effect == Effect::Acts;
                assert_eq!(changes_something(of, setting), acts, "{of:?}: {}", setting.name);
            }
        }
    }

    #[test]
    fn the_tables_are_ordered_and_their_own_defaults_are_legal() {
        for table in [BROKER_SETTINGS, GROUP_SETTINGS, CLIENT_METRICS_SETTINGS] {
            for (before, after) in table.iter().zip(table.iter().skip(1)) {
                assert!(before.name < after.name, "{} stands before {}", before.name, after.name);
            }
            for setting in table {
                let default = setting.default.map(|default| setting.check(default));
                assert!(matches!(default, None | Some(Ok(()))), "{}: {default:?}", setting.name);
            }
        }
    }
}
