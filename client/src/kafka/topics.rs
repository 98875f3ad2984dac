//! Topics of a Kafka: made, shown, changed and removed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;

use weir_kafka_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use weir_kafka_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use weir_kafka_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use weir_kafka_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use weir_kafka_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use weir_kafka_protocol::{ErrorCode, Uuid};
use weir_model::ids::StreamId;

use super::offsets::Wanted;
use super::{Kafka, Topic, errors, wire_index};
use crate::admin::{PartitionCounts, Settings, is_own, note_loss};
use crate::described::{By, Described, DescribedPartition};
use crate::error::{Error, Reason};

const CREATE_VERSION_MAX: i16 = 7;
/// The last version that removes topics by name alone.
const DELETE_VERSION_MAX: i16 = 5;
const CONFIGS_VERSION_MAX: i16 = 4;
const ALTER_VERSION_MAX: i16 = 1;
const PARTITIONS_VERSION_MAX: i16 = 3;
/// How long a broker may take for a change, in milliseconds.
const CHANGE_WAIT_MS: i32 = 20_000;
/// A topic, among what has settings.
const RESOURCE_TOPIC: i8 = 2;
/// A setting of the topic's own, among where settings come from.
const SOURCE_TOPIC: i8 = 1;
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// As many as the broker gives where it is none.
    pub(crate) partitions: Option<u32>,
    pub(crate) settings: HashMap<String, String>,
    /// Only judge whether it could be made.
    pub(crate) validate_only: bool,
}

impl Kafka {
    /// Makes a topic; it can be used when this returns. One that a try whose answer was lost has
    /// made is no refusal.
    pub(crate) async fn create_topic(&self, new: &NewTopic) -> Result<Described, Error> {
        let was_lost = AtomicBool::new(false);
        let call = || async {
            let made = self.create_once(new).await;
            note_loss(&made, &was_lost);
            made
        };
        let partitions = match self.retry().run(call).await {
            Err(error) if is_own(&error, Reason::AlreadyExists, &was_lost) => None,
            made => made?,
        };
        if new.validate_only {
            return Ok(Described {
                name: new.name.clone(),
                by: Some(By::Partition),
                open_partitions: partitions.or(new.partitions),
                settings: new.settings.clone().into_iter().collect(),
                ..Described::default()
            });
        }
        // The broker that we ask may not have heard of it yet.
        let known = || async {
            match self.topic(&new.name).await {
                Err(error) if error.reason() == Some(Reason::UnknownStream) => {
                    Err(errors::refusal(Reason::Busy, error.to_string()))
                }
                known => known,
            }
        };
        self.retry().run(known).await?;
        self.describe_topic(&new.name).await
    }

    /// How many partitions it has, or would have, where the broker says so.
    async fn create_once(&self, new: &NewTopic) -> Result<Option<u32>, Error> {
        let config = |(name, value): (&String, &String)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: new.name.clone(),
                // The broker's default, like its replication.
                num_partitions: new.partitions.map_or(Ok(-1), wire_index)?,
                replication_factor: -1,
                assignments: Vec::new(),
                configs: new.settings.iter().map(config).collect(),
            }],
            timeout_ms: CHANGE_WAIT_MS,
            validate_only: new.validate_only,
        };
        let answer = self.call_controller(CREATE_VERSION_MAX, &request).await?;
        let made = answer.topics.into_iter().next().ok_or_else(nothing)?;
        match ErrorCode(made.error_code) {
            ErrorCode::NONE => Ok(u32::try_from(made.num_partitions).ok()),
            ErrorCode::TOPIC_ALREADY_EXISTS => {
                Err(errors::refusal(Reason::AlreadyExists, "a stream of that name exists"))
            }
            ErrorCode(code) => Err(errors::refused(code, made.error_message)),
        }
    }

    /// All topics whose names begin so, ordered by name, without their partitions. Those that the
    /// broker keeps for itself are left out.
    pub(crate) async fn list_topics(&self, prefix: &str) -> Result<Vec<Described>, Error> {
        let cluster = self.retry().run(|| self.cluster(None)).await?;
        let mut shown = Vec::new();
        for topic in &cluster.topics {
            let name = topic.name.clone().unwrap_or_default();
            if topic.is_internal || !name.starts_with(prefix) {
                continue;
            }
            let partitions = u32::try_from(topic.partitions.len()).ok();
            let id = Some(topic.topic_id).filter(|id| *id != Uuid::ZERO);
            shown.push(described(name, id, partitions));
        }
        shown.sort_by(|one, other| one.name.cmp(&other.name));
        let names: Vec<_> = shown.iter().map(|topic| topic.name.clone()).collect();
        let mut settings = self.retry().run(|| self.settings(&names)).await?;
        for topic in &mut shown {
            topic.settings = settings.remove(&topic.name).unwrap_or_default();
        }
        Ok(shown)
    }

    /// One topic with its partitions.
    pub(crate) async fn describe_topic(&self, name: &str) -> Result<Described, Error> {
        let Topic { id, leaders } = self.retry().run(|| self.topic(name)).await?;
        let indexes: Vec<u32> = leaders.into_keys().collect();
        let names = [name.to_owned()];
        let mut settings = self.retry().run(|| self.settings(&names)).await?;
        let starts = self.ends(name, &indexes, Wanted::Earliest).await?;
        let ends = self.ends(name, &indexes, Wanted::HighWatermark).await?;
        let partition = |index: &u32| DescribedPartition {
            index: *index,
            is_open: true,
            log_start: starts.get(index).copied(),
            high_watermark: ends.get(index).copied(),
            ..DescribedPartition::default()
        };
        Ok(Described {
            settings: settings.remove(name).unwrap_or_default(),
            partitions: indexes.iter().map(partition).collect(),
            ..described(name.to_owned(), id, u32::try_from(indexes.len()).ok())
        })
    }

    /// The settings that were set on each of these topics.
    async fn settings(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let resource = |name: &String| DescribeConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: name.clone(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest {
            resources: names.iter().map(resource).collect(),
            ..DescribeConfigsRequest::default()
        };
        let answer = self.call_any(CONFIGS_VERSION_MAX, &request).await?;
        let mut settings = BTreeMap::new();
        for topic in answer.results {
            match ErrorCode(topic.error_code) {
                ErrorCode::NONE => {}
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                    return Err(errors::unknown_stream(&topic.resource_name));
                }
                ErrorCode(code) => return Err(errors::refused(code, topic.error_message)),
            }
            let own =
                topic.configs.into_iter().filter(|config| config.config_source == SOURCE_TOPIC);
            let own = own.map(|config| (config.name, config.value.unwrap_or_default()));
            settings.insert(topic.resource_name, own.collect());
        }
        Ok(settings)
    }

    /// Removes a topic with its records; it is not shown any more when this returns, unless the
    /// brokers take longer than is tried. One that a try whose answer was lost had removed is no
    /// refusal.
    pub(crate) async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        // What cannot be looked at now can be removed all the same.
        let id = self.topic(name).await.ok().and_then(|topic| topic.id);
        let was_lost = AtomicBool::new(false);
        let call = || async {
            let removed = self.delete_once(name).await;
            note_loss(&removed, &was_lost);
            removed
        };
        match self.retry().run(call).await {
            Err(error) if is_own(&error, Reason::UnknownStream, &was_lost) => {}
            removed => removed?,
        }
        // The broker that we ask may not have heard of it yet.
        let forgotten = || async {
            match self.topic(name).await {
                Ok(topic) if topic.id == id => Err(errors::refusal(Reason::Busy, "it is there")),
                _ => Ok(()),
            }
        };
        // It is removed all the same.
        let _ = self.retry().run(forgotten).await;
        Ok(())
    }

    async fn delete_once(&self, name: &str) -> Result<(), Error> {
        let request = DeleteTopicsRequest {
            topics: Vec::<DeleteTopicState>::new(),
            topic_names: vec![name.to_owned()],
            timeout_ms: CHANGE_WAIT_MS,
        };
        let answer = self.call_controller(DELETE_VERSION_MAX, &request).await?;
        let removed = answer.responses.into_iter().next().ok_or_else(nothing)?;
        match ErrorCode(removed.error_code) {
            ErrorCode::NONE => Ok(()),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(errors::unknown_stream(name)),
            ErrorCode(code) => Err(errors::refused(code, removed.error_message)),
        }
    }

    /// Sets settings of a topic and takes others back, all or none.
    pub(crate) async fn alter_topic(&self, name: &str, settings: &Settings) -> Result<(), Error> {
        let set = settings.set.iter().map(|(name, value)| AlterableConfig {
            name: name.clone(),
            config_operation: OPERATION_SET,
            value: Some(value.clone()),
        });
        let removed = settings.removed.iter().map(|name| AlterableConfig {
            name: name.clone(),
            config_operation: OPERATION_DELETE,
            value: None,
        });
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: RESOURCE_TOPIC,
                resource_name: name.to_owned(),
                configs: set.chain(removed).collect(),
            }],
            validate_only: settings.validate_only,
        };
        let call = || async {
            let answer = self.call_controller(ALTER_VERSION_MAX, &request).await?;
            let altered = answer.responses.into_iter().next().ok_or_else(nothing)?;
            match altered.error_code {
                0 => Ok(()),
                code => Err(errors::refused(code, altered.error_message)),
            }
        };
        self.retry().run(call).await
    }

    /// Gives a topic more partitions. A try whose answer was lost may have done so; then the next
    /// one is refused, with how many there are.
    pub(crate) async fn set_topic_partitions(
        &self,
        name: &str,
        partitions: u32,
        validate_only: bool,
    ) -> Result<PartitionCounts, Error> {
        let topic = self.retry().run(|| self.topic(name)).await?;
        let before = u32::try_from(topic.leaders.len()).unwrap_or(u32::MAX);
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.to_owned(),
                count: wire_index(partitions)?,
                assignments: None,
            }],
            timeout_ms: CHANGE_WAIT_MS,
            validate_only,
        };
        let call = || async {
            let answer = self.call_controller(PARTITIONS_VERSION_MAX, &request).await?;
            let changed = answer.results.into_iter().next().ok_or_else(nothing)?;
            match changed.error_code {
                0 => Ok(()),
                code => Err(errors::refused(code, changed.error_message)),
            }
        };
        self.retry().run(call).await?;
        let now = if validate_only { before } else { partitions };
        Ok(PartitionCounts { before, now })
    }
}

fn described(name: String, id: Option<Uuid>, partitions: Option<u32>) -> Described {
    Described {
        name,
        id: id.map(|id| StreamId::from_bytes(id.0).to_string()),
        by: Some(By::Partition),
        open_partitions: partitions,
        ..Described::default()
    }
}

fn nothing() -> Error {
    Error::Protocol("an answer without the topic".to_owned())
}
