//! Damaged requests: every one in every version, with lengths made wrong, bits flipped, cut off.

use std::ops::RangeInclusive;

use bytes::Bytes;
use weir_kafka_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use weir_kafka_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use weir_kafka_protocol::messages::fetch::FetchRequest;
use weir_kafka_protocol::messages::find_coordinator::FindCoordinatorRequest;
use weir_kafka_protocol::messages::heartbeat::HeartbeatRequest;
use weir_kafka_protocol::messages::init_producer_id::InitProducerIdRequest;
use weir_kafka_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use weir_kafka_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use weir_kafka_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use weir_kafka_protocol::messages::metadata::MetadataRequest;
use weir_kafka_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use weir_kafka_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use weir_kafka_protocol::messages::produce::ProduceRequest;
use weir_kafka_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use weir_kafka_protocol::{Request, Uuid, frame};

use crate::client::{Server, batch, produce_request};
use crate::fetch::fetch_request;
use crate::metadata::by_name;

/// Bytes of length, key, version and correlation id: damaged elsewhere.
const HEAD_BYTES: usize = 12;

/// Sends `request` in each version with -1 and 2³¹-1 written over each four bytes, as one broken
/// array length after the other; with each bit of it flipped; and cut off after each byte. Each
/// must be answered or closed upon, and nothing may panic.
async fn check<R: Request>(versions: RangeInclusive<i16>, request_in: impl Fn(i16) -> R) {
    let server = Server::start().await;
    server.client().create_topic("orders", 1, &[]).await;
    for version in versions {
        let gather = frame::encode_request(1, Some("test"), version, &request_in(version));
        let whole = gather.expect("encodes").into_bytes().expect("in memory");
        for at in HEAD_BYTES..whole.len() {
            for length in [-1, i32::MAX] {
                let mut damaged = whole.to_vec();
                let four = at..(at + 4).min(whole.len());
                damaged[four.clone()].copy_from_slice(&length.to_be_bytes()[..four.len()]);
                send(&server, &damaged).await;
            }
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[at] ^= 1 << bit;
                send(&server, &damaged).await;
            }
            let cut_bytes = i32::try_from(at - 4).unwrap().to_be_bytes();
            send(&server, &[&cut_bytes, &whole[4..at]].concat()).await;
        }
    }
    let names = server.client().call(12, &MetadataRequest::default()).await;
    assert_eq!(names.error_code, 0, "everyone else is served");
}

async fn send(server: &Server, damaged: &[u8]) {
    let mut client = server.client();
    client.send_raw(damaged).await;
    client.close().await;
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

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test(start_paused = true)]
async fn damaged_membership_requests_harm_nobody() {
    let bytes = Bytes::from_static(b"anything");
    let protocol = JoinGroupRequestProtocol { name: text("range"), metadata: bytes.clone() };
    check(0..=9, |_| JoinGroupRequest {
        group_id: text("g"),
        session_timeout_ms: 10_000,
        protocol_type: text("consumer"),
        protocols: vec![protocol.clone()],
        ..Default::default()
    })
    .await;
    let assignment = SyncGroupRequestAssignment { member_id: text("m"), assignment: bytes };
    check(0..=5, |version| SyncGroupRequest {
        group_id: text("g"),
        member_id: text("m"),
        protocol_type: (version >= 5).then(|| text("consumer")),
        protocol_name: (version >= 5).then(|| text("range")),
        assignments: vec![assignment.clone()],
        ..Default::default()
    })
    .await;
    check(0..=4, |_| HeartbeatRequest {
        group_id: text("g"),
        member_id: text("m"),
        ..Default::default()
    })
    .await;
    let member = MemberIdentity { member_id: text("m"), ..Default::default() };
    check(0..=5, |version| LeaveGroupRequest {
        group_id: text("g"),
        member_id: if version < 3 { text("m") } else { String::new() },
        members: if version < 3 { Vec::new() } else { vec![member.clone()] },
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn damaged_offset_requests_harm_nobody() {
    check(0..=6, |version| FindCoordinatorRequest {
        key: if version < 4 { text("g") } else { String::new() },
        coordinator_keys: if version < 4 { Vec::new() } else { vec![text("g"), text("h")] },
        ..Default::default()
    })
    .await;
    let partitions =
        vec![OffsetCommitRequestPartition { committed_offset: 3, ..Default::default() }];
    check(2..=10, |version| OffsetCommitRequest {
        group_id: text("g"),
        topics: vec![OffsetCommitRequestTopic {
            name: if version < 10 { text("orders") } else { String::new() },
            partitions: partitions.clone(),
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    check(1..=10, |version| match version {
        8.. => OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: text("g"),
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: if version < 10 { text("orders") } else { String::new() },
                    partition_indexes: vec![0, 1],
                    ..Default::default()
                }]),
                ..Default::default()
            }],
            ..Default::default()
        },
        _ => OffsetFetchRequest {
            group_id: text("g"),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: text("orders"),
                partition_indexes: vec![0, 1],
            }]),
            ..Default::default()
        },
    })
    .await;
}
