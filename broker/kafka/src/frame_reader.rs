//! Splits what a client sends into frames, believing nothing of it.
//!
//! ```text
//!   length i32 │ body: that many bytes        … then the next
//! ```
//!
//! The length is checked before anything is allocated for the body, and the body is charged to the
//! broker's budget as it comes.
//!
//! Small frames are read many at a time through a read-ahead buffer and come out as slices of it. A
//! larger body is read straight into a buffer of its own, so that the record set of a Produce stays
//! one piece from here to the segment; that buffer is at first no longer than [`BODY_BYTES_FIRST`]
//! and grows with what the budget covers.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;
use weir_core::request_budget::BudgetShare;
use weir_model::limits::{FRAME_BYTES_MAX, MIB};

use crate::close::CloseReason;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = size_of::<i32>();

/// Read-ahead of an idle connection. Small, since ten thousand connections may idle.
const READ_AHEAD_BYTES: usize = 8 << 10;

/// Room that a read must find, else the read-ahead gets a new buffer.
const READ_BYTES_MIN: usize = 1 << 10;

/// Memory that a body gets on the word of its length alone.
const BODY_BYTES_FIRST: usize = MIB;

/// A connection that sends nothing and waits for nothing is closed after this long
/// (Kafka's `connections.max.idle.ms`).
const IDLE_MAX: Duration = Duration::from_secs(600);

/// Inside a frame, the next byte must come within this time.
const STILL_MAX: Duration = Duration::from_secs(5);

/// Slowest acceptable body.
const BODY_BYTES_PER_SECOND_MIN: usize = 1 << 10;

/// Reads frames from one connection.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    /// Bytes that were read and not yet given out.
    ahead: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R) -> FrameReader<R> {
        FrameReader { stream, ahead: BytesMut::new() }
    }

    /// Waits for the next frame and returns its length, which is at most [`FRAME_BYTES_MAX`]; none
    /// when the client has closed its side between two frames. `waits_for_answers` says whether a
    /// client that sends nothing is idle or waits.
    pub(crate) async fn next_length(
        &mut self,
        waits_for_answers: impl Fn() -> bool,
    ) -> Result<Option<usize>, CloseReason> {
        while self.ahead.is_empty() {
            match timeout(IDLE_MAX, self.read_ahead()).await {
                Ok(read) => {
                    if read? == 0 {
                        return Ok(None);
                    }
                }
                Err(_) if waits_for_answers() => {}
                Err(_) => return Err(CloseReason::Idle),
            }
        }
        while self.ahead.len() < LENGTH_BYTES {
            let read = timeout(STILL_MAX, self.read_ahead()).await;
            if read.map_err(|_| CloseReason::StandsStill)?? == 0 {
                return Err(CloseReason::EndInsideFrame);
            }
        }
        let prefix = self.ahead.split_to(LENGTH_BYTES);
        let prefix = *prefix.first_chunk().expect("split off with this length");
        let length = i32::from_be_bytes(prefix);
        match usize::try_from(length) {
            Ok(length) if length <= FRAME_BYTES_MAX => Ok(Some(length)),
            _ => Err(CloseReason::FrameLength { length, prefix }),
        }
    }

    /// Reads the body of the frame whose length [`FrameReader::next_length`] returned and `budget`
    /// was begun with. Time that the budget takes is not the client's.
    pub(crate) async fn body(
        &mut self,
        length: usize,
        budget: &mut BudgetShare,
    ) -> Result<Bytes, CloseReason> {
        if self.ahead.len() >= length {
            let body = self.ahead.split_to(length).freeze();
            budget.arrive(length).await;
            return Ok(body);
        }
        let mut body = BytesMut::with_capacity(length.min(BODY_BYTES_FIRST));
        body.extend_from_slice(&self.ahead.split());
        while body.len() < length {
            if body.len() >= budget.covered_bytes() {
                budget.grow().await;
                continue;
            }
            let end = budget.covered_bytes();
            let slowest = (end - body.len()) / BODY_BYTES_PER_SECOND_MIN;
            let patience = STILL_MAX + Duration::from_secs(slowest as u64);
            let read = timeout(patience, self.read_body_to(end, &mut body)).await;
            read.map_err(|_| CloseReason::SlowBody)??;
        }
        budget.arrive(length).await;
        Ok(body.freeze())
    }

    /// Reads until the body has `end` bytes.
    async fn read_body_to(&mut self, end: usize, body: &mut BytesMut) -> Result<(), CloseReason> {
        body.reserve(end - body.len());
        while body.len() < end {
            // `reserve` may give more than was asked for; what follows the body is the next frame.
            let missing_bytes = (end - body.len()) as u64;
            let mut rest_of_body = (&mut self.stream).take(missing_bytes);
            let read = timeout(STILL_MAX, rest_of_body.read_buf(body)).await;
            if read.map_err(|_| CloseReason::StandsStill)?? == 0 {
                return Err(CloseReason::EndInsideFrame);
            }
        }
        Ok(())
    }

    async fn read_ahead(&mut self) -> io::Result<usize> {
        // Frames that are still in use share the buffer, so this is a new one more often than not.
        if self.ahead.capacity() - self.ahead.len() < READ_BYTES_MIN {
            self.ahead.reserve(READ_AHEAD_BYTES);
        }
        self.stream.read_buf(&mut self.ahead).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use weir_core::request_budget::RequestBudget;

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len()).unwrap();
        [&length.to_be_bytes()[..], body].concat()
    }

    async fn next(reader: &mut FrameReader<DuplexStream>) -> Result<Option<Bytes>, CloseReason> {
        match reader.next_length(|| false).await? {
            Some(length) => {
                let mut budget = RequestBudget::default().begin(length);
                reader.body(length, &mut budget).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Feeds `sent`, then closes; returns the bodies and how it ended.
    async fn read_all(sent: &[u8]) -> (Vec<Bytes>, Option<CloseReason>) {
        let (mut client, server) = duplex(1 << 16);
        let mut reader = FrameReader::new(server);
        let feed = async {
            client.write_all(sent).await.unwrap();
            drop(client);
        };
        let read = async {
            let mut bodies = Vec::new();
            loop {
                match next(&mut reader).await {
                    Ok(Some(body)) => bodies.push(body),
                    Ok(None) => return (bodies, None),
                    Err(reason) => return (bodies, Some(reason)),
                }
            }
        };
        tokio::join!(feed, read).1
    }

    #[tokio::test]
    async fn frames_of_every_size_come_out_whole_and_in_order() {
        let sizes = [0, 1, 5, 8_000, 9_000, BODY_BYTES_FIRST, 3 * BODY_BYTES_FIRST + 7, 2];
        let bodies: Vec<Vec<u8>> =
            sizes.iter().map(|&size| (0..size).map(|at| (at % 251) as u8).collect()).collect();
        let sent: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        let (read, end) = read_all(&sent).await;
        assert_eq!(read, bodies);
        assert!(end.is_none());
    }

    #[tokio::test]
    async fn lengths_that_cannot_be_are_refused_before_any_allocation() {
        for length in [-1, i32::MIN, i32::MAX, i32::try_from(FRAME_BYTES_MAX).unwrap() + 1] {
            let (read, end) = read_all(&length.to_be_bytes()).await;
            assert!(read.is_empty());
            assert!(matches!(end, Some(CloseReason::FrameLength { .. })), "{length}: {end:?}");
        }
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_not_a_clean_end() {
        let whole = frame(b"abc");
        for kept in 1..whole.len() {
            let (read, end) = read_all(&whole[..kept]).await;
            assert!(read.is_empty());
            assert!(matches!(end, Some(CloseReason::EndInsideFrame)), "{kept} bytes: {end:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stands_still_or_trickles_is_closed() {
        let (mut client, server) = duplex(1 << 16);
        let mut reader = FrameReader::new(server);
        client.write_all(&frame(&[0; 100])[..50]).await.unwrap();
        assert!(matches!(next(&mut reader).await, Err(CloseReason::StandsStill)));

        let (mut client, server) = duplex(1 << 16);
        let mut reader = FrameReader::new(server);
        let trickle = async {
            client.write_all(&frame(&[0; 10_000])[..4]).await.unwrap();
            loop {
                client.write_all(&[0; 400]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            end = next(&mut reader) => assert!(matches!(end, Err(CloseReason::SlowBody))),
            () = trickle => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_waits_for_nothing_is_idle() {
        let (client, server) = duplex(1 << 16);
        let mut reader = FrameReader::new(server);
        assert!(matches!(reader.next_length(|| false).await, Err(CloseReason::Idle)));
        let waiting = timeout(IDLE_MAX * 3, reader.next_length(|| true)).await;
        assert!(waiting.is_err(), "a client that waits for an answer is not idle");
        drop(client);
    }
}
