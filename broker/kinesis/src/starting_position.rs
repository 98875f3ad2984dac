//! Where a reader of a shard starts: what GetShardIterator and SubscribeToShard take alike.

use weir_core::partition::partition::Partition;
use weir_core::read::position::{RememberedPlace, Resolved, StartAt};
use weir_core::stream::stream::Stream;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::action::Call;
use crate::errors::{self, KinesisError};
use crate::sequence_number::{ParsedNumber, Target};
use crate::shape::{Kind, Rule, Shape};
use crate::shard::ShardId;

/// The types of a position.
pub(crate) static KIND: Shape = Shape {
    kind: Kind::Text,
    rules: &[Rule::OneOf(&[
        "AT_SEQUENCE_NUMBER",
        "AFTER_SEQUENCE_NUMBER",
        "TRIM_HORIZON",
        "LATEST",
        "AT_TIMESTAMP",
    ])],
};

/// Where reading starts.
pub(crate) enum Start {
    /// Here.
    Offset(Offset),
    /// Where this is found.
    Search(StartAt),
}

/// What a request says of where to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartingPosition<'a> {
    /// `LATEST` and so on.
    pub(crate) kind: &'a str,
    /// The sequence number that it starts at or after.
    pub(crate) number: Option<&'a str>,
    /// The time that it starts at.
    pub(crate) time: Option<Timestamp>,
}

impl StartingPosition<'_> {
    /// Where that is, as far as it can be told without a look into the log.
    pub(crate) fn check(
        &self,
        call: &Call<'_>,
        stream: &Stream,
        partition: &Partition,
    ) -> Result<Start, KinesisError> {
        match (self.kind, self.number) {
            ("TRIM_HORIZON", None) => Ok(Start::Search(StartAt::Earliest)),
            ("LATEST", None) => Ok(Start::Search(StartAt::Latest)),
            ("AT_TIMESTAMP", None) => Ok(Start::Search(StartAt::AtTime(self.timestamp(call)?))),
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
                 StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no \
                 StartingSequenceNumber. Request specified {kind} and {} StartingSequenceNumber.",
                if number.is_some() { "also a" } else { "no" }
            ))),
        }
    }

    /// AT_TIMESTAMP's time, which must not be in the future.
    fn timestamp(&self, call: &Call<'_>) -> Result<Timestamp, KinesisError> {
        let time = self.time.ok_or_else(|| {
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
}

impl Start {
    /// The offset of the first record that is wanted.
    pub(crate) async fn find(
        self,
        call: &Call<'_>,
        stream: &Stream,
        partition: &Partition,
    ) -> Result<Offset, KinesisError> {
        match self {
            Start::Offset(offset) => Ok(offset),
            Start::Search(at) => search(call, stream, partition, at).await,
        }
    }
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
