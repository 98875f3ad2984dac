//! Pauses: what a client gets that used more than its quota (KIP-219).
//!
//! ```text
//!   charge ──► the answer goes out at once and says how long the pause is
//!          └─► until it is over nothing more is read, and of what was read nothing is taken up
//! ```
//!
//! The broker does not rely on the client for it: older ones do not know of pauses. A connection
//! that is about to end pauses no more. Requests that were read before a pause hold memory for its
//! time, so only as many wait as may wait for the quotas of shards; others are taken up at once,
//! and their charge makes the next pause longer.

use std::time::Duration;

use parking_lot::Mutex;
use weir_core::broker::Broker;
use weir_core::request_budget::HeldBytes;
use weir_model::time::{Clock, Moment};

/// Longest pause that is enforced; Kafka closes a connection that was still for this long.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The pauses of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    /// When reading goes on, if it has stopped. A sync lock: held for a comparison.
    until: Mutex<Option<Moment>>,
}

impl Pauses {
    /// Stops reading for so long from now; returns when the pause is over.
    pub(crate) fn begin(&self, clock: &dyn Clock, pause: Duration) -> Moment {
        let over = clock.real_moment().plus(pause.min(PAUSE_MAX));
        let mut until = self.until.lock();
        *until = Some(over).max(*until);
        over
    }

    /// Returns when reading may go on.
    pub(crate) async fn over(&self, clock: &dyn Clock) {
        loop {
            let Some(until) = *self.until.lock() else {
                return;
            };
            reached(clock, until).await;
            let mut latest = self.until.lock();
            if *latest == Some(until) {
                *latest = None;
            }
        }
    }

    /// As [`Pauses::over`], for who has read something that is to be taken up then.
    pub(crate) async fn over_holding(&self, broker: &Broker, held: HeldBytes) {
        if self.until.lock().is_some()
            && let Some(_idle) = broker.request_budget().try_idle(held)
        {
            self.over(broker.clock()).await;
        }
    }
}

/// Returns at that moment.
pub(crate) async fn reached(clock: &dyn Clock, moment: Moment) {
    loop {
        let left = moment.since(clock.real_moment());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// A pause as an answer says it.
pub(crate) fn pause_ms(pause: Duration) -> i32 {
    i32::try_from(pause.as_millis()).unwrap_or(i32::MAX)
}
