//! How far groups have read: kept, shown, forgotten, set to another place.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_core::broker::Broker;
use weir_core::group::coordinator::OffsetToCommit;
use weir_core::group::description::{Description, GroupState};
use weir_core::group::error::{CommitError, GroupError};
use weir_core::group::identity::{Claim, GroupId, MemberId};
use weir_core::group::offsets::{CommittedOffset, PartitionName};
use weir_core::stream::stream::Stream;
use weir_model::ids::{PartitionIndex, StreamId};
use weir_model::offset::{OFFSET_MAX, Offset};
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::{
    AcknowledgeRequest, AcknowledgeResponse, AcknowledgeResult, AssignedPartition,
    DeletePositionResult, DeletePositionsRequest, DeletePositionsResponse, GetPositionsRequest,
    GetPositionsResponse, GroupMember, KeptPosition, NewPosition, StreamPartitions,
};

use crate::errors::{Refusal, commit_refusal, delete_position_refusal, group_refusal};
use crate::groups::group_id;
use crate::streams::find;

mod reset;

pub(crate) use reset::reset;

/// Most positions of one request.
const POSITIONS_MAX: usize = 10_000;

/// A partition that a request names.
type Named = (Arc<Stream>, PartitionIndex);

pub(crate) async fn acknowledge(
    broker: &Broker,
    request: AcknowledgeRequest,
) -> Result<AcknowledgeResponse, Refusal> {
    let group = group_id(&request.group)?;
    check_count(request.positions.len())?;
    let is_member = request.member.is_some();
    let claim = request.member.map_or_else(|| Ok(Claim::nobody()), claim)?;
    let parsed = request.positions.into_iter().map(|said| position(broker, said)).collect();
    let results = commit(broker, &group, claim, parsed).await;
    let results = results.map_err(|error| match is_member {
        true => group_refusal(error),
        false => of_nobody(error),
    })?;
    Ok(AcknowledgeResponse { results })
}

/// Keeps the positions that are some, and tells what became of each, in the order given.
pub(crate) async fn commit(
    broker: &Broker,
    group: &GroupId,
    claim: Claim,
    positions: Vec<Result<OffsetToCommit, Refusal>>,
) -> Result<Vec<AcknowledgeResult>, GroupError> {
    let possible = positions.iter().filter_map(|parsed| parsed.as_ref().ok()).cloned().collect();
    let kept = broker.groups().commit_offsets(group, claim, possible).await?;
    let mut kept = kept.into_iter();
    let outcome = |parsed: Result<_, Refusal>| {
        let refused = match parsed {
            Err(refusal) => Some(refusal),
            Ok(_) => kept.next().and_then(Result::err).map(commit_refusal),
        };
        AcknowledgeResult { error: refused.map(|refusal| refusal.detail()) }
    };
    Ok(positions.into_iter().map(outcome).collect())
}

pub(crate) fn check_count(count: usize) -> Result<(), Refusal> {
    match count {
        1..=POSITIONS_MAX => Ok(()),
        count => {
            let why = format!("{count} positions; 1 to {POSITIONS_MAX} may be");
            Err(Refusal::invalid(why))
        }
    }
}

/// A place that the log's records can hold.
pub(crate) fn offset(number: u64) -> Result<Offset, Refusal> {
    // One past the last record is a place too.
    match number {
        0..=OFFSET_MAX => Ok(Offset::new(number)),
        _ => Err(Refusal::invalid(format!("{number} is no offset; the largest is {OFFSET_MAX}"))),
    }
}

/// Where the group goes on in partitions that are given to a member, and what comes before them.
pub(crate) async fn with_positions(
    broker: &Broker,
    group: &GroupId,
    added: &[(PartitionName, StreamId)],
) -> Result<Vec<AssignedPartition>, GroupError> {
    let mut wanted: Vec<Named> = Vec::with_capacity(added.len());
    for ((_, index), id) in added {
        let Some(stream) = broker.stream_by_id(*id) else { continue };
        wanted.push((stream, *index));
    }
    let found = broker.groups().fetch_offsets(group, &Claim::nobody(), &wanted).await?;
    let mut assigned = Vec::with_capacity(wanted.len());
    for ((stream, index), committed) in wanted.iter().zip(found) {
        assigned.push(AssignedPartition {
            stream: stream.name.to_string(),
            partition: index.as_u32(),
            next_offset: committed.as_ref().map(|committed| committed.offset.number()),
            metadata: committed.map(|committed| committed.metadata.to_string()).unwrap_or_default(),
            unread_parents: unread_parents(broker, group, stream, *index).await?,
        });
    }
    Ok(assigned)
}

/// The parents of a partition whose records the group has not read to the end. One without records
/// has nothing to be read.
async fn unread_parents(
    broker: &Broker,
    group: &GroupId,
    stream: &Arc<Stream>,
    index: PartitionIndex,
) -> Result<Vec<u32>, GroupError> {
    let Some(partition) = stream.partition(index) else { return Ok(Vec::new()) };
    let parents = partition.parents.iter().flatten();
    let parents: Vec<Named> = parents.map(|index| (Arc::clone(stream), *index)).collect();
    if parents.is_empty() {
        return Ok(Vec::new());
    }
    let found = broker.groups().fetch_offsets(group, &Claim::nobody(), &parents).await?;
    let mut unread = Vec::new();
    for ((_, parent), committed) in parents.iter().zip(found) {
        let Some(partition) = stream.partition(*parent) else { continue };
        let Some(closed) = partition.closed_at() else { continue };
        let read_to = committed.map_or(Offset::ZERO, |committed| committed.offset);
        if read_to.max(partition.watermarks().log_start) < closed.end {
            unread.push(parent.as_u32());
        }
    }
    Ok(unread)
}

pub(crate) async fn get(
    broker: &Broker,
    request: &GetPositionsRequest,
) -> Result<GetPositionsResponse, Refusal> {
    let group = group_id(&request.group)?;
    let kept = match request.streams.as_slice() {
        [] => all_positions(broker, &group).await?,
        named => some_positions(broker, &group, named).await?,
    };
    if kept.is_empty() {
        // Which is an answer, but of a group that is there.
        broker.groups().describe(&group).await.map_err(group_refusal)?;
    }
    let shown =
        |(stream, index, committed): (Arc<Stream>, PartitionIndex, CommittedOffset)| KeptPosition {
            stream: stream.name.to_string(),
            partition: index.as_u32(),
            next_offset: committed.offset.number(),
            metadata: committed.metadata.to_string(),
            kept_at_ms: committed.committed_at.as_millis(),
        };
    Ok(GetPositionsResponse { positions: kept.into_iter().map(shown).collect() })
}

/// Everything that a group has kept of streams that clients may see.
pub(crate) async fn all_positions(
    broker: &Broker,
    group: &GroupId,
) -> Result<Vec<(Arc<Stream>, PartitionIndex, CommittedOffset)>, Refusal> {
    let all = broker.groups().fetch_all_offsets(group, &Claim::nobody()).await;
    let mut all = all.map_err(group_refusal)?;
    all.retain(|(stream, ..)| !stream.name.is_internal());
    Ok(all)
}

async fn some_positions(
    broker: &Broker,
    group: &GroupId,
    named: &[StreamPartitions],
) -> Result<Vec<(Arc<Stream>, PartitionIndex, CommittedOffset)>, Refusal> {
    let wanted = partitions_named(broker, named)?;
    let found = broker.groups().fetch_offsets(group, &Claim::nobody(), &wanted).await;
    let found = wanted.into_iter().zip(found.map_err(group_refusal)?);
    let kept = found.filter_map(|((stream, index), committed)| Some((stream, index, committed?)));
    Ok(kept.collect())
}

pub(crate) async fn delete(
    broker: &Broker,
    request: &DeletePositionsRequest,
) -> Result<DeletePositionsResponse, Refusal> {
    let group = group_id(&request.group)?;
    let wanted = partitions_named(broker, &request.streams)?;
    check_count(wanted.len())?;
    let results = broker.groups().delete_offsets(&group, &wanted).await.map_err(group_refusal)?;
    let result = |((stream, index), result): (Named, Result<(), _>)| DeletePositionResult {
        stream: stream.name.to_string(),
        partition: index.as_u32(),
        error: result.err().map(|error| delete_position_refusal(error).detail()),
    };
    let results = wanted.into_iter().zip(results).map(result);
    Ok(DeletePositionsResponse { results: results.collect() })
}

/// The partitions that a request names, each once; all of a stream that is named without any.
fn partitions_named(broker: &Broker, named: &[StreamPartitions]) -> Result<Vec<Named>, Refusal> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for StreamPartitions { stream: name, partitions } in named {
        let stream = find(broker, name)?;
        let all = stream.partitions();
        let indexes: Vec<PartitionIndex> = match partitions.as_slice() {
            [] => all.iter().map(|partition| partition.id.index).collect(),
            some => {
                some.iter().map(|index| partition_of(&stream, *index)).collect::<Result<_, _>>()?
            }
        };
        for index in indexes {
            if !seen.insert((stream.name.clone(), index)) {
                let why = format!("partition {index} of {} is named twice", stream.name);
                return Err(Refusal::invalid(why));
            }
            found.push((Arc::clone(&stream), index));
        }
        if found.len() > POSITIONS_MAX {
            let why = format!("more than {POSITIONS_MAX} partitions are named");
            return Err(Refusal::invalid(why));
        }
    }
    Ok(found)
}

fn partition_of(stream: &Stream, index: u32) -> Result<PartitionIndex, Refusal> {
    let known = PartitionIndex::try_from(i64::from(index)).ok();
    let known = known.filter(|index| stream.partition(*index).is_some());
    known.ok_or_else(|| {
        let why = format!("{} has no partition {index}", stream.name);
        Refusal::new(Reason::UnknownPartition, why)
    })
}

fn position(broker: &Broker, said: NewPosition) -> Result<OffsetToCommit, Refusal> {
    let stream = find(broker, &said.stream)?;
    Ok(OffsetToCommit {
        partition: partition_of(&stream, said.partition)?,
        stream,
        offset: offset(said.next_offset)?,
        leader_epoch: None,
        metadata: Arc::from(said.metadata),
        expires_at: None,
    })
}

fn claim(member: GroupMember) -> Result<Claim, Refusal> {
    let id = MemberId::from_client(&member.member_id);
    let id = id.ok_or_else(|| Refusal::invalid("a member has an id"))?;
    let generation = Some(member.epoch);
    Ok(Claim { member: Some(id), instance: None, generation })
}

/// Why somebody who is no member was refused.
fn of_nobody(error: GroupError) -> Refusal {
    match error {
        GroupError::UnknownMember
        | GroupError::IllegalGeneration
        | GroupError::StaleMemberEpoch
        | GroupError::RebalanceInProgress => {
            Refusal::new(Reason::GroupNotEmpty, "the group has members, which alone keep positions")
        }
        other => group_refusal(other),
    }
}

/// Whether a group has no members; none if it is not there.
async fn is_empty(broker: &Broker, group: &GroupId) -> Result<Option<bool>, Refusal> {
    let state = match broker.groups().describe(group).await {
        Ok(Description::Classic(classic)) => classic.state,
        Ok(Description::Modern(modern)) => modern.state,
        Err(GroupError::GroupNotFound) => return Ok(None),
        Err(error) => return Err(group_refusal(error)),
    };
    Ok(Some(state == GroupState::Empty))
}

/// Keeps all of these, which an empty group takes, or says why not.
async fn commit_all(
    broker: &Broker,
    group: &GroupId,
    positions: Vec<OffsetToCommit>,
) -> Result<(), Refusal> {
    let results = broker.groups().commit_offsets(group, Claim::nobody(), positions).await;
    let results = results.map_err(of_nobody)?;
    let first = results.into_iter().find_map(Result::err);
    first.map_or(Ok(()), |error: CommitError| Err(commit_refusal(error)))
}
