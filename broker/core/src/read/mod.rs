//! The ways out: ranges for those who forward batches, records for those who show them.

pub(crate) mod decoded;
pub mod fetch;
pub mod position;
pub mod records;
