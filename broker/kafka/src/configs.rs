//! Settings as Kafka's requests name them: resources, sources, types, and why a change is refused.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::error::{AlterConfigError, ConfigError, ListOperation};
use weir_core::settings::alteration::{Alteration, Changes};
use weir_core::settings::describe::Source;
use weir_core::settings::holder::{Holder, Resource};
use weir_core::settings::setting::Kind;
use weir_core::stream::stream::Intent;
use weir_kafka_protocol::ErrorCode;
use weir_model::ids::StreamName;

use crate::client_text::ClientText;
use crate::errors::{Refusal, config_refusal, meta_refusal, name_refusal};
use crate::exchange::RequestContext;

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
pub(crate) const BROKER_LOGGER: i8 = 8;
pub(crate) const CLIENT_METRICS: i8 = 16;
pub(crate) const GROUP: i8 = 32;

/// Most resources of one request: each may be answered with every setting that it has.
pub(crate) const RESOURCES_MAX: usize = 10_000;

/// What Kafka says of a request that is not one.
pub(crate) const MALFORMED_REQUEST: &str = "This most likely occurs because of a request being \
     malformed by the client library or the message was sent to an incompatible broker. See the \
     broker logs for more details.";

/// Kafka's number of a source.
pub(crate) const fn source_code(source: Source) -> i8 {
    match source {
        Source::Stream => 1,
        Source::Broker => 2,
        Source::AllBrokers => 3,
        Source::Start => 4,
        Source::Default => 5,
        Source::ClientMetrics => 7,
        Source::Group => 8,
    }
}

/// Kafka's number of a value's type.
pub(crate) const fn type_code(kind: Kind) -> i8 {
    match kind {
        Kind::Switch => 1,
        Kind::OneOf(_) | Kind::OneOfAnyCase(_) | Kind::Text => 2,
        Kind::Int { .. } | Kind::GzipLevel => 3,
        Kind::Long { .. } => 5,
        Kind::Double { .. } => 6,
        Kind::ListOf(_) | Kind::List | Kind::PatternsOf(_) | Kind::ThrottledReplicas => 7,
    }
}

fn invalid_request(message: impl Into<String>) -> Refusal {
    Refusal::because(ErrorCode::INVALID_REQUEST, message)
}

/// What a request asks to change of one resource; `T` is the change of one setting.
pub(crate) struct AskedChanges<T> {
    pub(crate) resource_type: i8,
    pub(crate) resource_name: String,
    pub(crate) changes: Result<T, Refusal>,
}

/// A resource as its request named it, and what became of the change.
pub(crate) struct ChangeOutcome {
    pub(crate) resource_type: i8,
    pub(crate) resource_name: String,
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
}

/// Changes settings; the answers are in the order of the request.
pub(crate) async fn change(
    context: &RequestContext,
    asked: Vec<AskedChanges<Changes>>,
    validate_only: bool,
) -> Vec<ChangeOutcome> {
    let twice = named_twice(&asked);
    let too_many = asked.len() > RESOURCES_MAX;
    let (mut alterations, mut resources) = (Vec::new(), Vec::with_capacity(asked.len()));
    for AskedChanges { resource_type, resource_name, changes } in asked {
        let key = (resource_type, resource_name);
        let decided = if too_many {
            Err(invalid_request(format!("More than {RESOURCES_MAX} resources.")))
        } else if twice.contains(&key) {
            Err(invalid_request("Each resource must appear at most once."))
        } else {
            let resource = to_change(context, key.0, &key.1);
            resource.and_then(|resource| Ok(Alteration { resource, changes: changes? }))
        };
        let (resource_type, resource_name) = key;
        let refusal = decided.map(|alteration| alterations.push(alteration)).err();
        resources.push((resource_type, resource_name, refusal));
    }
    let intent = if validate_only { Intent::Validate } else { Intent::Make };
    let mut altered =
        context.broker().configurations().alter(alterations, intent).await.into_iter();
    let outcome = |(resource_type, resource_name, refusal): (i8, String, Option<Refusal>)| {
        let refusal = refusal.or_else(|| {
            let altered = altered.next().expect("one result for each alteration");
            altered.err().map(|error| alter_refusal(resource_type, &resource_name, &error))
        });
        let code = refusal.as_ref().map_or(ErrorCode::NONE, |refusal| refusal.code);
        ChangeOutcome {
            resource_type,
            resource_name,
            error_code: context.answer_code(code),
            error_message: refusal.and_then(|refusal| refusal.message),
        }
    };
    resources.into_iter().map(outcome).collect()
}

fn named_twice<T>(asked: &[AskedChanges<T>]) -> BTreeSet<(i8, String)> {
    let mut seen = BTreeSet::new();
    let key = |asked: &AskedChanges<T>| (asked.resource_type, asked.resource_name.clone());
    asked.iter().map(key).filter(|key| !seen.insert(key.clone())).collect()
}

/// The settings of a request by name: each once, and with the value that its change needs.
pub(crate) fn by_name<T>(
    settings: impl Iterator<Item = (String, Result<T, NullValue>)>,
) -> Result<BTreeMap<String, T>, Refusal> {
    let (mut found, mut without_value) = (BTreeMap::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (name, value) in settings {
        if !seen.insert(name.clone()) {
            return Err(invalid_request("Error due to duplicate config keys"));
        }
        match value {
            Ok(value) => drop(found.insert(name, value)),
            Err(NullValue) => without_value.push(ClientText(&name).to_string()),
        }
    }
    if without_value.is_empty() {
        return Ok(found);
    }
    let names = without_value.join(",");
    Err(invalid_request(format!("Null value not supported for : {names}")))
}

/// A setting without the value that it needs.
pub(crate) struct NullValue;

/// Whose settings are to be changed.
fn to_change(context: &RequestContext, kind: i8, name: &str) -> Result<Resource, Refusal> {
    let node_id = context.broker().options().node_id;
    match kind {
        TOPIC if name.is_empty() => {
            Err(invalid_request("Default topic resources are not allowed."))
        }
        TOPIC => topic(name),
        BROKER if name.is_empty() => Ok(Resource::Held(Holder::AllBrokers)),
        BROKER => match name.parse::<i32>() {
            Ok(id) if id == node_id => Ok(Resource::Held(Holder::Broker)),
            Ok(id) => Err(invalid_request(format!(
                "Unexpected broker id, expected {node_id}, but received {id}"
            ))),
            Err(_) => Err(invalid_request(format!(
                "Node id must be an integer, but it is: {}",
                ClientText(name)
            ))),
        },
        BROKER_LOGGER => Err(invalid_request("Log levels are set when the broker is started.")),
        CLIENT_METRICS if name.is_empty() => {
            Err(invalid_request("Subscription name can't be empty"))
        }
        CLIENT_METRICS => Ok(Resource::Held(Holder::ClientMetrics(name.to_owned()))),
        GROUP if name.is_empty() => {
            Err(invalid_request("Default group resources are not allowed."))
        }
        GROUP => Ok(Resource::Held(Holder::Group(name.to_owned()))),
        _ => Err(invalid_request(format!("Unknown resource type {kind}"))),
    }
}

/// Whose settings are to be described; none: the broker's loggers.
pub(crate) fn to_describe(
    context: &RequestContext,
    kind: i8,
    name: &str,
) -> Result<Option<Resource>, Refusal> {
    let node_id = context.broker().options().node_id;
    let no_number = || {
        invalid_request(format!("Broker id must be an integer, but it is: {}", ClientText(name)))
    };
    let held = |holder| Ok(Some(Resource::Held(holder)));
    match kind {
        TOPIC => topic(name).map(Some),
        BROKER if name.is_empty() => held(Holder::AllBrokers),
        BROKER => match name.parse::<i32>().map_err(|_| no_number())? {
            id if id == node_id => held(Holder::Broker),
            id => Err(invalid_request(format!(
                "Unexpected broker id, expected {node_id} or empty string, but received {id}"
            ))),
        },
        BROKER_LOGGER if name.is_empty() => Err(invalid_request("Broker id must not be empty")),
        BROKER_LOGGER => match name.parse::<i32>().map_err(|_| no_number())? {
            id if id == node_id => Ok(None),
            id => Err(invalid_request(format!(
                "Unexpected broker id, expected {node_id} but received {id}"
            ))),
        },
        CLIENT_METRICS if name.is_empty() => {
            Err(invalid_request("Client metrics subscription name must not be empty"))
        }
        CLIENT_METRICS => held(Holder::ClientMetrics(name.to_owned())),
        GROUP if name.is_empty() => Err(invalid_request("Group name must not be empty")),
        GROUP => held(Holder::Group(name.to_owned())),
        _ => Err(invalid_request(MALFORMED_REQUEST)),
    }
}

fn topic(name: &str) -> Result<Resource, Refusal> {
    let legal = StreamName::new(name).map_err(|error| name_refusal(name, error))?;
    Ok(Resource::Stream(legal.to_string()))
}

/// A change that was refused.
fn alter_refusal(kind: i8, name: &str, error: &AlterConfigError) -> Refusal {
    match error {
        AlterConfigError::UnknownStream => Refusal::because(
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            format!("The topic '{}' does not exist.", ClientText(name)),
        ),
        AlterConfigError::Internal => {
            invalid_request(format!("Topic '{name}' holds the broker's own state."))
        }
        AlterConfigError::NotAList { name, operation } => {
            let operation = match operation {
                ListOperation::Append => "APPEND",
                ListOperation::Subtract => "SUBTRACT",
            };
            let name = ClientText(name);
            let text = format!("Can't {operation} to key {name} because its type is not LIST.");
            Refusal::because(ErrorCode::INVALID_CONFIG, text)
        }
        AlterConfigError::ReadAtStart { names } => {
            let names = names.join(", ");
            invalid_request(format!("Cannot update these configs dynamically: Set({names})"))
        }
        AlterConfigError::TooMany { max } => Refusal::because(
            ErrorCode::POLICY_VIOLATION,
            format!("At most {max} groups and client metrics have settings."),
        ),
        AlterConfigError::Config(error) => refused_value(kind, error),
        AlterConfigError::Meta(error) => meta_refusal(error),
    }
}

/// A value that was refused: Kafka's codes and texts differ by the kind of resource.
fn refused_value(kind: i8, error: &ConfigError) -> Refusal {
    let code = if kind == BROKER { ErrorCode::INVALID_REQUEST } else { ErrorCode::INVALID_CONFIG };
    match error {
        ConfigError::Unknown { name } => {
            let name = ClientText(name);
            match kind {
                CLIENT_METRICS => {
                    invalid_request(format!("Unknown client metrics configuration: {name}"))
                }
                GROUP => Refusal::because(code, format!("Unknown group config name: {name}")),
                // Kafka keeps it, for plug-ins that might know it. The code is what it has for the
                // names of a broker that cannot be changed.
                BROKER => Refusal::because(code, format!("Unknown broker config name: {name}")),
                _ => config_refusal(error),
            }
        }
        ConfigError::Invalid { name, value, .. } if kind == CLIENT_METRICS && name != "match" => {
            let value = ClientText(value);
            let bounds = "interval must be between 100 and 3600000 (1 hour)";
            invalid_request(format!("Invalid value {value} for {name}, {bounds}"))
        }
        ConfigError::Invalid { why, .. } if kind == CLIENT_METRICS => {
            Refusal::because(code, why.clone())
        }
        ConfigError::Invalid { .. } | ConfigError::Conflict { .. } => {
            Refusal { code, ..config_refusal(error) }
        }
    }
}
