//! What clients over their quota get: the answer at once, and then a pause.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use weir_core::in_memory;
use weir_core::quota::client_quotas::{ChangeIntent, QuotaChange};
use weir_core::quota::entity::{EntityName, QuotaEntity, QuotaKey};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use weir_kafka_protocol::messages::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use weir_kafka_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use weir_kafka_protocol::messages::fetch::FetchResponse;
use weir_kafka_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use weir_kafka_protocol::messages::produce::ProduceResponse;
use weir_model::time::{Clock, Moment, Timestamp};

use crate::client::{Client, NOW, Server, batch, only_partition, produce_request};
use crate::connection::tokio_now;
use crate::fetch::{fetch_all, fetch_request};

/// Tokio's paused time as a clock, so that sleeping and looking at the clock agree; each look may
/// take time of its own.
#[derive(Debug)]
struct PausedClock {
    start: tokio::time::Instant,
    look: Duration,
    looks: AtomicU64,
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.moment().since_start().as_millis();
        NOW.plus_millis(i64::try_from(elapsed).unwrap())
    }

    fn moment(&self) -> Moment {
        let looks = u32::try_from(self.looks.fetch_add(1, Ordering::SeqCst)).unwrap();
        Moment::from_start(tokio_now().duration_since(self.start) + self.look * looks)
    }
}

async fn server_whose_looks_take(look: Duration) -> Server {
    let clock = PausedClock { start: tokio_now(), look, looks: AtomicU64::new(0) };
    Server::on(Arc::new(clock), in_memory::default_options()).await
}

async fn server() -> Server {
    server_whose_looks_take(Duration::ZERO).await
}

/// Gives the clients that call themselves so a quota.
async fn limit(server: &Server, client_id: &str, key: QuotaKey, value: f64) {
    let entity = QuotaEntity::Client(EntityName::Named(client_id.to_owned()));
    let values = BTreeMap::from([(key.name().to_owned(), Some(value))]);
    let changes = vec![QuotaChange { entity, values }];
    let results = server.broker.client_quotas().alter(changes, ChangeIntent::Make).await;
    assert_eq!(results, [Ok(())]);
}

fn metadata() -> MetadataRequest {
    MetadataRequest { topics: Some(Vec::new()), ..Default::default() }
}

/// How long a request with nothing to do takes to be answered.
async fn answer_time(client: &mut Client) -> Duration {
    let asked = tokio_now();
    client.call(9, &metadata()).await;
    tokio_now() - asked
}

/// A request of 10 KB and a little.
fn ten_kilobytes(acks: i16) -> weir_kafka_protocol::messages::produce::ProduceRequest {
    produce_request("orders", acks, &batch(&[&"x".repeat(10_000)]))
}

/// Whether a pause is about as long as expected; requests are a little larger than their records.
fn is_about(pause: Duration, seconds: f64) -> bool {
    (seconds - 0.01..seconds * 1.02 + 0.15).contains(&pause.as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn a_producer_over_its_quota_is_answered_at_once_and_then_not_read() {
    let server = server().await;
    let (mut client, mut other) = (server.client(), server.client());
    client.create_topic("orders", 1, &[]).await;
    limit(&server, "test", QuotaKey::ProducerByteRate, 1_000.0).await;
    for version in [3, 12] {
        let asked = tokio_now();
        let response = client.call(version, &ten_kilobytes(-1)).await;
        assert!(tokio_now() - asked < Duration::from_millis(10));
        let pause_ms = u64::try_from(response.throttle_time_ms).unwrap();
        assert!(pause_ms > 0, "more than ten seconds' worth");
        assert_eq!(only_partition(response).error_code, 0, "it is appended all the same");
        other.send_as("other", 9, &metadata()).await;
        let _: MetadataResponse = other.receive(9).await;
        let asked = tokio_now();
        client.call(9, &metadata()).await;
        let waited = tokio_now() - asked;
        assert!(waited >= Duration::from_millis(pause_ms), "{waited:?} of {pause_ms} ms");
        assert!(waited < Duration::from_millis(pause_ms + 20), "{waited:?} of {pause_ms} ms");
        assert!(answer_time(&mut client).await < Duration::from_millis(10), "it is over");
    }
    client.close().await;
    other.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_wants_no_answer_is_paused_too() {
    let server = server().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    limit(&server, "test", QuotaKey::ProducerByteRate, 1_000.0).await;
    client.send(9, &ten_kilobytes(0)).await;
    client.expect_no_response();
    client.send(9, &ten_kilobytes(0)).await;
    client.expect_no_response();
    let waited = answer_time(&mut client).await;
    assert!(is_about(waited, 10.0), "{waited:?}");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_over_its_quota_gets_the_records_after_the_pause() {
    let server = server().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let records = batch(&[&"x".repeat(15_000)]);
    client.produce("orders", &records).await;
    limit(&server, "test", QuotaKey::ConsumerByteRate, 1_000.0).await;
    let request = fetch_request("orders", 0, 30_000);
    let asked = tokio_now();
    let response = client.call(11, &request).await;
    assert!(tokio_now() - asked < Duration::from_millis(10));
    assert!(response.responses.is_empty(), "an empty answer");
    let pause = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap());
    assert!(is_about(pause, 5.0), "{pause:?}");
    assert!(answer_time(&mut client).await >= pause);
    // What was not given was not charged: a larger quota gives it at once.
    limit(&server, "test", QuotaKey::ConsumerByteRate, 2_000.0).await;
    assert_eq!(fetch_all(&mut client, "orders", 0).await.len(), records.len());
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_within_its_quota_is_given_no_more_than_it_can_save_up() {
    let server = server().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let one = batch(&[&"x".repeat(4_000)]);
    for _ in 0..5 {
        client.produce("orders", &one).await;
    }
    limit(&server, "test", QuotaKey::ConsumerByteRate, 1_000.0).await;
    let given: Bytes = fetch_all(&mut client, "orders", 0).await;
    assert_eq!(given.len(), 2 * one.len());
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_read_before_a_pause_wait_for_its_end() {
    let server = server().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    client.produce("orders", &batch(&[&"x".repeat(15_000)])).await;
    limit(&server, "test", QuotaKey::ConsumerByteRate, 1_000.0).await;
    client.send(11, &fetch_request("orders", 0, 0)).await;
    client.send(9, &metadata()).await;
    client.send(9, &metadata()).await;
    let paused: FetchResponse = client.receive(11).await;
    assert!(paused.throttle_time_ms > 0);
    let begun = tokio_now();
    let _: MetadataResponse = client.receive(9).await;
    assert!(is_about(tokio_now() - begun, 5.0), "{:?}", tokio_now() - begun);
    let _: MetadataResponse = client.receive(9).await;
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn every_request_costs_time_and_every_version_is_paused() {
    let server = server_whose_looks_take(Duration::from_millis(50)).await;
    let mut client = server.client();
    limit(&server, "test", QuotaKey::RequestPercentage, 1.0).await;
    // Version 0 cannot say how long the pause is.
    for (version, says) in [(0, false), (12, true)] {
        let response = client.call(version, &metadata()).await;
        let first = response.throttle_time_ms;
        let response = client.call(version, &metadata()).await;
        let pauses = [first, response.throttle_time_ms];
        assert_eq!(pauses.iter().any(|pause_ms| *pause_ms > 0), says, "{pauses:?}");
        assert!(pauses.iter().all(|pause_ms| *pause_ms <= 1_000), "at most a second: {pauses:?}");
    }
    let asked = tokio_now();
    client.call(0, &metadata()).await;
    assert!(tokio_now() - asked > Duration::from_millis(300), "{:?}", tokio_now() - asked);
    let metrics = server.broker.metrics().request(weir_core::metrics::Dialect::Kafka, "Metadata");
    assert!(metrics.pauses.get() > 0 && metrics.pause_micros.get() > 0);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_with_the_connection_and_with_the_broker() {
    let server = server().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    limit(&server, "test", QuotaKey::ProducerByteRate, 1.0).await;
    let mut other = server.client();
    for client in [&mut client, &mut other] {
        let response = client.call(9, &ten_kilobytes(-1)).await;
        assert!(response.throttle_time_ms > 600_000);
        client.send(9, &metadata()).await;
    }
    let begun = tokio_now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.stop();
    client.expect_close().await;
    other.expect_close().await;
    assert!(tokio_now() - begun < Duration::from_secs(6), "{:?}", tokio_now() - begun);
}

fn topics(names: &[(&str, i32)]) -> CreateTopicsRequest {
    let topic = |(name, partitions): &(&str, i32)| CreatableTopic {
        name: (*name).to_owned(),
        num_partitions: *partitions,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
}

fn codes(response: &CreateTopicsResponse) -> Vec<ErrorCode> {
    response.topics.iter().map(|topic| ErrorCode(topic.error_code)).collect()
}

#[tokio::test(start_paused = true)]
async fn who_makes_too_many_partitions_is_refused_if_it_knows_and_else_paused() {
    let (none, over) = (ErrorCode::NONE, ErrorCode::THROTTLING_QUOTA_EXCEEDED);
    let server = server().await;
    let mut client = server.client();
    limit(&server, "test", QuotaKey::ControllerMutationRate, 1.0).await;
    let response = client.call(7, &topics(&[("a", 6), ("b", 8)])).await;
    assert_eq!((codes(&response), response.throttle_time_ms), (vec![none, none], 0));
    let response = client.call(6, &topics(&[("a", 1), ("c", 1)])).await;
    let exists = ErrorCode::TOPIC_ALREADY_EXISTS;
    assert_eq!((codes(&response), response.throttle_time_ms), (vec![exists, over], 3_000));
    let waited = answer_time(&mut client).await;
    assert!(is_about(waited, 3.0), "{waited:?}");
    let response = client.call(5, &topics(&[("c", 2), ("d", 1)])).await;
    assert_eq!((codes(&response), response.throttle_time_ms), (vec![none, none], 3_000));
    let waited = answer_time(&mut client).await;
    assert!(is_about(waited, 3.0), "{waited:?}");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_adds_too_many_partitions_is_refused_if_it_knows_and_else_paused() {
    let server = server().await;
    let mut client = server.client();
    for name in ["a", "b"] {
        client.create_topic(name, 1, &[]).await;
    }
    limit(&server, "test", QuotaKey::ControllerMutationRate, 1.0).await;
    let (none, over) = (ErrorCode::NONE, ErrorCode::THROTTLING_QUOTA_EXCEEDED);
    let exists = ErrorCode::INVALID_PARTITIONS;
    for (version, validate_only, wanted, expected, pause_ms) in [
        (3, false, [("a", 7), ("b", 1)], [none, exists], 0),
        (3, true, [("a", 8), ("b", 8)], [none, none], 0),
        (3, true, [("a", 8), ("b", 8)], [over, over], 3_000),
        (2, false, [("a", 8), ("b", 3)], [none, none], 3_000),
    ] {
        let topic = |(name, count): (&str, i32)| CreatePartitionsTopic {
            name: name.to_owned(),
            count,
            assignments: None,
        };
        let request = CreatePartitionsRequest {
            topics: wanted.map(topic).to_vec(),
            validate_only,
            ..Default::default()
        };
        let response = client.call(version, &request).await;
        let mut codes: Vec<_> =
            response.results.iter().map(|result| (&*result.name, result.error_code)).collect();
        codes.sort_unstable();
        let expected = [("a", expected[0].0), ("b", expected[1].0)];
        assert_eq!((codes, response.throttle_time_ms), (expected.to_vec(), pause_ms), "{wanted:?}");
        let waited = answer_time(&mut client).await;
        assert!(is_about(waited, f64::from(pause_ms) / 1000.0), "{waited:?}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn topics_made_on_first_use_wait_until_the_quota_reaches_them() {
    let server = server().await;
    let mut client = server.client();
    limit(&server, "test", QuotaKey::ControllerMutationRate, 1.0).await;
    client.call(7, &topics(&[("a", 14)])).await;
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("b".to_owned()),
            ..Default::default()
        }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    for (waited, expected) in [(0, unknown), (1, unknown), (3, ErrorCode::NONE)] {
        tokio::time::sleep(Duration::from_secs(waited)).await;
        let response = client.call(9, &request).await;
        assert_eq!(ErrorCode(response.topics[0].error_code), expected, "after {waited} s more");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_deletes_too_many_partitions_is_refused_if_it_knows_and_else_paused() {
    let server = server().await;
    let mut client = server.client();
    for (name, partitions) in [("a", 14), ("b", 1), ("c", 1)] {
        client.create_topic(name, partitions, &[]).await;
    }
    limit(&server, "test", QuotaKey::ControllerMutationRate, 1.0).await;
    let named = |names: &[&str]| {
        let state =
            |name: &&str| DeleteTopicState { name: Some((*name).to_owned()), ..Default::default() };
        DeleteTopicsRequest { topics: names.iter().map(state).collect(), ..Default::default() }
    };
    let response = client.call(6, &named(&["a"])).await;
    assert_eq!((response.responses[0].error_code, response.throttle_time_ms), (0, 0));
    let response = client.call(6, &named(&["b", "nope"])).await;
    let code_of = |name: &str| {
        let found = response.responses.iter().find(|topic| topic.name.as_deref() == Some(name));
        ErrorCode(found.expect("an answer for each").error_code)
    };
    assert_eq!(code_of("b"), ErrorCode::THROTTLING_QUOTA_EXCEEDED);
    assert_eq!(code_of("nope"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(response.throttle_time_ms, 3_000);
    let request = DeleteTopicsRequest {
        topic_names: vec!["b".to_owned(), "c".to_owned()],
        ..Default::default()
    };
    let response = client.call(4, &request).await;
    assert!(response.responses.iter().all(|topic| topic.error_code == 0));
    assert_eq!(response.throttle_time_ms, 2_000);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn pipelined_batches_keep_their_order_through_pauses() {
    let server = server().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    limit(&server, "test", QuotaKey::ProducerByteRate, 4_000.0).await;
    for _ in 0..8 {
        client.send(9, &ten_kilobytes(-1)).await;
    }
    let begun = tokio_now();
    for offset in 0..8 {
        let response: ProduceResponse = client.receive(9).await;
        assert_eq!(only_partition(response).base_offset, offset);
    }
    // Four at once, and then pauses of 0.1, 2.6, 4.5 and 7.5 seconds, as Kafka's arithmetic has it.
    let waited = tokio_now() - begun;
    assert!(is_about(waited, 14.6), "{waited:?}");
    client.close().await;
}
