//! A partition's published positions, and the one way to wait for them.
//!
//! ```text
//!   log start        high watermark        log end
//!       |   readable       |   written, unflushed   |
//!   ----+------------------+------------------------+---->  offsets
//! ```
//!
//! Invariants: log start ≤ high watermark ≤ log end, and none of the three ever moves back. Under
//! the `group` policy the high watermark is min(log end, durable end), so a reader never sees what
//! a power cut could take back; under the others it is the log end.
//!
//! Writers waiting for a flush and readers waiting for records wait for the same thing, the high
//! watermark passing an offset, through [`Progress::wait_beyond`] or, over many partitions at once,
//! a [`Waiter`] watching each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_model::offset::Offset;

/// The three positions, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Watermarks {
    /// First offset that can be read.
    pub log_start: Offset,
    /// One past the last offset that readers see.
    pub high_watermark: Offset,
    /// One past the last offset written.
    pub log_end: Offset,
}

/// The partition stopped before the watermark got there: its flush failed, or it was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// Wakes one task that waits on any number of partitions.
#[derive(Debug, Default)]
pub struct Waiter {
    notify: Notify,
}

impl Waiter {
    /// A waiter that watches nothing yet.
    pub fn new() -> Arc<Waiter> {
        Arc::default()
    }

    /// Returns after a watched partition moved since the last return; a move that came before the
    /// call counts, so nothing is missed between looking and waiting.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

#[derive(Debug)]
struct Watcher {
    beyond: Offset,
    waiter: Arc<Waiter>,
}

/// The positions of one partition. Written under the partition's lock, read without it.
#[derive(Debug, Default)]
pub struct Progress {
    log_start: AtomicU64,
    high_watermark: AtomicU64,
    log_end: AtomicU64,
    stopped: AtomicBool,
    /// A sync lock: held for a push or a scan, never across an await.
    watchers: Mutex<Vec<Watcher>>,
}

impl Progress {
    /// Progress that begins at these positions.
    pub fn starting_at(marks: Watermarks) -> Progress {
        Progress {
            log_start: AtomicU64::new(marks.log_start.number()),
            high_watermark: AtomicU64::new(marks.high_watermark.number()),
            log_end: AtomicU64::new(marks.log_end.number()),
            stopped: AtomicBool::new(false),
            watchers: Mutex::default(),
        }
    }

    /// The positions now. Read in an order that keeps log start ≤ high watermark ≤ log end.
    pub fn watermarks(&self) -> Watermarks {
        let log_start = Offset::new(self.log_start.load(Ordering::Acquire));
        let high_watermark = Offset::new(self.high_watermark.load(Ordering::Acquire));
        let log_end = Offset::new(self.log_end.load(Ordering::Acquire));
        Watermarks { log_start: log_start.min(high_watermark), high_watermark, log_end }
    }

    /// Whether the partition has stopped for good.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Publishes bytes that were written. Called under the partition's lock.
    pub fn publish_log_end(&self, next: Offset) {
        let previous = self.log_end.swap(next.number(), Ordering::AcqRel);
        assert!(next.number() >= previous, "log end moved back: offsets would be given out twice");
    }

    /// Advances the end of what readers see, and wakes those who waited for it. Consumers may have
    /// seen everything below it, so it never moves back. Called under the partition's lock.
    pub fn publish_high_watermark(&self, next: Offset) {
        let log_end = self.log_end.load(Ordering::Acquire);
        assert!(
            next.number() <= log_end,
            "high watermark past the log end: readers would see unwritten bytes"
        );
        let previous = self.high_watermark.swap(next.number(), Ordering::AcqRel);
        assert!(
            next.number() >= previous,
            "high watermark moved back: readers would see records vanish"
        );
        self.wake(|watcher| next > watcher.beyond);
    }

    /// Moves the first readable offset forward. Called under the partition's lock.
    pub fn publish_log_start(&self, next: Offset) {
        let previous = self.log_start.swap(next.number(), Ordering::AcqRel);
        assert!(next.number() >= previous, "log start moved back: trimmed records would return");
    }

    /// Ends all waiting, now and later: the partition failed or is gone.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake(|_| true);
    }

    /// Waits until the high watermark is above `offset`: the record there is kept and readable.
    pub async fn wait_beyond(&self, offset: Offset) -> Result<(), Stopped> {
        if self.watermarks().high_watermark > offset {
            return Ok(());
        }
        let waiter = Waiter::new();
        let _watch = self.watch(offset, &waiter);
        loop {
            if self.watermarks().high_watermark > offset {
                return Ok(());
            }
            if self.is_stopped() {
                return Err(Stopped);
            }
            waiter.woken().await;
        }
    }

    /// Has `waiter` woken once when the high watermark passes `beyond` or the partition stops; at
    /// once if it did already. The returned guard ends the watch.
    pub fn watch<'a>(&'a self, beyond: Offset, waiter: &Arc<Waiter>) -> Watch<'a> {
        self.watchers.lock().push(Watcher { beyond, waiter: Arc::clone(waiter) });
        // Looked at after the push: a publish in between either sees the watcher or is seen here.
        if self.watermarks().high_watermark > beyond || self.is_stopped() {
            waiter.notify.notify_one();
        }
        Watch { progress: self, waiter: Arc::clone(waiter) }
    }

    /// How many waits are open on this partition.
    pub fn waiter_count(&self) -> usize {
        self.watchers.lock().len()
    }

    fn wake(&self, is_due: impl Fn(&Watcher) -> bool) {
        self.watchers.lock().retain(|watcher| {
            let due = is_due(watcher);
            if due {
                watcher.waiter.notify.notify_one();
            }
            !due
        });
    }
}

/// Ends a watch when dropped, so that a reader who gave up costs nothing.
#[derive(Debug)]
pub struct Watch<'a> {
    progress: &'a Progress,
    waiter: Arc<Waiter>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut watchers = self.progress.watchers.lock();
        watchers.retain(|watcher| !Arc::ptr_eq(&watcher.waiter, &self.waiter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_ends_when_the_watermark_passes_its_offset() {
        let progress = Arc::new(Progress::default());
        progress.publish_log_end(Offset::new(10));
        let waiting = tokio::spawn({
            let progress = Arc::clone(&progress);
            async move { progress.wait_beyond(Offset::new(4)).await }
        });
        tokio::task::yield_now().await;
        progress.publish_high_watermark(Offset::new(4));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "offset 4 is not readable while the watermark is 4");
        progress.publish_high_watermark(Offset::new(5));
        assert_eq!(waiting.await.expect("the task ends"), Ok(()));
        assert_eq!(progress.waiter_count(), 0);
    }

    #[tokio::test]
    async fn stopping_ends_every_wait_with_an_error() {
        let progress = Progress::default();
        progress.stop();
        assert_eq!(progress.wait_beyond(Offset::ZERO).await, Err(Stopped));
    }

    #[tokio::test]
    async fn one_waiter_watches_many_partitions_and_leaves_none_behind() {
        let partitions = [Progress::default(), Progress::default()];
        let waiter = Waiter::new();
        let watches: Vec<_> =
            partitions.iter().map(|progress| progress.watch(Offset::ZERO, &waiter)).collect();
        partitions[1].publish_log_end(Offset::new(1));
        partitions[1].publish_high_watermark(Offset::new(1));
        waiter.woken().await;
        drop(watches);
        assert_eq!(partitions.each_ref().map(Progress::waiter_count), [0, 0]);
    }
}
