//! Walks over the batches of a segment file: by headers alone, or whole with their checksums.
//!
//! Nothing a file says is believed before it is checked: a length leads to the next header only if
//! it stays inside the segment, and nothing is allocated by it beyond the largest batch.

use std::io;

use bytes::Bytes;
use weir_model::batch::{BatchHeader, HEADER_BYTES, RecordBatch};

use crate::disk::DiskFile;

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only what is in memory: the caller is a worker.
    Resident,
    /// Anything: the caller is a thread for blocking work.
    Blocking,
}

/// Why a walk stopped.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// The bytes are on the disk only, and the caller must not wait.
    NotResident,
    /// What stands at this position is not a batch.
    Invalid { position: u64 },
    /// The operating system refused.
    Io(io::Error),
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> WalkError {
        WalkError::Io(error)
    }
}

/// A batch that a walk came by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub header: BatchHeader,
    /// Where it begins.
    pub position: u64,
    /// Where the next one begins.
    pub end: u64,
}

const WINDOW_BYTES: usize = 4096;

/// Goes from header to header without touching what lies between.
pub(crate) struct HeaderWalk<'a> {
    file: &'a dyn DiskFile,
    access: Access,
    position: u64,
    end: u64,
    /// Small batches share a read: one page of the file, at `window_start`.
    window: [u8; WINDOW_BYTES],
    window_start: u64,
    window_bytes: usize,
}

impl<'a> HeaderWalk<'a> {
    /// A walk over the batches from `position`, where one begins, up to `end`.
    pub(crate) fn new(
        file: &'a dyn DiskFile,
        access: Access,
        position: u64,
        end: u64,
    ) -> HeaderWalk<'a> {
        HeaderWalk {
            file,
            access,
            position,
            end,
            window: [0; WINDOW_BYTES],
            window_start: position,
            window_bytes: 0,
        }
    }

    /// The next batch; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, WalkError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let invalid = WalkError::Invalid { position };
        let Ok(header) = BatchHeader::peek(self.header_bytes()?) else { return Err(invalid) };
        let end = position + header.batch_bytes() as u64;
        if end > self.end || header.base_offset < 0 {
            return Err(invalid);
        }
        self.position = end;
        Ok(Some(Found { header, position, end }))
    }

    fn header_bytes(&mut self) -> Result<&[u8], WalkError> {
        let skipped = self.position - self.window_start;
        let is_inside = skipped + HEADER_BYTES as u64 <= self.window_bytes as u64;
        let skipped = if is_inside {
            usize::try_from(skipped).expect("less than the window")
        } else {
            self.read_window()?;
            0
        };
        Ok(self.window.get(skipped..self.window_bytes).unwrap_or_default())
    }

    fn read_window(&mut self) -> Result<(), WalkError> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = left.min(WINDOW_BYTES);
        let window = self.window.get_mut(..wanted).expect("at most the window");
        self.window_bytes = match self.access {
            Access::Blocking => self.file.read_at(window, self.position)?,
            Access::Resident => match self.file.read_resident_at(window, self.position)? {
                // A header that is only half in memory: the rest must be fetched.
                Some(read) if read < HEADER_BYTES.min(wanted) => {
                    return Err(WalkError::NotResident);
                }
                Some(read) => read,
                None => return Err(WalkError::NotResident),
            },
        };
        self.window_start = self.position;
        Ok(())
    }
}

const CHUNK_BYTES: usize = 256 << 10;

/// Reads whole batches one after the other and checks their CRCs. May wait for the disk.
pub(crate) struct BatchScan<'a> {
    file: &'a dyn DiskFile,
    position: u64,
    end: u64,
    /// Bytes of the file from `position` on.
    ahead: Bytes,
}

impl<'a> BatchScan<'a> {
    /// A scan from `position`, where a batch begins, up to `end`.
    pub(crate) fn new(file: &'a dyn DiskFile, position: u64, end: u64) -> BatchScan<'a> {
        BatchScan { file, position, end, ahead: Bytes::new() }
    }

    /// The next batch; none at the end or where the bytes are not a whole, undamaged batch.
    pub(crate) fn next(&mut self) -> io::Result<Option<RecordBatch>> {
        let mut needed = HEADER_BYTES;
        while self.position < self.end {
            if let Ok(header) = BatchHeader::peek(&self.ahead) {
                needed = header.batch_bytes();
            } else if self.ahead.len() >= HEADER_BYTES {
                return Ok(None);
            }
            if (needed as u64) > self.end - self.position {
                return Ok(None);
            }
            if self.ahead.len() < needed {
                self.read_ahead(needed)?;
                if self.ahead.len() < needed {
                    return Ok(None);
                }
                continue;
            }
            let Ok(batch) = RecordBatch::split_first(&mut self.ahead) else { return Ok(None) };
            if batch.verify_crc().is_err() || batch.header().base_offset < 0 {
                return Ok(None);
            }
            self.position += batch.bytes().len() as u64;
            return Ok(Some(batch));
        }
        Ok(None)
    }

    fn read_ahead(&mut self, needed: usize) -> io::Result<()> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let mut chunk = vec![0; needed.max(CHUNK_BYTES).min(left)];
        let read = self.file.read_at(&mut chunk, self.position)?;
        chunk.truncate(read);
        self.ahead = chunk.into();
        Ok(())
    }
}
