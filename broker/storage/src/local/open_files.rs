//! The bound on open segment files, and with them on maps, of the whole log.
//!
//! A queue in the order of opening, with a second turn for those that were used since: close to the
//! least recently used, without a lock on the read path.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::local::segment::Segment;

/// Bounds the open segment files, and with them the maps, of the whole log.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    limit: usize,
    /// In the order in which they were opened; those in use get a second turn.
    queue: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenFiles {
    pub(crate) fn with_limit(limit: usize) -> Arc<OpenFiles> {
        Arc::new(OpenFiles { limit, queue: Mutex::default() })
    }

    /// Takes a segment in whose file was just opened, and closes others if there are too many.
    pub(crate) fn admit(&self, segment: &Arc<Segment>) {
        let mut queue = self.queue.lock();
        for _ in 0..queue.len() {
            if queue.len() < self.limit {
                break;
            }
            let Some(oldest) = queue.pop_front() else { break };
            let Some(candidate) = oldest.upgrade() else { continue };
            if !candidate.close_if_idle() {
                queue.push_back(oldest);
            }
        }
        queue.push_back(Arc::downgrade(segment));
    }
}
