//! Produce, InitProducerId and the way into the log.

use bytes::Bytes;
use weir_core::in_memory;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::init_producer_id::InitProducerIdRequest;
use weir_kafka_protocol::messages::metadata::MetadataRequest;
use weir_kafka_protocol::messages::produce::ProduceRequest;
use weir_model::batch::{BatchKind, ProducerStamp, RecordBatch};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::compression::Codec;
use weir_model::ids::ProducerId;
use weir_model::limits::DecodeLimits;
use weir_model::record::RecordToWrite;
use weir_model::time::Timestamp;

use crate::client::{NOW, Server, batch, batch_of, only_partition, produce_request, versions_of};
use crate::fetch::fetch_all;

#[tokio::test(start_paused = true)]
async fn every_version_appends_and_answers_the_offset() {
    let server = Server::start().await;
    let mut client = server.client();
    let topic_id = client.create_topic("orders", 1, &[]).await;
    let mut expected = 0;
    for version in versions_of::<ProduceRequest>() {
        for acks in [1, -1] {
            let mut request = produce_request("orders", acks, &batch(&["a", "b"]));
            if version >= 13 {
                request.topic_data[0].name = String::new();
                request.topic_data[0].topic_id = topic_id;
            }
            let placed = only_partition(client.call(version, &request).await);
            assert_eq!((placed.error_code, placed.base_offset), (0, expected), "{version}");
            assert_eq!(placed.log_append_time_ms, -1, "create time");
            assert_eq!(placed.log_start_offset, if version >= 5 { 0 } else { -1 });
            expected += 2;
        }
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_come_back_as_they_went_in_whatever_the_codec() {
    let server = Server::start().await;
    let mut client = server.client();
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let topic = format!("{codec:?}");
        client.create_topic(&topic, 1, &[]).await;
        let sent = batch_of(&[&"a".repeat(500), "b"], BatchOptions { codec, ..Default::default() });
        assert_eq!(sent.codec(), codec);
        assert_eq!(client.produce(&topic, sent.bytes()).await.error_code, 0);
        let fetched = fetch_all(&mut client, &topic, 0).await;
        // Base offset and leader epoch are the broker's; the CRC covers all the rest.
        assert_eq!(fetched[17..], sent.bytes()[17..], "{codec:?}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn batches_that_may_not_be_appended_are_refused_one_by_one() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[("max.message.bytes", "200")]).await;
    let good = batch(&["a"]);
    let flipped = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let two = Bytes::from([good.as_ref(), good.as_ref()].concat());
    let large = batch(&[&"x".repeat(300)]);
    let transactional = {
        let producer = ProducerId::new(7).unwrap();
        let options = BatchOptions {
            producer: Some(ProducerStamp { id: producer, epoch: 0, base_sequence: 0 }),
            kind: BatchKind::Transactional,
            ..Default::default()
        };
        batch_of(&["a"], options).bytes().clone()
    };
    for (what, records, code) in [
        ("empty", Bytes::new(), ErrorCode::INVALID_RECORD),
        ("cut", good.slice(..good.len() - 1), ErrorCode::INVALID_RECORD),
        ("bad crc", flipped(good.len() - 1), ErrorCode::CORRUPT_MESSAGE),
        ("magic 3", flipped(16), ErrorCode::CORRUPT_MESSAGE),
        ("two batches", two, ErrorCode::INVALID_RECORD),
        ("too large", large, ErrorCode::MESSAGE_TOO_LARGE),
        ("transactional", transactional, ErrorCode::INVALID_TXN_STATE),
    ] {
        let refused = client.produce("orders", &records).await;
        assert_eq!(ErrorCode(refused.error_code), code, "{what}");
        assert_eq!(refused.base_offset, -1);
        assert!(refused.error_message.is_some(), "{what}");
    }
    assert_eq!(client.produce("orders", &good).await.base_offset, 0, "nothing else was appended");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn zstd_needs_the_version_whose_clients_can_read_it() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let options = BatchOptions { codec: Codec::Zstd, ..Default::default() };
    // Long enough that compressing it pays: the builder leaves others as they are.
    let records = batch_of(&[&"a".repeat(500)], options);
    let request = produce_request("orders", -1, records.bytes());
    let refused = only_partition(client.call(6, &request).await);
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(only_partition(client.call(7, &request).await).error_code, 0);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn targets_that_do_not_exist_are_named_by_their_codes() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let records = batch(&["a"]);
    for (topic, index, acks, code) in [
        ("nothing", 0, -1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("orders", 1, -1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("orders", -1, -1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("orders", 0, 2, ErrorCode::INVALID_REQUIRED_ACKS),
    ] {
        let mut request = produce_request(topic, acks, &records);
        request.topic_data[0].partition_data[0].index = index;
        let refused = only_partition(client.call(9, &request).await);
        assert_eq!(ErrorCode(refused.error_code), code, "{topic} {index} acks {acks}");
    }
    let mut stale_id = produce_request("", -1, &records);
    stale_id.topic_data[0].topic_id.0[0] = 9;
    let refused = only_partition(client.call(13, &stale_id).await);
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::UNKNOWN_TOPIC_ID);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn without_acks_there_is_no_answer_and_an_error_closes() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    client.send(9, &produce_request("orders", 0, &batch(&["a"]))).await;
    client.expect_no_response();
    let after = client.produce("orders", &batch(&["b"])).await;
    assert_eq!(after.base_offset, 1, "the record without acks was appended first");
    client.send(9, &produce_request("nothing", 0, &batch(&["a"]))).await;
    client.expect_close().await;
}

#[tokio::test(start_paused = true)]
async fn log_append_time_is_answered_and_stored() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let placed = client.produce("orders", &batch(&["a"])).await;
    assert_eq!(placed.log_append_time_ms, NOW.as_millis());
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_answered_like_its_first_and_a_gap_can_be_filled() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    for version in 0..=5 {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let init = client.call(version, &request).await;
        assert_eq!((init.error_code, init.producer_epoch), (0, 0));
        let numbered = |base_sequence| {
            let id = ProducerId::new(init.producer_id).expect("a real id");
            let stamp = ProducerStamp { id, epoch: 0, base_sequence };
            let options = BatchOptions { producer: Some(stamp), ..Default::default() };
            batch_of(&["a"], options).bytes().clone()
        };
        let first = client.produce("orders", &numbered(0)).await;
        let again = client.produce("orders", &numbered(0)).await;
        assert_eq!((again.error_code, again.base_offset), (0, first.base_offset));
        let gap = client.produce("orders", &numbered(2)).await;
        assert_eq!(ErrorCode(gap.error_code), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        let filled = client.produce("orders", &numbered(1)).await;
        assert_eq!(filled.base_offset, first.base_offset + 1);
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_transactional_producer_fails_at_once() {
    let server = Server::start().await;
    let mut client = server.client();
    let request = InitProducerIdRequest {
        transactional_id: Some("payments".to_owned()),
        ..Default::default()
    };
    let refused = client.call(4, &request).await;
    let code = ErrorCode(refused.error_code);
    assert_eq!(code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    assert!(!code.is_retriable());
    assert_eq!(refused.producer_id, -1);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_made_on_first_use_and_ready_in_the_same_answer() {
    let server = Server::with(in_memory::options_with(&[("num.partitions", "3")])).await;
    let mut client = server.client();
    let request = MetadataRequest {
        topics: Some(vec![crate::metadata::by_name("orders")]),
        ..Default::default()
    };
    let response = client.call(4, &request).await;
    assert_eq!(response.topics[0].partitions.len(), 3);
    assert_eq!(client.produce("orders", &batch(&["a"])).await.error_code, 0);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn records_without_a_key_are_refused_by_a_compacted_topic_and_named() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("c", 1, &[("cleanup.policy", "compact")]).await;
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        for key in [Some(&b"k"[..]), None, Some(b""), None] {
            let record = RecordToWrite { timestamp: NOW, key, value: Some(b"v"), headers: &[] };
            builder.append(&record).expect("a small record fits");
        }
        let refused = client.produce("c", builder.build().bytes()).await;
        assert_eq!(ErrorCode(refused.error_code), ErrorCode::INVALID_RECORD);
        let indexes: Vec<_> = refused.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(indexes, [1, 3], "{codec}");
        let text = "Compacted topic cannot accept message without key in topic partition c-0";
        assert_eq!(refused.record_errors[0].batch_index_error_message.as_deref(), Some(text));
        let message = refused.error_message.expect("a sentence");
        let expected = format!(
            "One or more records have been rejected due to 2 record errors in total, and only \
             showing the first three errors at most: [RecordError(batchIndex=1, \
             message='{text}'), RecordError(batchIndex=3, message='{text}')]"
        );
        assert_eq!(message, expected);
    }
    assert_eq!(client.produce("c", &batch(&["a"])).await.base_offset, 0);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_minimum_of_replicas_above_those_of_the_topic_is_lowered_to_them() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("m", 1, &[("min.insync.replicas", "2")]).await;
    for (acks, offset) in [(-1, 0), (1, 1)] {
        let request = produce_request("m", acks, &batch(&["a"]));
        let answer = only_partition(client.call(9, &request).await);
        assert_eq!((ErrorCode(answer.error_code), answer.base_offset), (ErrorCode::NONE, offset));
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn each_record_is_held_to_the_oldest_date_that_the_topic_takes() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("t", 1, &[("message.timestamp.before.max.ms", "1000")]).await;
    let dated = |ages_ms: &[i64]| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for age_ms in ages_ms {
            let timestamp = Timestamp::from_millis(NOW.as_millis() - age_ms);
            let record = RecordToWrite { timestamp, key: None, value: Some(b"v"), headers: &[] };
            builder.append(&record).expect("a small record fits");
        }
        builder.build().bytes().clone()
    };
    for (ages_ms, code) in [
        (&[0, 1000][..], ErrorCode::NONE),
        (&[0, 1001], ErrorCode::INVALID_TIMESTAMP),
        (&[1001, 0], ErrorCode::INVALID_TIMESTAMP),
    ] {
        let answer = client.produce("t", &dated(ages_ms)).await;
        assert_eq!(ErrorCode(answer.error_code), code, "{ages_ms:?}");
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_a_codec_of_its_own_compresses_what_producers_did_not() {
    let server = Server::start().await;
    let mut client = server.client();
    for (kind, codec) in [
        ("producer", Codec::Gzip),
        ("uncompressed", Codec::None),
        ("gzip", Codec::Gzip),
        ("snappy", Codec::Snappy),
        ("lz4", Codec::Lz4),
        ("zstd", Codec::Zstd),
    ] {
        client.create_topic(kind, 1, &[("compression.type", kind)]).await;
        let options = BatchOptions { codec: Codec::Gzip, ..BatchOptions::default() };
        let sent = batch_of(&["a".repeat(500).as_str(), "b"], options);
        assert_eq!(client.produce(kind, sent.bytes()).await.error_code, 0);
        let fetched = fetch_all(&mut client, kind, 0).await;
        let fetched = RecordBatch::parse(fetched).expect("one batch");
        assert_eq!(fetched.codec(), codec, "{kind}");
        assert_eq!(fetched.verify_crc(), Ok(()));
        let values = |batch: &RecordBatch| {
            let records = batch.records(&DecodeLimits::default()).expect("decodes");
            records.map(|record| record.expect("sound").value).collect::<Vec<_>>()
        };
        assert_eq!(values(&fetched), values(&sent));
    }
    client.close().await;
}
