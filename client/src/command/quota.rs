//! `weir quota`: what the quotas of a stream's partitions let in and out now.

use clap::Args;
use serde_json::{Value, json};

use crate::command::Common;
use crate::command::complete;
use crate::command::output::{Failure, Output, Printer, table};
use crate::inspect::{Bucket, PartitionPlace, ShowBucketsResponse, bucket};

/// Options of `quota`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  weir quota clicks                               of all partitions that take records
  weir quota clicks 0 -o jsonl
  weir topic alter orders --set weir.quota.factor=1   holds a topic to AWS's quotas")]
pub struct QuotaOptions {
    #[command(flatten)]
    pub(super) common: Common,

    /// The topic or stream
    #[arg(add = complete::streams())]
    name: String,

    /// Only this partition
    partition: Option<u32>,
}

impl QuotaOptions {
    pub(crate) async fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        let client = self.common.client("show token buckets")?;
        let stream = client.admin().describe_stream(&self.name).await?;
        let open = stream.partitions.iter().filter(|partition| partition.is_open);
        let partitions: Vec<_> = match self.partition {
            Some(partition) => vec![partition],
            None => open.map(|partition| partition.index).collect(),
        };
        let (inspector, mut rows) = (client.inspector(), Vec::new());
        for partition in partitions {
            let of = PartitionPlace { stream: self.name.clone(), partition };
            let found = inspector.buckets(&of).await?;
            if printer.output != Output::Text {
                printer.result(&object(&of, &found), String::new)?;
                continue;
            }
            for bucket in &found.buckets {
                let mut row = vec![partition.to_string()];
                row.extend(bucket_row(bucket));
                rows.push(row);
            }
        }
        if printer.output != Output::Text {
            return Ok(());
        }
        if rows.is_empty() {
            return printer.raw(format!("{} has no quotas\n", self.name).as_bytes());
        }
        let mut heading = vec!["PARTITION"];
        heading.extend(BUCKET_HEADING);
        printer.raw(table(&heading, &rows).as_bytes())
    }
}

fn object(of: &PartitionPlace, found: &ShowBucketsResponse) -> Value {
    json!({
        "name": of.stream,
        "partition": of.partition,
        "factor": found.factor,
        "buckets": found.buckets.iter().map(bucket_object).collect::<Vec<_>>(),
    })
}

/// What stands above [`bucket_row`]s.
pub(crate) const BUCKET_HEADING: [&str; 6] =
    ["QUOTA", "PER SECOND", "HOLDS", "LEVEL", "FULL", "STATE"];

/// A bucket in a table.
pub(crate) fn bucket_row(bucket: &Bucket) -> Vec<String> {
    let state = match bucket.wait_ms {
        0 => "open".to_owned(),
        wait_ms => format!("throttled, again in {wait_ms} ms"),
    };
    let full = if bucket.capacity > 0.0 { bucket.level / bucket.capacity * 100.0 } else { 0.0 };
    vec![
        kind_name(bucket.kind()).replace('_', " "),
        format!("{:.0}", bucket.per_second),
        format!("{:.0}", bucket.capacity),
        format!("{:.0}", bucket.level),
        format!("{full:.0} %"),
        state,
    ]
}

/// A bucket as JSON has it.
pub(crate) fn bucket_object(bucket: &Bucket) -> Value {
    json!({
        "kind": kind_name(bucket.kind()),
        "level": bucket.level,
        "capacity": bucket.capacity,
        "per_second": bucket.per_second,
        "debt": bucket.debt,
        "wait_ms": bucket.wait_ms,
    })
}

fn kind_name(kind: bucket::Kind) -> &'static str {
    match kind {
        bucket::Kind::WriteBytes => "write_bytes",
        bucket::Kind::WriteRecords => "write_records",
        bucket::Kind::ReadBytes => "read_bytes",
        bucket::Kind::ReadCalls => "read_calls",
        bucket::Kind::Unspecified => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_says_how_full_it_is_and_when_it_lets_something_in() {
        let kind = bucket::Kind::WriteRecords.into();
        let full =
            Bucket { kind, level: 1e3, capacity: 1e3, per_second: 1e3, debt: 0.0, wait_ms: 0 };
        let owing = Bucket { level: -500.0, debt: 500.0, wait_ms: 500, ..full };
        let expected = ["write records", "1000", "1000", "1000", "100 %", "open"];
        assert_eq!(bucket_row(&full), expected);
        let expected =
            ["write records", "1000", "1000", "-500", "-50 %", "throttled, again in 500 ms"];
        assert_eq!(bucket_row(&owing), expected);
    }
}
