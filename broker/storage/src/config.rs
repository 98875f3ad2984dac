//! How one partition's log behaves: rolling, retention, and when bytes count as kept.

use std::time::Duration;

/// When an append is answered and shown to readers (design.md §4, "Flush policy").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// After the flush that covers it. The default: nothing that anyone saw goes with a power cut.
    Group,
    /// At once; flushed when this much time passed or this many bytes came, whichever is first.
    Interval {
        /// Longest time that an append stays unflushed.
        delay: Duration,
        /// Most bytes that stay unflushed.
        bytes: u64,
    },
    /// At once; the operating system flushes when it likes (weir does after a minute, so that files
    /// can be closed). A kill loses nothing, a power cut may.
    Os,
}

impl FlushPolicy {
    /// `interval` with its default bounds: 50 ms or 16 MiB.
    pub const INTERVAL: FlushPolicy =
        FlushPolicy::Interval { delay: Duration::from_millis(50), bytes: 16 << 20 };

    /// The policy's name, as the `--flush` flag and benchmark results spell it.
    pub const fn name(self) -> &'static str {
        match self {
            FlushPolicy::Group => "group",
            FlushPolicy::Interval { .. } => "interval",
            FlushPolicy::Os => "os",
        }
    }
}

/// What retention removes when a record is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimBy {
    /// Whole segments, once their newest record is too old (Kafka).
    Segment,
    /// The log start moves record by record; files go when wholly below it (Kinesis).
    Record,
}

/// The settings of one stream's logs. Changing them acts from the next append or housekeeping on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// When appends are answered and shown.
    pub flush: FlushPolicy,
    /// A segment that would grow above this many bytes is rolled first.
    pub segment_bytes: u64,
    /// A segment is rolled when its first record is this much older than the next, in ms.
    pub segment_ms: u64,
    /// Records older than this go, in ms; none: never.
    pub retention_ms: Option<u64>,
    /// A partition above this many bytes loses its oldest segments; none: never.
    pub retention_bytes: Option<u64>,
    /// What retention by time removes.
    pub trim_by: TrimBy,
    /// An index entry is kept for about this many bytes of log.
    pub index_interval_bytes: u32,
}

impl Default for LogConfig {
    /// Kafka's defaults, with the `group` policy.
    fn default() -> LogConfig {
        LogConfig {
            flush: FlushPolicy::Group,
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            trim_by: TrimBy::Segment,
            index_interval_bytes: 4096,
        }
    }
}
