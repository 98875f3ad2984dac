//! The Kafka dialect: Kafka's protocol on a socket, translated to and from the core.
//!
//! ```text
//!   listener         accepts
//!   connection       one task each: frames in, answers out, in order
//!     frame_reader     length, limits, body          unanswered: how much may be in memory
//!     dispatch         the one table of what is served
//!       api/<api>        decode, one call of the core, translate
//!     pauses           what a client gets that used more than its quota
//!     answer_writer    gather list and extents of the log to the socket, without a copy
//! ```
//!
//! Handlers decide nothing about streams: whatever has to do with the meaning of a stream stands in
//! `weir-core`. Errors of the core become Kafka's codes in one place, `errors.rs`. Whatever Kafka
//! has no error answer for closes the connection with one log line (`close.rs`).
//!
//! To follow a record in, read `connection`, `dispatch`, `api/produce`.

#![forbid(unsafe_code)]

mod advertised;
mod answer_writer;
mod answers;
mod api;
mod bootstrap;
mod client_text;
mod close;
mod configs;
mod connection;
mod dispatch;
mod errors;
mod exchange;
mod faults;
mod frame_reader;
mod group;
mod handover;
mod leader_epoch;
mod listener;
mod pauses;
mod replicas;
mod request_times;
mod service;
mod sessions;
mod support;
mod topic;
mod unanswered;

pub use advertised::{
    Advertised, AdvertisedRule, HostPort, InvalidAdvertised, Network, default_gateways,
};
pub use connection::{Ends, serve_connection};
pub use faults::check as check_fault;
pub use listener::serve;
pub use service::KafkaService;
pub use support::{settings_tables, support_table};
