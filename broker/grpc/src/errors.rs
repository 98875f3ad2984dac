//! The core's errors as gRPC has them: a status code, a sentence, and an `ErrorDetail` that
//! programs read (see `weir_proto::status_detail`).

pub(crate) mod change;

use std::time::Duration;

use bytes::Bytes;
use tonic::{Code, Status};
use weir_core::MetaError;
use weir_core::error::{AppendError, ConfigError, CreateStreamError, DeleteStreamError, ReadError};
use weir_core::group::error::{CommitError, DeleteOffsetError, GroupError};
use weir_core::group::modern::heartbeat::{HeartbeatRefused, InvalidRegex, NoUpgrade};
use weir_model::batch::BatchError;
use weir_proto::status_detail;
use weir_proto::v1::ErrorDetail;
use weir_proto::v1::error_detail::Reason;

/// A refusal, before it is known whether it is of a whole call or of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    reason: Reason,
    message: String,
    retry_after: Duration,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal { reason, message: message.into(), retry_after: Duration::ZERO }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(Reason::Invalid, message)
    }

    pub(crate) fn unknown_stream(name: &str) -> Refusal {
        Refusal::new(Reason::UnknownStream, format!("there is no stream {name}"))
    }

    pub(crate) fn stopping() -> Refusal {
        Refusal::new(Reason::ShuttingDown, "the broker is stopping")
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// As the answer for one record.
    pub(crate) fn detail(&self) -> ErrorDetail {
        ErrorDetail {
            reason: self.reason.into(),
            message: self.message.clone(),
            retry_after_ms: u64::try_from(self.retry_after.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let code = code_of(refusal.reason);
        let status = status_detail::encode(code.into(), &refusal.detail());
        Status::with_details(code, refusal.message, Bytes::from(status))
    }
}

fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::Invalid | Reason::RecordTooLarge => Code::InvalidArgument,
        Reason::UnknownStream
        | Reason::UnknownPartition
        | Reason::UnknownGroup
        | Reason::UnknownMember => Code::NotFound,
        Reason::AlreadyExists | Reason::InstanceTaken => Code::AlreadyExists,
        Reason::PartitionClosed
        | Reason::SequenceGap
        | Reason::StaleProducer
        | Reason::GroupNotEmpty
        | Reason::OtherProtocol
        | Reason::Subscribed
        | Reason::NotAssigned
        | Reason::NotAllowed => Code::FailedPrecondition,
        Reason::Fenced | Reason::Silent | Reason::TakenOver => Code::Aborted,
        Reason::OutOfRange => Code::OutOfRange,
        Reason::OverQuota | Reason::Limit => Code::ResourceExhausted,
        Reason::DiskFull | Reason::Storage | Reason::ShuttingDown | Reason::Busy => {
            Code::Unavailable
        }
        Reason::Unspecified => Code::Internal,
    }
}

/// Why a record was not written.
pub(crate) fn append_refusal(error: &AppendError) -> Refusal {
    let refused = |reason, why: &str| Refusal::new(reason, why);
    match error {
        AppendError::UnknownPartition => {
            refused(Reason::UnknownPartition, "the stream has no such partition")
        }
        AppendError::Internal => refused(Reason::Invalid, "the stream holds the broker's state"),
        AppendError::Closed { open } => {
            let open: Vec<_> = open.iter().map(|index| index.as_u32().to_string()).collect();
            let why = format!("the partition is closed; open are {}", open.join(", "));
            refused(Reason::PartitionClosed, &why)
        }
        AppendError::BatchTooLarge { size_bytes, limit_bytes } => {
            let why = format!("the record takes {size_bytes} bytes, at most {limit_bytes} may be");
            refused(Reason::RecordTooLarge, &why)
        }
        AppendError::InvalidTimestamp => {
            refused(Reason::Invalid, "the timestamp is further from now than the stream allows")
        }
        AppendError::KeyMissing { .. } => {
            refused(Reason::Invalid, "a record of a compacted stream needs a key")
        }
        AppendError::OverQuota { partition } => {
            let why = format!("partition {} is over its quota", partition.as_u32());
            Refusal { retry_after: Duration::from_secs(1), ..refused(Reason::OverQuota, &why) }
        }
        AppendError::BadRecords(error) => batch_refusal(*error),
        AppendError::SequenceGap => {
            refused(Reason::SequenceGap, "an earlier batch of the producer has not arrived")
        }
        AppendError::StaleProducerEpoch => {
            refused(Reason::StaleProducer, "a newer epoch of the producer has written here")
        }
        AppendError::DiskFull => refused(Reason::DiskFull, "the disk is full"),
        AppendError::ShuttingDown => refused(Reason::ShuttingDown, "the broker is stopping"),
        other => refused(Reason::Storage, &format!("the record was not kept: {other:?}")),
    }
}

/// A batch that is not one, or not one that a client may append.
pub(crate) fn batch_refusal(error: BatchError) -> Refusal {
    Refusal::invalid(format!("the batch is refused: {error}"))
}

/// Why records were not read.
pub(crate) fn read_refusal(error: &ReadError) -> Refusal {
    let refused = |reason, why: &str| Refusal::new(reason, why);
    match error {
        ReadError::UnknownPartition => {
            refused(Reason::UnknownPartition, "the stream has no such partition")
        }
        ReadError::OutOfRange { log_start, log_end } => {
            let (start, end) = (log_start.number(), log_end.number());
            refused(Reason::OutOfRange, &format!("offsets {start} to {end} can be read"))
        }
        ReadError::OverQuota { retry_after } => Refusal {
            retry_after: *retry_after,
            ..refused(Reason::OverQuota, "the partition is over its quota")
        },
        other => refused(Reason::Storage, &format!("the records cannot be read: {other:?}")),
    }
}

/// Why the metadata was not changed.
pub(crate) fn meta_refusal(error: &MetaError) -> Refusal {
    Refusal::new(Reason::Storage, format!("the metadata was not written: {error:?}"))
}

/// Why a setting is refused.
pub(crate) fn config_refusal(error: &ConfigError) -> Refusal {
    Refusal::invalid(match error {
        ConfigError::Unknown { name } => format!("there is no setting {name}"),
        ConfigError::Invalid { name, value, why } => format!("{name}={value} is refused: {why}"),
        ConfigError::Conflict { why } => why.clone(),
    })
}

/// Why a stream was not made.
pub(crate) fn create_refusal(error: &CreateStreamError) -> Refusal {
    let refused = |reason, why: &str| Refusal::new(reason, why);
    match error {
        CreateStreamError::AlreadyExists => {
            refused(Reason::AlreadyExists, "a stream of that name exists")
        }
        CreateStreamError::NameCollision { other } => {
            let why = format!("the name differs from {other} in . and _ only");
            refused(Reason::Invalid, &why)
        }
        CreateStreamError::PartitionCount { max } => {
            refused(Reason::Invalid, &format!("a stream has 1 to {max} partitions"))
        }
        CreateStreamError::PartitionLimit { used, asked, max } => {
            let why = format!("{used} of {max} partitions are there, and {asked} were asked for");
            refused(Reason::Limit, &why)
        }
        CreateStreamError::Internal => {
            refused(Reason::Invalid, "the name is kept for the broker's own state")
        }
        CreateStreamError::Config(error) => config_refusal(error),
        CreateStreamError::OnDemandLimit { .. }
        | CreateStreamError::CreatingLimit { .. }
        | CreateStreamError::OverQuota => {
            refused(Reason::Limit, "as many streams are made as may be")
        }
        CreateStreamError::Meta(error) => meta_refusal(error),
    }
}

/// Why a stream was not removed.
pub(crate) fn delete_refusal(name: &str, error: &DeleteStreamError) -> Refusal {
    let refused = |reason, why: &str| Refusal::new(reason, why);
    match error {
        DeleteStreamError::Unknown | DeleteStreamError::AlreadyDeleting => {
            Refusal::unknown_stream(name)
        }
        DeleteStreamError::Internal => {
            refused(Reason::Invalid, "the stream holds the broker's state")
        }
        DeleteStreamError::HasConsumers => {
            refused(Reason::Invalid, "the stream has registered consumers")
        }
        DeleteStreamError::OverQuota => {
            refused(Reason::Limit, "as many streams are removed as may be")
        }
        DeleteStreamError::Meta(error) => meta_refusal(error),
    }
}

/// Why a request about a group was refused.
pub(crate) fn group_refusal(error: GroupError) -> Refusal {
    let refused = |reason, why: &str| Refusal::new(reason, why);
    match error {
        GroupError::InvalidGroupId => {
            refused(Reason::Invalid, "a group's name has 1 to 1024 bytes")
        }
        GroupError::InvalidSessionTimeout => {
            refused(Reason::Invalid, "the session timeout is outside the broker's bounds")
        }
        GroupError::InconsistentProtocol => {
            refused(Reason::OtherProtocol, "the group's members have nothing in common with this")
        }
        GroupError::UnknownMember => refused(Reason::UnknownMember, "the group has no such member"),
        GroupError::FencedInstance => {
            refused(Reason::Fenced, "another member has taken the instance id")
        }
        GroupError::IllegalGeneration
        | GroupError::StaleMemberEpoch
        | GroupError::RebalanceInProgress
        | GroupError::MemberIdRequired => {
            refused(Reason::Fenced, "the member is in another epoch by now")
        }
        GroupError::GroupFull => refused(Reason::Limit, "the group has as many members as it may"),
        GroupError::GroupNotFound => refused(Reason::UnknownGroup, "there is no such group"),
        GroupError::NonEmptyGroup => refused(Reason::GroupNotEmpty, "the group has members"),
        GroupError::TooManyGroups => {
            refused(Reason::Limit, "the broker keeps as many groups as it may")
        }
        GroupError::TooLarge => {
            refused(Reason::Invalid, "what is said is larger than the broker keeps")
        }
        GroupError::NotAvailable => {
            refused(Reason::Storage, "the groups cannot be written or read now")
        }
        GroupError::ShuttingDown => Refusal::stopping(),
    }
}

/// Why a member did not join or is one no more.
pub(crate) fn membership_refusal(error: &HeartbeatRefused) -> Refusal {
    let refused = |reason, why: &str| Refusal::new(reason, why);
    match error {
        HeartbeatRefused::Group(error) => group_refusal(*error),
        HeartbeatRefused::OtherProtocol => {
            refused(Reason::OtherProtocol, "the group speaks another protocol")
        }
        HeartbeatRefused::NoUpgrade(why) => {
            let why = match why {
                NoUpgrade::Disabled => "the broker's settings do not let it change",
                NoUpgrade::OtherType => "its members are not consumers",
                NoUpgrade::TooManyMembers => "it has more members than may be",
                NoUpgrade::Malformed => "what a member said cannot be read",
                NoUpgrade::CustomAssignor => "its assignor is its own",
            };
            let text = format!("the group speaks the classic protocol, and {why}");
            Refusal::new(Reason::OtherProtocol, text)
        }
        HeartbeatRefused::UnknownMember | HeartbeatRefused::UnknownInstance => {
            refused(Reason::Fenced, "the group has no such member any more")
        }
        HeartbeatRefused::FencedEpoch { received, known } => {
            let why = format!("the member is in epoch {known}, not {received}");
            Refusal::new(Reason::Fenced, why)
        }
        HeartbeatRefused::UnreleasedInstance(_) => {
            let why = "the instance id is another member's, which has not gone";
            refused(Reason::InstanceTaken, why)
        }
        HeartbeatRefused::FencedInstance(_) => {
            refused(Reason::Fenced, "the instance id has become another member's")
        }
        HeartbeatRefused::GroupFull { members_max } => {
            let why = format!("the group has {members_max} members, as many as it may");
            Refusal::new(Reason::Limit, why)
        }
        HeartbeatRefused::InvalidRegex(InvalidRegex(why)) => {
            Refusal::invalid(format!("the pattern is no regular expression: {why}"))
        }
    }
}

/// Why a position was not kept.
pub(crate) fn commit_refusal(error: CommitError) -> Refusal {
    match error {
        CommitError::UnknownPartition => {
            Refusal::new(Reason::UnknownPartition, "the stream has no such partition")
        }
        CommitError::MetadataTooLarge => {
            Refusal::invalid("the text beside the position is longer than the broker keeps")
        }
    }
}

/// Why a position was not forgotten.
pub(crate) fn delete_position_refusal(error: DeleteOffsetError) -> Refusal {
    match error {
        DeleteOffsetError::Subscribed => {
            Refusal::new(Reason::Subscribed, "a member of the group reads the stream")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_its_detail() {
        let over = ReadError::OverQuota { retry_after: Duration::from_millis(250) };
        let status = Status::from(read_refusal(&over));
        assert_eq!(status.code(), Code::ResourceExhausted);
        let detail = status_detail::decode(status.details()).expect("a detail");
        assert_eq!((detail.reason(), detail.retry_after_ms), (Reason::OverQuota, 250));
    }
}
