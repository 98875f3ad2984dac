//! One client on one connection. Whatever goes wrong inside the broker's task fails the test.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_core::broker::{Broker, BrokerOptions};
use weir_core::in_memory;
use weir_kafka::{Advertised, Ends, KafkaService, serve_connection};
use weir_kafka_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use weir_kafka_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use weir_kafka_protocol::{Message, Reader, Request, Response, Uuid, frame};
use weir_model::batch::RecordBatch;
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::random::SeededRandom;
use weir_model::record::RecordToWrite;
use weir_model::time::{Clock, ManualClock, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Bytes between client and broker that may be under way.
const WIRE_BYTES: usize = 1 << 16;

/// A broker that clients can be connected to.
pub(crate) struct Server {
    pub(crate) broker: Arc<Broker>,
    service: Arc<KafkaService>,
    stop: watch::Sender<bool>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::with(in_memory::default_options()).await
    }

    pub(crate) async fn with(options: BrokerOptions) -> Server {
        Server::on(Arc::new(ManualClock::starting_at(NOW)), options).await
    }

    /// A broker on a clock of the test's own.
    pub(crate) async fn on(clock: Arc<dyn Clock>, options: BrokerOptions) -> Server {
        let random = Arc::new(SeededRandom::new(1));
        let broker = in_memory::open(clock, random, options).await.expect("opens");
        let service = KafkaService::new(Arc::clone(&broker), Advertised::default());
        Server { broker, service, stop: watch::channel(false).0 }
    }

    pub(crate) fn client(&self) -> Client {
        self.client_over(WIRE_BYTES)
    }

    /// A client over a wire that holds so many bytes each way.
    pub(crate) fn client_over(&self, wire_bytes: usize) -> Client {
        let (client, server) = duplex(wire_bytes);
        let (reader, writer) = split(server);
        let ends = Ends {
            peer: "127.0.0.1:40001".parse().unwrap(),
            local: "127.0.0.1:9092".parse().unwrap(),
        };
        let service = Arc::clone(&self.service);
        let serving = serve_connection(reader, writer, ends, service, self.stop.subscribe());
        let (reader, writer) = split(client);
        let serving = tokio::spawn(serving);
        Client { reader, writer: Some(writer), serving, next_correlation_id: 1, oldest: 1 }
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

pub(crate) struct Client {
    reader: ReadHalf<DuplexStream>,
    writer: Option<WriteHalf<DuplexStream>>,
    serving: JoinHandle<()>,
    next_correlation_id: i32,
    /// Correlation id that the next response must carry.
    oldest: i32,
}

impl Client {
    /// Sends a request and returns without its response.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.send_as("test", version, request).await;
    }

    /// Sends a request under another client id.
    pub(crate) async fn send_as<R: Request>(&mut self, id: &str, version: i16, request: &R) {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let gather = frame::encode_request(correlation_id, Some(id), version, request);
        let bytes = gather.expect("the request exists in this version").into_bytes();
        self.send_raw(&bytes.expect("requests have no external parts")).await;
    }

    /// Says that the oldest request still open gets no response.
    pub(crate) fn expect_no_response(&mut self) {
        self.oldest += 1;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let writer = self.writer.as_mut().expect("not finished yet");
        // The broker may close while we still write; what it answered then says more.
        let _ = writer.write_all(bytes).await;
    }

    /// The next frame without its length; none if the broker closed.
    pub(crate) async fn receive_raw(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.reader.read_exact(&mut length).await.ok()?;
        let length = usize::try_from(i32::from_be_bytes(length)).expect("not negative");
        let mut body = BytesMut::zeroed(length);
        self.reader.read_exact(&mut body).await.expect("a whole frame");
        Some(body.freeze())
    }

    /// The next response, which must be to the oldest request still open.
    pub(crate) async fn receive<R: Response>(&mut self, version: i16) -> R {
        let frame = self.receive_raw().await.expect("an answer, but the broker closed");
        let mut reader = Reader::new(frame);
        let correlation_id =
            frame::decode_response_header(&mut reader, R::API_KEY, version).expect("a header");
        assert_eq!(correlation_id, self.oldest, "answers come in the order of the requests");
        self.oldest += 1;
        let response = R::decode(&mut reader, version).expect("a body");
        reader.finish().expect("nothing after it");
        response
    }

    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive(version).await
    }

    /// Closes the sending side.
    pub(crate) async fn finish_sending(&mut self) {
        let mut writer = self.writer.take().expect("not finished yet");
        let _ = writer.shutdown().await;
    }

    /// Asserts that the broker closes the connection without another answer.
    pub(crate) async fn expect_close(mut self) {
        let next = tokio::time::timeout(Duration::from_secs(3600), self.receive_raw()).await;
        assert_eq!(next.expect("closed within the hour"), None, "closed without another answer");
        self.serving.await.expect("the connection's task did not panic");
    }

    /// Ends the connection and asserts that the broker's task ended well.
    pub(crate) async fn close(mut self) {
        self.finish_sending().await;
        while self.receive_raw().await.is_some() {}
        self.serving.await.expect("the connection's task did not panic");
    }

    pub(crate) async fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Uuid {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        };
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let mut response = self.call(7, &request).await;
        let result = response.topics.remove(0);
        assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        result.topic_id
    }

    /// Produces to partition 0 and returns what became of it.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        records: &Bytes,
    ) -> PartitionProduceResponse {
        let response = self.call(9, &produce_request(topic, -1, records)).await;
        only_partition(response)
    }
}

pub(crate) fn only_partition(mut response: ProduceResponse) -> PartitionProduceResponse {
    response.responses.remove(0).partition_responses.remove(0)
}

pub(crate) fn produce_request(topic: &str, acks: i16, records: &Bytes) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData { index: 0, records: Some(records.clone()) }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) fn batch_of(values: &[&str], options: BatchOptions) -> RecordBatch {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        let record = RecordToWrite {
            timestamp: NOW,
            key: Some(b"key"),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        builder.append(&record).expect("a small record fits");
    }
    builder.build()
}

/// The bytes of an uncompressed batch.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_of(values, BatchOptions::default()).bytes().clone()
}

/// The versions of `R` that a broker could serve.
pub(crate) fn versions_of<R: Message>() -> std::ops::RangeInclusive<i16> {
    R::VERSIONS.0..=R::VERSIONS.1
}
