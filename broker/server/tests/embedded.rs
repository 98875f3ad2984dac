//! Brokers inside a test's own process, as `weir::Broker` starts them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::Broker;
use weir_client::admin::NewStream;
use weir_client::{Client, NewRecord, ProducerOptions};

/// An ApiVersions request of version 0 by a client without a name.
const API_VERSIONS: &[u8] = &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255];

async fn streams(broker: &Broker) -> Vec<String> {
    let client = Client::new(&broker.grpc_url()).expect("it is an address");
    let streams = client.admin().list_streams("").await.expect("it answers");
    streams.into_iter().map(|stream| stream.name).collect()
}

async fn http(url: &str, request: &str) -> String {
    let address = url.strip_prefix("http://").expect("a plain address");
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers and closes");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn two_brokers_know_nothing_of_each_other() {
    let one = Broker::start_ephemeral().await.expect("it starts");
    let other = Broker::start_ephemeral().await.expect("a second one does too");
    let client = Client::new(&one.grpc_url()).expect("it is an address");
    client.admin().create_stream(NewStream::by_partition("orders")).await.expect("it is new");
    let producer = client.producer(ProducerOptions::new("orders")).await.expect("it is there");
    let kept = producer.send(NewRecord::new("paid")).await.expect("there is room");
    assert_eq!(kept.await.expect("it is kept").offset, 0);
    assert_eq!(streams(&one).await, ["orders"]);
    assert!(streams(&other).await.is_empty());
    one.stop().await.expect("it stops");
    other.stop().await.expect("so does the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_is_served() {
    let broker = Broker::start_ephemeral().await.expect("it starts");
    let mut kafka = TcpStream::connect(broker.kafka_address()).await.expect("it listens");
    kafka.write_all(API_VERSIONS).await.expect("it reads");
    let mut answer = [0; 10];
    kafka.read_exact(&mut answer).await.expect("it answers");
    // Length, then the correlation id and no error.
    assert_eq!(answer[4..], [0, 0, 0, 7, 0, 0]);
    let get = "GET /readyz HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n";
    let ready = http(&broker.http_url(), get).await;
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    let refused = http(&broker.kinesis_url(), get).await;
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    drop(kafka);
    broker.stop().await.expect("it stops");
}
