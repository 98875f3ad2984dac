//! The sparse index from offsets to file positions, in Kafka's format.
//!
//! ```text
//! entry, 8 bytes:   relative offset, u32   |   position, u32      big-endian, both rising
//! ```
//!
//! An entry names the *last* offset of a batch, less the segment's base, and the position where
//! that batch begins; there is one for about every `index_interval_bytes` of log. A search takes
//! the last entry at or below its target and walks batch headers from there.
//!
//! The active segment's index lives in memory and is written when the segment is rolled. It is
//! derived: a missing or damaged file is rebuilt from the log, and an entry too few only makes the
//! walk longer.

use bytes::{Buf, BufMut};

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Last offset of the batch, less the segment's base offset.
    pub relative_offset: u32,
    /// Where the batch begins, in bytes from the segment's start.
    pub position: u32,
}

const ENTRY_BYTES: usize = 8;

/// The entries of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffsetIndex {
    entries: Vec<IndexEntry>,
}

impl OffsetIndex {
    /// Adds an entry, which must lie after all others.
    pub(crate) fn push(&mut self, entry: IndexEntry) {
        if let Some(last) = self.entries.last() {
            assert!(
                entry.relative_offset > last.relative_offset && entry.position > last.position,
                "an index entry out of order would send a search past its target"
            );
        }
        self.entries.push(entry);
    }

    /// Where to begin the walk to the batch that holds `relative_offset`: a batch's beginning at or
    /// before it.
    pub(crate) fn position_for(&self, relative_offset: u64) -> u64 {
        let after =
            self.entries.partition_point(|e| u64::from(e.relative_offset) <= relative_offset);
        self.position_before(after)
    }

    /// The last known beginning of a batch at or before `position`.
    pub(crate) fn batch_start_before(&self, position: u64) -> u64 {
        let after = self.entries.partition_point(|e| u64::from(e.position) <= position);
        self.position_before(after)
    }

    /// The first known beginning of a batch behind `position`.
    pub(crate) fn batch_start_behind(&self, position: u64) -> Option<u64> {
        let behind = self.entries.partition_point(|e| u64::from(e.position) <= position);
        self.entries.get(behind).map(|entry| u64::from(entry.position))
    }

    /// All entries, in order.
    pub(crate) fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    fn position_before(&self, after: usize) -> u64 {
        let floor = after.checked_sub(1).and_then(|index| self.entries.get(index));
        floor.map_or(0, |entry| u64::from(entry.position))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            out.put_u32(entry.relative_offset);
            out.put_u32(entry.position);
        }
        out
    }

    /// Reads an index of a segment of `segment_bytes`; none if it cannot be one.
    pub(crate) fn decode(mut bytes: &[u8], segment_bytes: u64) -> Option<OffsetIndex> {
        let mut index = OffsetIndex { entries: Vec::with_capacity(bytes.len() / ENTRY_BYTES) };
        while !bytes.is_empty() {
            let entry = IndexEntry {
                relative_offset: bytes.try_get_u32().ok()?,
                position: bytes.try_get_u32().ok()?,
            };
            let rises = index.entries.last().is_none_or(|last| {
                entry.relative_offset > last.relative_offset && entry.position > last.position
            });
            if !rises || u64::from(entry.position) >= segment_bytes {
                return None;
            }
            index.entries.push(entry);
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> OffsetIndex {
        let mut index = OffsetIndex::default();
        for (relative_offset, position) in [(9, 4_100), (19, 8_300), (29, 12_500)] {
            index.push(IndexEntry { relative_offset, position });
        }
        index
    }

    #[test]
    fn a_search_begins_at_or_before_its_target() {
        let index = index();
        for (offset, position) in
            [(0, 0), (8, 0), (9, 4_100), (18, 4_100), (29, 12_500), (99, 12_500)]
        {
            assert_eq!(index.position_for(offset), position, "offset {offset}");
        }
        for (position, next) in [(0, Some(4_100)), (4_100, Some(8_300)), (12_500, None)] {
            assert_eq!(index.batch_start_behind(position), next, "behind {position}");
        }
        for (limit, position) in [(0, 0), (4_099, 0), (4_100, 4_100), (1 << 40, 12_500)] {
            assert_eq!(index.batch_start_before(limit), position, "position {limit}");
        }
    }

    #[test]
    fn files_read_back_and_damaged_ones_do_not() {
        let bytes = index().encode();
        assert_eq!(OffsetIndex::decode(&bytes, 20_000), Some(index()));
        assert_eq!(OffsetIndex::decode(&bytes[..12], 20_000), None, "half an entry");
        assert_eq!(OffsetIndex::decode(&bytes, 12_500), None, "a position past the end");
        let swapped = [&bytes[8..16], &bytes[..8]].concat();
        assert_eq!(OffsetIndex::decode(&swapped, 20_000), None, "entries that fall");
    }
}
