//! When which group wants to be woken. One queue and one task for all groups of a coordinator.
//!
//! A group's deadlines move all the time (each heartbeat moves one), so they are not kept here:
//! only the earliest moment at which a group must look at its own, which hardly ever moves.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_model::time::{Clock, Moment};

/// Wake-ups that are due some time, in order.
#[derive(Debug)]
pub(super) struct Timers<T> {
    /// A sync lock: held for one insertion or removal, never across an await. The number keeps
    /// wake-ups of one moment apart.
    queue: Mutex<(BTreeMap<(Moment, u64), T>, u64)>,
    earlier: Notify,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers { queue: Mutex::new((BTreeMap::new(), 0)), earlier: Notify::new() }
    }
}

impl<T> Timers<T> {
    /// Has `target` come out of [`Timers::next`] at that moment.
    pub(super) fn push(&self, at: Moment, target: T) {
        let (entries, next) = &mut *self.queue.lock();
        *next += 1;
        let is_first = entries.first_key_value().is_none_or(|((first, _), _)| at < *first);
        entries.insert((at, *next), target);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Waits for the next wake-up. For one task only.
    pub(super) async fn next(&self, clock: &dyn Clock) -> (Moment, T) {
        loop {
            let now = clock.moment();
            let wait = {
                let (entries, _) = &mut *self.queue.lock();
                match entries.first_entry() {
                    None => None,
                    Some(first) if first.key().0 <= now => {
                        let ((at, _), target) = first.remove_entry();
                        return (at, target);
                    }
                    Some(first) => Some(first.key().0.since(now)),
                }
            };
            match wait {
                None => self.earlier.notified().await,
                // Either it is time, or something earlier has come; the loop finds out.
                Some(wait) => drop(tokio::time::timeout(wait, self.earlier.notified()).await),
            }
        }
    }
}
