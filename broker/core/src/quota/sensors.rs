//! What each who shares an allowance has used lately, in bounded memory.
//!
//! Whoever connects chooses its client id, so the table could be made to grow without end. One that
//! is idle says no more than one that is not there, and goes when room is needed; where all are
//! busy, newcomers share one. A client that changes its id with every request gains nothing by it
//! then, and the memory is bounded by [`SENSORS_MAX`] and [`SENSOR_TEXT_BYTES_MAX`].

use std::collections::HashMap;

use weir_model::limits::MIB;
use weir_model::time::Moment;

use crate::quota::client_limits::Sharers;

/// Most sensors of one kind.
const SENSORS_MAX: usize = 10_000;
/// Most bytes of the names that they are found by.
const SENSOR_TEXT_BYTES_MAX: usize = 4 * MIB;

/// The sensors of one kind.
#[derive(Debug)]
pub(super) struct Sensors<S> {
    by_sharers: HashMap<Sharers, S>,
    text_bytes: usize,
    /// Of whoever found no room.
    shared: Option<S>,
    /// When room was last made: a look at all of them is not for every request.
    swept_at: Option<Moment>,
}

impl<S> Default for Sensors<S> {
    fn default() -> Sensors<S> {
        Sensors { by_sharers: HashMap::new(), text_bytes: 0, shared: None, swept_at: None }
    }
}

impl<S> Sensors<S> {
    /// The sensor of these, made by `fresh` if there is none; `is_idle` tells which may go.
    pub(super) fn of(
        &mut self,
        sharers: Sharers,
        now: Moment,
        fresh: impl FnOnce() -> S,
        is_idle: impl FnMut(&mut S) -> bool,
    ) -> &mut S {
        if !self.by_sharers.contains_key(&sharers) {
            let bytes = text_bytes(&sharers);
            if !self.has_room(bytes) {
                self.sweep(now, is_idle);
            }
            if !self.has_room(bytes) {
                return self.shared.get_or_insert_with(fresh);
            }
            self.text_bytes += bytes;
        }
        self.by_sharers.entry(sharers).or_insert_with(fresh)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.by_sharers.len() < SENSORS_MAX && self.text_bytes + bytes <= SENSOR_TEXT_BYTES_MAX
    }

    /// Forgets who is idle, at most once a second.
    fn sweep(&mut self, now: Moment, mut is_idle: impl FnMut(&mut S) -> bool) {
        if self.swept_at.is_some_and(|swept_at| now.since(swept_at).as_secs() == 0) {
            return;
        }
        self.swept_at = Some(now);
        self.by_sharers.retain(|_, sensor| !is_idle(sensor));
        self.text_bytes = self.by_sharers.keys().map(text_bytes).sum();
    }
}

fn text_bytes(sharers: &Sharers) -> usize {
    sharers.user.len() + sharers.client_id.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sharers(client_id: &str) -> Sharers {
        Sharers { user: String::new(), client_id: client_id.to_owned() }
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    /// A table in which so many busy clients have counted once.
    fn full() -> Sensors<u32> {
        let mut sensors = Sensors::default();
        for index in 0..SENSORS_MAX {
            *sensors.of(sharers(&index.to_string()), at(0), || 0, |_| false) += 1;
        }
        sensors
    }

    #[test]
    fn each_has_its_own_and_finds_it_again() {
        let mut sensors = full();
        assert_eq!(*sensors.of(sharers("17"), at(1), || 0, |_| false), 1);
    }

    #[test]
    fn newcomers_share_one_while_all_others_are_busy() {
        let mut sensors = full();
        for index in 0..1_000 {
            let counted = sensors.of(sharers(&format!("new-{index}")), at(1), || 0, |_| false);
            *counted += 1;
            assert_eq!(*counted, index + 1);
        }
        assert_eq!(sensors.by_sharers.len(), SENSORS_MAX);
    }

    #[test]
    fn who_is_idle_makes_room_at_most_once_a_second() {
        let mut sensors = full();
        sensors.of(sharers("new"), at(1), || 0, |_| false);
        sensors.of(sharers("new"), at(1), || 7, |counted| *counted == 1);
        assert_eq!(sensors.by_sharers.len(), SENSORS_MAX, "looked at a moment ago");
        assert_eq!(*sensors.of(sharers("new"), at(2), || 7, |counted| *counted == 1), 7);
        assert_eq!((sensors.by_sharers.len(), sensors.text_bytes), (1, 3));
    }

    #[test]
    fn long_names_count_by_their_bytes() {
        let mut sensors: Sensors<u32> = Sensors::default();
        for index in 0..1_000 {
            let name = format!("{index:030000}");
            sensors.of(sharers(&name), at(0), || 0, |_| false);
            assert!(sensors.text_bytes <= SENSOR_TEXT_BYTES_MAX);
        }
        assert!(sensors.shared.is_some());
    }
}
