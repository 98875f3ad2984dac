//! Who scales a stream: its owner, or the broker by what is written to it.
//!
//! A switch changes no shard: the stream goes on with those that it has, until the
//! [rule](crate::stream::on_demand) of on-demand streams finds them too few.

use weir_model::ids::StreamId;

use crate::broker::Broker;
use crate::error::{AmendError, ModeRefusal};
use crate::stream::amend::Draft;
use crate::stream::distribution::Distribution;
use crate::stream::state::State;
use crate::stream::warm_throughput::WarmThroughput;

/// How often within a day a stream may be switched.
pub const MODE_SWITCHES_PER_DAY_MAX: usize = 2;

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
    /// The mode that the setting's value names.
    pub(super) fn of_setting(value: &str) -> StreamMode {
        match value {
            "ON_DEMAND" => StreamMode::OnDemand,
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

/// A wish for another mode.
#[derive(Clone, Copy, Debug)]
pub struct ModeChange {
    /// The mode.
    pub mode: StreamMode,
    /// Warm throughput that is asked for with it, in MiB/s.
    pub warm_throughput_mib: Option<u64>,
}

impl Broker {
    /// Switches a stream's mode. The mode that it has already changes nothing and does not count
    /// as a switch.
    pub async fn change_mode(
        &self,
        stream: StreamId,
        change: ModeChange,
    ) -> Result<(), AmendError<ModeRefusal>> {
        let per_day_max = self.daily_limit(MODE_SWITCHES_PER_DAY_MAX);
        let warm = WarmThroughput::of(self);
        let updating = self.passing(State::Updating);
        let amended = self.registry().amend(stream, move |draft| {
            draft.pass(updating);
            if draft.present.mode != change.mode {
                switch(draft, change.mode, per_day_max)?;
            }
            if let Some(mib) = change.warm_throughput_mib {
                warm.set(draft, change.mode, mib).map_err(ModeRefusal::WarmThroughput)?;
            }
            Ok(())
        });
        amended.await
    }
}

fn switch(draft: &mut Draft, mode: StreamMode, per_day_max: usize) -> Result<(), ModeRefusal> {
    let (attributes, now) = (&mut draft.attributes, draft.now);
    if attributes.mode_switches.within_a_day(now) >= per_day_max {
        return Err(ModeRefusal::TooOften { per_day_max });
    }
    attributes.mode_switches.add(now);
    if mode == StreamMode::Provisioned {
        // What provisioned streams do not have. AWS's ways here were not recorded; a stream whose
        // owner splits its shards by their keys again has to be written by keys.
        attributes.distribution = Distribution::ByKey;
        attributes.warm_throughput_mib = None;
    }
    draft.set(MODE_SETTING, mode.name());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::broker_settings::TopicDefaults;
    use crate::stream::config::{Overrides, StreamConfig};
    use weir_storage::config::FlushPolicy;

    #[test]
    fn streams_made_by_kafka_are_provisioned() {
        let defaults = TopicDefaults::of_the_table(FlushPolicy::Os);
        let mode = |settings: Overrides| {
            StreamConfig::new(settings, &defaults).expect("legal settings").mode
        };
        assert_eq!(mode(Overrides::new()), StreamMode::Provisioned);
        for expected in [StreamMode::Provisioned, StreamMode::OnDemand] {
            let settings = [(MODE_SETTING.to_owned(), expected.name().to_owned())];
            assert_eq!(mode(settings.into()), expected);
        }
    }
}
