//! The small store beside the logs: streams, configs, positions. Versioned keys, atomic commits.
//!
//! Metadata decides what exists; logs never create anything. The order everywhere is: log durable,
//! metadata committed, reply sent. Every commit is durable when it returns. The interface is
//! asynchronous and compares versions because a shared database will stand behind it one day.
//!
//! A key's first byte names its owner:
//!
//! | first byte | owner | what |
//! |---|---|---|
//! | `l` | the local log, `local/row.rs` | cluster id, log epoch, a checkpoint of each partition |
//! | `s` | the core | streams |
//! | `c` | the core | counters |
//! | `q` | the core | client quotas |
//! | `d` | the core | settings of the broker, of groups, of client metrics |
//!
//! [`redb`](self::redb) keeps it in one file; [`memory`] keeps it nowhere, for tests.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::error::MetaError;

pub mod memory;
pub mod redb;

pub use self::redb::RedbStore;

/// A future that a store returns.
pub type MetaFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, MetaError>> + Send + 'a>>;

/// A value and the version it was last committed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// Grows with each commit of the key.
    pub version: u64,
    /// The value.
    pub value: Bytes,
}

/// What a change requires of the key's present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Anything,
    /// The key does not exist.
    Absent,
    /// The key was last committed under this version.
    Version(u64),
}

/// One key's change in a commit.
#[derive(Clone, Debug)]
pub struct MetaChange {
    /// The key; the first byte names its kind.
    pub key: Bytes,
    /// What must hold, or the whole commit is refused.
    pub expect: Expect,
    /// The new value; none deletes the key.
    pub value: Option<Bytes>,
}

/// A small, durable, ordered map.
pub trait MetaStore: Send + Sync + std::fmt::Debug {
    /// The value of one key.
    fn get(&self, key: Bytes) -> MetaFuture<'_, Option<Versioned>>;

    /// All keys that begin with `prefix`, in order, with their values.
    fn scan(&self, prefix: Bytes) -> MetaFuture<'_, Vec<(Bytes, Versioned)>>;

    /// Makes all changes or none, durably.
    fn commit(&self, changes: Vec<MetaChange>) -> MetaFuture<'_, ()>;
}
