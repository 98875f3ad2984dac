//! What has its own time: once a second, logs roll and trim what is due, and closed partitions that
//! hold nothing any more expire.

use std::sync::Arc;
use std::time::Duration;

use weir_model::time::Clock;
use weir_storage::log::Log;

use crate::alarm::Alarm;
use crate::stream::registry::Registry;

/// How often the logs are looked after.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks after the logs and their streams until the task is dropped. Owned by the broker.
pub(crate) async fn run(log: Arc<Log>, registry: Arc<Registry>, clock: Arc<dyn Clock>) {
    let mut alarm = Alarm::for_work(&*clock);
    let mut due = clock.moment().plus(PERIOD);
    loop {
        // What is late is flushed in real time, whatever the clock shows.
        tokio::select! {
            () = alarm.at(due) => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
        // Before the work, so that what a clock moved meanwhile makes due has its turn.
        due = clock.moment().plus(PERIOD);
        log.housekeep().await;
        registry.mark_expired().await;
    }
}
