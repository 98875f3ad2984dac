//! A stream's settings: what somebody wrote ([`StreamConfig::overrides`]) and what it runs with.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_model::batch::TimestampType;
use weir_storage::config::{FlushPolicy, LogConfig, TrimBy};

use crate::error::ConfigError;
use crate::stream::config_table::setting;
use crate::stream::stream::Routing;

/// What was written, by Kafka name. Only legal names and values get in.
pub type Overrides = BTreeMap<String, String>;

/// The settings that a stream runs with, computed once whenever its overrides change.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamConfig {
    /// What was set, by Kafka name; everything else follows from it and the defaults.
    pub overrides: Overrides,
    /// When appends count as kept.
    pub flush: FlushPolicy,
    /// Largest batch, in bytes as sent.
    pub message_bytes_max: usize,
    /// Who dates the records.
    pub timestamp_type: TimestampType,
    /// A record may be dated this long before now, in ms.
    pub timestamp_before_ms_max: i64,
    /// A record may be dated this long after now, in ms.
    pub timestamp_after_ms_max: i64,
    /// Records older than this go, in ms; none: never.
    pub retention_ms: Option<u64>,
    /// What its logs are told.
    pub log: LogConfig,
    /// Multiple of AWS's shard quotas; none where the stream's kind decides.
    pub quota_factor: Option<f64>,
}

impl StreamConfig {
    /// Checks overrides and computes what follows from them.
    pub fn new(overrides: Overrides, default_flush: FlushPolicy) -> Result<Self, ConfigError> {
        for (name, value) in &overrides {
            match setting(name) {
                None => return Err(ConfigError::Unknown { name: name.clone() }),
                Some(setting) => setting.check(value)?,
            }
        }
        let flush = flush_policy(&overrides, default_flush);
        let retention_ms = retention(&overrides, "retention.ms");
        let unsigned = |name| whole(&overrides, name).unsigned_abs();
        let log = LogConfig {
            flush,
            segment_bytes: unsigned("segment.bytes"),
            segment_ms: unsigned("segment.ms"),
            retention_ms,
            retention_bytes: retention(&overrides, "retention.bytes"),
            trim_by: match text(&overrides, "weir.trim") {
                "record" => TrimBy::Record,
                _ => TrimBy::Segment,
            },
            index_interval_bytes: u32::try_from(whole(&overrides, "index.interval.bytes"))
                .unwrap_or(u32::MAX),
        };
        Ok(StreamConfig {
            flush,
            message_bytes_max: usize::try_from(whole(&overrides, "max.message.bytes"))
                .unwrap_or(usize::MAX),
            timestamp_type: match text(&overrides, "message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_ms_max: whole(&overrides, "message.timestamp.before.max.ms"),
            timestamp_after_ms_max: whole(&overrides, "message.timestamp.after.max.ms"),
            retention_ms,
            log,
            quota_factor: text(&overrides, "weir.quota.factor").parse().ok(),
            overrides,
        })
    }
}

/// What streams made by Kinesis start with: a day of retention, by record, dated by the broker.
const BY_HASH_DEFAULTS: [(&str, &str); 3] = [
    ("message.timestamp.type", "LogAppendTime"),
    ("retention.ms", "86400000"),
    ("weir.trim", "record"),
];

/// The settings of a new stream: what its maker wrote, and what its kind starts with.
pub fn first_overrides(routing: Routing, mut written: Overrides) -> Overrides {
    if routing == Routing::ByHash {
        for (name, value) in BY_HASH_DEFAULTS {
            written.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    written
}

/// `weir.flush` if it is set, else what Kafka's two settings ask for, else the server's default.
fn flush_policy(overrides: &Overrides, default: FlushPolicy) -> FlushPolicy {
    match text(overrides, "weir.flush") {
        "group" => return FlushPolicy::Group,
        "interval" => return FlushPolicy::INTERVAL,
        "os" => return FlushPolicy::Os,
        _ => {}
    }
    if whole(overrides, "flush.messages") == 1 {
        return FlushPolicy::Group;
    }
    if overrides.contains_key("flush.ms") {
        let delay = Duration::from_millis(whole(overrides, "flush.ms").unsigned_abs());
        return match FlushPolicy::INTERVAL {
            FlushPolicy::Interval { bytes, .. } => FlushPolicy::Interval { delay, bytes },
            other => other,
        };
    }
    default
}

/// How much of a log age or size leaves; none: all. Where the policy is `compact` alone the newest
/// record of each key is to stay, and since compaction is not built, all do.
fn retention(overrides: &Overrides, name: &str) -> Option<u64> {
    let deletes = text(overrides, "cleanup.policy").split(',').any(|part| part.trim() == "delete");
    if deletes { u64::try_from(whole(overrides, name)).ok() } else { None }
}

/// The value that holds for a listed setting.
fn text<'a>(overrides: &'a Overrides, name: &str) -> &'a str {
    let default = setting(name).expect("the setting is listed in config_table").default;
    overrides.get(name).map_or(default, String::as_str)
}

fn whole(overrides: &Overrides, name: &str) -> i64 {
    text(overrides, name).parse().expect("the table's check let only whole numbers in")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Result<StreamConfig, ConfigError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        StreamConfig::new(settings.iter().map(own).collect(), FlushPolicy::Os)
    }

    #[test]
    fn kafkas_flush_settings_map_onto_the_policies() {
        let ten_ms = FlushPolicy::Interval { delay: Duration::from_millis(10), bytes: 16 << 20 };
        for (settings, expected) in [
            (&[][..], FlushPolicy::Os),
            (&[("flush.messages", "1")], FlushPolicy::Group),
            (&[("flush.ms", "10")], ten_ms),
            (&[("weir.flush", "group"), ("flush.ms", "10")], FlushPolicy::Group),
        ] {
            assert_eq!(config(settings).expect("legal").flush, expected, "{settings:?}");
        }
    }

    #[test]
    fn retention_of_minus_one_means_for_ever() {
        assert_eq!(config(&[("retention.ms", "-1")]).expect("legal").retention_ms, None);
        assert_eq!(config(&[]).expect("legal").retention_ms, Some(604_800_000));
    }

    #[test]
    fn only_a_policy_that_deletes_has_a_retention() {
        let limits = [("retention.ms", "1000"), ("retention.bytes", "2000")];
        for (policy, expected) in [
            ("delete", (Some(1_000), Some(2_000))),
            ("compact", (None, None)),
            ("compact,delete", (Some(1_000), Some(2_000))),
            ("compact, delete", (Some(1_000), Some(2_000))),
        ] {
            let settings = [&limits[..], &[("cleanup.policy", policy)]].concat();
            let log = config(&settings).expect("legal").log;
            assert_eq!((log.retention_ms, log.retention_bytes), expected, "{policy}");
        }
    }

    #[test]
    fn streams_made_by_kinesis_keep_a_day_and_are_dated_by_the_broker() {
        let config = |routing, written| {
            let overrides = first_overrides(routing, written);
            StreamConfig::new(overrides, FlushPolicy::Group).expect("legal")
        };
        let made_by_kinesis = config(Routing::ByHash, Overrides::new());
        assert_eq!(made_by_kinesis.retention_ms, Some(86_400_000));
        assert_eq!(made_by_kinesis.timestamp_type, TimestampType::LogAppendTime);
        assert_eq!(made_by_kinesis.log.trim_by, TrimBy::Record);
        let week = Overrides::from([("retention.ms".to_owned(), "604800000".to_owned())]);
        assert_eq!(config(Routing::ByHash, week).retention_ms, Some(604_800_000));
        let made_by_kafka = config(Routing::ByPartition, Overrides::new());
        assert_eq!(made_by_kafka.timestamp_type, TimestampType::CreateTime);
    }

    #[test]
    fn unknown_names_are_refused() {
        let unknown = ConfigError::Unknown { name: "retention.minutes".to_owned() };
        assert_eq!(config(&[("retention.minutes", "1")]), Err(unknown));
    }
}
