//! The native dialect: `weir.v1` over gRPC, which shows what the other dialects hide.
//!
//! ```text
//!   server    connections, HTTP/2, the services by their paths
//!   streams   weir.v1.Streams: what exists; `streams/change` alters it
//!   records   weir.v1.Records: writes, and `tail`, which reads on
//!   groups    weir.v1.Groups: who reads what, and how far each group has read
//!   batches   batches that the client has built, pipelined
//!   inspect   weir.v1.Inspect: segments, batches, records, bytes, indexes, buckets
//!   events    weir.v1.Events: what happens, as it happens
//!   answers   what follows one another in the answer to one call
//!   errors    the core's errors as gRPC status with a weir.v1.ErrorDetail
//! ```
//!
//! A method parses its message, calls the core once and translates the answer. The definitions in
//! `proto/native` say what each message means.

#![forbid(unsafe_code)]

mod answers;
mod batches;
mod errors;
mod events;
mod groups;
mod inspect;
mod records;
mod server;
mod streams;
mod tail;

pub use server::{GrpcService, serve};
