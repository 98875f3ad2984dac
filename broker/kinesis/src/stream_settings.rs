//! A stream's settings as Kinesis shows them.

use weir_core::stream::config::StreamConfig;

/// The setting that holds a stream's mode.
pub(crate) const MODE_SETTING: &str = "weir.stream.mode";

/// What Kafka's default limit of a batch leaves for the batch around one record of 1 MiB.
pub(crate) const RECORD_OVERHEAD_BYTES: i64 = 12;

/// Who scales a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamMode {
    Provisioned,
    OnDemand,
}

impl StreamMode {
    /// The mode that a stream was made with.
    pub(crate) fn of(config: &StreamConfig) -> StreamMode {
        match config.overrides.get(MODE_SETTING).map(String::as_str) {
            Some("ON_DEMAND") => StreamMode::OnDemand,
            _ => StreamMode::Provisioned,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            StreamMode::Provisioned => "PROVISIONED",
            StreamMode::OnDemand => "ON_DEMAND",
        }
    }
}

/// Largest record in KiB, within the 1,024 to 10,240 that Kinesis knows.
pub(crate) fn max_record_kib(config: &StreamConfig) -> usize {
    (config.message_bytes_max / 1024).clamp(1024, 10_240)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::FlushPolicy;
    use weir_core::settings::broker_settings::TopicDefaults;

    fn config(settings: &[(&str, &str)]) -> StreamConfig {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let overrides = settings.iter().map(own).collect();
        StreamConfig::new(overrides, &TopicDefaults::of_the_table(FlushPolicy::Os))
            .expect("legal settings")
    }

    #[test]
    fn the_largest_record_is_shown_within_awss_bounds() {
        for (message_bytes_max, kib) in
            [("1048588", 1024), ("1000", 1024), ("5242892", 5120), ("2147483647", 10_240)]
        {
            let config = config(&[("max.message.bytes", message_bytes_max)]);
            assert_eq!(max_record_kib(&config), kib, "{message_bytes_max}");
        }
    }

    #[test]
    fn streams_made_by_kafka_are_provisioned() {
        assert_eq!(StreamMode::of(&config(&[])), StreamMode::Provisioned);
        let on_demand = config(&[(MODE_SETTING, "ON_DEMAND")]);
        assert_eq!(StreamMode::of(&on_demand), StreamMode::OnDemand);
    }
}
