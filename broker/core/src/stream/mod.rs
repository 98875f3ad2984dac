//! Streams (Kafka: topics): their names, their settings, and the table of all of them.

pub mod change_over;
pub mod config;
pub mod config_table;
mod expiry;
pub mod grow;
pub(crate) mod layout;
pub mod registry;
mod row;
#[expect(clippy::module_inception, reason = "one noun is one file, and the noun is stream")]
pub mod stream;
