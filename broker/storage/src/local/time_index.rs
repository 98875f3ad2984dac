//! The sparse index from timestamps to offsets, in Kafka's format.
//!
//! ```text
//! entry, 12 bytes:   timestamp, i64   |   relative offset, u32      big-endian, both rising
//! ```
//!
//! An entry (t, o) promises: every record with a timestamp above t stands behind offset o. A search
//! for the first record at or after time T therefore begins behind the last entry with t < T.
//! Entries are added together with the offset index's, and once more when the segment is rolled, so
//! that the last one carries the segment's largest timestamp.

use bytes::{Buf, BufMut};
use weir_model::time::Timestamp;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// Largest timestamp so far.
    pub timestamp: Timestamp,
    /// Last offset of the batch that brought it, less the segment's base offset.
    pub relative_offset: u32,
}

const ENTRY_BYTES: usize = 12;

/// The entries of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeIndex {
    entries: Vec<TimeEntry>,
}

impl TimeIndex {
    /// Adds an entry unless its time has been reached before.
    pub(crate) fn push_if_later(&mut self, entry: TimeEntry) {
        if self.entries.last().is_none_or(|last| rises(last, &entry)) {
            self.entries.push(entry);
        }
    }

    /// Records at or after `timestamp` stand behind this relative offset; none: anywhere.
    pub(crate) fn offset_before(&self, timestamp: Timestamp) -> Option<u32> {
        let after = self.entries.partition_point(|entry| entry.timestamp < timestamp);
        let entry = after.checked_sub(1).and_then(|index| self.entries.get(index));
        entry.map(|entry| entry.relative_offset)
    }

    /// Where the largest timestamp stands.
    pub(crate) fn last_relative_offset(&self) -> Option<u32> {
        self.entries.last().map(|entry| entry.relative_offset)
    }

    /// All entries, in order.
    pub(crate) fn entries(&self) -> &[TimeEntry] {
        &self.entries
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            out.put_i64(entry.timestamp.as_millis());
            out.put_u32(entry.relative_offset);
        }
        out
    }

    /// Reads an index; none if it cannot be one.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<TimeIndex> {
        let mut index = TimeIndex { entries: Vec::with_capacity(bytes.len() / ENTRY_BYTES) };
        while !bytes.is_empty() {
            let entry = TimeEntry {
                timestamp: Timestamp::from_millis(bytes.try_get_i64().ok()?),
                relative_offset: bytes.try_get_u32().ok()?,
            };
            if !index.entries.last().is_none_or(|last| rises(last, &entry)) {
                return None;
            }
            index.entries.push(entry);
        }
        Some(index)
    }
}

fn rises(last: &TimeEntry, next: &TimeEntry) -> bool {
    next.timestamp > last.timestamp && next.relative_offset > last.relative_offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(millis: i64, relative_offset: u32) -> TimeEntry {
        TimeEntry { timestamp: Timestamp::from_millis(millis), relative_offset }
    }

    #[test]
    fn a_search_begins_behind_the_last_earlier_time() {
        let mut index = TimeIndex::default();
        for pushed in [entry(100, 9), entry(100, 12), entry(90, 15), entry(200, 19)] {
            index.push_if_later(pushed);
        }
        for (millis, behind) in
            [(50, None), (100, None), (101, Some(9)), (200, Some(9)), (201, Some(19))]
        {
            assert_eq!(index.offset_before(Timestamp::from_millis(millis)), behind, "{millis}");
        }
        let bytes = index.encode();
        assert_eq!(bytes.len(), 24, "equal and earlier times add no entry");
        assert_eq!(TimeIndex::decode(&bytes), Some(index));
        assert_eq!(TimeIndex::decode(&bytes[..23]), None);
    }
}
