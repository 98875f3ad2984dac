//! A broker inside a test's own process.
//!
//! ```
//! use weir_client::{Client, ConsumerOptions, NewRecord, ProducerOptions, admin::NewStream};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let broker = weir::Broker::start_ephemeral().await?;
//!
//! let client = Client::new(&broker.grpc_url())?;
//! client.admin().create_stream(NewStream::by_partition("orders").partitions(1)).await?;
//! let producer = client.producer(ProducerOptions::new("orders")).await?;
//! producer.send(NewRecord::new("paid").key("order-17")).await?.await?;
//!
//! let mut orders = client.consumer(ConsumerOptions::new("orders"));
//! let record = orders.next().await.expect("it was kept")?;
//! assert_eq!(record.value.as_deref(), Some(&b"paid"[..]));
//!
//! broker.stop().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use weir_model::time::SystemClock;

use crate::config::Config;
use crate::serve::{Server, StartError, StopError};

/// A broker of a test's own, on free ports of 127.0.0.1; several may run beside each other.
///
/// Its data is in a temporary directory that [`Broker::stop`] removes, and it has no quotas; for
/// anything else there is [`Server::start`]. Dropping it ends it as a kill would.
#[derive(Debug)]
pub struct Broker {
    server: Server,
}

impl Broker {
    /// Starts one; when this returns, it takes connections. Must be called inside a tokio runtime
    /// of several threads (`#[tokio::test(flavor = "multi_thread")]`).
    ///
    /// # Errors
    ///
    /// When there is no room for a directory, or there are no free ports.
    pub async fn start_ephemeral() -> Result<Broker, StartError> {
        let server = Server::start(Config::ephemeral(), Arc::new(SystemClock::new())).await?;
        Ok(Broker { server })
    }

    /// What Kafka clients call `bootstrap.servers`: `127.0.0.1:41233`.
    pub fn kafka_address(&self) -> String {
        first(&self.server.addresses().kafka).to_string()
    }

    /// What AWS's SDKs call `endpoint_url`: `http://127.0.0.1:41234`.
    pub fn kinesis_url(&self) -> String {
        format!("http://{}", first(&self.server.addresses().kinesis))
    }

    /// What `weir_client::Client::new` wants: `http://127.0.0.1:41235`.
    pub fn grpc_url(&self) -> String {
        format!("http://{}", first(&self.server.addresses().grpc))
    }

    /// Where `/metrics` and `/readyz` are: `http://127.0.0.1:41236`.
    pub fn http_url(&self) -> String {
        format!("http://{}", first(&self.server.addresses().http))
    }

    /// Stops it, and removes its data. Takes less than five seconds.
    ///
    /// # Errors
    ///
    /// When the data could not be flushed or removed.
    pub async fn stop(self) -> Result<(), StopError> {
        self.server.stop().await
    }
}

fn first(addresses: &[SocketAddr]) -> SocketAddr {
    *addresses.first().expect("an ephemeral broker listens for every dialect")
}
