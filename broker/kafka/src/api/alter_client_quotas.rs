//! AlterClientQuotas (key 49), versions 0 to 1: set and remove quotas of users, client ids and
//! addresses.
//!
//! - Each entity has a result of its own and is changed wholly or not at all; all of a request are
//!   one commit and act when the answer arrives.
//! - A type that stands twice in an entity counts as it stood last. An entity or a quota that
//!   stands twice is INVALID_REQUEST, and so are values that Kafka refuses, in its words.
//! - Removing what is not there is no error. validate_only changes nothing.
//! - At most 10,000 entities, with names up to 1,023 bytes: beyond that POLICY_VIOLATION and
//!   INVALID_REQUEST. A value that is not a number is refused, where Kafka takes it.
//!
//! Left out: addresses given as names of hosts, other than localhost.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::quota::client_quotas::{ChangeIntent, QuotaChange};
use weir_core::quota::entity::{EntityName, EntityType, QuotaEntity};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, OpData, RequestEntityData,
    RequestEntryData, ResponseEntityData, ResponseEntryData,
};

use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::{Refusal, quota_refusal};
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &["no names of hosts for addresses, other than localhost"];

/// The parts of an entity by the names of their types, as the request has them.
type Parts = BTreeMap<String, Option<String>>;

pub(crate) async fn handle(
    context: RequestContext,
    request: AlterClientQuotasRequest,
) -> Result<AlterClientQuotasResponse, CloseReason> {
    let intent = if request.validate_only { ChangeIntent::Validate } else { ChangeIntent::Make };
    let mut outcomes: BTreeMap<Parts, Result<(), Refusal>> = BTreeMap::new();
    let (mut legal, mut changes) = (Vec::new(), Vec::new());
    for RequestEntryData { entity, ops } in request.entries {
        let part = |RequestEntityData { entity_type, entity_name }| (entity_type, entity_name);
        let parts: Parts = entity.into_iter().map(part).collect();
        if let Some(outcome) = outcomes.get_mut(&parts) {
            *outcome = Err(duplicate(&parts));
            continue;
        }
        let outcome = change(&parts, ops).map(|change| {
            legal.push(parts.clone());
            changes.push(change);
        });
        outcomes.insert(parts, outcome);
    }
    let results = context.broker().client_quotas().alter(changes, intent).await;
    for (parts, result) in legal.into_iter().zip(results) {
        let outcome = outcomes.entry(parts).or_insert(Ok(()));
        if let (Ok(()), Err(error)) = (&outcome, result) {
            *outcome = Err(quota_refusal(&error));
        }
    }
    let answer = |(parts, outcome)| answer_entry(&context, parts, outcome);
    let entries = outcomes.into_iter().map(answer).collect();
    Ok(AlterClientQuotasResponse { throttle_time_ms: 0, entries })
}

fn change(parts: &Parts, ops: Vec<OpData>) -> Result<QuotaChange, Refusal> {
    let mut known = BTreeMap::new();
    for (kind, name) in parts {
        let Some(kind) = EntityType::from_name(kind) else {
            let text = format!("Unhandled client quota entity type: {}", ClientText(kind));
            return Err(Refusal::because(ErrorCode::INVALID_REQUEST, text));
        };
        known.insert(kind, EntityName::from(name.clone()));
    }
    let mut seen = BTreeSet::new();
    if !ops.iter().all(|op| seen.insert(op.key.as_str())) {
        return Err(duplicate(parts));
    }
    let entity = QuotaEntity::new(known).map_err(|error| quota_refusal(&error))?;
    let value = |op: OpData| (op.key, (!op.remove).then_some(op.value));
    Ok(QuotaChange { entity, values: ops.into_iter().map(value).collect() })
}

/// The entity, or one of its quotas, stands twice; Kafka says the same of both.
fn duplicate(parts: &Parts) -> Refusal {
    let part = |(kind, name): (&String, &Option<String>)| {
        format!("{}={}", ClientText(kind), ClientText(name.as_deref().unwrap_or("null")))
    };
    let parts: Vec<String> = parts.iter().map(part).collect();
    let text =
        format!("Ignoring duplicate entity ClientQuotaEntity(entries={{{}}})", parts.join(", "));
    Refusal::because(ErrorCode::INVALID_REQUEST, text)
}

fn answer_entry(
    context: &RequestContext,
    parts: Parts,
    outcome: Result<(), Refusal>,
) -> ResponseEntryData {
    let part = |(entity_type, entity_name)| ResponseEntityData { entity_type, entity_name };
    let refusal = outcome.err();
    let code = refusal.as_ref().map_or(ErrorCode::NONE, |refusal| refusal.code);
    ResponseEntryData {
        error_code: context.answer_code(code),
        error_message: refusal.and_then(|refusal| refusal.message),
        entity: parts.into_iter().map(part).collect(),
    }
}
