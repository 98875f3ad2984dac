//! What an append does with the records inside a batch, where the stream's settings ask for it:
//! keys on a compacted stream, the date of each record, another codec.
//!
//! A stream with the usual settings asks for none of it, and its batches are stored as they came
//! without a look inside. Where it does, decompressing and compressing may take milliseconds, so
//! that is done on a thread that may block.

use weir_model::batch::{BatchError, RecordBatch, TimestampType};
use weir_model::compression::{Codec, Compression};
use weir_model::limits::DecodeLimits;
use weir_model::record::Record;
use weir_model::time::Timestamp;

use crate::error::AppendError;
use crate::stream::config::StreamConfig;

/// Bytes of a batch whose records are gone through where the request is served, if they are not
/// compressed: some tens of microseconds.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// How many records without a key an error names.
const NAMED_RECORDS_MAX: usize = 1_000;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
struct Inspection {
    needs_keys: bool,
    /// No record may be older than this.
    oldest: Option<Timestamp>,
    compression: Option<Compression>,
}

impl Inspection {
    fn of(config: &StreamConfig, batch: &RecordBatch, now: Timestamp) -> Inspection {
        let before_ms = config.timestamp_before_ms_max;
        let has_oldest = config.timestamp_type == TimestampType::CreateTime && before_ms < i64::MAX;
        let oldest = Timestamp::from_millis(now.as_millis().saturating_sub(before_ms));
        Inspection {
            needs_keys: config.is_compacted,
            oldest: has_oldest.then_some(oldest),
            // As Kafka: what has the codec already stays as it is, whatever its level.
            compression: config.compression.filter(|wanted| wanted.codec() != batch.codec()),
        }
    }

    fn looks_at_records(&self) -> bool {
        self.needs_keys || self.oldest.is_some()
    }

    fn carry_out(self, batch: RecordBatch) -> Result<RecordBatch, AppendError> {
        let limits = DecodeLimits::default();
        if self.looks_at_records() {
            self.check_records(&batch, &limits)?;
        }
        match self.compression {
            None => Ok(batch),
            Some(wanted) => batch.recompressed(wanted, &limits).map_err(AppendError::BadRecords),
        }
    }

    fn check_records(&self, batch: &RecordBatch, limits: &DecodeLimits) -> Result<(), AppendError> {
        let (mut without_key, mut record_count) = (Vec::new(), 0);
        let records = batch.records(limits).map_err(AppendError::BadRecords)?;
        for (index, record) in (0..).zip(records) {
            let record: Record = record.map_err(AppendError::BadRecords)?;
            if self.oldest.is_some_and(|oldest| is_older(&record, oldest)) {
                return Err(AppendError::InvalidTimestamp);
            }
            if self.needs_keys && record.key.is_none() {
                record_count += 1;
                if without_key.len() < NAMED_RECORDS_MAX {
                    without_key.push(index);
                }
            }
        }
        if record_count == 0 {
            return Ok(());
        }
        Err(AppendError::KeyMissing { records: without_key, record_count })
    }
}

fn is_older(record: &Record, oldest: Timestamp) -> bool {
    record.timestamp != Timestamp::NONE && record.timestamp < oldest
}

/// The batch as the stream keeps it, or why it does not.
pub(super) async fn inspected(
    config: &StreamConfig,
    batch: RecordBatch,
    now: Timestamp,
) -> Result<RecordBatch, AppendError> {
    let inspection = Inspection::of(config, &batch, now);
    let is_small = batch.codec() == Codec::None && batch.bytes().len() <= INLINE_BYTES_MAX;
    let batch = match inspection.compression {
        None if !inspection.looks_at_records() => return Ok(batch),
        None if is_small => return inspection.carry_out(batch),
        _ => {
            let carried_out = tokio::task::spawn_blocking(move || inspection.carry_out(batch));
            carried_out.await.map_err(|_| AppendError::ShuttingDown)??
        }
    };
    // Another codec may make it larger.
    let (size_bytes, limit_bytes) = (batch.bytes().len(), config.message_bytes_max);
    if size_bytes > limit_bytes {
        return Err(AppendError::BatchTooLarge { size_bytes, limit_bytes });
    }
    Ok(batch)
}

/// A batch that the broker built itself, under the stream's codec. Its records have been judged.
pub(super) async fn compressed(config: &StreamConfig, batch: RecordBatch) -> RecordBatch {
    let Some(wanted) = config.compression.filter(|wanted| wanted.codec() != Codec::None) else {
        return batch;
    };
    let plain = batch.clone();
    let compress = move || batch.recompressed(wanted, &DecodeLimits::default());
    let compressed: Result<Result<RecordBatch, BatchError>, _> =
        tokio::task::spawn_blocking(compress).await;
    // What cannot be compressed is as good without.
    compressed.ok().and_then(Result::ok).unwrap_or(plain)
}
