//! Why a connection ended, and whether that is worth a line in everybody's log.
//!
//! Clients leave, idle and vanish all day long, with a request under way too; only one that does
//! not speak HTTP as it should has a fault that somebody will look for.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use tracing::{debug, warn};

/// Says why hyper gave a connection up.
pub(crate) fn log_end(peer: SocketAddr, error: &(dyn Error + 'static)) {
    let reason = reason_of(error);
    if is_fault(error) {
        warn!(%peer, reason, "closing kinesis connection");
    } else {
        debug!(%peer, reason, "kinesis connection ended");
    }
}

/// Says why there was no TLS. A client that does not trust the certificate tells so, and that is
/// the line its user looks for.
pub(crate) fn log_failed_handshake(peer: SocketAddr, error: &io::Error) {
    let reason = reason_of(error);
    match error.kind() {
        // rustls's own kind for whatever is wrong in what came.
        io::ErrorKind::InvalidData => warn!(%peer, reason, "closing connection: no TLS"),
        _ => debug!(%peer, reason, "the client left during the TLS handshake"),
    }
}

/// Whether the client broke the protocol.
fn is_fault(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            error.is_parse()
        } else if let Some(error) = cause.downcast_ref::<h2::Error>() {
            // An error that the client told us of is its own affair.
            !error.is_io() && !error.is_remote()
        } else {
            false
        }
    }) && !chain(error).any(|cause| cause.is::<io::Error>())
}

/// An error and its causes on one line.
fn reason_of(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<String>>().join(": ")
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause: &&'e (dyn Error + 'static)| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::server::conn::auto;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    /// Serves a client that sends this and closes its side; tells how the connection ended.
    async fn ended(sent: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(sent).await.expect("there is room");
        client.shutdown().await.expect("open until now");
        let answer = |_: Request<hyper::body::Incoming>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
        };
        let builder = auto::Builder::new(TokioExecutor::new());
        let served = builder.serve_connection(TokioIo::new(server), service_fn(answer));
        let mut replies = Vec::new();
        let (ended, _) = tokio::join!(served, client.read_to_end(&mut replies));
        ended
    }

    #[tokio::test]
    async fn what_is_no_http_is_a_fault() {
        let too_large = [PREFACE, &b"\xff\xff\xff\0\0\0\0\0\x01"[..]].concat();
        for sent in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello"[..],
            b"\0\0\0\x1e\0\x12\0\0 a Kafka request",
            b"POST / HTTP/1.1\r\nnonsense\r\n\r\n",
            &too_large,
        ] {
            let error = ended(sent).await.expect_err("it breaks the protocol");
            assert!(is_fault(&*error), "{}: {}", sent.escape_ascii(), reason_of(&*error));
        }
    }

    #[tokio::test]
    async fn leaving_is_not() {
        let goaway = [PREFACE, &b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x02"[..]].concat();
        let asked = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for sent in [&b""[..], b"POST / HTTP/1.1\r\nHo", asked, PREFACE, &goaway] {
            if let Err(error) = ended(sent).await {
                let reason = reason_of(&*error);
                assert!(!is_fault(&*error), "{}: {reason}", sent.escape_ascii());
            }
        }
    }
}
