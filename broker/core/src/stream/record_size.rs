//! The largest record of a stream, in KiB as Kinesis has it.
//!
//! The setting behind it is Kafka's `max.message.bytes`, which limits a batch. A batch around one
//! record of the largest size is let through too, so that what Kinesis may write Kafka may.

use std::convert::Infallible;

use weir_model::ids::StreamId;

use crate::broker::Broker;
use crate::error::AmendError;
use crate::stream::config::StreamConfig;
use crate::stream::state::State;

/// The setting.
const SETTING: &str = "max.message.bytes";

/// What Kafka's default limit of a batch leaves for the batch around one record of 1 MiB.
const RECORD_OVERHEAD_BYTES: u64 = 12;

/// Smallest limit that Kinesis knows, in KiB.
const RECORD_KIB_MIN: usize = 1_024;
/// Largest limit that Kinesis knows, in KiB.
const RECORD_KIB_MAX: usize = 10_240;

/// Largest record in KiB, within the 1,024 to 10,240 that Kinesis knows.
pub fn record_kib_max(config: &StreamConfig) -> usize {
    (config.message_bytes_max / 1024).clamp(RECORD_KIB_MIN, RECORD_KIB_MAX)
}

/// The setting, and its value for records of so many KiB.
pub fn record_size_setting(kib: u64) -> (String, String) {
    (SETTING.to_owned(), (kib * 1024 + RECORD_OVERHEAD_BYTES).to_string())
}

impl Broker {
    /// Lets the records of a stream have so many KiB from the next write on. What is larger and
    /// already written stays.
    pub async fn change_record_size(
        &self,
        stream: StreamId,
        kib: u64,
    ) -> Result<(), AmendError<Infallible>> {
        let (name, value) = record_size_setting(kib);
        let updating = self.passing(State::Updating);
        let amended = self.registry().amend(stream, move |draft| {
            draft.pass(updating);
            draft.set(&name, value);
            Ok(())
        });
        amended.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::broker_settings::TopicDefaults;
    use weir_storage::config::FlushPolicy;

    fn config(bytes: &str) -> StreamConfig {
        let settings = [(SETTING.to_owned(), bytes.to_owned())];
        StreamConfig::new(settings.into(), &TopicDefaults::of_the_table(FlushPolicy::Os))
            .expect("legal settings")
    }

    #[test]
    fn the_largest_record_is_shown_within_awss_bounds() {
        for (message_bytes_max, kib) in
            [("1048588", 1024), ("1000", 1024), ("5242892", 5120), ("2147483647", 10_240)]
        {
            assert_eq!(record_kib_max(&config(message_bytes_max)), kib, "{message_bytes_max}");
        }
        for kib in [1024, 10_240] {
            let (_, value) = record_size_setting(kib);
            assert_eq!(record_kib_max(&config(&value)) as u64, kib);
        }
    }
}
