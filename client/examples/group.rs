//! Reads a stream as a member of a group until nothing has come for two seconds, or for ever
//! if there is no third argument:
//!
//! ```text
//!   cargo run -p weir-client --example group -- http://localhost:50051 orders until-quiet
//! ```
//!
//! Started twice, the two share the partitions. What was read is not read again.

use std::time::Duration;

use weir_client::{Client, Error, GroupEvent, GroupOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| weir_client::LOCAL.to_owned());
    let stream = arguments.next().unwrap_or_else(|| "orders".to_owned());
    let quiet_max = match arguments.next() {
        Some(_) => Duration::from_secs(2),
        None => Duration::MAX,
    };

    let mut consumer = Client::new(&url)?.group_consumer(GroupOptions::new("example", [stream]));
    while let Ok(Some(event)) = tokio::time::timeout(quiet_max, consumer.next_event()).await {
        match event? {
            GroupEvent::Record(record) => {
                let value = record.value.unwrap_or_default();
                let (partition, offset) = (record.place.partition, record.place.offset);
                println!("{partition} {offset} {}", String::from_utf8_lossy(&value));
            }
            // Nothing is to be done here; a program that keeps something for each partition would
            // begin it, and store it away.
            GroupEvent::Given(_) | GroupEvent::Taken(_) | GroupEvent::Lost(_) => {}
        }
    }
    consumer.close().await
}
