//! CreatePartitions, DescribeTopicPartitions, DescribeCluster, ElectLeaders and reassignments.
//! Codes and texts are those of a real Kafka of one broker.

use weir_core::stream::config::Overrides;
use weir_core::stream::stream::{Intent, NewStream, Routing};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use weir_kafka_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
use weir_kafka_protocol::messages::describe_cluster::DescribeClusterRequest;
use weir_kafka_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, RequestCursor, TopicRequest,
};
use weir_kafka_protocol::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use weir_kafka_protocol::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use weir_model::hash_key::HashKeyRange;
use weir_model::ids::StreamName;

use crate::client::{Client, Server, batch, versions_of};

fn wanted(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let assignment =
        |broker_ids: &&[i32]| CreatePartitionsAssignment { broker_ids: broker_ids.to_vec() };
    CreatePartitionsTopic {
        name: name.to_owned(),
        count,
        assignments: assignments.map(|list| list.iter().map(assignment).collect()),
    }
}

async fn grow(
    client: &mut Client,
    version: i16,
    topics: Vec<CreatePartitionsTopic>,
    validate_only: bool,
) -> Vec<CreatePartitionsTopicResult> {
    let request = CreatePartitionsRequest { topics, timeout_ms: 1_000, validate_only };
    client.call(version, &request).await.results
}

#[tokio::test(start_paused = true)]
async fn partitions_are_added_and_the_hash_ranges_cut_anew() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    assert_eq!(client.produce("orders", &batch(&["a"])).await.base_offset, 0);
    for version in versions_of::<CreatePartitionsRequest>() {
        let count = 2 + i32::from(version);
        let topics = vec![wanted("orders", count, None)];
        let checked = grow(&mut client, version, topics.clone(), true).await.remove(0);
        let made = grow(&mut client, version, topics, false).await.remove(0);
        assert_eq!((checked.error_code, made.error_code), (0, 0), "{:?}", made.error_message);
        let partitions = server.broker.stream("orders").expect("made").partitions();
        let ranges: Vec<_> = partitions.iter().map(|partition| partition.hash_keys).collect();
        assert_eq!(ranges, HashKeyRange::even_ranges(u32::try_from(count).unwrap()));
    }
    assert_eq!(client.produce("orders", &batch(&["b"])).await.base_offset, 1, "the same log");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn growth_is_refused_in_kafkas_words() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("a", 4, &[]).await;
    client.create_topic("m", 1, &[]).await;
    let shards = NewStream {
        name: StreamName::new("clicks").unwrap(),
        routing: Routing::ByHash,
        partitions: 1,
        overrides: Overrides::new(),
        attributes: Default::default(),
        intent: Intent::Make,
    };
    server.broker.create_streams(vec![shards]).await.remove(0).expect("made");
    let (partitions, assignment) =
        (ErrorCode::INVALID_PARTITIONS, ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let ours: &[i32] = &[1];
    for (topic, code, said) in [
        (
            wanted("a", 2, None),
            partitions,
            "The topic a currently has 4 partition(s); 2 would not be an increase.",
        ),
        (
            wanted("a", -1, None),
            partitions,
            "The topic a currently has 4 partition(s); -1 would not be an increase.",
        ),
        (wanted("a", 4, None), partitions, "Topic already has 4 partition(s)."),
        (wanted("nope", 4, None), unknown, ""),
        (wanted("a/b", 4, None), unknown, ""),
        (
            wanted("m", 3, Some(&[ours])),
            assignment,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            wanted("m", 3, Some(&[ours, &[2]])),
            assignment,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
        (
            wanted("m", 3, Some(&[ours, &[]])),
            assignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            wanted("clicks", 3, None),
            partitions,
            "The stream clicks was made by Kinesis: its shards are split and merged, or counted \
             anew by UpdateShardCount.",
        ),
        (
            wanted("m", 20_000, None),
            ErrorCode::POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
    ] {
        let result = grow(&mut client, 3, vec![topic], false).await.remove(0);
        let message = result.error_message.unwrap_or_default();
        assert_eq!((ErrorCode(result.error_code), message.as_str()), (code, said));
    }
    let twice = vec![wanted("m", 2, None), wanted("m", 3, None)];
    let results = grow(&mut client, 3, twice, false).await;
    let refused = (results.len(), ErrorCode(results[0].error_code));
    assert_eq!(refused, (1, ErrorCode::INVALID_REQUEST));
    assert_eq!(server.broker.stream("m").expect("made").partitions().len(), 1);
    client.close().await;
}

async fn page(
    client: &mut Client,
    topics: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsResponse {
    let topic = |name: &&str| TopicRequest { name: (*name).to_owned() };
    let cursor = cursor.map(|(name, partition_index)| RequestCursor {
        topic_name: name.to_owned(),
        partition_index,
    });
    let request = DescribeTopicPartitionsRequest {
        topics: topics.iter().map(topic).collect(),
        response_partition_limit: limit,
        cursor,
    };
    client.call(0, &request).await
}

#[tokio::test(start_paused = true)]
async fn topics_are_described_page_by_page() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("a", 4, &[]).await;
    client.create_topic("c", 1, &[]).await;
    client.create_topic("m", 1, &[]).await;
    for (topics, limit, cursor, expected, next) in [
        (&["a", "nope", "c"][..], 3, None, &[("a", 0, 3)][..], Some(("a", 3))),
        (&[], 2_000, None, &[("a", 0, 4), ("c", 0, 1), ("m", 0, 1)], None),
        (&[], 2, Some(("a", 2)), &[("a", 0, 2)], Some(("c", 0))),
        (&["a", "c"], 0, None, &[("a", 0, 1)], Some(("a", 1))),
        (&["a", "a"], 10, None, &[("a", 0, 4)], None),
        (&["a"], 10, Some(("a", 99)), &[("a", 0, 0)], None),
        (&["a"], 10, Some(("a", -1)), &[("a", 42, 0)], None),
        (&["", "a"], 10, None, &[("", -1, 0), ("a", -1, 0)], None),
        (&["a", "c"], 10, Some(("b", 0)), &[("a", 42, 0), ("c", 42, 0)], None),
        (&["c", "nope"], 1, None, &[("c", 0, 1)], Some(("nope", 0))),
        (
            &["a", "nope", "zz", "c", "m"],
            5,
            Some(("c", 0)),
            &[("c", 0, 1), ("m", 0, 1), ("nope", 3, 0), ("zz", 3, 0)],
            None,
        ),
    ] {
        let response = page(&mut client, topics, limit, cursor).await;
        let found: Vec<_> = response
            .topics
            .iter()
            .map(|topic| {
                (
                    topic.name.as_deref().unwrap_or_default(),
                    topic.error_code,
                    topic.partitions.len(),
                )
            })
            .collect();
        assert_eq!(found, expected, "{topics:?} {limit} {cursor:?}");
        let found = response.next_cursor.as_ref();
        let found = found.map(|cursor| (cursor.topic_name.as_str(), cursor.partition_index));
        assert_eq!(found, next, "{topics:?} {limit} {cursor:?}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_cluster_is_this_broker() {
    let server = Server::start().await;
    let mut client = server.client();
    for version in versions_of::<DescribeClusterRequest>() {
        let request = DescribeClusterRequest::default();
        let response = client.call(version, &request).await;
        assert_eq!((response.error_code, response.controller_id), (0, 1));
        let broker = &response.brokers[0];
        assert_eq!((broker.broker_id, broker.port, broker.is_fenced), (1, 9092, false));
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
    }
    for (endpoint_type, code) in
        [(2, ErrorCode::MISMATCHED_ENDPOINT_TYPE), (3, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE)]
    {
        let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
        let response = client.call(1, &request).await;
        assert_eq!((ErrorCode(response.error_code), response.controller_id), (code, -1));
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn leaders_are_where_they_are() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("a", 1, &[]).await;
    let list = |topic: &str, partitions: &[i32]| TopicPartitions {
        topic: topic.to_owned(),
        partitions: partitions.to_vec(),
    };
    for version in versions_of::<ElectLeadersRequest>() {
        let request = ElectLeadersRequest {
            topic_partitions: Some(vec![list("a", &[0, 99]), list("nope", &[0])]),
            ..Default::default()
        };
        let response = client.call(version, &request).await;
        let results = response.replica_election_results.iter();
        let codes = results.flat_map(|topic| &topic.partition_result);
        let codes: Vec<_> = codes.map(|result| ErrorCode(result.error_code)).collect();
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        assert_eq!(codes, [ErrorCode::ELECTION_NOT_NEEDED, unknown, unknown]);
    }
    let request = ElectLeadersRequest {
        election_type: 5,
        topic_partitions: Some(vec![list("a", &[0])]),
        ..Default::default()
    };
    let response = client.call(2, &request).await;
    assert_eq!(ErrorCode(response.error_code), ErrorCode::INVALID_REQUEST);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn partitions_stay_on_this_broker() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("a", 4, &[]).await;
    let to = |partition_index, replicas: Option<&[i32]>| ReassignablePartition {
        partition_index,
        replicas: replicas.map(<[i32]>::to_vec),
    };
    let partitions = vec![to(0, Some(&[1])), to(1, None), to(99, Some(&[1])), to(2, Some(&[2]))];
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic { name: "a".to_owned(), partitions }],
        ..Default::default()
    };
    for version in versions_of::<AlterPartitionReassignmentsRequest>() {
        let mut response = client.call(version, &request).await;
        let partitions = response.responses.remove(0).partitions;
        let codes: Vec<_> =
            partitions.iter().map(|partition| ErrorCode(partition.error_code)).collect();
        let expected = [
            ErrorCode::NONE,
            ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ];
        assert_eq!(codes, expected);
    }
    let response = client.call(0, &ListPartitionReassignmentsRequest::default()).await;
    assert_eq!((response.error_code, response.topics.len()), (0, 0));
    client.close().await;
}
