//! How a stream's attributes are written: the member `attributes` of the [row](super::row).
//!
//! Every member may be absent, and is where it says nothing: rows that were written before there
//! was such a member are read as streams without it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use weir_model::time::Timestamp;

use crate::stream::attributes::StreamAttributes;
use crate::stream::consumers::{Consumer, Consumers};
use crate::stream::distribution::Distribution;
use crate::stream::encryption::{Encryption, EncryptionParts};
use crate::stream::labels::Labels;
use crate::stream::monitoring::ShardMetric;
use crate::stream::policy::Policy;
use crate::stream::rolling_count::RollingCount;
use crate::stream::state::{Passing, State};
use crate::stream::tags::Tags;

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AttributesRow {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    /// As it was written: a text that holds JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "EncryptionRow::is_empty")]
    encryption: EncryptionRow,
    /// By AWS's names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shard_metrics: Vec<String>,
    #[serde(skip_serializing_if = "DistributionRow::is_default")]
    distribution: DistributionRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_throughput_mib: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mode_switches_ms: Vec<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consumers: Vec<ConsumerRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passing: Option<PassingRow>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
struct PassingRow {
    state: StateRow,
    until_ms: i64,
}

/// A state that passes.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateRow {
    Creating,
    Updating,
    Deleting,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct ConsumerRow {
    name: String,
    created_ms: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passing: Option<PassingRow>,
}

/// Times in ms since 1970.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct EncryptionRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    turns_ms: Vec<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    started_ms: Vec<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stopped_ms: Vec<i64>,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DistributionRow {
    #[default]
    ByKey,
    Even,
}

impl AttributesRow {
    pub(super) fn of(attributes: &StreamAttributes) -> AttributesRow {
        let metric_names = attributes.shard_metrics.iter().map(|metric| metric.name().to_owned());
        AttributesRow {
            tags: attributes.labels.tags.to_row(),
            policy: policy_row(&attributes.labels),
            encryption: EncryptionRow::of(&attributes.encryption),
            shard_metrics: metric_names.collect(),
            distribution: match attributes.distribution {
                Distribution::ByKey => DistributionRow::ByKey,
                Distribution::Even => DistributionRow::Even,
            },
            warm_throughput_mib: attributes.warm_throughput_mib,
            mode_switches_ms: attributes.mode_switches.to_row(),
            consumers: attributes.consumers.iter().map(ConsumerRow::of).collect(),
            passing: attributes.passing.and_then(PassingRow::of),
        }
    }

    /// Whether it says nothing, and need not be written.
    pub(super) fn is_empty(&self) -> bool {
        *self == AttributesRow::default()
    }

    pub(super) fn into_attributes(self) -> StreamAttributes {
        let metrics = self.shard_metrics.iter();
        let consumers = self.consumers.into_iter().map(ConsumerRow::into_consumer);
        StreamAttributes {
            labels: labels_of(self.tags, self.policy),
            encryption: self.encryption.into_encryption(),
            // A figure that is not known, of a later release, is not shown.
            shard_metrics: metrics.filter_map(|name| ShardMetric::of_name(name)).collect(),
            distribution: match self.distribution {
                DistributionRow::ByKey => Distribution::ByKey,
                DistributionRow::Even => Distribution::Even,
            },
            warm_throughput_mib: self.warm_throughput_mib,
            mode_switches: RollingCount::of_row(self.mode_switches_ms),
            consumers: Consumers::of_row(consumers),
            passing: self.passing.map(PassingRow::into_passing),
        }
    }
}

fn policy_row(labels: &Labels) -> Option<String> {
    labels.policy.as_ref().map(|policy| policy.as_str().to_owned())
}

fn labels_of(tags: BTreeMap<String, String>, policy: Option<String>) -> Labels {
    Labels { tags: Tags::of_row(tags), policy: policy.map(Policy::of_row) }
}

impl ConsumerRow {
    fn of(consumer: &Consumer) -> ConsumerRow {
        ConsumerRow {
            name: consumer.name.clone(),
            created_ms: consumer.created.as_millis(),
            tags: consumer.labels.tags.to_row(),
            policy: policy_row(&consumer.labels),
            passing: consumer.passing.and_then(PassingRow::of),
        }
    }

    fn into_consumer(self) -> Consumer {
        Consumer {
            name: self.name,
            created: Timestamp::from_millis(self.created_ms),
            labels: labels_of(self.tags, self.policy),
            passing: self.passing.map(PassingRow::into_passing),
        }
    }
}

impl PassingRow {
    fn of(passing: Passing) -> Option<PassingRow> {
        let state = match passing.state {
            State::Creating => StateRow::Creating,
            State::Updating => StateRow::Updating,
            State::Deleting => StateRow::Deleting,
            State::Active => return None,
        };
        Some(PassingRow { state, until_ms: passing.until.as_millis() })
    }

    fn into_passing(self) -> Passing {
        let state = match self.state {
            StateRow::Creating => State::Creating,
            StateRow::Updating => State::Updating,
            StateRow::Deleting => State::Deleting,
        };
        Passing { state, until: Timestamp::from_millis(self.until_ms) }
    }
}

impl EncryptionRow {
    fn of(encryption: &Encryption) -> EncryptionRow {
        let parts = encryption.parts();
        EncryptionRow {
            key: parts.key,
            turns_ms: parts.turns.iter().map(|turn| turn.as_millis()).collect(),
            started_ms: parts.started.to_row(),
            stopped_ms: parts.stopped.to_row(),
        }
    }

    fn is_empty(&self) -> bool {
        *self == EncryptionRow::default()
    }

    fn into_encryption(self) -> Encryption {
        Encryption::of_parts(EncryptionParts {
            key: self.key,
            turns: self.turns_ms.into_iter().map(Timestamp::from_millis).collect(),
            started: RollingCount::of_row(self.started_ms),
            stopped: RollingCount::of_row(self.stopped_ms),
        })
    }
}

impl DistributionRow {
    fn is_default(&self) -> bool {
        *self == DistributionRow::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every member as it was first written. It must be read for ever.
    const FIRST: &str = concat!(
        r#"{"tags":{"team":"blue"},"policy":"{\"Statement\":{}}","#,
        r#""encryption":{"key":"alias/a","turns_ms":[1],"started_ms":[1,2],"stopped_ms":[3]},"#,
        r#""shard_metrics":["IncomingBytes","OutgoingBytes"],"#,
        r#""distribution":"even","warm_throughput_mib":8,"mode_switches_ms":[4],"#,
        r#""consumers":[{"name":"c","created_ms":5,"tags":{"a":"b"}},"#,
        r#"{"name":"d","created_ms":6,"passing":{"state":"deleting","until_ms":9}}],"#,
        r#""passing":{"state":"updating","until_ms":8}}"#,
    );

    #[test]
    fn attributes_are_read_and_written_back_the_same() {
        let row: AttributesRow = serde_json::from_str(FIRST).expect("a legal row");
        let attributes = row.into_attributes();
        assert_eq!(attributes.labels.tags.iter().collect::<Vec<_>>(), [("team", "blue")]);
        assert_eq!(attributes.encryption.key(), Some("alias/a"));
        assert_eq!(attributes.shard_metrics.len(), 2);
        assert_eq!(attributes.distribution, Distribution::Even);
        let written = serde_json::to_string(&AttributesRow::of(&attributes)).expect("JSON");
        assert_eq!(written, FIRST);
    }

    #[test]
    fn absent_attributes_are_read_as_none_and_not_written() {
        let row: AttributesRow = serde_json::from_str("{}").expect("a legal row");
        assert!(row.is_empty());
        assert_eq!(row.into_attributes(), StreamAttributes::default());
    }
}
