//! One HTTP/1.1 connection that is kept open and asked one thing after the other.
//!
//! Enough for what this crate needs (a closed loop of requests, a question to `/readyz`), and no
//! pool, redirect or retry that could hide what the server really answered. Plain HTTP only.

use std::fmt;
use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A server's address and the path that requests start from, as `http://HOST:PORT[/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `HOST:PORT`, as the `Host` header repeats it.
    pub authority: String,
    /// Starts with `/`.
    pub path: String,
}

/// Why a text is not a [`Url`] that this crate can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUrl(pub String);

impl fmt::Display for InvalidUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` is not of the form http://HOST:PORT", self.0)
    }
}

impl std::error::Error for InvalidUrl {}

impl std::str::FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Url, InvalidUrl> {
        let invalid = || InvalidUrl(text.to_owned());
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(invalid()),
            None => text,
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port),
            _ => (authority, "80"),
        };
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(invalid());
        }
        Ok(Url { authority: format!("{host}:{port}"), path: path.to_owned() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}{}", self.authority, self.path)
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum HttpError {
    /// No connection, or it broke.
    Io(io::Error),
    /// The server did not speak HTTP, or closed in the middle.
    Http(hyper::Error),
}

impl fmt::Display for HttpError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Io(error) => error.fmt(out),
            HttpError::Http(error) => match std::error::Error::source(error) {
                Some(cause) => write!(out, "{error}: {cause}"),
                None => error.fmt(out),
            },
        }
    }
}

impl std::error::Error for HttpError {}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> HttpError {
        HttpError::Io(error)
    }
}

impl From<hyper::Error> for HttpError {
    fn from(error: hyper::Error) -> HttpError {
        HttpError::Http(error)
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status line's code.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects to the URL's host. The connection's task ends when this value is dropped.
    pub async fn open(url: &Url) -> Result<Connection, HttpError> {
        let stream = TcpStream::connect(&url.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors reach whoever waits for an answer through the sender.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { sender })
    }

    /// Sends one request and reads the whole answer.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body })
    }
}

/// Asks for one path on a connection of its own.
pub async fn get(url: &Url, path: &str) -> Result<Answer, HttpError> {
    let request = Request::get(path)
        .header(hyper::header::HOST, &url.authority)
        .body(Full::new(Bytes::new()))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Connection::open(url).await?.ask(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_and_without_their_parts() {
        for (text, expected) in [
            ("http://localhost:4566", Some(("localhost:4566", "/"))),
            ("http://localhost:4566/", Some(("localhost:4566", "/"))),
            ("localhost:4566", Some(("localhost:4566", "/"))),
            ("http://[::1]:80/a/b", Some(("[::1]:80", "/a/b"))),
            ("http://example.org", Some(("example.org:80", "/"))),
            ("https://localhost:4567", None),
            ("http://", None),
            ("http://:80", None),
            ("http://localhost:99999", None),
        ] {
            let read: Option<Url> = text.parse().ok();
            let read = read.as_ref().map(|url| (url.authority.as_str(), url.path.as_str()));
            assert_eq!(read, expected, "{text}");
        }
    }
}
