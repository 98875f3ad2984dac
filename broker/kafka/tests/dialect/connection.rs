//! Frames, limits, order, and how connections end.

use std::time::Duration;

use weir_kafka_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use weir_kafka_protocol::messages::delete_topics::DeleteTopicsRequest;
use weir_kafka_protocol::messages::fetch::FetchResponse;
use weir_kafka_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use weir_kafka_protocol::messages::produce::ProduceResponse;
use weir_kafka_protocol::{ApiKey, ErrorCode, Message, Reader};

use crate::client::{Server, batch, only_partition, produce_request};
use crate::fetch::fetch_request;

fn api_versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "weir-test".to_owned(),
        client_software_version: "1.0".to_owned(),
    }
}

/// A header of version 1 with this key, version and client id "t", and no body.
fn header(api_key: i16, version: i16) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(&api_key.to_be_bytes());
    header.extend_from_slice(&version.to_be_bytes());
    header.extend_from_slice(&1i32.to_be_bytes());
    header.extend_from_slice(&[0, 1, b't']);
    header
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&i32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

#[tokio::test(start_paused = true)]
async fn every_version_of_api_versions_lists_what_is_served() {
    let server = Server::start().await;
    let mut client = server.client();
    for version in 0..=4 {
        let response = client.call(version, &ApiVersionsRequest { ..api_versions_request() }).await;
        assert_eq!(response.error_code, 0);
        let listed = |key: ApiKey| {
            let found = response.api_keys.iter().find(|api| api.api_key == key.as_i16());
            found.map(|api| (api.min_version, api.max_version))
        };
        assert_eq!(listed(ApiKey::Produce), Some((0, 13)), "librdkafka must see Produce 0");
        assert_eq!(listed(ApiKey::Fetch), Some((4, 18)));
        assert_eq!(listed(ApiKey::AddPartitionsToTxn), None);
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_of_api_versions_from_the_future_is_answered_in_version_0() {
    let server = Server::start().await;
    let mut client = server.client();
    for version in [5, 100, i16::MAX] {
        // The body is one that nobody can know.
        let request = [header(18, version), vec![0, 0xde, 0xad]].concat();
        client.send_raw(&framed(&request)).await;
        let mut answer = Reader::new(client.receive_raw().await.expect("an answer"));
        assert_eq!(answer.i32(), Ok(1), "correlation id, in a header without tags");
        let response = ApiVersionsResponse::decode(&mut answer, 0).expect("a body of version 0");
        assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
        let listed: Vec<_> = response.api_keys.iter().map(|api| api.api_key).collect();
        assert_eq!(listed, [ApiKey::ApiVersions.as_i16()]);
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn client_software_is_named_by_kafkas_pattern() {
    let server = Server::start().await;
    let mut client = server.client();
    let request =
        ApiVersionsRequest { client_software_name: "a b".to_owned(), ..api_versions_request() };
    let response = client.call(3, &request).await;
    assert_eq!(response.error_code, ErrorCode::INVALID_REQUEST.0);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_kafka_cannot_answer_closes_the_connection() {
    let server = Server::start().await;
    for (what, sent) in [
        ("2 GB frame", i32::MAX.to_be_bytes().to_vec()),
        ("negative length", (-1i32).to_be_bytes().to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
        ("empty frame", framed(&[])),
        ("half a header", framed(&header(3, 9)[..7])),
        ("unknown key", framed(&header(999, 0))),
        ("negative key", framed(&header(-1, 0))),
        ("key that a broker has but weir does not", framed(&header(24, 0))),
        ("version too new", framed(&header(3, 14))),
        ("negative version", framed(&header(3, -1))),
        ("Produce 2, though listed", framed(&header(0, 2))),
        ("no body", framed(&header(1, 4))),
        ("client id longer than the frame", framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff])),
    ] {
        let mut client = server.client();
        client.send_raw(&sent).await;
        println!("{what}");
        client.expect_close().await;
    }
    let mut healthy = server.client();
    assert_eq!(healthy.call(0, &api_versions_request()).await.error_code, 0);
    healthy.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_frame_ends_with_its_client() {
    let server = Server::start().await;
    let mut client = server.client();
    client.send_raw(&framed(&header(18, 0))[..9]).await;
    client.finish_sending().await;
    client.expect_close().await;
}

#[tokio::test(start_paused = true)]
async fn requests_before_a_bad_one_are_answered_before_the_close() {
    let server = Server::start().await;
    let mut client = server.client();
    client.send(12, &MetadataRequest::default()).await;
    client.send_raw(&framed(&header(999, 0))).await;
    let _: MetadataResponse = client.receive(12).await;
    client.expect_close().await;
}

#[tokio::test(start_paused = true)]
async fn answers_keep_the_order_of_the_requests_behind_a_long_poll() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let long_poll = fetch_request("orders", 0, 5_000);
    client.send(11, &long_poll).await;
    client.send(12, &MetadataRequest::default()).await;
    client.send(9, &produce_request("orders", -1, &batch(&["a"]))).await;
    client.send(9, &produce_request("orders", 1, &batch(&["b"]))).await;
    // The produce behind the poll is what ends it: it is begun when read, not when answered.
    let fetched: FetchResponse = client.receive(11).await;
    assert!(!fetched.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    let _: MetadataResponse = client.receive(12).await;
    let first: ProduceResponse = client.receive(9).await;
    let second: ProduceResponse = client.receive(9).await;
    assert_eq!(only_partition(first).base_offset, 0);
    assert_eq!(only_partition(second).base_offset, 1);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn reading_stops_while_sixteen_requests_wait() {
    let server = Server::start().await;
    let mut client = server.client_over(64);
    client.create_topic("orders", 1, &[]).await;
    client.send(11, &fetch_request("orders", 0, 60_000)).await;
    let metadata = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    let mut sent = 1;
    // A frame is 20 bytes: 64 on the wire and 8 KiB read ahead bound how many fit unread.
    while tokio::time::timeout(Duration::from_secs(1), client.send(9, &metadata)).await.is_ok() {
        sent += 1;
        assert!(sent < 2_000, "the broker reads on though nothing is answered");
    }
    assert!(sent > 16, "sixteen requests were not even taken");
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_client_that_left_are_still_carried_out() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let delete =
        DeleteTopicsRequest { topic_names: vec!["orders".to_owned()], ..Default::default() };
    client.send(4, &delete).await;
    client.close().await;
    assert!(server.broker.stream("orders").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_waits_and_closes() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    client.send(11, &fetch_request("orders", 0, 600_000)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = tokio_now();
    server.stop();
    let fetched: FetchResponse = client.receive(11).await;
    assert_eq!(fetched.responses[0].partitions[0].error_code, 0);
    assert!(tokio_now() - before < Duration::from_secs(1), "a long poll is cut short");
    client.expect_close().await;
}

#[expect(clippy::disallowed_methods, reason = "tokio's paused clock is the one under test")]
pub(crate) fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
