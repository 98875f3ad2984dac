//! Accepts connections and keeps them until they end or the broker stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::connection::{Ends, serve_connection};
use crate::service::KafkaService;

/// Pause after a failed accept, which mostly means that descriptors have run out: trying again at
/// once would fail again and take a processor for it.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// Serves `listener` until `stop` turns true (or its sender goes away); then accepts no more, lets
/// connections answer what they have read, and returns when the last has ended.
pub async fn serve(
    listener: TcpListener,
    service: Arc<KafkaService>,
    mut stop: watch::Receiver<bool>,
) {
    let stopped_connections = stop.clone();
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
                let (service, stop) = (Arc::clone(&service), stopped_connections.clone());
                connections.spawn(serve_stream(stream, service, stop));
            }
            Err(error) => {
                warn!(%error, "cannot accept a kafka connection");
                tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_stream(stream: TcpStream, service: Arc<KafkaService>, stop: watch::Receiver<bool>) {
    // Either fails only when the client has gone already.
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    let Some(_place) = service.connection_place() else {
        warn!(%peer, "refusing a kafka connection: too many are open");
        return;
    };
    let pause = service.broker().client_quotas().charge_connection(peer.ip());
    if !pause.is_zero() {
        // Not at once, so that who connects again and again does it slower.
        debug!(%peer, "refusing a kafka connection: its address is over its quota");
        tokio::time::sleep(pause).await;
        return;
    }
    if let Err(error) = stream.set_nodelay(true) {
        warn!(%peer, %error, "cannot switch off delayed sending");
    }
    let (reader, writer) = stream.into_split();
    serve_connection(reader, writer, Ends { peer, local }, service, stop).await;
}
