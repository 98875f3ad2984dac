//! What can go wrong when a client talks to a broker, by what its caller can do about it.

use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use weir_proto::status_detail;
use weir_proto::v1::ErrorDetail;
pub use weir_proto::v1::error_detail::Reason;

/// Why a call, a record or a reader failed.
///
/// What may pass by itself (a broker that restarts, a quota, a full disk) was tried again before,
/// for as long as the client's options say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The address of the broker is none.
    Endpoint(String),
    /// Nobody answered, or the connection was lost, for as long as was to be waited. A write that
    /// ends so may have been made.
    Unreachable(String),
    /// The broker refused.
    Refused(Refusal),
    /// The producer or consumer was closed before.
    Closed,
    /// The broker said something that makes no sense to this client.
    Protocol(String),
}

/// What the broker says to a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind it is, for programs.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
    /// When to come back, with [`Reason::OverQuota`].
    pub retry_after: Duration,
}

impl Error {
    /// The broker's reason, if it refused.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Error::Refused(refusal) => Some(refusal.reason),
            _ => None,
        }
    }

    /// Whether the same may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Error::Unreachable(_) => true,
            Error::Refused(refusal) => refusal.may_pass(),
            Error::Endpoint(_) | Error::Closed | Error::Protocol(_) => false,
        }
    }
}

impl Refusal {
    /// Whether the same may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self.reason,
            Reason::OverQuota
                | Reason::DiskFull
                | Reason::Storage
                | Reason::Busy
                | Reason::ShuttingDown
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Endpoint(why) => write!(out, "no address of a broker: {why}"),
            Error::Unreachable(why) => write!(out, "the broker cannot be reached: {why}"),
            Error::Refused(refusal) => refusal.message.fmt(out),
            Error::Closed => out.write_str("it is closed"),
            Error::Protocol(what) => write!(out, "unexpected answer: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ErrorDetail> for Refusal {
    fn from(detail: ErrorDetail) -> Refusal {
        Refusal {
            reason: detail.reason(),
            message: detail.message,
            retry_after: Duration::from_millis(detail.retry_after_ms),
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        if let Some(detail) = status_detail::decode(status.details()) {
            return Error::Refused(detail.into());
        }
        let message = match std::error::Error::source(&status) {
            // The library's own sentence is "transport error"; its cause says which.
            Some(source) => root_cause(source),
            None => status.message().to_owned(),
        };
        match status.code() {
            Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Internal => Error::Unreachable(message),
            code => Error::Protocol(format!("{code}: {message}")),
        }
    }
}

pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
