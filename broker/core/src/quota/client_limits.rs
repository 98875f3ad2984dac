//! Which client quota holds for a client: a table made for looking up, anew at each change.
//!
//! The most specific entity wins (KIP-55), whatever its value; what it is for also decides who
//! shares it:
//!
//! ```text
//!   1  user and client id     5  any user and any client id
//!   2  user and any client id 6  any user
//!   3  user                   7  client id
//!   4  any user and client id 8  any client id
//! ```
//!
//! 1, 2, 4 and 5 are shared by the connections of one user with one client id, 3 and 6 by those of
//! one user, 7 and 8 by those with one client id. A client that does not say its id has none of the
//! quotas that are about ids.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::quota::entity::{EntityName, QuotaEntity, QuotaKey};

/// The values of one entity.
pub type QuotaValues = BTreeMap<QuotaKey, f64>;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client<'a> {
    /// Who it has proven to be.
    pub user: &'a str,
    /// What it calls itself; empty if it does not say.
    pub id: &'a str,
}

/// Who shares one allowance; what plays no part in it is empty.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Sharers {
    pub(super) user: String,
    pub(super) client_id: String,
}

/// The limits of one key.
#[derive(Clone, Debug, Default)]
struct KeyLimits {
    users: ByName<f64>,
    clients: ByName<f64>,
    /// By user, then by client id.
    pairs: ByName<ByName<f64>>,
}

/// Values by name, and the one for all other names.
#[derive(Clone, Debug)]
struct ByName<T> {
    named: HashMap<String, T>,
    default: Option<T>,
}

impl<T> Default for ByName<T> {
    fn default() -> ByName<T> {
        ByName { named: HashMap::new(), default: None }
    }
}

impl<T: Default> ByName<T> {
    fn entry(&mut self, name: &EntityName) -> &mut T {
        match name {
            EntityName::Default => self.default.get_or_insert_default(),
            EntityName::Named(name) => self.named.entry(name.clone()).or_default(),
        }
    }
}

impl ByName<f64> {
    fn find(&self, name: &str) -> Option<f64> {
        self.named.get(name).copied().or(self.default)
    }
}

impl KeyLimits {
    fn insert(&mut self, entity: &QuotaEntity, value: f64) {
        let slot = match entity {
            QuotaEntity::User(user) => self.users.entry(user),
            QuotaEntity::Client(client) => self.clients.entry(client),
            QuotaEntity::UserClient { user, client } => self.pairs.entry(user).entry(client),
            QuotaEntity::Ip(_) => return,
        };
        *slot = value;
    }

    fn find(&self, client: Client<'_>) -> Option<(Sharers, f64)> {
        let says_its_id = !client.id.is_empty();
        let of_pair = |clients: Option<&ByName<f64>>| {
            clients.filter(|_| says_its_id).and_then(|clients| clients.find(client.id))
        };
        let sharers = |user: &str, client_id: &str| Sharers {
            user: user.to_owned(),
            client_id: client_id.to_owned(),
        };
        if let Some(limit) = of_pair(self.pairs.named.get(client.user)) {
            return Some((sharers(client.user, client.id), limit));
        }
        if let Some(limit) = self.users.named.get(client.user) {
            return Some((sharers(client.user, ""), *limit));
        }
        if let Some(limit) = of_pair(self.pairs.default.as_ref()) {
            return Some((sharers(client.user, client.id), limit));
        }
        if let Some(limit) = self.users.default {
            return Some((sharers(client.user, ""), limit));
        }
        let limit = of_pair(Some(&self.clients))?;
        Some((sharers("", client.id), limit))
    }
}

/// All limits, for looking up.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientLimits {
    by_key: HashMap<QuotaKey, KeyLimits>,
    addresses: HashMap<IpAddr, f64>,
    default_address: Option<f64>,
}

impl ClientLimits {
    pub(super) fn new(entities: &BTreeMap<QuotaEntity, QuotaValues>) -> ClientLimits {
        let mut limits = ClientLimits::default();
        for (entity, values) in entities {
            for (key, value) in values {
                match entity {
                    QuotaEntity::Ip(EntityName::Default) => limits.default_address = Some(*value),
                    QuotaEntity::Ip(EntityName::Named(name)) => {
                        let each = addresses_of(name).into_iter();
                        limits.addresses.extend(each.map(|address| (address, *value)));
                    }
                    _ => limits.by_key.entry(*key).or_default().insert(entity, *value),
                }
            }
        }
        limits
    }

    /// Whether anybody has a limit of this kind.
    pub(super) fn has(&self, key: QuotaKey) -> bool {
        match key {
            QuotaKey::ConnectionCreationRate => {
                self.default_address.is_some() || !self.addresses.is_empty()
            }
            _ => self.by_key.contains_key(&key),
        }
    }

    /// The client's limit and who shares it.
    pub(super) fn find(&self, key: QuotaKey, client: Client<'_>) -> Option<(Sharers, f64)> {
        self.by_key.get(&key)?.find(client)
    }

    /// The limit of connections from an address.
    pub(super) fn find_address(&self, address: IpAddr) -> Option<f64> {
        self.addresses.get(&address.to_canonical()).copied().or(self.default_address)
    }
}

/// The addresses that a name stands for. Names of hosts are not looked up: what they stand for may
/// change, and a look-up may take long. The one whose meaning is fixed is known.
pub(super) fn addresses_of(name: &str) -> Vec<IpAddr> {
    if name == "localhost" {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    name.parse::<IpAddr>().map(|address| address.to_canonical()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: QuotaKey = QuotaKey::ProducerByteRate;

    fn name(text: &str) -> EntityName {
        match text {
            "*" => EntityName::Default,
            _ => EntityName::Named(text.to_owned()),
        }
    }

    /// A table of entities written as `user/client id`, of which either may be missing or `*`.
    fn limits(entities: &[(&str, f64)]) -> ClientLimits {
        let entity = |text: &str| match text.split_once('/').expect("two parts") {
            (user, "") => QuotaEntity::User(name(user)),
            ("", client) => QuotaEntity::Client(name(client)),
            (user, client) => QuotaEntity::UserClient { user: name(user), client: name(client) },
        };
        let entities = entities
            .iter()
            .map(|(text, value)| (entity(text), QuotaValues::from([(KEY, *value)])))
            .collect();
        ClientLimits::new(&entities)
    }

    #[test]
    fn the_most_specific_entity_wins_and_says_who_shares() {
        let order = [
            ("u/c", "u/c"),
            ("u/*", "u/c"),
            ("u/", "u/"),
            ("*/c", "u/c"),
            ("*/*", "u/c"),
            ("*/", "u/"),
            ("/c", "/c"),
            ("/*", "/c"),
        ];
        for first in 0..order.len() {
            let values = order.iter().zip(0..).skip(first).map(|((text, _), n)| (*text, n.into()));
            let table = limits(&values.collect::<Vec<_>>());
            let (sharers, limit) =
                table.find(KEY, Client { user: "u", id: "c" }).expect("something holds");
            let shared_by = format!("{}/{}", sharers.user, sharers.client_id);
            assert_eq!((shared_by.as_str(), limit), (order[first].1, first as f64));
        }
        assert!(limits(&[]).find(KEY, Client { user: "u", id: "c" }).is_none());
    }

    #[test]
    fn quotas_of_others_and_of_other_kinds_do_not_hold() {
        let table = limits(&[("other/", 1.0), ("/other", 1.0), ("u/other", 1.0)]);
        assert!(table.find(KEY, Client { user: "u", id: "c" }).is_none());
        let table = limits(&[("u/", 1.0)]);
        assert!(table.find(QuotaKey::ConsumerByteRate, Client { user: "u", id: "c" }).is_none());
        assert!(table.has(KEY) && !table.has(QuotaKey::ConsumerByteRate));
    }

    #[test]
    fn who_does_not_say_its_id_has_the_users_quota_or_none() {
        let silent = Client { user: "u", id: "" };
        assert!(limits(&[("/*", 1.0), ("u/*", 2.0)]).find(KEY, silent).is_none());
        let (_, limit) = limits(&[("u/*", 2.0), ("*/", 3.0)]).find(KEY, silent).expect("its user");
        assert_eq!(limit, 3.0);
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        let rate = QuotaValues::from([(QuotaKey::ConnectionCreationRate, 5.0)]);
        let of = |text| ClientLimits::new(&[(QuotaEntity::Ip(name(text)), rate.clone())].into());
        for (entity, address, found) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("localhost", "::1", true),
            ("*", "10.9.8.7", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("a host", "127.0.0.1", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(of(entity).find_address(address).is_some(), found, "{entity} {address}");
        }
    }
}
