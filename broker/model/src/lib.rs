//! The nouns under everything: ids, offsets, hash keys, time, record batches, compression.
//!
//! Nothing here does I/O, keeps state between calls or knows a wire protocol. Storage, the core and
//! the dialects all speak in these types, so a number that could be confused with another (an
//! offset with a record count, a stream's id with a producer's) has a type of its own.
//!
//! Read [`batch`] next: the record batch is both the unit on disk and the unit on the wire.

#![forbid(unsafe_code)]

pub mod alarms;
pub mod batch;
pub mod batch_builder;
pub mod compression;
pub mod hash_key;
pub mod histogram;
pub mod ids;
pub mod limits;
pub mod offset;
pub mod random;
pub mod record;
pub mod time;
