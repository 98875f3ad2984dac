//! Keeps a client that errs a thousand times a second from filling the log with it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use weir_model::time::Timestamp;

/// At most one line in this time, in ms.
const INTERVAL_MS: i64 = 1_000;

/// Lets one line through per second and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit {
    last_ms: AtomicI64,
    unsaid: AtomicU64,
}

impl LogLimit {
    /// How many lines were held back since the last one, if one may be written now.
    pub fn admit(&self, now: Timestamp) -> Option<u64> {
        let last = self.last_ms.load(Ordering::Relaxed);
        let due = now.as_millis().saturating_sub(last) >= INTERVAL_MS;
        // Of two that find it due at once, the exchange picks one.
        let won = due
            && self
                .last_ms
                .compare_exchange(last, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if won {
            Some(self.unsaid.swap(0, Ordering::Relaxed))
        } else {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_tells_how_many_were_not_written() {
        let limit = LogLimit::default();
        let at = |millis: i64| Timestamp::from_millis(1_700_000_000_000 + millis);
        assert_eq!(limit.admit(at(0)), Some(0));
        assert_eq!(limit.admit(at(1)), None);
        assert_eq!(limit.admit(at(999)), None);
        assert_eq!(limit.admit(at(1000)), Some(2));
    }
}
