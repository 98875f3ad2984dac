//! `/api/v1/…` of the `--http` listener: what a test or an operator asks of a broker beyond streams
//! and records.
//!
//! | request | answer |
//! |---|---|
//! | `GET /api/v1/clock` | `{"now_ms": …, "manual": …}` |
//! | `POST /api/v1/clock` `{"advance_ms": …}` | the same, after all that became due has run |
//! | `GET /api/v1/faults` | `{"faults": […]}`: the rules, and what each has struck |
//! | `PUT /api/v1/faults` `{"faults": […]}` | the same, with these rules in place of the others |
//! | `DELETE /api/v1/faults` | the same, without rules |
//! | `GET /api/v1/log-levels` | `{"levels": {"default": "info", …}}`: what is logged |
//! | `PUT /api/v1/log-levels` `{"weir_kafka": "debug"}` | the same, these over those of the start |
//! | `DELETE /api/v1/log-levels` | the same, with those of the start |
//!
//! Log levels are set by module ([`logging`](crate::logging)); `default` is the level of the rest.
//!
//! Bodies are JSON, and said to be: a web page of somebody else's cannot send such a request
//! without asking first, which is not answered. Errors are `{"error": "…"}`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tracing::warn;
use weir_core::broker::Broker;
use weir_core::faults::FaultRule;
use weir_model::time::SettableClock;

use crate::logging::LogLevels;

/// The paths that are answered here.
pub(crate) const PREFIX: &str = "/api/v1/";
/// Longest body, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// A body that has not come by then is not waited for.
const BODY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Furthest step of the clock: a hundred years.
const ADVANCE_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;
/// How long what has become due may take before that is reported.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(30);
const SETTLE_LOOK: Duration = Duration::from_millis(1);

/// What the requests act on.
#[derive(Debug)]
pub(crate) struct Control {
    broker: Arc<Broker>,
    /// None: the clock moves by itself.
    clock: Option<Arc<SettableClock>>,
}

/// A refusal: its status and why.
type Refused = (StatusCode, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockMove {
    advance_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultList {
    faults: Vec<FaultRule>,
}

impl Control {
    pub(crate) fn new(broker: Arc<Broker>, clock: Option<Arc<SettableClock>>) -> Control {
        Control { broker, clock }
    }

    /// Answers a request below [`PREFIX`].
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let answered = match (path.as_str(), request.method()) {
            ("clock", &Method::GET) => Ok(self.shown_clock()),
            ("clock", &Method::POST) => self.move_clock(request).await,
            ("clock", _) => return not_allowed("GET, POST"),
            ("faults", &Method::GET) => Ok(self.shown_faults()),
            ("faults", &Method::PUT) => self.set_faults(request).await,
            ("faults", &Method::DELETE) => {
                self.broker.faults().replace(Vec::new());
                Ok(self.shown_faults())
            }
            ("faults", _) => return not_allowed("GET, PUT, DELETE"),
            ("log-levels", &Method::GET) => shown_levels(),
            ("log-levels", &Method::PUT) => set_levels(request).await,
            ("log-levels", &Method::DELETE) => replace_levels(&BTreeMap::new()),
            ("log-levels", _) => return not_allowed("GET, PUT, DELETE"),
            _ => Err((StatusCode::NOT_FOUND, format!("there is no {PREFIX}{path}"))),
        };
        match answered {
            Ok(body) => json_answer(StatusCode::OK, &body),
            Err((status, why)) => json_answer(status, &json!({ "error": why })),
        }
    }

    fn shown_faults(&self) -> Json {
        json!({"faults": self.broker.faults().report()})
    }

    async fn set_faults(&self, request: Request<Incoming>) -> Result<Json, Refused> {
        let FaultList { faults } = body_of(request).await?;
        crate::faults::check(&faults).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
        self.broker.faults().replace(faults);
        Ok(self.shown_faults())
    }

    fn shown_clock(&self) -> Json {
        let now_ms = self.broker.clock().now().as_millis();
        json!({"now_ms": now_ms, "manual": self.clock.is_some()})
    }

    async fn move_clock(&self, request: Request<Incoming>) -> Result<Json, Refused> {
        let clock = self.clock.as_ref().ok_or_else(|| {
            let why = "the clock moves by itself; start weir with --manual-clock to move it";
            (StatusCode::CONFLICT, why.to_owned())
        })?;
        let ClockMove { advance_ms } = body_of(request).await?;
        if advance_ms > ADVANCE_MS_MAX {
            let why = format!("advance_ms is {advance_ms}, at most {ADVANCE_MS_MAX}");
            return Err((StatusCode::BAD_REQUEST, why));
        }
        clock.advance(Duration::from_millis(advance_ms));
        let settled = async {
            while !clock.is_settled() {
                tokio::time::sleep(SETTLE_LOOK).await;
            }
        };
        if tokio::time::timeout(SETTLE_TIME_MAX, settled).await.is_err() {
            warn!(advance_ms, "what the moved clock made due has not run in time");
            let why =
                format!("the clock was moved, and what is due runs after {SETTLE_TIME_MAX:?}");
            return Err((StatusCode::SERVICE_UNAVAILABLE, why));
        }
        Ok(self.shown_clock())
    }
}

fn shown_levels() -> Result<Json, Refused> {
    Ok(json!({"levels": log_levels()?.shown()}))
}

async fn set_levels(request: Request<Incoming>) -> Result<Json, Refused> {
    let wanted: BTreeMap<String, String> = body_of(request).await?;
    replace_levels(&wanted)
}

fn replace_levels(wanted: &BTreeMap<String, String>) -> Result<Json, Refused> {
    log_levels()?.replace(wanted).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    shown_levels()
}

fn log_levels() -> Result<&'static LogLevels, Refused> {
    LogLevels::of_process().ok_or_else(|| {
        let why = "the program that weir is a part of has its own log";
        (StatusCode::CONFLICT, why.to_owned())
    })
}

async fn body_of<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refused> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let told = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = told.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let why = "the content type is not application/json".to_owned();
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let body = tokio::time::timeout(BODY_WAIT_MAX, body).await;
    let body = body.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the body is late".to_owned()))?;
    let body = body.map_err(|error| bad(format!("cannot read the body: {error}")))?;
    let body = body.to_bytes();
    // serde would take an array for an object with its members in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("the body is not a JSON object".to_owned()));
    }
    serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let why = json!({"error": format!("only {methods}")});
    let mut response = json_answer(StatusCode::METHOD_NOT_ALLOWED, &why);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn json_answer(status: StatusCode, body: &Json) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
