//! Sequence numbers: a record's offset, written the way AWS writes them.
//!
//! A number of 188 bits in decimal (56 digits), put together as AWS does, most significant first:
//!
//! | hex digits | bits | what |
//! |---|---|---|
//! | 0 | 4 | always 2, so that all numbers have 56 digits |
//! | 1–9 | 36 | when the shard was made, in seconds; a child's is greater than its parents' |
//! | 10 | 4 | low four bits of the shard's index |
//! | 11–26 | 64 | 0, log epoch (20 bits), offset + 1 (43 bits) |
//! | 27–28 | 8 | 0; its meaning in AWS is unknown |
//! | 29–37 | 36 | when the record arrived, in seconds |
//! | 38–45 | 32 | the shard's index |
//! | 46 | 4 | version, 2 |
//!
//! In AWS digits 11–26 are a running number too. Nothing in an SDK reads these digits, but
//! consumers compare numbers as integers, and ours grow along a shard and from a parent to its
//! children. The record is found again without a search: epoch and offset are inside. The offset is
//! stored plus one, because index 0 is the number that a shard itself starts with: "after the
//! starting number" must include the first record. A closed shard's ending number has all ones for
//! epoch and offset.
//!
//! Two older layouts of AWS (versions 0 and 1) are recognised, so that a number which was kept from
//! AWS is refused in AWS's words.

use std::fmt;

use weir_core::partition::partition::Partition;
use weir_model::ids::{LogEpoch, PartitionIndex};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

const OFFSET_BITS: u32 = 43;
const INDEX_MAX: u64 = (1 << 63) - 1;
const SECONDS_MAX: u64 = (1 << 36) - 1;

/// AWS's decoder refuses numbers of shards made in this second (of the year 2477) or later.
const SHARD_CREATED_S_END: u64 = 16_025_175_000;

/// A number in today's layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SequenceNumber {
    /// When the shard was made, in seconds since 1970.
    pub(crate) shard_created_s: u64,
    /// The shard's index.
    pub(crate) shard: PartitionIndex,
    /// Epoch and offset + 1.
    index: u64,
    /// When the record arrived, in seconds since 1970.
    pub(crate) arrival_s: u64,
}

/// What a number points at inside its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// Before the first record: the shard's starting number.
    Start,
    /// A record.
    Record {
        /// The log epoch it was written in.
        epoch: LogEpoch,
        /// Its offset.
        offset: Offset,
    },
    /// After the last record: a closed shard's ending number.
    End,
}

impl SequenceNumber {
    /// The number of a record; `timestamp` is the record's as it is stored.
    pub(crate) fn of_record(
        partition: &Partition,
        epoch: LogEpoch,
        offset: Offset,
        timestamp: Timestamp,
    ) -> SequenceNumber {
        let position = offset.next().number();
        assert!(
            position < 1 << OFFSET_BITS,
            "an offset ran into the epoch: numbers would no longer grow"
        );
        let index = u64::from(epoch.number()) << OFFSET_BITS | position;
        SequenceNumber::new(partition, index, timestamp)
    }

    /// The number that a shard starts with, below all of its records'.
    pub(crate) fn starting(partition: &Partition) -> SequenceNumber {
        SequenceNumber::new(partition, 0, partition.created)
    }

    /// The number that a closed shard ends with, above all of its records'.
    pub(crate) fn ending(partition: &Partition, closed: Timestamp) -> SequenceNumber {
        SequenceNumber::new(partition, INDEX_MAX, closed)
    }

    fn new(partition: &Partition, index: u64, arrival: Timestamp) -> SequenceNumber {
        SequenceNumber {
            shard_created_s: seconds(partition.numbered_from),
            shard: partition.id.index,
            index,
            arrival_s: seconds(arrival),
        }
    }

    /// Whether the number's shard is this one and not another stream's with the same index.
    pub(crate) fn is_of(&self, partition: &Partition) -> bool {
        self.shard == partition.id.index && self.shard_created_s == seconds(partition.numbered_from)
    }

    /// What the number points at.
    pub(crate) fn target(&self) -> Target {
        let epoch = u32::try_from(self.index >> OFFSET_BITS)
            .ok()
            .and_then(LogEpoch::new)
            .expect("an index below 2^63 has 20 bits for the epoch");
        match self.index & ((1 << OFFSET_BITS) - 1) {
            _ if self.index == INDEX_MAX => Target::End,
            // Offset 0 in a later epoch was never given out; it can only mean the start.
            0 => Target::Start,
            position => Target::Record { epoch, offset: Offset::new(position - 1) },
        }
    }

    /// The number's 188 bits.
    fn bits(&self) -> Bits {
        let shard = self.shard.as_u32();
        let lead = 2u64 << 56;
        let low_nibble = u64::from(shard & 0xf) << 16;
        Bits {
            high: lead | self.shard_created_s << 20 | low_nibble | self.index >> 48,
            // The shift drops the index's high 16 bits, which stand above.
            low: u128::from(self.index) << 80
                | u128::from(self.arrival_s) << 36
                | u128::from(shard) << 4
                | VERSION,
        }
    }
}

/// Today's layout.
const VERSION: u128 = 2;

impl fmt::Display for SequenceNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bits().fmt(out)
    }
}

/// A number that a client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ParsedNumber {
    /// In today's layout.
    Current(SequenceNumber),
    /// In one that AWS no longer gives out, so of no stream of ours.
    Older {
        /// The shard's index inside it.
        shard: PartitionIndex,
        /// The number as AWS repeats it in messages.
        shown: String,
    },
}

/// A text that is no sequence number in any layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotASequenceNumber;

impl ParsedNumber {
    /// Reads a decimal number.
    pub(crate) fn parse(text: &str) -> Result<ParsedNumber, NotASequenceNumber> {
        let bits = Bits::parse(text).ok_or(NotASequenceNumber)?;
        match (bits.high, bits.high >> 56, bits.low & 0xf) {
            (0 | 1, _, _) => version_0(bits),
            (_, 2, 1) => Ok(ParsedNumber::Older { shard: shard_of(bits)?, shown: text.to_owned() }),
            (_, 2, VERSION) => version_2(bits).map(ParsedNumber::Current),
            _ => Err(NotASequenceNumber),
        }
    }
}

/// A lead digit 1 (which may be left out), 9 hex digits of the shard's creation second, 18 of no
/// known meaning, 4 of the shard's index.
fn version_0(bits: Bits) -> Result<ParsedNumber, NotASequenceNumber> {
    const LEAD: u128 = 1 << 124;
    // Below 2^124 AWS adds the lead; from 2^128 on there is one digit more at the end.
    let (shown, digits) = match bits.high {
        0 if bits.low < LEAD => (Bits { high: 0, low: bits.low + LEAD }, bits.low + LEAD),
        0 => (bits, bits.low),
        high => (bits, u128::from(high) << 124 | bits.low >> 4),
    };
    if (digits >> 88) as u64 & SECONDS_MAX >= SHARD_CREATED_S_END {
        return Err(NotASequenceNumber);
    }
    Ok(ParsedNumber::Older {
        shard: PartitionIndex::try_from(i64::from(digits as u16))
            .map_err(|_| NotASequenceNumber)?,
        shown: shown.to_string(),
    })
}

fn version_2(bits: Bits) -> Result<SequenceNumber, NotASequenceNumber> {
    let number = SequenceNumber {
        shard_created_s: bits.high >> 20 & SECONDS_MAX,
        shard: shard_of(bits)?,
        index: bits.high << 48 | (bits.low >> 80) as u64,
        arrival_s: (bits.low >> 36) as u64 & SECONDS_MAX,
    };
    if number.index > INDEX_MAX || number.shard_created_s >= SHARD_CREATED_S_END {
        return Err(NotASequenceNumber);
    }
    Ok(number)
}

fn shard_of(bits: Bits) -> Result<PartitionIndex, NotASequenceNumber> {
    let shard = (bits.low >> 4) as u32;
    PartitionIndex::try_from(i64::from(shard)).map_err(|_| NotASequenceNumber)
}

/// Whole seconds, for 36 bits: a Kafka producer may date a record before 1970 or far from now.
fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_seconds()).map_or(0, |seconds| seconds.min(SECONDS_MAX))
}

/// A number of 192 bits: `high` × 2^128 + `low`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bits {
    high: u64,
    low: u128,
}

/// What one step of writing or reading decimals takes: 10^19 fits into 64 bits, 10^20 does not.
const DIGITS_PER_STEP: usize = 19;
const STEP: u128 = 10u128.pow(DIGITS_PER_STEP as u32);

impl Bits {
    /// Reads decimal digits; none if there are none, or others, or too many.
    fn parse(text: &str) -> Option<Bits> {
        let mut bits = Bits { high: 0, low: 0 };
        if text.is_empty() {
            return None;
        }
        for digit in text.bytes() {
            let digit = match digit {
                b'0'..=b'9' => digit - b'0',
                _ => return None,
            };
            bits = bits.times_ten_plus(digit)?;
        }
        Some(bits)
    }

    fn times_ten_plus(self, digit: u8) -> Option<Bits> {
        const LOW_64: u128 = u64::MAX as u128;
        let bottom = (self.low & LOW_64) * 10 + u128::from(digit);
        let middle = (self.low >> 64) * 10 + (bottom >> 64);
        let top = u128::from(self.high) * 10 + (middle >> 64);
        Some(Bits { high: u64::try_from(top).ok()?, low: middle << 64 | bottom & LOW_64 })
    }

    /// Divides by 10^19; gives the quotient and the rest.
    fn divided_by_step(self) -> (Bits, u128) {
        let (high, rest) = (u128::from(self.high) / STEP, u128::from(self.high) % STEP);
        let middle = rest << 64 | self.low >> 64;
        let (middle, rest) = (middle / STEP, middle % STEP);
        let bottom = rest << 64 | self.low & u128::from(u64::MAX);
        let quotient = Bits {
            // All three quotients are below 2^64, as the rest before them is below the divisor.
            high: high as u64,
            low: middle << 64 | (bottom / STEP),
        };
        (quotient, bottom % STEP)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rest, bottom) = self.divided_by_step();
        let (rest, middle) = rest.divided_by_step();
        let (rest, top) = rest.divided_by_step();
        // 192 bits are at most 58 digits: the fourth group has one.
        match (rest.low, top, middle) {
            (0, 0, 0) => write!(out, "{bottom}"),
            (0, 0, _) => write!(out, "{middle}{bottom:019}"),
            (0, _, _) => write!(out, "{top}{middle:019}{bottom:019}"),
            (rest, _, _) => write!(out, "{rest}{top:019}{middle:019}{bottom:019}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CREATED_S: u64 = 1_700_000_000;

    fn number(shard: i32, index: u64, arrival_s: u64) -> SequenceNumber {
        SequenceNumber {
            shard_created_s: CREATED_S,
            shard: PartitionIndex::try_from(shard).expect("a shard index"),
            index,
            arrival_s,
        }
    }

    fn index(epoch: u64, offset: u64) -> u64 {
        epoch << OFFSET_BITS | (offset + 1)
    }

    #[test]
    fn the_layout_is_pinned() {
        for (number, hex, decimal) in [
            (
                number(0, 0, CREATED_S),
                "2 06553f100 0 0000000000000000 00 06553f100 00000000 2",
                "49646437577108476416916876405825929425585429676275269634",
            ),
            (
                number(0, index(0, 0), CREATED_S + 1),
                "2 06553f100 0 0000000000000001 00 06553f101 00000000 2",
                "49646437577108476416916876405827138351405044374169452546",
            ),
            (
                number(35, index(3, 1_000_000_000), CREATED_S + 86_400),
                "2 06553f100 3 000018003b9aca01 00 065554280 00000023 2",
                "49646437577175378684415149099909341085095002375486177842",
            ),
            (
                number(i32::MAX, INDEX_MAX, CREATED_S + 100),
                "2 06553f100 f 7fffffffffffffff 00 06553f164 7fffffff 2",
                "49646437577454137967494101064518524132991871556750671858",
            ),
        ] {
            assert_eq!(number.to_string(), decimal);
            let Bits { high, low } = number.bits();
            assert_eq!(format!("{high:x}{low:032x}"), hex.replace(' ', ""));
            assert_eq!(ParsedNumber::parse(decimal), Ok(ParsedNumber::Current(number)));
        }
    }

    #[test]
    fn a_number_of_aws_itself_reads_as_its_layout_says() {
        // From the example in the documentation of PutRecords.
        let text = "49543463076548007577105092703039560359975228518395019266";
        let Ok(ParsedNumber::Current(number)) = ParsedNumber::parse(text) else {
            panic!("a number of today's layout was expected");
        };
        assert_eq!(number.shard.as_u32(), 0);
        assert_eq!((number.shard_created_s, number.arrival_s), (0x5420_50cd, 0x5420_bb34));
        assert_eq!(number.to_string(), text);
    }

    #[test]
    fn numbers_point_at_the_start_a_record_or_the_end() {
        let record = |epoch, offset| Target::Record {
            epoch: LogEpoch::new(epoch).expect("an epoch"),
            offset: Offset::new(offset),
        };
        for (index, expected) in [
            (0, Target::Start),
            (index(0, 0), record(0, 0)),
            (index(7, 41), record(7, 41)),
            (INDEX_MAX, Target::End),
        ] {
            assert_eq!(number(0, index, CREATED_S).target(), expected, "{index:x}");
        }
    }

    #[test]
    fn older_layouts_are_recognised_and_shown_as_aws_shows_them() {
        let older = |shard: i64, shown: &str| {
            Ok(ParsedNumber::Older {
                shard: PartitionIndex::try_from(shard).expect("a shard index"),
                shown: shown.to_owned(),
            })
        };
        let version_1 = number(5, 9, CREATED_S).bits();
        let version_1 = Bits { low: version_1.low - 1, ..version_1 }.to_string();
        for (text, expected) in [
            ("0", older(0, "21267647932558653966460912964485513216")),
            ("5", older(5, "21267647932558653966460912964485513221")),
            (
                "21267647932558653966460912964485513216",
                older(0, "21267647932558653966460912964485513216"),
            ),
            (version_1.as_str(), older(5, &version_1)),
        ] {
            assert_eq!(ParsedNumber::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_in_no_layout_is_refused() {
        let version_3 = number(0, 0, CREATED_S).bits();
        let version_3 = Bits { low: version_3.low + 1, ..version_3 }.to_string();
        let late = SequenceNumber { shard_created_s: SHARD_CREATED_S_END, ..number(0, 0, 0) };
        let high_index = number(0, 1 << 63, 0).to_string();
        let nines = "9".repeat(129);
        for text in [
            "",
            "-1",
            "1x",
            version_3.as_str(),
            high_index.as_str(),
            nines.as_str(),
            late.to_string().as_str(),
            (u128::MAX.to_string() + "0").as_str(),
        ] {
            assert_eq!(ParsedNumber::parse(text), Err(NotASequenceNumber), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(
            shard_created_s in 0..SHARD_CREATED_S_END,
            shard in 0..=i32::MAX,
            index in 0..=INDEX_MAX,
            arrival_s in 0..=SECONDS_MAX,
        ) {
            let number = SequenceNumber { shard_created_s, ..number(shard, index, arrival_s) };
            let text = number.to_string();
            prop_assert_eq!(text.len(), 56);
            prop_assert_eq!(ParsedNumber::parse(&text), Ok(ParsedNumber::Current(number)));
        }

        #[test]
        fn numbers_grow_with_epoch_and_offset_whatever_the_arrival(
            shard in 0..=i32::MAX,
            (epoch, offset) in (0..1u64 << 19, 0..1u64 << 42),
            (epoch_step, offset_step) in (0..2u64, 0..1000u64),
            (arrival_s, later_arrival_s) in (0..=SECONDS_MAX, 0..=SECONDS_MAX),
        ) {
            prop_assume!(epoch_step + offset_step > 0);
            let earlier = number(shard, index(epoch, offset), arrival_s);
            let later = index(epoch + epoch_step, offset + offset_step);
            let later = number(shard, later, later_arrival_s);
            // Of equal length, so they compare as text as they compare as numbers.
            prop_assert!(earlier.to_string() < later.to_string());
        }

        #[test]
        fn any_digits_are_read_or_refused(text in "[0-9]{0,129}") {
            let _ = ParsedNumber::parse(&text);
        }
    }
}
