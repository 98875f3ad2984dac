//! Read-only memory maps of segment files. The only unsafe code of the data path.
//!
//! A map may cover bytes that are not published yet; what leaves this module as [`Bytes`] covers
//! the range that was asked for and nothing else, and keeps the map alive. Nothing is ever stored
//! through a map, and no mapped file ever shrinks below what was handed out: retention unlinks
//! files whole, a roll only cuts off the unpublished rest.

#![expect(unsafe_code, reason = "mapping a file is unsafe: somebody could shrink it meanwhile")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// A read-only map of the start of a file.
#[derive(Debug)]
pub struct Map {
    mapped: memmap2::Mmap,
}

impl Map {
    /// Maps the first `length` bytes of `file`, which must have that many.
    pub(crate) fn of(file: &File, length: u64) -> io::Result<Map> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        // SAFETY: the data directory is ours alone (its LOCK is held), so nobody else writes or
        // shrinks the file. We ourselves write only behind the published end and hand out only
        // bytes before it, so no byte behind a shared reference ever changes; and no segment file
        // is shortened below its published end while the process lives (see the module's text).
        let mapped = unsafe { memmap2::MmapOptions::new().len(length).map(file)? };
        Ok(Map { mapped })
    }

    /// How many bytes are mapped.
    pub(crate) fn length(&self) -> u64 {
        self.mapped.len() as u64
    }

    /// A range of the map that keeps the map alive; none if the map does not reach that far.
    /// The range must be published.
    pub(crate) fn window(self: &Arc<Map>, range: Range<usize>) -> Option<Bytes> {
        self.mapped.get(range.clone())?;
        Some(Bytes::from_owner(Window { map: Arc::clone(self), range }))
    }
}

/// Owner of handed-out bytes: sees its own range only.
struct Window {
    map: Arc<Map>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Window {
    fn as_ref(&self) -> &[u8] {
        self.map.mapped.get(self.range.clone()).expect("checked when the window was made")
    }
}
