//! Streams whose shards were split or merged, as Kafka's clients see them: all partitions are
//! listed and read to their ends, and only the open ones take records.

use std::sync::Arc;

use weir_core::routing::reshard::Reshard;
use weir_core::stream::config::Overrides;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use weir_kafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use weir_kafka_protocol::messages::produce::ProduceRequest;
use weir_model::batch::ProducerStamp;
use weir_model::batch_builder::BatchOptions;
use weir_model::hash_key::HashKey;
use weir_model::ids::{PartitionIndex, ProducerId, StreamName};

use crate::client::{Client, Server, batch, batch_of, only_partition, produce_request};
use crate::fetch::fetch_all;

/// A stream of one shard that holds `before`, and was then split in two.
async fn split_stream(server: &Server, client: &mut Client) -> Arc<Stream> {
    let shards = NewStream {
        name: StreamName::new("clicks").unwrap(),
        routing: Routing::ByHash,
        partitions: 1,
        overrides: Overrides::new(),
        attributes: Default::default(),
        intent: Intent::Make,
    };
    let stream = server.broker.create_streams(vec![shards]).await.remove(0).expect("made");
    assert_eq!(client.produce("clicks", &numbered("before", 0)).await.error_code, 0);
    let at = HashKey(1 << 127);
    let split = Reshard::Split { partition: PartitionIndex::ZERO, at };
    server.broker.reshard(&stream, split).await.expect("split");
    stream
}

/// A batch of an idempotent producer.
fn numbered(value: &str, base_sequence: i32) -> bytes::Bytes {
    let id = ProducerId::new(7).unwrap();
    let producer = Some(ProducerStamp { id, epoch: 0, base_sequence });
    batch_of(&[value], BatchOptions { producer, ..Default::default() }).bytes().clone()
}

fn into_partition(index: i32, acks: i16, value: &str) -> ProduceRequest {
    let mut request = produce_request("clicks", acks, &batch(&[value]));
    request.topic_data[0].partition_data[0].index = index;
    request
}

#[tokio::test(start_paused = true)]
async fn closed_partitions_are_listed_and_read_to_their_ends() {
    let server = Server::start().await;
    let mut client = server.client();
    split_stream(&server, &mut client).await;
    let topic = MetadataRequestTopic { name: Some("clicks".to_owned()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let topic = client.call(12, &request).await.topics.remove(0);
    let listed: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| (partition.partition_index, partition.leader_id, partition.error_code))
        .collect();
    assert_eq!(listed, [(0, 1, 0), (1, 1, 0), (2, 1, 0)], "consumers read all of them");

    assert!(!fetch_all(&mut client, "clicks", 0).await.is_empty());
    assert!(fetch_all(&mut client, "clicks", 1).await.is_empty(), "its end, and no error");
    for (timestamp, offset) in [(-2, 0), (-1, 1)] {
        let partitions = vec![ListOffsetsPartition { timestamp, ..Default::default() }];
        let topics = vec![ListOffsetsTopic { name: "clicks".to_owned(), partitions }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let found = client.call(7, &request).await.topics.remove(0).partitions.remove(0);
        assert_eq!((found.error_code, found.offset), (0, offset), "{timestamp}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_to_a_closed_partition_is_told_which_are_open() {
    let server = Server::start().await;
    let mut client = server.client();
    let stream = split_stream(&server, &mut client).await;
    for acks in [1, -1] {
        let refused = only_partition(client.call(9, &into_partition(0, acks, "late")).await);
        assert_eq!(ErrorCode(refused.error_code), ErrorCode::INVALID_RECORD);
        let said = "partition is closed by a reshard, partitions 1, 2 are open";
        assert_eq!(refused.error_message.as_deref(), Some(said));
        assert_eq!(refused.base_offset, -1);
    }
    for index in [1, 2] {
        let placed = only_partition(client.call(9, &into_partition(index, -1, "after")).await);
        assert_eq!((placed.error_code, placed.base_offset), (0, 0));
    }
    let closed = &stream.partitions()[0];
    assert_eq!(closed.watermarks().log_end.number(), 1, "nothing lies behind its end");

    // Without an answer, the connection's end tells the client to look again.
    client.send(9, &into_partition(0, 0, "late")).await;
    client.expect_close().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_batch_that_the_closed_partition_took_is_answered_with_its_place() {
    let server = Server::start().await;
    let mut client = server.client();
    split_stream(&server, &mut client).await;
    let retried = client.produce("clicks", &numbered("before", 0)).await;
    assert_eq!((retried.error_code, retried.base_offset), (0, 0), "or it would be sent elsewhere");
    let next = client.produce("clicks", &numbered("next", 1)).await;
    assert_eq!(ErrorCode(next.error_code), ErrorCode::INVALID_RECORD);
    client.close().await;
}
