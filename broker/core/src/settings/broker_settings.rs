//! The broker's settings with their types: what the broker runs with.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use weir_storage::config::FlushPolicy;

use crate::error::ConfigError;
use crate::settings::setting::words_of;
use crate::settings::written::Written;
use crate::stream::config::Overrides;
use crate::stream::config_table::TOPIC_SETTINGS;

/// The settings that the broker runs with, computed once whenever what was written changes.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    /// What was written, by Kafka's names; everything else follows from it and the table.
    pub written: Written,
    /// How topics are made.
    pub topics: TopicSettings,
    /// What holds for classic groups.
    pub groups: ClassicGroupSettings,
    /// What holds for groups of the consumer protocol (KIP-848).
    pub consumer_groups: ConsumerGroupSettings,
    /// What holds for committed offsets.
    pub offsets: OffsetSettings,
    /// What holds for fetch sessions (KIP-227).
    pub fetch_sessions: FetchSessionSettings,
    /// Over which time client quotas are measured.
    pub client_quotas: QuotaWindow,
    /// Over which time the quota of topic creations and deletions is measured.
    pub controller_quotas: QuotaWindow,
}

/// How topics are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// `auto.create.topics.enable`: whether a topic that a client names and nobody made is made.
    pub auto_create: AutoCreate,
    /// `num.partitions`: partitions of a topic whose maker did not say.
    pub partitions: u32,
    /// `default.replication.factor`: the factor of a topic whose maker did not say.
    pub replication_factor: u32,
    /// `weir.replication.factor.any`: which factors are taken.
    pub replication_factors: ReplicationFactors,
    /// `weir.stream.state.delay.ms`: how long the states of Kinesis last that pass.
    pub state_delay_ms: i64,
}

/// Whether topics are made on first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCreate {
    /// They are, with the default number of partitions.
    On,
    /// They are not.
    Off,
}

/// Which replication factors are taken. What is reported is always 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationFactors {
    /// Only 1, as by a Kafka of one broker.
    OnlyOne,
    /// Any, as if there were brokers enough.
    Any,
}

/// What holds for classic groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassicGroupSettings {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `group.max.size`: most members of one group.
    pub members_max: usize,
}

/// What holds for groups of the consumer protocol; all names begin with `group.consumer.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupSettings {
    /// `session.timeout.ms`, where the group's own setting says nothing else.
    pub session_timeout: Duration,
    /// `min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `heartbeat.interval.ms`, where the group's own setting says nothing else.
    pub heartbeat_interval: Duration,
    /// `min.heartbeat.interval.ms`.
    pub heartbeat_interval_min: Duration,
    /// `max.heartbeat.interval.ms`.
    pub heartbeat_interval_max: Duration,
    /// `max.size`: most members of one group.
    pub members_max: usize,
    /// `assignors`: names of those that members may ask for, at least one; the first is used where
    /// none is asked for.
    pub assignors: Vec<String>,
    /// `migration.policy`.
    pub migration: MigrationPolicy,
}

/// Which way a living group may change its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Neither way.
    Disabled,
    /// From the consumer protocol to the classic one.
    Downgrade,
    /// From the classic protocol to the consumer one.
    Upgrade,
    /// Both ways.
    Bidirectional,
}

impl MigrationPolicy {
    /// Whether a classic group with members may become one of the consumer protocol.
    pub fn can_upgrade(self) -> bool {
        matches!(self, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional)
    }

    /// Whether a group of the consumer protocol may become a classic one with its last members.
    pub fn can_downgrade(self) -> bool {
        matches!(self, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional)
    }
}

/// What holds for committed offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetSettings {
    /// `offset.metadata.max.bytes`.
    pub metadata_bytes_max: usize,
    /// `offsets.retention.minutes`.
    pub retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
}

/// What holds for fetch sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSessionSettings {
    /// `max.incremental.fetch.session.cache.slots`: most sessions; none at 0.
    pub sessions_max: usize,
}

/// The time over which a quota is measured: so many windows of that length, the one that is still
/// running included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaWindow {
    /// `quota.window.num`.
    pub count: u32,
    /// `quota.window.size.seconds`.
    pub length: Duration,
}

impl QuotaWindow {
    /// The time that all windows together cover.
    pub fn span(self) -> Duration {
        self.length * self.count
    }
}

/// What a topic runs with where nobody set it on the topic itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// The flush policy of topics for which no setting decides (`--flush`).
    pub flush: FlushPolicy,
    /// Values that the broker's settings give, by the topic's names; the table's defaults hold for
    /// the others.
    pub values: BTreeMap<&'static str, String>,
}

impl TopicDefaults {
    /// The defaults of the table.
    pub fn of_the_table(flush: FlushPolicy) -> TopicDefaults {
        TopicDefaults { flush, values: BTreeMap::new() }
    }
}

impl Default for BrokerSettings {
    /// What holds when nobody set anything.
    fn default() -> BrokerSettings {
        BrokerSettings::new(Written::default()).expect("the table's defaults fit each other")
    }
}

impl BrokerSettings {
    /// Computes what follows from what was written; says in words which values do not fit each
    /// other.
    pub fn new(written: Written) -> Result<BrokerSettings, String> {
        let values = Values(&written);
        let settings = BrokerSettings {
            topics: values.topics(),
            groups: values.groups(),
            consumer_groups: values.consumer_groups(),
            offsets: OffsetSettings {
                metadata_bytes_max: values.number("offset.metadata.max.bytes"),
                retention: values.times("offsets.retention.minutes", Duration::from_secs(60)),
                retention_check_interval: values.millis("offsets.retention.check.interval.ms"),
            },
            fetch_sessions: FetchSessionSettings {
                sessions_max: values.number("max.incremental.fetch.session.cache.slots"),
            },
            client_quotas: QuotaWindow {
                count: values.number("quota.window.num"),
                length: values.times("quota.window.size.seconds", Duration::from_secs(1)),
            },
            controller_quotas: QuotaWindow {
                count: values.number("controller.quota.window.num"),
                length: values
                    .times("controller.quota.window.size.seconds", Duration::from_secs(1)),
            },
            written,
        };
        settings.check_together()?;
        Ok(settings)
    }

    /// What topics run with where nobody set it on them; `flush` where no setting decides.
    pub fn topic_defaults(&self, flush: FlushPolicy) -> TopicDefaults {
        let mut values = BTreeMap::new();
        for setting in TOPIC_SETTINGS {
            let written = |synonym: &crate::settings::setting::Synonym| {
                self.written.get(synonym.name).map(|value| synonym.convert(value))
            };
            if let Some(value) = setting.synonyms.iter().find_map(written) {
                values.insert(setting.name, value);
            }
        }
        TopicDefaults { flush, values }
    }

    /// Whether a group may have these settings, each of which is legal by itself. The texts are
    /// Kafka's.
    pub(super) fn check_group(&self, settings: &Overrides) -> Result<(), ConfigError> {
        let groups = &self.consumer_groups;
        let session =
            ("session.timeout.ms", groups.session_timeout_min, groups.session_timeout_max);
        let heartbeat =
            ("heartbeat.interval.ms", groups.heartbeat_interval_min, groups.heartbeat_interval_max);
        for (name, min, max) in [session, heartbeat] {
            let Some(value) = settings.get(&format!("consumer.{name}")) else { continue };
            let value = Duration::from_millis(value.trim().parse().unwrap_or(0));
            let why = if value < min {
                format!("greater than or equal to group.consumer.min.{name}")
            } else if value > max {
                format!("less than or equal to group.consumer.max.{name}")
            } else {
                continue;
            };
            return Err(ConfigError::Conflict { why: format!("consumer.{name} must be {why}") });
        }
        Ok(())
    }

    /// What Kafka checks of several settings together when it starts.
    fn check_together(&self) -> Result<(), String> {
        let (classic, consumer) = (&self.groups, &self.consumer_groups);
        for (name, smallest, value, largest) in [
            (
                "group.max.session.timeout.ms",
                classic.session_timeout_min,
                classic.session_timeout_max,
                Duration::MAX,
            ),
            (
                "group.consumer.session.timeout.ms",
                consumer.session_timeout_min,
                consumer.session_timeout,
                consumer.session_timeout_max,
            ),
            (
                "group.consumer.heartbeat.interval.ms",
                consumer.heartbeat_interval_min,
                consumer.heartbeat_interval,
                consumer.heartbeat_interval_max,
            ),
        ] {
            if value < smallest || value > largest {
                let value = value.as_millis();
                return Err(format!("{name} of {value} is outside its minimum and maximum"));
            }
        }
        if consumer.heartbeat_interval >= consumer.session_timeout {
            return Err("group.consumer.heartbeat.interval.ms is not below \
                        group.consumer.session.timeout.ms"
                .to_owned());
        }
        if consumer.assignors.is_empty() {
            return Err("group.consumer.assignors names none".to_owned());
        }
        Ok(())
    }
}

/// Typed views of what was written; every value passed its own check already.
struct Values<'a>(&'a Written);

impl Values<'_> {
    fn text(&self, name: &str) -> &str {
        self.0.value(name).expect("the setting has a default").trim()
    }

    fn number<T: FromStr>(&self, name: &str) -> T {
        let number = self.text(name).parse();
        number.ok().expect("the table's bounds are within the type")
    }

    /// So many times a unit.
    fn times(&self, name: &str, unit: Duration) -> Duration {
        unit * self.number::<u32>(name)
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    fn is_on(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    fn topics(&self) -> TopicSettings {
        TopicSettings {
            auto_create: match self.is_on("auto.create.topics.enable") {
                true => AutoCreate::On,
                false => AutoCreate::Off,
            },
            partitions: self.number("num.partitions"),
            replication_factor: self.number("default.replication.factor"),
            replication_factors: match self.is_on("weir.replication.factor.any") {
                true => ReplicationFactors::Any,
                false => ReplicationFactors::OnlyOne,
            },
            state_delay_ms: self.number("weir.stream.state.delay.ms"),
        }
    }

    fn groups(&self) -> ClassicGroupSettings {
        ClassicGroupSettings {
            initial_rebalance_delay: self.millis("group.initial.rebalance.delay.ms"),
            session_timeout_min: self.millis("group.min.session.timeout.ms"),
            session_timeout_max: self.millis("group.max.session.timeout.ms"),
            members_max: self.number("group.max.size"),
        }
    }

    fn consumer_groups(&self) -> ConsumerGroupSettings {
        ConsumerGroupSettings {
            session_timeout: self.millis("group.consumer.session.timeout.ms"),
            session_timeout_min: self.millis("group.consumer.min.session.timeout.ms"),
            session_timeout_max: self.millis("group.consumer.max.session.timeout.ms"),
            heartbeat_interval: self.millis("group.consumer.heartbeat.interval.ms"),
            heartbeat_interval_min: self.millis("group.consumer.min.heartbeat.interval.ms"),
            heartbeat_interval_max: self.millis("group.consumer.max.heartbeat.interval.ms"),
            members_max: self.number("group.consumer.max.size"),
            assignors: words_of(self.text("group.consumer.assignors")).map(str::to_owned).collect(),
            migration: match self
                .text("group.consumer.migration.policy")
                .to_ascii_lowercase()
                .as_str()
            {
                "disabled" => MigrationPolicy::Disabled,
                "downgrade" => MigrationPolicy::Downgrade,
                "upgrade" => MigrationPolicy::Upgrade,
                _ => MigrationPolicy::Bidirectional,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(written: &[(&str, &str)]) -> Result<BrokerSettings, String> {
        let mut all = Written::default();
        for (name, value) in written {
            all.insert(name, value).map_err(|error| format!("{error:?}"))?;
        }
        BrokerSettings::new(all)
    }

    #[test]
    fn what_is_written_reaches_its_field() {
        let settings = settings(&[
            ("auto.create.topics.enable", "FALSE"),
            ("num.partitions", "3"),
            ("group.consumer.assignors", "range"),
            ("group.consumer.migration.policy", "UPGRADE"),
            ("offsets.retention.minutes", "1"),
            ("controller.quota.window.size.seconds", "2"),
        ])
        .expect("legal");
        assert_eq!(settings.topics.auto_create, AutoCreate::Off);
        assert_eq!(settings.topics.partitions, 3);
        assert_eq!(settings.consumer_groups.assignors, ["range"]);
        assert_eq!(settings.consumer_groups.migration, MigrationPolicy::Upgrade);
        assert_eq!(settings.offsets.retention, Duration::from_secs(60));
        assert_eq!(settings.controller_quotas.length, Duration::from_secs(2));
    }

    #[test]
    fn values_that_do_not_fit_each_other_are_refused() {
        for written in [
            &[("group.min.session.timeout.ms", "2000000")][..],
            &[("group.consumer.session.timeout.ms", "6000")],
            &[("group.consumer.assignors", "")],
            &[
                ("group.consumer.heartbeat.interval.ms", "15000"),
                ("group.consumer.min.session.timeout.ms", "1"),
                ("group.consumer.session.timeout.ms", "15000"),
            ],
        ] {
            assert!(settings(written).is_err(), "{written:?}");
        }
    }

    #[test]
    fn the_first_synonym_that_is_set_gives_a_topics_default() {
        for (written, expected) in [
            (&[][..], None),
            (&[("log.retention.hours", "1")], Some("3600000")),
            (&[("log.retention.hours", " 1 ")], Some("3600000")),
            (&[("log.retention.hours", "-1")], Some("-1")),
            (&[("log.retention.hours", "1"), ("log.retention.minutes", "1")], Some("60000")),
            (&[("log.retention.minutes", "1"), ("log.retention.ms", "5")], Some("5")),
        ] {
            let defaults = settings(written).expect("legal").topic_defaults(FlushPolicy::Os);
            let retention = defaults.values.get("retention.ms").map(String::as_str);
            assert_eq!(retention, expected, "{written:?}");
        }
    }
}
