//! HTTP/1.1 to a Kinesis endpoint, over TLS where its URL says https. One request at a time; the
//! length of an answer is bounded.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::Error;
use crate::http::Url;

/// GetRecords answers at most 10 MiB of data, which base64 makes a third longer.
const ANSWER_BYTES_MAX: usize = 32 << 20;
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Where systems keep the authorities that they trust.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: Url,
    is_tls: bool,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Target {
    /// Of `http://HOST:PORT` or `https://HOST[:PORT]`.
    pub(super) fn parse(text: &str) -> Result<Target, Error> {
        let wrong = || Error::Endpoint(format!("{text} is not http(s)://HOST:PORT"));
        let Some(rest) = text.strip_prefix("https://") else {
            let url = text.parse().map_err(|_| wrong())?;
            return Ok(Target { url, is_tls: false });
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let has_port =
            authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let port = if has_port { "" } else { ":443" };
        let url = format!("http://{authority}{port}{path}").parse().map_err(|_| wrong())?;
        Ok(Target { url, is_tls: true })
    }

    /// The `Host` header: a port that follows from the scheme is left out, as it is signed.
    pub(super) fn host(&self) -> &str {
        let default = if self.is_tls { ":443" } else { ":80" };
        self.url.authority.strip_suffix(default).unwrap_or(&self.url.authority)
    }
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Connection, Error> {
        match tokio::time::timeout(CONNECT_WAIT_MAX, Connection::opened(target)).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::Unreachable("it takes no connection".to_owned())),
        }
    }

    async fn opened(target: &Target) -> Result<Connection, Error> {
        let stream = TcpStream::connect(&target.url.authority).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        if !target.is_tls {
            return Connection::over(stream).await;
        }
        let (host, _) = target.url.authority.rsplit_once(':').unwrap_or_default();
        let name = host.trim_matches(['[', ']']).to_owned();
        let name =
            ServerName::try_from(name).map_err(|error| Error::Endpoint(error.to_string()))?;
        let connector = TlsConnector::from(Arc::new(tls()?));
        Connection::over(connector.connect(name, stream).await.map_err(lost)?).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Connection, Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Its errors reach whoever waits for an answer through the sender.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { sender })
    }

    pub(super) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        match tokio::time::timeout(ANSWER_WAIT_MAX, self.answered(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unreachable(format!("no answer after {ANSWER_WAIT_MAX:?}"))),
        }
    }

    async fn answered(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        self.sender.ready().await.map_err(broken)?;
        let response = self.sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Error::Unreachable(error.to_string()))?.to_bytes();
        Ok(Answer { status, body })
    }
}

fn lost(error: io::Error) -> Error {
    Error::Unreachable(error.to_string())
}

fn broken(error: hyper::Error) -> Error {
    Error::Unreachable(crate::error::root_cause(&error))
}

/// Trust in the authorities that the variables of AWS's tools or OpenSSL name, or the system's.
fn tls() -> Result<ClientConfig, Error> {
    let said = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"].into_iter().find_map(std::env::var_os);
    let found = || AUTHORITIES.into_iter().map(PathBuf::from).find(|path| path.exists());
    let file = said.map(PathBuf::from).or_else(found);
    let file = file.ok_or_else(|| {
        Error::Endpoint("no trusted authorities are found: set AWS_CA_BUNDLE".to_owned())
    })?;
    let unreadable = |why: String| Error::Endpoint(format!("{}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    let all =
        CertificateDer::pem_file_iter(&file).map_err(|error| unreadable(error.to_string()))?;
    for certificate in all {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        // One that rustls cannot use helps nobody; the others may.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(unreadable("there is no authority in it".to_owned()));
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_signed_as_they_are_sent() {
        for (text, host) in [
            ("http://localhost:4566", Some("localhost:4566")),
            ("http://localhost", Some("localhost")),
            ("https://kinesis.eu-west-1.amazonaws.com", Some("kinesis.eu-west-1.amazonaws.com")),
            ("https://localhost:4567/", Some("localhost:4567")),
            ("ftp://a", None),
            ("https://", None),
        ] {
            let target = Target::parse(text).ok();
            assert_eq!(target.as_ref().map(Target::host), host, "{text}");
        }
    }
}
