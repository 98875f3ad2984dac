//! How many partitions a client may create and delete, and what one request has used (KIP-599).
//!
//! The allowance is a bucket that holds as much as all samples of a rate would and goes into debt:
//! what is asked for while there is no debt is done, however much it is. A client that knows of
//! refusals is refused what it asks for while in debt. Others never are; their requests are charged
//! in any case, and they have to pause.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use weir_model::time::Moment;

use crate::quota::bucket::TokenBucket;
use crate::quota::client_limits::Client;
use crate::quota::client_quotas::ClientQuotas;

/// What becomes of a request that is over its quota.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OverQuota {
    /// It is refused.
    Refused,
    /// It is carried out, and its client has to pause.
    CarriedOut,
}

/// The allowance of one request that creates or deletes partitions.
#[derive(Debug)]
pub struct MutationQuota {
    quotas: Arc<ClientQuotas>,
    user: String,
    client_id: String,
    over_quota: OverQuota,
    /// The longest that was asked for so far.
    pause: Mutex<Duration>,
}

impl MutationQuota {
    pub(super) fn new(
        quotas: Arc<ClientQuotas>,
        client: Client<'_>,
        over_quota: OverQuota,
    ) -> MutationQuota {
        MutationQuota {
            quotas,
            user: client.user.to_owned(),
            client_id: client.id.to_owned(),
            over_quota,
            pause: Mutex::default(),
        }
    }

    /// Charges for so many partitions. An error is how long to wait before asking again; nothing
    /// was charged then.
    pub fn charge(&self, partitions: usize) -> Result<(), Duration> {
        let client = Client { user: &self.user, id: &self.client_id };
        let charged = self.quotas.charge_mutation(client, partitions, self.over_quota);
        let pause = charged.unwrap_or_else(|pause| pause);
        let mut longest = self.pause.lock();
        *longest = pause.max(*longest);
        charged.map(|_| ())
    }

    /// How long the client has to pause for what was asked so far.
    pub fn pause(&self) -> Duration {
        *self.pause.lock()
    }
}

/// Charges a bucket. Returns the pause that its debt deserves, as an error where it was not
/// charged.
pub(super) fn charge(
    bucket: &mut TokenBucket,
    (amount, limit): (f64, f64),
    over_quota: OverQuota,
    now: Moment,
) -> Result<Duration, Duration> {
    let debt_pause = |bucket: &mut TokenBucket| {
        let debt = (-bucket.tokens(now)).max(0.0);
        let pause_ms = (debt / limit * 1000.0).round().min(i32::MAX as f64);
        Duration::from_millis(pause_ms as u64)
    };
    match over_quota {
        OverQuota::Refused if bucket.tokens(now) < 0.0 => Err(debt_pause(bucket)),
        OverQuota::Refused => {
            bucket.charge(amount);
            Ok(Duration::ZERO)
        }
        OverQuota::CarriedOut => {
            bucket.charge(amount);
            Ok(debt_pause(bucket))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    /// The figures are those of `org.apache.kafka.common.metrics.stats.TokenBucket` of the pinned
    /// version for the same events: a rate of 5 and eleven samples of a second.
    #[test]
    fn debts_and_pauses_are_kafkas() {
        let mut bucket = TokenBucket::holding(5.0, 55.0, at(0));
        let refused = |pause_ms| Err(Duration::from_millis(pause_ms));
        let done = |pause_ms| Ok(Duration::from_millis(pause_ms));
        use OverQuota::{CarriedOut, Refused};
        for (millis, amount, over_quota, expected) in [
            (0, 30.0, Refused, done(0)),
            (100, 25.0, Refused, done(0)),
            (200, 1.0, Refused, done(0)),
            (300, 10.0, Refused, done(0)),
            (1_000, 10.0, Refused, refused(1_200)),
            (1_000, 10.0, Refused, refused(1_200)),
            (1_000, 3.0, CarriedOut, done(1_800)),
        ] {
            let charged = charge(&mut bucket, (amount, 5.0), over_quota, at(millis));
            assert_eq!(charged, expected, "{amount} at {millis} ms");
        }
    }
}
