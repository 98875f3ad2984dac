//! Where the time of a request goes.
//!
//! ```text
//!   bytes come        begin          turn           answer            send
//!   ├── receive ──┤── begin ──┤──── turn ────┤──── answer ────┤──── send ────┤
//!                 └───────────────────────── total ───────────────────────────┘
//! ```
//!
//! | stage | what passes | Kafka | Kinesis | gRPC |
//! |---|---|---|---|---|
//! | receive | the body comes, the broker's budget of request bytes is waited for | yes | yes | |
//! | begin | checks; for Produce also admission by quota and the write into the log | yes | yes | |
//! | turn | the answers to earlier requests of the connection go out first | yes | | |
//! | answer | the core's work, and waiting for flushes and new records | yes | yes | yes |
//! | send | the answer goes into the socket | yes | | |
//!
//! The total leaves out `receive`, which is the client's and the network's. A stage that a dialect
//! does not have, or cannot see (hyper sends the answers of the other two), is not counted for it.
//! It is real time, whatever clock the broker shows.

use std::time::Duration;

use parking_lot::Mutex;
use weir_model::histogram::{Durations, Histogram};

/// A part of the time of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its body comes.
    Receive,
    /// It is checked; a Produce is admitted and written.
    Begin,
    /// It waits for the answers before its own.
    Turn,
    /// Its answer is made.
    Answer,
    /// Its answer is sent.
    Send,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Stage; 5] =
        [Stage::Receive, Stage::Begin, Stage::Turn, Stage::Answer, Stage::Send];

    /// The name used as a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Begin => "begin",
            Stage::Turn => "turn",
            Stage::Answer => "answer",
            Stage::Send => "send",
        }
    }
}

/// The times of the requests of one API.
#[derive(Debug, Default)]
pub struct Latency {
    total: Histogram,
    stages: [Histogram; Stage::ALL.len()],
    recent: Mutex<Recent>,
}

/// What the histograms that have quantiles held when the last two minutes began.
#[derive(Debug, Default)]
struct Recent {
    before: Seen,
    now: Seen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    total: Durations,
    turn: Durations,
    send: Durations,
}

/// The times of the last one to two minutes.
#[derive(Clone, Copy, Debug)]
pub struct RecentLatency {
    /// From the whole request to the answer sent.
    pub total: Durations,
    /// Of [`Stage::Turn`].
    pub turn: Durations,
    /// Of [`Stage::Send`].
    pub send: Durations,
}

impl Latency {
    /// Counts the time that a request was in a stage.
    pub fn observe(&self, stage: Stage, took: Duration) {
        self.histogram(stage).observe(took);
    }

    /// Counts a request that is done, and how long it took from when all of it was there.
    pub fn observe_total(&self, took: Duration) {
        self.total.observe(took);
    }

    /// The times of a stage since the start.
    pub fn stage(&self, stage: Stage) -> Durations {
        self.histogram(stage).durations()
    }

    /// The times of whole requests since the start.
    pub fn total(&self) -> Durations {
        self.total.durations()
    }

    /// The times of the last one to two minutes.
    pub fn recent(&self) -> RecentLatency {
        let (now, before) = (self.seen(), self.recent.lock().before);
        RecentLatency {
            total: now.total.since(&before.total),
            turn: now.turn.since(&before.turn),
            send: now.send.since(&before.send),
        }
    }

    /// Begins a minute.
    pub(super) fn begin_minute(&self) {
        let seen = self.seen();
        let mut recent = self.recent.lock();
        recent.before = std::mem::replace(&mut recent.now, seen);
    }

    fn seen(&self) -> Seen {
        let (turn, send) = (self.stage(Stage::Turn), self.stage(Stage::Send));
        Seen { total: self.total(), turn, send }
    }

    fn histogram(&self, stage: Stage) -> &Histogram {
        self.stages.get(stage as usize).expect("there is a histogram for each stage")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_two_minutes_old_is_not_recent() {
        let latency = Latency::default();
        let millis = Duration::from_millis;
        latency.observe_total(millis(1));
        latency.begin_minute();
        assert_eq!(latency.recent().total.count(), 1, "of the minute before");
        latency.observe_total(millis(2));
        assert_eq!(latency.recent().total.count(), 2);
        latency.begin_minute();
        let recent = latency.recent().total;
        assert_eq!((recent.count(), recent.sum()), (1, millis(2)));
        assert_eq!(latency.total().count(), 2);
    }

    #[test]
    fn each_stage_has_a_histogram_of_its_own() {
        let latency = Latency::default();
        for (stage, millis) in Stage::ALL.into_iter().zip(1..) {
            latency.observe(stage, Duration::from_millis(millis));
        }
        for (stage, millis) in Stage::ALL.into_iter().zip(1..) {
            assert_eq!(latency.stage(stage).sum(), Duration::from_millis(millis), "{stage:?}");
        }
    }
}
