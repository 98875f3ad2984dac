//! How a client quota is written in the metadata: one row per entity, as JSON.
//!
//! ```text
//!   key    'q' + the entity: {"client-id": name or null, "user": …} or the like, sorted
//!   value  {"producer_byte_rate": "1048576", …}
//! ```
//!
//! A part that is null is the default of its type, one that is missing plays no part. Values are
//! texts, since JSON has no infinity and Kafka allows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use weir_storage::error::MetaError;

use crate::quota::client_limits::QuotaValues;
use crate::quota::entity::{EntityName, EntityType, QuotaEntity, QuotaKey};

/// First byte of a client quota's key.
pub(super) const QUOTA_KEY: u8 = b'q';

pub(super) fn key(entity: &QuotaEntity) -> Bytes {
    let parts = entity.parts().into_iter().map(|(kind, name)| (kind.name(), name.as_deref()));
    let parts: BTreeMap<&str, Option<&str>> = parts.collect();
    let mut key = vec![QUOTA_KEY];
    key.extend(serde_json::to_vec(&parts).expect("texts always serialise"));
    key.into()
}

/// The values as they are written; none for an entity that has none left.
pub(super) fn value(values: &QuotaValues) -> Option<Bytes> {
    let texts: BTreeMap<&str, String> =
        values.iter().map(|(key, value)| (key.name(), value.to_string())).collect();
    let row = serde_json::to_vec(&texts).expect("texts always serialise");
    (!texts.is_empty()).then(|| row.into())
}

/// Reads a row back; says in words what is wrong with it otherwise.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(QuotaEntity, QuotaValues), MetaError> {
    let damaged = |why: String| MetaError::Failed(format!("damaged quota row: {why}"));
    let json = key.get(1..).unwrap_or_default();
    let parts: BTreeMap<String, Option<String>> =
        serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
    let mut named = BTreeMap::new();
    for (kind, name) in parts {
        let kind = EntityType::from_name(&kind).ok_or_else(|| damaged(kind))?;
        named.insert(kind, EntityName::from(name));
    }
    let entity = QuotaEntity::new(named).map_err(|error| damaged(format!("{error:?}")))?;
    let texts: BTreeMap<String, String> =
        serde_json::from_slice(value).map_err(|error| damaged(error.to_string()))?;
    let mut values = QuotaValues::new();
    for (name, text) in texts {
        let number = text.parse().map_err(|_| damaged(text))?;
        let key = QuotaKey::checked(&name, number, &entity);
        values.insert(key.map_err(|error| damaged(format!("{error:?}")))?, number);
    }
    Ok((entity, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> EntityName {
        EntityName::Named(name.to_owned())
    }

    /// Rows as they were first written. They must be read for ever.
    #[test]
    fn rows_of_the_first_release_are_read_and_written_back_the_same() {
        let pair = QuotaEntity::UserClient { user: named("u"), client: EntityName::Default };
        for (entity, key_json, values, value_json) in [
            (
                pair,
                r#"q{"client-id":null,"user":"u"}"#,
                QuotaValues::from([
                    (QuotaKey::ProducerByteRate, 1_048_576.0),
                    (QuotaKey::RequestPercentage, f64::INFINITY),
                ]),
                r#"{"producer_byte_rate":"1048576","request_percentage":"inf"}"#,
            ),
            (
                QuotaEntity::Ip(named("10.0.0.1")),
                r#"q{"ip":"10.0.0.1"}"#,
                QuotaValues::from([(QuotaKey::ConnectionCreationRate, 20.0)]),
                r#"{"connection_creation_rate":"20"}"#,
            ),
        ] {
            let row = decode(key_json.as_bytes(), value_json.as_bytes()).expect("a legal row");
            assert_eq!(row, (entity.clone(), values.clone()));
            assert_eq!(key(&entity), key_json);
            assert_eq!(value(&values).expect("not empty"), value_json);
        }
    }

    #[test]
    fn damaged_rows_say_so() {
        for (key, value) in [
            ("", "{}"),
            ("q{}", "{}"),
            (r#"q{"planet":"x"}"#, "{}"),
            (r#"q{"user":"u"}"#, "[]"),
            (r#"q{"user":"u"}"#, r#"{"nope":"1"}"#),
            (r#"q{"user":"u"}"#, r#"{"producer_byte_rate":"much"}"#),
            (r#"q{"user":"u"}"#, r#"{"producer_byte_rate":"-1"}"#),
        ] {
            let error = decode(key.as_bytes(), value.as_bytes()).expect_err(key);
            assert!(format!("{error:?}").contains("damaged quota row"), "{error:?}");
        }
    }
}
