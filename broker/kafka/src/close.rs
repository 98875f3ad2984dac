//! Why the broker closes a connection: everything that Kafka's protocol has no error answer for.
//!
//! Each reason becomes one log line. A broker that reads a frame it cannot parse cannot shape an
//! answer that the client could parse, so closing is what Kafka does too.

use std::fmt;
use std::io;

use weir_kafka_protocol::{ApiKey, DecodeError, EncodeError, ErrorCode};

use crate::answers::ASKED_MAX;

/// What ended a connection, other than the client's own wish.
#[derive(Debug)]
pub(crate) enum CloseReason {
    /// A length that is negative or above the limit, and the four bytes that said so.
    FrameLength { length: i32, prefix: [u8; 4] },
    /// The client closed its side in the middle of a frame.
    EndInsideFrame,
    /// No byte of a begun frame for 5 seconds.
    StandsStill,
    /// A body slower than 1 KiB/s.
    SlowBody,
    /// Somebody wants it so.
    FaultOnRequest,
    /// Nothing was sent for ten minutes, and nothing was waited for.
    Idle,
    /// The request is not what its key and version say.
    Malformed(DecodeError),
    /// The request asks about more things than [`ASKED_MAX`].
    AsksForTooMuch { count: usize },
    /// A known request that this broker does not serve.
    UnservedApi,
    /// A served request in a version that is not.
    UnservedVersion { first: i16, last: i16 },
    /// A Produce with acks=0 failed: no answer may be sent, so the client learns it this way.
    FailedWithoutAcks(ErrorCode),
    /// Our own answer has no form in the version asked for.
    Unencodable(EncodeError),
    /// Stored bytes of an answer could not be read.
    UnreadableAnswer(String),
    /// The socket took no byte for 30 seconds.
    WriteStalled,
    /// The broker stops and the client did not take its last answers in time.
    DrainTimedOut,
    /// The socket failed.
    Socket(io::Error),
}

impl From<io::Error> for CloseReason {
    fn from(error: io::Error) -> CloseReason {
        CloseReason::Socket(error)
    }
}

impl From<DecodeError> for CloseReason {
    fn from(error: DecodeError) -> CloseReason {
        CloseReason::Malformed(error)
    }
}

impl From<EncodeError> for CloseReason {
    fn from(error: EncodeError) -> CloseReason {
        CloseReason::Unencodable(error)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::FrameLength { length, prefix } => match other_protocol(*prefix) {
                Some(mistake) => write!(out, "not the kafka protocol: {mistake}"),
                None => write!(out, "frame length {length} is not within 0 to 104857600"),
            },
            CloseReason::EndInsideFrame => out.write_str("connection ended inside a frame"),
            CloseReason::StandsStill => out.write_str("no byte of a begun frame for 5 s"),
            CloseReason::FaultOnRequest => out.write_str("broken off by a fault on request"),
            CloseReason::SlowBody => out.write_str("frame came slower than 1 KiB/s"),
            CloseReason::Idle => out.write_str("idle for 10 minutes"),
            CloseReason::Malformed(error) => write!(out, "malformed request: {error}"),
            CloseReason::AsksForTooMuch { count } => {
                write!(out, "request asks about {count} things, at most {ASKED_MAX} are answered")
            }
            CloseReason::UnservedApi => out.write_str("api is not served"),
            CloseReason::UnservedVersion { first, last } => {
                write!(out, "version is not served, {first} to {last} are")
            }
            CloseReason::FailedWithoutAcks(why) => write!(out, "produce with acks=0 failed: {why}"),
            CloseReason::Unencodable(error) => write!(out, "cannot encode the answer: {error}"),
            CloseReason::UnreadableAnswer(why) => write!(out, "cannot read stored records: {why}"),
            CloseReason::WriteStalled => out.write_str("client took no byte for 30 s"),
            CloseReason::DrainTimedOut => out.write_str("client did not take its last answers"),
            CloseReason::Socket(error) => write!(out, "socket failed: {error}"),
        }
    }
}

impl CloseReason {
    /// Whether this is an everyday end that deserves no warning: a socket that broke, a client that
    /// idled or went away.
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self, CloseReason::Socket(_) | CloseReason::Idle | CloseReason::DrainTimedOut)
    }
}

/// The request that a reason belongs to, if it got that far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestName {
    pub(crate) api_key: ApiKey,
    pub(crate) version: i16,
}

/// A reason together with the request that caused it.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) request: Option<RequestName>,
    pub(crate) reason: CloseReason,
}

impl CloseReason {
    /// The reason, blamed on a request.
    pub(crate) fn of(self, request: RequestName) -> Closed {
        Closed { request: Some(request), reason: self }
    }
}

impl<E: Into<CloseReason>> From<E> for Closed {
    fn from(reason: E) -> Closed {
        Closed { request: None, reason: reason.into() }
    }
}

/// Names what a client probably speaks whose first four bytes make no sense as a length.
fn other_protocol(prefix: [u8; 4]) -> Option<&'static str> {
    match &prefix {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN" => {
            Some("looks like HTTP, the Kinesis and console ports are others")
        }
        b"PRI " => Some("looks like HTTP/2 or gRPC, those ports are others"),
        [0x16, 0x03, ..] => Some("looks like TLS, which this listener does not speak"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_another_protocol_is_told_from_a_broken_one() {
        for (prefix, said) in [
            (*b"GET ", "looks like HTTP,"),
            ([0x16, 0x03, 0x01, 0x02], "looks like TLS,"),
            (*b"PRI ", "looks like HTTP/2"),
            ([0x7f, 0xff, 0xff, 0xff], "frame length 2147483647 is not within"),
            ([0xff, 0xff, 0xff, 0xff], "frame length -1 is not within"),
        ] {
            let reason = CloseReason::FrameLength { length: i32::from_be_bytes(prefix), prefix };
            assert!(reason.to_string().contains(said), "{reason}");
        }
    }
}
