//! What has its own time: once a second, logs roll and trim what is due.

use std::sync::Arc;
use std::time::Duration;

use weir_storage::log::Log;

/// How often the logs are looked after.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks after the logs until the task is dropped. Owned by the broker.
pub(crate) async fn run(log: Arc<Log>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        log.housekeep().await;
    }
}
