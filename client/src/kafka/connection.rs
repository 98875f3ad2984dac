//! One connection to a Kafka broker: requests out, answers in, in the order of sending.
//!
//! Nothing is retried or negotiated here, so that the bench measures what the broker does. An
//! answer's length is checked before room is made for it.

use std::fmt;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_kafka_protocol::{DecodeError, Message, Part, Reader, Request, frame};
use weir_model::limits::MIB;

/// Longest wait for an answer, and for a broker to read on.
pub(crate) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// A longer answer than any that we ask for.
const FRAME_BYTES_MAX: usize = 256 * MIB;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum WireError {
    /// No connection, or it broke.
    Io(io::Error),
    /// Nothing came for [`ANSWER_WAIT_MAX`].
    NoAnswer(String),
    /// The broker sent what the protocol does not allow.
    Protocol(String),
    /// The request does not fit into the protocol.
    Unsendable(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Io(error) => error.fmt(out),
            WireError::NoAnswer(what) => write!(out, "no answer: {what}"),
            WireError::Protocol(what) | WireError::Unsendable(what) => out.write_str(what),
        }
    }
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> WireError {
        WireError::Io(error)
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: BytesMut,
    correlation_id: i32,
    client_id: &'static str,
}

impl Connection {
    /// Connects to `HOST:PORT`. The broker sees who asks by `client_id`.
    pub(crate) async fn open(
        address: &str,
        client_id: &'static str,
    ) -> Result<Connection, WireError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: BytesMut::new(), correlation_id: 0, client_id })
    }

    /// Sends a request and waits for its answer; nothing else may be in flight.
    pub(crate) async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, WireError> {
        let sent = self.send(version, request).await?;
        self.receive::<R>(version, sent).await
    }

    /// Sends a request; its answer must be received later, in the order of sending. Returns the
    /// correlation id that the answer must have.
    pub(crate) async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<i32, WireError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let id = self.correlation_id;
        let gather = frame::encode_request(id, Some(self.client_id), version, request)
            .map_err(|error| WireError::Unsendable(format!("cannot be sent: {error}")))?;
        let parts: Vec<Bytes> = gather
            .parts
            .into_iter()
            .map(|part| match part {
                Part::Bytes(bytes) => bytes,
                Part::External { .. } => unreachable!("requests are made of bytes in memory"),
            })
            .collect();
        let write = write_all(&mut self.stream, &parts);
        match tokio::time::timeout(ANSWER_WAIT_MAX, write).await {
            Ok(written) => written?,
            Err(_) => return Err(WireError::NoAnswer("the broker stopped reading".to_owned())),
        }
        Ok(id)
    }

    /// Waits for the next answer, which must be the one to the request with this correlation id.
    pub(crate) async fn receive<R: Request>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> Result<R::Response, WireError> {
        let frame = match tokio::time::timeout(ANSWER_WAIT_MAX, self.receive_frame()).await {
            Ok(frame) => frame?,
            Err(_) => {
                let name = R::API_KEY.name();
                return Err(WireError::NoAnswer(format!("{name} after {ANSWER_WAIT_MAX:?}")));
            }
        };
        let mut reader = Reader::new(frame);
        let malformed = |error: DecodeError| {
            WireError::Protocol(format!("malformed answer to {}: {error}", R::API_KEY.name()))
        };
        let id =
            frame::decode_response_header(&mut reader, R::API_KEY, version).map_err(malformed)?;
        if id != correlation_id {
            return Err(WireError::Protocol(format!(
                "answer {id} where {correlation_id} was next"
            )));
        }
        let response = R::Response::decode(&mut reader, version).map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        Ok(response)
    }

    async fn receive_frame(&mut self) -> Result<Bytes, WireError> {
        while self.received.len() < size_of::<i32>() {
            self.receive_more().await?;
        }
        let length = self.received.get_i32();
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= FRAME_BYTES_MAX)
            .ok_or_else(|| WireError::Protocol(format!("a frame of {length} bytes")))?;
        self.received.reserve(length.saturating_sub(self.received.len()));
        while self.received.len() < length {
            self.receive_more().await?;
        }
        Ok(self.received.split_to(length).freeze())
    }

    async fn receive_more(&mut self) -> Result<(), WireError> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(WireError::Io(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the broker closed the connection",
            ))),
            _ => Ok(()),
        }
    }
}

/// Writes all parts, several at a time, so that a request does not become a row of small packets.
async fn write_all(stream: &mut TcpStream, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match stream.write_vectored(rest).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut rest, written),
        }
    }
    Ok(())
}
