//! Where a record stands in its partition.

use std::fmt;

/// Position of a record in one partition. Dense at append; compaction leaves gaps. Never negative:
/// Kafka's -1 and -2 are requests ("latest", "earliest") and become `StartAt` in the dialect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(u64);

/// Highest offset: Kinesis sequence numbers have 43 bits for it (8.8 × 10¹² records a partition).
pub const OFFSET_MAX: u64 = (1 << 43) - 1;

/// A negative number where an offset was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegativeOffset(pub i64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Offset = Offset(0);

    /// The offset with this number.
    pub const fn new(number: u64) -> Offset {
        Offset(number)
    }

    /// The offset's number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The offset as the Kafka protocol sends it.
    pub const fn as_i64(self) -> i64 {
        // An append past OFFSET_MAX is refused, so the sign bit is never set.
        self.0.cast_signed()
    }

    /// The offset `count` records later; saturates far above [`OFFSET_MAX`].
    #[must_use]
    pub const fn plus(self, count: u64) -> Offset {
        Offset(self.0.saturating_add(count))
    }

    /// The next record's offset.
    #[must_use]
    pub const fn next(self) -> Offset {
        self.plus(1)
    }

    /// How many offsets lie from `earlier` up to this one; 0 if `earlier` is not earlier.
    pub const fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl TryFrom<i64> for Offset {
    type Error = NegativeOffset;

    fn try_from(raw: i64) -> Result<Offset, NegativeOffset> {
        u64::try_from(raw).map(Offset).map_err(|_| NegativeOffset(raw))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_are_not_offsets() {
        assert_eq!(Offset::try_from(-1), Err(NegativeOffset(-1)));
        assert_eq!(Offset::try_from(0), Ok(Offset::ZERO));
        assert_eq!(Offset::new(5).since(Offset::new(2)), 3);
        assert_eq!(Offset::new(2).since(Offset::new(5)), 0);
    }
}
