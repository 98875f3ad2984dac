//! The list of settings that a stream may have, under their Kafka names: one line each.
//!
//! Everything that knows a setting reads this table: checking what a client sends, describing what
//! holds, and the support document. A setting marked [`Effect::Stored`] is kept and reported but
//! changes nothing yet; a name that is not listed is refused.

use crate::error::ConfigError;

/// What a setting's value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number in these bounds.
    Whole {
        /// Smallest legal value.
        min: i64,
        /// Largest legal value.
        max: i64,
    },
    /// A number in these bounds.
    Fraction {
        /// Smallest legal value.
        min: f64,
        /// Largest legal value.
        max: f64,
    },
    /// `true` or `false`.
    Switch,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma-separated list of these words.
    ListOf(&'static [&'static str]),
    /// Any text.
    Text,
}

/// Whether a setting changes what the broker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Acts,
    /// It is kept and reported only.
    Stored,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name for it.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds where nobody set it.
    pub default: &'static str,
    /// Whether it acts.
    pub effect: Effect,
}

const fn acts(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting { name, kind, default, effect: Effect::Acts }
}

const fn stored(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting { name, kind, default, effect: Effect::Stored }
}

const fn whole(min: i64) -> Kind {
    Kind::Whole { min, max: i64::MAX }
}

const fn int(min: i64) -> Kind {
    Kind::Whole { min, max: i32::MAX as i64 }
}

const RATIO: Kind = Kind::Fraction { min: 0.0, max: 1.0 };
const NEVER: &str = "9223372036854775807";

/// Every setting, ordered by name. Kafka's come first, weir's own after them.
pub const SETTINGS: &[Setting] = &[
    acts("cleanup.policy", Kind::ListOf(&["compact", "delete"]), "delete"),
    stored("compression.gzip.level", Kind::Whole { min: -1, max: 9 }, "-1"),
    stored("compression.lz4.level", Kind::Whole { min: 1, max: 17 }, "9"),
    stored(
        "compression.type",
        Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer",
    ),
    stored("compression.zstd.level", Kind::Whole { min: -131_072, max: 22 }, "3"),
    stored("delete.retention.ms", whole(0), "86400000"),
    stored("file.delete.delay.ms", whole(0), "60000"),
    acts("flush.messages", whole(1), NEVER),
    acts("flush.ms", whole(0), NEVER),
    stored("follower.replication.throttled.replicas", Kind::Text, ""),
    acts("index.interval.bytes", int(0), "4096"),
    stored("leader.replication.throttled.replicas", Kind::Text, ""),
    stored("local.retention.bytes", whole(-2), "-2"),
    stored("local.retention.ms", whole(-2), "-2"),
    stored("max.compaction.lag.ms", whole(1), NEVER),
    acts("max.message.bytes", int(0), "1048588"),
    acts("message.timestamp.after.max.ms", whole(0), "3600000"),
    acts("message.timestamp.before.max.ms", whole(0), NEVER),
    acts("message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime"),
    stored("min.cleanable.dirty.ratio", RATIO, "0.5"),
    stored("min.compaction.lag.ms", whole(0), "0"),
    stored("min.insync.replicas", int(1), "1"),
    stored("preallocate", Kind::Switch, "false"),
    stored("remote.log.copy.disable", Kind::Switch, "false"),
    stored("remote.log.delete.on.disable", Kind::Switch, "false"),
    stored("remote.storage.enable", Kind::Switch, "false"),
    acts("retention.bytes", whole(-1), "-1"),
    acts("retention.ms", whole(-1), "604800000"),
    acts("segment.bytes", int(1 << 14), "1073741824"),
    stored("segment.index.bytes", int(4), "10485760"),
    stored("segment.jitter.ms", whole(0), "0"),
    acts("segment.ms", whole(1), "604800000"),
    stored("unclean.leader.election.enable", Kind::Switch, "false"),
    acts("weir.flush", Kind::OneOf(&["default", "group", "interval", "os"]), "default"),
    acts("weir.quota.factor", Kind::Fraction { min: 0.0, max: 1e9 }, "default"),
    stored("weir.stream.mode", Kind::OneOf(&["PROVISIONED", "ON_DEMAND"]), "PROVISIONED"),
    acts("weir.trim", Kind::OneOf(&["segment", "record"]), "segment"),
];

/// The setting with this name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

impl Setting {
    /// Whether a client may set this value.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        let refuse = |why: String| {
            let (name, value) = (self.name.to_owned(), value.to_owned());
            Err(ConfigError::Invalid { name, value, why })
        };
        match self.kind {
            Kind::Whole { min, max } => match value.parse::<i64>() {
                Err(_) => refuse("Not a number of type LONG".to_owned()),
                Ok(number) if number < min => refuse(format!("Value must be at least {min}")),
                Ok(number) if number > max => refuse(format!("Value must be no more than {max}")),
                Ok(_) => Ok(()),
            },
            Kind::Fraction { min, max } => match value.parse::<f64>() {
                Err(_) => refuse("Not a number of type DOUBLE".to_owned()),
                Ok(number) if number >= min && number <= max => Ok(()),
                Ok(_) => refuse(format!("Value must be between {min} and {max}")),
            },
            Kind::Switch if matches!(value, "true" | "false") => Ok(()),
            Kind::Switch => refuse("Expected value to be either true or false".to_owned()),
            Kind::OneOf(words) if words.contains(&value) => Ok(()),
            Kind::OneOf(words) => refuse(format!("String must be one of: {}", words.join(", "))),
            Kind::ListOf(words) => {
                match value.split(',').map(str::trim).find(|word| !words.contains(word)) {
                    None => Ok(()),
                    Some(_) => refuse(format!("String must be one of: {}", words.join(", "))),
                }
            }
            Kind::Text => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered_and_its_own_defaults_are_legal() {
        for (before, after) in SETTINGS.iter().zip(SETTINGS.iter().skip(1)) {
            assert!(before.name < after.name, "{} stands before {}", before.name, after.name);
        }
        for setting in SETTINGS.iter().filter(|setting| setting.default != "default") {
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.name);
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
