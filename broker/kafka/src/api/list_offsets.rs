//! ListOffsets (key 2), versions 1 to 11: from "where from?" to an offset.
//!
//! | timestamp | meaning | from version |
//! |---:|---|---:|
//! | 0 and more | first record at least as late, and its timestamp; -1/-1 if none | 1 |
//! | -1 | latest: the end once the flush covers it, so a writer finds what it was answered | 1 |
//! | -2 | earliest: the log start | 1 |
//! | -3 | the record with the largest timestamp | 7 |
//! | -4 | earliest on the local tier: as -2, since there is one tier | 8 |
//! | -5, -6 | latest tiered, earliest waiting for upload: always -1 | 9, 11 |
//!
//! Anything else, or in an earlier version, is UNSUPPORTED_VERSION. A partition named twice is
//! INVALID_REQUEST, once. The isolation level changes nothing, since there are no transactions; one
//! that is neither of the two is INVALID_REQUEST.
//! 4+: the current leader epoch is checked (KIP-320), and the answer has the epoch of its place.
//! 10+: what is not found within the request's timeout is REQUEST_TIMED_OUT.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use weir_core::read::position::{FoundOffset, StartAt};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use weir_model::ids::PartitionIndex;
use weir_model::time::Timestamp;

use crate::close::CloseReason;
use crate::errors::read_code;
use crate::exchange::RequestContext;
use crate::leader_epoch::said_epoch;
use crate::topic::TopicRef;

pub(crate) const GAPS: &[&str] = &[];

/// The isolation levels are 0, read uncommitted, and 1, read committed.
const ISOLATION_LEVELS: std::ops::RangeInclusive<i8> = 0..=1;
/// First version that answers with a leader epoch.
const LEADER_EPOCH_FROM: i16 = 4;

/// What a timestamp asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Start(StartAt),
    /// A place on a tier that does not exist.
    NoSuchTier,
}

pub(crate) async fn handle(
    context: RequestContext,
    request: ListOffsetsRequest,
) -> Result<ListOffsetsResponse, CloseReason> {
    let mut topics = Vec::with_capacity(request.topics.len());
    let times = times_named(&request);
    let mut answered = HashSet::new();
    let deadline = tokio::time::sleep(timeout(&request));
    tokio::pin!(deadline);
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let named = (topic.name.as_str(), wanted.partition_index);
            if !answered.insert(named) {
                continue;
            }
            let is_legal = ISOLATION_LEVELS.contains(&request.isolation_level);
            let found = if is_legal && times.get(&named) == Some(&1) {
                tokio::select! {
                    biased;
                    found = find(&context, &topic.name, wanted) => found,
                    () = &mut deadline => Err(ErrorCode::REQUEST_TIMED_OUT),
                }
            } else {
                Err(ErrorCode::INVALID_REQUEST)
            };
            partitions.push(answer(&context, wanted.partition_index, found));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name.clone(), partitions });
    }
    Ok(ListOffsetsResponse { throttle_time_ms: 0, topics })
}

/// How long the client waits; for ever if it does not say, which versions before 10 never do.
fn timeout(request: &ListOffsetsRequest) -> Duration {
    match u64::try_from(request.timeout_ms) {
        Ok(0) | Err(_) => Duration::MAX,
        Ok(timeout_ms) => Duration::from_millis(timeout_ms),
    }
}

/// How many times the request names each partition.
fn times_named(request: &ListOffsetsRequest) -> HashMap<(&str, i32), u32> {
    let mut times = HashMap::new();
    for topic in &request.topics {
        for wanted in &topic.partitions {
            *times.entry((topic.name.as_str(), wanted.partition_index)).or_default() += 1;
        }
    }
    times
}

async fn find(
    context: &RequestContext,
    topic: &str,
    wanted: &ListOffsetsPartition,
) -> Result<Option<FoundOffset>, ErrorCode> {
    let question = question(context.version, wanted.timestamp)?;
    let broker = context.broker();
    let stream = TopicRef::Name(topic).resolve(broker)?;
    let partition = PartitionIndex::try_from(wanted.partition_index)
        .ok()
        .and_then(|index| stream.partition(index))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    broker
        .check_epoch(said_epoch(wanted.current_leader_epoch))
        .map_err(|error| read_code(&error))?;
    match question {
        Question::NoSuchTier => Ok(None),
        Question::Start(at) => {
            let found = broker.find_offset(&partition, at).await;
            found.map(Some).map_err(|error| read_code(&error))
        }
    }
}

fn question(version: i16, timestamp: i64) -> Result<Question, ErrorCode> {
    match timestamp {
        0.. => Ok(Question::Start(StartAt::AtTime(Timestamp::from_millis(timestamp)))),
        -1 => Ok(Question::Start(StartAt::Latest)),
        -2 => Ok(Question::Start(StartAt::Earliest)),
        -3 if version >= 7 => Ok(Question::Start(StartAt::LargestTimestamp)),
        -4 if version >= 8 => Ok(Question::Start(StartAt::Earliest)),
        -5 if version >= 9 => Ok(Question::NoSuchTier),
        -6 if version >= 11 => Ok(Question::NoSuchTier),
        _ => Err(ErrorCode::UNSUPPORTED_VERSION),
    }
}

fn answer(
    context: &RequestContext,
    partition_index: i32,
    found: Result<Option<FoundOffset>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let nowhere = ListOffsetsPartitionResponse {
        partition_index,
        error_code: 0,
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
    };
    match found {
        Err(code) => {
            ListOffsetsPartitionResponse { error_code: context.answer_code(code), ..nowhere }
        }
        Ok(Some(FoundOffset { offset: Some(offset), timestamp, epoch })) => {
            ListOffsetsPartitionResponse {
                offset: offset.as_i64(),
                timestamp: timestamp.map_or(-1, Timestamp::as_millis),
                leader_epoch: if context.version >= LEADER_EPOCH_FROM {
                    epoch.as_i32()
                } else {
                    -1
                },
                ..nowhere
            }
        }
        Ok(_) => nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_timestamp_is_understood_from_its_version_on() {
        let start = |at| Ok(Question::Start(at));
        for (timestamp, first, meaning) in [
            (5, 1, start(StartAt::AtTime(Timestamp::from_millis(5)))),
            (-1, 1, start(StartAt::Latest)),
            (-2, 1, start(StartAt::Earliest)),
            (-3, 7, start(StartAt::LargestTimestamp)),
            (-4, 8, start(StartAt::Earliest)),
            (-5, 9, Ok(Question::NoSuchTier)),
            (-6, 11, Ok(Question::NoSuchTier)),
            (-7, 12, Ok(Question::NoSuchTier)),
        ] {
            for version in 1..=11 {
                let expected =
                    if version >= first { meaning } else { Err(ErrorCode::UNSUPPORTED_VERSION) };
                assert_eq!(question(version, timestamp), expected, "{timestamp} in {version}");
            }
        }
    }
}
