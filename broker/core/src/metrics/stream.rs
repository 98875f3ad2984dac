//! What is counted of one stream, and of all of them together.
//!
//! Two kinds. Counters grow from the start on. What CloudWatch shows of a Kinesis stream is not
//! counters but one value for each minute ([`StreamNumber`]): it is gathered in the current minute
//! and shown when that is over, so the first appears when the first minute ends. Only streams that
//! Kinesis made or is used for pay for these.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::Counter;

/// What is counted of a stream.
#[derive(Debug, Default)]
pub struct StreamMetrics {
    /// Records written, duplicates left out.
    pub records_in: Counter,
    /// Bytes written: of batches as their producers sent them, of keys and data of routed records.
    pub bytes_in: Counter,
    /// Bytes read: of batches as they are stored, of keys and data of decoded records.
    pub bytes_out: Counter,
    minutes: OnceLock<Box<Minutes>>,
}

/// What CloudWatch knows of a stream, by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamNumber {
    /// Keys and data written, in bytes.
    IncomingBytes,
    /// Records written.
    IncomingRecords,
    /// Records refused by a shard's quota.
    WriteExceeded,
    /// Reads refused by a shard's quota.
    ReadExceeded,
    /// Calls of PutRecord that wrote their record.
    PutRecordSuccess,
    /// Bytes that they wrote.
    PutRecordBytes,
    /// Time of all calls of PutRecord, in microseconds.
    PutRecordMicros,
    /// All calls of PutRecord.
    PutRecordCalls,
    /// Calls of PutRecords that wrote a record at least.
    PutRecordsSuccess,
    /// Bytes that they wrote.
    PutRecordsBytes,
    /// Time of all calls of PutRecords, in microseconds.
    PutRecordsMicros,
    /// All calls of PutRecords.
    PutRecordsCalls,
    /// Records in calls of PutRecords.
    PutRecordsTotal,
    /// Those that were written.
    PutRecordsSuccessful,
    /// Those that failed for another reason than their shard's quota.
    PutRecordsFailed,
    /// Those that their shard's quota refused.
    PutRecordsThrottled,
    /// Calls of GetRecords that were answered.
    GetRecordsSuccess,
    /// Keys and data in their answers, in bytes.
    GetRecordsBytes,
    /// Records in their answers.
    GetRecordsRecords,
    /// Time of all of them, in microseconds.
    GetRecordsMicros,
    /// The greatest age of what a reader has not read yet, in milliseconds; see
    /// [`StreamMetrics::raise`].
    GetRecordsAgeMillis,
    /// Subscriptions that began.
    SubscribeSuccess,
    /// Subscriptions refused for coming too often.
    SubscribeExceeded,
    /// Events pushed.
    EventSuccess,
    /// Keys and data in them, in bytes.
    EventBytes,
    /// Records in them.
    EventRecords,
    /// How far the furthest subscriber was behind, in milliseconds; raised, as the age is.
    EventBehindMillis,
}

impl StreamNumber {
    /// How many there are.
    const COUNT: usize = StreamNumber::EventBehindMillis as usize + 1;
}

/// The numbers of the minute under way and of the one before.
#[derive(Debug, Default)]
struct Minutes {
    gathering: [AtomicU64; StreamNumber::COUNT],
    last: [AtomicU64; StreamNumber::COUNT],
    /// Minutes that are over.
    over: AtomicU64,
}

impl StreamMetrics {
    /// Adds to a number of the minute under way.
    pub fn add(&self, number: StreamNumber, amount: u64) {
        self.gathering(number).fetch_add(amount, Ordering::Relaxed);
    }

    /// Raises a number of the minute under way to at least this.
    pub fn raise(&self, number: StreamNumber, to: u64) {
        self.gathering(number).fetch_max(to, Ordering::Relaxed);
    }

    /// A number of the last minute that is over; none before one is, or where nothing asked for
    /// these numbers.
    pub fn of_last_minute(&self, number: StreamNumber) -> Option<u64> {
        let minutes = self.minutes.get()?;
        let is_any = minutes.over.load(Ordering::Relaxed) > 0;
        is_any.then(|| of(&minutes.last, number).load(Ordering::Relaxed))
    }

    /// Has the numbers by the minute gathered from now on.
    pub fn gather_minutes(&self) {
        self.minutes.get_or_init(Box::default);
    }

    /// Counts what was written. The numbers by the minute have it only where they are gathered.
    pub(crate) fn count_written(&self, records: u64, bytes: u64) {
        self.records_in.add(records);
        self.bytes_in.add(bytes);
        if self.minutes.get().is_some() {
            self.add(StreamNumber::IncomingRecords, records);
            self.add(StreamNumber::IncomingBytes, bytes);
        }
    }

    /// Ends the minute under way, if minutes are gathered.
    pub fn end_minute(&self) {
        let Some(minutes) = self.minutes.get() else { return };
        for (gathering, last) in minutes.gathering.iter().zip(&minutes.last) {
            last.store(gathering.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        minutes.over.fetch_add(1, Ordering::Relaxed);
    }

    fn gathering(&self, number: StreamNumber) -> &AtomicU64 {
        of(&self.minutes.get_or_init(Box::default).gathering, number)
    }
}

fn of(numbers: &[AtomicU64; StreamNumber::COUNT], number: StreamNumber) -> &AtomicU64 {
    numbers.get(number as usize).expect("there is a place for each number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_shown_when_it_is_over_and_only_it() {
        use StreamNumber::{EventBehindMillis, GetRecordsAgeMillis, IncomingRecords};
        let metrics = StreamMetrics::default();
        metrics.count_written(1, 10);
        assert_eq!(metrics.of_last_minute(IncomingRecords), None, "nobody asked");
        metrics.gather_minutes();
        metrics.count_written(2, 20);
        metrics.count_written(3, 30);
        metrics.raise(GetRecordsAgeMillis, 7);
        metrics.raise(GetRecordsAgeMillis, 5);
        assert_eq!(metrics.of_last_minute(IncomingRecords), None, "no minute is over");
        metrics.end_minute();
        assert_eq!(metrics.of_last_minute(IncomingRecords), Some(5));
        assert_eq!(metrics.of_last_minute(GetRecordsAgeMillis), Some(7));
        assert_eq!(metrics.of_last_minute(EventBehindMillis), Some(0));
        metrics.end_minute();
        assert_eq!(metrics.of_last_minute(IncomingRecords), Some(0));
        assert_eq!((metrics.records_in.get(), metrics.bytes_in.get()), (6, 60));
    }
}
