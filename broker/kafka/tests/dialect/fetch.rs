//! Fetch and ListOffsets: the way out of the log.

use std::time::Duration;

use bytes::Bytes;
use weir_core::metrics::Dialect;
use weir_kafka_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use weir_kafka_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use weir_kafka_protocol::{ErrorCode, RecordSet};

use crate::client::{Client, NOW, Server, batch, produce_request, versions_of};

pub(crate) fn fetch_request(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn only(mut response: FetchResponse) -> PartitionData {
    assert_eq!((response.error_code, response.session_id), (0, 0), "no session was asked for");
    response.responses.remove(0).partitions.remove(0)
}

pub(crate) fn bytes_of(data: &PartitionData) -> Bytes {
    let records = data.records.as_ref().and_then(RecordSet::as_bytes);
    records.expect("record sets are never null, some clients fail on that").clone()
}

/// What one partition holds from an offset on.
pub(crate) async fn fetch_all(client: &mut Client, topic: &str, offset: i64) -> Bytes {
    let data = only(client.call(11, &fetch_request(topic, offset, 0)).await);
    assert_eq!(data.error_code, 0);
    bytes_of(&data)
}

#[tokio::test(start_paused = true)]
async fn every_version_returns_whole_batches_and_the_watermarks() {
    let server = Server::start().await;
    let mut client = server.client();
    let topic_id = client.create_topic("orders", 1, &[]).await;
    let large = "x".repeat(2_000);
    client.produce("orders", &batch(&["a"])).await;
    client.produce("orders", &batch(&[&large, "b"])).await;
    for version in versions_of::<FetchRequest>() {
        for isolation_level in [0, 1] {
            let mut request = fetch_request("orders", 2, 0);
            request.isolation_level = isolation_level;
            if version >= 13 {
                request.topics[0].topic = String::new();
                request.topics[0].topic_id = topic_id;
            }
            let data = only(client.call(version, &request).await);
            assert_eq!(data.error_code, 0, "{version}");
            assert_eq!((data.high_watermark, data.last_stable_offset), (3, 3), "{version}");
            let bytes = bytes_of(&data);
            assert_eq!(bytes[..8], 1i64.to_be_bytes(), "the batch that holds offset 2");
            assert!(bytes.len() > 2_000, "whole, though it begins before the offset");
        }
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_set_of_many_batches_comes_out_in_one_piece() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let mut lengths = Vec::new();
    for count in 1..=20 {
        let records = batch(&vec!["some value"; count]);
        lengths.push(records.len());
        client.produce("orders", &records).await;
    }
    let fetched = fetch_all(&mut client, "orders", 0).await;
    assert_eq!(fetched.len(), lengths.iter().sum::<usize>());
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn limits_are_soft_for_the_first_batch_only() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let records = batch(&[&"x".repeat(500)]);
    for _ in 0..3 {
        client.produce("orders", &records).await;
    }
    for (max_bytes, partition_max_bytes, batches) in [
        (i32::MAX, i32::MAX, 3),
        (i32::MAX, 1, 1),
        (1, i32::MAX, 1),
        (0, 0, 1),
        (-1, -1, 1),
        (i32::MAX, i32::try_from(records.len() * 2).unwrap(), 2),
    ] {
        let mut request = fetch_request("orders", 0, 0);
        request.max_bytes = max_bytes;
        request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
        let data = only(client.call(11, &request).await);
        let case = format!("{max_bytes} and {partition_max_bytes}");
        assert_eq!(bytes_of(&data).len(), batches * records.len(), "{case}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_fetch_gives_out_is_counted() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    client.produce("orders", &batch(&["a", "b", "c"])).await;
    for offset in [0, 2, 3] {
        fetch_all(&mut client, "orders", offset).await;
    }
    let metrics = server.broker.metrics().request(Dialect::Kafka, "Fetch");
    assert_eq!(metrics.records_out.get(), 3 + 1);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_fetch_at_the_end_waits_for_a_record() {
    let server = Server::start().await;
    let (mut reader, mut writer) = (server.client(), server.client());
    reader.create_topic("orders", 1, &[]).await;
    reader.send(11, &fetch_request("orders", 0, 60_000)).await;
    let nothing_yet = tokio::time::timeout(Duration::from_secs(30), reader.receive_raw()).await;
    assert!(nothing_yet.is_err(), "the poll is held");
    writer.send(9, &produce_request("orders", 1, &batch(&["a"]))).await;
    let data = only(reader.receive(11).await);
    assert!(!bytes_of(&data).is_empty());
    reader.send(11, &fetch_request("orders", 1, 60_000)).await;
    let data = only(reader.receive(11).await);
    assert!(bytes_of(&data).is_empty(), "an empty answer when the time is over");
    reader.close().await;
    writer.close().await;
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_log_end_the_wait_and_do_not_hide_the_other_partitions() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 2, &[]).await;
    client.produce("orders", &batch(&["a"])).await;
    for (partition, offset, epochs, code, ends_the_wait) in [
        (0, -1, (-1, -1), ErrorCode::OFFSET_OUT_OF_RANGE, true),
        (0, 2, (-1, -1), ErrorCode::OFFSET_OUT_OF_RANGE, true),
        (0, 0, (1, -1), ErrorCode::UNKNOWN_LEADER_EPOCH, true),
        (0, 0, (-1, 1), ErrorCode::OFFSET_OUT_OF_RANGE, true),
        // As Kafka does, so that who asks for a deleted topic does not ask without a pause.
        (7, 0, (-1, -1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false),
        (-1, 0, (-1, -1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false),
    ] {
        let mut request = fetch_request("orders", 0, 60_000);
        request.min_bytes = 1_000_000;
        request.topics[0].partitions.push(FetchPartition {
            partition,
            fetch_offset: offset,
            current_leader_epoch: epochs.0,
            last_fetched_epoch: epochs.1,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        });
        let case = format!("{partition} {offset} {epochs:?}");
        client.send(12, &request).await;
        let mut response: Option<FetchResponse> = None;
        let wait = async { response = Some(client.receive(12).await) };
        let is_prompt = tokio::time::timeout(Duration::from_secs(59), wait).await.is_ok();
        assert_eq!(is_prompt, ends_the_wait, "{case}");
        let response = match response {
            Some(response) => response,
            None => client.receive(12).await,
        };
        let [first, second] = &response.responses[0].partitions[..] else { panic!("{case}") };
        assert_eq!(ErrorCode(second.error_code), code, "{case}");
        assert_eq!((second.high_watermark, bytes_of(second).len()), (-1, 0));
        assert_eq!(first.error_code, 0);
        assert!(!bytes_of(first).is_empty());
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn unknown_topics_have_their_codes() {
    let server = Server::start().await;
    let mut client = server.client();
    let by_name = only(client.call(12, &fetch_request("nothing", 0, 0)).await);
    assert_eq!(ErrorCode(by_name.error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let mut request = fetch_request("", 0, 0);
    request.topics[0].topic_id.0[5] = 1;
    let by_id = only(client.call(13, &request).await);
    assert_eq!(ErrorCode(by_id.error_code), ErrorCode::UNKNOWN_TOPIC_ID);
    client.close().await;
}

async fn offset_at(
    client: &mut Client,
    version: i16,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition { timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: "orders".to_owned(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let mut response = client.call(version, &request).await;
    response.topics.remove(0).partitions.remove(0)
}

#[tokio::test(start_paused = true)]
async fn list_offsets_finds_both_ends_and_times_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    for version in versions_of::<ListOffsetsRequest>() {
        let latest = offset_at(&mut client, version, -1).await;
        let next = client.produce("orders", &batch(&["a", "b"])).await.base_offset;
        assert_eq!(latest.offset, next, "{version}");
        let now = NOW.as_millis();
        for (timestamp, from, offset, found_at) in [
            (-1, 1, next + 2, -1),
            (-2, 1, 0, -1),
            (0, 1, 0, now),
            (now, 1, 0, now),
            (now + 1, 1, -1, -1),
            (-3, 7, 0, now),
            (-4, 8, 0, -1),
            (-5, 9, -1, -1),
            (-6, 11, -1, -1),
        ] {
            let found = offset_at(&mut client, version, timestamp).await;
            let case = format!("{timestamp} in version {version}");
            if version < from {
                let code = ErrorCode(found.error_code);
                assert_eq!(code, ErrorCode::UNSUPPORTED_VERSION, "{case}");
                continue;
            }
            assert_eq!(found.error_code, 0, "{case}");
            assert_eq!((found.offset, found.timestamp), (offset, found_at), "{case}");
        }
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn list_offsets_refuses_what_it_cannot_find() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    client.create_topic("bills", 1, &[]).await;
    let ask = |partition_index, current_leader_epoch| ListOffsetsPartition {
        partition_index,
        current_leader_epoch,
        timestamp: -1,
    };
    let topic = ListOffsetsTopic {
        name: "orders".to_owned(),
        partitions: vec![ask(0, -1), ask(0, -1), ask(1, -1), ask(-1, -1)],
    };
    let epochs = ListOffsetsTopic { name: "bills".to_owned(), partitions: vec![ask(0, -2)] };
    let stale = ListOffsetsTopic { name: "nothing".to_owned(), partitions: vec![ask(0, -1)] };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic, epochs, stale],
        ..Default::default()
    };
    let response = client.call(4, &request).await;
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let codes: Vec<_> = partitions.map(|partition| ErrorCode(partition.error_code)).collect();
    let expected = [
        ErrorCode::INVALID_REQUEST,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ];
    assert_eq!(codes, expected);
    client.close().await;
}
