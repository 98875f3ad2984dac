//! From a request with its body to an answer: the order in which AWS checks things.
//!
//! | step | what fails | answer |
//! |---|---|---|
//! | 1 | not POST | 403, XML: cannot tell the operation |
//! | 2 | no body | `SerializationException`; `UnknownOperationException` if the target is wrong |
//! | 3 | media type is neither JSON 1.1 nor CBOR 1.1 | 403 without a target, else 404, both XML |
//! | 4 | body is not well formed, or no map or list | `SerializationException`, no message |
//! | 5 | target names no operation | `UnknownOperationException` |
//! | 6 | signature absent, incomplete or wrong | the exceptions of [`auth`](crate::auth) |
//! | 7 | a member has the wrong type ([`convert`](crate::convert)) | `SerializationException` |
//! | 8 | a member violates a constraint ([`validate`](crate::validate)) | `ValidationException` |
//! | 9 | a policy forbids it ([`access`]) | `AccessDeniedException` |
//! | 10 | it is called too often ([`call_rates`]) | `LimitExceededException` |
//! | 11 | the operation itself | its own errors |
//!
//! Plain `application/json` reaches another protocol of AWS's server and fails in its own form. A
//! preflight request of a browser is answered before all of them, in [`http`](crate::http).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use tracing::{debug, error, warn};
use weir_core::metrics::RequestMetrics;
use weir_core::metrics::latency::Stage;
use weir_model::time::Moment;

use crate::action::{Action, Call, Run};
use crate::auth::access;
use crate::caller::Caller;
use crate::errors::{ErrorKind, KinesisError};
use crate::input::Input;
use crate::log_text::for_log;
use crate::service::KinesisService;
use crate::subscription::Subscription;
use crate::wire::{self, Encoding, Value, event_stream};
use crate::{call_rates, convert, faults, validate};

/// The part of the target before the dot.
const SERVICE: &str = "Kinesis_20131202";

/// What goes back, apart from the headers that all answers have.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: Option<&'static str>,
    pub(crate) body: Reply,
}

/// What an operation ends in.
#[derive(Debug)]
pub(crate) enum Reply {
    /// One body.
    Whole(Bytes),
    /// Events, for as long as they are wanted.
    Events(Box<Subscription>),
    /// Events that break off after so long, because somebody wants them to.
    Breaking(Box<Subscription>, Duration),
    /// Nothing: the connection breaks off, because somebody wants it to.
    BrokenOff,
}

/// Checks a request, whose body took `received_in` to come, and runs its operation.
pub(crate) async fn dispatch(
    service: &Arc<KinesisService>,
    caller: &Arc<Caller>,
    head: &Parts,
    body: &Bytes,
    received_in: Duration,
) -> Answer {
    let clock = service.broker().clock();
    let begun = clock.real_moment();
    let target = header_text(&head.headers, "x-amz-target");
    let action = find_action(service, target);
    let encoding = match check_transport(head, target, action.is_some(), body) {
        Ok(encoding) => encoding,
        Err(answer) => {
            let (operation, status) = (for_log(target), answer.status);
            warn!(peer = %caller.peer, operation, status, "kinesis request refused");
            return answer;
        }
    };
    if let Some((_, metrics)) = action {
        metrics.requests.add(1);
        metrics.bytes_in.add(body.len() as u64);
        metrics.latency.observe(Stage::Receive, received_in);
    }
    let request = Request { service, caller, head, body, encoding, action, begun };
    let (status, reply) = match request.run().await {
        Ok(reply) => (200, reply),
        Err(error) => {
            log_error(&error, caller.peer, target);
            if let Some((_, metrics)) = action {
                metrics.errors.add(1);
            }
            (error.kind.status(), Reply::Whole(error.body(encoding)))
        }
    };
    if let Some((_, metrics)) = action {
        metrics.latency.observe_total(clock.real_moment().since(begun));
        if let Reply::Whole(body) = &reply {
            metrics.bytes_out.add(body.len() as u64);
        }
    }
    let media_type = match &reply {
        Reply::Whole(_) | Reply::BrokenOff => encoding.media_type(),
        Reply::Events(_) | Reply::Breaking(..) => event_stream::MEDIA_TYPE,
    };
    Answer { status, media_type: Some(media_type), body: reply }
}

fn find_action<'s>(
    service: &'s KinesisService,
    target: &str,
) -> Option<(&'static Action, &'s RequestMetrics)> {
    let (api, operation) = target.split_once('.')?;
    if api == SERVICE { service.action(operation) } else { None }
}

/// Steps 1 to 3: what is decided before anything of the body is understood.
fn check_transport(
    head: &Parts,
    target: &str,
    target_is_known: bool,
    body: &Bytes,
) -> Result<Encoding, Answer> {
    if head.method != Method::POST {
        return Err(undetermined_operation());
    }
    let content_type = header_text(&head.headers, CONTENT_TYPE.as_str());
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let encoding = Encoding::of_media_type(media_type);
    if body.is_empty() {
        let error = match target_is_known {
            true => KinesisError::malformed_body(),
            false => KinesisError::unknown_operation(),
        };
        return Err(error_answer(&error, encoding.unwrap_or(Encoding::Cbor)));
    }
    match encoding {
        Some(encoding) => Ok(encoding),
        None if media_type.eq_ignore_ascii_case("application/json") => Err(plain_json(body)),
        None if target.split_once('.').is_none() => Err(undetermined_operation()),
        None => Err(Answer {
            status: 404,
            media_type: None,
            body: Reply::Whole(Bytes::from_static(b"<UnknownOperationException/>\n")),
        }),
    }
}

/// A request whose transport is in order.
struct Request<'r> {
    service: &'r Arc<KinesisService>,
    caller: &'r Arc<Caller>,
    head: &'r Parts,
    body: &'r Bytes,
    encoding: Encoding,
    action: Option<(&'static Action, &'r RequestMetrics)>,
    begun: Moment,
}

impl Request<'_> {
    /// Steps 4 to 11.
    async fn run(&self) -> Result<Reply, KinesisError> {
        let tree =
            wire::parse(self.encoding, self.body).map_err(|_| KinesisError::malformed_body())?;
        if !matches!(tree, Value::Map(_) | Value::List(_)) {
            return Err(KinesisError::malformed_body());
        }
        let (action, metrics) = self.action.ok_or_else(KinesisError::unknown_operation)?;
        let options = self.service.options();
        let now = options.system_clock.now();
        let shown = options.authentication.check(self.head, self.body, now)?;
        let members = convert::convert_input(tree, action.members, self.encoding)?;
        let input = Input::new(&members);
        validate::validate(&input, action.members)?;
        let call = Call {
            service: self.service,
            input,
            body: self.body,
            encoding: self.encoding,
            region: shown.region.as_deref().unwrap_or(&options.region),
            identity: shown.identity,
            caller: self.caller,
            metrics,
        };
        access::check(&call, action.name)?;
        call_rates::charge(&call, action)?;
        let clock = self.service.broker().clock();
        let checked = clock.real_moment();
        metrics.latency.observe(Stage::Begin, checked.since(self.begun));
        let result = match self.service.broker().faults().is_any() {
            true => faults::around(&call, action).await,
            false => carry_out(&call, action).await,
        };
        metrics.latency.observe(Stage::Answer, clock.real_moment().since(checked));
        if let Err(error) = &result
            && error.kind == ErrorKind::ProvisionedThroughputExceeded
        {
            let why = error.message.as_deref().unwrap_or_default();
            self.service.log_throttle(&call, why);
        }
        result
    }
}

/// Step 11.
pub(crate) async fn carry_out(call: &Call<'_>, action: &Action) -> Result<Reply, KinesisError> {
    match action.run {
        Run::Reply(run) => run(call).await.map(Reply::Whole),
        Run::Events(run) => {
            run(call).await.map(|subscription| Reply::Events(Box::new(subscription)))
        }
    }
}

fn log_error(error: &KinesisError, peer: SocketAddr, target: &str) {
    let kind = error.kind.name();
    let operation = for_log(target);
    let why = for_log(error.message.as_deref().unwrap_or_default());
    match error.kind {
        ErrorKind::InternalFailure => {
            let cause = error.cause.as_deref().unwrap_or_default();
            error!(%peer, operation, cause, "kinesis request failed");
        }
        // The throttle log has said it, or will.
        ErrorKind::ProvisionedThroughputExceeded => {}
        _ if error.kind.is_malformed_request() => {
            warn!(%peer, operation, kind, why, "kinesis request refused");
        }
        _ => debug!(%peer, operation, kind, why, "kinesis request answered with an error"),
    }
}

fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn error_answer(error: &KinesisError, encoding: Encoding) -> Answer {
    Answer {
        status: error.kind.status(),
        media_type: Some(encoding.media_type()),
        body: Reply::Whole(error.body(encoding)),
    }
}

/// AWS's front door, when it cannot tell what is wanted. Without a content type, as there.
fn undetermined_operation() -> Answer {
    Answer {
        status: 403,
        media_type: None,
        body: Reply::Whole(Bytes::from_static(
            b"<AccessDeniedException>\n  \
              <Message>Unable to determine service/operation name to be authorized</Message>\n\
              </AccessDeniedException>\n",
        )),
    }
}

/// `application/json` reaches another protocol of AWS's server, which knows no operations.
fn plain_json(body: &Bytes) -> Answer {
    let (status, text) = match wire::parse(Encoding::Json, body) {
        Ok(Value::Map(_) | Value::List(_)) => (
            404,
            concat!(
                r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"#,
                r#""Version":"1.0"}"#
            ),
        ),
        _ => (
            400,
            concat!(
                r#"{"Output":{"__type":"com.amazon.coral.service#SerializationException"},"#,
                r#""Version":"1.0"}"#
            ),
        ),
    };
    Answer {
        status,
        media_type: Some("application/json"),
        body: Reply::Whole(Bytes::from_static(text.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::ACTIONS;
    use crate::harness::Harness;
    use http_body_util::Full;
    use hyper::Request as HttpRequest;
    use proptest::prelude::*;

    const JSON: &str = "application/x-amz-json-1.1";
    const CBOR: &str = "application/x-amz-cbor-1.1";
    const ACCESS_DENIED: &str = "<AccessDeniedException>\n  \
        <Message>Unable to determine service/operation name to be authorized</Message>\n\
        </AccessDeniedException>\n";
    const MALFORMED: &str = r#"{"__type":"SerializationException"}"#;
    const UNKNOWN: &str = r#"{"__type":"UnknownOperationException"}"#;

    /// A request without a signature.
    struct Sent {
        method: &'static str,
        media_type: &'static str,
        target: &'static str,
        body: &'static [u8],
    }

    const GOOD: Sent = Sent {
        method: "POST",
        media_type: JSON,
        target: "Kinesis_20131202.ListStreams",
        body: b"{}",
    };

    async fn answer(sent: Sent) -> (u16, String) {
        let request = HttpRequest::builder()
            .method(sent.method)
            .uri("/any/path")
            .header("content-type", sent.media_type)
            .header("x-amz-target", sent.target)
            .body(Full::new(Bytes::from_static(sent.body)))
            .expect("a request");
        let answered = Harness::new().await.send(request).await;
        assert_eq!(answered.headers["x-amzn-requestid"].len(), 36);
        assert_eq!(answered.headers["x-amz-id-2"].len(), 96);
        (answered.status, String::from_utf8_lossy(&answered.body).into_owned())
    }

    #[tokio::test]
    async fn requests_fail_at_the_first_check_that_they_do_not_pass() {
        let no_token = concat!(
            r#"{"__type":"MissingAuthenticationTokenException","#,
            r#""message":"Missing Authentication Token"}"#
        );
        let coral = |name: &str| {
            format!(
                r#"{{"Output":{{"__type":"com.amazon.coral.service#{name}"}},"Version":"1.0"}}"#
            )
        };
        for (what, sent, status, body) in [
            ("not POST", Sent { method: "GET", ..GOOD }, 403, ACCESS_DENIED.to_owned()),
            (
                "not POST",
                Sent { method: "DELETE", body: b"", ..GOOD },
                403,
                ACCESS_DENIED.to_owned(),
            ),
            ("no body", Sent { body: b"", ..GOOD }, 400, MALFORMED.to_owned()),
            (
                "no body, no target",
                Sent { body: b"", target: "x", ..GOOD },
                400,
                UNKNOWN.to_owned(),
            ),
            (
                "media type",
                Sent { media_type: "text/plain", ..GOOD },
                404,
                "<UnknownOperationException/>\n".to_owned(),
            ),
            (
                "media type, no target",
                Sent { media_type: "", target: "", ..GOOD },
                403,
                ACCESS_DENIED.to_owned(),
            ),
            (
                "plain JSON",
                Sent { media_type: "application/json", ..GOOD },
                404,
                coral("UnknownOperationException"),
            ),
            (
                "plain JSON",
                Sent { media_type: "application/json", body: b"{", ..GOOD },
                400,
                coral("SerializationException"),
            ),
            (
                "malformed",
                Sent { body: b"hello", target: "x.y", ..GOOD },
                400,
                MALFORMED.to_owned(),
            ),
            ("a scalar", Sent { body: b"1", ..GOOD }, 400, MALFORMED.to_owned()),
            (
                "target",
                Sent { target: "Kinesis_20131202.ListStream", ..GOOD },
                400,
                UNKNOWN.to_owned(),
            ),
            (
                "target",
                Sent { target: "Kinesis_20131203.ListStreams", ..GOOD },
                400,
                UNKNOWN.to_owned(),
            ),
            (
                "not yet built",
                Sent { target: "Kinesis_20131202.ListQueues", ..GOOD },
                400,
                UNKNOWN.to_owned(),
            ),
            ("signature", Sent { body: br#"{"Limit":"x"}"#, ..GOOD }, 400, no_token.to_owned()),
            (
                "parameters",
                Sent { media_type: "application/x-amz-json-1.1; charset=utf-8", ..GOOD },
                400,
                no_token.to_owned(),
            ),
        ] {
            assert_eq!(answer(sent).await, (status, body), "{what}");
        }
    }

    #[tokio::test]
    async fn cbor_requests_get_cbor_errors() {
        for (sent, name) in [
            (Sent { media_type: CBOR, body: b"", ..GOOD }, "SerializationException"),
            (Sent { media_type: CBOR, body: b"\xff", ..GOOD }, "SerializationException"),
            (
                Sent { media_type: CBOR, body: b"\xa0", target: "x", ..GOOD },
                "UnknownOperationException",
            ),
            // Without a body, AWS answers in CBOR unless JSON was asked for.
            (Sent { media_type: "text/plain", body: b"", ..GOOD }, "SerializationException"),
        ] {
            let (status, body) = answer(sent).await;
            assert_eq!(status, 400);
            assert!(
                body.contains("__type") && body.contains(name) && !body.contains('{'),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn types_are_checked_before_constraints_and_both_before_the_operation() {
        let harness = Harness::new().await;
        for (input, kind, message) in [
            (
                serde_json::json!({"StreamName": 1, "Limit": 0}),
                "Serialization",
                "class com.amazon.coral.value.json.numbers.TruncatingBigNumber \
                 can not be converted to an String",
            ),
            (
                serde_json::json!({"StreamName": "missing", "Limit": 0}),
                "Validation",
                "1 validation error detected: Value '0' at 'limit' failed to satisfy \
                 constraint: Member must have value greater than or equal to 1",
            ),
            (
                serde_json::json!({"StreamName": "missing"}),
                "ResourceNotFound",
                "Stream missing under account 000000000000 not found.",
            ),
        ] {
            let expected = (kind.to_owned(), message.to_owned());
            assert_eq!(harness.error("DescribeStream", input).await, expected);
        }
    }

    #[tokio::test]
    async fn requests_and_errors_are_counted_per_operation() {
        let harness = Harness::new().await;
        harness.ok("ListStreams", serde_json::json!({})).await;
        harness.error("ListStreams", serde_json::json!({"Limit": 0})).await;
        let (_, metrics) = harness.service.action("ListStreams").expect("an operation");
        assert_eq!(metrics.requests.get(), 2);
        assert_eq!(metrics.errors.get(), 1);
        assert!(metrics.bytes_in.get() > 0 && metrics.bytes_out.get() > 0);
    }

    /// Any JSON under the names that the operations know, so that it gets past the first checks.
    fn any_members() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value as Any;
        let known = ACTIONS.iter().flat_map(|action| action.members);
        let names: Vec<&str> = known.map(|member| member.name).collect();
        let name = proptest::sample::select(names).prop_map(str::to_owned);
        let inner_name = name.clone();
        let leaf = prop_oneof![
            Just(Any::Null),
            any::<bool>().prop_map(Any::from),
            any::<i64>().prop_map(Any::from),
            any::<f64>().prop_map(Any::from),
            // Texts that a shape may accept, and others.
            proptest::sample::select(vec!["s", "0", "LATEST", "AT_TIMESTAMP", "aGk=", "AAAA"])
                .prop_map(Any::from),
            ".{0,8}".prop_map(Any::from),
        ];
        let tree = leaf.prop_recursive(3, 16, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Any::from),
                proptest::collection::btree_map(inner_name.clone(), inner, 0..4)
                    .prop_map(|members| Any::from(serde_json::Map::from_iter(members))),
            ]
        });
        proptest::collection::btree_map(name, tree, 0..6)
            .prop_map(|members| Any::from(serde_json::Map::from_iter(members)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_is_sent_is_answered_and_is_never_our_fault(
            members in any_members(),
            bytes in proptest::collection::vec(any::<u8>(), 1..64),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.expect("a runtime").block_on(async {
                let harness = Harness::new().await;
                harness.create_stream("s", 1).await;
                for action in ACTIONS {
                    let (status, body) = harness.call(action.name, members.clone()).await;
                    assert!(status == 200 || status == 400, "{}: {body}", action.name);
                    for media_type in [JSON, CBOR] {
                        let body = bytes.clone();
                        let answered = harness.call_raw(action.name, media_type, body).await;
                        assert!(answered.status == 200 || answered.status == 400);
                    }
                }
            });
        }
    }
}
