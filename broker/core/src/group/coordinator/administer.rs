//! What administrators ask about all groups or do to one, and the task that expires offsets.

use std::sync::Arc;

use weir_model::ids::{PartitionIndex, StreamName};
use weir_model::offset::Offset;

use crate::alarm::Alarm;
use crate::group::coordinator::offsets::belongs_to;
use crate::group::coordinator::{
    CONSUMER_OFFSETS, GroupCoordinator, IfAbsent, Ready, Shared, Slot,
};
use crate::group::description::{Description, ListedGroup};
use crate::group::error::{DeleteOffsetError, GroupError};
use crate::group::identity::GroupId;
use crate::group::offsets::CommittedOffset;
use crate::group::progress::GroupProgress;
use crate::group::state::{Event, Reply};
use crate::stream::stream::Stream;

impl GroupCoordinator {
    /// All groups, in no order.
    pub async fn list(&self) -> Result<Vec<ListedGroup>, GroupError> {
        let ready = self.ready().await?;
        let slots = self.shared.slots();
        let mut listed = Vec::with_capacity(slots.len());
        let mut kept_to = Offset::ZERO;
        for slot in slots {
            let state = slot.state.lock();
            if !state.is_removed {
                kept_to = kept_to.max(state.kept_to);
                listed.push(state.group.listed(&slot.id));
            }
        }
        ready.log.settled(kept_to).await.map_err(|_| GroupError::NotAvailable)?;
        Ok(listed)
    }

    /// How far all groups have read, in no order. Where no group was ever here, the broker's log of
    /// groups is not made for this question.
    pub async fn progress_of_all(&self) -> Result<Vec<GroupProgress>, GroupError> {
        if self.shared.registry.by_name(CONSUMER_OFFSETS).is_none() {
            return Ok(Vec::new());
        }
        let ready = self.ready().await?;
        let lives = |name: &StreamName, committed: &CommittedOffset| {
            let stream = self.shared.registry.by_name(name.as_str());
            stream.is_some_and(|stream| belongs_to(committed, &stream))
        };
        let mut progress = Vec::new();
        let mut kept_to = Offset::ZERO;
        for slot in self.shared.slots() {
            let state = slot.state.lock();
            if !state.is_removed {
                kept_to = kept_to.max(state.kept_to);
                progress.push(state.group.how_far(&slot.id, lives));
            }
        }
        ready.log.settled(kept_to).await.map_err(|_| GroupError::NotAvailable)?;
        Ok(progress)
    }

    /// A group in full.
    pub async fn describe(&self, group: &GroupId) -> Result<Description, GroupError> {
        let found = self.read(group, |group| group.describe()).await?;
        found.ok_or(GroupError::GroupNotFound)
    }

    /// Deletes groups that have no members, and their offsets. Each is judged on its own, in the
    /// order given; all of them wait for the log together.
    pub async fn delete(
        &self,
        groups: &[GroupId],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let ready = self.ready().await?;
        let mut asked = Vec::with_capacity(groups.len());
        for group in groups {
            ready.log.wait_for_room().await;
            asked.push(self.begin(ready, group, IfAbsent::Leave, Event::Delete));
        }
        let mut results = Vec::with_capacity(groups.len());
        for one in asked {
            results.push(match one {
                Ok(Some(asked)) => deleted(asked.answered(ready).await),
                Ok(None) => Err(GroupError::GroupNotFound),
                Err(error) => Err(error),
            });
        }
        Ok(results)
    }

    /// Deletes the offsets of these partitions; the results are in the order given. Where there is
    /// none, nothing needs to be done.
    pub async fn delete_offsets(
        &self,
        group: &GroupId,
        wanted: &[(Arc<Stream>, PartitionIndex)],
    ) -> Result<Vec<Result<(), DeleteOffsetError>>, GroupError> {
        let name = |(stream, partition): &(Arc<Stream>, _)| (stream.name.clone(), *partition);
        let partitions = wanted.iter().map(name).collect();
        self.ready().await?.log.wait_for_room().await;
        let event = |request| Event::DeleteOffsets(request, partitions);
        match self.ask_member(group, IfAbsent::Leave, event).await? {
            Some(Reply::OffsetsDeleted(result)) => result,
            None => Err(GroupError::GroupNotFound),
            Some(other) => unreachable!("a deletion of offsets was answered by {other:?}"),
        }
    }
}

fn deleted(reply: Result<Reply, GroupError>) -> Result<(), GroupError> {
    match reply? {
        Reply::Deleted(result) => result,
        other => unreachable!("a deletion was answered by {other:?}"),
    }
}

impl Shared {
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.groups.read().values().cloned().collect()
    }

    fn expire(&self, ready: &Ready, slot: &Arc<Slot>) {
        let mut state = slot.state.lock();
        if !state.is_removed {
            self.step(ready, slot, &mut state, Event::Expire);
        }
        self.unlock(slot, state);
    }
}

/// The retention task: looks at every group's offsets from time to time.
pub(super) async fn expire_offsets(shared: Arc<Shared>, ready: Arc<Ready>) {
    let mut alarm = Alarm::for_work(&*shared.clock);
    let next = || shared.clock.moment().plus(shared.options.offsets_check_interval);
    let mut due = next();
    loop {
        alarm.at(due).await;
        due = next();
        for slot in shared.slots() {
            ready.log.wait_for_room().await;
            shared.expire(&ready, &slot);
            // One group may hold up the worker, all of them together may not.
            tokio::task::yield_now().await;
        }
    }
}
