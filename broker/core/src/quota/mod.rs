//! Shard quotas: how much a shard takes in and gives out per second (design.md §5).

pub mod bucket;
pub mod limits;
