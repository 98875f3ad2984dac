//! What the metadata store keeps of each partition, and of the log as a whole.
//!
//! | key | value |
//! |---|---|
//! | `l` `c` | cluster id, 16 bytes: ties `meta.redb` to the FORMAT file beside it |
//! | `l` `e` | log epoch, u32 |
//! | `l` `p` stream id (16) partition (u32) | a [`PartitionRow`] |
//!
//! All numbers are big-endian. Keys that begin with other bytes are not ours (the core's begin with
//! `s` and `c`).
//!
//! A row is a checkpoint: it may be older than the log, never newer than what was flushed. The one
//! field that is truth and not a hint is the log start.

use bytes::{Buf, BufMut, Bytes};
use weir_model::ids::{LogEpoch, PartitionId, PartitionIndex, StreamId};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

pub(crate) const CLUSTER_KEY: &[u8] = b"lc";
pub(crate) const EPOCH_KEY: &[u8] = b"le";
pub(crate) const PARTITION_PREFIX: &[u8] = b"lp";

const ROW_VERSION: u8 = 1;

/// A place between two batches: the first offset of what follows, and where it stands in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Offset of the next record.
    pub offset: Offset,
    /// Base offset of the segment.
    pub segment: Offset,
    /// Bytes of that segment that lie before.
    pub position: u64,
}

/// First offset that an epoch wrote in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochStart {
    pub epoch: LogEpoch,
    pub start: Offset,
}

/// A partition's checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionRow {
    pub log_start: Offset,
    /// Everything before it was flushed.
    pub durable: Mark,
    /// The time last written over records, if it ever was.
    pub last_append_time: Option<Timestamp>,
    /// Rising in both fields.
    pub epochs: Vec<EpochStart>,
}

impl PartitionRow {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(49 + 12 * self.epochs.len());
        out.put_u8(ROW_VERSION);
        out.put_u64(self.log_start.number());
        out.put_u64(self.durable.offset.number());
        out.put_u64(self.durable.segment.number());
        out.put_u64(self.durable.position);
        out.put_i64(self.last_append_time.map_or(i64::MIN, Timestamp::as_millis));
        out.put_u32(u32::try_from(self.epochs.len()).expect("at most 2^20 epochs exist"));
        for entry in &self.epochs {
            out.put_u32(entry.epoch.number());
            out.put_u64(entry.start.number());
        }
        out.into()
    }

    /// Reads a row; none if it is not one.
    pub(crate) fn decode(mut row: &[u8]) -> Option<PartitionRow> {
        if row.try_get_u8().ok()? != ROW_VERSION {
            return None;
        }
        let log_start = Offset::new(row.try_get_u64().ok()?);
        let durable = Mark {
            offset: Offset::new(row.try_get_u64().ok()?),
            segment: Offset::new(row.try_get_u64().ok()?),
            position: row.try_get_u64().ok()?,
        };
        let last_append_time = match row.try_get_i64().ok()? {
            i64::MIN => None,
            millis => Some(Timestamp::from_millis(millis)),
        };
        let count = row.try_get_u32().ok()?;
        let mut epochs = Vec::new();
        for _ in 0..count {
            let epoch = LogEpoch::new(row.try_get_u32().ok()?)?;
            let start = Offset::new(row.try_get_u64().ok()?);
            epochs.push(EpochStart { epoch, start });
        }
        row.is_empty().then_some(PartitionRow { log_start, durable, last_append_time, epochs })
    }
}

pub(crate) fn partition_key(id: PartitionId) -> Bytes {
    let mut key = Vec::with_capacity(22);
    key.put_slice(PARTITION_PREFIX);
    key.put_slice(&id.stream.to_bytes());
    key.put_u32(id.index.as_u32());
    key.into()
}

pub(crate) fn parse_partition_key(key: &[u8]) -> Option<PartitionId> {
    let mut rest = key.strip_prefix(PARTITION_PREFIX)?;
    let mut stream = [0; 16];
    rest.try_copy_to_slice(&mut stream).ok()?;
    let index = PartitionIndex::try_from(i64::from(rest.try_get_u32().ok()?)).ok()?;
    rest.is_empty().then_some(PartitionId { stream: StreamId::from_bytes(stream), index })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_damaged_ones_do_not() {
        let row = PartitionRow {
            log_start: Offset::new(5),
            durable: Mark { offset: Offset::new(9), segment: Offset::new(4), position: 700 },
            last_append_time: Some(Timestamp::from_millis(-1)),
            epochs: vec![EpochStart { epoch: LogEpoch::ZERO, start: Offset::ZERO }],
        };
        let bytes = row.encode();
        assert_eq!(PartitionRow::decode(&bytes), Some(row));
        for length in 0..bytes.len() {
            assert_eq!(PartitionRow::decode(&bytes[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn partition_keys_read_back() {
        let id = PartitionId {
            stream: StreamId::from_bytes([7; 16]),
            index: PartitionIndex::try_from(3).expect("small"),
        };
        assert_eq!(parse_partition_key(&partition_key(id)), Some(id));
        assert_eq!(parse_partition_key(b"lp"), None);
    }
}
