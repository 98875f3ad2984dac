//! What one connection has sent and not yet got an answer to, and when to stop reading for it.
//!
//! A client may pipeline, but not without end: with [`CONNECTION_UNANSWERED_REQUESTS_MAX`] requests
//! or [`CONNECTION_UNANSWERED_BYTES_MAX`] bytes waiting, nothing more is read until an answer has
//! gone out. A frame above [`FRAME_BYTES_LARGE`] is read only when nothing else waits.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_model::limits::{
    CONNECTION_UNANSWERED_BYTES_MAX, CONNECTION_UNANSWERED_REQUESTS_MAX, FRAME_BYTES_LARGE,
};

/// The unanswered requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    /// A sync lock: held for a comparison, never across an await.
    count: Mutex<Count>,
    /// The reader is the only one who waits.
    answered: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    requests: usize,
    bytes: usize,
}

/// One unanswered request; dropped when its answer has been handed to the socket.
#[derive(Debug)]
pub(crate) struct UnansweredRequest {
    of: Arc<Unanswered>,
    frame_bytes: usize,
}

impl Unanswered {
    /// Waits until a frame of this size may be read, and counts it.
    pub(crate) async fn admit(self: &Arc<Unanswered>, frame_bytes: usize) -> UnansweredRequest {
        loop {
            if self.try_admit(frame_bytes) {
                return UnansweredRequest { of: Arc::clone(self), frame_bytes };
            }
            self.answered.notified().await;
        }
    }

    fn try_admit(&self, frame_bytes: usize) -> bool {
        let mut count = self.count.lock();
        let has_room = if frame_bytes > FRAME_BYTES_LARGE {
            count.requests == 0
        } else {
            count.requests < CONNECTION_UNANSWERED_REQUESTS_MAX
                && count.bytes + frame_bytes <= CONNECTION_UNANSWERED_BYTES_MAX
        };
        if has_room {
            count.requests += 1;
            count.bytes += frame_bytes;
        }
        has_room
    }

    /// Whether everything has been answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.lock().requests == 0
    }
}

impl Drop for UnansweredRequest {
    fn drop(&mut self) {
        let mut count = self.of.count.lock();
        count.requests -= 1;
        count.bytes -= self.frame_bytes;
        drop(count);
        // A permit is kept if the reader does not wait at this moment, so no wake-up is lost.
        self.of.answered.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::limits::MIB;

    #[test]
    fn reading_stops_at_sixteen_requests_or_thirty_two_mebibytes() {
        for (waiting, next_bytes, admitted) in [
            (vec![], 100 * MIB, true),
            (vec![10], 33 * MIB, false),
            (vec![10; 15], 10, true),
            (vec![10; 16], 10, false),
            (vec![31 * MIB], MIB, true),
            (vec![31 * MIB], MIB + 1, false),
            (vec![100 * MIB], 10, false),
        ] {
            let unanswered = Unanswered::default();
            let case = format!("{} waiting, then {next_bytes}", waiting.len());
            for bytes in waiting {
                assert!(unanswered.try_admit(bytes), "{case}");
            }
            assert_eq!(unanswered.try_admit(next_bytes), admitted, "{case}");
        }
    }

    #[tokio::test]
    async fn an_answer_lets_the_next_request_in() {
        let unanswered = Arc::new(Unanswered::default());
        let mut waiting = Vec::new();
        for _ in 0..CONNECTION_UNANSWERED_REQUESTS_MAX {
            waiting.push(unanswered.admit(1).await);
        }
        let (_next, ()) = tokio::join!(unanswered.admit(1), async { drop(waiting.pop()) });
        drop(waiting);
        assert!(!unanswered.is_empty());
    }
}
