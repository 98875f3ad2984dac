//! Client quotas as a dialect sees them: it says who used what, and is told how long that client
//! has to pause. What a pause looks like is the dialect's.
//!
//! Where nobody has a quota of a kind, charging for it is one relaxed load: [`ClientQuotas::has`].
//! Otherwise a charge looks the client up in the table, whose readers do not wait for each other,
//! and takes one lock for the sensors of its kind.
//!
//! A change is one metadata commit for all entities of a request and acts when the call returns,
//! on what was counted before, too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tracing::info;
use weir_model::time::{Clock, Moment};
use weir_storage::error::MetaError;
use weir_storage::meta::{Expect, MetaChange, MetaStore};

use crate::carried_out::{Turn, Turns, carried_out};
use crate::error::QuotaError;
use crate::quota::bucket::TokenBucket;
use crate::quota::client_limits::{Client, ClientLimits, QuotaValues, Sharers, addresses_of};
use crate::quota::entity::{EntityName, EntityType, QuotaEntity, QuotaKey};
use crate::quota::mutations;
use crate::quota::row;
use crate::quota::sampled_rate::SampledRate;
use crate::quota::sensors::Sensors;
use crate::settings::broker_settings::{BrokerSettings, QuotaWindow};

pub use crate::quota::mutations::{MutationQuota, OverQuota};

/// Most entities that may have quotas.
pub const QUOTA_ENTITIES_MAX: usize = 10_000;

/// What is to become of one entity's quotas.
#[derive(Clone, Debug)]
pub struct QuotaChange {
    /// Whose.
    pub entity: QuotaEntity,
    /// The new values by name; none removes one. A name that is not there is left as it is.
    pub values: BTreeMap<String, Option<f64>>,
}

/// Whether a change is made or only judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeIntent {
    /// It is made.
    Make,
    /// It is judged.
    Validate,
}

/// Which entities are looked for, by one of their parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartFilter {
    /// Those whose part has this name.
    Exactly(EntityName),
    /// Those that have such a part.
    Any,
}

/// All client quotas of the broker.
#[derive(Debug)]
pub struct ClientQuotas {
    meta: Arc<dyn MetaStore>,
    clock: Arc<dyn Clock>,
    /// How bytes, time and connections are measured.
    window: QuotaWindow,
    /// How much of a controller mutation quota can be saved up.
    mutation_window: QuotaWindow,
    /// One bit for each [`QuotaKey`] that somebody has a quota of.
    set: AtomicU8,
    /// Replaced as a whole; a sync lock, held to clone the `Arc`s or to put in others.
    table: RwLock<Table>,
    /// One change at a time, across its commit.
    turns: Turns,
    /// Sync locks: held for one charge.
    produced: Mutex<Sensors<SampledRate>>,
    fetched: Mutex<Sensors<SampledRate>>,
    busy: Mutex<Sensors<SampledRate>>,
    mutations: Mutex<Sensors<TokenBucket>>,
    connections: Mutex<Sensors<SampledRate>>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    entities: Arc<BTreeMap<QuotaEntity, QuotaValues>>,
    limits: Arc<ClientLimits>,
}

impl ClientQuotas {
    /// Reads the quotas from the metadata.
    pub async fn open(
        meta: Arc<dyn MetaStore>,
        clock: Arc<dyn Clock>,
        settings: &BrokerSettings,
    ) -> Result<ClientQuotas, MetaError> {
        let mut entities = BTreeMap::new();
        for (key, value) in meta.scan(Bytes::from_static(&[row::QUOTA_KEY])).await? {
            let (entity, values) = row::decode(&key, &value.value)?;
            entities.insert(entity, values);
        }
        let quotas = ClientQuotas {
            meta,
            clock,
            window: settings.client_quotas,
            mutation_window: settings.controller_quotas,
            set: AtomicU8::new(0),
            table: RwLock::default(),
            turns: Turns::default(),
            produced: Mutex::default(),
            fetched: Mutex::default(),
            busy: Mutex::default(),
            mutations: Mutex::default(),
            connections: Mutex::default(),
        };
        quotas.put_in(entities);
        Ok(quotas)
    }

    /// The entities that fit every filter, with their quotas. If `strict`, those with parts that no
    /// filter is about are left out.
    pub fn describe(
        &self,
        filters: &BTreeMap<EntityType, PartFilter>,
        strict: bool,
    ) -> Vec<(QuotaEntity, QuotaValues)> {
        let entities = Arc::clone(&self.table.read().entities);
        let fits = |entity: &QuotaEntity| {
            let parts: BTreeMap<_, _> = entity.parts().into_iter().collect();
            let all_fit = filters.iter().all(|(kind, filter)| match (parts.get(kind), filter) {
                (Some(name), PartFilter::Exactly(wanted)) => *name == wanted,
                (found, PartFilter::Any) => found.is_some(),
                (None, PartFilter::Exactly(_)) => false,
            });
            all_fit && (!strict || parts.len() == filters.len())
        };
        let found = entities.iter().filter(|(entity, _)| fits(entity));
        found.map(|(entity, values)| (entity.clone(), values.clone())).collect()
    }

    /// Changes the quotas of entities, all in one metadata commit; each is judged on its own. Once
    /// begun it is carried out, whether the caller waits or not.
    pub async fn alter(
        self: &Arc<ClientQuotas>,
        changes: Vec<QuotaChange>,
        intent: ChangeIntent,
    ) -> Vec<Result<(), QuotaError>> {
        let (quotas, turn) = (Arc::clone(self), self.turns.next().await);
        carried_out(async move { quotas.alter_now(turn, changes, intent).await }).await
    }

    async fn alter_now(
        &self,
        _turn: Turn,
        changes: Vec<QuotaChange>,
        intent: ChangeIntent,
    ) -> Vec<Result<(), QuotaError>> {
        let mut entities = BTreeMap::clone(&self.table.read().entities);
        let mut rows = BTreeMap::new();
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            let changed = changed_values(&entities, &change);
            results.push(changed.map(|values| {
                if entities.get(&change.entity).unwrap_or(&QuotaValues::new()) == &values {
                    return;
                }
                rows.insert(row::key(&change.entity), row::value(&values));
                if values.is_empty() {
                    entities.remove(&change.entity);
                } else {
                    entities.insert(change.entity, values);
                }
            }));
        }
        if intent == ChangeIntent::Validate || rows.is_empty() {
            return results;
        }
        let change = |(key, value)| MetaChange { key, expect: Expect::Anything, value };
        if let Err(error) = self.meta.commit(rows.into_iter().map(change).collect()).await {
            let failed = QuotaError::Meta(error);
            return results.into_iter().map(|result| result.and(Err(failed.clone()))).collect();
        }
        info!(entities = entities.len(), "client quotas changed");
        self.put_in(entities);
        results
    }

    fn put_in(&self, entities: BTreeMap<QuotaEntity, QuotaValues>) {
        let limits = ClientLimits::new(&entities);
        let set = QuotaKey::ALL.into_iter().filter(|key| limits.has(*key)).map(bit).sum();
        let table = Table { entities: Arc::new(entities), limits: Arc::new(limits) };
        *self.table.write() = table;
        self.set.store(set, Ordering::Relaxed);
    }

    /// Whether anybody has a quota of this kind.
    pub fn has(&self, key: QuotaKey) -> bool {
        self.set.load(Ordering::Relaxed) & bit(key) != 0
    }

    /// Charges a Produce request for its bytes; the pause that its client deserves.
    pub fn charge_produced(&self, client: Client<'_>, bytes: usize) -> Duration {
        self.charge_rate(QuotaKey::ProducerByteRate, &self.produced, client, bytes as f64)
    }

    /// Charges an answer with records for its bytes; the pause that its client deserves instead of
    /// the answer, which is to be [taken back](ClientQuotas::refund_fetched) then.
    pub fn charge_fetched(&self, client: Client<'_>, bytes: usize) -> Duration {
        self.charge_rate(QuotaKey::ConsumerByteRate, &self.fetched, client, bytes as f64)
    }

    /// Takes back the charge for an answer that is not given.
    pub fn refund_fetched(&self, client: Client<'_>, bytes: usize) {
        self.charge_rate(QuotaKey::ConsumerByteRate, &self.fetched, client, -(bytes as f64));
    }

    /// The most bytes that one answer can have and still fit the quota of its client.
    pub fn fetch_bytes_max(&self, client: Client<'_>) -> Option<usize> {
        let (_, limit) = self.limit(QuotaKey::ConsumerByteRate, client)?;
        let QuotaWindow { count, length } = self.window;
        let seconds = length.as_secs_f64() * f64::from(count.saturating_sub(1));
        Some((limit * seconds) as usize)
    }

    /// Charges a request for the time that a processor was busy with it; the pause that its client
    /// deserves, which is no longer than one sample, so that it is not taken for a dead broker.
    pub fn charge_busy(&self, client: Client<'_>, busy: Duration) -> Duration {
        let percent = busy.as_secs_f64() * 100.0;
        let pause = self.charge_rate(QuotaKey::RequestPercentage, &self.busy, client, percent);
        pause.min(self.window.length)
    }

    /// The allowance of a request that creates or deletes partitions.
    pub fn begin_mutation(
        self: &Arc<ClientQuotas>,
        client: Client<'_>,
        over_quota: OverQuota,
    ) -> Arc<MutationQuota> {
        Arc::new(MutationQuota::new(Arc::clone(self), client, over_quota))
    }

    /// Charges a new connection; how long to keep it waiting before it is closed, if it is one too
    /// many. It does not count then.
    pub fn charge_connection(&self, address: IpAddr) -> Duration {
        if !self.has(QuotaKey::ConnectionCreationRate) {
            return Duration::ZERO;
        }
        let address = address.to_canonical();
        let limits = Arc::clone(&self.table.read().limits);
        let Some(limit) = limits.find_address(address) else {
            return Duration::ZERO;
        };
        let sharers = Sharers { user: address.to_string(), client_id: String::new() };
        let (now, window) = (self.clock.moment(), self.window);
        let mut sensors = self.connections.lock();
        let rate = rate_of(&mut sensors, sharers, now, window);
        rate.record(1.0, now, window);
        let pause = rate.pause(limit, now, window).min(window.length);
        if !pause.is_zero() {
            rate.record(-1.0, now, window);
        }
        pause
    }

    pub(super) fn charge_mutation(
        &self,
        client: Client<'_>,
        partitions: usize,
        over_quota: OverQuota,
    ) -> Result<Duration, Duration> {
        let Some((sharers, limit)) = self.limit(QuotaKey::ControllerMutationRate, client) else {
            return Ok(Duration::ZERO);
        };
        let now = self.clock.moment();
        let capacity = limit * self.mutation_window.span().as_secs_f64();
        let mut sensors = self.mutations.lock();
        let fresh = || TokenBucket::holding(limit, capacity, now);
        let bucket = sensors.of(sharers, now, fresh, |bucket| bucket.is_full(now));
        bucket.resize(limit, capacity, now);
        mutations::charge(bucket, (partitions as f64, limit), over_quota, now)
    }

    fn limit(&self, key: QuotaKey, client: Client<'_>) -> Option<(Sharers, f64)> {
        if !self.has(key) {
            return None;
        }
        let limits = Arc::clone(&self.table.read().limits);
        limits.find(key, client)
    }

    fn charge_rate(
        &self,
        key: QuotaKey,
        sensors: &Mutex<Sensors<SampledRate>>,
        client: Client<'_>,
        amount: f64,
    ) -> Duration {
        let Some((sharers, limit)) = self.limit(key, client) else {
            return Duration::ZERO;
        };
        let (now, window) = (self.clock.moment(), self.window);
        let mut sensors = sensors.lock();
        let rate = rate_of(&mut sensors, sharers, now, window);
        rate.record(amount, now, window);
        rate.pause(limit, now, window)
    }
}

const fn bit(key: QuotaKey) -> u8 {
    1 << key as u8
}

fn rate_of(
    sensors: &mut Sensors<SampledRate>,
    sharers: Sharers,
    now: Moment,
    window: QuotaWindow,
) -> &mut SampledRate {
    sensors.of(sharers, now, SampledRate::default, |rate| rate.is_idle(now, window))
}

/// The values of an entity after a change.
fn changed_values(
    entities: &BTreeMap<QuotaEntity, QuotaValues>,
    change: &QuotaChange,
) -> Result<QuotaValues, QuotaError> {
    if let QuotaEntity::Ip(EntityName::Named(name)) = &change.entity
        && addresses_of(name).is_empty()
    {
        return Err(QuotaError::InvalidIp(name.clone()));
    }
    let present = entities.get(&change.entity);
    let mut values = present.cloned().unwrap_or_default();
    for (name, value) in &change.values {
        match value {
            Some(value) => {
                let key = QuotaKey::checked(name, *value, &change.entity)?;
                values.insert(key, *value);
            }
            None => values.retain(|key, _| key.name() != name),
        }
    }
    if present.is_none() && !values.is_empty() && entities.len() >= QUOTA_ENTITIES_MAX {
        return Err(QuotaError::TooManyEntities { max: QUOTA_ENTITIES_MAX });
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::time::{ManualClock, Timestamp};
    use weir_storage::meta::memory::MemoryMeta;

    const CLIENT: Client<'static> = Client { user: "ANONYMOUS", id: "c" };

    struct Bench {
        meta: Arc<MemoryMeta>,
        clock: Arc<ManualClock>,
    }

    impl Bench {
        fn new() -> Bench {
            Bench {
                meta: Arc::default(),
                clock: Arc::new(ManualClock::starting_at(Timestamp::from_millis(0))),
            }
        }

        async fn open(&self) -> Arc<ClientQuotas> {
            let (meta, clock) = (Arc::clone(&self.meta), Arc::clone(&self.clock));
            let opened = ClientQuotas::open(meta, clock, &BrokerSettings::default()).await;
            Arc::new(opened.expect("memory opens"))
        }
    }

    fn client(name: &str) -> QuotaEntity {
        QuotaEntity::Client(EntityName::Named(name.to_owned()))
    }

    fn ip(name: &str) -> QuotaEntity {
        QuotaEntity::Ip(EntityName::Named(name.to_owned()))
    }

    fn change(entity: QuotaEntity, values: &[(&str, Option<f64>)]) -> QuotaChange {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        QuotaChange { entity, values }
    }

    async fn set(quotas: &Arc<ClientQuotas>, entity: QuotaEntity, key: QuotaKey, value: f64) {
        let change = change(entity, &[(key.name(), Some(value))]);
        let results = quotas.alter(vec![change], ChangeIntent::Make).await;
        assert_eq!(results, [Ok(())]);
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn quotas_survive_a_restart_and_are_removed_for_good() {
        let bench = Bench::new();
        let quotas = bench.open().await;
        let both = [("producer_byte_rate", Some(10.0)), ("request_percentage", Some(0.5))];
        let changes = vec![
            change(client("c"), &both),
            change(client("d"), &both),
            change(ip("10.0.0.1"), &[("connection_creation_rate", Some(3.0))]),
        ];
        assert_eq!(quotas.alter(changes, ChangeIntent::Make).await, [Ok(()), Ok(()), Ok(())]);
        let removals = [("producer_byte_rate", None), ("nope", None)];
        let all = [("producer_byte_rate", None), ("request_percentage", None)];
        let changes = vec![change(client("c"), &removals), change(client("d"), &all)];
        assert_eq!(quotas.alter(changes, ChangeIntent::Make).await, [Ok(()), Ok(())]);
        let expected = vec![
            (client("c"), QuotaValues::from([(QuotaKey::RequestPercentage, 0.5)])),
            (ip("10.0.0.1"), QuotaValues::from([(QuotaKey::ConnectionCreationRate, 3.0)])),
        ];
        let everything = BTreeMap::new();
        assert_eq!(quotas.describe(&everything, false), expected);
        let reopened = bench.open().await;
        assert_eq!(reopened.describe(&everything, false), expected);
        assert!(!reopened.has(QuotaKey::ProducerByteRate));
        assert!(reopened.has(QuotaKey::RequestPercentage));
    }

    #[tokio::test]
    async fn each_entity_is_judged_by_itself_and_changed_wholly_or_not_at_all() {
        let quotas = Bench::new().open().await;
        let bad = [("consumer_byte_rate", Some(1.0)), ("producer_byte_rate", Some(-1.0))];
        let changes = vec![
            change(client("bad"), &bad),
            change(ip("a host"), &[]),
            change(client("good"), &bad[..1]),
        ];
        let expected = [
            Err(QuotaError::NotPositive(QuotaKey::ProducerByteRate)),
            Err(QuotaError::InvalidIp("a host".to_owned())),
            Ok(()),
        ];
        let judged = quotas.alter(changes.clone(), ChangeIntent::Validate).await;
        assert_eq!(judged, expected);
        assert!(quotas.describe(&BTreeMap::new(), false).is_empty(), "nothing was made");
        assert_eq!(quotas.alter(changes, ChangeIntent::Make).await, expected);
        let made: Vec<_> = quotas.describe(&BTreeMap::new(), false);
        assert_eq!(made.iter().map(|(entity, _)| entity).collect::<Vec<_>>(), [&client("good")]);
    }

    #[tokio::test]
    async fn filters_name_parts_and_strict_ones_name_them_all() {
        use EntityType::{ClientId, User};
        let quotas = Bench::new().open().await;
        let named = |name: &str| EntityName::Named(name.to_owned());
        let pair = |client| QuotaEntity::UserClient { user: named("u"), client };
        let entities = [
            client("c"),
            QuotaEntity::User(named("u")),
            pair(named("c")),
            pair(EntityName::Default),
        ];
        for entity in &entities {
            set(&quotas, entity.clone(), QuotaKey::ProducerByteRate, 1.0).await;
        }
        let exactly_u = (User, PartFilter::Exactly(named("u")));
        let any_client = (ClientId, PartFilter::Any);
        let default_client = (ClientId, PartFilter::Exactly(EntityName::Default));
        for (filters, strict, found) in [
            (vec![], false, 4),
            (vec![], true, 0),
            (vec![exactly_u.clone()], false, 3),
            (vec![exactly_u.clone()], true, 1),
            (vec![any_client.clone()], false, 3),
            (vec![any_client.clone()], true, 1),
            (vec![exactly_u.clone(), any_client], true, 2),
            (vec![exactly_u, default_client.clone()], true, 1),
            (vec![default_client], true, 0),
        ] {
            let filters: BTreeMap<_, _> = filters.into_iter().collect();
            assert_eq!(quotas.describe(&filters, strict).len(), found, "{filters:?} {strict}");
        }
    }

    #[tokio::test]
    async fn a_byte_rate_is_shared_by_those_with_one_client_id_and_acts_at_once() {
        let bench = Bench::new();
        let quotas = bench.open().await;
        assert!(quotas.charge_produced(CLIENT, 1 << 40).is_zero(), "nobody has a quota");
        set(&quotas, client("c"), QuotaKey::ProducerByteRate, 1_000.0).await;
        assert!(quotas.charge_produced(CLIENT, 10_000).is_zero(), "ten seconds' worth at once");
        assert_eq!(quotas.charge_produced(CLIENT, 1_000), seconds(1));
        let other = Client { id: "d", ..CLIENT };
        assert!(quotas.charge_produced(other, 1 << 40).is_zero(), "others are unharmed");
        assert!(quotas.charge_fetched(CLIENT, 1 << 40).is_zero(), "reading is another thing");
        set(&quotas, client("c"), QuotaKey::ProducerByteRate, 1_100.0).await;
        assert!(quotas.charge_produced(CLIENT, 0).is_zero(), "a change acts on what was counted");
        bench.clock.advance(seconds(11));
        assert!(quotas.charge_produced(CLIENT, 11_000).is_zero());
    }

    #[tokio::test]
    async fn an_answer_that_is_not_given_costs_nothing_and_none_exceeds_what_may_be_saved_up() {
        let quotas = Bench::new().open().await;
        assert_eq!(quotas.fetch_bytes_max(CLIENT), None);
        set(&quotas, client("c"), QuotaKey::ConsumerByteRate, 500.0).await;
        assert_eq!(quotas.fetch_bytes_max(CLIENT), Some(5_000));
        assert_eq!(quotas.charge_fetched(CLIENT, 6_000), seconds(2));
        quotas.refund_fetched(CLIENT, 6_000);
        assert!(quotas.charge_fetched(CLIENT, 5_000).is_zero());
    }

    #[tokio::test]
    async fn the_pause_for_processor_time_is_at_most_a_second() {
        let quotas = Bench::new().open().await;
        set(&quotas, client("c"), QuotaKey::RequestPercentage, 1.0).await;
        assert!(quotas.charge_busy(CLIENT, Duration::from_millis(100)).is_zero());
        assert_eq!(
            quotas.charge_busy(CLIENT, Duration::from_millis(5)),
            Duration::from_millis(500)
        );
        assert_eq!(quotas.charge_busy(CLIENT, seconds(60)), seconds(1));
    }

    #[tokio::test]
    async fn strict_requests_are_refused_while_in_debt_and_others_pause() {
        let bench = Bench::new();
        let quotas = bench.open().await;
        set(&quotas, client("c"), QuotaKey::ControllerMutationRate, 2.0).await;
        let strict = quotas.begin_mutation(CLIENT, OverQuota::Refused);
        assert_eq!(strict.charge(22), Ok(()));
        assert_eq!(strict.charge(10), Ok(()), "there is no debt yet");
        assert_eq!(strict.pause(), Duration::ZERO);
        assert_eq!(strict.charge(1), Err(seconds(5)));
        assert_eq!(strict.pause(), seconds(5));
        let permissive = quotas.begin_mutation(CLIENT, OverQuota::CarriedOut);
        assert_eq!(permissive.charge(2), Ok(()));
        assert_eq!(permissive.pause(), seconds(6));
        bench.clock.advance(seconds(6));
        let again = quotas.begin_mutation(CLIENT, OverQuota::Refused);
        assert_eq!(again.charge(1), Ok(()));
    }

    #[tokio::test]
    async fn a_connection_too_many_is_kept_waiting_and_does_not_count() {
        let bench = Bench::new();
        let quotas = bench.open().await;
        let from = |text: &str| text.parse().expect("an address");
        assert!(quotas.charge_connection(from("127.0.0.1")).is_zero());
        set(&quotas, ip("127.0.0.1"), QuotaKey::ConnectionCreationRate, 2.0).await;
        for _ in 0..20 {
            assert!(quotas.charge_connection(from("127.0.0.1")).is_zero());
        }
        for _ in 0..3 {
            let pause = quotas.charge_connection(from("::ffff:127.0.0.1"));
            assert_eq!(pause, Duration::from_millis(500));
        }
        assert!(quotas.charge_connection(from("127.0.0.2")).is_zero());
    }
}
