//! The broker's one budget of request bytes: what all connections together may hold in memory.
//!
//! A frame's length is taken from the budget before its body is read, and given back when its
//! response has been made, so that the sum of all requests in memory is bounded whatever the
//! number of connections. Who finds the budget used up waits in line; TCP then slows the sender.
//!
//! A frame above [`FRAME_BYTES_LARGE`] must find half of the budget free. Without that rule a few
//! connections that send very large frames slowly would use up what everybody else needs.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_model::limits::{FRAME_BYTES_LARGE, FRAME_BYTES_MAX, REQUEST_BYTES_BUDGET};

/// Bytes that requests may hold, shared by all connections. First come, first served.
#[derive(Clone, Debug)]
pub(crate) struct RequestBudget {
    total_bytes: usize,
    free_bytes: Arc<Semaphore>,
}

/// Bytes taken from the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct BudgetShare {
    _permit: OwnedSemaphorePermit,
}

impl RequestBudget {
    /// The budget that design.md sets.
    pub(crate) fn new() -> RequestBudget {
        RequestBudget::of(REQUEST_BYTES_BUDGET)
    }

    fn of(total_bytes: usize) -> RequestBudget {
        RequestBudget { total_bytes, free_bytes: Arc::new(Semaphore::new(total_bytes)) }
    }

    /// Takes the bytes of one frame, waiting until they are free. The caller has checked that
    /// `frame_bytes` is at most [`FRAME_BYTES_MAX`].
    pub(crate) async fn take(&self, frame_bytes: usize) -> BudgetShare {
        assert!(frame_bytes <= FRAME_BYTES_MAX, "unchecked frame length: it may never be granted");
        let needs_bytes = if frame_bytes > FRAME_BYTES_LARGE {
            frame_bytes.max(self.total_bytes / 2)
        } else {
            frame_bytes
        };
        let needs = u32::try_from(needs_bytes).expect("half of the budget fits 32 bits");
        let mut permit = Arc::clone(&self.free_bytes)
            .acquire_many_owned(needs)
            .await
            .expect("the budget is never closed");
        // Half of the budget was free; only the frame's own bytes stay taken.
        drop(permit.split(needs_bytes - frame_bytes));
        BudgetShare { _permit: permit }
    }

    /// Bytes that are not taken.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.free_bytes.available_permits()
    }
}

const _: () = {
    // The two `expect`s above, and that the largest frame can be granted at all.
    assert!(REQUEST_BYTES_BUDGET <= u32::MAX as usize);
    assert!(REQUEST_BYTES_BUDGET <= Semaphore::MAX_PERMITS);
    assert!(FRAME_BYTES_MAX <= REQUEST_BYTES_BUDGET / 2);
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use weir_model::limits::MIB;

    fn is_ready<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn bytes_come_back_when_a_share_is_dropped() {
        let budget = RequestBudget::of(1000);
        let Poll::Ready(share) = is_ready(budget.take(600)) else { panic!("600 of 1000 are free") };
        assert!(is_ready(budget.take(600)).is_pending(), "400 are left");
        drop(share);
        assert!(is_ready(budget.take(600)).is_ready());
        assert_eq!(budget.free_bytes(), 1000);
    }

    #[test]
    fn a_large_frame_needs_half_of_the_budget_free_but_holds_its_own_bytes_only() {
        let budget = RequestBudget::new();
        let large = FRAME_BYTES_LARGE + 1;
        for (taken_mib, granted) in [(0, true), (128, true), (129, false), (200, false)] {
            let mut shares = Vec::new();
            for _ in 0..taken_mib {
                let Poll::Ready(share) = is_ready(budget.take(MIB)) else { panic!("free") };
                shares.push(share);
            }
            let free = budget.free_bytes();
            match is_ready(budget.take(large)) {
                Poll::Ready(_share) => {
                    assert!(granted, "{taken_mib} MiB taken");
                    assert_eq!(budget.free_bytes(), free - large);
                }
                Poll::Pending => assert!(!granted, "{taken_mib} MiB taken"),
            }
        }
    }
}
