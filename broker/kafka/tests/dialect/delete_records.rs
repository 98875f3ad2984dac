//! DeleteRecords: the log start on request. The answers were compared with those of a Kafka broker
//! to the same requests.

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};

use crate::client::{Client, Server, batch, versions_of};
use crate::fetch::fetch_all;

/// The low watermark and the code of each partition.
async fn delete(
    client: &mut Client,
    version: i16,
    topic: &str,
    wanted: &[(i32, i64)],
) -> Vec<(i64, ErrorCode)> {
    let partition = |(partition_index, offset): &(i32, i64)| DeleteRecordsPartition {
        partition_index: *partition_index,
        offset: *offset,
    };
    let partitions = wanted.iter().map(partition).collect();
    let topics = vec![DeleteRecordsTopic { name: topic.to_owned(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 1_000 };
    let response = client.call(version, &request).await;
    let results = response.topics.iter().flat_map(|topic| &topic.partitions);
    results.map(|result| (result.low_watermark, ErrorCode(result.error_code))).collect()
}

#[tokio::test(start_paused = true)]
async fn the_log_start_moves_to_the_offset_and_never_back() {
    use ErrorCode as Code;
    let server = Server::start().await;
    let mut client = server.client();
    for version in versions_of::<DeleteRecordsRequest>() {
        let name = format!("orders-{version}");
        client.create_topic(&name, 2, &[]).await;
        for value in ["a", "b", "c", "d"] {
            client.produce(&name, &batch(&[value])).await;
        }
        for (wanted, expected) in [
            (vec![(0, 2)], vec![(2, Code::NONE)]),
            (vec![(0, 1)], vec![(2, Code::NONE)]),
            (vec![(0, 5)], vec![(-1, Code::OFFSET_OUT_OF_RANGE)]),
            (vec![(0, -2)], vec![(-1, Code::OFFSET_OUT_OF_RANGE)]),
            (
                vec![(1, -1), (2, 0), (-1, 0), (0, 9), (0, 3)],
                vec![
                    (-1, Code::UNKNOWN_TOPIC_OR_PARTITION),
                    (3, Code::NONE),
                    (0, Code::NONE),
                    (-1, Code::UNKNOWN_TOPIC_OR_PARTITION),
                ],
            ),
        ] {
            let results = delete(&mut client, version, &name, &wanted).await;
            assert_eq!(results, expected, "{wanted:?} in version {version}");
        }
        assert!(!fetch_all(&mut client, &name, 3).await.is_empty(), "the rest is there");
        let all = delete(&mut client, version, &name, &[(0, -1)]).await;
        assert_eq!(all, [(4, Code::NONE)]);
        assert!(fetch_all(&mut client, &name, 4).await.is_empty());
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_only_where_the_topic_allows_it() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("kept", 1, &[("cleanup.policy", "compact")]).await;
    client.create_topic("both", 1, &[("cleanup.policy", "compact,delete")]).await;
    for (topic, expected) in [
        ("kept", (-1, ErrorCode::POLICY_VIOLATION)),
        ("both", (0, ErrorCode::NONE)),
        ("nothing", (-1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
        ("no name!", (-1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
    ] {
        assert_eq!(delete(&mut client, 2, topic, &[(0, -1)]).await, [expected], "{topic}");
    }
    client.close().await;
}
