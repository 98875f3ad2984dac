//! From a plan to bytes: a range of a segment as a slice of its map, or read by a blocking thread.
//!
//! A worker never waits for the disk: before a slice of the map is handed out, the kernel is asked
//! whether its pages are in memory (`preadv2(RWF_NOWAIT)`, one byte every 64 KiB).

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::error::ReadError;
use crate::local::segment::{OpenFile, Segment};

/// The published range of a segment that a read plan names.
#[derive(Clone, Debug)]
pub struct SegmentRange {
    segment: Arc<Segment>,
    position: u64,
    length: usize,
}

/// How far apart residency is asked for: the kernel reads ahead and evicts in larger steps.
const RESIDENCY_STEP_BYTES: usize = 64 << 10;

impl SegmentRange {
    /// `length` published bytes from `position` on.
    pub(crate) fn new(segment: Arc<Segment>, position: u64, length: usize) -> SegmentRange {
        assert!(
            position + length as u64 <= segment.published(),
            "a range past the published end would show bytes that are still being written"
        );
        SegmentRange { segment, position, length }
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// `length` of its bytes from its byte `from` on.
    pub(crate) fn piece(&self, from: usize, length: usize) -> SegmentRange {
        assert!(from + length <= self.length, "a piece that reaches past its range");
        let position = self.position + from as u64;
        SegmentRange { segment: Arc::clone(&self.segment), position, length }
    }

    /// The bytes, if they are in memory: a slice of the map, nothing copied.
    pub fn resident(&self) -> Option<Bytes> {
        let open = self.segment.open().ok()?;
        if !self.is_resident(&*open.file) {
            return None;
        }
        match self.mapped(&open) {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => {
                let mut bytes = vec![0; self.length];
                let read = open.file.read_resident_at(&mut bytes, self.position).ok()?;
                (read == Some(self.length)).then(|| bytes.into())
            }
            Err(_) => None,
        }
    }

    /// The bytes; a cold range is read by a blocking thread.
    pub async fn load(&self) -> Result<Bytes, ReadError> {
        if let Some(bytes) = self.resident() {
            return Ok(bytes);
        }
        let range = self.clone();
        let reading = tokio::task::spawn_blocking(move || range.read());
        let read = reading.await.map_err(io::Error::other).flatten();
        read.map_err(|error| ReadError::Io(error.to_string()))
    }

    fn read(&self) -> io::Result<Bytes> {
        let open = self.segment.open()?;
        let mut bytes = vec![0; self.length];
        if open.file.read_at(&mut bytes, self.position)? < self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }

    fn is_resident(&self, file: &dyn DiskFile) -> bool {
        let last = self.length.saturating_sub(1);
        let mut byte = [0];
        (0..last).step_by(RESIDENCY_STEP_BYTES).chain([last]).all(|skipped| {
            let position = self.position + skipped as u64;
            matches!(file.read_resident_at(&mut byte, position), Ok(Some(1)))
        })
    }

    fn mapped(&self, open: &OpenFile) -> io::Result<Option<Bytes>> {
        let start = usize::try_from(self.position).map_err(io::Error::other)?;
        let range = start..start + self.length;
        let mut slot = open.map.lock();
        if let Some(map) = &*slot
            && let Some(bytes) = map.window(range.clone())
        {
            return Ok(Some(bytes));
        }
        // The file is longer than what is published, so the map serves later reads too.
        let Some(map) = open.file.map(open.file.length()?)? else { return Ok(None) };
        let map = Arc::new(map);
        debug_assert!(map.length() >= range.end as u64, "published bytes are in the file");
        let bytes = map.window(range);
        *slot = Some(map);
        Ok(bytes)
    }
}
