//! The client library of weir, and what its command line is made of.
//!
//! # A first program
//!
//! ```no_run
//! use weir_client::admin::NewStream;
//! use weir_client::{Client, ConsumerOptions, LOCAL, NewRecord, ProducerOptions};
//!
//! # async fn program() -> Result<(), weir_client::Error> {
//! let client = Client::new(LOCAL)?;
//! client.admin().create_stream(NewStream::by_partition("orders").partitions(4)).await?;
//!
//! let producer = client.producer(ProducerOptions::new("orders")).await?;
//! let delivery = producer.send(NewRecord::new("paid").key("order-17")).await?;
//! let place = delivery.await?;
//! println!("kept in partition {} at offset {}", place.partition, place.offset);
//! producer.close().await?;
//!
//! let mut consumer = client.consumer(ConsumerOptions::new("orders"));
//! while let Some(record) = consumer.next().await {
//!     println!("{:?}", record?.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//!
//! | To | use |
//! |---|---|
//! | reach a broker | [`Client`] |
//! | make, show and remove streams | [`admin`] |
//! | write records | [`producer`]: batches, each kept once, in bounded memory |
//! | read records | [`consumer`]: a `Stream` of them that outlives lost connections |
//! | see what partitions are made of | [`inspect`]: segments, batches, bytes, quotas |
//! | hear of what happens | [`events`] |
//! | share the reading with others | [`group`]: a member of a group, as Kafka's consumers are |
//! | see what went wrong | [`Error`], with the broker's [`Reason`] |
//!
//! What may pass by itself, such as a broker that restarts, is tried again for as long as [`Retry`]
//! says. All futures may be dropped at any await: what they had not done yet is not done then.
//!
//! # Beside it
//!
//! The client commands of `weir` ([`command`]), the load tool behind `weir bench`
//! ([`bench`](mod@bench)), the question behind `weir health` ([`health`]), and what both need: one
//! HTTP/1.1 connection ([`http`]) and a look at another process through `/proc` ([`process`]).

#![forbid(unsafe_code)]

pub mod admin;
pub mod bench;
pub mod command;
mod connection;
pub mod consumer;
mod described;
mod error;
pub mod events;
pub mod group;
pub mod health;
pub mod http;
pub mod inspect;
mod kafka;
mod kinesis;
pub mod process;
pub mod producer;
mod progress;
mod record;
mod retry;

pub use connection::{Client, LOCAL};
pub use consumer::{Consumer, ConsumerOptions};
pub use error::{Error, Reason, Refusal};
pub use group::{Commit, GroupConsumer, GroupEvent, GroupOptions, GroupPartition};
pub use producer::{Delivery, Producer, ProducerOptions};
pub use record::{From, NewRecord, Place, Record};
pub use retry::Retry;
