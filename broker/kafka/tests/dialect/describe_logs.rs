//! What tools are shown of the logs: their sizes and their producers. The answers were compared
//! with those of a Kafka broker to the same requests.

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsRequest,
};
use weir_kafka_protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use weir_model::batch::ProducerStamp;
use weir_model::batch_builder::BatchOptions;
use weir_model::ids::ProducerId;

use crate::client::{Client, NOW, Server, batch, batch_of, versions_of};

/// Topic, partition and bytes of each partition that is shown.
async fn sizes(
    client: &mut Client,
    version: i16,
    topics: Option<Vec<DescribableLogDirTopic>>,
) -> Vec<(String, i32, i64)> {
    let response = client.call(version, &DescribeLogDirsRequest { topics }).await;
    let [directory] = &response.results[..] else { panic!("one directory") };
    assert_eq!((directory.error_code, directory.log_dir.as_str()), (0, "in-memory"));
    assert_eq!((directory.total_bytes, directory.usable_bytes), (-1, -1), "there is no disk");
    let partitions = directory.topics.iter().flat_map(|topic| {
        let of_topic = |p| (topic.name.clone(), p);
        topic.partitions.iter().map(of_topic)
    });
    let shown = partitions.map(|(name, partition)| {
        assert_eq!((partition.offset_lag, partition.is_future_key), (0, false));
        (name, partition.partition_index, partition.partition_size)
    });
    shown.collect()
}

#[tokio::test(start_paused = true)]
async fn log_sizes_are_shown_of_all_topics_or_of_those_asked_for() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 2, &[]).await;
    client.create_topic("bills", 1, &[]).await;
    let records = batch(&["a"]);
    client.produce("orders", &records).await;
    let bytes = i64::try_from(records.len()).unwrap();
    let asked = |topic: &str, partitions: &[i32]| DescribableLogDirTopic {
        topic: topic.to_owned(),
        partitions: partitions.to_vec(),
    };
    let shown = |name: &str, partition, bytes| (name.to_owned(), partition, bytes);
    for version in versions_of::<DescribeLogDirsRequest>() {
        let every = [shown("bills", 0, 0), shown("orders", 0, bytes), shown("orders", 1, 0)];
        assert_eq!(sizes(&mut client, version, None).await, every, "{version}");
        let some = vec![
            asked("orders", &[0, 7, -1]),
            asked("nothing", &[0]),
            asked("bills", &[]),
            asked("orders", &[0]),
        ];
        let found = sizes(&mut client, version, Some(some)).await;
        assert_eq!(found, [shown("orders", 0, bytes)], "{version}");
        assert_eq!(sizes(&mut client, version, Some(vec![])).await, [], "{version}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn each_partition_shows_its_producers_or_why_not() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 2, &[]).await;
    for (id, base_sequence, values) in [(9, 0, &["a", "b"][..]), (9, 2, &["c"]), (4, 5, &["d"])] {
        let id = ProducerId::new(id).unwrap();
        let producer = Some(ProducerStamp { id, epoch: 3, base_sequence });
        let records = batch_of(values, BatchOptions { producer, ..BatchOptions::default() });
        assert_eq!(client.produce("orders", records.bytes()).await.error_code, 0);
    }
    let topic = |name: &str, indexes: &[i32]| TopicRequest {
        name: name.to_owned(),
        partition_indexes: indexes.to_vec(),
    };
    let topics = vec![topic("orders", &[0, 1, 2]), topic("nothing", &[0]), topic("no name!", &[0])];
    let response = client.call(0, &DescribeProducersRequest { topics }).await;
    let partitions: Vec<_> = response.topics.iter().flat_map(|topic| &topic.partitions).collect();
    let states: Vec<_> = partitions[0]
        .active_producers
        .iter()
        .map(|p| (p.producer_id, p.producer_epoch, p.last_sequence, p.last_timestamp))
        .collect();
    let now = NOW.as_millis();
    assert_eq!(states, [(4, 3, 5, now), (9, 3, 2, now)]);
    let none = &partitions[0].active_producers[0];
    assert_eq!((none.coordinator_epoch, none.current_txn_start_offset), (-1, -1));
    assert!(partitions[1].active_producers.is_empty());
    let codes: Vec<_> = partitions.iter().map(|p| ErrorCode(p.error_code)).collect();
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let invalid = ErrorCode::INVALID_TOPIC_EXCEPTION;
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::NONE, unknown, unknown, invalid]);
    client.close().await;
}
