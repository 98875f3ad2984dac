//! Committed offsets: kept, found again, and forgotten with their stream.

use std::sync::Arc;

use tracing::warn;
use weir_model::ids::PartitionIndex;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::group::coordinator::{CONSUMER_OFFSETS, GroupCoordinator, IfAbsent};
use crate::group::error::{CommitError, GroupError};
use crate::group::identity::{Claim, GroupId};
use crate::group::offsets::{CommittedOffset, PartitionName};
use crate::group::records;
use crate::group::state::{Commit, Event, Reply};
use crate::stream::stream::Stream;

/// An offset to be kept for one partition.
#[derive(Clone, Debug)]
pub struct OffsetToCommit {
    /// The stream.
    pub stream: Arc<Stream>,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The next record to read.
    pub offset: Offset,
    /// The log epoch of the last record that was read, if the client says so.
    pub leader_epoch: Option<i32>,
    /// Text to keep beside it.
    pub metadata: Arc<str>,
    /// When it may be forgotten, if the client asks for a time of its own.
    pub expires_at: Option<Timestamp>,
}

impl GroupCoordinator {
    /// Keeps offsets; the results are in the order given. Without a generation in the claim the
    /// group may be new. More than [`records::COMMIT_BYTES_MAX`] at once are too large.
    pub async fn commit_offsets(
        &self,
        group: &GroupId,
        claim: Claim,
        offsets: Vec<OffsetToCommit>,
    ) -> Result<Vec<Result<(), CommitError>>, GroupError> {
        let if_absent = match claim.generation {
            None => IfAbsent::Make,
            Some(_) => IfAbsent::Leave,
        };
        let bytes_of = |offset: &OffsetToCommit| {
            records::offset_record_bytes(group, &offset.stream.name, &offset.metadata)
        };
        if offsets.iter().map(bytes_of).sum::<usize>() > records::COMMIT_BYTES_MAX {
            return Err(GroupError::TooLarge);
        }
        self.ready().await?.log.wait_for_room().await;
        let committed_at = self.shared.clock.now();
        let mut exists = Vec::with_capacity(offsets.len());
        // Under the group's lock, because a deletion marks the stream first and then asks each
        // group for tombstones: a commit is seen by it or sees it.
        let event = |request| {
            let mut kept = Vec::with_capacity(offsets.len());
            for offset in offsets {
                let lives = !offset.stream.is_deleted();
                exists.push(lives && offset.stream.partition(offset.partition).is_some());
                if exists.last() == Some(&true) {
                    kept.push(committed(offset, committed_at));
                }
            }
            Event::Commit(request, Commit { claim, offsets: kept })
        };
        let results = match self.ask(group, if_absent, event).await? {
            Some(Reply::Commit(result)) => result?,
            None => return Err(GroupError::GroupNotFound),
            Some(other) => unreachable!("a commit was answered by {other:?}"),
        };
        let mut results = results.into_iter();
        let result_of = |exists: bool| {
            let next = exists.then(|| results.next().expect("each offset handed on has a result"));
            next.unwrap_or(Err(CommitError::UnknownPartition))
        };
        Ok(exists.into_iter().map(result_of).collect())
    }

    /// What a group has committed for these partitions, in the order given. A group of the consumer
    /// protocol tells its members only in their present epoch.
    pub async fn fetch_offsets(
        &self,
        group: &GroupId,
        claim: &Claim,
        wanted: &[(Arc<Stream>, PartitionIndex)],
    ) -> Result<Vec<Option<CommittedOffset>>, GroupError> {
        let found = self.read(group, |group| {
            group.membership().check_fetch(claim)?;
            let find = |(stream, partition): &(Arc<Stream>, PartitionIndex)| {
                let committed = group.offsets().get(&stream.name, *partition)?;
                belongs_to(committed, stream).then(|| committed.clone())
            };
            Ok(wanted.iter().map(find).collect())
        });
        found.await?.unwrap_or_else(|| Ok(vec![None; wanted.len()]))
    }

    /// Everything that a group has committed, by stream name and partition; see
    /// [`GroupCoordinator::fetch_offsets`].
    pub async fn fetch_all_offsets(
        &self,
        group: &GroupId,
        claim: &Claim,
    ) -> Result<Vec<(Arc<Stream>, PartitionIndex, CommittedOffset)>, GroupError> {
        let found = self.read(group, |group| {
            group.membership().check_fetch(claim)?;
            let all = group.offsets().iter();
            let owned = all.map(|(stream, partition, committed)| {
                (stream.clone(), partition, committed.clone())
            });
            Ok(owned.collect::<Vec<_>>())
        });
        let mut living = Vec::new();
        for (name, partition, committed) in found.await?.unwrap_or_else(|| Ok(Vec::new()))? {
            match self.shared.registry.by_name(name.as_str()) {
                Some(stream) if belongs_to(&committed, &stream) => {
                    living.push((stream, partition, committed));
                }
                _ => {}
            }
        }
        Ok(living)
    }

    /// Forgets all offsets of a stream that is being deleted: returns when their tombstones are
    /// kept. The stream must be marked as deleted before; its name may be in use again.
    pub async fn stream_deleted(&self, stream: &Stream) -> Result<(), GroupError> {
        if self.shared.registry.by_name(CONSUMER_OFFSETS).is_none() {
            // No group has ever been here; making the log now would wait for the deletion itself.
            return Ok(());
        }
        let ready = self.ready().await?;
        let groups: Vec<GroupId> = self.shared.groups.read().keys().cloned().collect();
        let mut asked = Vec::with_capacity(groups.len());
        for group in groups {
            ready.log.wait_for_room().await;
            let event = |request| Event::ForgetStream(request, stream.name.clone(), stream.id);
            let begun = self.begin(ready, &group, IfAbsent::Leave, event);
            asked.push((group, begun));
        }
        let mut first_error = Ok(());
        for (group, begun) in asked {
            let reply = match begun {
                Ok(Some(asked)) => asked.answered(ready).await,
                Ok(None) => Ok(Reply::Forgotten(Ok(()))),
                Err(error) => Err(error),
            };
            let result = match reply {
                Ok(Reply::Forgotten(result)) => result,
                Ok(other) => unreachable!("a deletion was answered by {other:?}"),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                let (group, stream) = (group.as_str(), &stream.name);
                warn!(group, %stream, ?error, "offsets of a deleted stream not removed");
                first_error = first_error.and(Err(error));
            }
        }
        first_error
    }
}

/// Whether an offset was committed for this stream, not for one that had its name before.
pub(super) fn belongs_to(committed: &CommittedOffset, stream: &Stream) -> bool {
    committed.stream.is_none_or(|id| id == stream.id)
}

fn committed(offset: OffsetToCommit, committed_at: Timestamp) -> (PartitionName, CommittedOffset) {
    let committed = CommittedOffset {
        stream: Some(offset.stream.id),
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata,
        committed_at,
        expires_at: offset.expires_at,
    };
    ((offset.stream.name.clone(), offset.partition), committed)
}
