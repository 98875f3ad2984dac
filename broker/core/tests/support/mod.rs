//! What the tests of restarts share.

use std::sync::Arc;

use weir_core::broker::{Broker, Foundations};
use weir_core::in_memory;
use weir_model::random::SeededRandom;
use weir_model::time::{Clock, ManualClock, Timestamp};
use weir_storage::local::{DataDir, Flushing, LocalLog, LocalOptions, Reserve};
use weir_storage::log::Log;
use weir_storage::meta::RedbStore;
use weir_storage::sim_disk::SimDisk;

/// The time at which each run begins.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Starts a broker on what the disk holds.
pub(crate) async fn open(disk: &SimDisk) -> Arc<Broker> {
    let data = DataDir::open(Arc::new(disk.clone()), Reserve::None).expect("a data directory");
    let meta = Arc::new(RedbStore::open(&data).expect("a store"));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(NOW));
    let random = Arc::new(SeededRandom::new(1));
    let options = LocalOptions { flushing: Flushing::Stepped, ..LocalOptions::default() };
    let log = LocalLog::open(data, meta.clone(), Arc::clone(&clock), &*random, options).await;
    let log = Arc::new(Log::Local(log.expect("a log")));
    let foundations = Foundations { log, meta, clock, random };
    Broker::open(foundations, in_memory::default_options()).await.expect("a broker")
}
