//! Kafka's error codes as the errors of this crate, so that a program sees the same reasons
//! whatever it talks to.

use std::time::Duration;

use weir_kafka_protocol::ErrorCode;

use super::connection::WireError;
use crate::error::{Error, Reason, Refusal};

/// An error code as Kafka's documentation spells it.
pub(crate) fn name(code: i16) -> String {
    match ErrorCode(code).definition() {
        Some(definition) => definition.name.to_owned(),
        None => format!("error code {code}"),
    }
}

/// The refusal that a code means, in the broker's words where it has some.
pub(super) fn refused(code: i16, said: Option<String>) -> Error {
    let said = said.filter(|said| !said.is_empty());
    refusal(reason_of(ErrorCode(code)), said.unwrap_or_else(|| name(code)))
}

/// A refusal in words of our own: weir's, where weir has words for the same.
pub(super) fn refusal(reason: Reason, message: impl Into<String>) -> Error {
    Error::Refused(Refusal { reason, message: message.into(), retry_after: Duration::ZERO })
}

pub(super) fn unknown_stream(name: &str) -> Error {
    refusal(Reason::UnknownStream, format!("there is no stream {name}"))
}

pub(super) fn unknown_partition(index: u32) -> Error {
    refusal(Reason::UnknownPartition, format!("there is no partition {index}"))
}

/// What kind of refusal a code is.
pub(super) fn reason_of(code: ErrorCode) -> Reason {
    match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
            Reason::UnknownStream
        }
        ErrorCode::TOPIC_ALREADY_EXISTS => Reason::AlreadyExists,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Reason::RecordTooLarge,
        ErrorCode::OFFSET_OUT_OF_RANGE => Reason::OutOfRange,
        ErrorCode::THROTTLING_QUOTA_EXCEEDED => Reason::OverQuota,
        ErrorCode::KAFKA_STORAGE_ERROR => Reason::Storage,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => {
            Reason::SequenceGap
        }
        ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => Reason::StaleProducer,
        ErrorCode::NON_EMPTY_GROUP => Reason::GroupNotEmpty,
        ErrorCode::GROUP_ID_NOT_FOUND => Reason::UnknownGroup,
        ErrorCode::UNKNOWN_MEMBER_ID => Reason::UnknownMember,
        ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC => Reason::Subscribed,
        ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::INVALID_PARTITIONS
        | ErrorCode::INVALID_REPLICATION_FACTOR
        | ErrorCode::INVALID_CONFIG
        | ErrorCode::INVALID_REQUEST
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_GROUP_ID
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::POLICY_VIOLATION => Reason::Invalid,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => Reason::NotAllowed,
        // A broker that is not the leader any more, one that just starts, and their like.
        other if other.is_retriable() => Reason::Busy,
        _ => Reason::Unspecified,
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Error {
        match error {
            WireError::Io(_) | WireError::NoAnswer(_) => Error::Unreachable(error.to_string()),
            WireError::Protocol(what) | WireError::Unsendable(what) => Error::Protocol(what),
        }
    }
}
