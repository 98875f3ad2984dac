//! Whom a client quota is for, and what it limits.
//!
//! An entity is a user, a client id, both together, or an address; each of them by its name or as
//! the default of all that have no quota of their own (KIP-55, KIP-612). Names are Kafka's, since
//! they are written to the metadata and there are no others.

use std::collections::BTreeMap;

use crate::error::QuotaError;

/// Longest name of a part of an entity. Kafka has no limit; a table of ten thousand has.
pub const ENTITY_NAME_BYTES_MAX: usize = 1024;

/// What a part of an entity names, in the order in which Kafka lists the parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EntityType {
    /// What clients call themselves.
    ClientId,
    /// Who clients have proven to be.
    User,
    /// Where connections come from.
    Ip,
}

impl EntityType {
    /// Its name in requests and rows.
    pub const fn name(self) -> &'static str {
        match self {
            EntityType::ClientId => "client-id",
            EntityType::User => "user",
            EntityType::Ip => "ip",
        }
    }

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<EntityType> {
        [EntityType::ClientId, EntityType::User, EntityType::Ip]
            .into_iter()
            .find(|entity_type| entity_type.name() == name)
    }
}

/// One of a type, or all of it that have no quota of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EntityName {
    /// Whoever is not named elsewhere.
    Default,
    /// The one with this name.
    Named(String),
}

impl EntityName {
    /// The name, unless it is the default's.
    pub fn as_deref(&self) -> Option<&str> {
        match self {
            EntityName::Default => None,
            EntityName::Named(name) => Some(name),
        }
    }
}

impl From<Option<String>> for EntityName {
    fn from(name: Option<String>) -> EntityName {
        name.map_or(EntityName::Default, EntityName::Named)
    }
}

/// Whom a quota is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaEntity {
    /// All clients of a user together.
    User(EntityName),
    /// All clients that call themselves so, whoever they are.
    Client(EntityName),
    /// The clients of a user that call themselves so.
    UserClient {
        /// The user.
        user: EntityName,
        /// The client id.
        client: EntityName,
    },
    /// All connections from one address.
    Ip(EntityName),
}

impl QuotaEntity {
    /// The entity that has these parts.
    pub fn new(mut parts: BTreeMap<EntityType, EntityName>) -> Result<QuotaEntity, QuotaError> {
        for (entity_type, name) in &parts {
            match name.as_deref().map(str::len) {
                Some(0) => return Err(QuotaError::EmptyName(*entity_type)),
                Some(ENTITY_NAME_BYTES_MAX..) => return Err(QuotaError::LongName(*entity_type)),
                _ => {}
            }
        }
        let user = parts.remove(&EntityType::User);
        let client = parts.remove(&EntityType::ClientId);
        match (user, client, parts.remove(&EntityType::Ip)) {
            (None, None, None) => Err(QuotaError::EmptyEntity),
            (Some(user), None, None) => Ok(QuotaEntity::User(user)),
            (None, Some(client), None) => Ok(QuotaEntity::Client(client)),
            (Some(user), Some(client), None) => Ok(QuotaEntity::UserClient { user, client }),
            (None, None, Some(ip)) => Ok(QuotaEntity::Ip(ip)),
            (_, _, Some(_)) => Err(QuotaError::IpCombined),
        }
    }

    /// Its parts, in the order of their types.
    pub fn parts(&self) -> Vec<(EntityType, &EntityName)> {
        match self {
            QuotaEntity::User(user) => vec![(EntityType::User, user)],
            QuotaEntity::Client(client) => vec![(EntityType::ClientId, client)],
            QuotaEntity::UserClient { user, client } => {
                vec![(EntityType::ClientId, client), (EntityType::User, user)]
            }
            QuotaEntity::Ip(ip) => vec![(EntityType::Ip, ip)],
        }
    }
}

/// What a quota limits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaKey {
    /// Bytes of Produce requests per second.
    ProducerByteRate,
    /// Bytes of Fetch answers per second.
    ConsumerByteRate,
    /// Time of processors, in percent of one.
    RequestPercentage,
    /// Partitions created and deleted per second (KIP-599).
    ControllerMutationRate,
    /// Connections accepted per second (KIP-612).
    ConnectionCreationRate,
}

impl QuotaKey {
    /// All of them.
    pub const ALL: [QuotaKey; 5] = [
        QuotaKey::ProducerByteRate,
        QuotaKey::ConsumerByteRate,
        QuotaKey::RequestPercentage,
        QuotaKey::ControllerMutationRate,
        QuotaKey::ConnectionCreationRate,
    ];

    /// Its name in requests and rows.
    pub const fn name(self) -> &'static str {
        match self {
            QuotaKey::ProducerByteRate => "producer_byte_rate",
            QuotaKey::ConsumerByteRate => "consumer_byte_rate",
            QuotaKey::RequestPercentage => "request_percentage",
            QuotaKey::ControllerMutationRate => "controller_mutation_rate",
            QuotaKey::ConnectionCreationRate => "connection_creation_rate",
        }
    }

    /// The key with this name.
    pub fn from_name(name: &str) -> Option<QuotaKey> {
        QuotaKey::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Whether an entity can have it: addresses have their connections limited and nothing else.
    fn fits(self, entity: &QuotaEntity) -> bool {
        let is_of_addresses = self == QuotaKey::ConnectionCreationRate;
        is_of_addresses == matches!(entity, QuotaEntity::Ip(_))
    }

    /// Largest value of a key that counts whole things, and Kafka's name of such a number.
    const fn whole_up_to(self) -> Option<(f64, &'static str)> {
        match self {
            QuotaKey::ProducerByteRate | QuotaKey::ConsumerByteRate => {
                Some((i64::MAX as f64, "a LONG"))
            }
            QuotaKey::ConnectionCreationRate => Some((i32::MAX as f64, "an INT")),
            QuotaKey::RequestPercentage | QuotaKey::ControllerMutationRate => None,
        }
    }

    /// The key with this name, if `value` is one that `entity` can have.
    pub(super) fn checked(
        name: &str,
        value: f64,
        entity: &QuotaEntity,
    ) -> Result<QuotaKey, QuotaError> {
        let key = QuotaKey::from_name(name).filter(|key| key.fits(entity));
        let key = key.ok_or_else(|| QuotaError::UnknownKey(name.to_owned()))?;
        if value.is_nan() || value <= 0.0 {
            return Err(QuotaError::NotPositive(key));
        }
        if let Some((max, kind)) = key.whole_up_to() {
            if value > max {
                return Err(QuotaError::TooLarge { key, kind });
            }
            if value.fract() > 1e-6 {
                return Err(QuotaError::Fractional(key));
            }
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EntityType::{ClientId, Ip, User};

    fn entity(parts: &[(EntityType, Option<&str>)]) -> Result<QuotaEntity, QuotaError> {
        let part = |(entity_type, name): &(EntityType, Option<&str>)| {
            (*entity_type, EntityName::from(name.map(str::to_owned)))
        };
        QuotaEntity::new(parts.iter().map(part).collect())
    }

    #[test]
    fn users_and_client_ids_combine_and_addresses_stand_alone() {
        for parts in [
            &[(User, Some("u"))][..],
            &[(User, None)],
            &[(ClientId, Some("c"))],
            &[(ClientId, None), (User, Some("u"))],
            &[(Ip, Some("127.0.0.1"))],
        ] {
            let entity = entity(parts).expect("a legal combination");
            let found: Vec<_> =
                entity.parts().into_iter().map(|(kind, name)| (kind, name.as_deref())).collect();
            assert_eq!(found, parts);
        }
        let long = "n".repeat(ENTITY_NAME_BYTES_MAX);
        for (parts, error) in [
            (&[][..], QuotaError::EmptyEntity),
            (&[(User, Some(""))], QuotaError::EmptyName(User)),
            (&[(ClientId, Some(&*long))], QuotaError::LongName(ClientId)),
            (&[(Ip, None), (User, Some("u"))], QuotaError::IpCombined),
            (&[(Ip, None), (ClientId, None)], QuotaError::IpCombined),
        ] {
            assert_eq!(entity(parts), Err(error), "{parts:?}");
        }
    }

    #[test]
    fn values_are_those_that_kafka_takes() {
        let user = QuotaEntity::User(EntityName::Default);
        let ip = QuotaEntity::Ip(EntityName::Default);
        let unknown = |name: &str| QuotaError::UnknownKey(name.to_owned());
        use QuotaKey::{ConnectionCreationRate, ProducerByteRate, RequestPercentage};
        for (name, value, entity, expected) in [
            ("producer_byte_rate", 1.0, &user, Ok(ProducerByteRate)),
            ("request_percentage", 33.5, &user, Ok(RequestPercentage)),
            ("request_percentage", f64::INFINITY, &user, Ok(RequestPercentage)),
            ("connection_creation_rate", 1.0, &ip, Ok(ConnectionCreationRate)),
            ("connection_creation_rate", 1.0, &user, Err(unknown("connection_creation_rate"))),
            ("producer_byte_rate", 1.0, &ip, Err(unknown("producer_byte_rate"))),
            ("nope", 1.0, &user, Err(unknown("nope"))),
            ("producer_byte_rate", 0.0, &user, Err(QuotaError::NotPositive(ProducerByteRate))),
            ("producer_byte_rate", f64::NAN, &user, Err(QuotaError::NotPositive(ProducerByteRate))),
            ("producer_byte_rate", 1.5, &user, Err(QuotaError::Fractional(ProducerByteRate))),
            (
                "producer_byte_rate",
                1e19,
                &user,
                Err(QuotaError::TooLarge { key: ProducerByteRate, kind: "a LONG" }),
            ),
            (
                "connection_creation_rate",
                3e9,
                &ip,
                Err(QuotaError::TooLarge { key: ConnectionCreationRate, kind: "an INT" }),
            ),
        ] {
            assert_eq!(QuotaKey::checked(name, value, entity), expected, "{name} {value}");
        }
    }
}
