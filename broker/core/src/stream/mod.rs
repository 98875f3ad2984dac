//! Streams (Kafka: topics): their names, their settings, and the table of all of them.

pub(crate) mod amend;
pub mod attributes;
mod attributes_row;
pub mod change_over;
pub mod config;
pub mod config_table;
pub mod consumers;
pub mod distribution;
pub mod encryption;
mod expiry;
pub mod grow;
pub mod labels;
pub(crate) mod layout;
pub mod mode;
pub mod monitoring;
pub mod on_demand;
pub mod policy;
pub mod record_size;
pub mod registry;
pub mod retention;
mod rolling_count;
mod row;
pub mod state;
#[expect(clippy::module_inception, reason = "one noun is one file, and the noun is stream")]
pub mod stream;
pub mod tags;
pub mod warm_throughput;
