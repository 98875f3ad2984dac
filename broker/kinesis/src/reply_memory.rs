//! What replies to GetRecords hold in memory, until their clients have taken them.
//!
//! ```text
//!   each connection    32 MiB full     2 small     it waits for itself alone
//!   the service       192 MiB full    32 MiB small
//! ```
//!
//! A client that asks and does not take what it asked for holds memory. Its own part of it bounds
//! what one connection can hold; when many of them have used up the memory for full replies, other
//! clients' replies get smaller, not later, which is legal: a reply may always have fewer records
//! than were asked for.
//!
//! A share is taken for the most that a reply may need, and shrinks to what it has when it is made.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How long a read waits for the memory of a full reply before it makes do with a small one.
const FULL_REPLY_WAIT_MAX: Duration = Duration::from_millis(200);

/// How much a read may return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReplySize {
    pub(crate) records_max: usize,
    pub(crate) data_bytes_max: usize,
}

/// AWS's limits.
pub(crate) const FULL: ReplySize = ReplySize { records_max: 10_000, data_bytes_max: 10 * MIB };
/// When memory is scarce.
const SMALL: ReplySize = ReplySize { records_max: 1_000, data_bytes_max: 256 * KIB };

impl ReplySize {
    /// The most bytes of a reply of this size: data grows by a third in JSON, and each record has
    /// some 180 bytes beside it.
    fn permits(self) -> u32 {
        u32::try_from(self.data_bytes_max * 2).expect("twice 10 MiB fits 32 bits")
    }
}

/// Bytes for the replies of everybody, or of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ReplyMemory {
    full: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

impl ReplyMemory {
    /// The whole service's.
    pub(crate) fn of_service() -> ReplyMemory {
        ReplyMemory::of(192 * MIB, 32 * MIB)
    }

    /// One connection's.
    pub(crate) fn of_connection() -> ReplyMemory {
        ReplyMemory::of(32 * MIB, 2 * SMALL.data_bytes_max * 2)
    }

    fn of(full_bytes: usize, small_bytes: usize) -> ReplyMemory {
        let part = |bytes| Arc::new(Semaphore::new(bytes));
        ReplyMemory { full: part(full_bytes), small: part(small_bytes) }
    }

    /// Waits until a reply may be made, of the size that the share tells.
    pub(crate) async fn take(&self, of_connection: &ReplyMemory) -> ReplyShare {
        let own = take(&of_connection.full, FULL).await;
        if let Ok(shared) = timeout(FULL_REPLY_WAIT_MAX, take(&self.full, FULL)).await {
            return ReplyShare { size: FULL, own, shared };
        }
        drop(own);
        let own = take(&of_connection.small, SMALL).await;
        ReplyShare { size: SMALL, own, shared: take(&self.small, SMALL).await }
    }

    #[cfg(test)]
    pub(crate) fn full_bytes_free(&self) -> usize {
        self.full.available_permits()
    }
}

async fn take(part: &Arc<Semaphore>, size: ReplySize) -> OwnedSemaphorePermit {
    let permits = Arc::clone(part).acquire_many_owned(size.permits()).await;
    permits.expect("reply memory is never closed")
}

/// One reply's share, given back when the reply's last slice is dropped.
#[derive(Debug)]
pub(crate) struct ReplyShare {
    pub(crate) size: ReplySize,
    own: OwnedSemaphorePermit,
    shared: OwnedSemaphorePermit,
}

impl ReplyShare {
    /// Ties what the reply really needs of the share to it.
    pub(crate) fn keep_for(mut self, reply: Bytes) -> Bytes {
        for permit in [&mut self.own, &mut self.shared] {
            let unused = permit.num_permits().saturating_sub(reply.len());
            drop(permit.split(unused));
        }
        Bytes::from_owner(MeteredReply { reply, _share: self })
    }
}

struct MeteredReply {
    reply: Bytes,
    _share: ReplyShare,
}

impl AsRef<[u8]> for MeteredReply {
    fn as_ref(&self) -> &[u8] {
        &self.reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Replies of their full size that nobody takes, as many as there is room for.
    async fn untaken(service: &ReplyMemory, connections: usize) -> Vec<Bytes> {
        let mut held = Vec::new();
        for _ in 0..connections {
            let connection = ReplyMemory::of_connection();
            let share = service.take(&connection).await;
            let bytes = share.size.data_bytes_max * 2;
            held.push(share.keep_for(Bytes::from(vec![0; bytes])));
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn replies_are_small_while_others_are_not_taken() {
        let service = ReplyMemory::of_service();
        let held = untaken(&service, 9).await;
        let mine = ReplyMemory::of_connection();
        assert_eq!(service.take(&mine).await.size, SMALL);
        drop(held);
        assert_eq!(service.take(&mine).await.size, FULL);
    }

    #[tokio::test(start_paused = true)]
    async fn one_connection_waits_for_itself_and_leaves_the_rest_to_others() {
        let service = ReplyMemory::of_service();
        let greedy = ReplyMemory::of_connection();
        let share = service.take(&greedy).await;
        let _held = share.keep_for(Bytes::from(vec![0; FULL.data_bytes_max * 2]));
        let second = pin!(service.take(&greedy));
        assert!(matches!(second.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        assert_eq!(service.take(&ReplyMemory::of_connection()).await.size, FULL);
    }

    #[tokio::test]
    async fn a_reply_holds_what_it_has_and_no_more() {
        let service = ReplyMemory::of_service();
        let (mine, free) = (ReplyMemory::of_connection(), service.full_bytes_free());
        let reply = service.take(&mine).await.keep_for(Bytes::from_static(b"0123456789"));
        assert_eq!(service.full_bytes_free(), free - 10);
        drop(reply);
        assert_eq!(service.full_bytes_free(), free);
    }
}
