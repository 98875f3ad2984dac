//! The tests' way in: the whole dialect over a broker in memory, called with HTTP requests but
//! without a socket, on a clock that stands still until a test moves it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, Response};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use weir_core::broker::{Broker, BrokerOptions};
use weir_core::group::identity::{Claim, GroupId};
use weir_core::in_memory;
use weir_core::quota::limits::QuotaPolicy;
use weir_core::settings::broker_settings::BrokerSettings;
use weir_core::stream::stream::{Intent, NewStream, Routing};
use weir_model::ids::StreamName;
use weir_model::random::SeededRandom;
use weir_model::time::{ManualClock, Timestamp};

use crate::caller::Caller;
use crate::http::ReplyBody;
use crate::service::{KinesisOptions, KinesisService};

pub(crate) const ACCOUNT: &str = "000000000000";

/// 2023-11-14 22:13:20 UTC.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=test/20260101/eu-west-1/kinesis/aws4_request, SignedHeaders=host, Signature=00";

/// A dialect to call.
pub(crate) struct Harness {
    pub(crate) service: Arc<KinesisService>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Arc<ManualClock>,
    /// Says that the listener stops.
    pub(crate) stop: watch::Sender<bool>,
}

/// An answer.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Harness {
    /// A fresh broker without quotas.
    pub(crate) async fn new() -> Harness {
        Harness::with_quotas(QuotaPolicy::Off).await
    }

    pub(crate) async fn with_quotas(quotas: QuotaPolicy) -> Harness {
        Harness::with_options(BrokerOptions { quotas, ..in_memory::default_options() }).await
    }

    /// A fresh broker without quotas, but with this many shards at most.
    pub(crate) async fn with_shard_limit(partitions_max: u32) -> Harness {
        let quotas = QuotaPolicy::Off;
        let options = BrokerOptions { quotas, partitions_max, ..in_memory::default_options() };
        Harness::with_options(options).await
    }

    /// A fresh broker without quotas whose states last for so long.
    pub(crate) async fn with_state_delay_ms(delay_ms: u64) -> Harness {
        let quotas = QuotaPolicy::Off;
        let mut options = BrokerOptions { quotas, ..in_memory::default_options() };
        let mut written = options.settings.written.clone();
        let delay = delay_ms.to_string();
        written.insert("weir.stream.state.delay.ms", &delay).expect("a legal setting");
        options.settings = BrokerSettings::new(written).expect("legal settings");
        Harness::with_options(options).await
    }

    async fn with_options(options: BrokerOptions) -> Harness {
        let clock = Arc::new(ManualClock::starting_at(START));
        let random = Arc::new(SeededRandom::new(1));
        let broker = in_memory::open(Arc::clone(&clock) as _, random, options)
            .await
            .expect("an empty broker opens");
        let service = KinesisService::new(Arc::clone(&broker), KinesisOptions::default());
        let service = Arc::new(service);
        Harness { service, broker, clock, stop: watch::Sender::new(false) }
    }

    pub(crate) fn advance_ms(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    /// Sends any request; the body of the answer is still to come.
    pub(crate) async fn begin(&self, request: Request<Full<Bytes>>) -> Response<ReplyBody> {
        let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let caller = Caller::new(peer, self.stop.subscribe());
        self.service.answer(&Arc::new(caller), request).await
    }

    /// Sends any request.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answered {
        let (head, body) = self.begin(request).await.into_parts();
        Answered {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.expect("a body in memory").to_bytes(),
        }
    }

    /// Calls an operation as an SDK does, with a body of this type.
    pub(crate) async fn call_raw(
        &self,
        operation: &str,
        media_type: &str,
        body: impl Into<Bytes>,
    ) -> Answered {
        let request = Request::post("/")
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .header("content-type", media_type)
            .header("x-amz-date", "20260101T000000Z")
            .header("authorization", AUTHORIZATION)
            .body(Full::new(body.into()))
            .expect("a request");
        self.send(request).await
    }

    /// Calls an operation in JSON, whatever comes of it.
    pub(crate) async fn call(&self, operation: &str, input: Json) -> (u16, Json) {
        let media_type = "application/x-amz-json-1.1";
        let answered = self.call_raw(operation, media_type, input.to_string()).await;
        let body = match answered.body.is_empty() {
            true => Json::Null,
            false => serde_json::from_slice(&answered.body).expect("a body in JSON"),
        };
        (answered.status, body)
    }

    /// Calls an operation that must succeed.
    pub(crate) async fn ok(&self, operation: &str, input: Json) -> Json {
        let (status, body) = self.call(operation, input.clone()).await;
        assert_eq!(status, 200, "{operation} {input}: {body}");
        body
    }

    /// Calls an operation that must fail; gives the error's name without `Exception`, and its text.
    pub(crate) async fn error(&self, operation: &str, input: Json) -> (String, String) {
        let (status, body) = self.call(operation, input.clone()).await;
        assert_ne!(status, 200, "{operation} {input}: {body}");
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let kind = text("__type").expect("an error has a type");
        let message = text("message").or(text("Message")).unwrap_or_default();
        (kind.replace("Exception", ""), message)
    }

    /// Makes a stream by the API.
    pub(crate) async fn create_stream(&self, name: &str, shards: u32) {
        let input = json!({"StreamName": name, "ShardCount": shards});
        self.ok("CreateStream", input).await;
    }

    /// Makes a stream as the Kafka dialect does.
    pub(crate) async fn create_topic(&self, name: &str, partitions: u32) {
        let topic = NewStream {
            name: StreamName::new(name).expect("a topic name"),
            routing: Routing::ByPartition,
            partitions,
            overrides: Default::default(),
            attributes: Default::default(),
            intent: Intent::Make,
        };
        for created in self.broker.create_streams(vec![topic]).await {
            created.expect("the topic is made");
        }
    }

    /// Makes the broker keep `__consumer_offsets`, as the first question about a group does.
    pub(crate) async fn make_internal_stream(&self) {
        let group = GroupId::new("g").expect("a group id");
        let asked = self.broker.groups().fetch_offsets(&group, &Claim::nobody(), &[]).await;
        asked.expect("groups are loaded");
    }

    /// Puts a record and gives its sequence number.
    pub(crate) async fn put(&self, stream: &str, key: &str, data: &str) -> String {
        let input = json!({"StreamName": stream, "PartitionKey": key, "Data": base64(data)});
        let reply = self.ok("PutRecord", input).await;
        text(&reply["SequenceNumber"])
    }

    /// An iterator over shard 0.
    pub(crate) async fn iterator(&self, stream: &str, kind: &str) -> String {
        let input = json!({"StreamName": stream, "ShardId": "0", "ShardIteratorType": kind});
        let reply = self.ok("GetShardIterator", input).await;
        text(&reply["ShardIterator"])
    }

    /// The data of the records from an iterator on.
    pub(crate) async fn data_from(&self, iterator: &str) -> Vec<String> {
        let reply = self.ok("GetRecords", json!({"ShardIterator": iterator})).await;
        data_of(&reply)
    }
}

/// Text as a blob in JSON.
pub(crate) fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The data of a GetRecords reply's records.
pub(crate) fn data_of(reply: &Json) -> Vec<String> {
    use base64::Engine;
    let records = reply["Records"].as_array().expect("a list of records");
    let decode = |record: &Json| {
        let data = record["Data"].as_str().expect("data");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data);
        String::from_utf8(bytes.expect("base64")).expect("text")
    };
    records.iter().map(decode).collect()
}

/// A member that is text.
pub(crate) fn text(value: &Json) -> String {
    value.as_str().expect("text").to_owned()
}
