//! Fetch sessions: who remembers what, and what becomes of it. The answers were compared with those
//! of a Kafka broker to the same requests.

use std::time::Duration;

use weir_kafka_protocol::messages::delete_topics::DeleteTopicsRequest;
use weir_kafka_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic,
};
use weir_kafka_protocol::{ErrorCode, Uuid};

use crate::client::{Client, Server, batch};
use crate::fetch::bytes_of;

/// First version that names topics by id.
const BY_ID: i16 = 13;
const BY_NAME: i16 = 12;

/// A topic to fetch: by name or by id, as the version wants it, with partitions and offsets.
fn topic(name: &str, id: Uuid, partitions: &[(i32, i64)]) -> FetchTopic {
    let wanted = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchTopic {
        topic: name.to_owned(),
        topic_id: id,
        partitions: partitions.iter().map(wanted).collect(),
    }
}

fn named(name: &str, partitions: &[(i32, i64)]) -> FetchTopic {
    topic(name, Uuid::ZERO, partitions)
}

fn request((session_id, session_epoch): (i32, i32), topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest { min_bytes: 1, session_id, session_epoch, topics, ..Default::default() }
}

/// Topic, partition, code and whether there are records, of each partition of an answer.
fn told(response: &FetchResponse) -> Vec<(&str, i32, ErrorCode, bool)> {
    assert_eq!(response.error_code, 0);
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|data| (topic.topic.as_str(), data)));
    let shown = partitions.map(|(topic, data)| {
        let code = ErrorCode(data.error_code);
        (topic, data.partition_index, code, !bytes_of(data).is_empty())
    });
    shown.collect()
}

async fn begin(client: &mut Client, version: i16, topics: Vec<FetchTopic>) -> i32 {
    let response = client.call(version, &request((0, 0), topics)).await;
    assert_eq!(response.error_code, 0);
    assert_ne!(response.session_id, 0, "a session was asked for");
    response.session_id
}

#[tokio::test(start_paused = true)]
async fn every_version_with_sessions_tells_only_the_news() {
    const NONE: ErrorCode = ErrorCode::NONE;
    let server = Server::start().await;
    let mut client = server.client();
    for version in 7..=18 {
        let name = format!("orders-{version}");
        let id = client.create_topic(&name, 2, &[]).await;
        let (shown, id) = match version {
            BY_ID.. => ("", id),
            _ => (name.as_str(), Uuid::ZERO),
        };
        let both = topic(shown, id, &[(0, 0), (1, 0)]);
        let session = begin(&mut client, version, vec![both]).await;
        let idle = client.call(version, &request((session, 1), vec![])).await;
        assert_eq!((told(&idle), idle.session_id), (vec![], session), "{version}");
        client.produce(&name, &batch(&["a"])).await;
        let news = client.call(version, &request((session, 2), vec![])).await;
        assert_eq!(told(&news), [(shown, 0, NONE, true)], "{version}");
        let moved = topic(shown, id, &[(0, 1)]);
        let moved = client.call(version, &request((session, 3), vec![moved])).await;
        assert_eq!(told(&moved), [], "{version}: the watermark was told with the records");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_any_of_its_partitions() {
    let server = Server::start().await;
    let (mut reader, mut writer) = (server.client(), server.client());
    reader.create_topic("orders", 3, &[]).await;
    let session = begin(&mut reader, BY_NAME, vec![named("orders", &[(2, 0), (0, 0)])]).await;
    let waiting = FetchRequest { max_wait_ms: 60_000, ..request((session, 1), vec![]) };
    reader.send(BY_NAME, &waiting).await;
    let nothing_yet = tokio::time::timeout(Duration::from_secs(30), reader.receive_raw()).await;
    assert!(nothing_yet.is_err(), "the poll is held");
    writer.produce("orders", &batch(&["a"])).await;
    let response: FetchResponse = reader.receive(BY_NAME).await;
    assert_eq!(told(&response), [("orders", 0, ErrorCode::NONE, true)]);
    reader.close().await;
    writer.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_is_used_from_any_connection_and_by_one_request_at_a_time() {
    let server = Server::start().await;
    let (mut first, mut second) = (server.client(), server.client());
    first.create_topic("orders", 1, &[]).await;
    let session = begin(&mut first, BY_NAME, vec![named("orders", &[(0, 0)])]).await;
    let waiting = FetchRequest { max_wait_ms: 60_000, ..request((session, 1), vec![]) };
    first.send(BY_NAME, &waiting).await;
    // The first request has been taken up when the second connection is answered.
    let unknown = second.call(BY_NAME, &request((session ^ 1, 1), vec![])).await;
    assert_eq!(ErrorCode(unknown.error_code), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    let taken_over = second.call(BY_NAME, &request((session, 2), vec![])).await;
    assert_eq!((taken_over.error_code, taken_over.session_id), (0, session));
    let late: FetchResponse = first.receive(BY_NAME).await;
    assert_eq!(ErrorCode(late.error_code), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    assert_eq!((late.session_id, late.responses.len()), (session, 0));
    first.close().await;
    second.close().await;
}

#[tokio::test(start_paused = true)]
async fn partitions_are_added_and_forgotten_and_without_any_the_session_ends() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 2, &[]).await;
    client.create_topic("bills", 1, &[]).await;
    client.produce("bills", &batch(&["a"])).await;
    let session = begin(&mut client, BY_NAME, vec![named("orders", &[(0, 0), (1, 0)])]).await;
    let more = request((session, 1), vec![named("bills", &[(0, 0)])]);
    let more = client.call(BY_NAME, &more).await;
    assert_eq!(told(&more), [("bills", 0, ErrorCode::NONE, true)]);
    let forget = |topic: &str, partitions: &[i32]| ForgottenTopic {
        topic: topic.to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    for (epoch, forgotten, session_after) in [
        (2, forget("bills", &[0]), session),
        (3, forget("orders", &[1]), session),
        (4, forget("orders", &[0]), 0),
    ] {
        let mut fewer = request((session, epoch), vec![]);
        fewer.forgotten_topics_data = vec![forgotten];
        let fewer = client.call(BY_NAME, &fewer).await;
        assert_eq!((told(&fewer), fewer.session_id), (vec![], session_after), "epoch {epoch}");
    }
    let ended = client.call(BY_NAME, &request((session, 5), vec![])).await;
    assert_eq!(ErrorCode(ended.error_code), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn partitions_take_turns_when_the_answer_holds_only_one() {
    let server = Server::start().await;
    let mut client = server.client();
    for name in ["a", "b", "c"] {
        client.create_topic(name, 1, &[]).await;
        client.produce(name, &batch(&[name])).await;
    }
    let all = ["a", "b", "c"].map(|name| named(name, &[(0, 0)]));
    let mut limited = request((0, 0), all.to_vec());
    limited.max_bytes = 1;
    let session = client.call(BY_NAME, &limited).await.session_id;
    for (epoch, served) in [(1, "a"), (2, "b"), (3, "c"), (4, "a")] {
        let mut limited = request((session, epoch), vec![]);
        limited.max_bytes = 1;
        let response = client.call(BY_NAME, &limited).await;
        assert_eq!(told(&response), [(served, 0, ErrorCode::NONE, true)], "epoch {epoch}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_meets_its_topics_deletion_and_return() {
    use ErrorCode as Code;
    let server = Server::start().await;
    let mut client = server.client();
    for (version, recreated) in [(BY_NAME, None), (BY_ID, Some(Code::INCONSISTENT_TOPIC_ID))] {
        let id = client.create_topic("orders", 1, &[]).await;
        let (shown, id) = if version == BY_ID { ("", id) } else { ("orders", Uuid::ZERO) };
        let session = begin(&mut client, version, vec![topic(shown, id, &[(0, 0)])]).await;
        let deletion =
            DeleteTopicsRequest { topic_names: vec!["orders".to_owned()], ..Default::default() };
        assert_eq!(client.call(5, &deletion).await.responses[0].error_code, 0);
        for epoch in 1..=2 {
            let gone = client.call(version, &request((session, epoch), vec![])).await;
            let expected = [(shown, 0, Code::UNKNOWN_TOPIC_OR_PARTITION, false)];
            assert_eq!(told(&gone), expected, "{version}");
        }
        client.create_topic("orders", 1, &[]).await;
        let back = client.call(version, &request((session, 3), vec![])).await;
        let code = recreated.unwrap_or(Code::NONE);
        assert_eq!(told(&back), [(shown, 0, code, false)], "{version}");
        assert_eq!(client.call(5, &deletion).await.responses[0].error_code, 0);
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_finds_a_topic_that_appears_after_it_began() {
    let server = Server::start().await;
    let mut client = server.client();
    let session = begin(&mut client, BY_NAME, vec![named("orders", &[(0, 0)])]).await;
    client.create_topic("orders", 1, &[]).await;
    client.produce("orders", &batch(&["a"])).await;
    let found = client.call(BY_NAME, &request((session, 1), vec![])).await;
    assert_eq!(told(&found), [("orders", 0, ErrorCode::NONE, true)]);
    client.close().await;
}
