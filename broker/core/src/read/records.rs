//! Records, decoded: what Kinesis and gRPC show, whichever dialect wrote them (design.md §1).
//!
//! Reads never pass the high watermark. Control batches are skipped, all codecs are decoded, and a
//! Kafka record is never an error here: whatever its key, it has a partition key to show.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;
use weir_model::batch::{BatchError, RecordBatch, Records};
use weir_model::ids::{LogEpoch, PartitionId, PartitionIndex};
use weir_model::limits::MIB;
use weir_model::offset::Offset;
use weir_model::record::Headers;
use weir_model::time::Timestamp;
use weir_storage::read_plan::{OversizedFirst, ReadRequest};
use weir_storage::watermarks::Watermarks;

use crate::broker::Broker;
use crate::error::ReadError;
use crate::events::Direction;
use crate::metrics::stream::StreamNumber;
use crate::partition::partition::Partition;
use crate::read::decoded::DecodedBatches;
use crate::stream::stream::Stream;

/// Bytes of the log looked at in one step; a step is what one batch may hold at the least.
const STEP_BYTES: usize = MIB;

/// Bytes of the log looked at in one read. A reader that finds no records in them, since they are
/// control batches or nonsense, gets an empty answer and goes on behind them.
const READ_BYTES_MAX: usize = 64 * MIB;

/// Longest partition key that Kinesis can show, in characters.
const PARTITION_KEY_CHARS_MAX: usize = 256;

/// Bytes of a key that is not text, shown in hex: `hex:` and these are 256 characters.
const HEX_KEY_BYTES_MAX: usize = 126;

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadRecords {
    /// The stream.
    pub stream: Arc<Stream>,
    /// Which partition of it.
    pub partition: PartitionIndex,
    /// The first offset wanted; one below the log start means the log start.
    pub from: Offset,
    /// Most records.
    pub records_max: usize,
    /// Most bytes of keys and data; the first record may be larger.
    pub bytes_max: usize,
    /// Whether the shard's bucket of calls is charged too.
    pub call: CallQuota,
}

/// Whether a read counts against the shard's calls per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallQuota {
    /// It does (GetRecords).
    Charged,
    /// It does not, but its bytes do.
    Free,
    /// Neither do its bytes: the reader has a bucket of its own (enhanced fan-out).
    Apart,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct RecordsRead {
    /// The records, in offset order.
    pub records: Vec<ReadRecord>,
    /// Where the next read goes on.
    pub next: Offset,
    /// How old the oldest record is that was not read, in ms; 0 at the tip.
    pub behind_ms: u64,
    /// Whether the partition was closed and is read to its end.
    pub finished: bool,
    /// The partition's positions at the last look.
    pub watermarks: Watermarks,
}

/// One record.
#[derive(Clone, Debug)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: Offset,
    /// The log epoch it was written in.
    pub epoch: LogEpoch,
    /// Its timestamp, within 0 and now.
    pub timestamp: Timestamp,
    /// Its timestamp as it is stored, which a producer's clock may have put into the future. It is
    /// the same at each read, as what names the record must be.
    pub stored_timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}

impl ReadRecord {
    /// The key as Kinesis shows it: itself when it is 1 to 256 characters of text, `-` for none,
    /// hex for everything else.
    pub fn partition_key(&self) -> Cow<'_, str> {
        let key = self.key.as_deref().unwrap_or_default();
        if key.is_empty() {
            return Cow::Borrowed("-");
        }
        match std::str::from_utf8(key) {
            Ok(text) if text.chars().count() <= PARTITION_KEY_CHARS_MAX => Cow::Borrowed(text),
            _ => {
                let mut hex = String::from("hex:");
                for byte in key.iter().take(HEX_KEY_BYTES_MAX) {
                    write!(hex, "{byte:02x}").expect("a String takes all that is written to it");
                }
                Cow::Owned(hex)
            }
        }
    }

    /// The value as Kinesis shows it; nothing for none.
    pub fn data(&self) -> Bytes {
        self.value.clone().unwrap_or_default()
    }

    /// Bytes of key and data.
    pub fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        length(&self.key) + length(&self.value)
    }
}

impl Broker {
    /// Reads records below the high watermark; an empty answer is legal anywhere.
    pub async fn read(&self, request: &ReadRecords) -> Result<RecordsRead, ReadError> {
        let stream = &request.stream;
        let partition = stream.partition(request.partition).ok_or(ReadError::UnknownPartition)?;
        if stream.is_deleted() {
            return Err(ReadError::UnknownPartition);
        }
        let is_charged = request.call != CallQuota::Apart && self.has_quotas(stream);
        let _turn = match is_charged {
            true => Some(partition.gate.read_turn().await),
            false => None,
        };
        self.admit_read(stream, &partition, request.call)?;
        let mut reading = Reading {
            decoded: &self.decoded,
            request,
            partition: partition.id,
            now: self.clock().now(),
            records: Vec::new(),
            bytes: 0,
            next: request.from.max(partition.watermarks().log_start),
            first_unread: None,
            looked_at_bytes: 0,
            newest_seen: None,
            illegal: None,
        };
        let read = self.read_steps(&mut reading).await;
        reading.report_illegal();
        read?;
        if is_charged {
            self.with_quota(stream, &partition, |quota| quota.charge_read(reading.bytes));
        }

        self.metrics().count_read(stream, reading.bytes as u64);

        let watermarks = partition.watermarks();
        let behind_ms = match reading.first_unread {
            None => 0,
            Some(unread) => u64::try_from(reading.now.millis_since(unread)).unwrap_or(0),
        };
        let closed = partition.closed_at();
        Ok(RecordsRead {
            records: reading.records,
            next: reading.next,
            behind_ms,
            finished: closed.is_some_and(|closed| reading.next >= closed.end),
            watermarks,
        })
    }

    fn admit_read(
        &self,
        stream: &Stream,
        partition: &Partition,
        call: CallQuota,
    ) -> Result<(), ReadError> {
        let now = self.clock().moment();
        let wait = self.with_quota(stream, partition, |quota| {
            let wait = match call {
                CallQuota::Charged => quota.call_wait(now).max(quota.read_wait(now)),
                CallQuota::Free => quota.read_wait(now),
                CallQuota::Apart => std::time::Duration::ZERO,
            };
            if wait.is_zero() && call == CallQuota::Charged {
                quota.charge_call();
            }
            wait
        });
        match wait {
            Some(retry_after) if !retry_after.is_zero() => {
                self.metrics().count_throttle();
                self.events().tell_throttled(stream, partition, Direction::Read, retry_after);
                stream.metrics().add(StreamNumber::ReadExceeded, 1);
                Err(ReadError::OverQuota { retry_after })
            }
            _ => Ok(()),
        }
    }

    /// Reads until the answer is full, the log ends, or enough of it was looked at.
    async fn read_steps(&self, reading: &mut Reading<'_>) -> Result<(), ReadError> {
        while reading.looked_at_bytes < READ_BYTES_MAX {
            if self.read_step(reading).await? == Step::Done {
                return Ok(());
            }
        }
        reading.first_unread = reading.newest_seen;
        Ok(())
    }

    async fn read_step(&self, reading: &mut Reading<'_>) -> Result<Step, ReadError> {
        let plan = self.log().read(ReadRequest {
            partition: reading.partition,
            from: reading.next,
            bytes_max: STEP_BYTES,
            oversized_first: OversizedFirst::Return,
        });
        let ranges = match plan {
            Ok(plan) => plan.ranges().await?,
            // Retention moved the log start past the reader between two steps.
            Err(weir_storage::error::ReadError::OutOfRange { log_start, .. })
                if reading.next < log_start =>
            {
                reading.next = log_start;
                return Ok(Step::GoOn);
            }
            Err(error) => return Err(error.into()),
        };
        if ranges.extents.is_empty() {
            return Ok(Step::Done);
        }
        reading.looked_at_bytes += ranges.bytes;
        for extent in &ranges.extents {
            let mut bytes = extent.load().await?;
            while !bytes.is_empty() {
                let damaged = |_| ReadError::Corrupt { at: reading.next };
                let batch = RecordBatch::split_first(&mut bytes).map_err(damaged)?;
                if reading.take(&batch).await? == Step::Done {
                    return Ok(Step::Done);
                }
            }
        }
        Ok(Step::GoOn)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    GoOn,
    Done,
}

/// A read and what it has gathered so far.
struct Reading<'a> {
    decoded: &'a DecodedBatches,
    request: &'a ReadRecords,
    partition: PartitionId,
    now: Timestamp,
    records: Vec<ReadRecord>,
    bytes: usize,
    next: Offset,
    /// When the first record was written that no longer fitted.
    first_unread: Option<Timestamp>,
    looked_at_bytes: usize,
    /// The date of the batch that was taken last.
    newest_seen: Option<Timestamp>,
    /// The batches whose records could not be decoded.
    illegal: Option<IllegalBatches>,
}

struct IllegalBatches {
    count: u64,
    first_at: Offset,
    first_error: BatchError,
}

impl Reading<'_> {
    /// Takes what fits of a batch.
    async fn take(&mut self, batch: &RecordBatch) -> Result<Step, ReadError> {
        let header = batch.header();
        let at = self.next;
        let damaged = || ReadError::Corrupt { at };
        let base = Offset::try_from(header.base_offset).map_err(|_| damaged())?;
        let after = Offset::try_from(header.last_offset()).map_err(|_| damaged())?.next();
        let epoch = u32::try_from(header.leader_epoch).ok().and_then(LogEpoch::new);
        let epoch = epoch.ok_or_else(damaged)?;
        if !header.attributes.is_control() {
            match self.decoded.records(self.partition, batch).await {
                Ok(records) => {
                    if self.take_records(batch, records, base, epoch)? == Step::Done {
                        return Ok(Step::Done);
                    }
                }
                Err(error) => self.skip_illegal(batch, error)?,
            }
        }
        self.next = self.next.max(after);
        self.newest_seen = Some(header.max_timestamp).filter(|date| *date != Timestamp::NONE);
        Ok(Step::GoOn)
    }

    fn take_records(
        &mut self,
        batch: &RecordBatch,
        records: Records,
        base: Offset,
        epoch: LogEpoch,
    ) -> Result<Step, ReadError> {
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => return self.skip_illegal(batch, error).map(|()| Step::GoOn),
            };
            let offset = base.plus(u64::from(record.offset_delta.unsigned_abs()));
            if offset < self.next {
                continue;
            }
            let record = ReadRecord {
                offset,
                epoch,
                timestamp: record.timestamp.clamp(Timestamp::from_millis(0), self.now),
                stored_timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            };
            let size_bytes = record.size_bytes();
            let full = self.records.len() >= self.request.records_max
                || (self.bytes + size_bytes > self.request.bytes_max && !self.records.is_empty());
            if full {
                self.first_unread = Some(record.timestamp);
                return Ok(Step::Done);
            }
            self.bytes += size_bytes;
            self.next = offset.next();
            self.records.push(record);
        }
        Ok(Step::GoOn)
    }

    /// What to do about records that cannot be decoded. Where the batch's CRC holds, these are the
    /// bytes that its producer sent: nobody can ever read them, and whoever stopped here would stop
    /// for ever.
    fn skip_illegal(&mut self, batch: &RecordBatch, error: BatchError) -> Result<(), ReadError> {
        if batch.verify_crc().is_err() {
            return Err(ReadError::Corrupt { at: self.next });
        }
        let first_at = self.next;
        let illegal =
            self.illegal.get_or_insert(IllegalBatches { count: 0, first_at, first_error: error });
        illegal.count += 1;
        Ok(())
    }

    /// One line for a read, however many such batches it met.
    fn report_illegal(&self) {
        if let Some(IllegalBatches { count, first_at, first_error }) = &self.illegal {
            warn!(stream = %self.request.stream.name, partition = %self.request.partition,
                offset = %first_at, batches = count, error = ?first_error,
                "rest of a batch skipped: its producer wrote no legal records");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key(key: Option<&[u8]>) -> ReadRecord {
        ReadRecord {
            offset: Offset::ZERO,
            epoch: LogEpoch::ZERO,
            timestamp: Timestamp::default(),
            stored_timestamp: Timestamp::default(),
            key: key.map(Bytes::copy_from_slice),
            value: None,
            headers: Headers::default(),
        }
    }

    #[test]
    fn every_kafka_key_has_a_partition_key_to_show() {
        let long_text = "é".repeat(256);
        let too_long = "a".repeat(257);
        let hex_of_too_long = format!("hex:{}", "61".repeat(126));
        for (key, shown) in [
            (None, "-"),
            (Some(&b""[..]), "-"),
            (Some(b"order-7"), "order-7"),
            (Some(long_text.as_bytes()), long_text.as_str()),
            (Some(too_long.as_bytes()), hex_of_too_long.as_str()),
            (Some(&[0xff, 0x00]), "hex:ff00"),
        ] {
            assert_eq!(with_key(key).partition_key(), shown);
        }
        assert_eq!(hex_of_too_long.len(), 256);
    }
}
