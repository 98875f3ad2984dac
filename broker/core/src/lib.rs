//! What a stream means: names, routing, quotas, consumer groups. No wire format, no file.
//!
//! The dialects hold an `Arc<`[`Broker`](broker::Broker)`>` and call it once per request;
//! everything that is said about streams, in whatever protocol, is decided here and nowhere else.
//! Below is `weir-storage`, which knows batches and offsets but not what they are for.
//!
//! Lock order: group or transaction, then registry, then partition. None is held across an await.
//!
//! Read [`broker`] next, then [`partition::append`] and [`read::fetch`] for the way of a record.

#![forbid(unsafe_code)]

pub mod account;
pub mod alarm;
pub mod broker;
mod carried_out;
pub mod error;
pub mod events;
pub mod faults;
pub mod group;
pub mod housekeeping;
pub mod in_memory;
pub mod log_directory;
pub mod log_limit;
pub mod metrics;
pub mod partition;
pub mod quota;
pub mod read;
pub mod request_budget;
pub mod routing;
pub mod settings;
pub mod stream;
pub mod txn;

pub use weir_storage::commit::{Novelty, Placed};
pub use weir_storage::config::FlushPolicy;
pub use weir_storage::error::MetaError;
pub use weir_storage::inspect;
pub use weir_storage::log::{FoundRecord, LogSize, LogStats, Lookup, Recovered};
pub use weir_storage::producer_state::ActiveProducer;
pub use weir_storage::read_plan::{Extent, Ranges};
pub use weir_storage::watermarks::{Waiter, Watermarks};
