//! Records as readers get them: in the replies of GetRecords and the events of SubscribeToShard.

use weir_core::partition::partition::Partition;
use weir_core::read::records::ReadRecord;
use weir_core::stream::stream::Stream;

use crate::sequence_number::SequenceNumber;
use crate::wire::{Encoding, ReplyWriter};

/// Bytes of a reply for each record beside its key and data: member names, number, time.
const RECORD_OVERHEAD_BYTES: usize = 180;

/// Writes the member `Records`.
pub(crate) fn write_records(
    writer: &mut ReplyWriter,
    stream: &Stream,
    partition: &Partition,
    records: &[ReadRecord],
) {
    writer.name("Records");
    writer.begin_list();
    let attributes = stream.attributes();
    for record in records {
        let encrypted = attributes.encryption.covers(record.stored_timestamp);
        write_record(writer, partition, record, encrypted);
    }
    writer.end_list();
}

fn write_record(
    writer: &mut ReplyWriter,
    partition: &Partition,
    record: &ReadRecord,
    encrypted: bool,
) {
    let (epoch, offset) = (record.epoch, record.offset);
    let number = SequenceNumber::of_record(partition, epoch, offset, record.stored_timestamp);
    writer.begin_map();
    writer.text_member("SequenceNumber", &number.to_string());
    writer.timestamp_member("ApproximateArrivalTimestamp", record.timestamp);
    writer.name("Data");
    writer.blob(record.value.as_deref().unwrap_or_default());
    writer.text_member("PartitionKey", &record.partition_key());
    if encrypted {
        writer.text_member("EncryptionType", "KMS");
    }
    writer.end_map();
}

/// About how long the reply will be, so that it is not moved while it grows.
pub(crate) fn reply_bytes(encoding: Encoding, records: &[ReadRecord]) -> usize {
    let data: usize = records.iter().map(ReadRecord::size_bytes).sum();
    let data = match encoding {
        Encoding::Json => data.div_ceil(3) * 4,
        Encoding::Cbor => data,
    };
    512 + records.len() * RECORD_OVERHEAD_BYTES + data
}
