//! The question behind `weir health`: is a broker ready, and if not, will it be soon?
//!
//! Made for images without a shell or curl (`HEALTHCHECK CMD ["/weir", "health"]`) and for scripts
//! that start a broker and need it (`weir health --wait 5s && …`).

use std::fmt;
use std::time::Duration;

use weir_model::time::Clock;

use crate::http::{self, Url};

/// Time between two questions while waiting.
const PAUSE: Duration = Duration::from_millis(20);
/// How long one question may take; a broker that accepts but does not answer is not ready.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);

/// Why a broker is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// Nobody answers there.
    NoAnswer(String),
    /// It answers, and says that it is not.
    Answered {
        /// The HTTP status.
        status: u16,
        /// What it says.
        body: String,
    },
}

impl fmt::Display for NotReady {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReady::NoAnswer(why) => write!(out, "no answer: {why}"),
            NotReady::Answered { status, body } => write!(out, "{status}: {}", body.trim_end()),
        }
    }
}

impl std::error::Error for NotReady {}

/// Asks until the broker is ready or `wait` is over, once at least; returns what `/readyz` says.
pub async fn wait_until_ready(
    url: &Url,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<String, NotReady> {
    let start = clock.moment();
    loop {
        let left = wait.saturating_sub(clock.moment().since(start));
        // At the end of the wait, and without one, a live broker still gets time to answer.
        let patience = if left.is_zero() { ANSWER_WAIT_MAX } else { left.min(ANSWER_WAIT_MAX) };
        let why = match tokio::time::timeout(patience, http::get(url, "/readyz")).await {
            Ok(Ok(answer)) => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                if answer.status.is_success() {
                    return Ok(body);
                }
                NotReady::Answered { status: answer.status.as_u16(), body }
            }
            Ok(Err(error)) => NotReady::NoAnswer(error.to_string()),
            Err(_) => NotReady::NoAnswer(format!("nothing within {patience:?}")),
        };
        let left = wait.saturating_sub(clock.moment().since(start));
        if left.is_zero() {
            return Err(why);
        }
        tokio::time::sleep(PAUSE.min(left)).await;
    }
}
