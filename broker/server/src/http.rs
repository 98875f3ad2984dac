//! The `--http` listener: is the broker alive, is it ready, what has it counted?
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 while the process can answer at all |
//! | `/readyz` | 200 and JSON while all listeners take requests; 503 once the broker is stopping |
//! | `/metrics` | OpenMetrics, or Prometheus' older text, see [`metrics`](crate::metrics) |
//! | `/api/v1/…` | what tests and operators ask for, see [`control`](crate::control) |
//!
//! HTTP/1.1 on plain hyper; the console will take the listener over.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};
use weir_core::broker::Broker;
use weir_core::metrics::Dialect;
use weir_model::time::Moment;

use crate::control::{self, Control};
use crate::metrics;
use crate::serve::Addresses;

/// Most connections at one time; one more is closed at once.
const CONNECTIONS_MAX: usize = 256;
/// A client that has not sent its request's head by then is let go.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(5);
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Pause after a failed accept, which mostly means that descriptors have run out.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What all connections of the listener share.
#[derive(Debug)]
pub(crate) struct HttpService {
    broker: Arc<Broker>,
    addresses: Addresses,
    started: Moment,
    stop: watch::Receiver<bool>,
    connections: Semaphore,
    control: Control,
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    version: &'static str,
    pid: u32,
    uptime_ms: u64,
    flush: &'static str,
    listeners: &'a Addresses,
    log: LogReadiness,
}

#[derive(Serialize)]
struct LogReadiness {
    epoch: u32,
    streams: usize,
    unflushed_bytes: u64,
}

impl HttpService {
    pub(crate) fn new(
        broker: Arc<Broker>,
        addresses: Addresses,
        stop: watch::Receiver<bool>,
        control: Control,
    ) -> Arc<HttpService> {
        let started = broker.clock().real_moment();
        let connections = Semaphore::new(CONNECTIONS_MAX);
        Arc::new(HttpService { broker, addresses, started, stop, connections, control })
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let is_known = matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics");
        if is_known && !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/livez" => plain(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" => self.readiness(),
            "/metrics" => {
                let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
                let format = metrics::Format::accepted_by(accept.unwrap_or_default());
                let text = metrics::render(&self.broker, format).await;
                plain(StatusCode::OK, format.content_type(), text)
            }
            _ => plain(StatusCode::NOT_FOUND, TEXT, "see /livez, /readyz and /metrics\n"),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let ready = !*self.stop.borrow();
        let uptime = self.broker.clock().real_moment().since(self.started);
        let body = Readiness {
            ready,
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            flush: self.broker.options().default_flush.name(),
            listeners: &self.addresses,
            log: LogReadiness {
                epoch: self.broker.log().epoch().number(),
                streams: self.broker.streams().len(),
                unflushed_bytes: self.broker.log().stats().unflushed_bytes,
            },
        };
        let mut text = serde_json::to_string(&body).expect("plain fields always serialise");
        text.push('\n');
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        plain(status, JSON, text)
    }
}

fn plain(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Serves `listener` until the broker stops, then lets connections answer what they have read.
pub(crate) async fn serve(listener: TcpListener, service: Arc<HttpService>) {
    let mut stop = service.stop.clone();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve_stream(stream, Arc::clone(&service)));
            }
            Err(error) => {
                warn!(%error, "cannot accept an http connection");
                tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_stream(stream: TcpStream, service: Arc<HttpService>) {
    let Ok(_place) = service.connections.try_acquire() else {
        warn!("refusing an http connection: too many are open");
        return;
    };
    let _counted = service.broker.metrics().connection(Dialect::Http);
    let answer = service_fn(|request: Request<Incoming>| async {
        let is_control = request.uri().path().starts_with(control::PREFIX);
        Ok::<_, Infallible>(match is_control {
            true => service.control.answer(request).await,
            false => service.answer(&request).await,
        })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let mut stop = service.stop.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "http connection ended");
    }
}
