//! Writes three records to a stream and says where each is kept:
//!
//! ```text
//!   cargo run -p weir-client --example produce -- http://localhost:50051 orders
//! ```

use weir_client::admin::NewStream;
use weir_client::{Client, Error, NewRecord, ProducerOptions, Reason};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| weir_client::LOCAL.to_owned());
    let stream = arguments.next().unwrap_or_else(|| "orders".to_owned());

    let client = Client::new(&url)?;
    let made = client.admin().create_stream(NewStream::by_partition(&stream).partitions(2)).await;
    if let Err(error) = made
        && error.reason() != Some(Reason::AlreadyExists)
    {
        return Err(error);
    }

    let producer = client.producer(ProducerOptions::new(&stream)).await?;
    for (order, state) in [("order-1", "placed"), ("order-2", "placed"), ("order-1", "paid")] {
        let record = NewRecord::new(state).key(order).header("source", "example");
        let place = producer.send(record).await?.await?;
        println!("{order} {state}: partition {}, offset {}", place.partition, place.offset);
    }
    producer.close().await
}
