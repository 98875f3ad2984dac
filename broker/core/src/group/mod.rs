//! Consumer groups: who reads which partitions, and how far each group has read.
//!
//! ```text
//!   request ──> coordinator ──> state::Group::step ──> Effects { replies, writes, wake_by }
//!                   │   ▲                                  │
//!                   │   └── Written ◄── internal log ◄─────┤ records
//!                   └── waiting clients ◄──────────────────┘ replies, once the log is kept
//! ```
//!
//! [`state`], [`classic`] and [`modern`] are pure: no I/O, no clock, no task. They **decide**;
//! [`coordinator`] then **logs** the records that a decision needs to `__consumer_offsets` and
//! only afterwards has the group **apply** them. A reply never leaves before the log is kept up to
//! what the reply was computed from, so no client sees anything that a power cut could take back.
//!
//! Only what a restart must know is logged: committed offsets, and the group's generation, members
//! and assignments whenever the leader has handed assignments in. Joins in progress and heartbeats
//! live in memory; after a restart the clients bring them again.
//!
//! Members speak one of two protocols: [`classic`], in which clients assign and the coordinator
//! keeps time, and [`modern`], KIP-848, in which the broker assigns. A group moves from one to the
//! other while its members read on.
//!
//! Read [`state`] first, then [`classic`] and [`modern`] for the protocols and [`administer`] for
//! what is done to groups from outside, then [`coordinator`].

pub mod administer;
pub mod assignor;
pub mod classic;
pub mod coordinator;
pub mod description;
pub mod error;
pub mod identity;
pub mod internal_log;
pub mod membership;
pub mod modern;
pub mod offsets;
pub mod progress;
mod protocols;
pub mod records;
pub mod state;
mod timers;
pub mod topics;
