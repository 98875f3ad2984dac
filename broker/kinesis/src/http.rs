//! HTTP: sockets, HTTP/1.1 and HTTP/2 on one port, with or without TLS, limits and deadlines.
//!
//! SDKs differ: JavaScript and asynchronous Java open HTTP/2 by prior knowledge, the others speak
//! HTTP/1.1; the first bytes of a connection tell which. Over TLS they agree on it beforehand
//! ([`TLS_PROTOCOLS`]). The path is ignored, as AWS ignores it.
//!
//! | limit | |
//! |---|---|
//! | headers | 16 KiB, 100 of them |
//! | body | 16 MiB: PutRecords' 10 MiB in base64, and some more |
//! | a body's pace | 1 KiB/s on average, never still for 5 s |
//! | bodies in memory | the broker's budget of request bytes, charged as a body arrives |
//! | a TLS handshake | 5 s |
//! | streams of an HTTP/2 connection | 100 |
//! | connections | 10,000; further ones wait to be accepted |
//!
//! What a request means is [`dispatch`](crate::dispatch)'s business. A browser's preflight request
//! is answered here.

use std::fmt;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};
use weir_core::metrics::Dialect;
use weir_core::request_budget::BudgetShare;
use weir_model::random::Random;

use crate::caller::Caller;
use crate::connection_end::{log_end, log_failed_handshake};
use crate::dispatch::{Reply, dispatch};
use crate::service::KinesisService;
use crate::stalled::Stalled;
use crate::subscription::EventBody;

const HEADER_BYTES_MAX: usize = 16 * 1024;
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const STREAMS_PER_CONNECTION_MAX: u32 = 100;
const CONNECTIONS_MAX: usize = 10_000;
const HEADER_READ_TIME_MAX: Duration = Duration::from_secs(75);
const BODY_STILL_TIME_MAX: Duration = Duration::from_secs(5);
const BODY_BYTES_PER_SECOND_MIN: u64 = 1024;
/// Also hyper's buffer for reading, so that a body is not read in tiny pieces; the headers' own
/// limit is checked after they were parsed.
const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait when the system has no descriptor left for a new connection.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date",
);

/// What a TLS listener offers by ALPN, in the order of preference.
pub const TLS_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// How connections to one of our addresses are encrypted.
pub type TlsAcceptors = dyn Fn(SocketAddr) -> TlsAcceptor + Send + Sync;

/// Serves all connections of a listener, encrypted if there is `tls`, until `shutdown` completes,
/// then stops accepting, lets every request that has begun be answered, and returns.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<TlsAcceptors>>,
    service: Arc<KinesisService>,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (slot, accepted) = accept(&listener, &slots) => match accepted {
                Ok((socket, peer)) => {
                    // Replies are written whole; waiting for more to send only delays them.
                    if let Err(error) = socket.set_nodelay(true) {
                        debug!(%peer, %error, "could not switch off nagle's algorithm");
                    }
                    let (service, stopped) = (Arc::clone(&service), stopped.clone());
                    let tls = tls.clone();
                    connections.spawn(async move {
                        match tls.as_deref() {
                            None => serve_connection(socket, peer, service, stopped).await,
                            Some(tls) => {
                                serve_encrypted(socket, peer, tls, service, stopped).await;
                            }
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(%error, "could not accept a kinesis connection");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, std::io::Result<(tokio::net::TcpStream, SocketAddr)>) {
    // The semaphore is never closed, so there always is a slot in the end.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    (slot, listener.accept().await)
}

/// Shakes hands, then serves what is inside.
async fn serve_encrypted(
    socket: TcpStream,
    peer: SocketAddr,
    tls: &TlsAcceptors,
    service: Arc<KinesisService>,
    mut stopped: watch::Receiver<bool>,
) {
    let Ok(local) = socket.local_addr() else {
        return debug!(%peer, "the client left before it was served");
    };
    let handshake = timeout(HANDSHAKE_TIME_MAX, tls(local).accept(socket));
    let encrypted = tokio::select! {
        encrypted = handshake => encrypted,
        () = turned_true(&mut stopped) => return,
    };
    match encrypted {
        Ok(Ok(encrypted)) => serve_connection(encrypted, peer, service, stopped).await,
        Ok(Err(error)) => log_failed_handshake(peer, &error),
        Err(_) => warn!(%peer, "closing connection: no TLS handshake within 5 s"),
    }
}

/// Serves one connection, with or without TLS around it, until the client closes it, it fails, or
/// `stopped` turns true and its last answer is sent.
pub async fn serve_connection<IO>(
    io: IO,
    peer: SocketAddr,
    service: Arc<KinesisService>,
    mut stopped: watch::Receiver<bool>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = service.broker().metrics().connection(Dialect::Kinesis);
    let builder = connection_builder();
    let caller = Arc::new(Caller::new(peer, stopped.clone()));
    let answer = service_fn(move |request| {
        let (service, caller) = (Arc::clone(&service), Arc::clone(&caller));
        async move {
            let response = service.answer(&caller, request).await;
            match response.body() {
                ReplyBody::BrokenOff => Err(BrokenOff),
                _ => Ok(response),
            }
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Stalled::new(io)), answer));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = turned_true(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        log_end(peer, &*error);
    }
}

/// Waits until the value is true, or nobody is left to make it so.
async fn turned_true(stopped: &mut watch::Receiver<bool>) {
    while !*stopped.borrow_and_update() {
        if stopped.changed().await.is_err() {
            return;
        }
    }
}

fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIME_MAX)
        .max_buf_size(READ_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        // What one connection may send before we have read it.
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    builder
}

impl KinesisService {
    /// Answers one request: reads its body within the limits, then dispatches it.
    pub(crate) async fn answer<B>(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        request: Request<B>,
    ) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let peer = caller.peer;
        let (head, body) = request.into_parts();
        if header_bytes(&head.headers) > HEADER_BYTES_MAX {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return self.refuse(peer, status, "headers are too large");
        }
        if is_preflight(&head) {
            return self.preflight_answer(&head.headers);
        }
        let clock = self.broker().clock();
        let begun = clock.real_moment();
        // Only a POST can mean anything; others are refused without a look at their body.
        let body = match head.method {
            Method::POST => self.read_body(body).await,
            _ => Ok(ReadBody::default()),
        };
        let body = match body {
            Ok(body) => body,
            Err(BodyRefusal::Broken) if head.version == Version::HTTP_2 => {
                // SDKs take a stream back at their deadlines; nobody reads the answer.
                debug!(%peer, "kinesis request taken back");
                return self.bare(StatusCode::BAD_REQUEST);
            }
            Err(refusal) => return self.refuse(peer, refusal.status(), refusal.why()),
        };
        let received_in = clock.real_moment().since(begun);
        let answer = dispatch(self, caller, &head, &body.bytes, received_in).await;
        let mut response = self.response(answer.status, answer.body);
        let headers = response.headers_mut();
        if let Some(media_type) = answer.media_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        if head.headers.contains_key(header::ORIGIN) {
            let any = HeaderValue::from_static("*");
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
        response
    }

    async fn read_body<B>(&self, mut body: B) -> Result<ReadBody, BodyRefusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let hint = body.size_hint();
        if hint.lower() > BODY_BYTES_MAX as u64 {
            return Err(BodyRefusal::TooLarge);
        }
        // A client that does not tell the length may send the longest body.
        let told = hint.upper().and_then(|told| usize::try_from(told).ok());
        let length = told.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        let clock = self.broker().clock();
        let mut budget = self.broker().request_budget().begin(length);
        let mut begun = clock.real_moment();
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(BODY_STILL_TIME_MAX, body.frame())
                .await
                .map_err(|_| BodyRefusal::TooSlow)?;
            let Some(frame) = frame else { break };
            let read = first.len().max(joined.len());
            let earned = Duration::from_secs(read as u64 / BODY_BYTES_PER_SECOND_MIN);
            if clock.real_moment().since(begun) > BODY_STILL_TIME_MAX + earned {
                return Err(BodyRefusal::TooSlow);
            }
            // What is not data is trailers, which mean nothing here.
            let Ok(data) = frame.map_err(|_| BodyRefusal::Broken)?.into_data() else {
                continue;
            };
            let held_bytes = read + data.len();
            if held_bytes > BODY_BYTES_MAX {
                return Err(BodyRefusal::TooLarge);
            }
            while budget.covered_bytes() < held_bytes.min(length) {
                // Time that the budget takes is not the client's.
                let waits_from = clock.real_moment();
                budget.grow().await;
                begun = begun.plus(clock.real_moment().since(waits_from));
            }
            // Most bodies come in one piece, which then needs no copy.
            if read == 0 {
                first = data;
                continue;
            }
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.reserve(budget.covered_bytes().max(held_bytes) - joined.len());
            joined.extend_from_slice(&data);
        }
        let bytes = if joined.is_empty() { first } else { joined.freeze() };
        budget.arrive(bytes.len()).await;
        Ok(ReadBody { bytes, _budget: Some(budget) })
    }

    /// An answer with the headers that all answers have; hyper adds `Date` and `Content-Length`.
    fn response(&self, status: u16, body: Reply) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::of(body));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let random = self.broker().random();
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, request_id(random));
        headers.insert(EXTENDED_REQUEST_ID, extended_request_id(random));
        response
    }

    /// A bare status, and the end of an HTTP/1 connection, whose body was not read to its end.
    fn refuse(
        &self,
        peer: SocketAddr,
        status: StatusCode,
        why: &'static str,
    ) -> Response<ReplyBody> {
        warn!(%peer, status = status.as_u16(), why, "kinesis request refused");
        self.bare(status)
    }

    fn bare(&self, status: StatusCode) -> Response<ReplyBody> {
        let mut response = self.response(status.as_u16(), Reply::Whole(Bytes::new()));
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        response
    }

    /// Lets a page of any origin call, with whatever headers it means to send.
    fn preflight_answer(&self, asked: &HeaderMap) -> Response<ReplyBody> {
        let mut response = self.response(200, Reply::Whole(Bytes::new()));
        let headers = response.headers_mut();
        headers.remove(EXTENDED_REQUEST_ID);
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("172800"));
        for (request, reply) in [
            (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
            (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        ] {
            if let Some(value) = asked.get(request) {
                headers.insert(reply, value.clone());
            }
        }
        response
    }
}

/// Why an answer does not come, or not whole: somebody wants it so ([`faults`](crate::faults)).
#[derive(Debug)]
pub(crate) struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("broken off by a fault on request")
    }
}

impl std::error::Error for BrokenOff {}

/// What is sent after the headers.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    Whole(Full<Bytes>),
    Events(Box<EventBody>),
    Breaking(Box<EventBody>, Pin<Box<Sleep>>),
    BrokenOff,
}

impl ReplyBody {
    fn of(reply: Reply) -> ReplyBody {
        match reply {
            Reply::Whole(body) => ReplyBody::Whole(Full::new(body)),
            Reply::Events(subscription) => {
                ReplyBody::Events(Box::new(EventBody::new(*subscription)))
            }
            Reply::Breaking(subscription, after) => {
                let events = Box::new(EventBody::new(*subscription));
                ReplyBody::Breaking(events, Box::pin(sleep(after)))
            }
            Reply::BrokenOff => ReplyBody::BrokenOff,
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            ReplyBody::Whole(body) => {
                Pin::new(body).poll_frame(context).map_err(|infallible| match infallible {})
            }
            ReplyBody::Events(events) => {
                events.poll_next(context).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
            ReplyBody::Breaking(events, at) => match at.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(BrokenOff))),
                Poll::Pending => {
                    events.poll_next(context).map(|event| event.map(|event| Ok(Frame::data(event))))
                }
            },
            ReplyBody::BrokenOff => Poll::Ready(Some(Err(BrokenOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Whole(body) => body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Whole(body) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

/// A body, and its share of the broker's budget for as long as it is needed.
#[derive(Default)]
struct ReadBody {
    bytes: Bytes,
    _budget: Option<BudgetShare>,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug)]
enum BodyRefusal {
    TooLarge,
    TooSlow,
    Broken,
}

impl BodyRefusal {
    const fn status(self) -> StatusCode {
        match self {
            BodyRefusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            BodyRefusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            BodyRefusal::Broken => StatusCode::BAD_REQUEST,
        }
    }

    const fn why(self) -> &'static str {
        match self {
            BodyRefusal::TooLarge => "body is too large",
            BodyRefusal::TooSlow => "body comes too slowly",
            BodyRefusal::Broken => "body ends before its length",
        }
    }
}

fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(header::ORIGIN)
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// A random UUID.
fn request_id(random: &dyn Random) -> HeaderValue {
    let id = weir_model::ids::StreamId::random(random).to_string();
    HeaderValue::from_str(&id).expect("a UUID is ASCII")
}

/// 72 random bytes in base64; AWS's mean something to AWS only.
fn extended_request_id(random: &dyn Random) -> HeaderValue {
    let mut bytes = [0; 72];
    random.fill(&mut bytes);
    HeaderValue::from_str(&BASE64.encode(bytes)).expect("base64 is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PEER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[tokio::test]
    async fn a_browsers_preflight_request_is_allowed_what_it_asks_for() {
        let request = Request::builder()
            .method("OPTIONS")
            .uri("/")
            .header("origin", "http://localhost:3000")
            .header("access-control-request-headers", "a, b")
            .header("access-control-request-method", "POST")
            .body(Full::default())
            .expect("a request");
        let answered = Harness::new().await.send(request).await;
        assert_eq!((answered.status, answered.body.len()), (200, 0));
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-headers", "a, b"),
            ("access-control-allow-methods", "POST"),
            ("access-control-max-age", "172800"),
        ] {
            assert_eq!(answered.headers[name], value, "{name}");
        }
        assert!(!answered.headers.contains_key("x-amz-id-2"));
    }

    #[tokio::test]
    async fn answers_to_a_browser_expose_awss_headers() {
        let request = Request::post("/").header("origin", "x").body(Full::default());
        let answered = Harness::new().await.send(request.expect("a request")).await;
        assert_eq!(answered.headers["access-control-allow-origin"], "*");
        assert_eq!(answered.headers["access-control-expose-headers"], EXPOSED_HEADERS);
    }

    #[tokio::test]
    async fn bodies_and_headers_above_the_limits_are_refused() {
        let harness = Harness::new().await;
        let media_type = "application/x-amz-json-1.1";
        let at_limit = vec![b' '; BODY_BYTES_MAX];
        let answered = harness.call_raw("ListStreams", media_type, at_limit).await;
        assert_eq!(answered.status, 400, "read, and malformed");
        let above = vec![b' '; BODY_BYTES_MAX + 1];
        let answered = harness.call_raw("ListStreams", media_type, above).await;
        assert_eq!(answered.status, 413);
        let long = "x".repeat(HEADER_BYTES_MAX);
        let request = Request::post("/").header("x-long", long).body(Full::default());
        let answered = harness.send(request.expect("a request")).await;
        assert_eq!(answered.status, 431);
    }

    /// Talks to a connection that is served in memory, and reads until it closes.
    async fn talk(sent: Vec<u8>, stop_first: bool) -> Vec<u8> {
        let service = Harness::new().await.service;
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (stop, stopped) = watch::channel(stop_first);
        let served = tokio::spawn(serve_connection(server, PEER, service, stopped));
        client.write_all(&sent).await.expect("the server reads");
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).await.expect("the server closes");
        served.await.expect("the connection ends");
        drop(stop);
        reply
    }

    #[tokio::test]
    async fn http_1_is_served() {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec();
        let reply = talk(request, false).await;
        let reply = String::from_utf8(reply).expect("text");
        assert!(reply.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{reply}");
        assert!(reply.contains("\r\ncontent-length: 130\r\n"), "{reply}");
    }

    #[tokio::test]
    async fn http_2_is_served_by_prior_knowledge() {
        // The preface, an empty SETTINGS frame, and GOAWAY: enough to be answered in HTTP/2.
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        sent.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        sent.extend_from_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let reply = talk(sent, false).await;
        assert_eq!(reply.get(3), Some(&4), "a SETTINGS frame comes first: {reply:?}");
    }

    #[tokio::test]
    async fn a_connection_that_is_told_to_stop_ends() {
        assert_eq!(talk(Vec::new(), true).await, b"");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_refused() {
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{".to_vec();
        let reply = talk(head, false).await;
        let reply = String::from_utf8(reply).expect("text");
        assert!(reply.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{reply}");
    }
}
