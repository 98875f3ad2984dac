//! Closes connections on which nothing moves.
//!
//! hyper has no deadline for writing, and none before it knows whether it speaks HTTP/1 or HTTP/2.
//! This wrapper gives every connection two: a write that makes no progress for 30 s fails (a client
//! that asked and does not read would keep its reply in memory for ever), and so does a connection
//! that neither reads nor writes for 90 s (AWS closes idle ones after a minute or so; SDKs expect
//! it).
//!
//! Time is counted in ticks of 15 s: a tick during which nothing moved adds one, any byte resets
//! the count. So a deadline is late by at most one tick, and a byte that moves costs two stores.
//! Both directions must be polled by one task, as hyper does: the tick wakes only who polled last.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

const TICK: Duration = Duration::from_secs(15);
const TICKS_WRITING_MAX: u32 = 2;
const TICKS_IDLE_MAX: u32 = 6;

/// A connection that fails with `TimedOut` when it stalls.
#[derive(Debug)]
pub(crate) struct Stalled<IO> {
    io: IO,
    tick: Pin<Box<Sleep>>,
    /// Ticks since a byte moved in either direction.
    idle_ticks: u32,
    /// Ticks since a byte was written, while one waits to be.
    writing_ticks: u32,
    write_waits: bool,
}

impl<IO> Stalled<IO> {
    /// Watches this connection.
    pub(crate) fn new(io: IO) -> Stalled<IO> {
        Stalled {
            io,
            tick: Box::pin(tokio::time::sleep(TICK)),
            idle_ticks: 0,
            writing_ticks: 0,
            write_waits: false,
        }
    }

    /// Counts the ticks that have passed; fails when there were too many.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.tick.as_mut().poll(context));
            self.tick.set(tokio::time::sleep(TICK));
            self.idle_ticks += 1;
            self.writing_ticks += u32::from(self.write_waits);
            if self.writing_ticks >= TICKS_WRITING_MAX || self.idle_ticks >= TICKS_IDLE_MAX {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.write_waits = written.is_pending();
        if written.is_pending() {
            return self.poll_stalled(context).map(Err);
        }
        self.idle_ticks = 0;
        self.writing_ticks = 0;
        written
    }
}

impl<IO> Stalled<IO> {
    /// Under TLS it is here that a peer that takes nothing is met: writes go into a buffer.
    fn sent(
        &mut self,
        context: &mut Context<'_>,
        sent: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if sent.is_pending() {
            self.write_waits = true;
            return self.poll_stalled(context).map(Err);
        }
        self.write_waits = false;
        self.writing_ticks = 0;
        sent
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Stalled<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_pending() {
            return self.poll_stalled(context).map(Err);
        }
        self.idle_ticks = 0;
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Stalled<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.sent(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.io).poll_shutdown(context);
        self.sent(context, shut_down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_fails() {
        let (_client, server) = tokio::io::duplex(64);
        let error = Stalled::new(server).read_u8().await.expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Takes what is written into a buffer that never empties, as TLS does over a full socket.
    struct NeverFlushes;

    impl AsyncWrite for NeverFlushes {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_of_what_was_buffered_fails() {
        let mut stalled = Stalled::new(NeverFlushes);
        stalled.write_all(b"an answer").await.expect("it is buffered");
        let flushed = stalled.flush().await.expect_err("nobody reads");
        assert_eq!(flushed.kind(), io::ErrorKind::TimedOut);
        let shut_down = Stalled::new(NeverFlushes).shutdown().await.expect_err("nobody reads");
        assert_eq!(shut_down.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_living_connection_does_not() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Stalled::new(server);
        let sender = tokio::spawn(async move {
            for byte in 0..10 {
                tokio::time::sleep(Duration::from_secs(60)).await;
                client.write_u8(byte).await.expect("the server reads");
            }
        });
        for byte in 0..10 {
            assert_eq!(server.read_u8().await.expect("a byte a minute"), byte);
        }
        sender.await.expect("the sender ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails_though_the_peer_still_sends() {
        let (client, server) = tokio::io::duplex(64);
        let (_unread, mut sends) = tokio::io::split(client);
        let (mut reads, mut writes) = tokio::io::split(Stalled::new(server));
        let sender = tokio::spawn(async move {
            while sends.write_u8(0).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        // One task polls both halves, as hyper's does, so either may be the one that fails.
        let read_all = async {
            loop {
                if let Err(error) = reads.read_u8().await {
                    return error;
                }
            }
        };
        let error = tokio::select! {
            error = read_all => error,
            written = writes.write_all(&[0; 4096]) => written.expect_err("nobody reads"),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        sender.abort();
    }
}
