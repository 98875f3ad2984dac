//! How often something was done within the last day, for what AWS grants so many times in 24 hours.

use weir_model::time::Timestamp;

const DAY_MS: i64 = 86_400_000;
/// More than AWS grants of anything in a day.
const REMEMBERED_MAX: usize = 100;

/// The times at which something was done, those of the last day; ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RollingCount(Vec<Timestamp>);

impl RollingCount {
    /// How often it was done in the day before now.
    pub(crate) fn within_a_day(&self, now: Timestamp) -> usize {
        self.0.iter().filter(|time| now.millis_since(**time) < DAY_MS).count()
    }

    /// Remembers that it was done now, and forgets what is a day ago, and what no limit looks back
    /// at: with the limits off it may be done without end.
    pub(crate) fn add(&mut self, now: Timestamp) {
        self.0.retain(|time| now.millis_since(*time) < DAY_MS);
        self.0.drain(..self.0.len().saturating_sub(REMEMBERED_MAX - 1));
        self.0.push(now);
    }

    pub(super) fn to_row(&self) -> Vec<i64> {
        self.0.iter().map(|time| time.as_millis()).collect()
    }

    pub(super) fn of_row(row: Vec<i64>) -> RollingCount {
        RollingCount(row.into_iter().map(Timestamp::from_millis).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_without_end_does_not_grow() {
        let mut count = RollingCount::default();
        for time in 0..1_000 {
            count.add(Timestamp::from_millis(time));
        }
        assert_eq!(count.to_row().len(), REMEMBERED_MAX);
        assert_eq!(count.to_row().last(), Some(&999));
    }

    #[test]
    fn what_is_a_day_ago_counts_no_more() {
        let mut count = RollingCount::default();
        let at = Timestamp::from_millis;
        count.add(at(0));
        count.add(at(1));
        assert_eq!(count.within_a_day(at(DAY_MS - 1)), 2);
        assert_eq!(count.within_a_day(at(DAY_MS)), 1);
        count.add(at(DAY_MS));
        assert_eq!(count.to_row(), [1, DAY_MS]);
    }
}
