//! Prints all records of a stream, and ends at what is there now:
//!
//! ```text
//!   cargo run -p weir-client --example consume -- http://localhost:50051 orders
//! ```

use weir_client::{Client, ConsumerOptions, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| weir_client::LOCAL.to_owned());
    let stream = arguments.next().unwrap_or_else(|| "orders".to_owned());

    let options = ConsumerOptions { until_now: true, ..ConsumerOptions::new(stream) };
    let mut consumer = Client::new(&url)?.consumer(options);
    while let Some(record) = consumer.next().await {
        let record = record?;
        let text = |bytes: Option<bytes::Bytes>| {
            bytes.map_or("null".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let (partition, offset) = (record.place.partition, record.place.offset);
        println!("{partition} {offset} {} {}", text(record.key), text(record.value));
    }
    Ok(())
}
