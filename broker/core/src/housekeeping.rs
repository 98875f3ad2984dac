//! What has its own time: once a second, logs roll and trim what is due, closed partitions that
//! hold nothing any more expire, what is on its way out goes, and a minute of the metrics may end.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use weir_model::time::Clock;
use weir_storage::log::Log;

use crate::alarm::Alarm;
use crate::broker::remove_deleted;
use crate::carried_out::carried_out;
use crate::group::coordinator::GroupCoordinator;
use crate::metrics::Metrics;
use crate::settings::configurations::Configurations;
use crate::stream::on_demand::Scaler;
use crate::stream::registry::{Deletion, Registry};
use crate::stream::state::State;

/// How often the logs are looked after.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks after the logs and their streams until the task is dropped. Owned by the broker.
pub(crate) async fn run(
    log: Arc<Log>,
    registry: Arc<Registry>,
    groups: Arc<GroupCoordinator>,
    configurations: Arc<Configurations>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
) {
    let mut scaler = Scaler::default();
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
        metrics.look_at_minute(clock.now(), || registry.all());
        log.housekeep().await;
        registry.mark_expired().await;
        registry.end_deregistrations().await;
        end_deletions(&registry, &groups).await;
        let updating = || configurations.settings().topics.passing(State::Updating, clock.now());
        scaler.run(&registry, &*clock, updating).await;
    }
}

/// Deletes the streams that have been DELETING for long enough.
async fn end_deletions(registry: &Arc<Registry>, groups: &Arc<GroupCoordinator>) {
    let due = registry.due_deletions();
    if due.is_empty() {
        return;
    }
    let turn = registry.turn().await;
    let (registry, groups) = (Arc::clone(registry), Arc::clone(groups));
    carried_out(async move {
        let decided = registry.begin_deletions(turn, &due, Deletion::WithConsumers).await;
        for error in decided.iter().filter_map(|result| result.as_ref().err()) {
            warn!(?error, "a stream stays DELETING, tried again");
        }
        let deleting = decided.into_iter().flatten().collect();
        for removed in remove_deleted(&registry, &groups, deleting).await {
            if let Err(error) = removed {
                warn!(?error, "deletion not finished, retried at the next start");
            }
        }
    })
    .await;
}
