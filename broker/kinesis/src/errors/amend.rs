//! Why a stream was not changed, in AWS's words.

use weir_core::error::{
    AmendError, DistributionRefusal, EncryptionRefusal, ModeRefusal, PolicyRefusal,
    RegistrationRefusal, RetentionRefusal, TagRefusal, WarmThroughputRefusal,
};
use weir_core::stream::retention::{RETENTION_HOURS_MAX, RETENTION_HOURS_MIN};
use weir_core::stream::stream::Stream;
use weir_core::stream::tags::TAGS_MAX;

use super::KinesisError;

/// What every change of a stream may run into; `refused` words what only this kind is refused for.
pub(crate) fn amend_error<R>(
    error: AmendError<R>,
    stream: &Stream,
    account: &str,
    refused: impl FnOnce(R) -> KinesisError,
) -> KinesisError {
    match error {
        AmendError::Unknown => KinesisError::stream_not_found(stream.name.as_str(), account),
        AmendError::NotActive(state) => {
            KinesisError::not_active(stream.name.as_str(), account, state)
        }
        AmendError::Refused(refusal) => refused(refusal),
        AmendError::Meta(error) => KinesisError::internal_failure(&error),
    }
}

/// Why a retention of `hours` is refused.
pub(crate) fn retention_refusal(
    refusal: RetentionRefusal,
    hours: i64,
    stream: &Stream,
) -> KinesisError {
    let name = stream.name.as_str();
    KinesisError::invalid_argument(match refusal {
        RetentionRefusal::TooShort => format!(
            "Minimum allowed retention period is {RETENTION_HOURS_MIN} hours. \
             Requested retention period ({hours} hours) is too short."
        ),
        RetentionRefusal::TooLong => format!(
            "Maximum allowed retention period is {RETENTION_HOURS_MAX} hours. \
             Requested retention period ({hours} hours) is too long."
        ),
        RetentionRefusal::ShorterThanNow { now_hours } => format!(
            "Requested retention period ({hours} hours) for stream {name} can not be shorter than \
             existing retention period ({now_hours} hours). Use DecreaseRetentionPeriod API."
        ),
        RetentionRefusal::LongerThanNow { now_hours } => format!(
            "Requested retention period ({hours} hours) for stream {name} can not be longer than \
             existing retention period ({now_hours} hours). Use IncreaseRetentionPeriod API."
        ),
    })
}

/// What a resource is called in sentences.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResourceName<'a> {
    Stream(&'a str),
    Consumer(&'a str),
}

impl ResourceName<'_> {
    fn noun(self) -> &'static str {
        match self {
            ResourceName::Stream(_) => "stream",
            ResourceName::Consumer(_) => "consumer",
        }
    }

    /// For a consumer that went while it was to be changed.
    fn not_found(self, account: &str) -> KinesisError {
        let (ResourceName::Stream(name) | ResourceName::Consumer(name)) = self;
        let noun = self.noun();
        KinesisError::resource_gone(format!("The {noun} {name} under account {account} is gone."))
    }
}

/// Why tags of this resource are refused.
pub(crate) fn tag_refusal(
    refusal: TagRefusal,
    resource: ResourceName<'_>,
    account: &str,
) -> KinesisError {
    let (ResourceName::Stream(name) | ResourceName::Consumer(name)) = resource;
    let noun = resource.noun();
    KinesisError::invalid_argument(match refusal {
        // The colon is legal too, though AWS's sentence does not say so.
        TagRefusal::IllegalCharacters => "Some tags contain invalid characters. Valid characters: \
             Unicode letters, digits, white space, _ . / = + - % @."
            .to_owned(),
        // The sentence of AWS's other services; that of Kinesis was not recorded.
        TagRefusal::ReservedKey => {
            "aws: prefixed tag key names are not allowed for external use.".to_owned()
        }
        TagRefusal::TooMany => format!(
            "Failed to add tags to {noun} {name} under account {account} because a given {noun} \
             cannot have more than {TAGS_MAX} tags associated with it."
        ),
        TagRefusal::UnknownConsumer => return resource.not_found(account),
    })
}

/// Why a consumer is not registered. The sentences are ours, after one of AWS's about consumers.
pub(crate) fn registration_refusal(
    refusal: RegistrationRefusal,
    consumer: &str,
    stream: &Stream,
    account: &str,
) -> KinesisError {
    let name = &stream.name;
    match refusal {
        RegistrationRefusal::AlreadyExists => KinesisError::resource_in_use(format!(
            "Consumer {consumer} under stream {name} and account {account} already exists."
        )),
        // The sentence is ours, after the other.
        RegistrationRefusal::TooManyCreating { max } => KinesisError::limit_exceeded(format!(
            "Stream {name} under account {account} has {max} consumers in state CREATING, \
             which is as many as there may be."
        )),
        RegistrationRefusal::TooMany { max } => KinesisError::limit_exceeded(format!(
            "Stream {name} under account {account} has reached the limit of {max} registered \
             consumers."
        )),
    }
}

/// Why the encryption is not changed. The sentence is ours: AWS's was not recorded.
pub(crate) fn encryption_refusal(
    refusal: EncryptionRefusal,
    stream: &Stream,
    account: &str,
) -> KinesisError {
    let EncryptionRefusal::TooOften { per_day_max } = refusal;
    KinesisError::limit_exceeded(format!(
        "Stream {} under account {account} has reached the limit of {per_day_max} changes of its \
         encryption in 24 hours.",
        stream.name
    ))
}

/// Why records of the stream with this name are not spread otherwise. The sentence is ours.
pub(crate) fn distribution_refusal(
    refusal: DistributionRefusal,
    stream: &str,
    account: &str,
) -> KinesisError {
    let DistributionRefusal::Provisioned = refusal;
    KinesisError::invalid_argument(format!(
        "RecordDistributionStrategy AUTO is only supported for streams in ON_DEMAND mode. \
         Stream {stream} under account {account} is in PROVISIONED mode."
    ))
}

/// Why the mode of the stream with this name is not switched. The sentence is ours.
pub(crate) fn mode_refusal(refusal: ModeRefusal, stream: &str, account: &str) -> KinesisError {
    match refusal {
        ModeRefusal::TooOften { per_day_max } => KinesisError::limit_exceeded(format!(
            "Stream {stream} under account {account} has reached the limit of {per_day_max} \
             switches of its mode in 24 hours."
        )),
        ModeRefusal::WarmThroughput(refusal) => warm_throughput_refusal(refusal, stream, account),
    }
}

/// Why the stream with this name gets no such warm throughput. The sentences are ours.
pub(crate) fn warm_throughput_refusal(
    refusal: WarmThroughputRefusal,
    stream: &str,
    account: &str,
) -> KinesisError {
    match refusal {
        WarmThroughputRefusal::Provisioned => KinesisError::invalid_argument(format!(
            "Warm throughput is only supported for streams in ON_DEMAND mode. \
             Stream {stream} under account {account} is in PROVISIONED mode."
        )),
        WarmThroughputRefusal::NeedsCommitment => KinesisError::invalid_argument(
            "Warm throughput is only supported for accounts that have enabled \
             MinimumThroughputBillingCommitment.",
        ),
        WarmThroughputRefusal::TooMuch { max } => KinesisError::limit_exceeded(format!(
            "The warm throughput of stream {stream} under account {account} may be at most {max} \
             MiB per second."
        )),
    }
}

/// Why a policy is refused. The sentences are ours.
pub(crate) fn policy_refusal(
    refusal: PolicyRefusal,
    resource: ResourceName<'_>,
    account: &str,
) -> KinesisError {
    match refusal {
        PolicyRefusal::NotJson => KinesisError::invalid_argument("Policy is not valid JSON."),
        PolicyRefusal::NoStatement => KinesisError::invalid_argument("Policy has no statement."),
        PolicyRefusal::TooLong { bytes_max } => KinesisError::limit_exceeded(format!(
            "Policy is longer than the limit of {bytes_max} bytes."
        )),
        PolicyRefusal::UnknownConsumer => resource.not_found(account),
    }
}
