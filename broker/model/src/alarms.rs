//! Who waits for a clock that moves only when it is told to.
//!
//! Such a clock cannot be waited for with the system's timers. Whoever waits sets an alarm here;
//! moving the clock wakes those that are due. An alarm stays due until it is set again or taken
//! away, so one that is set again after each round of work tells, by being set for later, that the
//! round is done: [`Alarms::any_due`] is how a test knows that everything due has run.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::time::Moment;

/// All alarms of one clock.
#[derive(Debug, Default)]
pub struct Alarms {
    /// A sync lock: held for one look or change, never across an await.
    set: Mutex<Set>,
}

#[derive(Debug, Default)]
struct Set {
    alarms: BTreeMap<AlarmId, Alarm>,
    made: u64,
}

/// One of the alarms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AlarmId(u64);

#[derive(Debug)]
struct Alarm {
    /// None while nothing is waited for.
    due: Option<Moment>,
    waker: Option<Waker>,
    waits: Waits,
}

/// Whether the clock's mover waits for what an alarm begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// Until it is set again or taken away.
    ForTheWork,
    /// No: it goes on when a client takes what it has, which may be never.
    ForNothing,
}

impl Alarms {
    /// A new alarm, not yet set.
    pub fn add(&self, waits: Waits) -> AlarmId {
        let mut set = self.set.lock();
        set.made += 1;
        let id = AlarmId(set.made);
        set.alarms.insert(id, Alarm { due: None, waker: None, waits });
        id
    }

    /// Takes an alarm away.
    pub fn remove(&self, id: AlarmId) {
        self.set.lock().alarms.remove(&id);
    }

    /// Has an alarm wait for nothing, until it is polled again.
    pub fn clear(&self, id: AlarmId) {
        if let Some(alarm) = self.set.lock().alarms.get_mut(&id) {
            alarm.due = None;
            alarm.waker = None;
        }
    }

    /// Sets an alarm and waits for it; `now` is asked for after it is set, so that no move of the
    /// clock is missed.
    pub fn poll(
        &self,
        id: AlarmId,
        due: Moment,
        now: impl FnOnce() -> Moment,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut set = self.set.lock();
        if let Some(alarm) = set.alarms.get_mut(&id) {
            alarm.due = Some(due);
            alarm.waker = Some(context.waker().clone());
        }
        match now() >= due {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Wakes whoever waits for this moment or an earlier one.
    pub fn wake(&self, now: Moment) {
        let mut set = self.set.lock();
        let due = set.alarms.values_mut().filter(|alarm| alarm.due.is_some_and(|due| due <= now));
        let wakers: Vec<Waker> = due.filter_map(|alarm| alarm.waker.take()).collect();
        drop(set);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether something that was due by now has still to run.
    pub fn any_due(&self, now: Moment) -> bool {
        let set = self.set.lock();
        let mut waited_for = set.alarms.values().filter(|alarm| alarm.waits == Waits::ForTheWork);
        waited_for.any(|alarm| alarm.due.is_some_and(|due| due <= now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    fn poll(alarms: &Alarms, id: AlarmId, due: Moment, now: Moment) -> Poll<()> {
        alarms.poll(id, due, || now, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_alarm_is_due_until_it_is_set_again() {
        let alarms = Alarms::default();
        let id = alarms.add(Waits::ForTheWork);
        assert!(!alarms.any_due(at(9)), "not set");
        assert!(poll(&alarms, id, at(5), at(4)).is_pending());
        assert!(!alarms.any_due(at(4)));
        alarms.wake(at(5));
        assert!(alarms.any_due(at(5)), "woken, and not done");
        assert!(poll(&alarms, id, at(5), at(5)).is_ready());
        assert!(alarms.any_due(at(5)), "at work");
        assert!(poll(&alarms, id, at(10), at(5)).is_pending());
        assert!(!alarms.any_due(at(5)), "done");
        alarms.clear(id);
        assert!(!alarms.any_due(at(10)));
        assert!(poll(&alarms, id, at(10), at(10)).is_ready());
        alarms.remove(id);
        assert!(!alarms.any_due(at(10)));
    }

    #[test]
    fn nobody_waits_for_what_a_client_takes() {
        let alarms = Alarms::default();
        let id = alarms.add(Waits::ForNothing);
        assert!(poll(&alarms, id, at(1), at(0)).is_pending());
        assert!(!alarms.any_due(at(2)));
    }
}
