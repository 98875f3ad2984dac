//! How long a processor was busy with a piece of work, waiting left out.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use weir_model::time::Clock;

/// Runs a future to its end and says how long its polls took in all.
pub async fn measured<F: Future>(clock: &dyn Clock, work: F) -> (F::Output, Duration) {
    let mut work = pin!(work);
    let mut busy = Duration::ZERO;
    let output = poll_fn(|context| {
        let begun = clock.real_moment();
        let polled = work.as_mut().poll(context);
        busy += clock.real_moment().since(begun);
        polled
    });
    let output = output.await;
    (output, busy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::time::{ManualClock, Timestamp};

    #[tokio::test]
    async fn only_the_time_inside_polls_counts() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(0));
        let work = async {
            clock.advance(Duration::from_millis(2));
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(3));
            "done"
        };
        let waiting = async {
            // Runs while the work waits for its next turn.
            clock.advance(Duration::from_secs(60));
        };
        let (measured, ()) = tokio::join!(measured(&clock, work), waiting);
        assert_eq!(measured, ("done", Duration::from_millis(5)));
    }
}
