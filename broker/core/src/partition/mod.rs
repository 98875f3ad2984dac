//! Partitions (Kinesis: shards): their hash-key range, lineage and quota, and the way in.

pub mod append;
pub mod checked;
pub mod delete_records;
mod inspect;
pub mod look;
#[expect(clippy::module_inception, reason = "one noun is one file, and the noun is partition")]
pub mod partition;
