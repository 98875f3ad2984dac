//! The façade that the dialects hold. One call per request goes through here; each family of verbs
//! stands in its own file as `impl Broker`: [`append`](crate::partition::append),
//! [`fetch`](crate::read::fetch), [`read`](crate::read::records),
//! [`find_offset`](crate::read::position), and what changes a stream
//! ([`retention`](crate::stream::retention) and its neighbours).
//!
//! Lock order: group or transaction → registry → partition. None is held across an await
//! (docs/adr/0012).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::warn;
use weir_model::ids::{ProducerId, StreamId};
use weir_model::random::Random;
use weir_model::time::Clock;
use weir_storage::config::FlushPolicy;
use weir_storage::error::MetaError;
use weir_storage::log::Log;
use weir_storage::meta::{Expect, MetaChange, MetaStore};
use weir_storage::producer_state::ActiveProducer;

use crate::account::Account;
use crate::carried_out::carried_out;
use crate::error::{
    CreateStreamError, DeleteStreamError, GrowStreamError, ReadError, ReshardError,
};
use crate::events::EventHub;
use crate::faults::Faults;
use crate::group::coordinator::{GroupCoordinator, GroupOptions};
use crate::housekeeping;
use crate::metrics::Metrics;
use crate::partition::look::LOOKS_MAX;
use crate::partition::partition::Partition;
use crate::quota::client_quotas::{ClientQuotas, MutationQuota};
use crate::quota::limits::{BucketView, QuotaPolicy, ShardQuota};
use crate::read::decoded::DecodedBatches;
use crate::request_budget::RequestBudget;
use crate::routing::reshard::Reshard;
use crate::settings::broker_settings::BrokerSettings;
use crate::settings::configurations::{self, Configurations};
use crate::stream::change_over::{Resharded, ScalingLimits};
use crate::stream::grow::Growth;
use crate::stream::mode::StreamMode;
use crate::stream::registry::{AccountLimits, Deletion, Registry, RegistryOptions};
use crate::stream::state::State;
use crate::stream::stream::{Intent, NewStream, Stream};
use crate::txn::producer_ids::ProducerIds;

/// Most partitions of a broker that is told nothing else: AWS's figure for its largest regions.
pub const PARTITIONS_MAX_DEFAULT: u32 = 20_000;

/// What the broker is told when it starts.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Kafka's broker id.
    pub node_id: i32,
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// AWS's account id, of 12 digits.
    pub account_id: String,
    /// The directory of the logs, as tools show it.
    pub log_directory: String,
    /// What was set by Kafka's names; [`Broker::settings`] is what holds.
    pub settings: BrokerSettings,
    /// Most partitions of all streams together, the broker's own left out.
    pub partitions_max: u32,
    /// The flush policy of streams that do not set one.
    pub default_flush: FlushPolicy,
    /// The server's stance on shard quotas.
    pub quotas: QuotaPolicy,
    /// What the consumer groups are told.
    pub groups: GroupOptions,
}

/// What a broker is built on.
#[derive(Clone, Debug)]
pub struct Foundations {
    /// The logs.
    pub log: Arc<Log>,
    /// The metadata.
    pub meta: Arc<dyn MetaStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
}

/// The broker: one per process, shared by all dialects.
#[derive(Debug)]
pub struct Broker {
    foundations: Foundations,
    options: BrokerOptions,
    configurations: Arc<Configurations>,
    registry: Arc<Registry>,
    groups: Arc<GroupCoordinator>,
    client_quotas: Arc<ClientQuotas>,
    account: Arc<Account>,
    producer_ids: ProducerIds,
    metrics: Arc<Metrics>,
    request_budget: RequestBudget,
    faults: Faults,
    /// Who looks into partitions now.
    looks: Semaphore,
    sealing_key: [u8; 32],
    pub(crate) decoded: DecodedBatches,
    /// Whose turn it is among the partitions for records without a key.
    pub(crate) turns: AtomicUsize,
    housekeeping: tokio::task::JoinHandle<()>,
}

impl Broker {
    /// Reads the metadata and starts serving. Must be called inside a tokio runtime.
    pub async fn open(
        foundations: Foundations,
        options: BrokerOptions,
    ) -> Result<Arc<Broker>, MetaError> {
        let Foundations { log, meta, clock, random } = foundations.clone();
        let sealing_key = sealing_key(&*meta, &*random).await?;
        let started_with = options.settings.written.clone();
        let held = configurations::read_held(&*meta, &started_with).await?;
        let settings = configurations::effective(&started_with, &held)
            .map_err(|error| MetaError::Failed(format!("settings: {error:?}")))?;
        let (registry, deleting) = Registry::open(
            Arc::clone(&log),
            Arc::clone(&meta),
            Arc::clone(&clock),
            Arc::clone(&random),
            RegistryOptions {
                defaults: settings.topic_defaults(options.default_flush),
                partitions_max: options.partitions_max,
            },
        )
        .await?;
        let registry = Arc::new(registry);
        if let Some(recovered) = foundations.log.recovered() {
            registry.events().tell_recovered(recovered);
        }
        let client_quotas =
            ClientQuotas::open(Arc::clone(&meta), Arc::clone(&clock), &options.settings);
        let client_quotas = Arc::new(client_quotas.await?);
        let configurations = Arc::new(Configurations::new(
            Arc::clone(&registry),
            started_with,
            options.default_flush,
            held,
            settings,
        ));
        let account = Account::open(Arc::clone(&meta), Arc::clone(&clock)).await?;
        let groups = GroupCoordinator::new(
            Arc::clone(&registry),
            Arc::clone(&configurations),
            Arc::clone(&log),
            clock,
            random,
            options.groups,
        );
        let groups = Arc::new(groups);
        let (told, settings_of) = (Arc::clone(&groups), Arc::clone(&configurations));
        let (looked_after, kept_by) = (Arc::clone(&registry), Arc::clone(&foundations.clock));
        let metrics = Arc::<Metrics>::default();
        let broker = Broker {
            foundations,
            configurations,
            options,
            registry,
            groups,
            client_quotas,
            account: Arc::new(account),
            producer_ids: ProducerIds::new(meta),
            metrics: Arc::clone(&metrics),
            request_budget: RequestBudget::default(),
            faults: Faults::default(),
            looks: Semaphore::new(LOOKS_MAX),
            sealing_key,
            decoded: DecodedBatches::default(),
            turns: AtomicUsize::new(0),
            housekeeping: tokio::spawn(housekeeping::run(
                log,
                looked_after,
                told,
                settings_of,
                metrics,
                kept_by,
            )),
        };
        for result in remove_deleted(&broker.registry, &broker.groups, deleting).await {
            if let Err(error) = result {
                warn!(?error, "deletion not finished, retried at the next start");
            }
        }
        Ok(Arc::new(broker))
    }

    /// What the broker was told.
    pub fn options(&self) -> &BrokerOptions {
        &self.options
    }

    /// The settings that hold now, by their Kafka names: see [`crate::settings`].
    pub fn settings(&self) -> Arc<BrokerSettings> {
        self.configurations.settings()
    }

    /// The settings of everything: what may be asked of them, and the way to change them.
    pub fn configurations(&self) -> &Arc<Configurations> {
        &self.configurations
    }

    /// Gives streams more partitions, all in one metadata commit; each is judged on its own, in the
    /// order given, as far as the client's quota reaches.
    pub async fn grow_streams_within(
        &self,
        quota: &Arc<MutationQuota>,
        growths: Vec<Growth>,
        intent: Intent,
    ) -> Vec<Result<(), GrowStreamError>> {
        self.registry.grow_within(Arc::clone(quota), growths, intent).await
    }

    /// Gives a stream more partitions as [`Broker::grow_streams_within`] does, whatever the quota
    /// of its client.
    pub async fn grow_stream(&self, growth: Growth, intent: Intent) -> Result<(), GrowStreamError> {
        let grown = self.registry.grow(vec![growth], intent).await;
        grown.into_iter().next().expect("a result for each stream")
    }

    /// Splits, merges or scales the partitions of a stream that is routed by hash, and that its
    /// owner scales. AWS's limits of a scaling hold where its quotas do.
    pub async fn reshard(
        &self,
        stream: &Stream,
        reshard: Reshard,
    ) -> Result<Resharded, ReshardError> {
        if stream.config().mode == StreamMode::OnDemand {
            return Err(ReshardError::OnDemand);
        }
        let limits = match self.options.quotas.factor_for(stream) {
            Some(_) => ScalingLimits::AsAws,
            None => ScalingLimits::Off,
        };
        let updating = self.passing(State::Updating);
        self.registry.reshard(stream.id, reshard, limits, updating).await
    }

    /// The turn to look into a partition.
    pub(crate) async fn look(&self) -> SemaphorePermit<'_> {
        self.looks.acquire().await.expect("it is never closed")
    }

    /// What tests want to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.foundations.clock
    }

    /// Chance.
    pub fn random(&self) -> &dyn Random {
        &*self.foundations.random
    }

    /// What the broker counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What requests may hold in memory, whatever their dialect.
    pub fn request_budget(&self) -> &RequestBudget {
        &self.request_budget
    }

    /// Seals tokens that clients carry (shard iterators); kept with the data, so that they outlive
    /// a restart and are worthless elsewhere.
    pub fn sealing_key(&self) -> &[u8; 32] {
        &self.sealing_key
    }

    /// The logs, for numbers and internal streams; records go through the verbs of this type.
    pub fn log(&self) -> &Arc<Log> {
        &self.foundations.log
    }

    /// The table of all streams, for the families of verbs that stand in files of their own.
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Tells of what happens.
    pub(crate) fn events(&self) -> &EventHub {
        self.registry.events()
    }

    /// The stream with this name, internal ones included.
    pub fn stream(&self, name: &str) -> Option<Arc<Stream>> {
        self.registry.by_name(name)
    }

    /// The stream with this id.
    pub fn stream_by_id(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.registry.by_id(id)
    }

    /// All streams, ordered by name, internal ones included.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.registry.all()
    }

    /// Makes streams, all in one metadata commit; each is judged on its own, in the order given.
    /// Names that the broker keeps for its own state are refused.
    pub async fn create_streams(
        &self,
        new: Vec<NewStream>,
    ) -> Vec<Result<Arc<Stream>, CreateStreamError>> {
        self.registry.create(new).await
    }

    /// Makes streams as [`Broker::create_streams`] does, as far as the client's quota reaches.
    pub async fn create_streams_within(
        &self,
        quota: &Arc<MutationQuota>,
        new: Vec<NewStream>,
    ) -> Vec<Result<Arc<Stream>, CreateStreamError>> {
        self.registry.create_within(Arc::clone(quota), new).await
    }

    /// Makes a stream in all dialects, within the limits of its account.
    pub async fn create_for_account(
        &self,
        limits: AccountLimits,
        new: NewStream,
    ) -> Result<Arc<Stream>, CreateStreamError> {
        self.registry.create_for_account(limits, new).await
    }

    /// Deletes a stream in all dialects; see [`Broker::delete_streams`].
    pub async fn delete_stream(
        &self,
        id: StreamId,
        deletion: Deletion,
    ) -> Result<(), DeleteStreamError> {
        let results = self.carry_out_deletions(vec![id], deletion).await;
        results.into_iter().next().expect("one result for one stream")
    }

    /// Deletes streams in all dialects, with the same few metadata commits for one as for many;
    /// each is judged on its own, in the order given. Their names are free when this returns. Once
    /// begun it is carried out, whether the caller waits or not.
    pub async fn delete_streams(&self, ids: Vec<StreamId>) -> Vec<Result<(), DeleteStreamError>> {
        self.carry_out_deletions(ids, Deletion::WithConsumers).await
    }

    async fn carry_out_deletions(
        &self,
        ids: Vec<StreamId>,
        deletion: Deletion,
    ) -> Vec<Result<(), DeleteStreamError>> {
        let (registry, groups) = (Arc::clone(&self.registry), Arc::clone(&self.groups));
        let turn = registry.turn().await;
        carried_out(async move {
            let decided = registry.begin_deletions(turn, &ids, deletion).await;
            let deleting = decided.iter().flatten().cloned().collect();
            let mut removed = remove_deleted(&registry, &groups, deleting).await.into_iter();
            let result_of = |decided: Result<Arc<Stream>, DeleteStreamError>| {
                decided?;
                let removed = removed.next().expect("one result for each that was decided");
                removed.map_err(DeleteStreamError::Meta)
            };
            decided.into_iter().map(result_of).collect()
        })
        .await
    }

    /// Deletes streams as [`Broker::delete_streams`] does, as far as the client's quota reaches.
    pub async fn delete_streams_within(
        &self,
        quota: &MutationQuota,
        ids: Vec<StreamId>,
    ) -> Vec<Result<(), DeleteStreamError>> {
        let charge = |id: &StreamId| match self.stream_by_id(*id) {
            Some(stream) => quota.charge(stream.partitions().len()).is_ok(),
            None => true,
        };
        let within: Vec<bool> = ids.iter().map(charge).collect();
        let allowed = ids.into_iter().zip(&within).filter(|(_, within)| **within);
        let deleted = self.delete_streams(allowed.map(|(id, _)| id).collect()).await;
        let mut deleted = deleted.into_iter();
        let result = |within| match within {
            true => deleted.next().expect("a result for each stream"),
            false => Err(DeleteStreamError::OverQuota),
        };
        within.into_iter().map(result).collect()
    }

    /// The consumer groups.
    pub fn groups(&self) -> &GroupCoordinator {
        &self.groups
    }

    /// The idempotent producers that a partition remembers, ordered by id.
    pub fn active_producers(
        &self,
        partition: &Partition,
    ) -> Result<Vec<ActiveProducer>, ReadError> {
        Ok(self.log().active_producers(partition.id)?)
    }

    /// What users, client ids and addresses may use.
    pub fn client_quotas(&self) -> &Arc<ClientQuotas> {
        &self.client_quotas
    }

    /// The account's settings.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// A number for a new idempotent producer.
    pub async fn allocate_producer_id(&self) -> Result<ProducerId, MetaError> {
        self.producer_ids.allocate().await
    }

    /// Stops serving: flushes all logs and marks the stop as clean.
    pub async fn close(&self) -> Result<(), MetaError> {
        self.groups.shut_down();
        self.housekeeping.abort();
        self.log().close().await
    }

    /// How often within a day something may be done that AWS grants so many times; without limit
    /// where the server has no quotas.
    pub(crate) fn daily_limit(&self, aws: usize) -> usize {
        match self.options.quotas {
            QuotaPolicy::Off => usize::MAX,
            QuotaPolicy::Aws | QuotaPolicy::Factor(_) => aws,
        }
    }

    /// The multiple of AWS's quotas that holds for the shards of a stream now; none: no quotas.
    pub fn quota_factor(&self, stream: &Stream) -> Option<f64> {
        self.options.quotas.factor_for(stream)
    }

    /// What the buckets of a partition hold now, and the multiple of AWS's quotas that they are
    /// made for; none: no quotas.
    pub fn buckets(
        &self,
        stream: &Stream,
        partition: &Partition,
    ) -> Option<([BucketView; 4], f64)> {
        let now = self.clock().moment();
        self.with_quota(stream, partition, |quota| (quota.views(now), quota.factor()))
    }

    /// Whether the shards of a stream have quotas now.
    pub(crate) fn has_quotas(&self, stream: &Stream) -> bool {
        self.quota_factor(stream).is_some()
    }

    /// Looks at a shard's buckets, if its stream has quotas now; makes or resizes them as needed.
    pub(crate) fn with_quota<T>(
        &self,
        stream: &Stream,
        partition: &Partition,
        look: impl FnOnce(&mut ShardQuota) -> T,
    ) -> Option<T> {
        let factor = self.options.quotas.factor_for(stream)?;
        let mut quota = partition.gate.buckets.lock();
        let fresh = || ShardQuota::new(factor, self.clock().moment());
        let buckets = quota.get_or_insert_with(fresh);
        if buckets.factor() != factor {
            *buckets = fresh();
        }
        Some(look(buckets))
    }
}

/// Removes what hangs on deleted streams (committed offsets), their records and their rows. Where
/// offsets cannot be removed the records go all the same, for a full disk may be the reason; the
/// row stays, and the next start finishes. The results are in the order given.
pub(crate) async fn remove_deleted(
    registry: &Registry,
    groups: &GroupCoordinator,
    streams: Vec<Arc<Stream>>,
) -> Vec<Result<(), MetaError>> {
    let mut results = Vec::with_capacity(streams.len());
    let (mut forgotten, mut remembered) = (Vec::new(), Vec::new());
    for stream in streams {
        match groups.stream_deleted(&stream).await {
            Ok(()) => {
                forgotten.push(stream);
                results.push(Ok(()));
            }
            Err(error) => {
                remembered.push(stream);
                let text = format!("committed offsets not removed: {error:?}");
                results.push(Err(MetaError::Failed(text)));
            }
        }
    }
    let finished = registry.finish_deletions(&forgotten).await;
    let removed = registry.remove_records(&remembered).await;
    let outcome = finished.and(removed);
    results.into_iter().map(|result| result.and(outcome.clone())).collect()
}

/// The row that holds the sealing key.
const SEALING_KEY: &[u8] = b"c:sealing-key";

/// Reads the sealing key, or draws it when the data directory is new.
async fn sealing_key(meta: &dyn MetaStore, random: &dyn Random) -> Result<[u8; 32], MetaError> {
    let key = Bytes::from_static(SEALING_KEY);
    if let Some(row) = meta.get(key.clone()).await? {
        let damaged = |_| MetaError::Failed("the sealing key is not 32 bytes long".to_owned());
        return <[u8; 32]>::try_from(&*row.value).map_err(damaged);
    }
    let mut drawn = [0; 32];
    random.fill(&mut drawn);
    let value = Some(Bytes::copy_from_slice(&drawn));
    meta.commit(vec![MetaChange { key, expect: Expect::Absent, value }]).await?;
    Ok(drawn)
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.housekeeping.abort();
    }
}
