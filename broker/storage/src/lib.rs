//! What a log is: commit, read, trim. Nothing here knows what a stream means or what a client says.
//!
//! The verb is [`Log::submit`](log::Log::submit): a [`CommitSet`](commit::CommitSet) of record
//! batches goes in, a [`Ticket`](commit::Ticket) comes back and carries each batch's place. Reading
//! is [`Log::read`](log::Log::read), which answers with ranges ([`ReadPlan`](read_plan::ReadPlan)),
//! not bytes; only whoever writes to a socket turns ranges into bytes.
//!
//! Two arms implement it and pass one conformance suite: [`local`] keeps segment files, [`memory`]
//! commits later and atomically, as a log over an object store will; it keeps the seam honest.
//!
//! Read [`log`] next, then [`commit`] and [`watermarks`].

pub mod commit;
pub mod config;
pub mod disk;
pub mod error;
pub mod inspect;
pub mod local;
pub mod log;
pub mod memory;
pub mod meta;
pub mod producer_state;
pub mod read_plan;
pub mod sim_disk;
pub mod system_disk;
pub mod watermarks;
