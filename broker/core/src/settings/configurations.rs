//! The settings of everything, and the only place that changes them.
//!
//! Three layers give what holds for the broker, the later over the earlier: what it was started
//! with, what was set for all brokers, what was set for this one. From them follow the defaults of
//! streams, so a change of the broker's settings reaches every stream that does not set its own.
//!
//! All changes of one request are one metadata commit, under the lock that the registry has for
//! changes of the set of streams; readers see the settings as they were or as they will be.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tracing::info;
use weir_storage::config::FlushPolicy;
use weir_storage::error::MetaError;
use weir_storage::meta::{Expect, MetaChange, MetaStore};

use crate::carried_out::{Turn, carried_out};
use crate::error::{AlterConfigError, ConfigError};
use crate::settings::alteration::{Alteration, Changes};
use crate::settings::broker_settings::BrokerSettings;
use crate::settings::holder::{self, Holder, Resource, SETTINGS_KEY};
use crate::settings::setting::{ChangedWhen, Setting};
use crate::settings::table::{BROKER_SETTINGS, CLIENT_METRICS_SETTINGS, GROUP_SETTINGS};
use crate::settings::written::Written;
use crate::stream::config::{Overrides, StreamConfig};
use crate::stream::config_table::TOPIC_SETTINGS;
use crate::stream::registry::Registry;
use crate::stream::stream::{Intent, Stream};

/// Most groups and client metrics subscriptions that have settings.
const HOLDERS_MAX: usize = 10_000;
/// Longest name of one, in bytes.
const HOLDER_NAME_BYTES_MAX: usize = 1_024;

/// What is kept of all that is not a stream.
pub(crate) type HeldSettings = BTreeMap<Holder, Overrides>;

/// The settings of everything.
#[derive(Debug)]
pub struct Configurations {
    registry: Arc<Registry>,
    /// What the broker was started with.
    pub(super) started_with: Written,
    default_flush: FlushPolicy,
    /// A sync lock: held for a look-up or a change, never across an await.
    held: RwLock<HeldSettings>,
    settings: RwLock<Arc<BrokerSettings>>,
}

/// What one request changes, once all of it has been judged.
#[derive(Default)]
struct Plan {
    streams: Vec<(Arc<Stream>, StreamConfig)>,
    held: HeldSettings,
}

/// Reads what was set while earlier runs of the broker lasted.
pub(crate) async fn read_held(
    meta: &dyn MetaStore,
    started_with: &Written,
) -> Result<HeldSettings, MetaError> {
    let mut held = HeldSettings::new();
    for (key, value) in meta.scan(Bytes::from_static(&[SETTINGS_KEY])).await? {
        let (holder, settings) = holder::decode(&key, &value.value)
            .map_err(|why| MetaError::Failed(format!("damaged settings row: {why}")))?;
        held.insert(holder, settings);
    }
    // As in Kafka, whose clusters begin with this one set for all brokers.
    let first = "min.insync.replicas";
    held.entry(Holder::AllBrokers).or_insert_with(|| {
        let value = started_with.value(first).unwrap_or_default();
        Overrides::from([(first.to_owned(), value.to_owned())])
    });
    Ok(held)
}

/// What holds for the broker; says in words which values do not fit each other.
pub(crate) fn effective(
    started_with: &Written,
    held: &HeldSettings,
) -> Result<BrokerSettings, ConfigError> {
    let mut written = started_with.clone();
    for holder in [Holder::AllBrokers, Holder::Broker] {
        for (name, value) in held.get(&holder).into_iter().flatten() {
            written.insert(name, value)?;
        }
    }
    BrokerSettings::new(written).map_err(|why| ConfigError::Conflict { why })
}

impl Configurations {
    pub(crate) fn new(
        registry: Arc<Registry>,
        started_with: Written,
        default_flush: FlushPolicy,
        held: HeldSettings,
        settings: BrokerSettings,
    ) -> Configurations {
        Configurations {
            registry,
            started_with,
            default_flush,
            held: RwLock::new(held),
            settings: RwLock::new(Arc::new(settings)),
        }
    }

    /// What holds for the broker now.
    pub fn settings(&self) -> Arc<BrokerSettings> {
        Arc::clone(&self.settings.read())
    }

    /// What was set on something that is not a stream.
    pub fn of(&self, holder: &Holder) -> Overrides {
        self.held.read().get(holder).cloned().unwrap_or_default()
    }

    /// Everything but streams that has settings.
    pub fn holders(&self) -> Vec<Holder> {
        self.held.read().keys().cloned().collect()
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Changes settings, all in one metadata commit; each resource is judged on its own, in the
    /// order given. Once begun it is carried out, whether the caller waits or not.
    pub async fn alter(
        self: &Arc<Configurations>,
        alterations: Vec<Alteration>,
        intent: Intent,
    ) -> Vec<Result<(), AlterConfigError>> {
        let (this, turn) = (Arc::clone(self), self.registry.turn().await);
        carried_out(async move { this.alter_now(turn, &alterations, intent).await }).await
    }

    async fn alter_now(
        &self,
        _turn: Turn,
        alterations: &[Alteration],
        intent: Intent,
    ) -> Vec<Result<(), AlterConfigError>> {
        let mut plan = Plan::default();
        let decide = |alteration| self.decide(alteration, &mut plan);
        let results: Vec<_> = alterations.iter().map(decide).collect();
        if intent == Intent::Validate {
            return results;
        }
        if let Err(error) = self.commit(&plan).await {
            let failed = AlterConfigError::Meta(error);
            return results.into_iter().map(|result| result.and(Err(failed.clone()))).collect();
        }
        self.publish(plan);
        results
    }

    fn decide(&self, alteration: &Alteration, plan: &mut Plan) -> Result<(), AlterConfigError> {
        match &alteration.resource {
            Resource::Stream(name) => self.decide_stream(name, &alteration.changes, plan),
            Resource::Held(holder) => self.decide_held(holder, &alteration.changes, plan),
        }
    }

    fn decide_stream(
        &self,
        name: &str,
        changes: &Changes,
        plan: &mut Plan,
    ) -> Result<(), AlterConfigError> {
        let stream = self.registry.by_name(name).ok_or(AlterConfigError::UnknownStream)?;
        if stream.name.is_internal() {
            return Err(AlterConfigError::Internal);
        }
        let next = changes.apply(&stream.config().overrides, TOPIC_SETTINGS)?;
        let config =
            StreamConfig::new(next, &self.registry.defaults()).map_err(AlterConfigError::Config)?;
        plan.streams.push((stream, config));
        Ok(())
    }

    fn decide_held(
        &self,
        holder: &Holder,
        changes: &Changes,
        plan: &mut Plan,
    ) -> Result<(), AlterConfigError> {
        let now = |holder: &Holder| match plan.held.get(holder) {
            Some(settings) => settings.clone(),
            None => self.of(holder),
        };
        let present = now(holder);
        let table = table_of(holder);
        let next = changes.apply(&present, table)?;
        let refused = AlterConfigError::Config;
        match holder {
            Holder::Broker | Holder::AllBrokers => {
                check_changed_while_running(&present, &next)?;
                check_each(&next, table).map_err(refused)?;
                let layers = [Holder::AllBrokers, Holder::Broker];
                let mut held: HeldSettings =
                    layers.map(|layer| (layer.clone(), now(&layer))).into();
                held.insert(holder.clone(), next.clone());
                effective(&self.started_with, &held).map_err(refused)?;
            }
            Holder::Group(name) | Holder::ClientMetrics(name) => {
                check_each(&next, table).map_err(refused)?;
                if matches!(holder, Holder::Group(_)) {
                    self.settings().check_group(&next).map_err(refused)?;
                }
                let is_new = present.is_empty() && !next.is_empty();
                let used = self.held.read().len() + plan.held.len();
                if name.len() > HOLDER_NAME_BYTES_MAX || (is_new && used >= HOLDERS_MAX) {
                    return Err(AlterConfigError::TooMany { max: HOLDERS_MAX });
                }
            }
        }
        plan.held.insert(holder.clone(), next);
        Ok(())
    }

    async fn commit(&self, plan: &Plan) -> Result<(), MetaError> {
        let of_stream = |(stream, config): &(Arc<Stream>, StreamConfig)| {
            self.registry.config_row(stream, config)
        };
        let of_holder = |(holder, settings): (&Holder, &Overrides)| MetaChange {
            key: holder.key(),
            expect: Expect::Anything,
            // What was set for all brokers at first must not come back once it is removed.
            value: (!settings.is_empty() || *holder == Holder::AllBrokers)
                .then(|| holder::encode(settings)),
        };
        let streams = plan.streams.iter().map(of_stream);
        self.registry.commit(streams.chain(plan.held.iter().map(of_holder)).collect()).await
    }

    fn publish(&self, plan: Plan) {
        for (stream, config) in plan.streams {
            info!(stream = %stream.name, settings = ?config.overrides, "settings changed");
            self.registry.publish_config(&stream, config);
        }
        if plan.held.is_empty() {
            return;
        }
        let settings = {
            let mut held = self.held.write();
            for (holder, settings) in plan.held {
                info!(?holder, ?settings, "settings changed");
                if settings.is_empty() && holder != Holder::AllBrokers {
                    held.remove(&holder);
                } else {
                    held.insert(holder, settings);
                }
            }
            effective(&self.started_with, &held).expect("it was checked before the commit")
        };
        self.registry.publish_defaults(settings.topic_defaults(self.default_flush));
        *self.settings.write() = Arc::new(settings);
    }
}

/// The settings that something may have.
pub(super) fn table_of(holder: &Holder) -> &'static [Setting] {
    match holder {
        Holder::Broker | Holder::AllBrokers => BROKER_SETTINGS,
        Holder::Group(_) => GROUP_SETTINGS,
        Holder::ClientMetrics(_) => CLIENT_METRICS_SETTINGS,
    }
}

fn check_each(settings: &Overrides, table: &'static [Setting]) -> Result<(), ConfigError> {
    for (name, value) in settings {
        match table.iter().find(|setting| setting.name == name) {
            None => return Err(ConfigError::Unknown { name: name.clone() }),
            Some(setting) => setting.check(value)?,
        }
    }
    Ok(())
}

/// Refuses changes of settings that are read at start only.
fn check_changed_while_running(
    present: &Overrides,
    next: &Overrides,
) -> Result<(), AlterConfigError> {
    let is_refused = |setting: &&Setting| {
        setting.changed == ChangedWhen::Starting
            && next.get(setting.name) != present.get(setting.name)
    };
    let names = BROKER_SETTINGS.iter().filter(is_refused).map(|setting| setting.name);
    let names: Vec<_> = names.collect();
    if names.is_empty() { Ok(()) } else { Err(AlterConfigError::ReadAtStart { names }) }
}
