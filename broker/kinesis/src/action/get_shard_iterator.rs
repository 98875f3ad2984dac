//! GetShardIterator: a position in a shard, to read on from.
//!
//! Inputs: the stream, `ShardId`, `ShardIteratorType`, `StartingSequenceNumber` (with
//! AT_SEQUENCE_NUMBER and AFTER_SEQUENCE_NUMBER only), `Timestamp` (with AT_TIMESTAMP), `DryRun`.
//!
//! Behaviour: the position is found now and not when it is read from. LATEST waits until everything
//! before it is kept, so a writer that was answered is never read past. A number whose record was
//! lost with a power cut is the first record after the loss; one whose record expired is the oldest
//! there is. A number that this shard never gave out is refused.
//!
//! Gaps: the rate of calls (5 a second for a shard) is not limited.

use std::sync::Arc;

use bytes::Bytes;
use weir_core::partition::partition::Partition;
use weir_core::read::position::{RememberedPlace, Resolved, StartAt};
use weir_core::stream::stream::Stream;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::action::{Action, Call};
use crate::errors::{self, KinesisError};
use crate::sequence_number::{ParsedNumber, Target};
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::shard::ShardId;
use crate::shard_iterator::ShardIterator;
use crate::stream_reference::{find_by_name, stream_name};

static ITERATOR_TYPE: Shape = Shape {
    kind: Kind::Text,
    rules: &[Rule::OneOf(&[
        "AT_SEQUENCE_NUMBER",
        "AFTER_SEQUENCE_NUMBER",
        "TRIM_HORIZON",
        "LATEST",
        "AT_TIMESTAMP",
    ])],
};

pub(super) static ACTION: Action = Action {
    name: "GetShardIterator",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::required("ShardId", &shape::SHARD_ID),
        Member::required("ShardIteratorType", &ITERATOR_TYPE),
        Member::optional("StartingSequenceNumber", &shape::SEQUENCE_NUMBER),
        Member::optional("Timestamp", &shape::TIMESTAMP),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::optional("DryRun", &shape::BOOLEAN),
    ],
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let (stream, partition) = find_shard(call)?;
    let start = start(call, &stream, &partition)?;
    if call.input.is_true("DryRun") {
        return Err(KinesisError::dry_run_succeeded());
    }
    let offset = match start {
        Start::Offset(offset) => offset,
        Start::Search(at) => search(call, &stream, &partition, at).await?,
    };
    // Whatever it was found by, the offset now holds in the broker's present epoch.
    let place = RememberedPlace { epoch: call.broker().log().epoch(), offset };
    let iterator = ShardIterator::new(&stream, partition.id.index, place);
    let mut writer = call.writer();
    writer.begin_map();
    writer.text_member("ShardIterator", &iterator.seal(call.token_key(), call.now()));
    writer.end_map();
    Ok(writer.into_bytes())
}

/// The shard, which AWS names in its errors even when it is the stream that does not exist.
fn find_shard(call: &Call<'_>) -> Result<(Arc<Stream>, Arc<Partition>), KinesisError> {
    let name = stream_name(&call.input)?;
    let text = call.input.text("ShardId").unwrap_or_default();
    let shard = ShardId::parse(text)
        .map_err(|_| KinesisError::could_not_find_shard(text, name, call.account()))?;
    let missing = || KinesisError::shard_does_not_exist(shard, name, call.account());
    let stream = find_by_name(call, name).ok_or_else(missing)?;
    let partition = stream.partition(shard.0).ok_or_else(missing)?;
    Ok((stream, partition))
}

/// Where an iterator starts.
enum Start {
    /// Here.
    Offset(Offset),
    /// Where this is found.
    Search(StartAt),
}

fn start(call: &Call<'_>, stream: &Stream, partition: &Partition) -> Result<Start, KinesisError> {
    let kind = call.input.text("ShardIteratorType").unwrap_or_default();
    match (kind, call.input.text("StartingSequenceNumber")) {
        ("TRIM_HORIZON", None) => Ok(Start::Search(StartAt::Earliest)),
        ("LATEST", None) => Ok(Start::Search(StartAt::Latest)),
        ("AT_TIMESTAMP", None) => Ok(Start::Search(StartAt::AtTime(timestamp(call)?))),
        ("AT_SEQUENCE_NUMBER", Some(text)) => {
            at_number(call, stream, partition, text).map(|resolved| match resolved {
                Resolved::Exact(offset) => Start::Offset(offset),
                Resolved::Lost { next } => Start::Offset(next),
            })
        }
        ("AFTER_SEQUENCE_NUMBER", Some(text)) => {
            at_number(call, stream, partition, text).map(|resolved| match resolved {
                Resolved::Exact(offset) => Start::Offset(offset.next()),
                Resolved::Lost { next } => Start::Offset(next),
            })
        }
        (kind, number) => Err(KinesisError::invalid_argument(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
             StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. \
             Request specified {kind} and {} StartingSequenceNumber.",
            if number.is_some() { "also a" } else { "no" }
        ))),
    }
}

/// AT_TIMESTAMP's time, which must not be in the future.
fn timestamp(call: &Call<'_>) -> Result<Timestamp, KinesisError> {
    let time = call.input.timestamp("Timestamp").ok_or_else(|| {
        KinesisError::invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. \
             Current request has no timestamp parameter.",
        )
    })?;
    let now = call.now();
    if time <= now {
        return Ok(time);
    }
    Err(KinesisError::invalid_argument(format!(
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
         timestampInMillis: {time}, currentTimestampInMillis: {now}"
    )))
}

/// The offset that a sequence number stands for, if this shard gave it out.
fn at_number(
    call: &Call<'_>,
    stream: &Stream,
    partition: &Partition,
    text: &str,
) -> Result<Resolved, KinesisError> {
    let shard = ShardId(partition.id.index);
    let invalid = |shown: &str, why: &str| {
        let (name, account) = (&stream.name, call.account());
        KinesisError::invalid_argument(format!(
            "StartingSequenceNumber {shown} used in GetShardIterator on shard {shard} \
             in stream {name} under account {account} is invalid{why}."
        ))
    };
    const FOREIGN: &str = " because it did not come from this stream";
    let parsed = ParsedNumber::parse(text).map_err(|_| invalid(text, ""))?;
    let encoded = match &parsed {
        ParsedNumber::Current(number) => number.shard,
        ParsedNumber::Older { shard, .. } => *shard,
    };
    if encoded != partition.id.index {
        let encoded = ShardId(encoded);
        return Err(KinesisError::invalid_argument(format!(
            "Invalid StartingSequenceNumber. It encodes {encoded}, \
             while it was used in a call to a shard with {shard}"
        )));
    }
    let number = match parsed {
        ParsedNumber::Current(number) if number.is_of(partition) => number,
        ParsedNumber::Current(_) => return Err(invalid(text, FOREIGN)),
        ParsedNumber::Older { shown, .. } => return Err(invalid(&shown, FOREIGN)),
    };
    let marks = partition.watermarks();
    match number.target() {
        Target::Start => Ok(Resolved::Lost { next: marks.log_start }),
        Target::End => match partition.closed_at() {
            Some(closed) => Ok(Resolved::Lost { next: closed.end }),
            None => Err(invalid(text, "")),
        },
        Target::Record { epoch, offset } => {
            // What is still to come was never given out.
            let now = call.broker().log().epoch();
            if epoch > now || (epoch == now && offset >= marks.log_end) {
                return Err(invalid(text, ""));
            }
            let place = RememberedPlace { epoch, offset };
            let resolved = call.broker().resolve(partition, place);
            resolved.map_err(|error| {
                errors::read_error(&error, partition.id.index, stream, call.account())
            })
        }
    }
}

async fn search(
    call: &Call<'_>,
    stream: &Stream,
    partition: &Partition,
    at: StartAt,
) -> Result<Offset, KinesisError> {
    let failed = |error| errors::read_error(&error, partition.id.index, stream, call.account());
    let found = call.broker().find_offset(partition, at).await.map_err(failed)?;
    if let Some(offset) = found.offset {
        return Ok(offset);
    }
    // No record is that young yet: the next one will be.
    let latest = call.broker().find_offset(partition, StartAt::Latest);
    let latest = latest.await.map_err(failed)?;
    Ok(latest.offset.unwrap_or_else(|| partition.watermarks().high_watermark))
}
