//! How often operations may be called: AWS's rates of its control plane, and of GetShardIterator.
//!
//! A rate is part of an operation's row ([`Action::rate`]) and holds for the account, for one
//! stream or for one shard. Like the shards' quotas it is a bucket that holds one second's worth
//! and goes into debt, so what is let through is exact in the long run and at most twice the rate
//! and one call in the first second. It comes and goes with the quotas (`--quotas`): account-wide
//! rates with the server's stance, the others with the stream's own setting too. Who is over is
//! told so and not delayed, as in AWS: SDKs wait and try again.

use std::collections::HashMap;

use parking_lot::Mutex;
use weir_core::quota::bucket::TokenBucket;
use weir_core::quota::limits::QuotaPolicy;
use weir_core::stream::stream::Stream;
use weir_model::ids::{PartitionIndex, StreamId};
use weir_model::time::Moment;

use crate::action::{Action, Call};
use crate::errors::KinesisError;
use crate::resource_reference::find_subject;
use crate::shard::ShardId;
use crate::stream_reference::stream_name;

/// Buckets that are kept before those that are full again are dropped.
const BUCKETS_KEPT: usize = 1024;

/// What an operation's calls count against, in calls a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum CallRate {
    /// Nothing here: AWS publishes no rate, or the shard's own quotas hold.
    Unlimited,
    /// All calls of the account.
    Account(f64),
    /// The calls about one stream.
    Stream(f64),
    /// The calls about one shard.
    Shard(f64),
}

/// Whose calls a bucket counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Counted {
    operation: &'static str,
    stream: Option<StreamId>,
    shard: Option<PartitionIndex>,
}

/// The buckets of all operations.
#[derive(Debug, Default)]
pub(crate) struct CallRates {
    /// A sync lock, held for one look.
    buckets: Mutex<HashMap<Counted, TokenBucket>>,
}

impl CallRates {
    /// Charges a call, if there is a token left.
    fn admits(&self, counted: Counted, per_second: f64, now: Moment) -> bool {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS_KEPT && !buckets.contains_key(&counted) {
            // A full bucket is as good as a new one.
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = buckets.entry(counted).or_insert_with(|| TokenBucket::new(per_second, now));
        bucket.resize(per_second, per_second, now);
        let admits = bucket.admits(now);
        if admits {
            bucket.charge(1.0);
        }
        admits
    }
}

/// Charges a call whose members are in order.
pub(crate) fn charge(call: &Call<'_>, action: &Action) -> Result<(), KinesisError> {
    if action.rate == CallRate::Unlimited || call.broker().options().quotas == QuotaPolicy::Off {
        return Ok(());
    }
    let stream = find_subject(call).map(|found| found.stream);
    let Some((counted, per_second)) = limit(call, action, stream.as_deref()) else {
        return Ok(());
    };
    let now = call.broker().clock().moment();
    if call.service.call_rates.admits(counted, per_second, now) {
        return Ok(());
    }
    let name = stream.as_ref().map(|stream| stream.name.as_str());
    let name = name.or_else(|| stream_name(&call.input).ok());
    Err(match (counted.shard, name) {
        (Some(shard), Some(name)) => {
            KinesisError::shard_rate_exceeded(ShardId(shard), name, call.account())
        }
        (_, name) => KinesisError::call_rate_exceeded(name, call.account()),
    })
}

/// What a call counts against, and how many of them there may be a second. What is not there has no
/// rate: the operation says so.
fn limit(call: &Call<'_>, action: &Action, stream: Option<&Stream>) -> Option<(Counted, f64)> {
    let whole = Counted { operation: action.name, stream: None, shard: None };
    let of_stream = |stream: &Stream, rate: f64| {
        let factor = call.broker().quota_factor(stream)?;
        Some((Counted { stream: Some(stream.id), ..whole }, rate * factor))
    };
    match action.rate {
        CallRate::Unlimited => None,
        CallRate::Account(rate) => Some((whole, rate * call.broker().options().quotas.factor()?)),
        CallRate::Stream(rate) => of_stream(stream?, rate),
        CallRate::Shard(rate) => {
            let shard = ShardId::parse(call.input.text("ShardId")?).ok()?;
            let index = stream?.partition(shard.0)?.id.index;
            let (counted, per_second) = of_stream(stream?, rate)?;
            Some((Counted { shard: Some(index), ..counted }, per_second))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::json;
    use weir_core::quota::limits::QuotaPolicy;

    /// How many of so many calls made at once are let through.
    async fn admitted(harness: &Harness, operation: &str, input: serde_json::Value) -> usize {
        let mut admitted = 0;
        for _ in 0..60 {
            admitted += usize::from(harness.call(operation, input.clone()).await.0 == 200);
        }
        admitted
    }

    #[tokio::test]
    async fn calls_of_the_account_are_admitted_at_their_rate() {
        let harness = Harness::with_quotas(QuotaPolicy::Aws).await;
        for (seconds, expected) in [(0, 5), (1, 5), (10, 5)] {
            harness.advance_ms(seconds * 1000);
            assert_eq!(admitted(&harness, "ListStreams", json!({})).await, expected);
        }
        let error = harness.error("ListStreams", json!({})).await;
        let text = format!("Rate exceeded for account {ACCOUNT}.");
        assert_eq!(error, ("LimitExceeded".to_owned(), text));
        assert_eq!(admitted(&harness, "DescribeLimits", json!({})).await, 1, "each has its own");
        let error = harness.error("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        assert_eq!(error.0, "ResourceNotFound");
    }

    #[tokio::test]
    async fn calls_about_a_stream_and_a_shard_have_rates_of_their_own() {
        let harness = Harness::with_quotas(QuotaPolicy::Factor(2.0)).await;
        harness.create_stream("s", 2).await;
        harness.create_stream("t", 1).await;
        let arn = |name: &str| format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/{name}");
        for name in ["s", "t"] {
            let input = json!({"StreamARN": arn(name)});
            assert_eq!(admitted(&harness, "ListStreamConsumers", input).await, 10, "{name}");
        }
        let iterator = |shard: &str| {
            let kind = "TRIM_HORIZON";
            json!({"StreamName": "s", "ShardId": shard, "ShardIteratorType": kind})
        };
        for shard in ["0", "1"] {
            assert_eq!(admitted(&harness, "GetShardIterator", iterator(shard)).await, 10);
        }
        let error = harness.error("GetShardIterator", iterator("0")).await;
        let text = format!(
            "Rate exceeded for shard shardId-000000000000 in stream s under account {ACCOUNT}."
        );
        assert_eq!(error, ("ProvisionedThroughputExceeded".to_owned(), text));
        let summary = json!({"StreamName": "s"});
        assert_eq!(admitted(&harness, "DescribeStreamSummary", summary.clone()).await, 40);
        let error = harness.error("DescribeStreamSummary", summary).await;
        assert_eq!(error.1, format!("Rate exceeded for stream s under account {ACCOUNT}."));
    }

    #[tokio::test]
    async fn without_quotas_there_are_no_rates() {
        let harness = Harness::new().await;
        assert_eq!(admitted(&harness, "ListStreams", json!({})).await, 60);
    }
}
