//! DescribeConfigs (key 32), versions 1 to 4: the settings of topics, of the broker, of groups, of
//! client metrics subscriptions, and the log levels.
//!
//! - Every resource has a result of its own, in the order given, and only one: its settings take
//!   far more room than its name. One whose type Kafka does not know
//!   makes the whole request INVALID_REQUEST, as do more than 10,000.
//! - No keys, or none named: all settings. Names that do not exist are left out.
//! - Broker "" is what was set for all brokers.
//! - Synonyms are where the value could come from, the strongest first.
//! - 3+: types, and a sentence of documentation where asked for: weir's own, not Kafka's.
//!
//! Left out: settings of Kafka's that this broker has no use for (listeners, replicas, security);
//! of the loggers only `root`.

use std::collections::{BTreeSet, HashSet};

use weir_core::settings::describe::{DescribedSetting, SetValue};
use weir_core::settings::holder::Resource;
use weir_core::settings::setting::{ChangedWhen, Effect};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::close::CloseReason;
use crate::configs::{
    BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, MALFORMED_REQUEST, RESOURCES_MAX, TOPIC,
    source_code, to_describe, type_code,
};
use crate::errors::Refusal;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] =
    &["of the broker's settings those in the table below", "of the loggers only `root`"];

/// Source of a log level.
const SOURCE_LOGGER: i8 = 6;

/// What the answer is to hold of each setting.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeConfigsRequest,
) -> Result<DescribeConfigsResponse, CloseReason> {
    let known = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
    let is_known = |resource: &DescribeConfigsResource| known.contains(&resource.resource_type);
    let is_malformed =
        request.resources.len() > RESOURCES_MAX || !request.resources.iter().all(is_known);
    let detail =
        Detail { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let describe = |resource: DescribeConfigsResource| {
        let described = match is_malformed {
            true => Err(Refusal::because(ErrorCode::INVALID_REQUEST, MALFORMED_REQUEST)),
            false => describe(&context, &resource, detail),
        };
        let (code, message, configs) = match described {
            // Not null: the Java client shows what is there.
            Ok(configs) => (ErrorCode::NONE, String::new(), configs),
            Err(refusal) => (refusal.code, refusal.message.unwrap_or_default(), Vec::new()),
        };
        DescribeConfigsResult {
            error_code: context.answer_code(code),
            error_message: Some(message),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    };
    let mut named = HashSet::new();
    let mut resources = request.resources;
    resources.retain(|asked| named.insert((asked.resource_type, asked.resource_name.clone())));
    let results = resources.into_iter().map(describe).collect();
    Ok(DescribeConfigsResponse { throttle_time_ms: 0, results })
}

fn describe(
    context: &RequestContext,
    asked: &DescribeConfigsResource,
    detail: Detail,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let resource = to_describe(context, asked.resource_type, &asked.resource_name)?;
    let keys: BTreeSet<&str> =
        asked.configuration_keys.iter().flatten().map(String::as_str).collect();
    let is_asked = |name: &str| keys.is_empty() || keys.contains(name);
    let Some(resource) = resource else {
        return Ok(Some(root_logger()).filter(|root| is_asked(&root.name)).into_iter().collect());
    };
    let described = context.broker().configurations().describe(&resource);
    let described = described.ok_or_else(|| Refusal::of(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
    let described = described.into_iter().filter(|setting| is_asked(setting.setting.name));
    Ok(described.map(|setting| result(&resource, setting, detail)).collect())
}

fn result(
    resource: &Resource,
    described: DescribedSetting,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    let setting = described.setting;
    let synonym = |set: SetValue| DescribeConfigsSynonym {
        name: set.name.to_owned(),
        value: Some(set.value),
        source: source_code(set.source),
    };
    let synonyms = if detail.synonyms { described.synonyms } else { Vec::new() };
    let is_of_broker = matches!(resource, Resource::Held(_));
    DescribeConfigsResourceResult {
        name: setting.name.to_owned(),
        value: described.value,
        read_only: is_of_broker && setting.changed == ChangedWhen::Starting,
        config_source: source_code(described.source),
        is_sensitive: false,
        synonyms: synonyms.into_iter().map(synonym).collect(),
        config_type: type_code(setting.kind),
        documentation: detail.documentation.then(|| documentation(setting.effect).to_owned()),
    }
}

const fn documentation(effect: Effect) -> &'static str {
    match effect {
        Effect::Acts => "As in Kafka, or as docs/support.md says.",
        Effect::Stored => "Kept and reported; this broker does nothing with it.",
    }
}

fn root_logger() -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: "root".to_owned(),
        value: Some("INFO".to_owned()),
        config_source: SOURCE_LOGGER,
        documentation: Some(String::new()),
        ..Default::default()
    }
}
