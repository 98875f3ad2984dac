//! Work that is done to its end, even when whoever asked for it goes away in the middle.
//!
//! A client that disconnects drops its request's future at the next await. For a read that is
//! right; for a change of metadata it is not: between the commit and the table in memory the two
//! would disagree until the next start.

use std::future::Future;

/// Runs a change as a task of its own and waits for it.
pub(crate) async fn carried_out<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(change).await {
        Ok(outcome) => outcome,
        // Only where panics unwind, as in tests: there it must not look like a hang.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is being torn down: nobody is left to answer.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "in the middle of a change")]
    async fn a_panic_reaches_the_caller() {
        carried_out(async { panic!("in the middle of a change") }).await
    }
}
