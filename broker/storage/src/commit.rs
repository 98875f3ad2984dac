//! What goes into the log and what comes back: [`CommitSet`] in, [`Ticket`] out.
//!
//! An offset, a duplicate or an error is never the result of the call itself; it is read from the
//! ticket. A local log knows at once and hands out a ticket that is already filled; a log over an
//! object store knows after its commit. Callers cannot tell, so they are written once.

use std::sync::Arc;

use tokio::sync::oneshot;
use weir_model::batch::RecordBatch;
use weir_model::ids::{LogEpoch, PartitionId};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::error::SubmitError;
use crate::watermarks::Progress;

/// Who dates the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The batch keeps the times its producer gave (CreateTime).
    Keep,
    /// The log writes its own time over them (LogAppendTime), never earlier than the batch before.
    AppendTime,
}

/// One batch for one partition. Its producer id, epoch and sequence are in the batch's header.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where it goes.
    pub partition: PartitionId,
    /// A checked batch: CRC verified, one record at least. Base offset and epoch are overwritten.
    pub batch: RecordBatch,
    /// Who dates it.
    pub stamp: Stamp,
    /// Append only if the log ends exactly here: the compare-and-append of coordinators.
    pub expect_end: Option<Offset>,
}

/// The atomic unit of the log: all of its appends are made or none, where [`Capabilities`] say so;
/// the local arm is atomic per partition.
///
/// [`Capabilities`]: crate::log::Capabilities
#[derive(Clone, Debug, Default)]
pub struct CommitSet {
    /// The batches, applied in this order.
    pub appends: Vec<Append>,
}

impl CommitSet {
    /// A set of one batch, as almost every write is.
    pub fn of(append: Append) -> CommitSet {
        CommitSet { appends: vec![append] }
    }
}

/// Whether a batch was written by this submit or had been written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// Written now.
    New,
    /// An idempotent producer sent it before; the place is the first one's.
    Duplicate,
}

/// Where a batch stands in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Offset of the batch's first record.
    pub base_offset: Offset,
    /// Offset of the batch's last record.
    pub last_offset: Offset,
    /// The log epoch stamped on it.
    pub epoch: LogEpoch,
    /// The time that the log wrote over the records' own, if it did.
    pub append_time: Option<Timestamp>,
    /// First offset of the log at that moment.
    pub log_start: Offset,
    /// New or a duplicate.
    pub novelty: Novelty,
}

/// What became of one append.
pub type Outcome = Result<Placed, SubmitError>;

/// One append's outcome together with what to wait for until it counts as kept.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The place or the error.
    pub outcome: Outcome,
    /// The partition whose high watermark must pass the batch; none where there is nothing to wait
    /// for, because the append failed or its flush policy is met by the append itself.
    pub settles_on: Option<Arc<Progress>>,
}

/// The claim check for a [`CommitSet`]: first where each batch stands, then that it is kept.
#[derive(Debug)]
pub struct Ticket {
    state: State,
}

#[derive(Debug)]
enum State {
    Known(Vec<Receipt>),
    Later(oneshot::Receiver<Vec<Receipt>>),
}

impl Ticket {
    /// A ticket whose places are known already.
    pub fn known(receipts: Vec<Receipt>) -> Ticket {
        Ticket { state: State::Known(receipts) }
    }

    /// A ticket whose places come through `receipts`, one per append.
    pub fn later(receipts: oneshot::Receiver<Vec<Receipt>>) -> Ticket {
        Ticket { state: State::Later(receipts) }
    }

    /// Where each batch stands, in the set's order, as soon as that is decided. For a local log
    /// that is at once. Enough for acks=1.
    pub async fn placed(&mut self) -> Vec<Outcome> {
        self.receipts().await.iter().map(|receipt| receipt.outcome.clone()).collect()
    }

    /// Where each batch stands, once the flush policy of its stream is met for all of them.
    pub async fn settled(mut self) -> Vec<Outcome> {
        let receipts = self.receipts().await;
        let mut outcomes = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            outcomes.push(settle(receipt).await);
        }
        outcomes
    }

    async fn receipts(&mut self) -> &[Receipt] {
        if let State::Later(receiver) = &mut self.state {
            // The sender is only dropped unused when the log is torn down with sets in its queue.
            let receipts = receiver.await.unwrap_or_else(|_| {
                let outcome = Err(SubmitError::ShuttingDown);
                vec![Receipt { outcome, settles_on: None }]
            });
            self.state = State::Known(receipts);
        }
        match &self.state {
            State::Known(receipts) => receipts,
            State::Later(_) => &[],
        }
    }
}

async fn settle(receipt: &Receipt) -> Outcome {
    let placed = receipt.outcome.clone()?;
    match &receipt.settles_on {
        None => Ok(placed),
        Some(progress) => match progress.wait_beyond(placed.last_offset).await {
            Ok(()) => Ok(placed),
            Err(_) => Err(SubmitError::FlushFailed),
        },
    }
}
