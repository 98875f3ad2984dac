//! The one place where the core's errors become Kafka's codes and texts.
//!
//! Every `match` is exhaustive and has no `_` arm, so a new variant in the core does not compile
//! until it is decided here what a client is told. Whether a client tries again by itself follows
//! from the code (`ErrorCode::is_retriable`), so a code says first of all what the client can do.

use weir_core::MetaError;
use weir_core::error::{
    AppendError, ConfigError, CreateStreamError, DeleteRecordsError, DeleteStreamError,
    GrowStreamError, QuotaError, ReadError,
};
use weir_core::group::error::{CommitError, DeleteOffsetError, GroupError};
use weir_core::group::modern::heartbeat::{HeartbeatRefused, InvalidRegex, NoUpgrade};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use weir_model::batch::BatchError;
use weir_model::ids::{InvalidStreamName, STREAM_NAME_LENGTH_MAX};

use crate::client_text::ClientText;

/// A code and, where there is more to say, a sentence for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
}

impl Refusal {
    /// A code that says it all.
    pub(crate) fn of(code: ErrorCode) -> Refusal {
        Refusal { code, message: None }
    }

    /// A code with a sentence.
    pub(crate) fn because(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: Some(message.into()) }
    }
}

/// A batch that was not appended.
pub(crate) fn append_refusal(error: &AppendError) -> Refusal {
    match error {
        AppendError::UnknownPartition => Refusal::of(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        AppendError::Internal => Refusal::because(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            "the topic holds the broker's own state",
        ),
        AppendError::Closed { open } => {
            let open: Vec<String> = open.iter().map(ToString::to_string).collect();
            let open = open.join(", ");
            let text = format!("partition is closed by a reshard, partitions {open} are open");
            Refusal::because(ErrorCode::INVALID_RECORD, text)
        }
        // Its client fetches metadata and tries again.
        AppendError::Resharding => Refusal::because(
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            "partition is being split or merged",
        ),
        AppendError::BatchTooLarge { size_bytes, limit_bytes } => Refusal::because(
            ErrorCode::MESSAGE_TOO_LARGE,
            format!("batch of {size_bytes} bytes exceeds max.message.bytes of {limit_bytes}"),
        ),
        AppendError::InvalidTimestamp => Refusal::because(
            ErrorCode::INVALID_TIMESTAMP,
            "One or more records have been rejected due to invalid timestamp",
        ),
        // The text that names the records is made in `api::produce`, which knows the topic.
        AppendError::KeyMissing { .. } => Refusal::of(ErrorCode::INVALID_RECORD),
        AppendError::BadRecords(error) => batch_refusal(error),
        // KIP-360: a client may bump its epoch on this code, so a plain duplicate must never get
        // it; duplicates are answered as success with the first offset.
        AppendError::SequenceGap => Refusal::of(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        AppendError::StaleProducerEpoch => Refusal::of(ErrorCode::INVALID_PRODUCER_EPOCH),
        // Not THROTTLING_QUOTA_EXCEEDED, which librdkafka does not retry for Produce.
        AppendError::OverQuota { partition } => Refusal::because(
            ErrorCode::REQUEST_TIMED_OUT,
            format!("write quota of partition {partition} is used up"),
        ),
        AppendError::DiskFull => {
            Refusal::because(ErrorCode::KAFKA_STORAGE_ERROR, "the disk is full")
        }
        AppendError::Stopped => Refusal::because(
            ErrorCode::KAFKA_STORAGE_ERROR,
            "the partition is damaged or its storage failed, it takes no writes until a restart",
        ),
        AppendError::FlushFailed => {
            Refusal::because(ErrorCode::KAFKA_STORAGE_ERROR, "the flush of the batch failed")
        }
        AppendError::EndMoved { .. } => Refusal::of(ErrorCode::UNKNOWN_SERVER_ERROR),
        // Not a retriable code: no later attempt can succeed.
        AppendError::OffsetsExhausted => Refusal::because(
            ErrorCode::INVALID_RECORD,
            "the partition has given out its last offset",
        ),
        // Makes clients look for another broker and come back, as a stopping Kafka does.
        AppendError::ShuttingDown => Refusal::of(ErrorCode::NOT_LEADER_OR_FOLLOWER),
    }
}

/// A batch that is not one, or not one that a producer may send.
pub(crate) fn batch_refusal(error: &BatchError) -> Refusal {
    let code = match error {
        // CORRUPT_MESSAGE makes producers send the same bytes again, which helps if a wire flipped
        // a bit. What Kafka 4.2 calls corrupt and what invalid was tried with these bytes.
        BatchError::CrcMismatch { .. } | BatchError::LengthOutOfRange(_) => {
            ErrorCode::CORRUPT_MESSAGE
        }
        BatchError::UnsupportedMagic(0 | 1) => ErrorCode::INVALID_RECORD,
        BatchError::UnsupportedMagic(_) => ErrorCode::CORRUPT_MESSAGE,
        BatchError::TimestampTypeFromProducer => ErrorCode::INVALID_TIMESTAMP,
        BatchError::Incomplete { .. }
        | BatchError::TrailingBytes { .. }
        | BatchError::UnknownCodec(_)
        | BatchError::CountsDisagree { .. }
        | BatchError::CountExceedsBytes(_)
        | BatchError::ControlFromProducer
        | BatchError::InvalidProducer
        | BatchError::Compression(_)
        | BatchError::MalformedRecord { .. }
        | BatchError::BytesAfterRecords { .. } => ErrorCode::INVALID_RECORD,
    };
    Refusal::because(code, error.to_string())
}

/// Whether a refusal blames the bytes of a batch, and so the producer that made them.
pub(crate) fn blames_the_batch(code: ErrorCode) -> bool {
    [
        ErrorCode::CORRUPT_MESSAGE,
        ErrorCode::INVALID_RECORD,
        ErrorCode::INVALID_TIMESTAMP,
        ErrorCode::INVALID_TXN_STATE,
        ErrorCode::MESSAGE_TOO_LARGE,
        ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
    ]
    .contains(&code)
}

/// A fetch or an offset look-up that has no answer.
pub(crate) fn read_code(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        ReadError::FencedEpoch => ErrorCode::FENCED_LEADER_EPOCH,
        ReadError::UnknownEpoch => ErrorCode::UNKNOWN_LEADER_EPOCH,
        ReadError::OverQuota { .. } => ErrorCode::THROTTLING_QUOTA_EXCEEDED,
        // Not CORRUPT_MESSAGE, which makes a consumer ask for the same bytes without end and pause.
        ReadError::Corrupt { .. } | ReadError::Io(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// A topic that was not created.
pub(crate) fn create_refusal(topic: &str, error: &CreateStreamError) -> Refusal {
    match error {
        CreateStreamError::AlreadyExists => Refusal::because(
            ErrorCode::TOPIC_ALREADY_EXISTS,
            format!("Topic '{}' already exists.", ClientText(topic)),
        ),
        CreateStreamError::NameCollision { other } => Refusal::because(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!("Topic '{}' collides with existing topic: {other}", ClientText(topic)),
        ),
        CreateStreamError::PartitionCount { max } => Refusal::because(
            ErrorCode::INVALID_PARTITIONS,
            format!("Number of partitions must be larger than 0 and at most {max}."),
        ),
        CreateStreamError::PartitionLimit { used, asked, max } => Refusal::because(
            ErrorCode::POLICY_VIOLATION,
            format!("The broker has {used} partitions of at most {max}, {asked} more do not fit."),
        ),
        CreateStreamError::Internal => Refusal::because(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!("Topic '{topic}' holds the broker's own state."),
        ),
        CreateStreamError::Config(error) => config_refusal(error),
        // Not from here: an account's limits are for its Kinesis streams.
        CreateStreamError::OnDemandLimit { .. } | CreateStreamError::CreatingLimit { .. } => {
            Refusal::of(ErrorCode::UNKNOWN_SERVER_ERROR)
        }
        CreateStreamError::OverQuota => Refusal::of(ErrorCode::THROTTLING_QUOTA_EXCEEDED),
        CreateStreamError::Meta(error) => meta_refusal(error),
    }
}

/// A setting that is refused.
pub(crate) fn config_refusal(error: &ConfigError) -> Refusal {
    let text = match error {
        ConfigError::Unknown { name } => format!("Unknown topic config name: {}", ClientText(name)),
        ConfigError::Invalid { name, value, why } => {
            format!("Invalid value {} for configuration {name}: {why}", ClientText(value))
        }
        ConfigError::Conflict { why } => why.clone(),
    };
    Refusal::because(ErrorCode::INVALID_CONFIG, text)
}

/// A topic that did not get more partitions.
pub(crate) fn grow_refusal(topic: &str, error: &GrowStreamError) -> Refusal {
    let shown = ClientText(topic);
    match error {
        GrowStreamError::Unknown => Refusal::of(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        GrowStreamError::Internal => Refusal::because(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!("Topic '{shown}' holds the broker's own state."),
        ),
        GrowStreamError::RoutedByHash => Refusal::because(
            ErrorCode::INVALID_PARTITIONS,
            format!(
                "The stream {shown} was made by Kinesis: its shards are split and merged, or \
                 counted anew by UpdateShardCount."
            ),
        ),
        GrowStreamError::NotMore { now } => Refusal::because(
            ErrorCode::INVALID_PARTITIONS,
            format!("Topic already has {now} partition(s)."),
        ),
        GrowStreamError::PartitionCount { max } => Refusal::because(
            ErrorCode::INVALID_PARTITIONS,
            format!("A topic has at most {max} partitions."),
        ),
        GrowStreamError::PartitionLimit { used, asked, max } => Refusal::because(
            ErrorCode::POLICY_VIOLATION,
            format!("The broker has {used} partitions of at most {max}, {asked} more do not fit."),
        ),
        GrowStreamError::OverQuota => Refusal::of(ErrorCode::THROTTLING_QUOTA_EXCEEDED),
        GrowStreamError::Meta(error) => meta_refusal(error),
    }
}

/// A topic that was not deleted; `unknown` is the code for one that is not there, which depends on
/// whether it was named or given by id.
pub(crate) fn delete_refusal(error: &DeleteStreamError, unknown: ErrorCode) -> Refusal {
    match error {
        DeleteStreamError::Unknown => Refusal::of(unknown),
        DeleteStreamError::Internal => Refusal::because(
            ErrorCode::TOPIC_DELETION_DISABLED,
            "the topic holds the broker's own state",
        ),
        // Not from here: a deletion by Kafka is made at once, and takes consumers with it.
        DeleteStreamError::HasConsumers | DeleteStreamError::AlreadyDeleting => {
            Refusal::of(ErrorCode::UNKNOWN_SERVER_ERROR)
        }
        DeleteStreamError::OverQuota => Refusal::of(ErrorCode::THROTTLING_QUOTA_EXCEEDED),
        DeleteStreamError::Meta(error) => meta_refusal(error),
    }
}

/// Records that were not deleted.
pub(crate) fn delete_records_code(error: &DeleteRecordsError) -> ErrorCode {
    match error {
        DeleteRecordsError::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        DeleteRecordsError::Internal => ErrorCode::INVALID_TOPIC_EXCEPTION,
        DeleteRecordsError::CompactedOnly => ErrorCode::POLICY_VIOLATION,
        DeleteRecordsError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        DeleteRecordsError::Storage(error) => read_code(error),
    }
}

/// A metadata commit that failed.
pub(crate) fn meta_refusal(error: &MetaError) -> Refusal {
    match error {
        // Somebody else changed the same thing at the same time; another try sees their change.
        MetaError::Conflict => Refusal::of(ErrorCode::REQUEST_TIMED_OUT),
        MetaError::DiskFull => Refusal::because(ErrorCode::KAFKA_STORAGE_ERROR, "the disk is full"),
        MetaError::Failed(why) => Refusal::because(ErrorCode::KAFKA_STORAGE_ERROR, why.clone()),
    }
}

/// A client quota that was not changed.
pub(crate) fn quota_refusal(error: &QuotaError) -> Refusal {
    let text = match error {
        QuotaError::EmptyEntity => "Invalid empty client quota entity".to_owned(),
        QuotaError::EmptyName(part) => format!("Empty {} not supported", part.name()),
        QuotaError::LongName(part) => format!("Name of {} is too long", part.name()),
        QuotaError::IpCombined => "Invalid quota entity combination, IP entity shouldnot be \
                                   combined with User or ClientId"
            .to_owned(),
        QuotaError::InvalidIp(name) => {
            format!("{} is not a valid IP or resolvable host.", ClientText(name))
        }
        QuotaError::UnknownKey(name) => format!("Invalid configuration key {}", ClientText(name)),
        QuotaError::NotPositive(key) => format!("Quota {} must be greater than 0", key.name()),
        QuotaError::TooLarge { key, kind } => {
            format!("Proposed value for {} is too large for {kind}.", key.name())
        }
        QuotaError::Fractional(key) => format!("{} cannot be a fractional value.", key.name()),
        QuotaError::TooManyEntities { max } => {
            let text = format!("The broker keeps quotas of at most {max} entities.");
            return Refusal::because(ErrorCode::POLICY_VIOLATION, text);
        }
        QuotaError::Meta(error) => return meta_refusal(error),
    };
    Refusal::because(ErrorCode::INVALID_REQUEST, text)
}

/// A request about a group that was refused. What the client does next follows from the code:
/// members join again, with or without their id, or stop.
pub(crate) fn group_code(error: GroupError) -> ErrorCode {
    match error {
        GroupError::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        GroupError::InvalidSessionTimeout => ErrorCode::INVALID_SESSION_TIMEOUT,
        GroupError::InconsistentProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        GroupError::UnknownMember => ErrorCode::UNKNOWN_MEMBER_ID,
        GroupError::FencedInstance => ErrorCode::FENCED_INSTANCE_ID,
        GroupError::IllegalGeneration => ErrorCode::ILLEGAL_GENERATION,
        GroupError::StaleMemberEpoch => ErrorCode::STALE_MEMBER_EPOCH,
        GroupError::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        GroupError::MemberIdRequired => ErrorCode::MEMBER_ID_REQUIRED,
        GroupError::GroupFull => ErrorCode::GROUP_MAX_SIZE_REACHED,
        GroupError::GroupNotFound => ErrorCode::GROUP_ID_NOT_FOUND,
        GroupError::NonEmptyGroup => ErrorCode::NON_EMPTY_GROUP,
        // Both are limits of the broker's own, so no client waits for them to pass.
        GroupError::TooManyGroups => ErrorCode::POLICY_VIOLATION,
        GroupError::TooLarge => ErrorCode::MESSAGE_TOO_LARGE,
        // Makes clients look for the coordinator again, and so wait for it to come back.
        GroupError::NotAvailable | GroupError::ShuttingDown => ErrorCode::COORDINATOR_NOT_AVAILABLE,
    }
}

/// A heartbeat of the consumer protocol that was refused, in Kafka's words.
pub(crate) fn heartbeat_refusal(
    request: &ConsumerGroupHeartbeatRequest,
    refused: &HeartbeatRefused,
) -> Refusal {
    let group = ClientText(&request.group_id);
    let member = ClientText(&request.member_id);
    let instance = ClientText(request.instance_id.as_deref().unwrap_or_default());
    let (code, text) = match refused {
        HeartbeatRefused::Group(GroupError::GroupNotFound) => {
            let what = if request.member_epoch > 0 { "Consumer group" } else { "Group" };
            (ErrorCode::GROUP_ID_NOT_FOUND, format!("{what} {group} not found."))
        }
        HeartbeatRefused::Group(error) => return Refusal::of(group_code(*error)),
        HeartbeatRefused::OtherProtocol => {
            (ErrorCode::GROUP_ID_NOT_FOUND, format!("Group {group} is not a consumer group."))
        }
        HeartbeatRefused::NoUpgrade(reason) => {
            let why = no_upgrade_reason(*reason);
            let text = format!("Cannot upgrade classic group {group} to consumer group because");
            (ErrorCode::GROUP_ID_NOT_FOUND, format!("{text} {why}."))
        }
        HeartbeatRefused::UnknownMember => (
            ErrorCode::UNKNOWN_MEMBER_ID,
            format!("Member {member} is not a member of group {group}."),
        ),
        HeartbeatRefused::UnknownInstance => {
            (ErrorCode::UNKNOWN_MEMBER_ID, format!("Instance id {instance} is unknown."))
        }
        HeartbeatRefused::FencedEpoch { received, known } => {
            (ErrorCode::FENCED_MEMBER_EPOCH, fenced_epoch_text(*received, *known))
        }
        HeartbeatRefused::UnreleasedInstance(owner) => {
            let owner = ClientText(owner.as_str());
            (
                ErrorCode::UNRELEASED_INSTANCE_ID,
                format!(
                    "Static member {member} with instance id {instance} cannot join the group \
                     because the instance id is owned by {owner} member."
                ),
            )
        }
        HeartbeatRefused::FencedInstance(owner) => {
            let owner = ClientText(owner.as_str());
            (
                ErrorCode::FENCED_INSTANCE_ID,
                format!(
                    "Static member {member} with instance id {instance} was fenced by member \
                     {owner}."
                ),
            )
        }
        HeartbeatRefused::GroupFull { members_max } => (
            ErrorCode::GROUP_MAX_SIZE_REACHED,
            format!(
                "The consumer group has reached its maximum capacity of {members_max} members."
            ),
        ),
        HeartbeatRefused::InvalidRegex(InvalidRegex(why)) => {
            let regex = ClientText(request.subscribed_topic_regex.as_deref().unwrap_or_default());
            (
                ErrorCode::INVALID_REGULAR_EXPRESSION,
                format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}."),
            )
        }
    };
    Refusal::because(code, text)
}

fn fenced_epoch_text(received: i32, known: i32) -> String {
    let which = if received > known { "greater" } else { "smaller" };
    format!(
        "The consumer group member has a {which} member epoch ({received}) than the one known by \
         the group coordinator ({known}). The member must abandon all its partitions and rejoin."
    )
}

fn no_upgrade_reason(reason: NoUpgrade) -> &'static str {
    match reason {
        NoUpgrade::Disabled => "online upgrade is disabled",
        NoUpgrade::OtherType => "the group does not use the consumer embedded protocol",
        NoUpgrade::TooManyMembers => "the group size exceeds the consumer group maximum size",
        NoUpgrade::Malformed => "the embedded consumer protocol is malformed",
        NoUpgrade::CustomAssignor => {
            "an unsupported custom assignor is in use. Please refer to the documentation or \
             switch to a default assignor before re-attempting the upgrade"
        }
    }
}

/// An offset that was not committed.
pub(crate) fn commit_code(error: CommitError) -> ErrorCode {
    match error {
        CommitError::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        CommitError::MetadataTooLarge => ErrorCode::OFFSET_METADATA_TOO_LARGE,
    }
}

/// An offset that was not deleted.
pub(crate) fn delete_offset_code(error: DeleteOffsetError) -> ErrorCode {
    match error {
        DeleteOffsetError::Subscribed => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
    }
}

/// A name that no topic can have, in Kafka's words.
pub(crate) fn name_refusal(name: &str, error: InvalidStreamName) -> Refusal {
    let shown = ClientText(name);
    let why = match error {
        InvalidStreamName::Empty => "the empty string is not allowed".to_owned(),
        InvalidStreamName::Dots => format!("'{shown}' is not allowed"),
        InvalidStreamName::TooLong => format!(
            "the length of '{shown}' is longer than the max allowed length {STREAM_NAME_LENGTH_MAX}"
        ),
        InvalidStreamName::Character => format!(
            "'{shown}' contains one or more characters other than ASCII alphanumerics, \
             '.', '_' and '-'"
        ),
    };
    Refusal::because(ErrorCode::INVALID_TOPIC_EXCEPTION, format!("Topic name is invalid: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use weir_model::ids::PartitionIndex;
    use weir_model::offset::Offset;

    #[test]
    fn producers_retry_what_can_succeed_later_and_nothing_else() {
        for (error, retriable) in [
            (AppendError::UnknownPartition, true),
            (AppendError::Closed { open: vec![PartitionIndex::ZERO] }, false),
            (AppendError::Resharding, true),
            (AppendError::BatchTooLarge { size_bytes: 2, limit_bytes: 1 }, false),
            (AppendError::InvalidTimestamp, false),
            (AppendError::KeyMissing { records: vec![0], record_count: 1 }, false),
            (AppendError::BadRecords(BatchError::InvalidProducer), false),
            (AppendError::OverQuota { partition: PartitionIndex::ZERO }, true),
            (AppendError::Internal, false),
            (AppendError::DiskFull, true),
            (AppendError::Stopped, true),
            (AppendError::FlushFailed, true),
            (AppendError::OffsetsExhausted, false),
            (AppendError::ShuttingDown, true),
        ] {
            let code = append_refusal(&error).code;
            assert_eq!(code.is_retriable(), retriable, "{error:?}: {code}");
        }
    }

    #[test]
    fn consumers_reset_their_position_only_when_it_is_out_of_range() {
        let offset = Offset::ZERO;
        for (error, code) in [
            (
                ReadError::OutOfRange { log_start: offset, log_end: offset },
                ErrorCode::OFFSET_OUT_OF_RANGE,
            ),
            (ReadError::Corrupt { at: offset }, ErrorCode::KAFKA_STORAGE_ERROR),
            (ReadError::Io("eio".to_owned()), ErrorCode::KAFKA_STORAGE_ERROR),
            (ReadError::UnknownPartition, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (
                ReadError::OverQuota { retry_after: Duration::ZERO },
                ErrorCode::THROTTLING_QUOTA_EXCEEDED,
            ),
        ] {
            assert_eq!(read_code(&error), code);
        }
    }

    #[test]
    fn names_are_refused_in_kafkas_words_without_control_characters() {
        let refusal = name_refusal("a\nb", InvalidStreamName::Character);
        assert_eq!(refusal.code, ErrorCode::INVALID_TOPIC_EXCEPTION);
        let message = refusal.message.unwrap();
        assert!(
            message.starts_with("Topic name is invalid: 'a\\nb' contains one or more"),
            "{message}"
        );
    }
}
