//! Kinesis hash keys: where a partition key lands among a stream's shards.
//!
//! The key space is 0 to 2^128 - 1. A partition key hashes to the MD5 of its bytes, read as a
//! big-endian number; an explicit hash key is written in decimal. Every open shard owns one
//! inclusive range, and the ranges of a stream's open shards tile the space. MD5 is what AWS
//! routes by; nothing here relies on it being hard to break.

use std::fmt;
use std::str::FromStr;

use md5::{Digest, Md5};

/// A point in the key space of a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HashKey(pub u128);

impl HashKey {
    /// The first key.
    pub const MIN: HashKey = HashKey(0);
    /// The last key, 2^128 - 1.
    pub const MAX: HashKey = HashKey(u128::MAX);

    /// The key that AWS gives to a record with this partition key.
    pub fn of_partition_key(partition_key: &[u8]) -> HashKey {
        HashKey(u128::from_be_bytes(Md5::digest(partition_key).into()))
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Why a text is not a hash key. Kinesis answers the two differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHashKey {
    /// It does not match `0|[1-9]\d{0,38}`.
    Malformed,
    /// It is a number of at most 39 digits, but above 2^128 - 1.
    OutOfRange,
}

impl FromStr for HashKey {
    type Err = InvalidHashKey;

    fn from_str(text: &str) -> Result<HashKey, InvalidHashKey> {
        let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = text.len() > 1 && text.starts_with('0');
        if !digits_only || leading_zero || text.len() > 39 {
            return Err(InvalidHashKey::Malformed);
        }
        text.parse().map(HashKey).map_err(|_| InvalidHashKey::OutOfRange)
    }
}

/// The keys from `start` to `end`, both included; never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HashKeyRange {
    start: HashKey,
    end: HashKey,
}

impl HashKeyRange {
    /// The whole key space.
    pub const ALL: HashKeyRange = HashKeyRange { start: HashKey::MIN, end: HashKey::MAX };

    /// The keys from `start` to `end`; none if `end` is below `start`.
    pub fn new(start: HashKey, end: HashKey) -> Option<HashKeyRange> {
        (start <= end).then_some(HashKeyRange { start, end })
    }

    /// The first key.
    pub const fn start(self) -> HashKey {
        self.start
    }

    /// The last key.
    pub const fn end(self) -> HashKey {
        self.end
    }

    /// Whether the key lies in this range.
    pub fn contains(self, key: HashKey) -> bool {
        self.start <= key && key <= self.end
    }

    /// Where the upper of its two halves begins; of one key, that key.
    pub fn middle(self) -> HashKey {
        let width = self.end.0 - self.start.0;
        HashKey(self.start.0 + width / 2 + width % 2)
    }

    /// Cuts the range in two, the second beginning at `key`; none unless both keep a key.
    /// (AWS asks for a little more than that of SplitShard; its action checks it.)
    pub fn split_at(self, key: HashKey) -> Option<(HashKeyRange, HashKeyRange)> {
        if key <= self.start || key > self.end {
            return None;
        }
        let lower = HashKeyRange { start: self.start, end: HashKey(key.0 - 1) };
        let upper = HashKeyRange { start: key, end: self.end };
        Some((lower, upper))
    }

    /// Whether one range begins right after the other ends, so that the two can be merged.
    pub fn is_adjacent_to(self, other: HashKeyRange) -> bool {
        self.end.0.checked_add(1) == Some(other.start.0)
            || other.end.0.checked_add(1) == Some(self.start.0)
    }

    /// The range of both, if they are adjacent.
    pub fn merged_with(self, other: HashKeyRange) -> Option<HashKeyRange> {
        self.is_adjacent_to(other).then(|| HashKeyRange {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        })
    }

    /// The ranges of a new stream with `count` shards, in order: each begins at a multiple of
    /// floor(2^128 / count), and the last one takes the rest. Empty for a count of 0.
    pub fn even_ranges(count: u32) -> Vec<HashKeyRange> {
        let width = match count {
            0 => return Vec::new(),
            1 => return vec![HashKeyRange::ALL],
            _ => floor_of_space_over(count),
        };
        let mut ranges = Vec::with_capacity(count as usize);
        for index in 0..u128::from(count) {
            let is_last = index + 1 == u128::from(count);
            ranges.push(HashKeyRange {
                start: HashKey(index * width),
                end: if is_last { HashKey::MAX } else { HashKey((index + 1) * width - 1) },
            });
        }
        ranges
    }
}

/// floor(2^128 / count) for a count above 1, although 2^128 itself does not fit.
fn floor_of_space_over(count: u32) -> u128 {
    let count = u128::from(count);
    let divides_evenly = u128::MAX % count == count - 1;
    u128::MAX / count + u128::from(divides_evenly)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_keys_hash_as_md5_big_endian() {
        // From RFC 1321's test suite.
        for (key, md5) in [
            ("", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e),
            ("a", 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661),
            ("abc", 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72),
        ] {
            assert_eq!(HashKey::of_partition_key(key.as_bytes()), HashKey(md5));
        }
    }

    #[test]
    fn decimal_hash_keys_follow_awss_pattern() {
        let max = "340282366920938463463374607431768211455";
        for (text, expected) in [
            ("0", Ok(HashKey::MIN)),
            ("170141183460469231731687303715884105728", Ok(HashKey(1 << 127))),
            (max, Ok(HashKey::MAX)),
            ("340282366920938463463374607431768211456", Err(InvalidHashKey::OutOfRange)),
            ("999999999999999999999999999999999999999", Err(InvalidHashKey::OutOfRange)),
            ("1000000000000000000000000000000000000000", Err(InvalidHashKey::Malformed)),
            ("", Err(InvalidHashKey::Malformed)),
            ("00", Err(InvalidHashKey::Malformed)),
            ("01", Err(InvalidHashKey::Malformed)),
            ("+1", Err(InvalidHashKey::Malformed)),
            ("-1", Err(InvalidHashKey::Malformed)),
            ("1 ", Err(InvalidHashKey::Malformed)),
            ("١", Err(InvalidHashKey::Malformed)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
            if let Ok(key) = expected {
                assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn even_ranges_tile_the_space() {
        for count in [1, 2, 3, 4, 7, 10, 1000, 10_000] {
            let ranges = HashKeyRange::even_ranges(count);
            assert_eq!(ranges.len(), count as usize);
            assert_eq!(ranges[0].start(), HashKey::MIN);
            assert_eq!(ranges.last().map(|range| range.end()), Some(HashKey::MAX));
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].end().0 + 1, pair[1].start().0, "{count} ranges");
            }
        }
        assert!(HashKeyRange::even_ranges(0).is_empty());
    }

    #[test]
    fn even_ranges_are_cut_where_aws_cuts_them() {
        let start =
            |count, index: usize| HashKeyRange::even_ranges(count)[index].start().to_string();
        assert_eq!(start(2, 1), "170141183460469231731687303715884105728");
        assert_eq!(start(3, 1), "113427455640312821154458202477256070485");
        assert_eq!(start(3, 2), "226854911280625642308916404954512140970");
        assert_eq!(start(4, 3), "255211775190703847597530955573826158592");
    }

    #[test]
    fn a_split_keeps_every_key_once() {
        let range = HashKeyRange::new(HashKey(10), HashKey(20)).expect("not empty");
        for (key, expected) in [
            (9, None),
            (10, None),
            (11, Some((10, 10, 11, 20))),
            (20, Some((10, 19, 20, 20))),
            (21, None),
        ] {
            let cut = range.split_at(HashKey(key)).map(|(lower, upper)| {
                assert!(lower.is_adjacent_to(upper) && upper.is_adjacent_to(lower));
                assert_eq!(lower.merged_with(upper), Some(range));
                (lower.start.0, lower.end.0, upper.start.0, upper.end.0)
            });
            assert_eq!(cut, expected, "split at {key}");
        }
    }

    #[test]
    fn the_middle_halves_a_range() {
        for (start, end, middle) in
            [(0, u128::MAX, 1 << 127), (10, 20, 15), (10, 19, 15), (4, 5, 5), (7, 7, 7)]
        {
            let range = HashKeyRange::new(HashKey(start), HashKey(end)).expect("not empty");
            assert_eq!(range.middle(), HashKey(middle), "{start} to {end}");
        }
    }

    #[test]
    fn ranges_at_the_ends_of_the_space_are_not_adjacent() {
        let first = HashKeyRange::new(HashKey::MIN, HashKey(5)).expect("not empty");
        let last = HashKeyRange::new(HashKey(7), HashKey::MAX).expect("not empty");
        assert!(!first.is_adjacent_to(last));
        assert!(!first.is_adjacent_to(first));
        assert_eq!(first.merged_with(last), None);
        assert_eq!(HashKeyRange::new(HashKey(2), HashKey(1)), None);
        assert!(first.contains(HashKey(5)) && !first.contains(HashKey(6)));
    }
}
