//! DeleteRecords (key 21), versions 0 to 2: move the log start of partitions forward.
//!
//! - -1 stands for the high watermark. Above that, or below -1: OFFSET_OUT_OF_RANGE; below the log
//!   start: nothing happens. Each partition has a result of its own, with its log start; of two
//!   offsets for one partition the last holds, as in Kafka.
//! - The answer is given when the new log starts are durable, and the records are gone then for
//!   readers in all dialects; files go as they fall wholly below.
//! - A topic that is compacted and not deleted from is POLICY_VIOLATION, one that holds the
//!   broker's own state INVALID_TOPIC_EXCEPTION.
//!
//! Left out: the request's timeout, since there are no followers to wait for.

use std::collections::BTreeMap;

use weir_core::partition::delete_records::{DeleteBefore, RecordDeletion};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use weir_model::ids::PartitionIndex;
use weir_model::offset::Offset;

use crate::close::CloseReason;
use crate::errors::delete_records_code;
use crate::exchange::RequestContext;
use crate::topic::TopicRef;

pub(crate) const GAPS: &[&str] = &["the request's timeout is not used"];

/// Kafka's offset for "as far as readers see".
const HIGH_WATERMARK: i64 = -1;
/// The low watermark of a partition with an error.
const NO_LOW_WATERMARK: i64 = -1;

pub(crate) async fn handle(
    context: RequestContext,
    request: DeleteRecordsRequest,
) -> Result<DeleteRecordsResponse, CloseReason> {
    let mut wanted: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in request.topics {
        let offsets = topic.partitions.iter().map(|wanted| (wanted.partition_index, wanted.offset));
        wanted.entry(topic.name).or_default().extend(offsets);
    }
    let mut deletions = Vec::new();
    let mut topics = Vec::with_capacity(wanted.len());
    for (name, offsets) in wanted {
        let mut partitions = Vec::with_capacity(offsets.len());
        for (index, offset) in offsets {
            let deletion = deletion(&context, &name, index, offset);
            partitions.push((index, deletion.map(|found| deletions.push(found))));
        }
        topics.push((name, partitions));
    }
    let mut deleted = context.broker().delete_records(&deletions).await.into_iter();
    let mut result = |(partition_index, asked): (i32, Result<(), ErrorCode>)| {
        let log_start = asked.and_then(|()| {
            let result = deleted.next().expect("one result for each deletion");
            result.map_err(|error| delete_records_code(&error))
        });
        let (low_watermark, code) = match log_start {
            Ok(offset) => (offset.as_i64(), ErrorCode::NONE),
            Err(code) => (NO_LOW_WATERMARK, code),
        };
        let error_code = context.answer_code(code);
        DeleteRecordsPartitionResult { partition_index, low_watermark, error_code }
    };
    let results = topics.into_iter().map(|(name, partitions)| DeleteRecordsTopicResult {
        name,
        partitions: partitions.into_iter().map(&mut result).collect(),
    });
    Ok(DeleteRecordsResponse { throttle_time_ms: 0, topics: results.collect() })
}

fn deletion(
    context: &RequestContext,
    topic: &str,
    index: i32,
    offset: i64,
) -> Result<RecordDeletion, ErrorCode> {
    let stream = TopicRef::Name(topic).resolve(context.broker())?;
    let partition = PartitionIndex::try_from(index)
        .ok()
        .and_then(|index| stream.partition(index))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let before = match offset {
        HIGH_WATERMARK => DeleteBefore::HighWatermark,
        offset => DeleteBefore::Offset(
            Offset::try_from(offset).map_err(|_| ErrorCode::OFFSET_OUT_OF_RANGE)?,
        ),
    };
    Ok(RecordDeletion { stream, partition, before })
}
