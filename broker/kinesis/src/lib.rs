//! The Kinesis Data Streams dialect: AWS's API on weir's log.
//!
//! A request is one HTTP POST whose `X-Amz-Target` header names an operation. It passes through the
//! files of this crate from top to bottom:
//!
//! ```text
//!   http                 sockets, HTTP/1.1 and HTTP/2, limits, deadlines
//!   dispatch             the order of checks, the table of operations      auth/   SigV4, policies
//!   wire/                JSON or CBOR -> one tree of values
//!   shape, convert, validate   what members an operation takes; AWS's texts when they are wrong
//!   action/<operation>   one core call each, and the reply
//!   errors               core errors -> AWS errors
//! ```
//!
//! SubscribeToShard answers with a stream of events ([`subscription`]) instead of one reply.
//! The three operations that change a stream's shards share [`reshard`].
//!
//! A stream's partition is shown as a shard ([`shard`]), a record's offset as a sequence number
//! ([`sequence_number`]), a position in a shard as an iterator ([`shard_iterator`]). What a stream
//! means (routing, quotas, retention) is the core's business and not decided here.

#![forbid(unsafe_code)]

mod action;
mod auth;
mod call_rates;
mod caller;
mod connection_end;
mod consumer_reference;
mod convert;
mod dispatch;
mod errors;
mod event_memory;
mod faults;
#[cfg(test)]
mod harness;
mod http;
mod incoming_record;
mod input;
mod log_text;
mod outgoing_record;
mod page_token;
mod reply_memory;
mod reshard;
mod resource_reference;
mod sealed_token;
mod sequence_number;
mod service;
mod shape;
mod shard;
mod shard_iterator;
mod stalled;
mod starting_position;
mod stream_numbers;
mod stream_reference;
mod stream_settings;
mod subscription;
mod subscriptions;
#[cfg(test)]
mod support;
mod validate;
mod wire;

pub use auth::Authentication;
pub use auth::keys::KeyRing;
pub use faults::check as check_fault;
pub use http::{TLS_PROTOCOLS, TlsAcceptors, serve, serve_connection};
pub use service::{KinesisOptions, KinesisService};
