//! The seal of a finished segment: what it holds, and checksums to prove it later.
//!
//! ```text
//!  at  bytes
//!   0    8   "weirseal"
//!   8    8   length of the log file
//!  16    8   offset after the last record
//!  24    8   records
//!  32    8   largest timestamp
//!  40    4   CRC-32 of the .index file
//!  44    4   CRC-32 of the .timeindex file
//!  48    4   CRC-32 of the above
//!  52   4n   CRC-32 of each 64 KiB of the log file
//!        4   CRC-32 of the list before
//! ```
//!
//! A clean stop writes the first part for the growing segment too, so that the next start need not
//! walk it. Derived: without a seal the segment's headers are walked instead. Big-endian.

use std::io;

use bytes::{Buf, BufMut};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::disk::DiskFile;

const MAGIC: &[u8; 8] = b"weirseal";
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of the first part, which is all that opening a segment needs.
const HEAD_BYTES: usize = 52;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub length: u64,
    pub next_offset: Offset,
    pub record_count: u64,
    pub max_timestamp: Timestamp,
}

/// CRC-32 of the files beside a log, by which a damaged one is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexChecksums {
    pub offsets: u32,
    pub times: u32,
}

/// The first part of a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub summary: Summary,
    pub indexes: IndexChecksums,
}

impl Seal {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.put_slice(MAGIC);
        out.put_u64(self.summary.length);
        out.put_u64(self.summary.next_offset.number());
        out.put_u64(self.summary.record_count);
        out.put_i64(self.summary.max_timestamp.as_millis());
        out.put_u32(self.indexes.offsets);
        out.put_u32(self.indexes.times);
        out.put_u32(crc32fast::hash(&out));
        out
    }

    /// The whole seal, with the checksums of `log`'s bytes. Reads them all.
    pub(crate) fn encode_whole(&self, log: &dyn DiskFile) -> io::Result<Vec<u8>> {
        let mut out = self.encode();
        let mut checksums = Vec::new();
        let mut block = vec![0; BLOCK_BYTES];
        let (mut position, length) = (0, self.summary.length);
        while position < length {
            let left = usize::try_from(length - position).unwrap_or(usize::MAX);
            let part = block.get_mut(..left.min(BLOCK_BYTES)).expect("at most a block");
            if log.read_at(part, position)? < part.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            checksums.put_u32(crc32fast::hash(part));
            position += part.len() as u64;
        }
        out.put_slice(&checksums);
        out.put_u32(crc32fast::hash(&checksums));
        Ok(out)
    }

    /// Reads the first part of a seal; none if it is damaged.
    pub(crate) fn decode(seal: &[u8]) -> Option<Seal> {
        let (fields, mut rest) = seal.split_at_checked(HEAD_BYTES - 4)?;
        if rest.try_get_u32().ok()? != crc32fast::hash(fields) {
            return None;
        }
        let mut fields = fields.strip_prefix(MAGIC)?;
        let summary = Summary {
            length: fields.try_get_u64().ok()?,
            next_offset: Offset::new(fields.try_get_u64().ok()?),
            record_count: fields.try_get_u64().ok()?,
            max_timestamp: Timestamp::from_millis(fields.try_get_i64().ok()?),
        };
        let offsets = fields.try_get_u32().ok()?;
        let times = fields.try_get_u32().ok()?;
        Some(Seal { summary, indexes: IndexChecksums { offsets, times } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_read_back_and_damaged_ones_do_not() {
        let seal = Seal {
            summary: Summary {
                length: 1000,
                next_offset: Offset::new(50),
                record_count: 10,
                max_timestamp: Timestamp::from_millis(7),
            },
            indexes: IndexChecksums { offsets: 1, times: 2 },
        };
        let bytes = seal.encode();
        assert_eq!(Seal::decode(&bytes), Some(seal));
        for damaged in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[damaged] ^= 1;
            assert_eq!(Seal::decode(&bytes), None, "byte {damaged}");
            assert_eq!(Seal::decode(&bytes[..damaged]), None, "{damaged} bytes");
        }
    }
}
