//! A partition's idempotent producers, as they were before a certain offset.
//!
//! ```text
//!  8   "weirprod"
//!  8   offset that the snapshot stands before
//!  4   producers, then for each:
//!        8 id   2 epoch   1 batches, then for each:
//!           4 first sequence   4 last sequence   8 base offset   8 last offset   8 seen at
//!  4   CRC-32 of all before
//! ```
//!
//! Derived: a snapshot saves replaying the log from its start; without one it is replayed.

use std::collections::VecDeque;

use bytes::{Buf, BufMut};
use weir_model::ids::ProducerId;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::producer_state::{BATCHES_PER_PRODUCER, ProducerEntry, ProducerStates, RememberedBatch};

const MAGIC: &[u8; 8] = b"weirprod";
/// A snapshot above this many bytes is not read (about 400,000 producers).
pub(crate) const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

pub(crate) fn encode(producers: &ProducerStates, before: Offset) -> Vec<u8> {
    let mut entries: Vec<_> = producers.iter().collect();
    // One state has one file, whatever order the map has.
    entries.sort_unstable_by_key(|(id, _)| *id);
    let mut out = Vec::new();
    out.put_slice(MAGIC);
    out.put_u64(before.number());
    out.put_u32(u32::try_from(entries.len()).expect("bounded by memory"));
    for (id, entry) in entries {
        out.put_i64(id.as_i64());
        out.put_i16(entry.epoch);
        out.put_u8(u8::try_from(entry.batches.len()).expect("five at most"));
        for batch in &entry.batches {
            out.put_i32(batch.first_sequence);
            out.put_i32(batch.last_sequence);
            out.put_u64(batch.base_offset.number());
            out.put_u64(batch.last_offset.number());
            out.put_i64(batch.seen_at.as_millis());
        }
    }
    out.put_u32(crc32fast::hash(&out));
    out
}

/// Reads a snapshot that stands before `before`; none if it is damaged or stands elsewhere.
pub(crate) fn decode(snapshot: &[u8], before: Offset) -> Option<ProducerStates> {
    let (fields, mut crc) = snapshot.split_at_checked(snapshot.len().checked_sub(4)?)?;
    if crc.try_get_u32().ok()? != crc32fast::hash(fields) {
        return None;
    }
    let mut fields = fields.strip_prefix(MAGIC)?;
    if fields.try_get_u64().ok()? != before.number() {
        return None;
    }
    let mut producers = ProducerStates::default();
    for _ in 0..fields.try_get_u32().ok()? {
        let id = ProducerId::new(fields.try_get_i64().ok()?)?;
        let epoch = fields.try_get_i16().ok()?;
        let count = usize::from(fields.try_get_u8().ok()?);
        if count == 0 || count > BATCHES_PER_PRODUCER {
            return None;
        }
        let mut batches = VecDeque::with_capacity(count);
        for _ in 0..count {
            batches.push_back(RememberedBatch {
                first_sequence: fields.try_get_i32().ok()?,
                last_sequence: fields.try_get_i32().ok()?,
                base_offset: Offset::new(fields.try_get_u64().ok()?),
                last_offset: Offset::new(fields.try_get_u64().ok()?),
                seen_at: Timestamp::from_millis(fields.try_get_i64().ok()?),
            });
        }
        producers.restore(id, ProducerEntry { epoch, batches });
    }
    fields.is_empty().then_some(producers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_read_back_and_damaged_ones_do_not() {
        let mut producers = ProducerStates::default();
        for id in [3, 1] {
            let batch = RememberedBatch {
                first_sequence: 4,
                last_sequence: 6,
                base_offset: Offset::new(10),
                last_offset: Offset::new(12),
                seen_at: Timestamp::from_millis(99),
            };
            let entry = ProducerEntry { epoch: 2, batches: [batch; 2].into() };
            producers.restore(ProducerId::new(id).expect("not negative"), entry);
        }
        let before = Offset::new(13);
        let bytes = encode(&producers, before);
        assert_eq!(decode(&bytes, before), Some(producers));
        assert_eq!(decode(&bytes, Offset::new(14)), None, "it stands elsewhere");
        for damaged in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[damaged] ^= 1;
            assert_eq!(decode(&bytes, before), None, "byte {damaged}");
            assert_eq!(decode(&bytes[..damaged], before), None, "{damaged} bytes");
        }
    }
}
