//! DescribeClientQuotas (key 48), versions 0 to 1: the quotas of users, client ids and addresses.
//!
//! - A filter names parts of an entity: by name, as the default of its type, or as any that is
//!   given. All must fit; with `strict` an entity with further parts does not.
//! - No filter at all finds everything, with `strict` nothing.
//! - A filter that contradicts itself is INVALID_REQUEST, a type that Kafka does not know
//!   UNSUPPORTED_VERSION.
//!
//! Left out: nothing.

use std::collections::BTreeMap;

use weir_core::quota::QuotaValues;
use weir_core::quota::client_quotas::PartFilter;
use weir_core::quota::entity::{EntityName, EntityType, QuotaEntity, QuotaKey};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::describe_client_quotas::{
    ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse, EntityData,
    EntryData, ValueData,
};

use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::Refusal;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &[];

/// How a part is looked for.
const MATCH_EXACTLY: i8 = 0;
const MATCH_DEFAULT: i8 = 1;
const MATCH_ANY: i8 = 2;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeClientQuotasRequest,
) -> Result<DescribeClientQuotasResponse, CloseReason> {
    let response = match filters(request.components) {
        Ok(filters) => {
            let found = context.broker().client_quotas().describe(&filters, request.strict);
            let entries = Some(found.into_iter().map(entry).collect());
            DescribeClientQuotasResponse { entries, ..Default::default() }
        }
        Err(refusal) => DescribeClientQuotasResponse {
            error_code: context.answer_code(refusal.code),
            error_message: refusal.message,
            entries: None,
            ..Default::default()
        },
    };
    Ok(response)
}

fn filters(components: Vec<ComponentData>) -> Result<BTreeMap<EntityType, PartFilter>, Refusal> {
    let invalid = |text: String| Refusal::because(ErrorCode::INVALID_REQUEST, text);
    let mut filters = BTreeMap::new();
    for ComponentData { entity_type, match_type, r#match } in components {
        if entity_type.is_empty() {
            return Err(invalid("Invalid empty entity type.".to_owned()));
        }
        let Some(part) = EntityType::from_name(&entity_type) else {
            let text = format!("Unsupported entity type {}", ClientText(&entity_type));
            return Err(Refusal::because(ErrorCode::UNSUPPORTED_VERSION, text));
        };
        if filters.contains_key(&part) {
            let text =
                format!("Entity type {entity_type} cannot appear more than once in the filter.");
            return Err(invalid(text));
        }
        let unwanted = |kind: &str| {
            invalid(format!("Request specified {kind}, but also specified a match string."))
        };
        let filter = match (match_type, r#match) {
            (MATCH_EXACTLY, Some(name)) => PartFilter::Exactly(EntityName::Named(name)),
            (MATCH_EXACTLY, None) => {
                let text = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
                return Err(invalid(text.to_owned()));
            }
            (MATCH_DEFAULT, None) => PartFilter::Exactly(EntityName::Default),
            (MATCH_DEFAULT, Some(_)) => return Err(unwanted("MATCH_TYPE_DEFAULT")),
            (MATCH_ANY, None) => PartFilter::Any,
            (MATCH_ANY, Some(_)) => return Err(unwanted("MATCH_TYPE_SPECIFIED")),
            _ => return Err(invalid(format!("Unknown match type {match_type}"))),
        };
        filters.insert(part, filter);
    }
    if filters.len() > 1 && filters.contains_key(&EntityType::Ip) {
        let text = "Invalid entity filter component combination. IP filter component should not \
                    be used with user or clientId filter component.";
        return Err(invalid(text.to_owned()));
    }
    Ok(filters)
}

fn entry((entity, values): (QuotaEntity, QuotaValues)) -> EntryData {
    let part = |(kind, name): (EntityType, &EntityName)| EntityData {
        entity_type: kind.name().to_owned(),
        entity_name: name.as_deref().map(str::to_owned),
    };
    let value = |(key, value): (QuotaKey, f64)| ValueData { key: key.name().to_owned(), value };
    EntryData {
        entity: entity.parts().into_iter().map(part).collect(),
        values: values.into_iter().map(value).collect(),
    }
}
