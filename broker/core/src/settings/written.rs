//! Settings of the broker as somebody wrote them, each checked by itself.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::settings::table::broker_setting;
use crate::stream::config_table::setting as topic_setting;

/// Legal values by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(BTreeMap<String, String>);

impl Written {
    /// Adds a setting, in place of an earlier value.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let setting = broker_setting(name);
        let setting = setting.ok_or_else(|| ConfigError::Unknown { name: name.to_owned() })?;
        setting.check(value)?;
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// The value that was written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value that holds: the written one, or the table's default.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let setting = broker_setting(name).expect("the setting is listed in the table");
        self.get(name).or(setting.default)
    }
}

/// The broker's setting that gives the default of this topic's setting.
pub fn broker_name_of(topic_setting_name: &str) -> Option<&'static str> {
    let synonyms = topic_setting(topic_setting_name)?.synonyms;
    synonyms.first().map(|synonym| synonym.name)
}
