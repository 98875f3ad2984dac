//! What the reading loop of a connection hands to its writing loop, without waking anybody.
//!
//! Both loops run in one task, which polls the reading loop first, always. What is handed over is
//! therefore looked at in the same poll, and a writing loop that found nothing is asked again
//! whenever something may have come. A channel would wake the task that it runs in, and tokio gives
//! a woken task to another thread: two of them would be woken for each request.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    is_closed: bool,
}

/// The end of the reading loop. Dropping it tells the other that nothing more will come.
#[derive(Debug)]
pub(crate) struct Giver<T>(Arc<Mutex<Queue<T>>>);

/// The end of the writing loop.
#[derive(Debug)]
pub(crate) struct Taker<T>(Arc<Mutex<Queue<T>>>);

/// Both ends. How much may wait between them is for the giver to bound.
pub(crate) fn handover<T>() -> (Giver<T>, Taker<T>) {
    let queue = Queue { waiting: VecDeque::new(), is_closed: false };
    let queue = Arc::new(Mutex::new(queue));
    (Giver(Arc::clone(&queue)), Taker(queue))
}

impl<T> Giver<T> {
    pub(crate) fn give(&self, item: T) {
        self.0.lock().waiting.push_back(item);
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
    }
}

impl<T> Taker<T> {
    /// What was given first; none when all is taken and nothing more will come. Only for a future
    /// that its task polls after the giver's.
    pub(crate) async fn take(&mut self) -> Option<T> {
        poll_fn(|_| {
            let mut queue = self.0.lock();
            match queue.waiting.pop_front() {
                Some(item) => Poll::Ready(Some(item)),
                None if queue.is_closed => Poll::Ready(None),
                // The giver's next poll comes before the next one here.
                None => Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_given_is_taken_in_its_order_until_the_giver_is_gone() {
        let (giver, mut taker) = handover();
        let giving = async move {
            for item in 0..100 {
                giver.give(item);
                if item % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let taking = async {
            let mut taken = Vec::new();
            while let Some(item) = taker.take().await {
                taken.push(item);
            }
            taken
        };
        let ((), taken) = tokio::join!(biased; giving, taking);
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
    }
}
