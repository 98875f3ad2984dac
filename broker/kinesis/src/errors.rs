//! AWS's errors: their names, their texts, and which of them a core error becomes.
//!
//! An error's body is a map of `__type` and a message. The message is called `message`, but
//! `Message` in a `SerializationException`, and is absent in an `InternalFailure`. The texts were
//! recorded from the real service where that was possible; clients match on some of them (retry
//! code looks for "Rate exceeded").

mod amend;

use std::fmt::Debug;

use bytes::Bytes;
use weir_core::error::{AppendError, CreateStreamError, DeleteStreamError, ReadError};
use weir_core::stream::consumers::ConsumerId;
use weir_core::stream::state::State;
use weir_core::stream::stream::Stream;
use weir_model::ids::PartitionIndex;

pub(crate) use amend::{
    ResourceName, amend_error, distribution_refusal, encryption_refusal, mode_refusal,
    policy_refusal, registration_refusal, retention_refusal, tag_refusal, warm_throughput_refusal,
};

use crate::log_text::shortened;
use crate::shard::ShardId;
use crate::wire::{Encoding, ReplyWriter};

/// Which of AWS's errors it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ErrorKind {
    AccessDenied,
    DryRunOperation,
    ExpiredIterator,
    ExpiredNextToken,
    IncompleteSignature,
    InternalFailure,
    InvalidArgument,
    InvalidSignature,
    KmsAccessDenied,
    KmsDisabled,
    KmsInvalidState,
    KmsNotFound,
    KmsOptInRequired,
    KmsThrottling,
    LimitExceeded,
    MissingAuthenticationToken,
    ProvisionedThroughputExceeded,
    ResourceInUse,
    ResourceNotFound,
    Serialization,
    ServiceUnavailable,
    Throttling,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

impl ErrorKind {
    /// The name that clients match on.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            ErrorKind::AccessDenied => "AccessDeniedException",
            ErrorKind::DryRunOperation => "DryRunOperationException",
            ErrorKind::ExpiredIterator => "ExpiredIteratorException",
            ErrorKind::ExpiredNextToken => "ExpiredNextTokenException",
            ErrorKind::IncompleteSignature => "IncompleteSignatureException",
            ErrorKind::InternalFailure => "InternalFailure",
            ErrorKind::InvalidArgument => "InvalidArgumentException",
            ErrorKind::InvalidSignature => "InvalidSignatureException",
            ErrorKind::KmsAccessDenied => "KMSAccessDeniedException",
            ErrorKind::KmsDisabled => "KMSDisabledException",
            ErrorKind::KmsInvalidState => "KMSInvalidStateException",
            ErrorKind::KmsNotFound => "KMSNotFoundException",
            ErrorKind::KmsOptInRequired => "KMSOptInRequired",
            ErrorKind::KmsThrottling => "KMSThrottlingException",
            ErrorKind::LimitExceeded => "LimitExceededException",
            ErrorKind::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            ErrorKind::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            ErrorKind::ResourceInUse => "ResourceInUseException",
            ErrorKind::ResourceNotFound => "ResourceNotFoundException",
            ErrorKind::Serialization => "SerializationException",
            ErrorKind::ServiceUnavailable => "ServiceUnavailable",
            ErrorKind::Throttling => "ThrottlingException",
            ErrorKind::UnknownOperation => "UnknownOperationException",
            ErrorKind::UnrecognizedClient => "UnrecognizedClientException",
            ErrorKind::Validation => "ValidationException",
        }
    }

    /// The HTTP status.
    pub(crate) const fn status(self) -> u16 {
        match self {
            ErrorKind::InternalFailure => 500,
            ErrorKind::ServiceUnavailable => 503,
            _ => 400,
        }
    }

    /// Whether the client, not its user, is at fault: such requests get a line in the log each.
    pub(crate) const fn is_malformed_request(self) -> bool {
        matches!(
            self,
            ErrorKind::IncompleteSignature
                | ErrorKind::InvalidSignature
                | ErrorKind::MissingAuthenticationToken
                | ErrorKind::Serialization
                | ErrorKind::UnknownOperation
                | ErrorKind::UnrecognizedClient
                | ErrorKind::Validation
        )
    }
}

/// The errors that an operation may end in, by whose fault ever: those of the pinned model, and
/// those that AWS's services have in common. Some arise only where somebody asks for them.
const ANSWERED: [ErrorKind; 18] = [
    ErrorKind::AccessDenied,
    ErrorKind::ExpiredIterator,
    ErrorKind::ExpiredNextToken,
    ErrorKind::InternalFailure,
    ErrorKind::InvalidArgument,
    ErrorKind::KmsAccessDenied,
    ErrorKind::KmsDisabled,
    ErrorKind::KmsInvalidState,
    ErrorKind::KmsNotFound,
    ErrorKind::KmsOptInRequired,
    ErrorKind::KmsThrottling,
    ErrorKind::LimitExceeded,
    ErrorKind::ProvisionedThroughputExceeded,
    ErrorKind::ResourceInUse,
    ErrorKind::ResourceNotFound,
    ErrorKind::ServiceUnavailable,
    ErrorKind::Throttling,
    ErrorKind::Validation,
];

impl ErrorKind {
    /// The error of this name that an operation may end in.
    pub(crate) fn named(name: &str) -> Option<ErrorKind> {
        ANSWERED.into_iter().find(|kind| kind.name() == name)
    }
}

/// An error answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KinesisError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: Option<String>,
    /// What went wrong inside, for our log only.
    pub(crate) cause: Option<String>,
}

impl KinesisError {
    fn new(kind: ErrorKind, message: impl Into<String>) -> KinesisError {
        KinesisError { kind, message: Some(message.into()), cause: None }
    }

    /// An error that somebody wants, with his text or without any.
    pub(crate) fn requested(kind: ErrorKind, message: Option<&str>) -> KinesisError {
        KinesisError { kind, message: message.map(str::to_owned), cause: None }
    }

    fn without_message(kind: ErrorKind) -> KinesisError {
        KinesisError { kind, message: None, cause: None }
    }

    /// The body could not be read at all.
    pub(crate) fn malformed_body() -> KinesisError {
        KinesisError::without_message(ErrorKind::Serialization)
    }

    /// The target names no operation that is served.
    pub(crate) fn unknown_operation() -> KinesisError {
        KinesisError::without_message(ErrorKind::UnknownOperation)
    }

    /// The broker is at fault; what went wrong is for its log, not for the answer.
    pub(crate) fn internal_failure(cause: &dyn Debug) -> KinesisError {
        KinesisError {
            cause: Some(format!("{cause:?}")),
            ..KinesisError::without_message(ErrorKind::InternalFailure)
        }
    }

    /// A member has the wrong type.
    pub(crate) fn serialization(message: impl Into<String>) -> KinesisError {
        KinesisError::new(ErrorKind::Serialization, message)
    }

    /// Members violate their constraints.
    pub(crate) fn validation(message: impl Into<String>) -> KinesisError {
        KinesisError::new(ErrorKind::Validation, message)
    }

    /// Members are well formed but make no sense.
    pub(crate) fn invalid_argument(message: impl Into<String>) -> KinesisError {
        KinesisError::new(ErrorKind::InvalidArgument, message)
    }

    /// A limit of the account is reached.
    pub(crate) fn limit_exceeded(message: impl Into<String>) -> KinesisError {
        KinesisError::new(ErrorKind::LimitExceeded, message)
    }

    /// The account would have more shards than it may.
    pub(crate) fn shard_limit_exceeded(
        used: u64,
        asked: u32,
        max: u32,
        account: &str,
        region: &str,
    ) -> KinesisError {
        KinesisError::limit_exceeded(format!(
            "This request would exceed the shard limit for the account {account} in {region}. \
             Current shard count for the account: {used}. Limit: {max}. \
             Number of additional shards that would have resulted from this request: {asked}. \
             Refer to the AWS Service Limits page \
             (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) \
             for current limits and how to request higher limits."
        ))
    }

    /// The account has as many on-demand streams as it may.
    pub(crate) fn on_demand_limit_exceeded(max: u64, account: &str, region: &str) -> KinesisError {
        KinesisError::limit_exceeded(format!(
            "This request would exceed the limit of {max} on-demand streams \
             for the account {account} in {region}."
        ))
    }

    /// The stream is in a state in which it is not changed.
    pub(crate) fn not_active(stream: &str, account: &str, state: State) -> KinesisError {
        KinesisError::resource_in_use(format!(
            "Stream {stream} under account {account} not ACTIVE, instead in state {}",
            state.name()
        ))
    }

    /// Text that names no key.
    pub(crate) fn invalid_key(key: &str) -> KinesisError {
        KinesisError::new(ErrorKind::KmsNotFound, format!("Invalid keyId {}", shortened(key)))
    }

    /// A name that no client may give to a stream.
    pub(crate) fn reserved_name(name: &str) -> KinesisError {
        KinesisError::invalid_argument(format!("Stream name {name} is reserved."))
    }

    /// No credentials at all.
    pub(crate) fn missing_authentication_token() -> KinesisError {
        KinesisError::new(ErrorKind::MissingAuthenticationToken, "Missing Authentication Token")
    }

    /// Credentials with parts missing.
    pub(crate) fn incomplete_signature(message: String) -> KinesisError {
        KinesisError::new(ErrorKind::IncompleteSignature, message)
    }

    /// A signature that says what cannot be.
    pub(crate) fn invalid_signature(message: impl Into<String>) -> KinesisError {
        KinesisError::new(ErrorKind::InvalidSignature, message)
    }

    /// A signature that its key would not have made of this request.
    pub(crate) fn signature_mismatch() -> KinesisError {
        KinesisError::invalid_signature(
            "The request signature we calculated does not match the signature you provided. \
             Check your AWS Secret Access Key and signing method. \
             Consult the service documentation for details.",
        )
    }

    /// A key that nobody knows, or its wrong session token.
    pub(crate) fn unrecognized_client() -> KinesisError {
        KinesisError::new(
            ErrorKind::UnrecognizedClient,
            "The security token included in the request is invalid.",
        )
    }

    /// Somebody known who may not do this.
    pub(crate) fn access_denied(
        principal: &str,
        action: &str,
        resource: &str,
        because: &str,
    ) -> KinesisError {
        KinesisError::new(
            ErrorKind::AccessDenied,
            format!(
                "User: {principal} is not authorized to perform: {action} \
                 on resource: {resource} {because}"
            ),
        )
    }

    /// Credentials in two places.
    pub(crate) fn two_signatures() -> KinesisError {
        KinesisError::invalid_signature(
            "Found both 'X-Amz-Algorithm' as a query-string param \
             and 'Authorization' as HTTP header.",
        )
    }

    /// A token that is too old; `message` tells both times.
    pub(crate) fn expired_iterator(message: String) -> KinesisError {
        KinesisError::new(ErrorKind::ExpiredIterator, message)
    }

    /// A page token that is too old.
    pub(crate) fn expired_next_token(message: String) -> KinesisError {
        KinesisError::new(ErrorKind::ExpiredNextToken, message)
    }

    /// The request was only to be tried, and would have succeeded.
    pub(crate) fn dry_run_succeeded() -> KinesisError {
        KinesisError::new(
            ErrorKind::DryRunOperation,
            "Request would have succeeded, but the DryRun parameter was specified.",
        )
    }

    /// No such stream, or one that Kinesis cannot show.
    pub(crate) fn stream_not_found(name: &str, account: &str) -> KinesisError {
        KinesisError::new(
            ErrorKind::ResourceNotFound,
            format!("Stream {name} under account {account} not found."),
        )
    }

    /// An ARN of something that is not served. The sentence is ours.
    pub(crate) fn resource_not_found(arn: &str) -> KinesisError {
        let arn = shortened(arn);
        KinesisError::new(ErrorKind::ResourceNotFound, format!("Resource {arn} not found."))
    }

    /// No such registered consumer. The sentence is ours, after one of AWS's about consumers.
    pub(crate) fn consumer_not_found(id: &ConsumerId, stream: &str, account: &str) -> KinesisError {
        let (name, created) = (&id.name, id.created_s);
        let created = created.map(|second| format!(" with creation timestamp {second}"));
        let created = created.unwrap_or_default();
        KinesisError::new(
            ErrorKind::ResourceNotFound,
            format!(
                "Consumer {name}{created} under stream {stream} and account {account} not found."
            ),
        )
    }

    /// Something went while it was to be changed.
    fn resource_gone(message: impl Into<String>) -> KinesisError {
        KinesisError::new(ErrorKind::ResourceNotFound, message)
    }

    /// Something of that name exists already, or is needed.
    pub(crate) fn resource_in_use(message: impl Into<String>) -> KinesisError {
        KinesisError::new(ErrorKind::ResourceInUse, message)
    }

    /// A shard id that cannot be one.
    pub(crate) fn could_not_find_shard(input: &str, stream: &str, account: &str) -> KinesisError {
        KinesisError::new(
            ErrorKind::ResourceNotFound,
            format!("Could not find shard {input} in stream {stream} under account {account}."),
        )
    }

    /// A shard id that no shard of the stream has, or whose stream does not exist.
    pub(crate) fn shard_does_not_exist(
        shard: ShardId,
        stream: &str,
        account: &str,
    ) -> KinesisError {
        KinesisError::new(
            ErrorKind::ResourceNotFound,
            format!("Shard {shard} in stream {stream} under account {account} does not exist"),
        )
    }

    /// The stream's name is taken.
    pub(crate) fn stream_exists(name: &str, account: &str) -> KinesisError {
        KinesisError::new(
            ErrorKind::ResourceInUse,
            format!("Stream {name} under account {account} already exists."),
        )
    }

    /// A record is above its stream's limit. The sentence is ours: AWS's was not recorded.
    pub(crate) fn record_too_large(
        size_bytes: usize,
        limit_bytes: usize,
        stream: &str,
        account: &str,
    ) -> KinesisError {
        KinesisError::invalid_argument(format!(
            "Record of {size_bytes} bytes exceeds the maximum record size of {limit_bytes} bytes \
             for stream {stream} under account {account}."
        ))
    }

    /// An operation is called more often than AWS lets an account, or for one stream.
    pub(crate) fn call_rate_exceeded(stream: Option<&str>, account: &str) -> KinesisError {
        KinesisError::limit_exceeded(match stream {
            Some(stream) => format!("Rate exceeded for stream {stream} under account {account}."),
            // The sentence is ours, after the other.
            None => format!("Rate exceeded for account {account}."),
        })
    }

    /// A shard's write quota is used up, or it is asked about too often.
    pub(crate) fn shard_rate_exceeded(shard: ShardId, stream: &str, account: &str) -> KinesisError {
        KinesisError::new(
            ErrorKind::ProvisionedThroughputExceeded,
            format!("Rate exceeded for shard {shard} in stream {stream} under account {account}."),
        )
    }

    /// A shard's read quota is used up.
    fn read_rate_exceeded(shard: ShardId, stream: &str, account: &str) -> KinesisError {
        KinesisError::new(
            ErrorKind::ProvisionedThroughputExceeded,
            format!("Rate exceeded for Shard - {account}/{stream}/{shard}"),
        )
    }

    /// The body of the answer, in the request's encoding.
    pub(crate) fn body(&self, encoding: Encoding) -> Bytes {
        let mut writer = ReplyWriter::new(encoding);
        writer.begin_map();
        writer.text_member("__type", self.kind.name());
        if let Some(message) = &self.message {
            let member = match self.kind {
                ErrorKind::Serialization => "Message",
                _ => "message",
            };
            writer.text_member(member, message);
        }
        writer.end_map();
        writer.into_bytes()
    }
}

/// Why a record was not put. Storage failures say nothing about their cause, as in AWS.
pub(crate) fn append_error(error: &AppendError, stream: &Stream, account: &str) -> KinesisError {
    let name = stream.name.as_str();
    match error {
        AppendError::UnknownPartition | AppendError::Internal => {
            KinesisError::stream_not_found(name, account)
        }
        AppendError::OverQuota { partition } => {
            KinesisError::shard_rate_exceeded(ShardId(*partition), name, account)
        }
        AppendError::BatchTooLarge {
            size_bytes,
            limit_bytes,
        } => KinesisError::record_too_large(*size_bytes, *limit_bytes, name, account),
        // The shard was split or merged between routing and writing: the client's retry finds the
        // new shards.
        AppendError::Closed { .. }
        | AppendError::Resharding
        // Kinesis writes have neither producer sequences nor own timestamps nor expectations, so
        // these would be our mistake.
        | AppendError::InvalidTimestamp
        | AppendError::KeyMissing { .. }
        | AppendError::BadRecords(_)
        | AppendError::SequenceGap
        | AppendError::StaleProducerEpoch
        | AppendError::EndMoved { .. }
        | AppendError::DiskFull
        | AppendError::Stopped
        | AppendError::FlushFailed
        | AppendError::OffsetsExhausted
        | AppendError::ShuttingDown => KinesisError::internal_failure(error),
    }
}

/// Why records were not read.
pub(crate) fn read_error(
    error: &ReadError,
    partition: PartitionIndex,
    stream: &Stream,
    account: &str,
) -> KinesisError {
    let (shard, name) = (ShardId(partition), stream.name.as_str());
    match error {
        ReadError::UnknownPartition => KinesisError::shard_does_not_exist(shard, name, account),
        ReadError::OverQuota { .. } => KinesisError::read_rate_exceeded(shard, name, account),
        // Positions come out of sealed iterators and are resolved against the log first, so an
        // offset out of range or a wrong epoch would be our mistake.
        ReadError::OutOfRange { .. }
        | ReadError::FencedEpoch
        | ReadError::UnknownEpoch
        | ReadError::Corrupt { .. }
        | ReadError::Io(_) => KinesisError::internal_failure(error),
    }
}

/// Why a stream was not made.
pub(crate) fn create_stream_error(
    error: &CreateStreamError,
    name: &str,
    account: &str,
    region: &str,
) -> KinesisError {
    match error {
        CreateStreamError::AlreadyExists => KinesisError::stream_exists(name, account),
        CreateStreamError::OnDemandLimit { max } => {
            KinesisError::on_demand_limit_exceeded(*max as u64, account, region)
        }
        // The sentence is ours.
        CreateStreamError::CreatingLimit { max } => KinesisError::limit_exceeded(format!(
            "{max} streams of the account {account} are in state CREATING, \
             which is as many as there may be."
        )),
        // Kafka's rule, which AWS does not have: there is no text of AWS's to give.
        CreateStreamError::NameCollision { other } => KinesisError::new(
            ErrorKind::ResourceInUse,
            format!(
                "Stream {name} under account {account} collides with stream {other}: \
                 names must differ in more than '.' and '_'."
            ),
        ),
        CreateStreamError::PartitionCount { max } => KinesisError::limit_exceeded(format!(
            "A stream may have at most {max} shards under account {account}."
        )),
        CreateStreamError::PartitionLimit { used, asked, max } => {
            KinesisError::shard_limit_exceeded(*used, *asked, *max, account, region)
        }
        CreateStreamError::Internal => KinesisError::reserved_name(name),
        // The action writes legal settings only, and asks for no client's quota.
        CreateStreamError::Config(_)
        | CreateStreamError::OverQuota
        | CreateStreamError::Meta(_) => KinesisError::internal_failure(error),
    }
}

/// Why a stream was not deleted.
pub(crate) fn delete_stream_error(
    error: &DeleteStreamError,
    name: &str,
    account: &str,
) -> KinesisError {
    match error {
        DeleteStreamError::Unknown | DeleteStreamError::Internal => {
            KinesisError::stream_not_found(name, account)
        }
        DeleteStreamError::AlreadyDeleting => {
            KinesisError::not_active(name, account, State::Deleting)
        }
        // The sentence is ours: AWS's was not recorded.
        DeleteStreamError::HasConsumers => KinesisError::resource_in_use(format!(
            "Stream {name} under account {account} has registered consumers. \
             Set EnforceConsumerDeletion to delete it with them."
        )),
        DeleteStreamError::OverQuota | DeleteStreamError::Meta(_) => {
            KinesisError::internal_failure(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_awss_shape() {
        for (error, json) in [
            (
                KinesisError::stream_not_found("s", "000000000000"),
                concat!(
                    r#"{"__type":"ResourceNotFoundException","#,
                    r#""message":"Stream s under account 000000000000 not found."}"#
                ),
            ),
            (
                KinesisError::serialization("Expected null"),
                r#"{"__type":"SerializationException","Message":"Expected null"}"#,
            ),
            (KinesisError::malformed_body(), r#"{"__type":"SerializationException"}"#),
            (KinesisError::internal_failure(&"disk"), r#"{"__type":"InternalFailure"}"#),
        ] {
            assert_eq!(error.body(Encoding::Json), json);
        }
        let cbor = KinesisError::unknown_operation().body(Encoding::Cbor);
        assert_eq!(cbor, &b"\xbf\x66__type\x78\x19UnknownOperationException\xff"[..]);
    }

    #[test]
    fn only_internal_failures_are_the_servers_fault() {
        assert_eq!(ErrorKind::InternalFailure.status(), 500);
        assert_eq!(ErrorKind::ProvisionedThroughputExceeded.status(), 400);
    }
}
