//! CreateTopics (key 19), versions 2 to 7: make topics, all of a request in one commit.
//!
//! - Partitions -1 is the broker's default, replication factor -1 is 1; a factor above 1 is
//!   INVALID_REPLICATION_FACTOR, since there is one broker.
//! - A manual assignment must number its partitions from 0 without a gap and name this broker
//!   alone, and leaves both counts at -1.
//! - A topic named twice is INVALID_REQUEST, once.
//! - More than 10,000 partitions in one request are POLICY_VIOLATION for all of its topics; so are
//!   more than 10,000 topics, partitions and settings together, and more partitions than the broker
//!   may have.
//! - Settings are checked by the core's table: unknown ones and bad values are INVALID_CONFIG.
//! - A topic that the client's controller mutation quota does not reach is
//!   THROTTLING_QUOTA_EXCEEDED; before version 6 it is made, and the client paused (KIP-599).
//! - validate_only checks everything and makes nothing. 5+: the settings that hold are returned.
//!   7+: the topic's id.
//!
//! Left out: the request's timeout, since the answer is given when the topics are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_core::settings::broker_settings::{ReplicationFactors, TopicSettings};
use weir_core::settings::describe::DescribedSetting;
use weir_core::stream::attributes::StreamAttributes;
use weir_core::stream::config_table::setting as topic_setting;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicConfigs,
    CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use weir_model::ids::StreamName;

use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::configs::source_code;
use crate::errors::{Refusal, create_refusal, name_refusal};
use crate::exchange::RequestContext;
use crate::pauses::pause_ms;
use crate::replicas::check_assignment;
use crate::topic::{PARTITIONS_PER_REQUEST_MAX, RECORDS_PER_REQUEST_MAX, each_by_name, topic_id};

pub(crate) const GAPS: &[&str] = &["the request's timeout is not used"];

/// First version whose clients know that they may be over their quota.
const OVER_QUOTA_FROM: i16 = 6;
/// First version whose answers carry the settings.
const SETTINGS_FROM: i16 = 5;
/// What Kafka calls "the broker's default" in both counts.
const BROKER_DEFAULT: i32 = -1;

pub(crate) async fn handle(
    context: RequestContext,
    request: CreateTopicsRequest,
) -> Result<CreateTopicsResponse, CloseReason> {
    let intent = if request.validate_only { Intent::Validate } else { Intent::Make };
    let mut topics = Vec::with_capacity(request.topics.len());
    let (mut legal_names, mut legal) = (Vec::new(), Vec::new());
    let asked = each_by_name(request.topics, |topic| topic.name.clone());
    let asked_partitions = partitions_in_all(&context, &asked);
    for (name, wanted) in asked {
        match wanted.and_then(|topic| new_stream(&context, topic, intent)) {
            Ok(new) => {
                legal_names.push(name);
                legal.push(new);
            }
            Err(refusal) => topics.push(refused(&context, name, refusal)),
        }
    }
    let quota = context.mutation_quota(OVER_QUOTA_FROM);
    if let Err(refusal) = check_size(&context, asked_partitions, &legal) {
        let names = topics.drain(..).map(|topic| topic.name).chain(legal_names);
        topics = names.map(|name| refused(&context, name, refusal.clone())).collect();
    } else if !legal.is_empty() {
        let results = context.broker().create_streams_within(&quota, legal).await;
        for (name, result) in legal_names.into_iter().zip(results) {
            topics.push(match result {
                Ok(stream) => created(&context, name, &stream, intent),
                Err(error) => {
                    let refusal = create_refusal(&name, &error);
                    refused(&context, name, refusal)
                }
            });
        }
    }
    Ok(CreateTopicsResponse { throttle_time_ms: pause_ms(quota.pause()), topics })
}

/// Partitions of all topics of a request, legal or not.
fn partitions_in_all(
    context: &RequestContext,
    asked: &BTreeMap<String, Result<CreatableTopic, Refusal>>,
) -> u64 {
    let default = u64::from(context.broker().settings().topics.partitions);
    let partitions = |topic: &CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len() as u64,
        BROKER_DEFAULT => default,
        count => u64::try_from(count).unwrap_or(0),
    };
    asked.values().filter_map(|asked| asked.as_ref().ok()).map(partitions).sum()
}

/// Refuses a request that asks for too much at once, in Kafka's words for its two limits.
fn check_size(
    context: &RequestContext,
    asked_partitions: u64,
    legal: &[NewStream],
) -> Result<(), Refusal> {
    let is_new = |new: &&NewStream| context.broker().stream(new.name.as_str()).is_none();
    let records = |new: &NewStream| {
        // Unknown names are refused by the core, each topic by itself.
        let settings = new.overrides.keys().filter(|name| topic_setting(name).is_some()).count();
        1 + u64::from(new.partitions) + settings as u64
    };
    let text = if asked_partitions > PARTITIONS_PER_REQUEST_MAX {
        "Excessively large number of partitions per request."
    } else if legal.iter().filter(is_new).map(records).sum::<u64>() > RECORDS_PER_REQUEST_MAX {
        "Unable to perform excessively large batch operation."
    } else {
        return Ok(());
    };
    Err(Refusal::because(ErrorCode::POLICY_VIOLATION, text))
}

/// What the core is asked to make.
fn new_stream(
    context: &RequestContext,
    topic: CreatableTopic,
    intent: Intent,
) -> Result<NewStream, Refusal> {
    let name = StreamName::new(&topic.name).map_err(|error| name_refusal(&topic.name, error))?;
    let settings = context.broker().settings().topics;
    let partitions = if topic.assignments.is_empty() {
        check_replication_factor(topic.replication_factor, settings)?;
        partition_count(topic.num_partitions, settings.partitions)?
    } else {
        assigned_partitions(&topic, context.broker().options().node_id)?
    };
    let overrides = overrides(topic.configs)?;
    Ok(NewStream {
        name,
        routing: Routing::ByPartition,
        partitions,
        overrides,
        attributes: StreamAttributes::default(),
        intent,
    })
}

fn check_replication_factor(wanted: i16, settings: TopicSettings) -> Result<(), Refusal> {
    let factor = match wanted {
        -1 => i64::from(settings.replication_factor),
        _ => i64::from(wanted),
    };
    match factor {
        1 => Ok(()),
        2.. if settings.replication_factors == ReplicationFactors::Any => Ok(()),
        2.. => Err(Refusal::because(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor \
                 of {factor} cannot be reached because only 1 broker(s) are registered."
            ),
        )),
        _ => Err(Refusal::because(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )),
    }
}

fn partition_count(wanted: i32, default: u32) -> Result<u32, Refusal> {
    match u32::try_from(wanted) {
        _ if wanted == BROKER_DEFAULT => Ok(default),
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Refusal::because(
            ErrorCode::INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        )),
    }
}

/// The number of partitions that a manual assignment lists.
fn assigned_partitions(topic: &CreatableTopic, node_id: i32) -> Result<u32, Refusal> {
    let invalid = |text: String| Err(Refusal::because(ErrorCode::INVALID_REPLICA_ASSIGNMENT, text));
    if topic.num_partitions != BROKER_DEFAULT || i32::from(topic.replication_factor) != -1 {
        return Err(Refusal::because(
            ErrorCode::INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions or \
             replicationFactor was not set to -1.",
        ));
    }
    let mut indexes = BTreeSet::new();
    for CreatableReplicaAssignment { partition_index, broker_ids } in &topic.assignments {
        check_assignment(broker_ids, node_id)?;
        if !indexes.insert(*partition_index) {
            return invalid(format!(
                "Found multiple manual assignments for partition {partition_index}."
            ));
        }
    }
    if (0..).zip(&indexes).all(|(expected, index)| expected == *index) {
        Ok(u32::try_from(indexes.len()).unwrap_or(u32::MAX))
    } else {
        invalid("partitions should be a consecutive 0-based integer sequence".to_owned())
    }
}

fn overrides(configs: Vec<CreatableTopicConfig>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut overrides = BTreeMap::new();
    for CreatableTopicConfig { name, value } in configs {
        let Some(value) = value else {
            let text = format!("Null value not supported for topic configs: {}", ClientText(&name));
            return Err(Refusal::because(ErrorCode::INVALID_CONFIG, text));
        };
        overrides.insert(name, value);
    }
    Ok(overrides)
}

fn created(
    context: &RequestContext,
    name: String,
    stream: &Arc<Stream>,
    intent: Intent,
) -> CreatableTopicResult {
    let partition_count = stream.partitions().len();
    CreatableTopicResult {
        name,
        topic_id: match intent {
            Intent::Make => topic_id(stream),
            Intent::Validate => Default::default(),
        },
        num_partitions: i32::try_from(partition_count).unwrap_or(i32::MAX),
        replication_factor: 1,
        error_message: None,
        configs: (context.version >= SETTINGS_FROM).then(|| configs(context, stream)),
        ..Default::default()
    }
}

fn configs(context: &RequestContext, stream: &Stream) -> Vec<CreatableTopicConfigs> {
    let describe = |described: DescribedSetting| CreatableTopicConfigs {
        name: described.setting.name.to_owned(),
        value: described.value,
        read_only: false,
        config_source: source_code(described.source),
        is_sensitive: false,
    };
    let described = context.broker().configurations().describe_stream(&stream.config());
    described.into_iter().map(describe).collect()
}

fn refused(context: &RequestContext, name: String, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: context.answer_code(refusal.code),
        error_message: refusal.message,
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
