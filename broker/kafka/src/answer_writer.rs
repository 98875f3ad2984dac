//! Writes answers to the socket: bytes that we encoded and ranges of the log between them.
//!
//! Nothing is copied. Parts in memory go out together in one vectored write; an extent of the log
//! that is resident is a slice of the segment's map. One that is not is read by a blocking thread
//! first, so that no worker waits for a disk.

use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use weir_core::Extent;
use weir_kafka_protocol::Part;
use weir_model::limits::MIB;

use crate::close::CloseReason;
use crate::exchange::Answer;

/// A socket that takes no byte for this long is closed.
const STALLED_MAX: Duration = Duration::from_secs(30);

/// What is read from a disk at one time: a cold extent costs this much memory, however long it is.
const PIECE_BYTES: usize = MIB;

/// Parts that one vectored write takes. Systems allow 1024; more than this gains nothing.
const PARTS_PER_WRITE_MAX: usize = 64;

/// The sending side of one connection.
#[derive(Debug)]
pub(crate) struct AnswerWriter<W> {
    stream: W,
}

impl<W: AsyncWrite + Unpin> AnswerWriter<W> {
    pub(crate) fn new(stream: W) -> AnswerWriter<W> {
        AnswerWriter { stream }
    }

    /// Writes a whole answer.
    pub(crate) async fn send(&mut self, answer: Answer) -> Result<(), CloseReason> {
        let mut ready: Vec<Bytes> = Vec::with_capacity(answer.frame.parts.len());
        for part in answer.frame.parts {
            match part {
                Part::Bytes(bytes) => self.push(&mut ready, bytes).await?,
                Part::External { index, length } => {
                    let extents = answer.extents.get(index).expect("encoded with its extents");
                    let announced_bytes: usize = extents.iter().map(Extent::length).sum();
                    // The frame has announced this length: any other would garble what follows.
                    assert_eq!(announced_bytes, length, "a record set changed its length");
                    for piece in extents.iter().flat_map(|extent| extent.pieces(PIECE_BYTES)) {
                        let bytes = self.bytes_of(&piece, &mut ready).await?;
                        self.push(&mut ready, bytes).await?;
                    }
                }
            }
        }
        self.write_all(&mut ready).await
    }

    /// Adds a part; what is ready goes out when it is worth a write. Not later: pages that were
    /// resident when they were added may not be for ever.
    async fn push(&mut self, ready: &mut Vec<Bytes>, bytes: Bytes) -> Result<(), CloseReason> {
        ready.push(bytes);
        let ready_bytes: usize = ready.iter().map(Bytes::len).sum();
        if ready.len() < PARTS_PER_WRITE_MAX && ready_bytes < PIECE_BYTES {
            Ok(())
        } else {
            self.write_all(ready).await
        }
    }

    /// The bytes of an extent. If they have to be read from a disk, what is ready goes out first.
    async fn bytes_of(
        &mut self,
        extent: &Extent,
        ready: &mut Vec<Bytes>,
    ) -> Result<Bytes, CloseReason> {
        let bytes = match extent.resident() {
            Some(bytes) => bytes,
            None => {
                self.write_all(ready).await?;
                let loaded = extent.load().await;
                loaded.map_err(|error| CloseReason::UnreadableAnswer(format!("{error:?}")))?
            }
        };
        assert_eq!(bytes.len(), extent.length(), "an extent changed its length");
        Ok(bytes)
    }

    /// Sends what is still in a buffer below us (TLS), and tells the client that nothing follows.
    pub(crate) async fn shut_down(&mut self) -> Result<(), CloseReason> {
        Ok(self.stream.shutdown().await?)
    }

    /// Writes the parts and leaves `parts` empty.
    async fn write_all(&mut self, parts: &mut Vec<Bytes>) -> Result<(), CloseReason> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut unwritten = slices.as_mut_slice();
        // Empty slices at the front would make a write of nothing look like a closed socket.
        IoSlice::advance_slices(&mut unwritten, 0);
        while !unwritten.is_empty() {
            let written = timeout(STALLED_MAX, self.stream.write_vectored(unwritten)).await;
            let written_bytes = written.map_err(|_| CloseReason::WriteStalled)??;
            if written_bytes == 0 {
                return Err(CloseReason::Socket(std::io::ErrorKind::WriteZero.into()));
            }
            IoSlice::advance_slices(&mut unwritten, written_bytes);
        }
        parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};
    use weir_kafka_protocol::Gather;

    fn answer_of(part_count: usize) -> (Answer, Vec<u8>) {
        let mut parts = Vec::new();
        let mut extents = Vec::new();
        let mut expected = Vec::new();
        for index in 0..part_count {
            let bytes = Bytes::from(vec![(index % 250) as u8; 100 + index]);
            expected.extend_from_slice(&bytes);
            if index % 2 == 0 {
                parts.push(Part::Bytes(bytes));
            } else {
                let (length, index) = (bytes.len(), extents.len());
                parts.push(Part::External { index, length });
                let (head, tail) = (bytes.slice(..40), bytes.slice(40..));
                extents.push(vec![Extent::Memory(head), Extent::Memory(tail)]);
            }
        }
        (Answer::new(Gather { parts }, extents), expected)
    }

    #[tokio::test]
    async fn parts_arrive_in_order_however_little_the_socket_takes_at_a_time() {
        for (part_count, buffer_bytes) in
            [(0, 16), (1, 16), (3, 7), (64, 100), (65, 1000), (200, 33)]
        {
            let (client, mut server) = duplex(buffer_bytes);
            let (answer, expected) = answer_of(part_count);
            let mut writer = AnswerWriter::new(client);
            let send = async {
                writer.send(answer).await.unwrap();
                writer.shut_down().await.unwrap();
            };
            let mut read = Vec::new();
            let (_, received) = tokio::join!(send, server.read_to_end(&mut read));
            assert_eq!(received.unwrap(), expected.len());
            assert!(read == expected, "{part_count} parts");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_after_thirty_seconds() {
        let (client, _server) = duplex(10);
        let (answer, _) = answer_of(1);
        let ended = AnswerWriter::new(client).send(answer).await;
        assert!(matches!(ended, Err(CloseReason::WriteStalled)));
    }
}
