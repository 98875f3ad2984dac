//! Leader epochs: what a consumer is told that makes sure of its position after a new one.

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::client::{Client, Server, batch};

async fn end_of(
    client: &mut Client,
    version: i16,
    topic: &str,
    asked: OffsetForLeaderPartition,
) -> (i32, i64, ErrorCode) {
    let topic = OffsetForLeaderTopic { topic: topic.to_owned(), partitions: vec![asked] };
    // Version 2 has no replica id, for which -2 stands.
    let replica_id = if version >= 3 { -1 } else { -2 };
    let request = OffsetForLeaderEpochRequest { replica_id, topics: vec![topic] };
    let response = client.call(version, &request).await;
    let found = &response.topics[0].partitions[0];
    (found.leader_epoch, found.end_offset, ErrorCode(found.error_code))
}

#[tokio::test(start_paused = true)]
async fn an_epoch_ends_where_its_last_record_was_kept() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    client.produce("orders", &batch(&["a", "b"])).await;
    let asked = |partition, current_leader_epoch, leader_epoch| OffsetForLeaderPartition {
        partition,
        current_leader_epoch,
        leader_epoch,
    };
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    for version in 2..=4 {
        for (topic, asked, expected) in [
            ("orders", asked(0, -1, 0), (0, 2, ErrorCode::NONE)),
            ("orders", asked(0, 0, 0), (0, 2, ErrorCode::NONE)),
            ("orders", asked(0, -1, 1), (-1, -1, ErrorCode::NONE)),
            ("orders", asked(0, -1, -1), (-1, -1, ErrorCode::NONE)),
            ("orders", asked(0, -1, i32::MAX), (-1, -1, ErrorCode::NONE)),
            ("orders", asked(0, 1, 0), (-1, -1, ErrorCode::UNKNOWN_LEADER_EPOCH)),
            ("orders", asked(0, -2, 0), (-1, -1, ErrorCode::FENCED_LEADER_EPOCH)),
            ("orders", asked(1, -1, 0), (-1, -1, unknown)),
            ("orders", asked(-1, -1, 0), (-1, -1, unknown)),
            ("nothing", asked(0, -1, 0), (-1, -1, unknown)),
        ] {
            let case = format!("{topic} {asked:?} in version {version}");
            assert_eq!(end_of(&mut client, version, topic, asked).await, expected, "{case}");
        }
    }
    client.close().await;
}
