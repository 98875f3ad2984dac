//! Time, injected: nothing else in weir may ask the operating system what time it is.
//!
//! Two kinds are kept apart. A [`Timestamp`] is a date that records carry and retention compares;
//! it may jump when somebody sets the clock. A [`Moment`] only ever grows, and measures how long
//! something took or may still take.
//!
//! A broker may be given a clock that moves only when it is told to ([`SettableClock`]). What
//! records and resources age by follows it; what really takes time (a flush, a client's patience)
//! is measured by [`Clock::real_moment`].

use std::fmt;
use std::time::Duration;

use crate::alarms::Alarms;

/// Milliseconds since 1970-01-01 UTC. Producers may send any value, -1 ("none") included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Kafka's "no timestamp".
    pub const NONE: Timestamp = Timestamp(-1);

    /// The time this many milliseconds after 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01 UTC, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds from `earlier` to this time; negative if `earlier` is later.
    pub const fn millis_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time this many milliseconds later (or earlier, if negative).
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A point on a clock that never goes back, as the time since the process's first look at it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment this long after the clock's start.
    pub const fn from_start(since_start: Duration) -> Moment {
        Moment(since_start)
    }

    /// How long after the clock's start this moment is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How long after `earlier` this moment is; zero if it is not.
    pub const fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment this much later.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(duration))
    }
}

/// Where time comes from. One per broker, behind an `Arc`.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The date now, for records, retention, iterators and quotas.
    fn now(&self) -> Timestamp;

    /// The moment now, for the durations and deadlines of what ages with the dates.
    fn moment(&self) -> Moment;

    /// The moment now, for what really takes time: how long a client waits, a flush takes.
    fn real_moment(&self) -> Moment {
        self.moment()
    }

    /// Who waits for this clock, if it does not move by itself.
    fn alarms(&self) -> Option<&Alarms> {
        None
    }
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A clock whose moments count from now.
    #[expect(clippy::disallowed_methods, reason = "this is the one home of the system's clock")]
    pub fn new() -> SystemClock {
        SystemClock { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one home of the system's clock")]
    fn now(&self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }

    fn moment(&self) -> Moment {
        Moment(self.start.elapsed())
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    start_millis: i64,
    elapsed_micros: std::sync::atomic::AtomicU64,
}

impl ManualClock {
    /// A clock that shows `start` until it is advanced.
    pub const fn starting_at(start: Timestamp) -> ManualClock {
        ManualClock { start_millis: start.0, elapsed_micros: std::sync::atomic::AtomicU64::new(0) }
    }

    /// Moves both the date and the moment forward.
    pub fn advance(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.elapsed_micros.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed_micros.load(std::sync::atomic::Ordering::SeqCst))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let elapsed_millis = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.start_millis.saturating_add(elapsed_millis))
    }

    fn moment(&self) -> Moment {
        Moment(self.elapsed())
    }
}

/// A clock for a server under test: dates and moments stand still until somebody moves them, real
/// moments pass.
#[derive(Debug)]
pub struct SettableClock {
    shown: ManualClock,
    real: SystemClock,
    alarms: Alarms,
}

impl SettableClock {
    /// A clock that shows `start` until it is advanced.
    pub fn starting_at(start: Timestamp) -> SettableClock {
        let (real, alarms) = (SystemClock::new(), Alarms::default());
        SettableClock { shown: ManualClock::starting_at(start), real, alarms }
    }

    /// Moves the date and the moment forward, and wakes who waited for it.
    pub fn advance(&self, duration: Duration) {
        self.shown.advance(duration);
        self.alarms.wake(self.moment());
    }

    /// Whether everything that was due has run.
    pub fn is_settled(&self) -> bool {
        !self.alarms.any_due(self.moment())
    }
}

impl Clock for SettableClock {
    fn now(&self) -> Timestamp {
        self.shown.now()
    }

    fn moment(&self) -> Moment {
        self.shown.moment()
    }

    fn real_moment(&self) -> Moment {
        self.real.moment()
    }

    fn alarms(&self) -> Option<&Alarms> {
        Some(&self.alarms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_000));
        let before = clock.moment();
        assert_eq!(clock.now(), Timestamp::from_millis(1_000));
        clock.advance(Duration::from_millis(250));
        assert_eq!(clock.now(), Timestamp::from_millis(1_250));
        assert_eq!(clock.moment().since(before), Duration::from_millis(250));
    }

    #[test]
    fn seconds_round_down_before_1970_too() {
        assert_eq!(Timestamp::from_millis(1_999).as_seconds(), 1);
        assert_eq!(Timestamp::from_millis(-1).as_seconds(), -1);
    }
}
