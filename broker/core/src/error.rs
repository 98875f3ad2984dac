//! Everything that can go wrong in the core, by what the caller asked for. Small enums, nothing to
//! match text on, no protocol's codes: each dialect maps them, exhaustively, in its `errors.rs`.

use std::time::Duration;

use weir_model::batch::BatchError;
use weir_model::hash_key::HashKeyRange;
use weir_model::ids::{PartitionIndex, StreamName};
use weir_model::offset::Offset;
use weir_storage::error::{MetaError, SubmitError};
use weir_storage::producer_state::ProducerError;

use crate::quota::entity::{EntityType, QuotaKey};
use crate::stream::state::State;

/// Why a setting is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No setting has this name.
    Unknown {
        /// The name.
        name: String,
    },
    /// The value does not fit the setting.
    Invalid {
        /// The setting.
        name: String,
        /// The value.
        value: String,
        /// What would fit.
        why: String,
    },
    /// Values that are legal by themselves do not fit each other, or this broker.
    Conflict {
        /// Which, in Kafka's words where Kafka refuses them too.
        why: String,
    },
}

/// What can be done to a list and to nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOperation {
    /// Adding words.
    Append,
    /// Taking words away.
    Subtract,
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterConfigError {
    /// There is no stream of that name.
    UnknownStream,
    /// The stream holds the broker's own state.
    Internal,
    /// Words can be added to lists only, and taken from them.
    NotAList {
        /// The setting.
        name: String,
        /// What was asked.
        operation: ListOperation,
    },
    /// The settings are read at start only.
    ReadAtStart {
        /// Their names.
        names: Vec<&'static str>,
    },
    /// So many groups and subscriptions have settings that no more may, or the name is too long.
    TooMany {
        /// How many may.
        max: usize,
    },
    /// A setting is refused.
    Config(ConfigError),
    /// The metadata could not be committed.
    Meta(MetaError),
}

/// Why one stream was not changed; what its change may be refused for differs with the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AmendError<R> {
    /// The stream does not live, or holds the broker's own state.
    Unknown,
    /// The stream is in a state in which it is not changed.
    NotActive(State),
    /// The change makes no sense for this stream.
    Refused(R),
    /// The metadata could not be committed.
    Meta(MetaError),
}

/// Why a stream's retention stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionRefusal {
    /// Below the fewest hours.
    TooShort,
    /// Above the most hours.
    TooLong,
    /// To be increased to less than it is.
    ShorterThanNow {
        /// What it is.
        now_hours: u64,
    },
    /// To be decreased to more than it is.
    LongerThanNow {
        /// What it is.
        now_hours: u64,
    },
}

/// The stream has no such consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownConsumer;

impl From<UnknownConsumer> for TagRefusal {
    fn from(_: UnknownConsumer) -> TagRefusal {
        TagRefusal::UnknownConsumer
    }
}

impl From<UnknownConsumer> for PolicyRefusal {
    fn from(_: UnknownConsumer) -> PolicyRefusal {
        PolicyRefusal::UnknownConsumer
    }
}

/// Why a consumer is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationRefusal {
    /// As many are being registered as may be.
    TooManyCreating {
        /// How many may be.
        max: usize,
    },
    /// The stream has a consumer of that name.
    AlreadyExists,
    /// The stream has as many as it may.
    TooMany {
        /// The most.
        max: usize,
    },
}

/// Why tags are not put on a resource, or taken off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagRefusal {
    /// A key or a value has characters that tags do not have.
    IllegalCharacters,
    /// A key begins with what AWS keeps for itself.
    ReservedKey,
    /// The resource would have more than it may.
    TooMany,
    /// They are a consumer's, and it is gone.
    UnknownConsumer,
}

/// Why a policy is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyRefusal {
    /// It is no JSON.
    NotJson,
    /// It says nothing.
    NoStatement,
    /// It is too long.
    TooLong {
        /// The most, in bytes.
        bytes_max: usize,
    },
    /// It is a consumer's, and that is gone.
    UnknownConsumer,
}

/// Why a stream's encryption stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionRefusal {
    /// It was changed as often as it may be within a day.
    TooOften {
        /// How often that is.
        per_day_max: usize,
    },
}

/// Why a stream's records are spread as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistributionRefusal {
    /// Its owner scales it, and only streams that the broker scales may be written evenly.
    Provisioned,
}

/// Why a stream's warm throughput stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmThroughputRefusal {
    /// Its owner scales it, and there is none of streams but those that the broker scales.
    Provisioned,
    /// The account has not committed itself to a minimum throughput.
    NeedsCommitment,
    /// Above the limit.
    TooMuch {
        /// The most, in MiB/s.
        max: u64,
    },
}

/// Why a stream's mode stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeRefusal {
    /// It was switched as often as it may be within a day.
    TooOften {
        /// How often that is.
        per_day_max: usize,
    },
    /// The warm throughput that was asked for with it is refused.
    WarmThroughput(WarmThroughputRefusal),
}

/// Why a stream did not get more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrowStreamError {
    /// There is no stream of that name.
    Unknown,
    /// The stream holds the broker's own state.
    Internal,
    /// Its shards split and merge instead.
    RoutedByHash,
    /// It has as many already.
    NotMore {
        /// How many it has.
        now: u32,
    },
    /// Above the limit of one stream.
    PartitionCount {
        /// Most partitions of a stream.
        max: u32,
    },
    /// The broker would have more partitions than it may.
    PartitionLimit {
        /// Partitions that there are.
        used: u64,
        /// Partitions that were asked for beyond those that the stream has.
        asked: u32,
        /// Most partitions of the broker.
        max: u32,
    },
    /// The client makes and deletes more partitions than its quota allows.
    OverQuota,
    /// The metadata could not be committed.
    Meta(MetaError),
}

/// Why a stream's partitions were not split, merged or scaled. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReshardError {
    /// The stream is gone.
    Unknown,
    /// The stream is in a state in which it is not changed.
    NotActive(State),
    /// The stream holds the broker's own state.
    Internal,
    /// Kafka's clients choose the stream's partitions, so none of them may close.
    RoutedByPartition,
    /// The broker scales the stream by what is written to it.
    OnDemand,
    /// The stream never had this partition.
    UnknownPartition {
        /// The one that was named.
        partition: PartitionIndex,
    },
    /// It was split or merged already.
    Closed {
        /// The one that was named.
        partition: PartitionIndex,
    },
    /// The key does not leave two keys for each of the two.
    SplitKey {
        /// The range to be split.
        range: HashKeyRange,
    },
    /// The ranges do not lie next to each other.
    NotAdjacent,
    /// More than double the open partitions.
    AboveDouble {
        /// How many are open.
        open: usize,
    },
    /// Less than half the open partitions.
    BelowHalf {
        /// How many are open.
        open: usize,
    },
    /// The stream was scaled that often within a day.
    TooManyScalings {
        /// How often it may be.
        max: usize,
    },
    /// None, or above the limit of one stream.
    PartitionCount {
        /// Most open partitions of a stream.
        max: u32,
    },
    /// The stream has had so many partitions that no more can be listed.
    LineageFull {
        /// Most partitions of a stream, closed ones included.
        max: usize,
    },
    /// The broker would have more partitions than it may.
    PartitionLimit {
        /// Partitions that there are.
        used: u64,
        /// Partitions that there would be beyond those.
        asked: u32,
        /// Most partitions of the broker.
        max: u32,
    },
    /// The broker's streams have had so many partitions that no more can be kept.
    LineagesFull {
        /// Most partitions of all streams together, closed ones included.
        max: u64,
    },
    /// A parent's records could not be made to last.
    Storage(SubmitError),
    /// The metadata could not be committed. After [`MetaError::Failed`] the next start tells
    /// whether the change was kept.
    Meta(MetaError),
}

/// Why a stream was not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateStreamError {
    /// The account has as many on-demand streams as it may.
    OnDemandLimit {
        /// How many it may have.
        max: usize,
    },
    /// As many streams are being made as may be.
    CreatingLimit {
        /// How many may be.
        max: usize,
    },
    /// A stream of that name lives.
    AlreadyExists,
    /// A stream lives whose name differs in `.` and `_` only; Kafka's metrics confuse the two.
    NameCollision {
        /// The living one.
        other: StreamName,
    },
    /// Zero partitions, or above the limit.
    PartitionCount {
        /// Most partitions of a stream.
        max: u32,
    },
    /// The broker would have more partitions than it may.
    PartitionLimit {
        /// Partitions that there are.
        used: u64,
        /// Partitions that were asked for.
        asked: u32,
        /// Most partitions of the broker.
        max: u32,
    },
    /// The name is kept for the broker's own state.
    Internal,
    /// A setting is refused.
    Config(ConfigError),
    /// The client has made and deleted too many partitions lately.
    OverQuota,
    /// The metadata could not be committed.
    Meta(MetaError),
}

/// Why a stream was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteStreamError {
    /// It is on its way out already.
    AlreadyDeleting,
    /// It does not live, or is being deleted already.
    Unknown,
    /// It holds the broker's own state.
    Internal,
    /// It has registered consumers, and was to go without them only.
    HasConsumers,
    /// The client has made and deleted too many partitions lately.
    OverQuota,
    /// The metadata could not be committed; the deletion is resumed at the next start if it began.
    Meta(MetaError),
}

/// Why records were not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteRecordsError {
    /// The stream is gone.
    UnknownPartition,
    /// The stream holds the broker's own state.
    Internal,
    /// The stream keeps the newest record of each key, and gives up no other.
    CompactedOnly,
    /// The offset is above what readers see.
    OutOfRange {
        /// The highest offset that would do.
        high_watermark: Offset,
    },
    /// The new log start could not be made to last.
    Storage(ReadError),
}

/// Why a record or batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The stream is gone, or has no such partition.
    UnknownPartition,
    /// The stream holds the broker's own state, which no client writes.
    Internal,
    /// The partition was closed by a split or merge and takes no more records.
    Closed {
        /// The partitions that do, at most the first hundred.
        open: Vec<PartitionIndex>,
    },
    /// The stream's partitions are being split or merged, and that takes long; nothing was
    /// written. Retry.
    Resharding,
    /// Larger than the stream's `max.message.bytes`.
    BatchTooLarge {
        /// Size of the batch.
        size_bytes: usize,
        /// The stream's limit.
        limit_bytes: usize,
    },
    /// Dated further from now than the stream allows.
    InvalidTimestamp,
    /// Records without a key, on a stream that keeps the newest record of each key.
    KeyMissing {
        /// Their places in the batch, counted from 0; at most the first thousand.
        records: Vec<u32>,
        /// How many there are.
        record_count: usize,
    },
    /// The records were looked at, and are not what the batch says.
    BadRecords(BatchError),
    /// An earlier batch of the producer has not arrived; the client retries.
    SequenceGap,
    /// A newer instance of the producer has taken over.
    StaleProducerEpoch,
    /// The shard's quota is used up; nothing was written.
    OverQuota {
        /// The shard.
        partition: PartitionIndex,
    },
    /// The disk has no room; retry later.
    DiskFull,
    /// The partition is damaged or its storage failed; it takes no writes.
    Stopped,
    /// The flush that would have covered the batch failed: it may or may not have been kept.
    FlushFailed,
    /// The log ends elsewhere than the caller expected (compare and append).
    EndMoved {
        /// Where it ends.
        end: Offset,
    },
    /// The partition has given out its last offset.
    OffsetsExhausted,
    /// The broker is stopping.
    ShuttingDown,
}

impl From<SubmitError> for AppendError {
    fn from(error: SubmitError) -> AppendError {
        match error {
            SubmitError::UnknownPartition => AppendError::UnknownPartition,
            SubmitError::Producer(ProducerError::SequenceGap { .. }) => AppendError::SequenceGap,
            SubmitError::Producer(ProducerError::StaleEpoch { .. }) => {
                AppendError::StaleProducerEpoch
            }
            SubmitError::EndMoved { end } => AppendError::EndMoved { end },
            // Whoever can look at the stream says more: see `partition::append`.
            SubmitError::Sealed => AppendError::Resharding,
            SubmitError::DiskFull => AppendError::DiskFull,
            SubmitError::Stopped => AppendError::Stopped,
            // A set fails whole only where its cause is another append; the core writes one batch
            // per set, so there is no other to name.
            SubmitError::FlushFailed | SubmitError::SetAborted => AppendError::FlushFailed,
            SubmitError::OffsetsExhausted => AppendError::OffsetsExhausted,
            SubmitError::ShuttingDown => AppendError::ShuttingDown,
        }
    }
}

/// Why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The stream is gone, or has no such partition.
    UnknownPartition,
    /// The offset is below the log start or above the log end.
    OutOfRange {
        /// First offset that can be read.
        log_start: Offset,
        /// One past the last offset.
        log_end: Offset,
    },
    /// The caller's log epoch is older than the broker's: its view of the partition is out of date.
    FencedEpoch,
    /// The caller's log epoch is one that the broker has not reached.
    UnknownEpoch,
    /// The shard's read quota is used up.
    OverQuota {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The bytes are damaged.
    Corrupt {
        /// First offset that cannot be served.
        at: Offset,
    },
    /// The operating system refused the read.
    Io(String),
}

impl From<weir_storage::error::ReadError> for ReadError {
    fn from(error: weir_storage::error::ReadError) -> ReadError {
        use weir_storage::error::ReadError as Storage;
        match error {
            Storage::UnknownPartition => ReadError::UnknownPartition,
            Storage::OutOfRange { log_start, log_end } => {
                ReadError::OutOfRange { log_start, log_end }
            }
            Storage::Corrupt { at } => ReadError::Corrupt { at },
            Storage::Io(why) => ReadError::Io(why),
        }
    }
}

/// Why a client quota was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaError {
    /// It is for nobody.
    EmptyEntity,
    /// A part of its entity has the empty name.
    EmptyName(EntityType),
    /// A part of its entity has a name longer than the broker keeps.
    LongName(EntityType),
    /// An address stands beside a user or a client id.
    IpCombined,
    /// An address that is not one.
    InvalidIp(String),
    /// No such quota, or none that the entity can have.
    UnknownKey(String),
    /// The value is none, or nothing.
    NotPositive(QuotaKey),
    /// The value is above what fits, by Kafka's name of that.
    TooLarge {
        /// The quota.
        key: QuotaKey,
        /// What it does not fit.
        kind: &'static str,
    },
    /// The quota counts whole things.
    Fractional(QuotaKey),
    /// The broker has so many entities with quotas and takes no more.
    TooManyEntities {
        /// The most that it takes.
        max: usize,
    },
    /// The metadata could not be written.
    Meta(MetaError),
}
