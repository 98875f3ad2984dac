//! Repairing what a crash left of a partition: torn tails, segments behind them, stale files.
//!
//! Nothing is dropped silently: bytes that were cut off are in `quarantine/`, durably, before the
//! log is shortened. Each step can be repeated after another crash.

use std::io;

use tracing::warn;
use weir_model::offset::Offset;

use crate::disk::{DiskFile, OpenMode};
use crate::local::layout::{FileKind, QUARANTINE, file_name};
use crate::local::recovery::Recovery;

impl Recovery<'_> {
    /// Moves what stands behind the last good batch to `quarantine/`, unless it is only the zeros
    /// of room that was never written.
    pub(super) fn quarantine_rest(
        &self,
        log: &dyn DiskFile,
        base: Offset,
        end: u64,
        length: u64,
    ) -> io::Result<()> {
        let rest_bytes = end_of_content(log, end, length)? - end;
        if rest_bytes == 0 {
            return Ok(());
        }
        let disk = &*self.shared.disk;
        let directory = self.make_quarantine()?;
        let name = format!("{:020}-{end}.torn", base.number());
        let copy = disk.open(&directory.join(name), OpenMode::Create)?;
        copy.set_length(0)?;
        let mut position = 0;
        while position < rest_bytes {
            let mut chunk = vec![0; chunk_bytes(rest_bytes - position)];
            let read = log.read_at(&mut chunk, end + position)?;
            chunk.truncate(read);
            if chunk.is_empty() {
                break;
            }
            copy.write_at(&chunk, &[], position)?;
            position += read as u64;
        }
        copy.sync_data()?;
        disk.sync_dir(&directory)?;
        warn!(
            partition = %self.id, offset = %self.opened.end.offset, bytes = rest_bytes,
            "torn tail moved to quarantine"
        );
        Ok(())
    }

    /// Moves a whole log file that no longer follows on what is before it to `quarantine/`.
    pub(super) fn set_aside(&mut self, base: Offset) -> io::Result<()> {
        if self.opened.is_damaged {
            return Ok(());
        }
        let disk = &*self.shared.disk;
        let directory = self.make_quarantine()?;
        let name = file_name(base, FileKind::Log);
        disk.rename(&self.directory.join(&name), &directory.join(&name))?;
        disk.sync_dir(&directory)?;
        warn!(
            partition = %self.id, offset = %base, "segment behind a torn tail moved to quarantine"
        );
        Ok(())
    }

    fn make_quarantine(&self) -> io::Result<std::path::PathBuf> {
        let directory = self.directory.join(QUARANTINE);
        match self.shared.disk.create_dir(&directory) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
            _ => self.shared.disk.sync_dir(self.directory)?,
        }
        Ok(directory)
    }

    /// Removes what was derived from logs that have just been cut: a later log may reach the same
    /// offsets with other records.
    pub(super) fn remove_stale_files(&mut self) -> io::Result<()> {
        let durable = self.row.durable;
        let is_kept = |base: &Offset| self.opened.segments.iter().any(|s| s.base_offset == *base);
        for (base, kind) in &self.derived {
            let is_stale = match kind {
                FileKind::Snapshot => *base > durable.offset,
                _ => *base >= durable.segment || !is_kept(base),
            };
            if is_stale {
                self.shared.disk.remove_file(&self.directory.join(file_name(*base, *kind)))?;
            }
        }
        Ok(())
    }
}

const CHUNK_BYTES: u64 = 256 << 10;

fn chunk_bytes(left: u64) -> usize {
    usize::try_from(left.min(CHUNK_BYTES)).expect("a chunk fits")
}

/// Where the last byte that is not zero stands between `from` and `to`, plus one; `from` if there
/// is none.
fn end_of_content(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<u64> {
    let mut end = from;
    let mut position = from;
    while position < to {
        let mut chunk = vec![0; chunk_bytes(to - position)];
        let read = file.read_at(&mut chunk, position)?;
        let content = chunk.get(..read).unwrap_or_default();
        if content.is_empty() {
            break;
        }
        if let Some(last) = content.iter().rposition(|byte| *byte != 0) {
            end = position + last as u64 + 1;
        }
        position += read as u64;
    }
    Ok(end)
}
