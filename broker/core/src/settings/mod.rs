//! The broker's settings, under Kafka's names: what may be set, what was set, what follows from it.
//!
//! ```text
//!   table.rs             the list: name, kind, default, effect          (what may be set)
//!   written.rs           checked texts by name, from --set              (what was set)
//!   broker_settings.rs   BrokerSettings: typed fields, one per effect   (what we run with)
//!   holder.rs            what else has settings, and how they are kept
//!   configurations.rs    all of it behind one value that changes it     (what clients change)
//!   alteration.rs        what a change makes of what is set             describe.rs: what is told
//! ```
//!
//! To read a setting, take its field: `broker.settings()` gives what holds now, with the fields in
//! groups by who reads them (`topics`, `groups`, `consumer_groups`, `offsets`, `fetch_sessions`,
//! `client_quotas`, `controller_quotas`). To add one: a line in `table.rs`, a field in
//! `broker_settings.rs` and the line that fills it. A setting that is nothing but the default of a
//! topic's setting has no field: `stream::config_table` names it there as a synonym, and
//! [`topic_defaults`](broker_settings::BrokerSettings::topic_defaults) carries it.

pub mod alteration;
pub mod broker_settings;
pub mod configurations;
pub mod describe;
pub mod holder;
pub mod setting;
pub mod table;
pub mod written;
