//! What AWS grants one shard, and which streams it holds for.

use std::time::Duration;

use weir_model::time::Moment;

use crate::quota::bucket::TokenBucket;
use crate::stream::stream::{Routing, Stream};

/// Bytes of keys and data that a shard takes in per second: 1 MiB.
pub const WRITE_BYTES_PER_SECOND: f64 = 1024.0 * 1024.0;
/// Records that a shard takes in per second.
pub const WRITE_RECORDS_PER_SECOND: f64 = 1000.0;
/// Bytes that a shard gives out per second to all readers that share it: 2 MiB.
pub const READ_BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;
/// GetRecords calls that a shard answers per second.
pub const READ_CALLS_PER_SECOND: f64 = 5.0;

/// The server's stance on shard quotas (`--quotas`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QuotaPolicy {
    /// As AWS, on streams made by Kinesis; topics made by Kafka have none unless they ask.
    Aws,
    /// None, whatever a stream says.
    Off,
    /// As AWS times this.
    Factor(f64),
}

impl QuotaPolicy {
    /// The multiple of AWS's quotas that holds where no stream says anything; none: no quota.
    pub fn factor(self) -> Option<f64> {
        match self {
            QuotaPolicy::Off => None,
            QuotaPolicy::Aws => Some(1.0),
            QuotaPolicy::Factor(factor) => Some(factor),
        }
    }

    /// The multiple of AWS's quotas that holds for a stream; none: no quota.
    pub fn factor_for(self, stream: &Stream) -> Option<f64> {
        let own = stream.config().quota_factor;
        let server = self.factor()?;
        match (own, stream.routing) {
            (Some(own), _) => Some(own * server),
            (None, Routing::ByHash) => Some(server),
            (None, Routing::ByPartition) => None,
        }
    }
}

/// The buckets of one shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShardQuota {
    factor: f64,
    write_bytes: TokenBucket,
    write_records: TokenBucket,
    read_bytes: TokenBucket,
    read_calls: TokenBucket,
}

impl ShardQuota {
    /// Full buckets of `factor` times AWS's size.
    pub fn new(factor: f64, now: Moment) -> ShardQuota {
        let bucket = |per_second: f64| TokenBucket::new(per_second * factor, now);
        ShardQuota {
            factor,
            write_bytes: bucket(WRITE_BYTES_PER_SECOND),
            write_records: bucket(WRITE_RECORDS_PER_SECOND),
            read_bytes: bucket(READ_BYTES_PER_SECOND),
            read_calls: bucket(READ_CALLS_PER_SECOND),
        }
    }

    /// The multiple of AWS's quotas that these buckets were made for.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// How long until a write is admitted; zero: now.
    pub fn write_wait(&mut self, now: Moment) -> std::time::Duration {
        self.write_bytes.wait(now).max(self.write_records.wait(now))
    }

    /// Charges an admitted write.
    pub fn charge_write(&mut self, bytes: usize, records: usize) {
        self.write_bytes.charge(bytes as f64);
        self.write_records.charge(records as f64);
    }

    /// How long until a read's bytes are admitted; zero: now.
    pub fn read_wait(&mut self, now: Moment) -> std::time::Duration {
        self.read_bytes.wait(now)
    }

    /// How long until a GetRecords call is admitted; zero: now.
    pub fn call_wait(&mut self, now: Moment) -> std::time::Duration {
        self.read_calls.wait(now)
    }

    /// Charges one GetRecords call.
    pub fn charge_call(&mut self) {
        self.read_calls.charge(1.0);
    }

    /// Charges an admitted read.
    pub fn charge_read(&mut self, bytes: usize) {
        self.read_bytes.charge(bytes as f64);
    }

    /// What each of its buckets holds now, to be shown.
    pub fn views(&mut self, now: Moment) -> [BucketView; 4] {
        let view = |kind, bucket: &mut TokenBucket| BucketView {
            kind,
            level: bucket.tokens(now),
            capacity: bucket.capacity(),
            per_second: bucket.per_second(),
            wait: bucket.wait(now),
        };
        [
            view(BucketKind::WriteBytes, &mut self.write_bytes),
            view(BucketKind::WriteRecords, &mut self.write_records),
            view(BucketKind::ReadBytes, &mut self.read_bytes),
            view(BucketKind::ReadCalls, &mut self.read_calls),
        ]
    }
}

/// What one of a shard's buckets holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketView {
    /// What it measures out.
    pub kind: BucketKind,
    /// Its balance, in the kind's unit; negative while in debt.
    pub level: f64,
    /// Most that it holds.
    pub capacity: f64,
    /// What flows in, per second.
    pub per_second: f64,
    /// How long until a request is admitted; zero: now.
    pub wait: Duration,
}

/// What a bucket measures out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketKind {
    /// Bytes written.
    WriteBytes,
    /// Records written.
    WriteRecords,
    /// Bytes read by all that share the shard.
    ReadBytes,
    /// GetRecords calls.
    ReadCalls,
}
