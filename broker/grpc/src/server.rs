//! Connections and HTTP/2, and the services by their paths.
//!
//! ```text
//!   accept ─> connection (HTTP/2) ─> call: "/weir.v1.Records/Append" ─> the service of that name
//! ```
//!
//! A connection has at most [`CALLS_MAX`] calls open; what a call may still send without being read
//! is HTTP/2's window, and no message is above [`MESSAGE_BYTES_MAX`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;
use tracing::{debug, warn};
use weir_core::broker::Broker;
use weir_core::metrics::Dialect;
use weir_proto::v1::events_server::EventsServer;
use weir_proto::v1::groups_server::GroupsServer;
use weir_proto::v1::inspect_server::InspectServer;
use weir_proto::v1::records_server::RecordsServer;
use weir_proto::v1::streams_server::StreamsServer;

use crate::events::EventsService;
use crate::groups::GroupsService;
use crate::inspect::InspectService;
use crate::records::RecordsService;
use crate::streams::StreamsService;

/// Connections served at one time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// Calls of one connection that are open at one time.
const CALLS_MAX: u32 = 100;
/// Largest message: the largest request's records, and what stands around each of them.
const MESSAGE_BYTES_MAX: usize = 12 * 1024 * 1024;
/// What a call, and all calls of a connection together, may send before it is read.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Largest frame of HTTP/2 that is taken; its default of 16 KiB has four times the headers.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// A connection that says nothing is asked whether it is there, and closed when it is not.
const PING_AFTER: Duration = Duration::from_secs(60);
const PING_WAIT_MAX: Duration = Duration::from_secs(20);
/// How long to wait when the system has no descriptor left for a new connection.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Where the client of a call connects from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The services by their names, shared by all connections.
#[derive(Clone)]
pub struct GrpcService {
    broker: Arc<Broker>,
    services: Arc<BTreeMap<&'static str, Box<Serve>>>,
}

type Serve = dyn Fn(Request<Incoming>) -> Served + Send + Sync;
type Served = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl GrpcService {
    /// The services of a broker. What goes on for ever ends when `stopped` turns true.
    pub fn new(broker: Arc<Broker>, stopped: watch::Receiver<bool>) -> GrpcService {
        let streams = StreamsServer::new(StreamsService { broker: Arc::clone(&broker) });
        let inspect = InspectServer::new(InspectService { broker: Arc::clone(&broker) });
        let events = EventsService { broker: Arc::clone(&broker), stopped: stopped.clone() };
        let events = EventsServer::new(events);
        let groups = GroupsService::new(Arc::clone(&broker), stopped.clone());
        let groups = GroupsServer::new(groups);
        let records = RecordsServer::new(RecordsService::new(Arc::clone(&broker), stopped));
        let (_, health) = tonic_health::server::health_reporter();
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(weir_proto::DESCRIPTOR_SET)
        };
        let known = "the definitions are those that the code was generated from";
        let services = [
            service(streams.max_decoding_message_size(MESSAGE_BYTES_MAX)),
            service(records.max_decoding_message_size(MESSAGE_BYTES_MAX)),
            service(inspect.max_decoding_message_size(MESSAGE_BYTES_MAX)),
            service(events.max_decoding_message_size(MESSAGE_BYTES_MAX)),
            service(groups.max_decoding_message_size(MESSAGE_BYTES_MAX)),
            service(health),
            service(reflection().build_v1().expect(known)),
            // Which is what most clients still ask for.
            service(reflection().build_v1alpha().expect(known)),
        ];
        GrpcService { broker, services: Arc::new(services.into()) }
    }

    async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        let name = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        match name.and_then(|(name, _)| self.services.get(name)) {
            Some(serve) => serve(request).await,
            None => Ok(Status::unimplemented(format!("there is no {path}")).into_http()),
        }
    }
}

impl fmt::Debug for GrpcService {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.services.keys()).finish()
    }
}

fn service<S>(service: S) -> (&'static str, Box<Serve>)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    // Generated services are always ready.
    (S::NAME, Box::new(move |request| Box::pin(service.clone().call(request))))
}

/// Serves all connections of a listener until `stopped` turns true, then stops accepting, lets
/// every call that has begun be answered, and returns.
pub async fn serve(
    listener: TcpListener,
    service: GrpcService,
    mut stopped: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let stop = stopped.clone();
    let mut shutdown = pin!(turned_true(&mut stopped));
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (slot, accepted) = accept(&listener, &slots) => match accepted {
                Ok((socket, peer)) => {
                    let (service, stopped) = (service.clone(), stop.clone());
                    connections.spawn(async move {
                        serve_connection(socket, peer, service, stopped).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(%error, "could not accept a grpc connection");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, std::io::Result<(TcpStream, SocketAddr)>) {
    // The semaphore is never closed, so there always is a slot in the end.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    (slot, listener.accept().await)
}

async fn serve_connection(
    socket: TcpStream,
    peer: SocketAddr,
    service: GrpcService,
    mut stopped: watch::Receiver<bool>,
) {
    let _open = service.broker.metrics().connection(Dialect::Grpc);
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "could not switch off nagle's algorithm");
    }
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_WAIT_MAX);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let service = service.clone();
        request.extensions_mut().insert(Peer(peer));
        async move { service.call(request).await }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), answer));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = turned_true(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%peer, %error, "a grpc connection ended");
    }
}

/// Waits until the value is true, or nobody is left to make it so.
pub(crate) async fn turned_true(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, and is as good a reason to stop.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
