//! A rate over the last seconds, and how long who exceeds it has to pause: Kafka's arithmetic.
//!
//! ```text
//!            count (11) samples of length (1 s) each; the last one is still being filled
//!   ├────┼────┼────┼────┼────┼────┼────┼────┼────┼────┼──┤ now
//!   rate = amounts in them ÷ (count - 1 whole samples + the begun part of the last)
//! ```
//!
//! Whoever was still for the whole time begins with ten seconds' worth at once. A violation is
//! answered by the pause after which the same amounts, over a span that much longer, are within the
//! limit. The figures that clients see are Kafka's to the millisecond, so the samples are, too:
//! a token bucket of the same rate would give other ones.

use std::collections::VecDeque;
use std::time::Duration;

use weir_model::time::Moment;

use crate::settings::broker_settings::QuotaWindow;

/// The longest pause that an answer can announce: its field has 31 bits of milliseconds.
const PAUSE_MS_MAX: f64 = i32::MAX as f64;

#[derive(Clone, Copy, Debug)]
struct Sample {
    begun: Moment,
    last_event: Moment,
    amount: f64,
}

/// What was recorded lately, oldest first.
#[derive(Clone, Debug, Default)]
pub struct SampledRate {
    samples: VecDeque<Sample>,
}

impl SampledRate {
    /// Counts an amount; a negative one takes back what was counted before.
    pub fn record(&mut self, amount: f64, now: Moment, window: QuotaWindow) {
        match self.samples.back_mut() {
            Some(sample) if now.since(sample.begun) < window.length => {
                sample.amount += amount;
                sample.last_event = now;
            }
            _ => self.samples.push_back(Sample { begun: now, last_event: now, amount }),
        }
        self.forget(now, window);
    }

    /// How long who may have `limit` per second has to pause; zero while it keeps to it.
    pub fn pause(&mut self, limit: f64, now: Moment, window: QuotaWindow) -> Duration {
        self.forget(now, window);
        let span = self.measured_span(now, window).as_secs_f64();
        let rate = self.samples.iter().map(|sample| sample.amount).sum::<f64>() / span;
        if rate <= limit {
            return Duration::ZERO;
        }
        let pause_ms = ((rate - limit) / limit * span * 1000.0).round();
        Duration::from_millis(pause_ms.min(PAUSE_MS_MAX) as u64)
    }

    /// Whether nothing that was recorded counts any more.
    pub fn is_idle(&mut self, now: Moment, window: QuotaWindow) -> bool {
        self.forget(now, window);
        self.samples.is_empty()
    }

    fn forget(&mut self, now: Moment, window: QuotaWindow) {
        let is_old = |sample: &Sample| now.since(sample.last_event) >= window.span();
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    /// The time since the oldest sample began, filled up to one sample less than are kept: else
    /// the first request after a rest would look like a rate beyond all limits.
    fn measured_span(&self, now: Moment, window: QuotaWindow) -> Duration {
        let elapsed = self.samples.front().map_or(Duration::ZERO, |first| now.since(first.begun));
        let whole = elapsed.as_nanos() / window.length.as_nanos().max(1);
        let missing = u128::from(window.count).saturating_sub(1).saturating_sub(whole);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        (elapsed + window.length * missing).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: QuotaWindow = QuotaWindow { count: 11, length: Duration::from_secs(1) };

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    fn recorded(events: &[(u64, f64)]) -> SampledRate {
        let mut rate = SampledRate::default();
        for (millis, amount) in events {
            rate.record(*amount, at(*millis), WINDOW);
        }
        rate
    }

    /// The figures are what `org.apache.kafka.common.metrics.stats.Rate` and
    /// `QuotaUtils.throttleTime` of the pinned version give for the same events.
    #[test]
    fn pauses_are_kafkas_to_the_millisecond() {
        for (events, now, limit, pause_ms) in [
            (&[(0, 500.0)][..], 0, 100.0, 0),
            (&[(0, 1_000.0)], 0, 100.0, 0),
            (&[(0, 1_500.0)], 0, 100.0, 5_000),
            (&[(0, 1_000.0), (500, 500.0)], 500, 100.0, 4_500),
            (&[(0, 1_000.0), (1_200, 1_000.0)], 1_200, 100.0, 9_800),
            (&[(0, 1_000.0), (5_000, 300.0), (10_500, 10.0)], 10_500, 100.0, 2_600),
            (&[(0, 1_000.0), (5_000, 300.0), (11_000, 10.0)], 11_000, 10.0, 21_000),
            (&[(0, 333.0)], 0, 7.0, 37_571),
        ] {
            let pause = recorded(events).pause(limit, at(now), WINDOW);
            assert_eq!(pause, Duration::from_millis(pause_ms), "{events:?}");
        }
    }

    #[test]
    fn what_is_as_old_as_all_samples_counts_no_more() {
        let mut rate = recorded(&[(0, 5_000.0)]);
        assert!(!rate.pause(100.0, at(10_999), WINDOW).is_zero());
        assert!(!rate.is_idle(at(10_999), WINDOW));
        assert!(rate.pause(100.0, at(11_000), WINDOW).is_zero());
        assert!(rate.is_idle(at(11_000), WINDOW));
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let mut rate = recorded(&[(0, 900.0), (10, 5_000.0), (10, -5_000.0)]);
        assert!(rate.pause(100.0, at(10), WINDOW).is_zero());
    }

    #[test]
    fn who_pauses_as_told_keeps_to_the_limit_in_the_long_run() {
        let (limit, size) = (1_000.0, 700.0);
        let (mut rate, mut now, mut amount) = (SampledRate::default(), 0, 0.0);
        while now < 600_000 {
            rate.record(size, at(now), WINDOW);
            amount += size;
            let pause = rate.pause(limit, at(now), WINDOW);
            now += 1 + u64::try_from(pause.as_millis()).unwrap();
        }
        let per_second = amount / (now as f64 / 1000.0);
        assert!((0.95..1.05).contains(&(per_second / limit)), "{per_second} a second");
    }

    #[test]
    fn memory_is_bounded_by_the_number_of_samples() {
        let mut rate = SampledRate::default();
        for millis in (0..1_000_000).step_by(100) {
            rate.record(1.0, at(millis), WINDOW);
            assert!(rate.samples.len() <= 12);
        }
    }

    #[test]
    fn a_pause_fits_the_field_that_announces_it() {
        let pause = recorded(&[(0, 1e18)]).pause(1e-9, at(0), WINDOW);
        assert_eq!(pause.as_millis(), u128::from(i32::MAX.unsigned_abs()));
    }
}
