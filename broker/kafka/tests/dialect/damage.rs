//! Damaged requests: every request in every version, with every length in it made wrong.

use std::ops::RangeInclusive;

use weir_kafka_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use weir_kafka_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use weir_kafka_protocol::messages::fetch::FetchRequest;
use weir_kafka_protocol::messages::init_producer_id::InitProducerIdRequest;
use weir_kafka_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use weir_kafka_protocol::messages::metadata::MetadataRequest;
use weir_kafka_protocol::messages::produce::ProduceRequest;
use weir_kafka_protocol::{Request, Uuid, frame};

use crate::client::{Server, batch, produce_request};
use crate::fetch::fetch_request;
use crate::metadata::by_name;

/// Bytes of length, key, version and correlation id: damaged elsewhere.
const HEAD_BYTES: usize = 12;

/// Sends `request` in each version with -1 and 2³¹-1 written over each four bytes, as one broken
/// array length after the other; each must be answered or closed upon, and nothing may panic.
async fn check<R: Request>(versions: RangeInclusive<i16>, request_in: impl Fn(i16) -> R) {
    let server = Server::start().await;
    server.client().create_topic("orders", 1, &[]).await;
    for version in versions {
        let gather = frame::encode_request(1, Some("test"), version, &request_in(version));
        let whole = gather.expect("encodes").into_bytes().expect("in memory");
        for at in HEAD_BYTES..whole.len().saturating_sub(3) {
            for length in [-1, i32::MAX] {
                let mut damaged = whole.to_vec();
                damaged[at..at + 4].copy_from_slice(&length.to_be_bytes());
                let mut client = server.client();
                client.send_raw(&damaged).await;
                client.close().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_produce_requests_harm_nobody() {
    check::<ProduceRequest>(3..=13, |version| {
        let mut request = produce_request("orders", 1, &batch(&["a"]));
        if version >= 13 {
            request.topic_data[0].name = String::new();
        }
        request
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn damaged_fetch_requests_harm_nobody() {
    check::<FetchRequest>(4..=18, |version| {
        let topic = if version < 13 { "orders" } else { "" };
        fetch_request(topic, 0, 0)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn damaged_list_offsets_requests_harm_nobody() {
    let partitions = vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: "orders".to_owned(), partitions }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    check(1..=11, |_| request.clone()).await;
}

#[tokio::test(start_paused = true)]
async fn damaged_metadata_requests_harm_nobody() {
    let topics = Some(vec![by_name("orders"), by_name("others")]);
    check(0..=13, |_| MetadataRequest { topics: topics.clone(), ..Default::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn damaged_topic_requests_harm_nobody() {
    let assignments = vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1] }];
    let configs = vec![CreatableTopicConfig {
        name: "retention.ms".to_owned(),
        value: Some("1000".to_owned()),
    }];
    let topics =
        vec![CreatableTopic { name: "new".to_owned(), assignments, configs, ..Default::default() }];
    check(2..=7, |_| CreateTopicsRequest { topics: topics.clone(), ..Default::default() }).await;
    check(1..=6, |version| match version {
        6 => DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: Some("new".to_owned()), topic_id: Uuid::ZERO }],
            ..Default::default()
        },
        _ => DeleteTopicsRequest { topic_names: vec!["new".to_owned()], ..Default::default() },
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn damaged_init_producer_id_requests_harm_nobody() {
    let transactional_id = Some("t".to_owned());
    let request = InitProducerIdRequest { transactional_id, ..Default::default() };
    check(0..=5, |_| request.clone()).await;
}
