//! How far a log and the files that it was rotated to are kept.
//!
//! A file is told by its device and inode, and by what it begins with: inodes are given out again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::command::output::Failure;

/// Bytes of a file's beginning that tell it from another one in its inode.
const HEAD_BYTES_MAX: u64 = 1024;
/// Files whose positions are kept; a log is rarely rotated twice before its writer notices.
const FILES_MAX: usize = 16;

/// A file's device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// Up to where a file is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FilePosition {
    pub(super) id: FileId,
    /// Bytes, whole lines all of them.
    pub(super) offset: u64,
    /// CRC-32 of so many of the first bytes as are kept, [`HEAD_BYTES_MAX`] at most.
    head_crc: u32,
}

/// Up to where each file is kept, the one that was read last at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Positions {
    files: Vec<FilePosition>,
}

impl FileId {
    pub(super) fn of(metadata: &fs::Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl FilePosition {
    /// The position in an open file.
    pub(super) fn of(file: &File, id: FileId, offset: u64) -> io::Result<FilePosition> {
        Ok(FilePosition { id, offset, head_crc: head_crc(file, offset)? })
    }

    /// Whether its checksum is that of all later positions in the file.
    pub(super) fn has_whole_head(&self) -> bool {
        self.offset >= HEAD_BYTES_MAX
    }

    /// A later position, where the checksum stays.
    pub(super) fn at(self, offset: u64) -> FilePosition {
        FilePosition { offset, ..self }
    }

    /// Whether the file is the one that it was.
    fn is_of(&self, file: &File, metadata: &fs::Metadata) -> io::Result<bool> {
        let is_long_enough = metadata.len() >= self.offset;
        Ok(self.id == FileId::of(metadata)
            && is_long_enough
            && self.head_crc == head_crc(file, self.offset)?)
    }
}

fn head_crc(file: &File, offset: u64) -> io::Result<u32> {
    let mut head = vec![0; usize::try_from(offset.min(HEAD_BYTES_MAX)).unwrap_or(0)];
    file.read_exact_at(&mut head, 0)?;
    Ok(crc32fast::hash(&head))
}

impl Positions {
    /// What was written down; nothing where nothing was.
    pub(super) fn load(file: &Path) -> Result<Positions, Failure> {
        let named = |what: &str| Failure::of("position", format!("{}: {what}", file.display()));
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Positions::default());
            }
            Err(error) => return Err(named(&error.to_string())),
        };
        serde_json::from_slice(&text).map_err(|error| named(&format!("is no position: {error}")))
    }

    /// Writes them down: a crash leaves the old ones or these.
    pub(super) fn save(&self, file: &Path) -> Result<(), Failure> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let aside = file.with_extension("new");
        let written = || -> io::Result<()> {
            fs::create_dir_all(folder)?;
            let mut out = File::create(&aside)?;
            out.write_all(&serde_json::to_vec(self)?)?;
            out.sync_data()?;
            fs::rename(&aside, file)
        };
        written().map_err(|error| {
            Failure::of("position", format!("cannot write {}: {error}", file.display()))
        })
    }

    /// Notes that a file is kept up to there.
    pub(super) fn note(&mut self, position: FilePosition) {
        match self.files.iter_mut().find(|known| known.id == position.id) {
            Some(known) => *known = position,
            None => {
                self.files.push(position);
                let surplus = self.files.len().saturating_sub(FILES_MAX);
                self.files.drain(..surplus);
            }
        }
    }

    /// Up to where an open file is kept, if it was read before.
    pub(super) fn offset_in(
        &self,
        file: &File,
        metadata: &fs::Metadata,
    ) -> io::Result<Option<u64>> {
        for position in &self.files {
            if position.is_of(file, metadata)? {
                return Ok(Some(position.offset));
            }
        }
        Ok(None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Reads what a file has behind `offset`, a piece at a time.
pub(super) fn read_behind(file: &File, offset: u64, out: &mut Vec<u8>) -> io::Result<usize> {
    let before = out.len();
    let mut behind = ReadAt { file, offset };
    behind.by_ref().take(PIECE_BYTES).read_to_end(out)?;
    Ok(out.len() - before)
}

const PIECE_BYTES: u64 = 64 * 1024;

struct ReadAt<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(out, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_inode_and_its_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::write(&path, "first\nsecond\n").expect("written");
        let open = |path: &Path| {
            let file = File::open(path).expect("it is there");
            let metadata = file.metadata().expect("it is open");
            (file, metadata)
        };
        let (file, metadata) = open(&path);
        let mut positions = Positions::default();
        let id = FileId::of(&metadata);
        positions.note(FilePosition::of(&file, id, 6).expect("readable"));
        let saved = folder.path().join("state/position.json");
        positions.save(&saved).expect("saved");
        assert_eq!(Positions::load(&saved).expect("loaded"), positions);
        let moved = folder.path().join("log.1");
        fs::rename(&path, &moved).expect("renamed");
        let (file, metadata) = open(&moved);
        assert_eq!(positions.offset_in(&file, &metadata).expect("readable"), Some(6));
        // The same inode, other lines: cut and written anew.
        fs::write(&moved, "third\nand more\n").expect("written");
        let (file, metadata) = open(&moved);
        assert_eq!(positions.offset_in(&file, &metadata).expect("readable"), None);
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("position");
        assert!(Positions::load(&path).expect("nothing is there").is_empty());
        fs::write(&path, "{").expect("written");
        assert!(Positions::load(&path).is_err());
    }
}
