//! The table of all streams, by name and by id, and the only place that makes and removes them.
//!
//! Metadata decides what exists: a stream is one row, committed before anyone is told of it and
//! marked as deleting before anything of it goes. Creation costs that one commit for all streams of
//! a request; where there are few partitions, their first files are made and synced meanwhile (ADR
//! 22). A crash between the two commits of a deletion leaves a row that the next start finishes,
//! and one before the commit of a creation at most files, which it removes.
//!
//! Invariant: a stream is in both maps or in neither, and its partitions are declared to the log
//! and attached before it is in them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use tracing::{info, warn};
use weir_model::hash_key::HashKeyRange;
use weir_model::ids::{PartitionId, PartitionIndex, StreamId, StreamName};
use weir_model::limits::STREAM_PARTITIONS_MAX;
use weir_model::random::Random;
use weir_model::time::{Clock, Timestamp};
use weir_storage::config::LogConfig;
use weir_storage::error::MetaError;
use weir_storage::log::Log;
use weir_storage::meta::{Expect, MetaChange, MetaStore};

use crate::carried_out::{Turn, Turns, carried_out};
use crate::error::{CreateStreamError, DeleteStreamError};
use crate::events::{EventHub, EventKind};
use crate::partition::partition::{Origin, Partition};
use crate::quota::client_quotas::MutationQuota;
use crate::settings::broker_settings::TopicDefaults;
use crate::stream::attributes::StreamAttributes;
use crate::stream::config::{StreamConfig, first_overrides};
use crate::stream::layout::Layout;
use crate::stream::mode::{MODE_SETTING, StreamMode};
use crate::stream::row::{self, Life};
use crate::stream::state::State;
use crate::stream::stream::{Intent, NewStream, Stream};

/// Most partitions of one request that get their first files at once, in the time of its commit.
const PREPARED_PARTITIONS_MAX: usize = 4;

/// What the registry is told when it starts.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// What streams run with where nobody set it on them.
    pub defaults: TopicDefaults,
    /// Most partitions of all streams together, the broker's own left out.
    pub partitions_max: u32,
}

/// On whose behalf a stream is made.
#[derive(Clone, Debug)]
enum Maker {
    /// A client's, whatever its dialect: neither internal names nor more than the limit, nor more
    /// than its quota, if it has one.
    Client(Option<Arc<MutationQuota>>),
    /// An account's, in the ways of Kinesis: as a client's, and within these limits.
    Account(AccountLimits),
    /// The broker's, for its own state.
    Broker,
}

/// How many streams an account may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLimits {
    /// Most on-demand streams.
    pub on_demand_max: usize,
    /// Most streams that are being made at a time.
    pub creating_max: usize,
}

/// Which streams a deletion takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// All, with their registered consumers.
    WithConsumers,
    /// Those that nobody is registered to read.
    Unconsumed,
}

impl Deletion {
    fn may_take(self, stream: &Stream) -> bool {
        match self {
            Deletion::WithConsumers => true,
            Deletion::Unconsumed => stream.attributes().consumers.count() == 0,
        }
    }
}

/// All streams of the broker.
#[derive(Debug)]
pub struct Registry {
    log: Arc<Log>,
    meta: Arc<dyn MetaStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    events: EventHub,
    partitions_max: u32,
    /// What streams run with where nobody set it on them; changes with the broker's settings.
    defaults: RwLock<Arc<TopicDefaults>>,
    /// A sync lock: held for a look-up or a change of the maps, never across an await.
    tables: RwLock<Tables>,
    /// Open partitions of all streams, the broker's own left out; changes with the tables and in
    /// [`Registry::replace_layout`].
    open_partitions: AtomicU64,
    /// Counts the changes of the set of streams and of their partitions.
    version: AtomicU64,
    /// One change of the set of streams or of their rows at a time, across its commit.
    turns: Turns,
}

/// The partitions of a stream that count against the limit.
fn counted_partitions(stream: &Stream) -> u64 {
    match stream.name.is_internal() {
        true => 0,
        false => stream.layout().current().open.count() as u64,
    }
}

#[derive(Debug, Default)]
struct Tables {
    by_name: BTreeMap<StreamName, Arc<Stream>>,
    by_id: HashMap<StreamId, Arc<Stream>>,
}

impl Registry {
    /// Reads all streams from the metadata. Returns the registry and the streams whose deletion a
    /// crash interrupted; they do not live any more and want [`Registry::finish_deletions`].
    pub async fn open(
        log: Arc<Log>,
        meta: Arc<dyn MetaStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: RegistryOptions,
    ) -> Result<(Registry, Vec<Arc<Stream>>), MetaError> {
        let rows = meta.scan(Bytes::from_static(&[row::STREAM_KEY])).await?;
        let registry = Registry {
            log,
            meta,
            events: EventHub::new(Arc::clone(&clock)),
            clock,
            random,
            partitions_max: options.partitions_max,
            defaults: RwLock::new(Arc::new(options.defaults)),
            tables: RwLock::default(),
            open_partitions: AtomicU64::new(0),
            version: AtomicU64::new(0),
            turns: Turns::default(),
        };
        let mut deleting = Vec::new();
        for (key, value) in rows {
            let (stream, life) = row::decode(&key, &value.value, &registry.defaults())
                .map_err(|why| MetaError::Failed(format!("damaged stream row: {why}")))?;
            let stream = Arc::new(stream);
            registry.declare(&stream)?;
            match life {
                Life::Lives => registry.insert(&stream),
                Life::Deleting => {
                    stream.mark_deleted();
                    deleting.push(stream);
                }
            }
        }
        Ok((registry, deleting))
    }

    /// The stream with this name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Stream>> {
        let name = StreamName::new(name).ok()?;
        self.tables.read().by_name.get(&name).cloned()
    }

    /// The stream with this id.
    pub fn by_id(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.tables.read().by_id.get(&id).cloned()
    }

    /// What streams run with where nobody set it on them.
    pub(crate) fn defaults(&self) -> Arc<TopicDefaults> {
        Arc::clone(&self.defaults.read())
    }

    pub(super) fn partitions_max(&self) -> u32 {
        self.partitions_max
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Tells of what happens to streams and groups.
    pub(crate) fn events(&self) -> &EventHub {
        &self.events
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The turn of whoever changes the set of streams or anything in their rows.
    pub(crate) async fn turn(&self) -> Turn {
        self.turns.next().await
    }

    /// The row of a stream that is about to have these settings.
    pub(crate) fn config_row(&self, stream: &Stream, config: &StreamConfig) -> MetaChange {
        self.row(stream, config, &stream.attributes(), &stream.layout().current())
    }

    /// The row of a stream that is about to have these partitions.
    pub(super) fn layout_row(&self, stream: &Stream, layout: &Layout) -> MetaChange {
        self.row(stream, &stream.config(), &stream.attributes(), layout)
    }

    /// The row of a stream that is about to have these partitions and attributes.
    pub(super) fn resharded_row(
        &self,
        stream: &Stream,
        layout: &Layout,
        attributes: &StreamAttributes,
    ) -> MetaChange {
        self.row(stream, &stream.config(), attributes, layout)
    }

    /// The row of a stream that is about to have these settings and attributes.
    pub(super) fn amended_row(
        &self,
        stream: &Stream,
        config: &StreamConfig,
        attributes: &StreamAttributes,
    ) -> MetaChange {
        self.row(stream, config, attributes, &stream.layout().current())
    }

    fn row(
        &self,
        stream: &Stream,
        config: &StreamConfig,
        attributes: &StreamAttributes,
        layout: &Layout,
    ) -> MetaChange {
        MetaChange {
            key: row::key(stream.id),
            expect: Expect::Anything,
            value: Some(row::encode_with(stream, config, attributes, layout, Life::Lives)),
        }
    }

    /// Gives a stream and its logs settings that are committed.
    pub(crate) fn publish_config(&self, stream: &Stream, config: StreamConfig) {
        let log = config.log;
        stream.set_config(config);
        for partition in stream.partitions().iter() {
            self.log.declare(partition.id, log);
        }
    }

    /// Gives every stream what follows from new defaults.
    pub(crate) fn publish_defaults(&self, defaults: TopicDefaults) {
        let defaults = Arc::new(defaults);
        *self.defaults.write() = Arc::clone(&defaults);
        for stream in self.all() {
            let present = stream.config();
            let next = StreamConfig::of(present.overrides.clone(), &defaults);
            if next != *present {
                self.publish_config(&stream, next);
            }
        }
    }

    /// Grows with every stream that is made or removed and every partition that is added; whoever
    /// reads it before the streams sees at least the changes that it counts.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Says that there are other streams or partitions from now on.
    pub(super) fn count_change(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// All streams, ordered by name.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.tables.read().by_name.values().cloned().collect()
    }

    /// Makes streams, all in one metadata commit; each is judged on its own. Once begun it is
    /// carried out, whether the caller waits or not.
    pub async fn create(
        self: &Arc<Registry>,
        new: Vec<NewStream>,
    ) -> Vec<Result<Arc<Stream>, CreateStreamError>> {
        self.create_for(Maker::Client(None), new).await
    }

    /// Makes streams as [`Registry::create`] does, as far as the quota reaches: what could be made
    /// is charged, whether it is made or only judged.
    pub async fn create_within(
        self: &Arc<Registry>,
        quota: Arc<MutationQuota>,
        new: Vec<NewStream>,
    ) -> Vec<Result<Arc<Stream>, CreateStreamError>> {
        self.create_for(Maker::Client(Some(quota)), new).await
    }

    /// Makes a stream as [`Registry::create`] does, within the limits of its account.
    pub async fn create_for_account(
        self: &Arc<Registry>,
        limits: AccountLimits,
        new: NewStream,
    ) -> Result<Arc<Stream>, CreateStreamError> {
        let mut made = self.create_for(Maker::Account(limits), vec![new]).await;
        made.pop().expect("a result for each stream")
    }

    /// Makes a stream for the broker's own state, whatever limits clients have.
    pub async fn create_internal(
        self: &Arc<Registry>,
        new: NewStream,
    ) -> Result<Arc<Stream>, CreateStreamError> {
        assert!(new.name.is_internal(), "clients could write to the broker's state: {}", new.name);
        let mut made = self.create_for(Maker::Broker, vec![new]).await;
        made.pop().expect("a result for each stream")
    }

    async fn create_for(
        self: &Arc<Registry>,
        maker: Maker,
        new: Vec<NewStream>,
    ) -> Vec<Result<Arc<Stream>, CreateStreamError>> {
        let (registry, turn) = (Arc::clone(self), self.turn().await);
        carried_out(async move { registry.create_now(turn, new, maker).await }).await
    }

    async fn create_now(
        &self,
        _turn: Turn,
        new: Vec<NewStream>,
        maker: Maker,
    ) -> Vec<Result<Arc<Stream>, CreateStreamError>> {
        let mut used = self.partition_count();
        let mut made: BTreeMap<StreamName, Arc<Stream>> = BTreeMap::new();
        let mut results = Vec::with_capacity(new.len());
        for stream in &new {
            let result = self.build_for(&maker, stream, used, &made).map(Arc::new);
            if let (Ok(built), Intent::Make) = (&result, stream.intent) {
                used += u64::from(stream.partitions);
                made.insert(built.name.clone(), Arc::clone(built));
            }
            results.push(result);
        }
        if let Err(error) = self.commit_new(made.values()).await {
            let failed = CreateStreamError::Meta(error);
            return results.into_iter().map(|r| r.and(Err(failed.clone()))).collect();
        }
        for stream in made.values() {
            info!(stream = %stream.name, id = %stream.id, routing = ?stream.routing,
                partitions = stream.partitions().len(), "stream created");
            self.events.tell(stream, EventKind::Created { partitions: stream.partitions().len() });
        }
        results
    }

    /// Decides that streams are deleted, all in one metadata commit: their names are free when this
    /// returns, and nothing of them comes back. What is left goes by
    /// [`Registry::finish_deletions`].
    pub(crate) async fn begin_deletions(
        &self,
        _turn: Turn,
        ids: &[StreamId],
        deletion: Deletion,
    ) -> Vec<Result<Arc<Stream>, DeleteStreamError>> {
        let mut named = HashSet::new();
        let decide = |id: &StreamId| match self.by_id(*id).filter(|_| named.insert(*id)) {
            None => Err(DeleteStreamError::Unknown),
            Some(stream) if stream.name.is_internal() => Err(DeleteStreamError::Internal),
            Some(stream) if !deletion.may_take(&stream) => Err(DeleteStreamError::HasConsumers),
            Some(stream) => Ok(stream),
        };
        let decided: Vec<_> = ids.iter().map(decide).collect();
        let deleting = |stream: &Arc<Stream>| MetaChange {
            key: row::key(stream.id),
            expect: Expect::Anything,
            value: Some(row::encode(stream, Life::Deleting)),
        };
        let changes: Vec<_> = decided.iter().flatten().map(deleting).collect();
        if let Err(error) = self.commit(changes).await {
            let failed = DeleteStreamError::Meta(error);
            return decided.into_iter().map(|result| result.and(Err(failed.clone()))).collect();
        }
        let mut tables = self.tables.write();
        for stream in decided.iter().flatten() {
            stream.mark_deleted();
            tables.by_name.remove(&stream.name);
            tables.by_id.remove(&stream.id);
            self.open_partitions.fetch_sub(counted_partitions(stream), Ordering::Relaxed);
        }
        self.count_change();
        drop(tables);
        for stream in decided.iter().flatten() {
            self.events.tell(stream, EventKind::Deleted);
        }
        decided
    }

    /// Removes the records of streams whose deletion was decided, and then their rows.
    pub async fn finish_deletions(&self, streams: &[Arc<Stream>]) -> Result<(), MetaError> {
        self.remove_records(streams).await?;
        let gone = |stream: &Arc<Stream>| MetaChange {
            key: row::key(stream.id),
            expect: Expect::Anything,
            value: None,
        };
        self.commit(streams.iter().map(gone).collect()).await?;
        for stream in streams {
            info!(stream = %stream.name, id = %stream.id, "stream deleted");
        }
        Ok(())
    }

    /// Removes the records only; the rows stay, so that the next start finishes the rest.
    pub async fn remove_records(&self, streams: &[Arc<Stream>]) -> Result<(), MetaError> {
        let partitions = streams.iter().map(|stream| stream.partitions());
        let ids: Vec<_> =
            partitions.flat_map(|list| list.iter().map(|p| p.id).collect::<Vec<_>>()).collect();
        let removed = self.log.delete(&ids).await;
        if let Err(error) = &removed {
            warn!(
                streams = streams.len(),
                ?error,
                "records not removed, retried at the next start"
            );
        }
        removed
    }

    /// Commits, unless there is nothing to commit.
    pub(crate) async fn commit(&self, changes: Vec<MetaChange>) -> Result<(), MetaError> {
        match changes.is_empty() {
            true => Ok(()),
            false => self.meta.commit(changes).await,
        }
    }

    /// Partitions that count against the limit: open ones, as in AWS. Only while no other change is
    /// under way.
    pub(super) fn partition_count(&self) -> u64 {
        let count = self.open_partitions.load(Ordering::Relaxed);
        debug_assert_eq!(count, self.all().iter().map(|s| counted_partitions(s)).sum::<u64>());
        count
    }

    /// Gives a stream other partitions, which are committed and declared.
    pub(super) fn replace_layout(&self, stream: &Stream, layout: Layout) {
        let before = counted_partitions(stream);
        stream.layout().replace(layout);
        // Added first, so that the sum never wraps.
        self.open_partitions.fetch_add(counted_partitions(stream), Ordering::Relaxed);
        self.open_partitions.fetch_sub(before, Ordering::Relaxed);
        self.count_change();
    }

    /// Partitions that take room in memory and in the metadata, closed ones included. Only while no
    /// other change is under way.
    pub(super) fn kept_partition_count(&self) -> u64 {
        let tables = self.tables.read();
        let counted = tables.by_id.values().filter(|stream| !stream.name.is_internal());
        counted.map(|stream| stream.partitions().len() as u64).sum()
    }

    fn check_client_may(&self, new: &NewStream, used: u64) -> Result<(), CreateStreamError> {
        if new.name.is_internal() {
            return Err(CreateStreamError::Internal);
        }
        let (asked, max) = (new.partitions, self.partitions_max);
        if used + u64::from(asked) > u64::from(max) {
            return Err(CreateStreamError::PartitionLimit { used, asked, max });
        }
        Ok(())
    }

    fn check_account_may(
        &self,
        limits: AccountLimits,
        new: &NewStream,
    ) -> Result<(), CreateStreamError> {
        let (now, all) = (self.now(), self.all());
        let creating = all.iter().filter(|stream| stream.state(now) == State::Creating).count();
        if creating >= limits.creating_max {
            return Err(CreateStreamError::CreatingLimit { max: limits.creating_max });
        }
        let mode = new.overrides.get(MODE_SETTING).map(|value| StreamMode::of_setting(value));
        let is_on_demand = |stream: &&Arc<Stream>| stream.config().mode == StreamMode::OnDemand;
        if mode == Some(StreamMode::OnDemand)
            && all.iter().filter(is_on_demand).count() >= limits.on_demand_max
        {
            return Err(CreateStreamError::OnDemandLimit { max: limits.on_demand_max });
        }
        Ok(())
    }

    /// Builds a stream that its maker may have.
    fn build_for(
        &self,
        maker: &Maker,
        new: &NewStream,
        used: u64,
        made: &BTreeMap<StreamName, Arc<Stream>>,
    ) -> Result<Stream, CreateStreamError> {
        let quota = match maker {
            Maker::Broker => return self.build(new, made),
            Maker::Account(limits) => {
                self.check_account_may(*limits, new)?;
                &None
            }
            Maker::Client(quota) => quota,
        };
        self.check_client_may(new, used)?;
        let built = self.build(new, made)?;
        if let Some(quota) = quota {
            quota.charge(new.partitions as usize).map_err(|_| CreateStreamError::OverQuota)?;
        }
        Ok(built)
    }

    fn build(
        &self,
        new: &NewStream,
        made: &BTreeMap<StreamName, Arc<Stream>>,
    ) -> Result<Stream, CreateStreamError> {
        self.check_name(&new.name, made)?;
        let max = u32::try_from(STREAM_PARTITIONS_MAX).unwrap_or(u32::MAX);
        if new.partitions == 0 || new.partitions > max {
            return Err(CreateStreamError::PartitionCount { max });
        }
        let overrides = first_overrides(new.routing, new.overrides.clone());
        let config =
            StreamConfig::new(overrides, &self.defaults()).map_err(CreateStreamError::Config)?;
        let id = StreamId::random(&*self.random);
        let now = self.clock.now();
        let layout = Layout::new(first_partitions(id, new.partitions, now), Vec::new());
        Ok(Stream::new(id, new, now, config, layout))
    }

    /// Kafka's rule: `a.b` and `a_b` would share a metric's name, so only one of them may live.
    fn check_name(
        &self,
        name: &StreamName,
        made: &BTreeMap<StreamName, Arc<Stream>>,
    ) -> Result<(), CreateStreamError> {
        let tables = self.tables.read();
        if tables.by_name.contains_key(name) || made.contains_key(name) {
            return Err(CreateStreamError::AlreadyExists);
        }
        if !name.as_str().contains(['.', '_']) {
            return Ok(());
        }
        let folded = name.as_str().replace('.', "_");
        let collides = |other: &&StreamName| other.as_str().replace('.', "_") == folded;
        match tables.by_name.keys().chain(made.keys()).find(collides) {
            Some(other) => Err(CreateStreamError::NameCollision { other: other.clone() }),
            None => Ok(()),
        }
    }

    async fn commit_new(
        &self,
        streams: impl Iterator<Item = &Arc<Stream>> + Clone,
    ) -> Result<(), MetaError> {
        let row_of = |stream: &Arc<Stream>| MetaChange {
            key: row::key(stream.id),
            expect: Expect::Absent,
            value: Some(row::encode(stream, Life::Lives)),
        };
        let changes: Vec<_> = streams.clone().map(row_of).collect();
        if changes.is_empty() {
            return Ok(());
        }
        for stream in streams.clone() {
            self.declare(stream)?;
        }
        self.prepare(streams.clone());
        if let Err(error) = self.meta.commit(changes).await {
            let made: Vec<_> = streams.cloned().collect();
            // Says itself what it could not remove; the next start does.
            let _removed = self.remove_records(&made).await;
            return Err(error);
        }
        for stream in streams {
            self.insert(stream);
        }
        Ok(())
    }

    /// Makes the first files of new streams that have few partitions.
    fn prepare<'a>(&self, streams: impl Iterator<Item = &'a Arc<Stream>> + Clone) {
        let partitions = streams.clone().map(|stream| stream.partitions().len());
        if partitions.sum::<usize>() > PREPARED_PARTITIONS_MAX {
            return;
        }
        for stream in streams {
            for partition in stream.partitions().iter() {
                self.log.prepare(partition.id);
            }
        }
    }

    fn declare(&self, stream: &Stream) -> Result<(), MetaError> {
        let config = stream.config().log;
        stream.partitions().iter().try_for_each(|p| self.declare_partition(p, config))
    }

    pub(super) fn declare_partition(
        &self,
        partition: &Partition,
        config: LogConfig,
    ) -> Result<(), MetaError> {
        self.log.declare(partition.id, config);
        let failed =
            |error: &dyn Debug| MetaError::Failed(format!("partition {}: {error:?}", partition.id));
        if partition.closed_at().is_some() {
            self.log.seal(partition.id).map_err(|error| failed(&error))?;
        }
        let progress = self.log.progress(partition.id).map_err(|error| failed(&error))?;
        partition.attach(progress);
        Ok(())
    }

    fn insert(&self, stream: &Arc<Stream>) {
        let mut tables = self.tables.write();
        tables.by_name.insert(stream.name.clone(), Arc::clone(stream));
        tables.by_id.insert(stream.id, Arc::clone(stream));
        self.open_partitions.fetch_add(counted_partitions(stream), Ordering::Relaxed);
        self.count_change();
    }
}

fn first_partitions(stream: StreamId, count: u32, now: Timestamp) -> Vec<Arc<Partition>> {
    let ranges = HashKeyRange::even_ranges(count);
    let numbered = ranges.into_iter().enumerate().map(|(index, range)| {
        let index = PartitionIndex::try_from(index).expect("the count was checked");
        let id = PartitionId { stream, index };
        Arc::new(Partition::new(id, range, Origin::without_parents(now), None))
    });
    numbered.collect()
}
