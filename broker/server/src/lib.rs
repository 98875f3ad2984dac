//! The weir broker as a library: the `weir` binary is this crate and a command line.
//!
//! A test that wants a broker inside its own process has [`Broker::start_ephemeral`]:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = weir::Broker::start_ephemeral().await?;
//! println!("bootstrap.servers={}", broker.kafka_address());
//! broker.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`config`] | what was written, and what we run with |
//! | [`listen`] | addresses and ports |
//! | [`tls`] | certificates, and the authority that makes them |
//! | [`faults`] | what tests want to go wrong |
//! | [`keys`] | access keys that Kinesis requests are signed with |
//! | [`doctor`] | what a start would meet on this machine |
//! | [`embedded`] | a broker inside a test |
//! | [`serve`] | the order in which a broker starts and stops |
//! | [`http`], [`metrics`], [`control`] | `/livez`, `/readyz`, `/metrics`, `/api/v1/…` |
//! | [`descriptors`] | how many files and sockets may be open |
//! | [`allocator`] | large buffers go back to the system |
//! | [`banner`] | what is printed when it is ready |
//! | [`shutdown`] | signals |

pub mod allocator;
pub mod banner;
pub mod config;
mod control;
mod data;
pub mod descriptors;
pub mod doctor;
pub mod embedded;
mod faults;
pub mod flush_probe;
mod http;
pub mod keys;
pub mod listen;
pub mod logging;
mod metrics;
mod private_file;
pub mod serve;
pub mod shutdown;
pub mod tls;

pub use config::Config;
pub use embedded::Broker;
pub use serve::{Addresses, Server};
