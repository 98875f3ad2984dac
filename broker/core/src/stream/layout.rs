//! A stream's partitions at one moment, and the moments between two of them.
//!
//! ```text
//!   parents open ---- sealed, flushed, committed ---- parents closed, children open
//!                     change-over: writers wait       one replacement of the layout
//! ```
//!
//! Readers take the whole [`Layout`] or nothing, so nobody sees a hole or an overlap in the hash
//! keys. A writer that finds its partition sealed waits for the change-over to end
//! ([`SharedLayout::settled`]) and looks again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;
use weir_model::ids::PartitionIndex;
use weir_model::time::Timestamp;

use crate::partition::partition::Partition;
use crate::routing::route::OpenPartitions;

/// Longest that a writer waits for a change-over; what it wrote is refused then, and it may try
/// again.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(1);

/// A stream's partitions at one moment; never changes.
#[derive(Debug)]
pub(crate) struct Layout {
    /// In index order, closed ones included.
    pub(crate) partitions: Arc<[Arc<Partition>]>,
    /// Those that take records. Worked out once, since every routed record asks for it, however
    /// many partitions a stream has left behind.
    pub(crate) open: OpenPartitions,
    /// When it was scaled to a number of partitions, within the last day or so; ascending.
    pub(crate) scalings: Vec<Timestamp>,
}

impl Layout {
    pub(crate) fn new(partitions: Vec<Arc<Partition>>, scalings: Vec<Timestamp>) -> Layout {
        Layout { open: OpenPartitions::of(&partitions), partitions: partitions.into(), scalings }
    }
}

/// The layout of a stream, as those share it who read it, write by it, and change it.
#[derive(Debug)]
pub(crate) struct SharedLayout {
    /// A sync lock: held to copy a pointer, never across an await.
    current: RwLock<Arc<Layout>>,
    /// Whether a change-over is under way.
    is_changing: watch::Sender<bool>,
}

impl SharedLayout {
    pub(crate) fn new(layout: Layout) -> SharedLayout {
        let current = RwLock::new(Arc::new(layout));
        SharedLayout { current, is_changing: watch::Sender::new(false) }
    }

    /// The partitions now.
    pub(crate) fn current(&self) -> Arc<Layout> {
        Arc::clone(&self.current.read())
    }

    /// One of the partitions now, open or closed.
    pub(crate) fn partition(&self, index: PartitionIndex) -> Option<Arc<Partition>> {
        self.current.read().partitions.get(index.as_usize()).cloned()
    }

    /// Shows everyone other partitions.
    pub(super) fn replace(&self, layout: Layout) {
        *self.current.write() = Arc::new(layout);
    }

    /// Begins a change-over; it ends when the guard is dropped. One at a time, by the registry's
    /// lock.
    pub(super) fn begin_change(&self) -> ChangeOver<'_> {
        self.is_changing.send_replace(true);
        ChangeOver { layout: self }
    }

    /// Tells of each beginning and end of a change-over.
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.is_changing.subscribe()
    }

    /// Returns when no change-over is under way, or after a second.
    pub(crate) async fn settled(&self) {
        let mut changes = self.is_changing.subscribe();
        let ended = changes.wait_for(|is_changing| !is_changing);
        // Whether it ended or takes longer, the caller looks at what there is.
        let _ended_or_not = tokio::time::timeout(CHANGE_WAIT_MAX, ended).await;
    }
}

/// A change-over under way.
#[derive(Debug)]
pub(super) struct ChangeOver<'a> {
    layout: &'a SharedLayout,
}

impl Drop for ChangeOver<'_> {
    fn drop(&mut self) {
        self.layout.is_changing.send_replace(false);
    }
}
