//! The seal of a finished segment: what it holds, and checksums to prove it later.
//!
//! ```text
//!  at  bytes
//!   0    8   "weirseal"
//!   8    8   length of the log file
//!  16    8   offset after the last record
//!  24    8   records
//!  32    8   largest timestamp
//!  40    4   CRC-32 of the above
//!  44   4n   CRC-32 of each 64 KiB of the log file
//!        4   CRC-32 of the list before
//! ```
//!
//! Derived: without it the segment's headers are walked instead. Big-endian.

use std::io;

use bytes::{Buf, BufMut};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::disk::DiskFile;

const MAGIC: &[u8; 8] = b"weirseal";
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of the first part, which is all that opening a segment needs.
pub(crate) const SUMMARY_BYTES: usize = 44;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub length: u64,
    pub next_offset: Offset,
    pub record_count: u64,
    pub max_timestamp: Timestamp,
}

impl Summary {
    /// The whole seal, with the checksums of `log`'s first `length` bytes. Reads them all.
    pub(crate) fn seal(&self, log: &dyn DiskFile) -> io::Result<Vec<u8>> {
        let mut out = self.encode();
        let mut checksums = Vec::new();
        let mut block = vec![0; BLOCK_BYTES];
        let mut position = 0;
        while position < self.length {
            let left = usize::try_from(self.length - position).unwrap_or(usize::MAX);
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

    /// The first part alone.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SUMMARY_BYTES);
        out.put_slice(MAGIC);
        out.put_u64(self.length);
        out.put_u64(self.next_offset.number());
        out.put_u64(self.record_count);
        out.put_i64(self.max_timestamp.as_millis());
        out.put_u32(crc32fast::hash(&out));
        out
    }

    /// Reads the first part of a seal; none if it is damaged.
    pub(crate) fn decode(seal: &[u8]) -> Option<Summary> {
        let (fields, mut rest) = seal.split_at_checked(SUMMARY_BYTES - 4)?;
        if rest.try_get_u32().ok()? != crc32fast::hash(fields) {
            return None;
        }
        let mut fields = fields.strip_prefix(MAGIC)?;
        Some(Summary {
            length: fields.try_get_u64().ok()?,
            next_offset: Offset::new(fields.try_get_u64().ok()?),
            record_count: fields.try_get_u64().ok()?,
            max_timestamp: Timestamp::from_millis(fields.try_get_i64().ok()?),
        })
    }
}
