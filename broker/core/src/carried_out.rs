//! Work that is done to its end, even when whoever asked for it goes away in the middle.
//!
//! A client that disconnects drops its request's future at the next await. For a read that is right;
//! for a change of metadata it is not: between the commit and the table in memory the two would
//! disagree until the next start.

use std::future::Future;

/// Runs a change as a task of its own and waits for it.
pub(crate) async fn carried_out<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(change).await {
        Ok(outcome) => outcome,
        // A panic ends the process, so the runtime is being torn down: nobody is left to answer.
        Err(_) => std::future::pending().await,
    }
}
