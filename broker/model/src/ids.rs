//! Names and numbers that identify things: streams, partitions, producers, log epochs.
//!
//! Ids live as long as what they name and are never reused: a stream that is deleted and made again
//! has a new [`StreamId`], so nothing that was kept for the old one (an iterator, a fetch session,
//! a file) can be mistaken for the new one's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::random::Random;

/// Identifies a stream for ever; shown as a UUID, called topic id by Kafka.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u128);

impl StreamId {
    /// Draws a fresh random (version 4) id, never one of the small values that Kafka reserves.
    pub fn random(random: &dyn Random) -> StreamId {
        let mut bytes = [0u8; 16];
        random.fill(&mut bytes);
        let version_4 = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62);
        StreamId(version_4 | (0x4 << 76) | (0x2 << 62))
    }

    /// The id with these big-endian bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> StreamId {
        StreamId(u128::from_be_bytes(bytes))
    }

    /// The id's big-endian bytes, as the Kafka protocol sends a UUID.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        let (time_low, time_mid) = (id >> 96, (id >> 80) & 0xffff);
        let (time_high, clock, node) =
            ((id >> 64) & 0xffff, (id >> 48) & 0xffff, id & 0xffff_ffff_ffff);
        write!(out, "{time_low:08x}-{time_mid:04x}-{time_high:04x}-{clock:04x}-{node:012x}")
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A text that is not a stream id in its canonical form of 36 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAStreamId;

impl FromStr for StreamId {
    type Err = NotAStreamId;

    fn from_str(text: &str) -> Result<StreamId, NotAStreamId> {
        let digits: String = text.split('-').collect();
        let id = match digits.len() {
            32 => u128::from_str_radix(&digits, 16).map(StreamId).map_err(|_| NotAStreamId)?,
            _ => return Err(NotAStreamId),
        };
        // Only the canonical spelling names a directory; others would be a second name for it.
        if id.to_string() == text { Ok(id) } else { Err(NotAStreamId) }
    }
}

/// A stream's name, in the alphabet that Kafka and Kinesis share: 1 to 249 of `[a-zA-Z0-9._-]`,
/// and neither `.` nor `..`. Kinesis cannot spell names above 128 characters and hides them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

/// The streams that hold a broker's own state; Kafka's list, not every name with two underscores.
const INTERNAL_STREAMS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Longest stream name, in characters (Kafka's limit).
pub const STREAM_NAME_LENGTH_MAX: usize = 249;

/// Why a text is not a stream name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidStreamName {
    /// The empty text.
    Empty,
    /// `.` or `..`, which Kafka refuses.
    Dots,
    /// Above [`STREAM_NAME_LENGTH_MAX`] characters.
    TooLong,
    /// A character outside `[a-zA-Z0-9._-]`.
    Character,
}

impl fmt::Display for InvalidStreamName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidStreamName::Empty => out.write_str("it is empty"),
            InvalidStreamName::Dots => out.write_str("it is . or .."),
            InvalidStreamName::TooLong => {
                write!(out, "it has more than {STREAM_NAME_LENGTH_MAX} characters")
            }
            InvalidStreamName::Character => out.write_str("it has others than a-z A-Z 0-9 . _ -"),
        }
    }
}

impl StreamName {
    /// Checks the text and keeps it.
    pub fn new(text: &str) -> Result<StreamName, InvalidStreamName> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match text {
            "" => Err(InvalidStreamName::Empty),
            "." | ".." => Err(InvalidStreamName::Dots),
            _ if text.len() > STREAM_NAME_LENGTH_MAX => Err(InvalidStreamName::TooLong),
            _ if !text.chars().all(legal) => Err(InvalidStreamName::Character),
            _ => Ok(StreamName(Arc::from(text))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the stream holds the broker's own state, as in Kafka; other names that begin with
    /// underscores are ordinary.
    pub fn is_internal(&self) -> bool {
        INTERNAL_STREAMS.contains(&&*self.0)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, out)
    }
}

/// A partition's number inside its stream, counted from 0 and never reused; Kinesis shows it as
/// `shardId-%012d`. At most `i32::MAX`, since Kafka sends it as a signed 32-bit number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionIndex(u32);

/// A number that cannot be a partition's index: negative, or above `i32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPartitionIndex(pub i64);

impl PartitionIndex {
    /// The first partition of every stream.
    pub const ZERO: PartitionIndex = PartitionIndex(0);

    /// The index as the Kafka protocol sends it.
    pub const fn as_i32(self) -> i32 {
        self.0.cast_signed()
    }

    /// The index as a position in a list of partitions.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }

    /// The index as an unsigned number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for PartitionIndex {
    type Error = NotAPartitionIndex;

    fn try_from(raw: i64) -> Result<PartitionIndex, NotAPartitionIndex> {
        match i32::try_from(raw) {
            Ok(index) if index >= 0 => Ok(PartitionIndex(index.cast_unsigned())),
            _ => Err(NotAPartitionIndex(raw)),
        }
    }
}

impl TryFrom<i32> for PartitionIndex {
    type Error = NotAPartitionIndex;

    fn try_from(raw: i32) -> Result<PartitionIndex, NotAPartitionIndex> {
        PartitionIndex::try_from(i64::from(raw))
    }
}

impl TryFrom<usize> for PartitionIndex {
    type Error = NotAPartitionIndex;

    fn try_from(raw: usize) -> Result<PartitionIndex, NotAPartitionIndex> {
        PartitionIndex::try_from(i64::try_from(raw).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for PartitionIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// One partition of one stream: what the storage calls a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionId {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its number in that stream.
    pub index: PartitionIndex,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.stream, self.index)
    }
}

/// Counts the broker's unclean starts; stamped on every batch as Kafka's leader epoch, so that an
/// offset that was lost with a power cut and given out again can be told from its first life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogEpoch(u32);

/// Highest log epoch: Kinesis sequence numbers have 20 bits for it.
pub const LOG_EPOCH_MAX: u32 = (1 << 20) - 1;

impl LogEpoch {
    /// The epoch of a broker that never stopped uncleanly.
    pub const ZERO: LogEpoch = LogEpoch(0);

    /// The epoch with this number, if it is at most [`LOG_EPOCH_MAX`].
    pub const fn new(number: u32) -> Option<LogEpoch> {
        if number <= LOG_EPOCH_MAX { Some(LogEpoch(number)) } else { None }
    }

    /// The epoch's number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The epoch as Kafka's signed leader epoch.
    pub const fn as_i32(self) -> i32 {
        self.0.cast_signed()
    }

    /// The next epoch, or none when a broker has been killed a million times.
    pub const fn next(self) -> Option<LogEpoch> {
        LogEpoch::new(self.0 + 1)
    }
}

impl fmt::Display for LogEpoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Identifies an idempotent producer; unique for the life of the data directory, never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProducerId(i64);

impl ProducerId {
    /// The id with this number; `None` for Kafka's -1, which means "not idempotent".
    pub const fn new(raw: i64) -> Option<ProducerId> {
        if raw >= 0 { Some(ProducerId(raw)) } else { None }
    }

    /// The id as the Kafka protocol sends it.
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_stream_id_reads_back_from_its_own_text_only() {
        let id = StreamId::random(&SeededRandom::new(7));
        let text = id.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4', "version 4");
        assert_eq!(text.parse(), Ok(id));
        for other in [text.to_uppercase(), text.replace('-', ""), String::new(), "../x".into()] {
            assert_eq!(other.parse::<StreamId>(), Err(NotAStreamId), "{other}");
        }
    }

    #[test]
    fn stream_names_follow_kafkas_alphabet() {
        let long = "a".repeat(STREAM_NAME_LENGTH_MAX + 1);
        for (text, expected) in [
            ("orders.v1_eu-west", None),
            ("", Some(InvalidStreamName::Empty)),
            (".", Some(InvalidStreamName::Dots)),
            ("..", Some(InvalidStreamName::Dots)),
            (long.as_str(), Some(InvalidStreamName::TooLong)),
            ("a/b", Some(InvalidStreamName::Character)),
            ("é", Some(InvalidStreamName::Character)),
        ] {
            assert_eq!(StreamName::new(text).err(), expected, "{text}");
        }
    }

    #[test]
    fn partition_indexes_fit_kafkas_signed_number() {
        for (raw, legal) in [(-1, false), (0, true), (i64::from(i32::MAX), true), (1 << 31, false)]
        {
            assert_eq!(PartitionIndex::try_from(raw).is_ok(), legal, "{raw}");
        }
    }

    #[test]
    fn log_epochs_end_at_twenty_bits() {
        let last = LogEpoch::new(LOG_EPOCH_MAX).expect("the highest epoch");
        assert_eq!(last.next(), None);
        assert_eq!(LogEpoch::ZERO.next().map(LogEpoch::number), Some(1));
    }
}
