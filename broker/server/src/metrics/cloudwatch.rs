//! What CloudWatch shows of Kinesis streams, as YACE (yet-another-cloudwatch-exporter) spells it:
//! `aws_kinesis_<metric>_<statistic>` with the dimension as label.
//!
//! As there, a value is that of one minute, the last that is over, and a gauge: nothing is shown
//! before the first minute is. Averages, ages and the number behind are left out for a minute in
//! which nobody called. Shown are streams that Kinesis made or was used for.

use weir_core::metrics::stream::{StreamMetrics, StreamNumber};

use crate::metrics::Scrape;
use crate::metrics::exposition::{Exposition, Kind};

/// How a value comes about.
enum Statistic {
    /// The sum over the minute.
    Sum(StreamNumber),
    /// The largest of the minute, if there were any of the second.
    Maximum(StreamNumber, StreamNumber),
    /// Microseconds, shared by as many as the second says, in milliseconds.
    AverageMillis(StreamNumber, StreamNumber),
}

use Statistic::{AverageMillis, Maximum, Sum};

const FAMILIES: [(&str, Statistic); 25] = {
    use StreamNumber::*;
    [
        ("incoming_bytes", Sum(IncomingBytes)),
        ("incoming_records", Sum(IncomingRecords)),
        ("write_provisioned_throughput_exceeded", Sum(WriteExceeded)),
        ("read_provisioned_throughput_exceeded", Sum(ReadExceeded)),
        ("put_record_success", Sum(PutRecordSuccess)),
        ("put_record_bytes", Sum(PutRecordBytes)),
        ("put_record_latency", AverageMillis(PutRecordMicros, PutRecordCalls)),
        ("put_records_success", Sum(PutRecordsSuccess)),
        ("put_records_bytes", Sum(PutRecordsBytes)),
        ("put_records_latency", AverageMillis(PutRecordsMicros, PutRecordsCalls)),
        ("put_records_total_records", Sum(PutRecordsTotal)),
        ("put_records_successful_records", Sum(PutRecordsSuccessful)),
        ("put_records_failed_records", Sum(PutRecordsFailed)),
        ("put_records_throttled_records", Sum(PutRecordsThrottled)),
        ("get_records_success", Sum(GetRecordsSuccess)),
        ("get_records_bytes", Sum(GetRecordsBytes)),
        ("get_records_records", Sum(GetRecordsRecords)),
        ("get_records_latency", AverageMillis(GetRecordsMicros, GetRecordsSuccess)),
        ("get_records_iterator_age_milliseconds", Maximum(GetRecordsAgeMillis, GetRecordsSuccess)),
        ("subscribe_to_shard_success", Sum(SubscribeSuccess)),
        ("subscribe_to_shard_rate_exceeded", Sum(SubscribeExceeded)),
        ("subscribe_to_shard_event_bytes", Sum(EventBytes)),
        ("subscribe_to_shard_event_records", Sum(EventRecords)),
        ("subscribe_to_shard_event_success", Sum(EventSuccess)),
        ("subscribe_to_shard_event_millis_behind_latest", Maximum(EventBehindMillis, EventSuccess)),
    ]
};

pub(super) fn write(out: &mut Exposition, scrape: &Scrape) {
    let account = scrape.broker.options().account_id.as_str();
    for (metric, statistic) in &FAMILIES {
        let name = format!("aws_kinesis_{metric}_{}", statistic.name());
        let help = "As CloudWatch shows it, of the last whole minute";
        let mut family = out.family(Kind::Gauge, &name, help);
        for stream in &scrape.streams {
            if let Some(value) = statistic.of(stream.metrics()) {
                let dimension = ("dimension_StreamName", stream.name.as_str());
                family.sample(&[("account_id", account), dimension], value);
            }
        }
    }
}

impl Statistic {
    fn name(&self) -> &'static str {
        match self {
            Sum(_) => "sum",
            Maximum(..) => "maximum",
            AverageMillis(..) => "average",
        }
    }

    fn of(&self, stream: &StreamMetrics) -> Option<f64> {
        let value = |number: &StreamNumber| stream.of_last_minute(*number);
        match self {
            Sum(number) => Some(value(number)? as f64),
            Maximum(number, calls) => {
                let is_any = value(calls)? > 0;
                is_any.then_some(value(number)? as f64)
            }
            AverageMillis(micros, calls) => {
                let calls = value(calls)?;
                let is_any = calls > 0;
                is_any.then_some(value(micros)? as f64 / calls as f64 / 1e3)
            }
        }
    }
}
