//! Trying again what may pass by itself.

use std::future::Future;
use std::time::Duration;

use crate::error::Error;

/// How long and how often a call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// All that a call may take, tries and pauses together. Nothing is tried again when it is zero.
    pub time_max: Duration,
    /// The first pause; each following one is twice as long.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for Retry {
    /// For 10 seconds, with pauses from 20 ms to 1 s.
    fn default() -> Retry {
        Retry {
            time_max: Duration::from_secs(10),
            pause_min: Duration::from_millis(20),
            pause_max: Duration::from_secs(1),
        }
    }
}

impl Retry {
    /// The pause after this many failures in a row, counted from 0.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let doubled = self.pause_min.saturating_mul(1 << failures.min(16));
        doubled.min(self.pause_max)
    }

    /// Calls until something comes of it that will not change, or the time is over.
    pub(crate) async fn run<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        if self.time_max.is_zero() {
            return call().await;
        }
        let mut last = Error::Unreachable(format!("no answer within {:?}", self.time_max));
        let tries = async {
            for failures in 0.. {
                let error = match call().await {
                    Err(error) if error.may_pass() => error,
                    done => return done,
                };
                let wanted = match &error {
                    Error::Refused(refusal) => refusal.retry_after,
                    _ => Duration::ZERO,
                };
                last = error;
                tokio::time::sleep(self.pause(failures).max(wanted)).await;
            }
            unreachable!("it returns from the loop, or its time is over")
        };
        let tried = tokio::time::timeout(self.time_max, tries).await;
        tried.unwrap_or(Err(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Reason, Refusal};

    fn refused(reason: Reason) -> Error {
        let retry_after = Duration::ZERO;
        Error::Refused(Refusal { reason, message: String::new(), retry_after })
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_until_the_time_is_over() {
        let mut tries = 0;
        let result: Result<(), _> = Retry::default()
            .run(|| {
                tries += 1;
                async { Err(refused(Reason::Storage)) }
            })
            .await;
        assert_eq!(result, Err(refused(Reason::Storage)));
        // Pauses of 20, 40, … 640 ms and then of 1 s each fill 10 s.
        assert_eq!(tries, 15);
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_change_is_returned_at_once() {
        let mut tries = 0;
        let result: Result<(), _> = Retry::default()
            .run(|| {
                tries += 1;
                async { Err(refused(Reason::UnknownStream)) }
            })
            .await;
        assert_eq!((tries, result), (1, Err(refused(Reason::UnknownStream))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_ends_with_the_time() {
        let result: Result<(), _> = Retry::default().run(std::future::pending).await;
        assert!(matches!(result, Err(Error::Unreachable(_))), "{result:?}");
    }
}
