//! Sets a group's positions to another place, or says what that would do.
//!
//! As with Kafka's tool, only a group without members is changed, since members would go on from
//! where they are; what is asked for is kept within the records that there are.

use std::sync::Arc;

use weir_core::broker::Broker;
use weir_core::group::coordinator::OffsetToCommit;
use weir_core::group::error::GroupError;
use weir_core::group::identity::{Claim, GroupId};
use weir_core::read::position::StartAt;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::reset_positions_request::To;
use weir_proto::v1::{ResetPosition, ResetPositionsRequest, ResetPositionsResponse};

use crate::errors::{Refusal, group_refusal, read_refusal};
use crate::groups::group_id;
use crate::groups::positions::{
    Named, all_positions, check_count, commit_all, is_empty, partitions_named,
};

pub(crate) async fn reset(
    broker: &Broker,
    request: &ResetPositionsRequest,
) -> Result<ResetPositionsResponse, Refusal> {
    let group = group_id(&request.group)?;
    let to = request.to.ok_or_else(|| Refusal::invalid("the request does not say where to"))?;
    let is_known = match is_empty(broker, &group).await? {
        Some(false) => return Err(group_refusal(GroupError::NonEmptyGroup)),
        found => found.is_some(),
    };
    if !is_known && request.streams.is_empty() {
        return Err(group_refusal(GroupError::GroupNotFound));
    }
    let wanted = wanted(broker, &group, request).await?;
    check_count(wanted.len())?;
    let found = broker.groups().fetch_offsets(&group, &Claim::nobody(), &wanted).await;
    let found = found.map_err(group_refusal)?;
    let mut resets = Vec::with_capacity(wanted.len());
    for ((stream, index), committed) in wanted.iter().zip(found) {
        let before = committed.map(|committed| committed.offset);
        let after = place(broker, (stream.clone(), *index), before, to).await?;
        resets.push(ResetPosition {
            stream: stream.name.to_string(),
            partition: index.as_u32(),
            before: before.map(Offset::number),
            after: after.number(),
        });
    }
    if !request.preview {
        let position = |((stream, partition), reset): (Named, &ResetPosition)| OffsetToCommit {
            stream,
            partition,
            offset: Offset::new(reset.after),
            leader_epoch: None,
            metadata: Arc::from(""),
            expires_at: None,
        };
        let positions = wanted.into_iter().zip(&resets).map(position).collect();
        commit_all(broker, &group, positions).await?;
    }
    Ok(ResetPositionsResponse { positions: resets })
}

/// The partitions that a request names, or all that the group has positions in.
async fn wanted(
    broker: &Broker,
    group: &GroupId,
    request: &ResetPositionsRequest,
) -> Result<Vec<Named>, Refusal> {
    if !request.streams.is_empty() {
        return partitions_named(broker, &request.streams);
    }
    let all = all_positions(broker, group).await?;
    let wanted: Vec<_> = all.into_iter().map(|(stream, index, _)| (stream, index)).collect();
    match wanted.is_empty() {
        true => Err(Refusal::invalid("the group has no positions, and no stream is named")),
        false => Ok(wanted),
    }
}

/// Where a position is to be.
async fn place(
    broker: &Broker,
    (stream, index): Named,
    before: Option<Offset>,
    to: To,
) -> Result<Offset, Refusal> {
    let gone = || Refusal::new(Reason::UnknownPartition, "the stream has no such partition");
    let partition = stream.partition(index).ok_or_else(gone)?;
    let find = async |at| broker.find_offset(&partition, at).await.map_err(|e| read_refusal(&e));
    let end = find(StartAt::Latest).await?.offset.unwrap_or(Offset::ZERO);
    let log_start = partition.watermarks().log_start;
    let place = match to {
        To::Earliest(true) => log_start,
        To::Latest(true) => end,
        To::Earliest(false) | To::Latest(false) => {
            return Err(Refusal::invalid("earliest and latest are true or left out"));
        }
        To::Offset(offset) => Offset::new(offset),
        To::TimestampMs(time) => {
            let at = StartAt::AtTime(Timestamp::from_millis(time));
            find(at).await?.offset.unwrap_or(end)
        }
        To::ShiftBy(count) => {
            let before = before.ok_or_else(|| {
                let why =
                    format!("partition {index} of {} has no position to shift from", stream.name);
                Refusal::invalid(why)
            })?;
            Offset::new(before.number().saturating_add_signed(count))
        }
    };
    Ok(place.min(end).max(log_start))
}
