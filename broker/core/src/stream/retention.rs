//! How long a stream keeps its records, in whole hours as Kinesis has it.
//!
//! The setting behind it is `retention.ms`, and Kafka may have written any value there. Hours are
//! that value rounded up, within the 24 to 8,760 that Kinesis knows; a change asked for in hours
//! never moves the value in the other direction than the one that was asked for.

use weir_model::ids::StreamId;

use crate::broker::Broker;
use crate::error::{AmendError, RetentionRefusal};
use crate::stream::amend::Draft;
use crate::stream::config::StreamConfig;

const HOUR_MS: u64 = 3_600_000;

/// Fewest hours that can be asked for.
pub const RETENTION_HOURS_MIN: u64 = 24;
/// Most hours that can be asked for: a year.
pub const RETENTION_HOURS_MAX: u64 = 8_760;

/// A wish for another retention, in hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionChange {
    /// Keep records for so long, which must not be shorter than now.
    Increase(i64),
    /// Keep records for so long, which must not be longer than now.
    Decrease(i64),
}

/// The retention in hours, rounded up, within the bounds that Kinesis knows.
pub fn retention_hours(config: &StreamConfig) -> u64 {
    match config.retention_ms {
        Some(retention_ms) => {
            retention_ms.div_ceil(HOUR_MS).clamp(RETENTION_HOURS_MIN, RETENTION_HOURS_MAX)
        }
        None => RETENTION_HOURS_MAX,
    }
}

impl Broker {
    /// Makes a stream keep its records longer or shorter. Asking for what holds changes nothing.
    pub async fn change_retention(
        &self,
        stream: StreamId,
        change: RetentionChange,
    ) -> Result<(), AmendError<RetentionRefusal>> {
        self.registry().amend(stream, move |draft| apply(draft, change)).await
    }
}

fn apply(draft: &mut Draft, change: RetentionChange) -> Result<(), RetentionRefusal> {
    let (RetentionChange::Increase(asked) | RetentionChange::Decrease(asked)) = change;
    let hours = match u64::try_from(asked) {
        Ok(hours) if hours > RETENTION_HOURS_MAX => return Err(RetentionRefusal::TooLong),
        Ok(hours) if hours >= RETENTION_HOURS_MIN => hours,
        _ => return Err(RetentionRefusal::TooShort),
    };
    let now_hours = retention_hours(&draft.present);
    let (now_ms, asked_ms) = (draft.present.retention_ms.unwrap_or(u64::MAX), hours * HOUR_MS);
    let moves = match change {
        RetentionChange::Increase(_) if hours < now_hours => {
            return Err(RetentionRefusal::ShorterThanNow { now_hours });
        }
        RetentionChange::Decrease(_) if hours > now_hours => {
            return Err(RetentionRefusal::LongerThanNow { now_hours });
        }
        // Where Kafka set no whole hours, the same hours may mean a move in the other direction.
        RetentionChange::Increase(_) => asked_ms > now_ms,
        RetentionChange::Decrease(_) => asked_ms < now_ms,
    };
    if moves {
        draft.set("retention.ms", asked_ms);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::broker_settings::TopicDefaults;
    use crate::stream::attributes::StreamAttributes;
    use std::sync::Arc;
    use weir_model::time::Timestamp;
    use weir_storage::config::FlushPolicy;

    fn config(retention_ms: &str) -> StreamConfig {
        let settings = [("retention.ms".to_owned(), retention_ms.to_owned())];
        StreamConfig::new(settings.into(), &TopicDefaults::of_the_table(FlushPolicy::Os))
            .expect("legal settings")
    }

    #[test]
    fn retention_is_shown_in_hours_rounded_up() {
        for (retention_ms, hours) in [
            ("-1", 8760),
            ("0", 24),
            ("86400000", 24),
            ("86400001", 25),
            ("604800000", 168),
            ("9223372036854775807", 8760),
        ] {
            assert_eq!(retention_hours(&config(retention_ms)), hours, "{retention_ms}");
        }
    }

    #[test]
    fn a_retention_that_is_no_whole_hours_never_moves_the_other_way() {
        for (now_ms, change, then_ms) in [
            ("86400001", RetentionChange::Increase(25), "90000000"),
            ("86400001", RetentionChange::Decrease(25), "86400001"),
            ("1000", RetentionChange::Decrease(24), "1000"),
            ("1000", RetentionChange::Increase(24), "86400000"),
            ("-1", RetentionChange::Increase(8760), "-1"),
            ("-1", RetentionChange::Decrease(8760), "31536000000"),
            ("-1", RetentionChange::Decrease(24), "86400000"),
        ] {
            let present = Arc::new(config(now_ms));
            let settings = present.overrides.clone();
            let attributes = StreamAttributes::default();
            let now = Timestamp::from_millis(0);
            let state = crate::stream::state::State::Active;
            let mut draft = Draft { present, settings, attributes, now, state };
            assert_eq!(apply(&mut draft, change), Ok(()), "{now_ms} {change:?}");
            assert_eq!(draft.settings["retention.ms"], then_ms, "{now_ms} {change:?}");
        }
    }
}
