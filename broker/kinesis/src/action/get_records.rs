//! GetRecords: the records from an iterator on, and the iterator for what follows.
//!
//! Inputs: `ShardIterator`, `Limit` (default and most 10,000), `StreamARN` (must name the iterator's
//! stream if given), `DryRun`.
//!
//! Behaviour: at most 10 MiB of keys and data, but always one record if there is one. An empty list
//! is legal anywhere; `MillisBehindLatest` is 0 at the tip. `NextShardIterator` is absent once a
//! closed shard was read to its end, and `ChildShards` is there instead. Records of Kafka producers
//! are shown with a partition key made of their key. Each call counts against the shard's 5 a second,
//! and its bytes against the shard's 2 MiB a second.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use weir_core::partition::partition::Partition;
use weir_core::read::position::{RememberedPlace, Resolved};
use weir_core::read::records::{CallQuota, ReadRecord, ReadRecords, RecordsRead};
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call};
use crate::errors::{self, KinesisError};
use crate::sequence_number::SequenceNumber;
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::shard::{ShardId, write_child_shards};
use crate::shard_iterator::ShardIterator;
use crate::stream_reference::stream_name;
use crate::wire::{Encoding, ReplyWriter};

const RECORDS_MAX: usize = 10_000;
const DATA_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Bytes of a reply for each record beside its key and data: member names, number, time.
const RECORD_OVERHEAD_BYTES: usize = 180;

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
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let text = call.input.text("ShardIterator").unwrap_or_default();
    let iterator = ShardIterator::open(text, call.token_key(), call.now())?;
    let (stream, partition) = find_shard(call, &iterator)?;
    if call.input.is_true("DryRun") {
        return Err(KinesisError::dry_run_succeeded());
    }
    let limit = call
        .input
        .integer("Limit")
        .map_or(RECORDS_MAX, |limit| usize::try_from(limit).unwrap_or(RECORDS_MAX));
    let failed = |error| errors::read_error(&error, partition.id.index, &stream, call.account());
    let from = match call.broker().resolve(&partition, iterator.place).map_err(failed)? {
        Resolved::Exact(offset) => offset,
        Resolved::Lost { next } => next,
    };
    let request = ReadRecords {
        stream: Arc::clone(&stream),
        partition: partition.id.index,
        from,
        records_max: limit,
        bytes_max: DATA_BYTES_MAX,
        call: CallQuota::Charged,
    };
    let memory = ReplyMemory::take(call).await;
    let read = call.broker().read(&request).await.map_err(failed)?;
    call.metrics.records_out.add(read.records.len() as u64);
    Ok(memory.keep_for(reply(call, &stream, &partition, &read)))
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
    let partition = stream.partition(iterator.shard).ok_or_else(missing)?;
    Ok((stream, partition))
}

fn reply(call: &Call<'_>, stream: &Stream, partition: &Partition, read: &RecordsRead) -> Bytes {
    let mut writer = ReplyWriter::with_capacity(call.encoding, reply_bytes(call.encoding, read));
    writer.begin_map();
    writer.name("Records");
    writer.begin_list();
    for record in &read.records {
        write_record(&mut writer, partition, record);
    }
    writer.end_list();
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

fn write_record(writer: &mut ReplyWriter, partition: &Partition, record: &ReadRecord) {
    let (epoch, offset) = (record.epoch, record.offset);
    let number = SequenceNumber::of_record(partition, epoch, offset, record.stored_timestamp);
    writer.begin_map();
    writer.text_member("SequenceNumber", &number.to_string());
    writer.timestamp_member("ApproximateArrivalTimestamp", record.timestamp);
    writer.name("Data");
    writer.blob(record.value.as_deref().unwrap_or_default());
    writer.text_member("PartitionKey", &record.partition_key());
    writer.end_map();
}

/// About how long the reply will be, so that it is not moved while it grows.
fn reply_bytes(encoding: Encoding, read: &RecordsRead) -> usize {
    let data: usize = read.records.iter().map(ReadRecord::size_bytes).sum();
    let data = match encoding {
        Encoding::Json => data.div_ceil(3) * 4,
        Encoding::Cbor => data,
    };
    512 + read.records.len() * RECORD_OVERHEAD_BYTES + data
}

/// A reply's share of the memory for replies: the most it may need while records are read, then what
/// it does need until the client has taken it.
struct ReplyMemory(Option<OwnedSemaphorePermit>);

impl ReplyMemory {
    async fn take(call: &Call<'_>) -> ReplyMemory {
        let budget = Arc::clone(&call.service.reply_bytes);
        let most = u32::try_from(DATA_BYTES_MAX * 2).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        ReplyMemory(budget.acquire_many_owned(most).await.ok())
    }

    fn keep_for(self, reply: Bytes) -> Bytes {
        let Some(mut permit) = self.0 else {
            return reply;
        };
        let unused = permit.num_permits().saturating_sub(reply.len());
        drop(permit.split(unused));
        Bytes::from_owner(MeteredReply { reply, _permit: permit })
    }
}

/// A reply that gives its memory back when the last slice of it is dropped.
struct MeteredReply {
    reply: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for MeteredReply {
    fn as_ref(&self) -> &[u8] {
        &self.reply
    }
}
