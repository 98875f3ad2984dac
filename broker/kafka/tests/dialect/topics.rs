//! CreateTopics and DeleteTopics.

use weir_core::in_memory;
use weir_kafka_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult,
    CreateTopicsRequest,
};
use weir_kafka_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use weir_kafka_protocol::{ErrorCode, Uuid};

use crate::client::{Client, Server, versions_of};

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    }
}

async fn create(client: &mut Client, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest { topics, ..Default::default() };
    client.call(7, &request).await.topics
}

#[tokio::test(start_paused = true)]
async fn every_version_creates_and_deletes() {
    let server = Server::start().await;
    let mut client = server.client();
    for version in versions_of::<CreateTopicsRequest>() {
        let name = format!("orders-{version}");
        let wanted = CreatableTopic { num_partitions: 3, ..topic(&name) };
        let request = CreateTopicsRequest { topics: vec![wanted], ..Default::default() };
        let result = client.call(version, &request).await.topics.remove(0);
        assert_eq!((result.error_code, result.name.as_str()), (0, name.as_str()));
        let stream = server.broker.stream(&name).expect("made");
        assert_eq!(stream.partitions().len(), 3);
        if version >= 5 {
            assert_eq!((result.num_partitions, result.replication_factor), (3, 1));
            let configs = result.configs.expect("described");
            assert!(configs.iter().any(|config| config.name == "retention.ms"));
        }
        if version >= 7 {
            assert_eq!(result.topic_id, Uuid(stream.id.to_bytes()));
        }
    }
    for version in versions_of::<DeleteTopicsRequest>() {
        let name = format!("orders-{}", version + 1);
        let request = match version {
            6 => DeleteTopicsRequest {
                topics: vec![DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO }],
                ..Default::default()
            },
            _ => DeleteTopicsRequest { topic_names: vec![name.clone()], ..Default::default() },
        };
        for code in [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION] {
            let result = client.call(version, &request).await.responses.remove(0);
            assert_eq!(ErrorCode(result.error_code), code, "{version}");
            assert_eq!(result.name.as_deref(), Some(name.as_str()));
        }
        assert!(server.broker.stream(&name).is_none());
    }
    client.close().await;
}

/// Creates each topic by itself; each must be refused with that code and a sentence that says so.
async fn check_refusals(cases: Vec<(CreatableTopic, ErrorCode, &str)>) {
    let server = Server::start().await;
    let mut client = server.client();
    create(&mut client, vec![topic("taken"), topic("with.dot")]).await;
    for (wanted, code, said) in cases {
        let name = wanted.name.clone();
        let result = create(&mut client, vec![wanted]).await.remove(0);
        assert_eq!(ErrorCode(result.error_code), code, "{name}: {said}");
        let message = result.error_message.expect("a sentence");
        assert!(message.contains(said), "{message}");
    }
    assert!(server.broker.stream("t").is_none(), "nothing was made");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn one_request_makes_so_many_partitions_topics_and_settings_and_no_more() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("taken", 1, &[]).await;
    let counted = |(name, num_partitions): &(&str, i32)| CreatableTopic {
        num_partitions: *num_partitions,
        ..topic(name)
    };
    let (partitions, records) = (
        Some("Excessively large number of partitions per request."),
        Some("Unable to perform excessively large batch operation."),
    );
    for (topics, said) in [
        (&[("a", 9_999)][..], None),
        (&[("a", 10_000)], records),
        (&[("a", 9_997), ("b", 1)], None),
        (&[("a", 9_998), ("b", 1)], records),
        (&[("a", 9_998), ("taken", 1)], None),
        (&[("a", 9_999), ("a b", 2)], partitions),
        (&[("a", 10_001), ("b", 1)], partitions),
    ] {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(counted).collect(),
            validate_only: true,
            ..Default::default()
        };
        let results = client.call(7, &request).await.topics;
        let refused = results.iter().filter(|result| result.error_message.as_deref() == said);
        let refused = refused.filter(|result| result.error_code != 0).count();
        let expected = if said.is_some() { topics.len() } else { 0 };
        assert_eq!(refused, expected, "{topics:?}: {results:?}");
        let a = results.iter().find(|result| result.name == "a").expect("answered");
        let code = if said.is_some() { ErrorCode::POLICY_VIOLATION } else { ErrorCode::NONE };
        assert_eq!(ErrorCode(a.error_code), code, "{topics:?}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn names_and_settings_are_refused_in_kafkas_words() {
    let config = |name: &str, value: Option<&str>| CreatableTopic {
        configs: vec![CreatableTopicConfig {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        }],
        ..topic("t")
    };
    let (exists, name, setting) = (
        ErrorCode::TOPIC_ALREADY_EXISTS,
        ErrorCode::INVALID_TOPIC_EXCEPTION,
        ErrorCode::INVALID_CONFIG,
    );
    check_refusals(vec![
        (topic("taken"), exists, "Topic 'taken' already exists."),
        (topic("with_dot"), name, "collides with existing topic"),
        (topic(""), name, "the empty string is not allowed"),
        (topic("."), name, "'.' is not allowed"),
        (topic("a b"), name, "other than ASCII alphanumerics"),
        (topic("__consumer_offsets"), name, "own state"),
        (config("no.such", Some("1")), setting, "Unknown topic config name: no.such"),
        (
            config("retention.ms", Some("soon")),
            setting,
            "Invalid value soon for configuration retention.ms",
        ),
        (config("retention.ms", None), setting, "Null value"),
    ])
    .await;
}

fn counted(num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { num_partitions, replication_factor, ..topic("t") }
}

fn assigned(assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assign = |(partition_index, broker_ids): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *partition_index,
        broker_ids: broker_ids.to_vec(),
    };
    let assignments = assignments.iter().map(assign).collect();
    CreatableTopic { assignments, ..counted(-1, -1) }
}

#[tokio::test(start_paused = true)]
async fn counts_and_assignments_are_refused_in_kafkas_words() {
    let (partitions, factor, assignment) = (
        ErrorCode::INVALID_PARTITIONS,
        ErrorCode::INVALID_REPLICATION_FACTOR,
        ErrorCode::INVALID_REPLICA_ASSIGNMENT,
    );
    check_refusals(vec![
        (counted(0, 1), partitions, "invalid non-positive value"),
        (counted(i32::MAX, 1), ErrorCode::POLICY_VIOLATION, "Excessively large"),
        (counted(1, 3), factor, "factor of 3 cannot be reached because only 1 broker(s)"),
        (counted(1, 0), factor, "must be larger than 0"),
        (assigned(&[(0, &[2])]), assignment, "no such broker is registered"),
        (assigned(&[(1, &[1])]), assignment, "consecutive"),
        (assigned(&[(0, &[1]), (0, &[1])]), assignment, "multiple"),
        (
            CreatableTopic { num_partitions: 1, ..assigned(&[(0, &[1])]) },
            ErrorCode::INVALID_REQUEST,
            "numPartitions",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn any_replication_factor_is_taken_where_the_setting_says_so_and_1_is_reported() {
    for (settings, wanted, taken) in [
        (&[][..], 3, false),
        (&[("weir.replication.factor.any", "true")], 3, true),
        (&[("weir.replication.factor.any", "true")], 0, false),
        (&[("default.replication.factor", "3")], -1, false),
        (&[("default.replication.factor", "3"), ("weir.replication.factor.any", "true")], -1, true),
    ] {
        let server = Server::with(in_memory::options_with(settings)).await;
        let mut client = server.client();
        let result = create(&mut client, vec![counted(1, wanted)]).await.remove(0);
        let refused = ErrorCode::INVALID_REPLICATION_FACTOR;
        let code = if taken { ErrorCode::NONE } else { refused };
        assert_eq!(ErrorCode(result.error_code), code, "{settings:?} {wanted}");
        assert_eq!(result.replication_factor, if taken { 1 } else { -1 });
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_starts_with_the_defaults_that_the_broker_was_given() {
    let settings = [("log.retention.hours", "1"), ("message.max.bytes", "1000")];
    let server = Server::with(in_memory::options_with(&settings)).await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[("max.message.bytes", "2000")]).await;
    let config = server.broker.stream("orders").expect("made").config();
    assert_eq!((config.retention_ms, config.message_bytes_max), (Some(3_600_000), 2_000));
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_manual_assignment_to_this_broker_counts_its_partitions() {
    let server = Server::start().await;
    let mut client = server.client();
    let result = create(&mut client, vec![assigned(&[(1, &[1]), (0, &[1])])]).await.remove(0);
    assert_eq!((result.error_code, result.num_partitions), (0, 2));
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn good_and_bad_topics_of_one_request_do_not_touch_each_other() {
    let server = Server::start().await;
    let mut client = server.client();
    let topics = vec![topic("twice"), topic("good"), topic("twice"), topic("b/d"), topic("fine")];
    let results = create(&mut client, topics).await;
    let mut codes: Vec<_> =
        results.iter().map(|result| (result.name.as_str(), ErrorCode(result.error_code))).collect();
    codes.sort();
    let expected = [
        ("b/d", ErrorCode::INVALID_TOPIC_EXCEPTION),
        ("fine", ErrorCode::NONE),
        ("good", ErrorCode::NONE),
        ("twice", ErrorCode::INVALID_REQUEST),
    ];
    assert_eq!(codes, expected);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_too_large_makes_none_of_its_topics() {
    let server = Server::start().await;
    let mut client = server.client();
    let of = |name: &str, num_partitions| CreatableTopic { num_partitions, ..topic(name) };
    let refused = create(&mut client, vec![of("a", 5_000), of("b", 4_999)]).await;
    for result in refused {
        assert_eq!(ErrorCode(result.error_code), ErrorCode::POLICY_VIOLATION, "{}", result.name);
    }
    assert!(server.broker.streams().is_empty());
    let made = create(&mut client, vec![of("a", 4_999), of("b", 4_999)]).await;
    assert!(made.iter().all(|result| result.error_code == 0));
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn validating_makes_nothing() {
    let server = Server::start().await;
    let mut client = server.client();
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic { num_partitions: -1, ..topic("orders") }],
        validate_only: true,
        ..Default::default()
    };
    let result = client.call(7, &request).await.topics.remove(0);
    assert_eq!((result.error_code, result.num_partitions, result.topic_id), (0, 1, Uuid::ZERO));
    assert!(server.broker.stream("orders").is_none());
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_named_twice_is_not_deleted() {
    let server = Server::start().await;
    let mut client = server.client();
    let topic_id = client.create_topic("orders", 1, &[]).await;
    let by_name = || DeleteTopicState { name: Some("orders".to_owned()), ..Default::default() };
    let by_id = || DeleteTopicState { name: None, topic_id };
    for (topics, message) in [
        (vec![by_name(), by_name()], "Duplicate topic name."),
        (vec![by_id(), by_id(), by_id()], "Duplicate topic id."),
        (
            vec![by_id(), by_name()],
            "The provided topic name maps to an ID that was already supplied.",
        ),
    ] {
        let request = DeleteTopicsRequest { topics, ..Default::default() };
        let responses = client.call(6, &request).await.responses;
        let [result] = responses.as_slice() else { panic!("{message}: {responses:?}") };
        assert_eq!(ErrorCode(result.error_code), ErrorCode::INVALID_REQUEST, "{message}");
        assert_eq!(result.error_message.as_deref(), Some(message));
    }
    assert!(server.broker.stream("orders").is_some());
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_deleted_by_its_id_and_only_by_one_of_both() {
    let server = Server::start().await;
    let mut client = server.client();
    let topic_id = client.create_topic("orders", 1, &[]).await;
    for (name, id, code) in [
        (Some("orders"), topic_id, ErrorCode::INVALID_REQUEST),
        (None, Uuid::ZERO, ErrorCode::INVALID_REQUEST),
        (None, Uuid([9; 16]), ErrorCode::UNKNOWN_TOPIC_ID),
        (None, topic_id, ErrorCode::NONE),
        (None, topic_id, ErrorCode::UNKNOWN_TOPIC_ID),
    ] {
        let state = DeleteTopicState { name: name.map(str::to_owned), topic_id: id };
        let request = DeleteTopicsRequest { topics: vec![state], ..Default::default() };
        let result = client.call(6, &request).await.responses.remove(0);
        assert_eq!(ErrorCode(result.error_code), code, "{name:?} {id}");
    }
    client.close().await;
}
