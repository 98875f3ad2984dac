//! When which group wants to be woken. One queue and one task for all groups of a coordinator.
//!
//! A group's deadlines move all the time (each heartbeat moves one), so they are not kept here:
//! only the earliest moment at which a group must look at its own, which hardly ever moves.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_model::time::{Clock, Moment};

use crate::alarm::Alarm;

/// Wake-ups that are due some time, in order.
#[derive(Debug)]
pub(super) struct Timers<T> {
    /// A sync lock: held for one insertion or removal, never across an await.
    queue: Mutex<Queue<T>>,
    earlier: Notify,
}

#[derive(Debug)]
struct Queue<T> {
    entries: BTreeMap<(Moment, u64), T>,
    /// Keeps wake-ups of one moment apart.
    pushed: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        let queue = Queue { entries: BTreeMap::new(), pushed: 0 };
        Timers { queue: Mutex::new(queue), earlier: Notify::new() }
    }
}

impl<T> Timers<T> {
    /// Has `target` come out of [`Timers::next`] at that moment.
    pub(super) fn push(&self, at: Moment, target: T) {
        let mut queue = self.queue.lock();
        queue.pushed += 1;
        let key = (at, queue.pushed);
        let is_first = queue.entries.first_key_value().is_none_or(|(first, _)| key < *first);
        queue.entries.insert(key, target);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Waits for the next wake-up. For one task only, which says with `alarm` that it is at work.
    pub(super) async fn next(&self, clock: &dyn Clock, alarm: &mut Alarm<'_>) -> (Moment, T) {
        loop {
            let now = clock.moment();
            let wait = {
                let mut queue = self.queue.lock();
                match queue.entries.first_entry() {
                    None => None,
                    Some(first) if first.key().0 <= now => {
                        let ((at, _), target) = first.remove_entry();
                        return (at, target);
                    }
                    Some(first) => Some(first.key().0),
                }
            };
            match wait {
                None => {
                    alarm.rest();
                    self.earlier.notified().await;
                }
                // Either it is time, or something earlier has come; the loop finds out.
                Some(due) => tokio::select! {
                    () = alarm.at(due) => {}
                    () = self.earlier.notified() => {}
                },
            }
        }
    }
}
