//! What the three operations that change a stream's shards share: the shards that they name, the
//! call of the core, and AWS's words for what it refuses.
//!
//! The texts about hash keys, adjacent shards, unknown shards and the account's limit were recorded
//! from AWS, those about closed shards, on-demand streams and double or half the shards were seen
//! in reports of it. The rest is ours, and says so.

use weir_core::error::ReshardError;
use weir_core::routing::reshard::Reshard;
use weir_core::stream::change_over::Resharded;
use weir_core::stream::stream::Stream;

use crate::action::Call;
use crate::errors::KinesisError;
use crate::shard::ShardId;
use crate::stream_reference::stream_name;

/// What a request asked for, for the texts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    Split { shard: ShardId, key: &'a str },
    Merge { shard: ShardId, adjacent: ShardId },
    Scale { target: i64 },
}

/// The shard that a member names. It need not exist.
pub(crate) fn named_shard(call: &Call<'_>, member: &str) -> Result<ShardId, KinesisError> {
    let text = call.input.text(member).unwrap_or_default();
    let name = stream_name(&call.input)?;
    ShardId::parse(text).map_err(|_| KinesisError::could_not_find_shard(text, name, call.account()))
}

/// Has the core change a stream's shards.
pub(crate) async fn reshard(
    call: &Call<'_>,
    stream: &Stream,
    wanted: Reshard,
    asked: Asked<'_>,
) -> Result<Resharded, KinesisError> {
    let resharded = call.broker().reshard(stream, wanted).await;
    resharded.map_err(|error| refusal(&error, call, stream, asked))
}

fn refusal(
    error: &ReshardError,
    call: &Call<'_>,
    stream: &Stream,
    asked: Asked<'_>,
) -> KinesisError {
    let (name, account) = (stream.name.as_str(), call.account());
    match error {
        ReshardError::Unknown | ReshardError::Internal => {
            KinesisError::stream_not_found(name, account)
        }
        ReshardError::NotActive(state) => KinesisError::not_active(name, account, *state),
        ReshardError::OnDemand => KinesisError::validation(format!(
            "Request is invalid. Stream {name} under account {account} is in On-Demand mode."
        )),
        // AWS has no such streams, so the sentence is ours.
        ReshardError::RoutedByPartition => KinesisError::invalid_argument(format!(
            "Stream {name} was made through the Kafka API: its clients choose partitions, \
             so its shards cannot be split, merged or scaled."
        )),
        ReshardError::UnknownPartition { partition } => {
            let shard = ShardId(*partition).to_string();
            KinesisError::could_not_find_shard(&shard, name, account)
        }
        ReshardError::Closed { partition } => {
            let shard = ShardId(*partition);
            KinesisError::invalid_argument(format!(
                "Shard {shard} in stream {name} under account {account} has already been merged \
                 or split, and thus is not eligible for merging or splitting."
            ))
        }
        ReshardError::SplitKey { .. }
        | ReshardError::NotAdjacent
        | ReshardError::AboveDouble { .. }
        | ReshardError::BelowHalf { .. } => shape_refusal(error, name, account, asked),
        // Ours: AWS's sentence is not known.
        ReshardError::TooManyScalings { max } => KinesisError::limit_exceeded(format!(
            "UpdateShardCount can be used at most {max} times in 24 hours. \
             Stream {name} under account {account}."
        )),
        ReshardError::PartitionCount { max } => {
            let (open, target) = (open_shards(stream), target_of(asked, stream));
            KinesisError::limit_exceeded(format!(
                "Target shard count or number of open shards cannot be greater than {max}. \
                 Current open shard count: {open}, Target shard count: {target}"
            ))
        }
        // Ours: AWS forgets closed shards when their records have expired.
        ReshardError::LineageFull { max } => KinesisError::limit_exceeded(format!(
            "Stream {name} under account {account} has had more than {max} shards."
        )),
        // Ours as well: closed shards cost AWS's account nothing.
        ReshardError::LineagesFull { max } => KinesisError::limit_exceeded(format!(
            "The streams under account {account} may not have more than {max} shards, closed ones \
             included."
        )),
        ReshardError::PartitionLimit { used, asked, max } => {
            KinesisError::shard_limit_exceeded(*used, *asked, *max, account, call.region)
        }
        ReshardError::Storage(_) | ReshardError::Meta(_) => KinesisError::internal_failure(error),
    }
}

/// What does not fit the shards as they are.
fn shape_refusal(
    error: &ReshardError,
    name: &str,
    account: &str,
    asked: Asked<'_>,
) -> KinesisError {
    match (error, asked) {
        (ReshardError::SplitKey { range }, Asked::Split { shard, key }) => {
            let (start, end) = (range.start(), range.end());
            KinesisError::invalid_argument(format!(
                "NewStartingHashKey {key} used in SplitShard() on shard {shard} in stream {name} \
                 under account {account} is not both greater than one plus the shard's \
                 StartingHashKey {start} and less than the shard's EndingHashKey {end}."
            ))
        }
        (ReshardError::NotAdjacent, Asked::Merge { shard, adjacent }) => {
            KinesisError::invalid_argument(format!(
                "Shards {shard} and {adjacent} in stream {name} under account {account} \
                 are not an adjacent pair of shards eligible for merging"
            ))
        }
        (ReshardError::AboveDouble { open }, Asked::Scale { target }) => {
            KinesisError::limit_exceeded(format!(
                "UpdateShardCount cannot scale up over double your current open shard count. \
                 Current open shard count: {open}, Target shard count: {target}"
            ))
        }
        (ReshardError::BelowHalf { open }, Asked::Scale { target }) => {
            KinesisError::limit_exceeded(format!(
                "UpdateShardCount cannot scale down below half your current open shard count. \
                 Current open shard count: {open}, Target shard count: {target}"
            ))
        }
        // The core answers a question that was not asked: our mistake.
        _ => KinesisError::internal_failure(error),
    }
}

fn open_shards(stream: &Stream) -> usize {
    stream.partitions().iter().filter(|partition| partition.is_open()).count()
}

fn target_of(asked: Asked<'_>, stream: &Stream) -> i64 {
    match asked {
        Asked::Scale { target } => target,
        Asked::Split { .. } | Asked::Merge { .. } => {
            i64::try_from(open_shards(stream) + 1).unwrap_or(i64::MAX)
        }
    }
}
