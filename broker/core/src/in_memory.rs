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

use crate::broker::{AutoCreate, Broker, BrokerOptions, Foundations, PARTITIONS_MAX_DEFAULT};
use crate::group::coordinator::GroupOptions;
use crate::quota::limits::QuotaPolicy;

/// The options of a fresh `weir serve`.
pub fn default_options() -> BrokerOptions {
    BrokerOptions {
        node_id: 1,
        cluster_id: "weir-in-memory".to_owned(),
        account_id: "000000000000".to_owned(),
        auto_create: AutoCreate::On,
        default_partitions: 1,
        partitions_max: PARTITIONS_MAX_DEFAULT,
        default_flush: FlushPolicy::Group,
        quotas: QuotaPolicy::Aws,
        groups: GroupOptions::default(),
    }
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
