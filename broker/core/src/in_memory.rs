//! A broker without a disk: the whole core on the in-memory log, for the tests of what stands above
//! it. Everything is real but the storage, and nothing lasts.

use std::sync::Arc;

use weir_model::random::Random;
use weir_model::time::Clock;
use weir_storage::config::FlushPolicy;
use weir_storage::error::MetaError;
use weir_storage::log::Log;
use weir_storage::memory::MemoryLog;
use weir_storage::meta::memory::MemoryMeta;

use crate::broker::{Broker, BrokerOptions, Foundations, PARTITIONS_MAX_DEFAULT};
use crate::group::coordinator::GroupOptions;
use crate::quota::limits::QuotaPolicy;
use crate::settings::broker_settings::BrokerSettings;
use crate::settings::written::Written;

/// The options of a fresh `weir serve`.
pub fn default_options() -> BrokerOptions {
    BrokerOptions {
        node_id: 1,
        cluster_id: "weir-in-memory".to_owned(),
        account_id: "000000000000".to_owned(),
        log_directory: "in-memory".to_owned(),
        settings: BrokerSettings::default(),
        partitions_max: PARTITIONS_MAX_DEFAULT,
        default_flush: FlushPolicy::Group,
        quotas: QuotaPolicy::Aws,
        groups: GroupOptions::default(),
    }
}

/// The same, with some of the broker's settings set, by their Kafka names.
pub fn options_with(settings: &[(&str, &str)]) -> BrokerOptions {
    let mut written = Written::default();
    for (name, value) in settings {
        written.insert(name, value).expect("a legal setting");
    }
    let settings = BrokerSettings::new(written).expect("settings that fit each other");
    let groups = GroupOptions::of(&settings);
    BrokerOptions { settings, groups, ..default_options() }
}

/// Opens a broker in memory. Must be called inside a tokio runtime.
pub async fn open(
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    options: BrokerOptions,
) -> Result<Arc<Broker>, MetaError> {
    let foundations = Foundations {
        log: Arc::new(Log::Memory(MemoryLog::start(Arc::clone(&clock)))),
        meta: Arc::new(MemoryMeta::default()),
        clock,
        random,
    };
    Broker::open(foundations, options).await
}
