//! Metadata: brokers and topics.

use weir_core::in_memory;
use weir_kafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use weir_kafka_protocol::{ErrorCode, Uuid};

use crate::client::{Server, versions_of};

pub(crate) fn by_name(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() }
}

fn by_id(topic_id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic { topic_id, name: None }
}

#[tokio::test(start_paused = true)]
async fn every_version_describes_the_broker_and_its_topics() {
    let server = Server::start().await;
    let mut client = server.client();
    let first = client.create_topic("alpha", 2, &[]).await;
    client.create_topic("beta", 1, &[]).await;
    for version in versions_of::<MetadataRequest>() {
        // Version 0 has no null: there, an empty list asks for all.
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        let all = MetadataRequest { topics, ..Default::default() };
        let response = client.call(version, &all).await;
        let broker = &response.brokers[0];
        assert_eq!((broker.node_id, broker.host.as_str(), broker.port), (1, "localhost", 9092));
        let names: Vec<_> = response.topics.iter().map(|topic| topic.name.as_deref()).collect();
        assert_eq!(names, [Some("alpha"), Some("beta")], "{version}");
        let topic = &response.topics[0];
        assert_eq!(topic.topic_id, if version >= 10 { first } else { Uuid::ZERO });
        assert_eq!(topic.partitions.len(), 2);
        for (index, partition) in (0..).zip(&topic.partitions) {
            assert_eq!((partition.partition_index, partition.leader_id), (index, 1));
            assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
            assert_eq!((&partition.replica_nodes, &partition.isr_nodes), (&vec![1], &vec![1]));
        }
        if version >= 1 {
            assert_eq!(response.controller_id, 1);
            let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
            assert!(client.call(version, &none).await.topics.is_empty());
        }
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_topic_is_made_only_if_broker_and_client_agree() {
    for (auto_create, client_allows, made) in
        [("true", true, true), ("true", false, false), ("false", true, false)]
    {
        let options = in_memory::options_with(&[("auto.create.topics.enable", auto_create)]);
        let server = Server::with(options).await;
        let mut client = server.client();
        let request = MetadataRequest {
            topics: Some(vec![by_name("orders")]),
            allow_auto_topic_creation: client_allows,
            ..Default::default()
        };
        let topic = client.call(12, &request).await.topics.remove(0);
        let code = ErrorCode(topic.error_code);
        let expected = if made { ErrorCode::NONE } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        assert_eq!((code, topic.partitions.len()), (expected, usize::from(made)));
        assert_eq!(server.broker.stream("orders").is_some(), made);
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn more_topics_than_one_request_may_make_are_unknown_and_none_is_made() {
    let settings = [("num.partitions", "4999")];
    let server = Server::with(in_memory::options_with(&settings)).await;
    let mut client = server.client();
    for (names, code) in [
        (&["a", "b", "c"][..], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (&["a", "b"], ErrorCode::NONE),
    ] {
        let topics = Some(names.iter().map(|name| by_name(name)).collect());
        let request = MetadataRequest { topics, ..Default::default() };
        let topics = client.call(9, &request).await.topics;
        let codes: Vec<_> = topics.iter().map(|topic| ErrorCode(topic.error_code)).collect();
        assert_eq!(codes, vec![code; names.len()], "{names:?}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn names_and_ids_that_cannot_be_are_refused_one_by_one() {
    let server = Server::start().await;
    let mut client = server.client();
    let topic_id = client.create_topic("orders", 1, &[]).await;
    let stranger = Uuid([7; 16]);
    for (topics, expected) in [
        (
            vec![by_name("no/such"), by_name("__consumer_offsets"), by_name("orders")],
            vec![
                (ErrorCode::INVALID_TOPIC_EXCEPTION, Some("no/such")),
                (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some("__consumer_offsets")),
                (ErrorCode::NONE, Some("orders")),
            ],
        ),
        (
            // Beside an id a name is nothing; and what is named twice is answered once.
            vec![by_id(topic_id), by_name("orders"), by_id(stranger), by_id(topic_id)],
            vec![(ErrorCode::NONE, Some("orders")), (ErrorCode::UNKNOWN_TOPIC_ID, None)],
        ),
    ] {
        let request = MetadataRequest { topics: Some(topics), ..Default::default() };
        let response = client.call(12, &request).await;
        let answers: Vec<_> = response
            .topics
            .iter()
            .map(|topic| (ErrorCode(topic.error_code), topic.name.as_deref()))
            .collect();
        assert_eq!(answers, expected);
    }

    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id, name: Some("orders".to_owned()) }]),
        ..Default::default()
    };
    let early = client.call(11, &request).await;
    assert_eq!(ErrorCode(early.topics[0].error_code), ErrorCode::INVALID_REQUEST);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn authorised_operations_are_all_of_them_where_asked_for() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    for (asked, topic_operations, cluster_operations) in
        [(true, 3576, 8096), (false, i32::MIN, i32::MIN)]
    {
        let request = MetadataRequest {
            topics: None,
            include_topic_authorized_operations: asked,
            include_cluster_authorized_operations: asked,
            ..Default::default()
        };
        let response = client.call(8, &request).await;
        assert_eq!(response.topics[0].topic_authorized_operations, topic_operations);
        assert_eq!(response.cluster_authorized_operations, cluster_operations);
    }
    client.close().await;
}
