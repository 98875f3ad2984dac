//! How long something took, counted in buckets: cheap enough for every request and every flush.
//!
//! ```text
//!   50 µs │ 100 µs │ 250 µs │ 500 µs │ 1 ms │ … │ 10 s │ longer
//!     n   │   n    │   n    │   n    │  n   │   │  n   │   n         and the sum of all times
//! ```
//!
//! An observation is two relaxed additions; there is no lock and nothing is allocated. A reader
//! takes a copy ([`Histogram::durations`]), in which the number of all observations is the sum of
//! the buckets, so that it agrees with them even while others count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of all buckets but the last, which has none. Ascending.
pub const BOUNDS: [Duration; 16] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// Counts durations. Shared by whoever counts and whoever looks.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration. The sum is right up to 584 years.
    pub fn observe(&self, took: Duration) {
        let index = BOUNDS.partition_point(|bound| *bound < took);
        let bucket = self.buckets.get(index).expect("there is one bucket more than bounds");
        bucket.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn durations(&self) -> Durations {
        Durations {
            counts: std::array::from_fn(|index| {
                self.buckets.get(index).map_or(0, |bucket| bucket.load(Ordering::Relaxed))
            }),
            sum_nanos: self.sum_nanos.load(Ordering::Relaxed),
        }
    }
}

/// What a [`Histogram`] had counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Durations {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// The buckets by their upper bounds, each with the number of durations up to its bound, those
    /// of the buckets before it included. The last has no bound and counts all.
    pub fn cumulated(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }

    /// What was counted after `earlier`, which was copied from the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Durations) -> Durations {
        let mut later = *self;
        for (count, before) in later.counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        later.sum_nanos = later.sum_nanos.saturating_sub(earlier.sum_nanos);
        later
    }

    /// The time within which this part of all (0 to 1) was done: exact to the bucket, and taken as
    /// spread evenly inside it. At most the highest bound; none where nothing was counted.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (part * count as f64).max(1.0);
        let (mut below, mut lower) = (0, Duration::ZERO);
        for (bound, up_to) in self.cumulated() {
            let Some(upper) = bound else { break };
            if up_to as f64 >= rank {
                let share = (rank - below as f64) / (up_to - below) as f64;
                return Some(lower + (upper - lower).mul_f64(share));
            }
            (below, lower) = (up_to, upper);
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[Duration]) -> Histogram {
        let histogram = Histogram::default();
        for took in durations {
            histogram.observe(*took);
        }
        histogram
    }

    #[test]
    fn a_duration_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let (micros, seconds) = (Duration::from_micros, Duration::from_secs);
        for (took, bound) in [
            (Duration::ZERO, Some(micros(50))),
            (micros(50), Some(micros(50))),
            (micros(51), Some(micros(100))),
            (seconds(10), Some(seconds(10))),
            (seconds(11), None),
        ] {
            let counted = of(&[took]).durations();
            let first = counted.cumulated().find(|(_, count)| *count == 1);
            assert_eq!(first, Some((bound, 1)), "{took:?}");
            assert_eq!((counted.count(), counted.sum()), (1, took), "{took:?}");
        }
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS.is_sorted_by(|lower, upper| lower < upper));
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_rank() {
        let millis = Duration::from_millis;
        let mostly_fast = of(&[&[millis(1); 98][..], &[millis(80); 2]].concat()).durations();
        let check = |part, from, to| {
            let found = mostly_fast.quantile(part).expect("something was counted");
            assert!(from < found && found <= to, "{part}: {found:?}");
        };
        check(0.5, Duration::from_micros(500), millis(1));
        check(0.98, Duration::from_micros(500), millis(1));
        check(0.99, millis(50), millis(100));
        check(1.0, millis(50), millis(100));
        assert_eq!(
            of(&[Duration::from_secs(60)]).durations().quantile(0.5),
            BOUNDS.last().copied()
        );
        assert_eq!(Durations::default().quantile(0.5), None);
    }

    #[test]
    fn what_came_later_is_told_apart() {
        let histogram = of(&[Duration::from_millis(1)]);
        let earlier = histogram.durations();
        histogram.observe(Duration::from_millis(3));
        let later = histogram.durations().since(&earlier);
        assert_eq!((later.count(), later.sum()), (1, Duration::from_millis(3)));
        assert_eq!(later, of(&[Duration::from_millis(3)]).durations());
    }
}
