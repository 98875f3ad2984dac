//! Waiting for a moment of the broker's clock, whichever clock that is.

use std::future::poll_fn;
use std::time::Duration;

use weir_model::alarms::{AlarmId, Waits};
use weir_model::time::{Clock, Moment};

/// Waits for one moment after the other. On a clock that does not move by itself, what the caller
/// does after a wait counts as under way until it waits again or drops this.
#[derive(Debug)]
pub struct Alarm<'c> {
    clock: &'c dyn Clock,
    /// None on a clock that moves by itself.
    id: Option<AlarmId>,
}

impl<'c> Alarm<'c> {
    /// An alarm for work that whoever moves the clock waits for.
    pub fn for_work(clock: &'c dyn Clock) -> Alarm<'c> {
        Alarm::new(clock, Waits::ForTheWork)
    }

    /// An alarm for what goes on when a client takes it.
    pub fn for_client(clock: &'c dyn Clock) -> Alarm<'c> {
        Alarm::new(clock, Waits::ForNothing)
    }

    fn new(clock: &'c dyn Clock, waits: Waits) -> Alarm<'c> {
        Alarm { clock, id: clock.alarms().map(|alarms| alarms.add(waits)) }
    }

    /// Returns at that moment.
    pub async fn at(&mut self, due: Moment) {
        match (self.clock.alarms(), self.id) {
            (Some(alarms), Some(id)) => {
                let clock = self.clock;
                poll_fn(|context| alarms.poll(id, due, || clock.moment(), context)).await;
            }
            _ => loop {
                let left = due.since(self.clock.moment());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left).await;
            },
        }
    }

    /// Returns when so much has passed from now on.
    pub async fn after(&mut self, duration: Duration) {
        self.at(self.clock.moment().plus(duration)).await;
    }

    /// Says that nothing is under way while something else is waited for.
    pub fn rest(&mut self) {
        if let (Some(alarms), Some(id)) = (self.clock.alarms(), self.id) {
            alarms.clear(id);
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if let (Some(alarms), Some(id)) = (self.clock.alarms(), self.id) {
            alarms.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use weir_model::time::{SettableClock, SystemClock, Timestamp};

    #[tokio::test]
    async fn a_clock_that_is_moved_wakes_who_is_due_and_tells_when_they_are_done() {
        let clock = Arc::new(SettableClock::starting_at(Timestamp::from_millis(0)));
        let worker = Arc::clone(&clock);
        let work = tokio::spawn(async move {
            let mut alarm = Alarm::for_work(&*worker);
            alarm.after(Duration::from_secs(60)).await;
            tokio::task::yield_now().await;
            worker.now()
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(59));
        assert!(clock.is_settled());
        clock.advance(Duration::from_secs(2));
        assert!(!clock.is_settled());
        assert_eq!(work.await.expect("no panic"), Timestamp::from_millis(61_000));
        assert!(clock.is_settled());
    }

    #[tokio::test(start_paused = true)]
    async fn the_systems_clock_is_waited_for_by_the_systems_timers() {
        let clock = SystemClock::new();
        let begun = clock.moment();
        Alarm::for_work(&clock).after(Duration::from_millis(5)).await;
        assert!(clock.moment().since(begun) >= Duration::from_millis(5));
    }
}
