//! What one connection counted, and how counts of several become one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use weir_model::time::Moment;

/// Longest latency that is told apart; what took longer counts as this long.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// The counts of one connection or of all together.
#[derive(Debug)]
pub(super) struct Tally {
    /// Records acknowledged or read.
    pub(super) records: u64,
    /// Bytes of their values.
    pub(super) value_bytes: u64,
    /// Requests answered.
    pub(super) requests: u64,
    /// Records or requests refused because of a quota; they were sent again.
    pub(super) throttled: u64,
    /// Errors that the broker answered with, by name.
    pub(super) errors: BTreeMap<String, u64>,
    /// Time from sending a request to having its answer, in microseconds.
    pub(super) latency_micros: Histogram<u64>,
    /// When the first request was sent, and when the last answer came.
    span: Option<(Moment, Moment)>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        let micros_max = u64::try_from(LATENCY_MAX.as_micros()).expect("two minutes fit");
        Tally {
            records: 0,
            value_bytes: 0,
            requests: 0,
            throttled: 0,
            errors: BTreeMap::new(),
            latency_micros: Histogram::new_with_max(micros_max, 3)
                .expect("the range and three digits are legal"),
            span: None,
        }
    }

    /// Counts an answer, whatever it says.
    pub(super) fn answered(&mut self, sent: Moment, now: Moment) {
        self.requests += 1;
        let micros = u64::try_from(now.since(sent).as_micros()).unwrap_or(u64::MAX);
        self.latency_micros.saturating_record(micros);
        self.extend_span(sent, now);
    }

    /// Counts errors of one kind.
    pub(super) fn failed(&mut self, error: String, count: u64) {
        *self.errors.entry(error).or_default() += count;
    }

    /// Adds another connection's counts to these.
    pub(super) fn merge(&mut self, other: &Tally) {
        self.records += other.records;
        self.value_bytes += other.value_bytes;
        self.requests += other.requests;
        self.throttled += other.throttled;
        for (error, count) in &other.errors {
            self.failed(error.clone(), *count);
        }
        self.latency_micros.add(&other.latency_micros).expect("all tallies have the same range");
        if let Some((first, last)) = other.span {
            self.extend_span(first, last);
        }
    }

    /// Time from the first request sent to the last answer.
    pub(super) fn elapsed(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last.since(first))
    }

    fn extend_span(&mut self, sent: Moment, now: Moment) {
        let (first, last) = self.span.unwrap_or((sent, now));
        self.span = Some((first.min(sent), last.max(now)));
    }
}

/// The records that are still to be written, shared by all connections.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    pub(super) fn new(records: u64) -> Budget {
        Budget(AtomicU64::new(records))
    }

    /// Takes up to `wanted` records; 0 when none are left.
    pub(super) fn take(&self, wanted: u64) -> u64 {
        let mut left = self.0.load(Ordering::Relaxed);
        loop {
            let taken = left.min(wanted);
            let rest = left - taken;
            match self.0.compare_exchange_weak(left, rest, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(now) => left = now,
            }
        }
    }

    /// How many are left.
    pub(super) fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives back records that were refused, to be sent again.
    pub(super) fn give_back(&self, records: u64) {
        self.0.fetch_add(records, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn merged_tallies_span_from_the_first_request_to_the_last_answer() {
        let (mut one, mut other, mut all) = (Tally::new(), Tally::new(), Tally::new());
        one.answered(moment(100), moment(110));
        one.failed("X".to_owned(), 1);
        other.answered(moment(50), moment(60));
        other.answered(moment(60), moment(300));
        other.failed("X".to_owned(), 2);
        all.merge(&one);
        all.merge(&other);
        assert_eq!(all.elapsed(), Duration::from_millis(250));
        assert_eq!(all.requests, 3);
        assert_eq!(all.errors.get("X"), Some(&3));
        assert_eq!(all.latency_micros.len(), 3);
    }

    #[test]
    fn a_budget_is_spent_once() {
        let budget = Budget::new(100);
        assert_eq!(budget.take(64), 64);
        assert_eq!(budget.take(64), 36);
        assert_eq!(budget.take(64), 0);
        budget.give_back(5);
        assert_eq!(budget.take(64), 5);
    }
}
