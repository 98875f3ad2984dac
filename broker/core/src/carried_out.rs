//! Work that is done to its end, even when whoever asked for it goes away in the middle.
//!
//! A client that disconnects drops its request's future at the next await. For a read that is
//! right; for a change of metadata it is not: between the commit and the table in memory the two
//! would disagree until the next start. Waiting for its [`Turn`] is no part of a change: who leaves
//! meanwhile has asked for nothing, and leaves nothing in the queue.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Runs a change in the task of whoever asks for it, so that nothing is handed from thread to
/// thread in the ordinary case. When that task goes away in the middle, the rest becomes a task of
/// its own; a change that had not begun is not made.
pub(crate) fn carried_out<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send {
    CarriedOut { change: Some(Box::pin(change)), has_begun: false }
}

/// Whose turn it is to change one thing: one change at a time, across its commit.
#[derive(Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<()>>);

/// Held by a change until it is done; taken before [`carried_out`], so that what waits can be given
/// up.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits until everyone who asked before is done or has left.
    pub(crate) async fn next(&self) -> Turn {
        Arc::clone(&self.0).lock_owned().await
    }
}

struct CarriedOut<T: Send + 'static> {
    /// Taken while it is polled, so that what has panicked is not polled again.
    change: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    has_begun: bool,
}

impl<T: Send + 'static> Future for CarriedOut<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut change = self.change.take().expect("polled after its end");
        self.has_begun = true;
        let polled = change.as_mut().poll(context);
        if polled.is_pending() {
            self.change = Some(change);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for CarriedOut<T> {
    fn drop(&mut self) {
        let Some(rest) = self.change.take().filter(|_| self.has_begun) else {
            return;
        };
        // Without a runtime there is nobody left to carry it out: the process ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// A change that waits for `go_on`, then tells of its end.
    fn change(
        go_on: &Arc<Notify>,
    ) -> (impl Future<Output = u32> + Send + 'static, Arc<AtomicBool>) {
        let (go_on, is_done) = (Arc::clone(go_on), Arc::new(AtomicBool::new(false)));
        let tells = Arc::clone(&is_done);
        let change = async move {
            go_on.notified().await;
            tells.store(true, Ordering::Relaxed);
            7
        };
        (change, is_done)
    }

    #[tokio::test]
    async fn the_outcome_reaches_the_caller() {
        let go_on = Arc::new(Notify::new());
        let (change, _) = change(&go_on);
        go_on.notify_one();
        assert_eq!(carried_out(change).await, 7);
    }

    #[tokio::test]
    async fn what_was_begun_goes_on_when_the_caller_leaves() {
        let go_on = Arc::new(Notify::new());
        let (change, is_done) = change(&go_on);
        let mut carried = Box::pin(carried_out(change));
        assert!(futures_poll(&mut carried).is_pending());
        drop(carried);
        go_on.notify_one();
        tokio::task::yield_now().await;
        assert!(is_done.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_was_not_begun_is_not_made() {
        let go_on = Arc::new(Notify::new());
        let (change, is_done) = change(&go_on);
        drop(carried_out(change));
        go_on.notify_one();
        tokio::task::yield_now().await;
        assert!(!is_done.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn who_leaves_before_its_turn_leaves_nothing_behind() {
        let turns = Turns::default();
        let first = turns.next().await;
        let (change, is_done) = change(&Arc::new(Notify::new()));
        let mut waiting = Box::pin(async {
            let turn = turns.next().await;
            carried_out(async move { (change.await, turn).0 }).await
        });
        assert!(futures_poll(&mut waiting).is_pending());
        drop(waiting);
        drop(first);
        assert!(futures_poll(&mut Box::pin(turns.next())).is_ready());
        tokio::task::yield_now().await;
        assert!(!is_done.load(Ordering::Relaxed));
        assert!(futures_poll(&mut Box::pin(turns.next())).is_ready());
    }

    #[tokio::test]
    #[should_panic(expected = "in the middle of a change")]
    async fn a_panic_reaches_the_caller() {
        carried_out(async { panic!("in the middle of a change") }).await
    }

    fn futures_poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
        future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}
