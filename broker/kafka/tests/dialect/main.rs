//! The dialect as a client sees it: frames over an in-memory stream, a whole broker on the
//! in-memory log behind it, no network, no disk, no real time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod client;
mod cluster;
mod configs;
mod connection;
mod consumer_groups;
mod damage;
mod delete_records;
mod describe_logs;
mod epochs;
mod fetch;
mod golden;
mod group_administration;
mod groups;
mod metadata;
mod pauses;
mod produce;
mod quotas;
mod resharded;
mod sessions;
mod support;
mod topics;
