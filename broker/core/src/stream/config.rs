//! A stream's settings: what somebody wrote ([`StreamConfig::overrides`]) and what it runs with.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_model::batch::TimestampType;
use weir_model::compression::{Codec, Compression};
use weir_storage::config::{FlushPolicy, LogConfig, TrimBy};

use crate::error::ConfigError;
use crate::settings::broker_settings::TopicDefaults;
use crate::settings::setting::words_of;
use crate::stream::config_table::setting;
use crate::stream::mode::{MODE_SETTING, StreamMode};
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
    /// Whether records may go before others take their place: `cleanup.policy` has `delete`.
    pub deletes: bool,
    /// Records older than this go, in ms; none: never.
    pub retention_ms: Option<u64>,
    /// What its logs are told.
    pub log: LogConfig,
    /// How batches are compressed; none: as their producers did.
    pub compression: Option<Compression>,
    /// Whether the newest record of each key stays, so that every record needs a key.
    pub is_compacted: bool,
    /// Who scales it.
    pub mode: StreamMode,
    /// Multiple of AWS's shard quotas; none where the stream's kind decides.
    pub quota_factor: Option<f64>,
}

impl StreamConfig {
    /// Checks overrides and computes what follows from them.
    pub fn new(overrides: Overrides, defaults: &TopicDefaults) -> Result<Self, ConfigError> {
        for (name, value) in &overrides {
            match setting(name) {
                None => return Err(ConfigError::Unknown { name: name.clone() }),
                Some(setting) => setting.check(value)?,
            }
        }
        let config = StreamConfig::of(overrides, defaults);
        config.check_together(defaults)?;
        Ok(config)
    }

    /// What follows from overrides that were checked when they were written. What has become
    /// illegal since then is read as well as it can be, so that old data directories open.
    pub(crate) fn of(overrides: Overrides, defaults: &TopicDefaults) -> StreamConfig {
        let values = Values { overrides: &overrides, defaults };
        let (text, whole) = (|name| values.text(name), |name| values.whole(name));
        let flush = values.flush_policy();
        let retention_ms = values.retention("retention.ms");
        let unsigned = |name| whole(name).unsigned_abs();
        let log = LogConfig {
            flush,
            segment_bytes: unsigned("segment.bytes"),
            segment_ms: unsigned("segment.ms"),
            retention_ms,
            retention_bytes: values.retention("retention.bytes"),
            trim_by: match text("weir.trim") {
                "record" => TrimBy::Record,
                _ => TrimBy::Segment,
            },
            index_interval_bytes: u32::try_from(whole("index.interval.bytes")).unwrap_or(u32::MAX),
        };
        StreamConfig {
            flush,
            message_bytes_max: usize::try_from(whole("max.message.bytes")).unwrap_or(usize::MAX),
            timestamp_type: match text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_ms_max: whole("message.timestamp.before.max.ms"),
            timestamp_after_ms_max: whole("message.timestamp.after.max.ms"),
            deletes: values.has_policy("delete"),
            retention_ms,
            log,
            compression: values.compression(),
            is_compacted: values.has_policy("compact"),
            mode: StreamMode::of_setting(text(MODE_SETTING)),
            quota_factor: text("weir.quota.factor").parse().ok(),
            overrides,
        }
    }
}

impl StreamConfig {
    /// What Kafka refuses of settings that are legal by themselves, in its words.
    fn check_together(&self, defaults: &TopicDefaults) -> Result<(), ConfigError> {
        let values = Values { overrides: &self.overrides, defaults };
        let (min, max) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
        let why = if values.whole(min) > values.whole(max) {
            let (least, most) = (values.whole(min), values.whole(max));
            format!("conflict topic config setting {min} ({least}) > {max} ({most})")
        } else if values.text("remote.storage.enable").eq_ignore_ascii_case("true") {
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured \
             with remote log storage."
                .to_owned()
        } else {
            return Ok(());
        };
        Err(ConfigError::Conflict { why })
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

/// What holds for a stream: what was set on it, else the broker's defaults, else the table's.
struct Values<'a> {
    overrides: &'a Overrides,
    defaults: &'a TopicDefaults,
}

impl<'a> Values<'a> {
    /// The value that somebody wrote, on the stream or for the broker.
    fn written(&self, name: &str) -> Option<&'a str> {
        let own = self.overrides.get(name).or_else(|| self.defaults.values.get(name));
        own.map(|value| value.trim())
    }

    /// The value that holds for a listed setting; empty where it has none.
    fn text(&self, name: &str) -> &'a str {
        let setting = setting(name).expect("the setting is listed in config_table");
        self.written(name).or(setting.default).unwrap_or_default()
    }

    fn whole(&self, name: &str) -> i64 {
        self.text(name).parse().expect("the table's check let only whole numbers in")
    }

    /// `weir.flush` if it is set, else what Kafka's two settings ask for, else the server's
    /// default.
    fn flush_policy(&self) -> FlushPolicy {
        match self.text("weir.flush") {
            "group" => return FlushPolicy::Group,
            "interval" => return FlushPolicy::INTERVAL,
            "os" => return FlushPolicy::Os,
            _ => {}
        }
        if self.whole("flush.messages") == 1 {
            return FlushPolicy::Group;
        }
        if self.written("flush.ms").is_some() {
            let delay = Duration::from_millis(self.whole("flush.ms").unsigned_abs());
            return match FlushPolicy::INTERVAL {
                FlushPolicy::Interval { bytes, .. } => FlushPolicy::Interval { delay, bytes },
                other => other,
            };
        }
        self.defaults.flush
    }

    fn has_policy(&self, wanted: &str) -> bool {
        words_of(self.text("cleanup.policy")).any(|policy| policy == wanted)
    }

    fn compression(&self) -> Option<Compression> {
        let level = |name| self.whole(name);
        match self.text("compression.type") {
            "uncompressed" => Some(Compression::None),
            "gzip" => Some(match u32::try_from(level("compression.gzip.level")) {
                Ok(level) => Compression::Gzip { level },
                Err(_) => Compression::of(Codec::Gzip),
            }),
            "snappy" => Some(Compression::Snappy),
            "lz4" => Some(Compression::Lz4),
            "zstd" => Some(match i32::try_from(level("compression.zstd.level")) {
                Ok(level) => Compression::Zstd { level },
                Err(_) => Compression::of(Codec::Zstd),
            }),
            _ => None,
        }
    }

    /// How much of a log age or size leaves; none: all. Where the policy is `compact` alone the
    /// newest record of each key is to stay, and since compaction is not built, all do.
    fn retention(&self, name: &str) -> Option<u64> {
        if self.has_policy("delete") { u64::try_from(self.whole(name)).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Result<StreamConfig, ConfigError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        StreamConfig::new(
            settings.iter().map(own).collect(),
            &TopicDefaults::of_the_table(FlushPolicy::Os),
        )
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
            StreamConfig::new(overrides, &TopicDefaults::of_the_table(FlushPolicy::Group))
                .expect("legal")
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
    fn the_codec_and_its_level_follow_from_two_settings() {
        for (settings, expected) in [
            (&[][..], None),
            (&[("compression.type", "producer")], None),
            (&[("compression.type", "uncompressed")], Some(Compression::None)),
            (&[("compression.type", "gzip")], Some(Compression::Gzip { level: 6 })),
            (
                &[("compression.type", "gzip"), ("compression.gzip.level", "9")],
                Some(Compression::Gzip { level: 9 }),
            ),
            (
                &[("compression.type", "zstd"), ("compression.zstd.level", "-7")],
                Some(Compression::Zstd { level: -7 }),
            ),
        ] {
            assert_eq!(config(settings).expect("legal").compression, expected, "{settings:?}");
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        let unknown = ConfigError::Unknown { name: "retention.minutes".to_owned() };
        assert_eq!(config(&[("retention.minutes", "1")]), Err(unknown));
    }
}
