//! A token bucket that goes into debt.
//!
//! It fills at `per_second` and holds `capacity`: for shards one second's worth. A request is
//! admitted while there are
//! tokens, however few, and then charged in full; the debt is paid off before the next one. So a
//! record larger than what is left is not refused for ever, and the long-run rate is exact.

use std::time::Duration;

use weir_model::time::Moment;

/// Tokens of one kind: bytes, records or calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenBucket {
    per_second: f64,
    capacity: f64,
    tokens: f64,
    filled_at: Moment,
}

impl TokenBucket {
    /// A full bucket that holds one second's worth.
    pub fn new(per_second: f64, now: Moment) -> TokenBucket {
        TokenBucket::holding(per_second, per_second, now)
    }

    /// A full bucket that holds so much.
    pub fn holding(per_second: f64, capacity: f64, now: Moment) -> TokenBucket {
        TokenBucket { per_second, capacity, tokens: capacity, filled_at: now }
    }

    /// Goes on with the present balance at another rate; what no longer fits is lost.
    pub fn resize(&mut self, per_second: f64, capacity: f64, now: Moment) {
        self.fill(now);
        *self = TokenBucket { per_second, capacity, tokens: self.tokens.min(capacity), ..*self };
    }

    /// Whether it would be no different if it had been made now.
    pub fn is_full(&mut self, now: Moment) -> bool {
        self.tokens(now) >= self.capacity
    }

    /// Whether a request would be admitted now.
    pub fn admits(&mut self, now: Moment) -> bool {
        self.fill(now);
        self.tokens > 0.0
    }

    /// Takes what an admitted request costs, into debt if need be.
    pub fn charge(&mut self, amount: f64) {
        self.tokens -= amount;
    }

    /// How long until a request would be admitted; zero if it would be now.
    pub fn wait(&mut self, now: Moment) -> Duration {
        self.fill(now);
        if self.tokens > 0.0 {
            return Duration::ZERO;
        }
        // A microsecond more than the debt takes, so that the balance is above zero then. A rate of
        // zero admits nothing, ever; callers have deadlines of their own.
        let seconds = (-self.tokens / self.per_second).min(3600.0);
        Duration::from_secs_f64(seconds) + Duration::from_micros(1)
    }

    /// The balance; negative while in debt.
    pub fn tokens(&mut self, now: Moment) -> f64 {
        self.fill(now);
        self.tokens
    }

    /// Most tokens that it holds.
    pub fn capacity(&self) -> f64 {
        self.capacity
    }

    /// Tokens that flow in per second.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    fn fill(&mut self, now: Moment) {
        let elapsed = now.since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.capacity);
        self.filled_at = now.max(self.filled_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_full_bucket_admits_one_large_request_and_then_waits_for_the_debt() {
        let mut bucket = TokenBucket::new(1000.0, at(0));
        assert!(bucket.admits(at(0)));
        bucket.charge(1500.0);
        assert!(!bucket.admits(at(499)));
        assert!(bucket.admits(at(501)));
        assert!(bucket.wait(at(501)).is_zero());
    }

    #[test]
    fn the_wait_is_exactly_long_enough() {
        let mut bucket = TokenBucket::new(1000.0, at(0));
        bucket.charge(2000.0);
        let wait = bucket.wait(at(0));
        let due = at(0).plus(wait);
        assert!(bucket.admits(due), "{:?} was waited for", wait);
    }

    #[test]
    fn it_never_holds_more_than_one_second() {
        let mut bucket = TokenBucket::new(10.0, at(0));
        assert_eq!(bucket.tokens(at(60_000)), 10.0);
    }

    #[test]
    fn the_long_run_rate_is_exact_whatever_the_request_size() {
        for size in [1.0, 7.0, 333.0, 2500.0] {
            let mut bucket = TokenBucket::new(1000.0, at(0));
            let mut admitted = 0.0;
            for millis in 0..20_000 {
                while bucket.admits(at(millis)) {
                    bucket.charge(size);
                    admitted += size;
                }
            }
            let least = 20_000.0;
            assert!(admitted >= least && admitted <= least + 1000.0 + size, "{size}: {admitted}");
        }
    }
}
