//! Quotas: how much of the broker a shard and a client may use.
//!
//! Two kinds, which know nothing of each other. **Shard quotas** belong to a stream, are AWS's and
//! refuse or delay single writes and reads: [`limits`], on [`bucket`]; who waits for them, in
//! [`gate`]. **Client quotas** belong to users, client ids and addresses, are Kafka's and make
//! connections pause (KIP-13, 55, 124, 219, 599, 612): [`client_quotas`] is what the dialect calls.
//!
//! ```text
//!   entity         whom a quota is for, what it limits
//!   client_limits  the table: which quota holds for a client, who shares it
//!   sensors        what each who shares an allowance has used
//!     sampled_rate   bytes, time, connections: the pause that a rate deserves
//!     bucket         partitions created and deleted: a debt that is paid off
//!   row            the table in the metadata
//!   busy           what time a request took
//! ```

pub mod bucket;
pub mod busy;
mod client_limits;
pub mod client_quotas;
pub mod entity;
pub mod gate;
pub mod limits;
mod mutations;
mod row;
pub mod sampled_rate;
mod sensors;

pub use client_limits::{Client, QuotaValues};
