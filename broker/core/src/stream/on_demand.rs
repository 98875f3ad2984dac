//! How on-demand streams grow and shrink by what is written to them.
//!
//! AWS says that an on-demand stream takes in up to double its highest throughput of the last 30
//! days, and not how it comes there. weir's rule, on the broker's clock:
//!
//! - Every ten seconds or more, what was written since the last look is a rate. The highest rate of
//!   each day is remembered for 30 days, in memory; a start counts as a day whose double was what
//!   the stream has.
//! - A stream is to have a shard for each MiB/s and each 1,000 records/s of double its highest
//!   rate, never fewer than 4, nor fewer than the MiB/s of its warm throughput, nor more than 200
//!   but for that.
//! - It is scaled evenly as soon as it has fewer, and when it has at least double.
//!
//! What hinders it (a state that is not ACTIVE, the limit of shards) is tried again a second later.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::{info, warn};
use weir_model::ids::StreamId;
use weir_model::limits::STREAM_PARTITIONS_MAX;
use weir_model::time::{Clock, Moment, Timestamp};

use crate::error::ReshardError;
use crate::log_limit::LogLimit;
use crate::quota::limits::{WRITE_BYTES_PER_SECOND, WRITE_RECORDS_PER_SECOND};
use crate::routing::reshard::Reshard;
use crate::stream::change_over::ScalingLimits;
use crate::stream::mode::StreamMode;
use crate::stream::registry::Registry;
use crate::stream::state::{Passing, State};
use crate::stream::stream::{Routing, Stream};

/// Shards of a new on-demand stream: AWS's 4 MB/s to begin with.
pub const SHARDS_MIN: u32 = 4;
/// Shards that traffic alone makes: AWS's 200 MB/s.
const SHARDS_MAX: u32 = 200;
/// Shards that a stream may have at all.
const PARTITIONS_MAX: u32 = STREAM_PARTITIONS_MAX as u32;
/// Shortest time that a rate is measured over.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a day's highest rate counts, in days.
const DAYS: i64 = 30;
const DAY_S: i64 = 24 * 60 * 60;

/// What was written to a stream since the start.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    bytes: AtomicU64,
    records: AtomicU64,
}

impl Traffic {
    pub(crate) fn count(&self, bytes: usize, records: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    fn totals(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.records.load(Ordering::Relaxed))
    }
}

/// What was seen of one stream.
#[derive(Debug)]
struct Observed {
    looked: Moment,
    totals: (u64, u64),
    /// The shards that each day's highest rate asks for, oldest day first.
    days: VecDeque<(i64, u32)>,
}

impl Observed {
    /// Of a stream that nothing was written to before this moment: its making, or the start. What
    /// was written by the first look is a rate over all the time since.
    fn begun(since: Moment, day: i64, open: u32) -> Observed {
        Observed { looked: since, totals: (0, 0), days: VecDeque::from([(day, open)]) }
    }

    /// Looks at what was written by now.
    fn look(&mut self, now: Moment, day: i64, totals: (u64, u64)) {
        let elapsed = now.since(self.looked);
        if elapsed < WINDOW {
            return;
        }
        let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64;
        let bytes = per_second(totals.0, self.totals.0) / elapsed.as_secs_f64();
        let records = per_second(totals.1, self.totals.1) / elapsed.as_secs_f64();
        let asked =
            (2.0 * bytes / WRITE_BYTES_PER_SECOND).max(2.0 * records / WRITE_RECORDS_PER_SECOND);
        // A float beyond the range becomes the range's end.
        let asked = (asked.ceil() as u32).min(SHARDS_MAX);
        (self.looked, self.totals) = (now, totals);
        match self.days.back_mut() {
            Some((last, shards)) if *last == day => *shards = asked.max(*shards),
            _ => self.days.push_back((day, asked)),
        }
        while self.days.front().is_some_and(|(first, _)| day - first >= DAYS) {
            self.days.pop_front();
        }
    }

    /// How many shards the stream is to have, if it is to have others than it has.
    fn target(&self, open: u32, warm_mib: Option<u64>) -> Option<u32> {
        let by_traffic = self.days.iter().map(|(_, shards)| *shards).max().unwrap_or(0);
        let warm = u32::try_from(warm_mib.unwrap_or(0)).unwrap_or(u32::MAX);
        let target = by_traffic.max(warm).clamp(SHARDS_MIN, PARTITIONS_MAX);
        let is_to_change = target > open || open >= target.saturating_mul(2);
        is_to_change.then_some(target)
    }
}

/// Scales the on-demand streams of a broker.
#[derive(Debug, Default)]
pub(crate) struct Scaler {
    observed: HashMap<StreamId, Observed>,
    log: LogLimit,
}

impl Scaler {
    /// Looks at all on-demand streams and scales those that are to have other shards. `updating`
    /// is what a stream passes through meanwhile.
    pub(crate) async fn run(
        &mut self,
        registry: &Arc<Registry>,
        clock: &dyn Clock,
        updating: impl Fn() -> Option<Passing>,
    ) {
        // Partitions that Kafka's clients choose are theirs to add.
        let is_on_demand = |stream: &Arc<Stream>| {
            stream.routing == Routing::ByHash && stream.config().mode == StreamMode::OnDemand
        };
        let streams: Vec<_> = registry.all().into_iter().filter(is_on_demand).collect();
        self.observed.retain(|id, _| streams.iter().any(|stream| stream.id == *id));
        for stream in streams {
            let (now, date) = (clock.moment(), clock.now());
            let open = u32::try_from(stream.layout().current().open.count()).unwrap_or(u32::MAX);
            let (day, totals) = (date.as_seconds().div_euclid(DAY_S), stream.traffic.totals());
            let begun = || Observed::begun(counted_since(stream.created, date, now), day, open);
            let observed = self.observed.entry(stream.id).or_insert_with(begun);
            observed.look(now, day, totals);
            let warm_mib = stream.attributes().warm_throughput_mib;
            let Some(target) = observed.target(open, warm_mib) else { continue };
            if stream.state(date) != State::Active {
                continue;
            }
            let wanted = Reshard::Scale { partitions: target };
            let scaled = registry.reshard(stream.id, wanted, ScalingLimits::Off, updating()).await;
            self.tell(&stream, open, target, scaled.err(), clock);
        }
    }

    fn tell(
        &self,
        stream: &Stream,
        open: u32,
        target: u32,
        failed: Option<ReshardError>,
        clock: &dyn Clock,
    ) {
        match failed {
            None => info!(stream = %stream.name, open, target, "on-demand stream scaled"),
            Some(error) => {
                if let Some(unsaid) = self.log.admit(clock.now()) {
                    warn!(stream = %stream.name, open, target, ?error, unsaid,
                        "on-demand stream not scaled, tried again");
                }
            }
        }
    }
}

/// Since when the traffic of a stream is counted: since it was made, or since the start.
fn counted_since(created: Timestamp, date: Timestamp, now: Moment) -> Moment {
    let age_ms = u64::try_from(date.millis_since(created)).unwrap_or(0);
    Moment::from_start(now.since_start().saturating_sub(Duration::from_millis(age_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_stream_has_room_for_double_its_highest_rate() {
        let mut observed = Observed::begun(at(0), 0, 4);
        assert_eq!(observed.target(4, None), None);
        observed.look(at(9), 0, (90 * MIB, 0));
        assert_eq!(observed.target(4, None), None, "not yet ten seconds");
        observed.look(at(10), 0, (35 * MIB, 0));
        assert_eq!(observed.target(4, None), Some(7), "double 3.5 MiB/s");
        assert_eq!(observed.target(7, None), None);
        observed.look(at(20), 0, (35 * MIB, 41_000));
        assert_eq!(observed.target(7, None), Some(9), "double 4,100 records/s");
        observed.look(at(30), 0, (100_000 * MIB, 41_000));
        assert_eq!(observed.target(9, None), Some(SHARDS_MAX));
    }

    #[test]
    fn what_was_written_before_the_first_look_counts_over_the_time_it_took() {
        let date = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let since = counted_since(date(1_000), date(1_012), at(100));
        assert_eq!(since, at(88), "it was made twelve seconds ago");
        assert_eq!(counted_since(date(0), date(1_012), at(100)), at(0), "before the start");
        assert_eq!(counted_since(date(1_013), date(1_012), at(100)), at(100), "the date went back");
        let mut observed = Observed::begun(at(88), 0, 4);
        observed.look(at(100), 0, (72 * MIB, 0));
        assert_eq!(observed.target(4, None), Some(12), "double 6 MiB/s");
        // A stream that was written to for a day before it became an on-demand stream.
        let mut observed = Observed::begun(at(0), 0, 4);
        observed.look(at(86_400), 0, (86_400 * MIB, 0));
        assert_eq!(observed.target(4, None), None, "1 MiB/s");
    }

    #[test]
    fn it_shrinks_when_thirty_days_have_passed_and_keeps_what_was_asked_for() {
        let mut observed = Observed::begun(at(0), 0, 16);
        observed.look(at(86_400), 29, (0, 0));
        assert_eq!(observed.target(16, None), None, "the start counts");
        observed.look(at(172_800), 30, (0, 0));
        assert_eq!(observed.target(16, None), Some(SHARDS_MIN));
        assert_eq!(observed.target(16, Some(10)), None, "less than double");
        assert_eq!(observed.target(16, Some(300)), Some(300));
        assert_eq!(observed.target(16, Some(10_240)), Some(10_000), "what a stream may have");
        assert_eq!(observed.target(7, None), None, "less than double");
    }
}
