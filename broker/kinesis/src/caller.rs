//! Who calls: one connection, and what it holds.

use std::net::SocketAddr;

use tokio::sync::watch;

use crate::reply_memory::ReplyMemory;

/// The client of one connection; all its requests share this.
#[derive(Debug)]
pub(crate) struct Caller {
    /// For the log.
    pub(crate) peer: SocketAddr,
    /// What its untaken replies may hold.
    pub(crate) replies: ReplyMemory,
    /// Turns true when the listener stops, and every answer has to end.
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Caller {
    /// A client that has just connected.
    pub(crate) fn new(peer: SocketAddr, stopped: watch::Receiver<bool>) -> Caller {
        Caller { peer, replies: ReplyMemory::of_connection(), stopped }
    }
}
