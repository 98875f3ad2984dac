//! The broker's one budget of request bytes: what the connections of all dialects together hold.
//!
//! A request is charged as its bytes arrive, and gives them back when its answer is made. So what
//! is bounded is what was really sent: a client that announces 16 KiB or 100 MiB and sends nothing
//! holds nothing that somebody else could need. Who finds the budget used up waits; TCP then slows
//! the sender.
//!
//! ```text
//!   256 MiB =  32 MiB small    requests up to 16 KiB, whole
//!           + 124 MiB shared   larger ones, in steps that double, up to 32 MiB each
//!           + 100 MiB last     one request at a time, however large
//! ```
//!
//! - The small part keeps heartbeats, commits and metadata going whatever large requests do.
//! - The first 16 KiB of a larger request are not charged, nor is a small one that has not come
//!   whole; the number of connections bounds both.
//! - Requests that are half read hold what others wait for, which alone would be a deadlock.
//!   Whoever has the last part waits for nothing more, so one request always ends and gives back
//!   all it has. One above 32 MiB needs that part in any case.
//! - A request that waits for a shard's quota does nothing for up to 30 s with what it holds, so
//!   at most a quarter of each part may idle that way, and nothing of the last one. Whoever would
//!   have to wait beyond that is refused at once ([`RequestBudget::try_idle`]).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_model::limits::{FRAME_BYTES_LARGE, FRAME_BYTES_MAX, KIB, MIB, REQUEST_BYTES_BUDGET};

/// Requests up to this many bytes are charged to the small part, whole, once they have come.
const SMALL_REQUEST_BYTES_MAX: usize = 16 * KIB;

const SMALL_BYTES: usize = 32 * MIB;
const LAST_BYTES: usize = FRAME_BYTES_MAX;
const SHARED_BYTES: usize = REQUEST_BYTES_BUDGET - SMALL_BYTES - LAST_BYTES;

/// The part of a part that may wait for quota.
const IDLE_DIVISOR: usize = 4;

const _: () = {
    // A semaphore counts its permits in 32 bits when several are asked for.
    assert!(REQUEST_BYTES_BUDGET <= u32::MAX as usize);
    assert!(REQUEST_BYTES_BUDGET <= Semaphore::MAX_PERMITS);
    // Else a request that may have its bytes from the shared part could never get them there.
    assert!(FRAME_BYTES_LARGE <= SHARED_BYTES);
};

/// Bytes that requests may hold, shared by all connections. First come, first served in each part.
#[derive(Clone, Debug)]
pub struct RequestBudget(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    small: Semaphore,
    shared: Semaphore,
    /// One permit: the right to the last part.
    last: Semaphore,
    idle_small: Arc<Semaphore>,
    idle_shared: Arc<Semaphore>,
}

/// How much one request holds of each part; nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeldBytes {
    small_bytes: usize,
    shared_bytes: usize,
    has_last: bool,
}

/// The right to hold bytes of the budget and wait; ends when dropped.
#[derive(Debug)]
pub struct IdleBytes {
    _small: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

/// What one request has taken; given back when dropped.
#[derive(Debug)]
pub struct BudgetShare {
    parts: Arc<Parts>,
    request_bytes: usize,
    covered_bytes: usize,
    held: HeldBytes,
}

impl Default for RequestBudget {
    fn default() -> RequestBudget {
        RequestBudget(Arc::new(Parts {
            small: Semaphore::new(SMALL_BYTES),
            shared: Semaphore::new(SHARED_BYTES),
            last: Semaphore::new(1),
            idle_small: Arc::new(Semaphore::new(SMALL_BYTES / IDLE_DIVISOR)),
            idle_shared: Arc::new(Semaphore::new(SHARED_BYTES / IDLE_DIVISOR)),
        }))
    }
}

impl RequestBudget {
    /// Begins a request of at most `request_bytes`, of which nothing was read yet. Takes nothing:
    /// what comes is charged by [`BudgetShare::grow`] and, at its end, [`BudgetShare::arrive`].
    pub fn begin(&self, request_bytes: usize) -> BudgetShare {
        assert!(request_bytes <= FRAME_BYTES_MAX, "an unchecked length could never be covered");
        BudgetShare {
            parts: Arc::clone(&self.0),
            request_bytes,
            covered_bytes: request_bytes.min(SMALL_REQUEST_BYTES_MAX),
            held: HeldBytes::default(),
        }
    }

    /// The right of a request that holds these bytes to wait for something that is not the
    /// budget's; none where too many wait already.
    pub fn try_idle(&self, held: HeldBytes) -> Option<IdleBytes> {
        if held.has_last {
            return None;
        }
        let Parts { idle_small, idle_shared, .. } = &*self.0;
        let small = Arc::clone(idle_small).try_acquire_many_owned(permits(held.small_bytes));
        let shared = Arc::clone(idle_shared).try_acquire_many_owned(permits(held.shared_bytes));
        Some(IdleBytes { _small: small.ok()?, _shared: shared.ok()? })
    }
}

impl BudgetShare {
    /// How many bytes of the request may be held; to read on needs [`BudgetShare::grow`] first.
    pub const fn covered_bytes(&self) -> usize {
        self.covered_bytes
    }

    /// What the request holds now.
    pub const fn held(&self) -> HeldBytes {
        self.held
    }

    /// Covers more of the request, waiting until there is room; nothing if all is covered.
    pub async fn grow(&mut self) {
        let covered_bytes = self.request_bytes.min(self.covered_bytes * 2);
        let step_bytes = covered_bytes - self.covered_bytes;
        if step_bytes == 0 {
            return;
        }
        let Parts { shared, last, .. } = &*self.parts;
        if covered_bytes > FRAME_BYTES_LARGE {
            take(last, 1).await;
            self.held.has_last = true;
        } else {
            tokio::select! {
                biased;
                () = take(shared, step_bytes) => self.held.shared_bytes += step_bytes,
                () = take(last, 1) => self.held.has_last = true,
            }
        }
        self.covered_bytes = if self.held.has_last { self.request_bytes } else { covered_bytes };
    }

    /// Says that the request is read to its end and has `request_bytes`. A small one is charged
    /// now, waiting until there is room; a larger one was charged while it came.
    pub async fn arrive(&mut self, request_bytes: usize) {
        assert!(request_bytes <= self.covered_bytes, "bytes were read that nothing covers");
        assert!(self.held.small_bytes == 0, "a request arrives once");
        if request_bytes <= SMALL_REQUEST_BYTES_MAX {
            take(&self.parts.small, request_bytes).await;
            self.held.small_bytes = request_bytes;
        }
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.parts.small.add_permits(self.held.small_bytes);
        self.parts.shared.add_permits(self.held.shared_bytes);
        self.parts.last.add_permits(usize::from(self.held.has_last));
    }
}

/// Takes permits that the share's drop gives back.
async fn take(part: &Semaphore, count: usize) {
    part.acquire_many(permits(count)).await.expect("the budget is never closed").forget();
}

fn permits(count: usize) -> u32 {
    u32::try_from(count).expect("the whole budget fits 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// What the future gives without waiting.
    fn at_once<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// Reads on until the budget makes it wait; returns whether all has arrived.
    fn read_on(share: &mut BudgetShare) -> bool {
        while share.covered_bytes() < share.request_bytes && at_once(share.grow()).is_some() {}
        share.covered_bytes() == share.request_bytes
            && at_once(share.arrive(share.request_bytes)).is_some()
    }

    fn free_bytes(budget: &RequestBudget) -> usize {
        let Parts { small, shared, last, .. } = &*budget.0;
        small.available_permits()
            + shared.available_permits()
            + last.available_permits() * LAST_BYTES
    }

    #[test]
    fn a_request_of_any_size_is_covered_and_gives_everything_back() {
        let budget = RequestBudget::default();
        for request_bytes in [0, 1, 16 * KIB, 16 * KIB + 1, MIB, 32 * MIB, 32 * MIB + 1, 100 * MIB]
        {
            let mut share = budget.begin(request_bytes);
            assert!(read_on(&mut share), "{request_bytes} bytes");
            drop(share);
            assert_eq!(free_bytes(&budget), REQUEST_BYTES_BUDGET, "{request_bytes} bytes");
        }
    }

    #[test]
    fn ten_thousand_announcements_take_nothing_from_anybody() {
        for announced_bytes in [1, 16 * KIB, 90 * MIB] {
            let budget = RequestBudget::default();
            let announce = |_| budget.begin(announced_bytes);
            let _announced: Vec<BudgetShare> = (0..10_000).map(announce).collect();
            assert_eq!(free_bytes(&budget), REQUEST_BYTES_BUDGET, "{announced_bytes} bytes");
        }
    }

    #[test]
    fn small_requests_that_have_come_are_bounded() {
        let budget = RequestBudget::default();
        let mut arrived: Vec<BudgetShare> = (0..2_049).map(|_| budget.begin(16 * KIB)).collect();
        let room_for = arrived.iter_mut().map(read_on).filter(|has_come| *has_come).count();
        assert_eq!(room_for, SMALL_BYTES / SMALL_REQUEST_BYTES_MAX);
    }

    #[test]
    fn a_short_request_whose_length_was_not_known_is_charged_as_what_it_is() {
        let budget = RequestBudget::default();
        let mut share = budget.begin(16 * MIB);
        at_once(share.arrive(100)).expect("there is room");
        assert_eq!(free_bytes(&budget), REQUEST_BYTES_BUDGET - 100);
        drop(share);
        assert_eq!(free_bytes(&budget), REQUEST_BYTES_BUDGET);
    }

    #[test]
    fn small_requests_are_served_when_large_ones_have_used_up_everything_else() {
        let budget = RequestBudget::default();
        let mut large: Vec<BudgetShare> = (0..12).map(|_| budget.begin(31 * MIB)).collect();
        assert!(large.iter_mut().map(read_on).any(|all_read| !all_read));
        assert!(read_on(&mut budget.begin(16 * KIB)));
    }

    #[test]
    fn requests_that_wait_for_each_other_end_one_after_the_other() {
        let budget = RequestBudget::default();
        let mut half_read: Vec<BudgetShare> = (0..40).map(|_| budget.begin(30 * MIB)).collect();
        while !half_read.is_empty() {
            let waiting = half_read.len();
            half_read.retain_mut(|share| !read_on(share));
            assert!(half_read.len() < waiting, "{waiting} requests wait for ever");
        }
    }

    #[test]
    fn above_32_mib_one_request_is_read_at_a_time() {
        let budget = RequestBudget::default();
        let mut first = budget.begin(33 * MIB);
        let mut second = budget.begin(100 * MIB);
        assert!(read_on(&mut first) && !read_on(&mut second));
        assert!(second.covered_bytes() <= 32 * MIB);
        drop(first);
        assert!(read_on(&mut second));
    }

    #[test]
    fn who_gives_up_waiting_takes_nothing() {
        let budget = RequestBudget::default();
        let mut last = budget.begin(100 * MIB);
        assert!(read_on(&mut last));
        let mut waiting = budget.begin(100 * MIB);
        assert!(!read_on(&mut waiting));
        drop((waiting, last));
        assert_eq!(free_bytes(&budget), REQUEST_BYTES_BUDGET);
    }

    #[test]
    fn a_quarter_of_each_part_may_wait_for_quota_and_nothing_of_the_last() {
        for (request_bytes, may_idle) in [
            (16 * KIB, SMALL_BYTES / IDLE_DIVISOR / (16 * KIB)),
            (MIB + SMALL_REQUEST_BYTES_MAX, SHARED_BYTES / IDLE_DIVISOR / MIB),
            (33 * MIB, 0),
        ] {
            let budget = RequestBudget::default();
            let mut share = budget.begin(request_bytes);
            assert!(read_on(&mut share));
            let idle: Vec<_> = std::iter::from_fn(|| budget.try_idle(share.held())).collect();
            assert_eq!(idle.len(), may_idle, "{request_bytes} bytes");
            drop(idle);
            let again = budget.try_idle(share.held()).is_some();
            assert_eq!(again, may_idle > 0, "{request_bytes} bytes");
        }
    }
}
