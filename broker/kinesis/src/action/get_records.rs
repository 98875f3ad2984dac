//! GetRecords: the records from an iterator on, and the iterator for what follows.
//!
//! Inputs: `ShardIterator`, `Limit` (default and most 10,000), `StreamARN` (must name the
//! iterator's stream if given), `DryRun`.
//!
//! Behaviour: at most 10 MiB of keys and data, but always one record if there is one. An empty list
//! is legal anywhere; `MillisBehindLatest` is 0 at the tip. `NextShardIterator` is absent once a
//! closed shard was read to its end, and `ChildShards` is there instead. Records of Kafka producers
//! are shown with a partition key made of their key. Each call counts against the shard's 5 a
//! second, and its bytes against the shard's 2 MiB a second. While clients leave too many large
//! replies unread, replies are small.

use std::sync::Arc;

use bytes::Bytes;
use weir_core::partition::partition::Partition;
use weir_core::read::position::{RememberedPlace, Resolved};
use weir_core::read::records::{CallQuota, ReadRecords, RecordsRead};
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::outgoing_record::{reply_bytes, write_records};
use crate::reply_memory::FULL;
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::shard::{ShardId, write_child_shards};
use crate::shard_iterator::ShardIterator;
use crate::stream_numbers;
use crate::stream_reference::stream_name;
use crate::wire::ReplyWriter;

static SHARD_ITERATOR: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::LengthAtLeast(1), Rule::LengthAtMost(512)] };

pub(super) static ACTION: Action = Action {
    name: "GetRecords",
    members: &[
        Member::required("ShardIterator", &SHARD_ITERATOR),
        Member::optional("Limit", &shape::LIMIT),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::optional("DryRun", &shape::BOOLEAN),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let begun = call.broker().clock().real_moment();
    let text = call.input.text("ShardIterator").unwrap_or_default();
    let iterator = ShardIterator::open(text, call.token_key(), call.now())?;
    let (stream, partition) = find_shard(call, &iterator)?;
    if call.input.is_true("DryRun") {
        return Err(KinesisError::dry_run_succeeded());
    }
    let limit = call
        .input
        .integer("Limit")
        .map_or(FULL.records_max, |limit| usize::try_from(limit).unwrap_or(FULL.records_max));
    let failed = |error| errors::read_error(&error, partition.id.index, &stream, call.account());
    let from = match call.broker().resolve(&partition, iterator.place).map_err(failed)? {
        Resolved::Exact(offset) => offset,
        Resolved::Lost { next } => next,
    };
    let share = call.service.replies.take(&call.caller.replies).await;
    let request = ReadRecords {
        stream: Arc::clone(&stream),
        partition: partition.id.index,
        from,
        records_max: limit.min(share.size.records_max),
        bytes_max: share.size.data_bytes_max,
        call: CallQuota::Charged,
    };
    let read = call.broker().read(&request).await.map_err(failed)?;
    call.metrics.records_out.add(read.records.len() as u64);
    stream_numbers::count_get_records(call, &stream, begun, &read);
    Ok(share.keep_for(reply(call, &stream, &partition, &read)))
}

fn find_shard(
    call: &Call<'_>,
    iterator: &ShardIterator,
) -> Result<(Arc<Stream>, Arc<Partition>), KinesisError> {
    if call.input.text("StreamARN").is_some() && stream_name(&call.input)? != iterator.stream_name {
        return Err(KinesisError::invalid_argument("Invalid ShardIterator."));
    }
    let missing = || {
        let (shard, name) = (ShardId(iterator.shard), &iterator.stream_name);
        KinesisError::shard_does_not_exist(shard, name, call.account())
    };
    let stream = call.broker().stream_by_id(iterator.stream).ok_or_else(missing)?;
    if !stream.state(call.now()).is_in_use() {
        return Err(KinesisError::stream_not_found(&iterator.stream_name, call.account()));
    }
    let partition = stream.partition(iterator.shard).ok_or_else(missing)?;
    Ok((stream, partition))
}

fn reply(call: &Call<'_>, stream: &Stream, partition: &Partition, read: &RecordsRead) -> Bytes {
    let mut writer =
        ReplyWriter::with_capacity(call.encoding, reply_bytes(call.encoding, &read.records));
    writer.begin_map();
    write_records(&mut writer, stream, partition, &read.records);
    if read.finished {
        write_child_shards(&mut writer, partition.id.index, &stream.partitions());
    } else {
        let place = RememberedPlace { epoch: call.broker().log().epoch(), offset: read.next };
        let next = ShardIterator::new(stream, partition.id.index, place);
        let text = next.seal(call.token_key(), call.now());
        writer.text_member("NextShardIterator", &text);
    }
    writer.integer_member("MillisBehindLatest", read.behind_ms);
    writer.end_map();
    writer.into_bytes()
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, data_of, text};
    use bytes::Bytes;
    use serde_json::json;
    use std::time::Duration;
    use weir_core::partition::append::QuotaWait;
    use weir_core::quota::limits::QuotaPolicy;
    use weir_core::read::fetch::{FetchPartition, FetchRequest};
    use weir_core::request_budget::HeldBytes;
    use weir_core::settings::alteration::{Alteration, Change, Changes};
    use weir_core::settings::holder::Resource;
    use weir_core::stream::stream::Intent;
    use weir_model::batch::RecordBatch;
    use weir_model::batch_builder::{BatchBuilder, BatchOptions};
    use weir_model::compression::Codec;
    use weir_model::ids::PartitionIndex;
    use weir_model::limits::DecodeLimits;
    use weir_model::offset::Offset;
    use weir_model::record::RecordToWrite;
    use weir_model::time::Timestamp;

    #[tokio::test]
    async fn reading_goes_on_where_it_stopped() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        for data in ["a", "b", "c"] {
            harness.put("s", "key", data).await;
        }
        harness.advance_ms(5_000);
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        let page = harness.ok("GetRecords", json!({"ShardIterator": iterator, "Limit": 2})).await;
        assert_eq!(data_of(&page), ["a", "b"]);
        assert_eq!(page["MillisBehindLatest"], 5_000);
        let record = page["Records"][0].as_object().expect("a record");
        assert_eq!(record["PartitionKey"], "key");
        assert_eq!(record["ApproximateArrivalTimestamp"], 1_700_000_000.0);
        assert_eq!(record.len(), 4, "and number and data; no EncryptionType");

        let next = text(&page["NextShardIterator"]);
        let page = harness.ok("GetRecords", json!({"ShardIterator": next})).await;
        assert_eq!(
            (data_of(&page), &page["MillisBehindLatest"]),
            (vec!["c".to_owned()], &json!(0))
        );
        let next = text(&page["NextShardIterator"]);
        assert_eq!(harness.data_from(&next).await.len(), 0);
        harness.put("s", "key", "d").await;
        assert_eq!(harness.data_from(&next).await, ["d"], "an iterator may be used again");
    }

    #[tokio::test]
    async fn records_of_kafka_producers_are_shown_whatever_their_keys() {
        let harness = Harness::new().await;
        harness.create_topic("topic", 1).await;
        let stream = harness.broker.stream("topic").expect("the topic");
        let mut batch = BatchBuilder::new(BatchOptions::default());
        // A producer whose clock is ahead; the number of its record must not change as time passes.
        let timestamp = Timestamp::from_millis(1_700_000_001_500);
        for (key, value) in
            [(Some(&b"k"[..]), Some(&b"v"[..])), (None, None), (Some(b"\xff"), None)]
        {
            let record = RecordToWrite { timestamp, key, value, headers: &[] };
            batch.append(&record).expect("room for three records");
        }
        let (zero, batch) = (PartitionIndex::ZERO, batch.build());
        let no_wait = QuotaWait { time_max: Duration::ZERO, held: HeldBytes::default() };
        let appended = harness.broker.append(&stream, zero, batch, no_wait).await;
        appended.expect("admitted").settled().await.expect("kept");

        let iterator = harness.iterator("topic", "TRIM_HORIZON").await;
        let input = json!({"ShardIterator": iterator});
        let page = harness.ok("GetRecords", input.clone()).await;
        assert_eq!(data_of(&page), ["v", "", ""]);
        let keys: Vec<_> =
            (0..3).map(|index| text(&page["Records"][index]["PartitionKey"])).collect();
        assert_eq!(keys, ["k", "-", "hex:ff"]);
        let time = &page["Records"][0]["ApproximateArrivalTimestamp"];
        assert_eq!(time, 1_700_000_000.0, "not later than now");

        harness.advance_ms(10_000);
        let later = harness.ok("GetRecords", input).await;
        assert_eq!(later["Records"][0]["ApproximateArrivalTimestamp"], 1_700_000_001.5);
        let number = |page: &serde_json::Value| text(&page["Records"][0]["SequenceNumber"]);
        assert_eq!(number(&page), number(&later));
    }

    #[tokio::test]
    async fn what_a_stream_compresses_is_read_back_by_all_dialects() {
        for (name, codec) in [
            ("gzip", Codec::Gzip),
            ("snappy", Codec::Snappy),
            ("lz4", Codec::Lz4),
            ("zstd", Codec::Zstd),
        ] {
            let harness = Harness::new().await;
            harness.create_stream("s", 1).await;
            let change = ("compression.type".to_owned(), Change::Set(name.to_owned()));
            let alteration = Alteration {
                resource: Resource::Stream("s".to_owned()),
                changes: Changes::Some([change].into()),
            };
            let configurations = harness.broker.configurations();
            let altered = configurations.alter(vec![alteration], Intent::Make).await;
            assert_eq!(altered, [Ok(())]);
            let data = "a".repeat(5_000);
            harness.put("s", "key", &data).await;
            let iterator = harness.iterator("s", "TRIM_HORIZON").await;
            assert_eq!(harness.data_from(&iterator).await, [data.as_str()], "{name}");

            // The bytes that a Kafka consumer is sent.
            let bytes = fetched(&harness, "s").await;
            assert!(bytes.len() < data.len() / 2, "{name}: {} bytes", bytes.len());
            let batch = RecordBatch::parse(bytes).expect("one batch");
            assert_eq!((batch.codec(), batch.verify_crc()), (codec, Ok(())));
            let mut records = batch.records(&DecodeLimits::default()).expect("it decodes");
            let record = records.next().expect("one record").expect("a sound record");
            assert_eq!(record.value.as_deref(), Some(data.as_bytes()), "{name}");
        }
    }

    /// What a fetch of the first partition from its beginning holds.
    async fn fetched(harness: &Harness, name: &str) -> Bytes {
        let stream = harness.broker.stream(name).expect("the stream");
        let wanted = FetchPartition {
            partition: stream.partition(PartitionIndex::ZERO).expect("the first"),
            stream,
            from: Offset::ZERO,
            bytes_max: 1 << 20,
            current_epoch: None,
            last_epoch: None,
        };
        let request = FetchRequest {
            partitions: vec![wanted],
            bytes_max: 1 << 20,
            bytes_min: 1,
            wait_max: Duration::ZERO,
        };
        let fetched = harness.broker.fetch(&request).await.remove(0).expect("in range");
        let extent = fetched.ranges.extents.first().expect("one extent").load();
        extent.await.expect("bytes in memory")
    }

    #[tokio::test]
    async fn iterators_expire_and_cannot_be_forged() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let iterator = harness.iterator("s", "LATEST").await;
        let forged = iterator.replace(&iterator[40..44], "AAAB");
        let invalid = ("InvalidArgument".to_owned(), "Invalid ShardIterator.".to_owned());
        for wrong in [forged.as_str(), "x"] {
            let input = json!({"ShardIterator": wrong});
            assert_eq!(harness.error("GetRecords", input).await, invalid);
        }
        let arn = format!("arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/other");
        let input = json!({"ShardIterator": iterator, "StreamARN": arn});
        assert_eq!(harness.error("GetRecords", input).await, invalid);
        harness.advance_ms(300_001);
        let expired = (
            "ExpiredIterator".to_owned(),
            "Iterator expired. The iterator was created at time Tue Nov 14 22:13:20 UTC 2023 \
             while right now it is Tue Nov 14 22:18:20 UTC 2023 which is further in the future \
             than the tolerated delay of 300000 milliseconds."
                .to_owned(),
        );
        assert_eq!(harness.error("GetRecords", json!({"ShardIterator": iterator})).await, expired);
    }

    #[tokio::test]
    async fn a_shard_answers_five_calls_a_second() {
        let harness = Harness::with_quotas(QuotaPolicy::Aws).await;
        harness.create_stream("s", 1).await;
        let input = json!({"ShardIterator": harness.iterator("s", "LATEST").await});
        for _ in 0..5 {
            harness.ok("GetRecords", input.clone()).await;
        }
        let refused = (
            "ProvisionedThroughputExceeded".to_owned(),
            format!("Rate exceeded for Shard - {ACCOUNT}/s/shardId-000000000000"),
        );
        assert_eq!(harness.error("GetRecords", input.clone()).await, refused);
        harness.advance_ms(1_000);
        harness.ok("GetRecords", input).await;
    }

    #[tokio::test]
    async fn a_reply_gives_its_memory_back_when_it_is_dropped() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.put("s", "k", &"x".repeat(100_000)).await;
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        let free = harness.service.replies.full_bytes_free();
        let media_type = "application/x-amz-json-1.1";
        let body = json!({"ShardIterator": iterator}).to_string();
        let answered = harness.call_raw("GetRecords", media_type, body).await;
        let held = free - harness.service.replies.full_bytes_free();
        assert_eq!(held, answered.body.len());
        drop::<Bytes>(answered.body);
        assert_eq!(harness.service.replies.full_bytes_free(), free);
    }
}
