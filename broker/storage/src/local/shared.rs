//! What all partitions of a local log share: the disk, the clock, bounds, counters, the flush
//! queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use weir_model::ids::LogEpoch;
use weir_model::limits::{UNFLUSHED_BYTES_MAX, UNFLUSHED_BYTES_MAX_PARTITION};
use weir_model::time::Clock;

use crate::disk::Disk;
use crate::local::directories::Directory;
use crate::local::disk_room::DiskRoom;
use crate::local::flusher::FlushQueue;
use crate::local::open_files::OpenFiles;

/// How a local log runs. The data directory and everything injected come beside it.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Who runs the flushes.
    pub flushing: Flushing,
    /// Most segment files open, and mapped, at one time; those with unflushed bytes come on top.
    pub open_files_max: usize,
    /// Threads that check partitions after an unclean stop, and that write at a clean one what
    /// spares the next start that.
    pub recovery_threads: usize,
    /// How often what is durable is written into the metadata store, at most.
    pub checkpoint_interval: Duration,
    /// Unflushed bytes after which [`wait_for_room`](crate::log::Log::wait_for_room) holds a
    /// partition's writers back.
    pub unflushed_bytes_max_partition: u64,
    /// The same for all partitions together.
    pub unflushed_bytes_max: u64,
    /// A deliberate bug, for the tests that prove that the tests would find it.
    #[doc(hidden)]
    pub mutation: Option<Mutation>,
}

/// Who runs the flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushing {
    /// This many threads of their own.
    Threads(usize),
    /// Nobody: the owner calls [`step_flush`](crate::local::LocalLog::step_flush). For simulation.
    Stepped,
}

/// A deliberate bug.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    AnswerBeforeFlush,
    WatermarkBeforeFlush,
    NoDirectorySyncAtRoll,
}

impl Default for LocalOptions {
    fn default() -> LocalOptions {
        LocalOptions {
            flushing: Flushing::Threads(8),
            open_files_max: 4096,
            recovery_threads: 8,
            checkpoint_interval: Duration::from_secs(5),
            unflushed_bytes_max_partition: UNFLUSHED_BYTES_MAX_PARTITION as u64,
            unflushed_bytes_max: UNFLUSHED_BYTES_MAX as u64,
            mutation: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub options: LocalOptions,
    /// The epoch of this run.
    pub epoch: LogEpoch,
    pub open_files: Arc<OpenFiles>,
    /// The directory that holds every partition's.
    pub logs: Arc<Directory>,
    pub room: Arc<DiskRoom>,
    pub flushes: FlushQueue,
    pub unflushed: Unflushed,
}

impl Shared {
    pub(crate) fn has_mutation(&self, mutation: Mutation) -> bool {
        self.options.mutation == Some(mutation)
    }
}

/// Whether there are too many unflushed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    None,
    New,
    Seen,
}

/// Bytes of all partitions that no flush has covered yet.
#[derive(Debug, Default)]
pub(crate) struct Unflushed {
    bytes: AtomicU64,
    /// Told whenever there are fewer.
    fewer: Notify,
    /// There are too many, and everything has been asked to flush.
    is_draining: AtomicBool,
}

impl Unflushed {
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn subtract(&self, bytes: u64) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "more bytes flushed than written: the bound would never hold");
        self.fewer.notify_waiters();
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Whether there are more than `bytes_max`, and whether the caller is the first to see it: that
    /// one has everything flushed. Those who wait see it again at every flush, and need not ask;
    /// what is appended meanwhile asks for itself.
    pub(crate) fn excess(&self, bytes_max: u64) -> Excess {
        if self.bytes() <= bytes_max {
            self.is_draining.store(false, Ordering::Release);
            Excess::None
        } else if self.is_draining.swap(true, Ordering::AcqRel) {
            Excess::Seen
        } else {
            Excess::New
        }
    }

    /// Resolves at the next [`Unflushed::subtract`] after the call.
    pub(crate) fn fewer(&self) -> tokio::sync::futures::Notified<'_> {
        self.fewer.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excess_is_new_once() {
        let unflushed = Unflushed::default();
        assert_eq!(unflushed.excess(10), Excess::None);
        for _ in 0..2 {
            unflushed.add(11);
            assert_eq!(unflushed.excess(10), Excess::New);
            assert_eq!(unflushed.excess(10), Excess::Seen);
            unflushed.subtract(11);
            assert_eq!(unflushed.excess(10), Excess::None);
        }
    }
}
