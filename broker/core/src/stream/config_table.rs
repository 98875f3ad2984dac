//! The list of settings that a stream may have, under their Kafka names: one line each.
//!
//! Everything that knows a setting reads this table: checking what a client sends, describing what
//! holds, and the support document. A setting marked [`Effect::Stored`] is kept and reported but
//! changes nothing; a name that is not listed is refused. The settings of the broker that give a
//! topic's default stand beside it.
//!
//! [`Effect::Stored`]: crate::settings::setting::Effect::Stored

use crate::settings::setting::{Kind, Setting, Synonym};

const DAY_MS: &str = "86400000";
const WEEK_MS: &str = "604800000";
const NEVER: &str = "9223372036854775807";
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const DATES: &[&str] = &["CreateTime", "LogAppendTime"];
const DECOMPRESSED_BYTES_MAX: i32 = 2_147_483_639;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// The broker's setting in the same unit.
const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn hours(name: &'static str) -> Synonym {
    Synonym { name, factor: HOUR_MS }
}

const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, factor: MINUTE_MS }
}

/// Every setting, ordered by name. Kafka's come first, weir's own after them.
pub const TOPIC_SETTINGS: &[Setting] = {
    use Setting as S;
    &[
        S::acts("cleanup.policy", Kind::ListOf(&["compact", "delete"]), "delete")
            .defaults_to(&[same("log.cleanup.policy")]),
        S::acts("compression.gzip.level", Kind::GzipLevel, "-1")
            .defaults_to(&[same("compression.gzip.level")]),
        S::stored("compression.lz4.level", Kind::Int { min: 1, max: 17 }, "9")
            .defaults_to(&[same("compression.lz4.level")]),
        S::acts("compression.type", Kind::OneOf(CODECS), "producer")
            .defaults_to(&[same("compression.type")]),
        S::acts("compression.zstd.level", Kind::Int { min: -131_072, max: 22 }, "3")
            .defaults_to(&[same("compression.zstd.level")]),
        S::stored("delete.retention.ms", Kind::long(0), DAY_MS)
            .defaults_to(&[same("log.cleaner.delete.retention.ms")]),
        S::stored("file.delete.delay.ms", Kind::long(0), "60000")
            .defaults_to(&[same("log.segment.delete.delay.ms")]),
        S::acts("flush.messages", Kind::long(1), NEVER)
            .defaults_to(&[same("log.flush.interval.messages")]),
        S::acts("flush.ms", Kind::long(0), NEVER)
            .defaults_to(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")]),
        S::stored("follower.replication.throttled.replicas", Kind::ThrottledReplicas, ""),
        S::acts("index.interval.bytes", Kind::int(0), "4096")
            .defaults_to(&[same("log.index.interval.bytes")]),
        S::stored("leader.replication.throttled.replicas", Kind::ThrottledReplicas, ""),
        S::stored("local.retention.bytes", Kind::long(-2), "-2")
            .defaults_to(&[same("log.local.retention.bytes")]),
        S::stored("local.retention.ms", Kind::long(-2), "-2")
            .defaults_to(&[same("log.local.retention.ms")]),
        S::stored("max.compaction.lag.ms", Kind::long(1), NEVER)
            .defaults_to(&[same("log.cleaner.max.compaction.lag.ms")]),
        S::stored(
            "max.decompressed.message.bytes",
            Kind::Int { min: 1, max: DECOMPRESSED_BYTES_MAX },
            "2147483639",
        )
        .defaults_to(&[same("max.decompressed.message.bytes")]),
        S::acts("max.message.bytes", Kind::int(0), "1048588")
            .defaults_to(&[same("message.max.bytes")]),
        S::acts("message.timestamp.after.max.ms", Kind::long(0), "3600000")
            .defaults_to(&[same("log.message.timestamp.after.max.ms")]),
        S::acts("message.timestamp.before.max.ms", Kind::long(0), NEVER)
            .defaults_to(&[same("log.message.timestamp.before.max.ms")]),
        S::acts("message.timestamp.type", Kind::OneOf(DATES), "CreateTime")
            .defaults_to(&[same("log.message.timestamp.type")]),
        S::stored("min.cleanable.dirty.ratio", Kind::RATIO, "0.5")
            .defaults_to(&[same("log.cleaner.min.cleanable.ratio")]),
        S::stored("min.compaction.lag.ms", Kind::long(0), "0")
            .defaults_to(&[same("log.cleaner.min.compaction.lag.ms")]),
        // Kafka lowers it to the topic's replicas (KIP-966), and there is one of each.
        S::stored("min.insync.replicas", Kind::int(1), "1")
            .defaults_to(&[same("min.insync.replicas")]),
        S::stored("preallocate", Kind::Switch, "false").defaults_to(&[same("log.preallocate")]),
        S::stored("remote.log.copy.disable", Kind::Switch, "false"),
        S::stored("remote.log.delete.on.disable", Kind::Switch, "false"),
        S::stored("remote.storage.enable", Kind::Switch, "false"),
        S::acts("retention.bytes", Kind::long(i64::MIN), "-1")
            .defaults_to(&[same("log.retention.bytes")]),
        S::acts("retention.ms", Kind::long(-1), WEEK_MS).defaults_to(&[
            same("log.retention.ms"),
            minutes("log.retention.minutes"),
            hours("log.retention.hours"),
        ]),
        S::acts("segment.bytes", Kind::int(1 << 20), "1073741824")
            .defaults_to(&[same("log.segment.bytes")]),
        S::stored("segment.index.bytes", Kind::int(4), "10485760")
            .defaults_to(&[same("log.index.size.max.bytes")]),
        S::stored("segment.jitter.ms", Kind::long(0), "0")
            .defaults_to(&[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")]),
        S::acts("segment.ms", Kind::long(1), WEEK_MS)
            .defaults_to(&[same("log.roll.ms"), hours("log.roll.hours")]),
        S::stored("unclean.leader.election.enable", Kind::Switch, "false")
            .defaults_to(&[same("unclean.leader.election.enable")]),
        S::acts("weir.flush", Kind::OneOf(&["default", "group", "interval", "os"]), "default"),
        S::acts("weir.quota.factor", Kind::Double { min: 0.0, max: 1e9 }, "").unset(),
        S::acts("weir.stream.mode", Kind::OneOf(&["PROVISIONED", "ON_DEMAND"]), "PROVISIONED"),
        S::acts("weir.trim", Kind::OneOf(&["segment", "record"]), "segment"),
    ]
};

/// The setting with this name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    TOPIC_SETTINGS.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::table::broker_setting;

    #[test]
    fn the_table_is_ordered_and_its_own_defaults_are_legal() {
        for (before, after) in TOPIC_SETTINGS.iter().zip(TOPIC_SETTINGS.iter().skip(1)) {
            assert!(before.name < after.name, "{} stands before {}", before.name, after.name);
        }
        for setting in TOPIC_SETTINGS {
            let default = setting.default.map(|default| setting.check(default));
            assert!(matches!(default, None | Some(Ok(()))), "{}: {default:?}", setting.name);
        }
    }

    #[test]
    fn synonyms_name_settings_of_the_broker_with_the_same_default() {
        for setting in TOPIC_SETTINGS {
            let mut defaults = setting.synonyms.iter().filter_map(|synonym| {
                let broker = broker_setting(synonym.name).expect("a setting of the broker");
                assert_eq!(broker.effect, setting.effect, "{}", setting.name);
                broker.default.map(|default| synonym.convert(default))
            });
            assert_eq!(
                defaults.next().as_deref(),
                match setting.synonyms {
                    [] => None,
                    _ => setting.default,
                }
            );
        }
    }

    #[test]
    fn values_outside_their_bounds_are_refused() {
        for (name, value, legal) in [
            ("retention.ms", "-1", true),
            ("retention.ms", "-2", false),
            ("retention.ms", "soon", false),
            ("cleanup.policy", "compact,delete", true),
            ("cleanup.policy", "compact,forget", false),
            ("min.cleanable.dirty.ratio", "1.5", false),
            ("preallocate", "yes", false),
            ("message.timestamp.type", "LogAppendTime", true),
        ] {
            let setting = setting(name).expect("the setting is listed");
            assert_eq!(setting.check(value).is_ok(), legal, "{name}={value}");
        }
        assert!(setting("retention.minutes").is_none());
    }
}
