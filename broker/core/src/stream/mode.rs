//! Who scales a stream: its owner, or the broker by what is written to it.

use crate::stream::config::StreamConfig;

/// The setting that holds a stream's mode.
pub const MODE_SETTING: &str = "weir.stream.mode";

/// Who scales a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamMode {
    /// Its owner, by splitting and merging shards.
    Provisioned,
    /// The broker.
    OnDemand,
}

impl StreamMode {
    /// The mode that a stream has; those made by Kafka are provisioned.
    pub fn of(config: &StreamConfig) -> StreamMode {
        match config.overrides.get(MODE_SETTING).map(String::as_str) {
            Some("ON_DEMAND") => StreamMode::OnDemand,
            _ => StreamMode::Provisioned,
        }
    }

    /// Its name, as settings and AWS have it.
    pub const fn name(self) -> &'static str {
        match self {
            StreamMode::Provisioned => "PROVISIONED",
            StreamMode::OnDemand => "ON_DEMAND",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::broker_settings::TopicDefaults;
    use crate::stream::config::Overrides;
    use weir_storage::config::FlushPolicy;

    #[test]
    fn streams_made_by_kafka_are_provisioned() {
        let defaults = TopicDefaults::of_the_table(FlushPolicy::Os);
        let mode = |settings: Overrides| {
            StreamMode::of(&StreamConfig::new(settings, &defaults).expect("legal settings"))
        };
        assert_eq!(mode(Overrides::new()), StreamMode::Provisioned);
        for expected in [StreamMode::Provisioned, StreamMode::OnDemand] {
            let settings = [(MODE_SETTING.to_owned(), expected.name().to_owned())];
            assert_eq!(mode(settings.into()), expected);
        }
    }
}
