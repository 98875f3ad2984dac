//! Where the writers and readers of one shard wait for its quotas.
//!
//! The buckets alone keep the long-run rate. Two things need an order as well:
//!
//! - Kafka batches wait for the bucket, and are admitted in the order in which they came; else one
//!   could be passed by until its time is over.
//! - What a read costs is known when it was made. A second one must not be admitted on the same
//!   tokens meanwhile, so reads take turns from their look at the bucket to their charge.
//!
//! Where a stream has no quotas nobody waits, and the turns are not taken.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use weir_model::time::Moment;

use crate::quota::limits::ShardQuota;

/// One shard's buckets, and whose turn it is.
#[derive(Debug)]
pub struct ShardGate {
    /// None until quotas are asked for. A sync lock: held for one look, never across an await.
    pub(crate) buckets: Mutex<Option<ShardQuota>>,
    write_turn: Semaphore,
    read_turn: Semaphore,
    /// When its last throttle was told.
    told_at: Mutex<Option<Moment>>,
}

/// The right to be the next; passes on when dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
}

impl Default for ShardGate {
    fn default() -> ShardGate {
        let [write_turn, read_turn] = [Semaphore::new(1), Semaphore::new(1)];
        ShardGate { buckets: Mutex::new(None), write_turn, read_turn, told_at: Mutex::new(None) }
    }
}

impl ShardGate {
    /// Whether a throttle may be told now: none was within this time.
    pub(crate) fn may_tell(&self, now: Moment, period: Duration) -> bool {
        let mut told_at = self.told_at.lock();
        let may_tell = told_at.is_none_or(|told_at| now.since(told_at) >= period);
        if may_tell {
            *told_at = Some(now);
        }
        may_tell
    }

    /// The turn to write a batch, if nobody is before the caller.
    pub(crate) fn try_write_turn(&self) -> Option<Turn<'_>> {
        match self.write_turn.try_acquire() {
            Ok(permit) => Some(Turn { _permit: permit }),
            Err(TryAcquireError::NoPermits) => None,
            Err(TryAcquireError::Closed) => unreachable!("a gate is never closed"),
        }
    }

    /// The turn to write a batch, after all who came before.
    pub(crate) async fn write_turn(&self) -> Turn<'_> {
        turn(&self.write_turn).await
    }

    /// The turn to look at the read bucket, read, and charge it.
    pub(crate) async fn read_turn(&self) -> Turn<'_> {
        turn(&self.read_turn).await
    }
}

async fn turn(semaphore: &Semaphore) -> Turn<'_> {
    Turn { _permit: semaphore.acquire().await.expect("a gate is never closed") }
}
