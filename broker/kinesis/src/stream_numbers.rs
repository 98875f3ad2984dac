//! Counts what CloudWatch shows of a stream and only this dialect knows: its own calls. What any
//! dialect writes, and what quotas refuse, the core counts.

use weir_core::metrics::stream::{StreamMetrics, StreamNumber};
use weir_core::read::records::{ReadRecord, RecordsRead};
use weir_core::routing::route::RoutedPlace;
use weir_core::stream::stream::Stream;
use weir_model::time::Moment;

use crate::action::Call;
use crate::errors::{ErrorKind, KinesisError};
use crate::subscriptions::Refusal;

/// The moment in which a call begins its work on a stream, whose minutes are gathered from then on.
pub(crate) fn begin(call: &Call<'_>, stream: &Stream) -> Moment {
    stream.metrics().gather_minutes();
    call.broker().clock().real_moment()
}

/// Counts a PutRecord that came to its append; `written` is the size of the record if it was.
pub(crate) fn count_put_record(
    call: &Call<'_>,
    stream: &Stream,
    begun: Moment,
    written: Option<usize>,
) {
    let metrics = stream.metrics();
    metrics.add(StreamNumber::PutRecordCalls, 1);
    metrics.add(StreamNumber::PutRecordMicros, micros_since(call, begun));
    if let Some(bytes) = written {
        metrics.add(StreamNumber::PutRecordSuccess, 1);
        metrics.add(StreamNumber::PutRecordBytes, bytes as u64);
    }
}

/// Counts a PutRecords by the sizes of its records and what became of them.
pub(crate) fn count_put_records<'r>(
    call: &Call<'_>,
    stream: &Stream,
    begun: Moment,
    records: impl Iterator<Item = (usize, &'r Result<RoutedPlace, KinesisError>)>,
) {
    let (mut bytes, mut written, mut failed, mut throttled) = (0, 0, 0, 0);
    for (size_bytes, result) in records {
        match result {
            Ok(_) => {
                written += 1;
                bytes += size_bytes as u64;
            }
            Err(error) if error.kind == ErrorKind::ProvisionedThroughputExceeded => throttled += 1,
            Err(_) => failed += 1,
        }
    }
    let metrics = stream.metrics();
    metrics.add(StreamNumber::PutRecordsCalls, 1);
    metrics.add(StreamNumber::PutRecordsMicros, micros_since(call, begun));
    metrics.add(StreamNumber::PutRecordsSuccess, u64::from(written > 0));
    metrics.add(StreamNumber::PutRecordsBytes, bytes);
    metrics.add(StreamNumber::PutRecordsTotal, written + failed + throttled);
    metrics.add(StreamNumber::PutRecordsSuccessful, written);
    metrics.add(StreamNumber::PutRecordsFailed, failed);
    metrics.add(StreamNumber::PutRecordsThrottled, throttled);
}

/// Counts a GetRecords that is answered.
pub(crate) fn count_get_records(
    call: &Call<'_>,
    stream: &Stream,
    begun: Moment,
    read: &RecordsRead,
) {
    let metrics = stream.metrics();
    metrics.add(StreamNumber::GetRecordsSuccess, 1);
    metrics.add(StreamNumber::GetRecordsMicros, micros_since(call, begun));
    metrics.raise(StreamNumber::GetRecordsAgeMillis, read.behind_ms);
    let numbers = (StreamNumber::GetRecordsRecords, StreamNumber::GetRecordsBytes);
    count_given(metrics, numbers, read);
}

/// Counts a subscription that began or was refused. AWS names every refusal by the rate.
pub(crate) fn count_subscription(stream: &Stream, outcome: Result<(), &Refusal>) {
    let number = match outcome {
        Ok(()) => StreamNumber::SubscribeSuccess,
        Err(Refusal::InUse | Refusal::TooOften | Refusal::TooMany) => {
            StreamNumber::SubscribeExceeded
        }
    };
    stream.metrics().add(number, 1);
}

/// Counts an event that is pushed.
pub(crate) fn count_event(stream: &Stream, read: &RecordsRead) {
    let metrics = stream.metrics();
    metrics.add(StreamNumber::EventSuccess, 1);
    metrics.raise(StreamNumber::EventBehindMillis, read.behind_ms);
    count_given(metrics, (StreamNumber::EventRecords, StreamNumber::EventBytes), read);
}

fn count_given(
    metrics: &StreamMetrics,
    (records, bytes): (StreamNumber, StreamNumber),
    read: &RecordsRead,
) {
    let size: usize = read.records.iter().map(ReadRecord::size_bytes).sum();
    metrics.add(records, read.records.len() as u64);
    metrics.add(bytes, size as u64);
}

fn micros_since(call: &Call<'_>, begun: Moment) -> u64 {
    let took = call.broker().clock().real_moment().since(begun);
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
