//! What has its own time: once a second, logs roll and trim what is due, and closed partitions that
//! hold nothing any more expire.

use std::sync::Arc;
use std::time::Duration;

use weir_storage::log::Log;

use crate::stream::registry::Registry;

/// How often the logs are looked after.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks after the logs and their streams until the task is dropped. Owned by the broker.
pub(crate) async fn run(log: Arc<Log>, registry: Arc<Registry>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        log.housekeep().await;
        registry.mark_expired().await;
    }
}
