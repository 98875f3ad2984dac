//! A client of the Kinesis API: what the client commands need of AWS, of a mock, and of weir's own
//! dialect.
//!
//! ```text
//!   streams   made, shown, changed, resharded, removed; returns when that is done
//!   writer    records in requests of up to 500, each key's in their order
//!   reader    records of all shards, parents before children, as a `Consumer` gives them
//! ```
//!
//! Signed JSON over HTTP/1.1, with the credentials and the region that AWS's own tools are told by
//! variables. What passes by itself (a rate that was exceeded, a server that fails) is tried again.

mod connection;
mod reader;
pub(crate) mod sign;
mod streams;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use weir_model::time::{Clock, SystemClock};

use crate::error::{Error, Reason, Refusal};
use crate::retry::Retry;
use connection::{Answer, Connection, Target};
use sign::{Credentials, basic_date};

pub(crate) use reader::Start;
pub(crate) use streams::NewShards;
pub(crate) use writer::{Placed, Writer, check};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Connections that are kept for the next question.
const IDLE_MAX: usize = 16;

/// The way to an endpoint. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Kinesis {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    credentials: Credentials,
    retry: Retry,
    clock: Arc<dyn Clock>,
    /// Held only to take one out or put one back.
    idle: Mutex<Vec<Connection>>,
}

/// What an error answer says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: String,
}

impl Kinesis {
    /// The way to the endpoint at this URL, asked with the credentials that the variables say.
    /// Nothing is sent yet.
    pub(crate) fn new(url: &str, retry: Retry) -> Result<Kinesis, Error> {
        let target = Target::parse(url)?;
        let credentials = Credentials::of(|name| std::env::var(name).ok());
        let clock = Arc::new(SystemClock::new());
        let idle = Mutex::default();
        Ok(Kinesis { shared: Arc::new(Shared { target, credentials, retry, clock, idle }) })
    }

    /// With other patience for what may pass by itself; without the connections.
    pub(crate) fn with_retry(&self, retry: Retry) -> Kinesis {
        let (target, credentials) = (self.shared.target.clone(), self.shared.credentials.clone());
        let clock = Arc::clone(&self.shared.clock);
        let idle = Mutex::default();
        Kinesis { shared: Arc::new(Shared { target, credentials, retry, clock, idle }) }
    }

    pub(crate) fn retry(&self) -> &Retry {
        &self.shared.retry
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Asks until something comes of it that will not change, or the time is over.
    async fn call<T: DeserializeOwned>(&self, action: &str, body: &Value) -> Result<T, Error> {
        self.retry().run(|| self.once(action, body)).await
    }

    /// The same where there is nothing in the answer.
    async fn tell(&self, action: &str, body: &Value) -> Result<(), Error> {
        self.retry().run(|| async { self.answer(action, body).await.map(|_| ()) }).await
    }

    /// Asks once.
    async fn once<T: DeserializeOwned>(&self, action: &str, body: &Value) -> Result<T, Error> {
        let answer = self.answer(action, body).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| Error::Protocol(format!("malformed answer to {action}: {error}")))
    }

    async fn answer(&self, action: &str, body: &Value) -> Result<Bytes, Error> {
        let request = self.request(action, body)?;
        let idle = self.shared.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::open(&self.shared.target).await?,
        };
        // One that failed, or whose call was dropped half way, is not put back.
        let answer = connection.ask(request).await?;
        let mut idle = self.shared.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        drop(idle);
        match answer.status.is_success() {
            true => Ok(answer.body),
            false => Err(refused(action, &answer)),
        }
    }

    fn request(&self, action: &str, body: &Value) -> Result<Request<Full<Bytes>>, Error> {
        let Shared { target, credentials, clock, .. } = &*self.shared;
        let body = Bytes::from(body.to_string());
        let date = basic_date(clock.now());
        let action = format!("Kinesis_20131202.{action}");
        let mut headers =
            vec![("content-type", CONTENT_TYPE), ("host", target.host()), ("x-amz-date", &date)];
        if let Some(token) = &credentials.token {
            headers.push(("x-amz-security-token", token));
        }
        headers.push(("x-amz-target", &action));
        let path = target.url.path.as_str();
        let authorization = credentials.authorization(path, &headers, &body, &date);
        let mut request = Request::builder().method(Method::POST).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
            .header("authorization", authorization)
            .body(Full::new(body))
            .map_err(|error| Error::Endpoint(format!("cannot be asked: {error}")))
    }
}

fn refused(action: &str, answer: &Answer) -> Error {
    let body: ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
    // Some servers put a name space before it.
    let kind = body.kind.rsplit('#').next().unwrap_or_default();
    let message = match (kind, body.message.as_str()) {
        ("", _) => format!("{action}: {}", answer.status),
        (kind, "") => format!("{action}: {kind}"),
        (_, message) => message.to_owned(),
    };
    let reason = if answer.status.is_server_error() { Reason::Busy } else { reason_of(kind) };
    refusal(reason, message)
}

/// What kind of refusal an error of the API is.
fn reason_of(kind: &str) -> Reason {
    match kind {
        "ResourceNotFoundException" => Reason::UnknownStream,
        "ResourceInUseException" => Reason::NotAllowed,
        // What a stream, an account or a shard may do in a second.
        "LimitExceededException"
        | "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "KMSThrottlingException" => Reason::OverQuota,
        "InvalidArgumentException" | "ValidationException" | "SerializationException" => {
            Reason::Invalid
        }
        "ExpiredIteratorException" => Reason::OutOfRange,
        "InternalFailure" | "InternalFailureException" | "ServiceUnavailable" => Reason::Busy,
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException" => Reason::NotAllowed,
        _ => Reason::Unspecified,
    }
}

fn refusal(reason: Reason, message: impl Into<String>) -> Error {
    Error::Refused(Refusal { reason, message: message.into(), retry_after: Duration::ZERO })
}

/// In weir's words, where it has words for the same.
fn named(error: Error, stream: &str) -> Error {
    match error.reason() {
        Some(Reason::UnknownStream) => {
            refusal(Reason::UnknownStream, format!("there is no stream {stream}"))
        }
        _ => error,
    }
}

fn unknown_partition(index: u32) -> Error {
    refusal(Reason::UnknownPartition, format!("there is no partition {index}"))
}
