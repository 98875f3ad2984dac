//! Settings with where they come from, as clients are told.

use crate::settings::broker_settings::TopicDefaults;
use crate::settings::configurations::{Configurations, table_of};
use crate::settings::holder::{Holder, Resource};
use crate::settings::setting::Setting;
use crate::settings::table::broker_setting;
use crate::stream::config::StreamConfig;
use crate::stream::config_table::TOPIC_SETTINGS;

/// Where a value was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the stream.
    Stream,
    /// For this broker, while it ran.
    Broker,
    /// For all brokers, while they ran.
    AllBrokers,
    /// When the broker was started.
    Start,
    /// Nowhere.
    Default,
    /// On the group.
    Group,
    /// On the client metrics subscription.
    ClientMetrics,
}

/// A value with its name and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetValue {
    /// The setting, of the resource or of the broker.
    pub name: &'static str,
    /// The value.
    pub value: String,
    /// Where it was set.
    pub source: Source,
}

/// A setting and what holds.
#[derive(Clone, Debug)]
pub struct DescribedSetting {
    /// The line of the table.
    pub setting: &'static Setting,
    /// The value that holds; none where nothing does.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Everything that was set and could hold, the strongest first.
    pub synonyms: Vec<SetValue>,
}

impl Configurations {
    /// All settings of a resource; none if it is a stream that does not live.
    pub fn describe(&self, resource: &Resource) -> Option<Vec<DescribedSetting>> {
        match resource {
            Resource::Stream(name) => {
                let stream = self.registry().by_name(name)?;
                Some(self.describe_stream(&stream.config()))
            }
            Resource::Held(Holder::AllBrokers) => Some(self.describe_all_brokers()),
            Resource::Held(Holder::Broker) => {
                let describe = |setting| described(setting, None, self.of_broker(setting.name));
                Some(table_of(&Holder::Broker).iter().map(describe).collect())
            }
            Resource::Held(holder) => Some(self.describe_held(holder)),
        }
    }

    /// All settings of a stream that runs with these.
    pub fn describe_stream(&self, config: &StreamConfig) -> Vec<DescribedSetting> {
        let defaults = self.registry().defaults();
        let describe = |setting| self.describe_stream_setting(setting, config, &defaults);
        TOPIC_SETTINGS.iter().map(describe).collect()
    }

    fn describe_stream_setting(
        &self,
        setting: &'static Setting,
        config: &StreamConfig,
        defaults: &TopicDefaults,
    ) -> DescribedSetting {
        let own = config.overrides.get(setting.name).map(|value| SetValue {
            name: setting.name,
            value: value.clone(),
            source: Source::Stream,
        });
        // As Kafka tells it, only the first of the broker's settings counts as a synonym.
        let broker = setting.synonyms.first().map(|synonym| self.of_broker(synonym.name));
        let synonyms = own.into_iter().chain(broker.unwrap_or_default()).collect();
        let value = defaults.values.get(setting.name).cloned();
        described(setting, value, synonyms)
    }

    fn describe_all_brokers(&self) -> Vec<DescribedSetting> {
        let describe = |(name, value): (&String, &String)| {
            let setting = broker_setting(name)?;
            let value = value.clone();
            let set = SetValue { name: setting.name, value, source: Source::AllBrokers };
            Some(described(setting, None, vec![set]))
        };
        self.of(&Holder::AllBrokers).iter().filter_map(describe).collect()
    }

    fn describe_held(&self, holder: &Holder) -> Vec<DescribedSetting> {
        let own = self.of(holder);
        let settings = self.settings();
        let describe = |setting: &'static Setting| {
            let name = setting.name;
            let set = own.get(name).map(|value| (value.clone(), source_of(holder)));
            let broker = setting.synonyms.first();
            let broker = broker.and_then(|synonym| settings.written.value(synonym.name));
            let default = broker.or(setting.default).map(str::to_owned);
            let default = default.clone().filter(|_| matches!(holder, Holder::Group(_)));
            let set = set.or(default.map(|value| (value, Source::Default)));
            let synonyms = set.map(|(value, source)| SetValue { name, value, source });
            described(setting, None, synonyms.into_iter().collect())
        };
        table_of(holder).iter().map(describe).collect()
    }

    /// What was set for a setting of the broker, the strongest first, and its default.
    fn of_broker(&self, name: &str) -> Vec<SetValue> {
        let Some(setting) = broker_setting(name) else { return Vec::new() };
        [
            (self.of(&Holder::Broker).remove(name), Source::Broker),
            (self.of(&Holder::AllBrokers).remove(name), Source::AllBrokers),
            (self.started_with.get(name).map(str::to_owned), Source::Start),
            (setting.default.map(str::to_owned), Source::Default),
        ]
        .into_iter()
        .filter_map(|(value, source)| Some(SetValue { name: setting.name, value: value?, source }))
        .collect()
    }
}

fn source_of(holder: &Holder) -> Source {
    match holder {
        Holder::Broker => Source::Broker,
        Holder::AllBrokers => Source::AllBrokers,
        Holder::Group(_) => Source::Group,
        Holder::ClientMetrics(_) => Source::ClientMetrics,
    }
}

/// The strongest of the synonyms holds, else `otherwise`, else the table's default.
fn described(
    setting: &'static Setting,
    otherwise: Option<String>,
    synonyms: Vec<SetValue>,
) -> DescribedSetting {
    let strongest = synonyms.first();
    let source = strongest.map_or(Source::Default, |set| set.source);
    let value = match strongest {
        // A weaker synonym in another unit may give what no setting of the strongest name does.
        Some(set) if set.source != Source::Default || otherwise.is_none() => {
            Some(set.value.clone())
        }
        _ => otherwise.or_else(|| setting.default.map(str::to_owned)),
    };
    DescribedSetting { setting, value, source, synonyms }
}
