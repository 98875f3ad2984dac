//! The disk under the log, injected: the operating system's ([`SystemDisk`]) or the faulty twin
//! ([`SimDisk`](crate::sim_disk::SimDisk)) on which crashes are rehearsed by seed.
//!
//! A [`Disk`] is one directory, the data directory; every path is relative to it. What survives a
//! power cut is exactly what the contract below says, no more, and the twin takes it at its word:
//!
//! - bytes and the length of a file last after [`DiskFile::sync_data`] on it;
//! - names (a file or directory created, renamed, removed) last after [`Disk::sync_dir`] on the
//!   directory that holds the name, and only if that directory's own name lasts;
//! - everything else may be lost or kept in any combination, torn at 512-byte sectors;
//! - after a failed `sync_data` the bytes it should have covered may be lost although they can
//!   still be read, and a later `sync_data` that succeeds does not cover them.
//!
//! What differs between operating systems stands in [`system_disk`](crate::system_disk) only.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::local::map::Map;

pub use crate::system_disk::SystemDisk;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// It must not exist.
    CreateNew,
    /// It may exist; its content is kept.
    Create,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name; names that are not UTF-8 are not ours and not listed.
    pub name: String,
    /// What it names.
    pub kind: EntryKind,
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file of this many bytes.
    File(u64),
    /// A directory.
    Directory,
}

/// Room on the disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes that the file system has in all.
    pub total: u64,
}

/// The result of [`Disk::lock`].
#[derive(Debug)]
pub enum Lock {
    /// Ours until the guard is dropped or the process ends.
    Taken(LockGuard),
    /// Somebody else's; the text is what they wrote into the lock file.
    Held(String),
}

/// Keeps a lock; dropping it gives the lock up.
pub struct LockGuard {
    _held: Box<dyn Send + Sync>,
}

impl LockGuard {
    pub(crate) fn new(held: impl Send + Sync + 'static) -> LockGuard {
        LockGuard { _held: Box::new(held) }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("LockGuard")
    }
}

/// A directory tree that can be synced. All calls may block.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a directory in an existing one; `AlreadyExists` if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted; the empty path is the data directory itself.
    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>>;

    /// Removes a file. Whoever has it open goes on reading it.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, replacing what had it, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory last.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Takes the exclusive lock that `path` stands for, and writes `holder` into it.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock>;

    /// Room on the file system that holds the data directory.
    fn space(&self) -> io::Result<Space>;
}

/// An open file. Positions are bytes from its start.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes `head` and then `rest` from `position` on, all of both, extending the file if need
    /// be. After an error any part may have been written.
    fn write_at(&self, head: &[u8], rest: &[u8], position: u64) -> io::Result<()>;

    /// Fills the buffer from `position` on; returns less than its length only at the file's end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Like [`DiskFile::read_at`], but never waits for the disk: returns what is in memory, which
    /// may be less than asked for, or none if nothing is.
    fn read_resident_at(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>>;

    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Shortens the file, or extends it with zeros that may have no room on the disk yet.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Extends the file from its end at `from` to `to` with zeros that have room on the disk, so
    /// that a full disk is an error here and not at a later write.
    fn allocate(&self, from: u64, to: u64) -> io::Result<()>;

    /// Makes bytes and length last.
    fn sync_data(&self) -> io::Result<()>;

    /// Maps the first `length` bytes, which the file must have, for reading; none where there are
    /// no maps.
    fn map(&self, length: u64) -> io::Result<Option<Map>>;
}

/// Whether the process or the system has no file descriptor left; nothing was done then.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|none_left| error.raw_os_error() == Some(none_left.raw_os_error()))
}

/// Whether an error says that there is no room, on the disk or in a quota.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Reads a whole small file; none if it does not exist, an error if it has more than `limit` bytes.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than it can be"));
    }
    let mut content = vec![0; length];
    let read = file.read_at(&mut content, 0)?;
    content.truncate(read);
    Ok(Some(content))
}

/// Writes a small file so that after a crash it is there whole or not at all: a temporary file,
/// synced, renamed, and its directory synced.
pub(crate) fn write_file_atomically(
    disk: &dyn Disk,
    path: &Path,
    content: &[u8],
) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let file = disk.open(&temporary, OpenMode::Create)?;
    file.set_length(0)?;
    file.write_at(content, &[], 0)?;
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))
}

/// Writes bytes over themselves, so that the next sync covers them. After an unclean stop that is
/// the only way to be sure of them: a sync that failed in the process before has left pages that
/// can be read, count as clean, and never reached the disk.
pub(crate) fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    const CHUNK_BYTES: u64 = 256 << 10;
    let mut position = from;
    while position < to {
        let chunk_bytes = usize::try_from((to - position).min(CHUNK_BYTES)).expect("a chunk fits");
        let mut chunk = vec![0; chunk_bytes];
        let read = file.read_at(&mut chunk, position)?;
        let content = chunk.get(..read).unwrap_or_default();
        if content.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(content, &[], position)?;
        position += read as u64;
    }
    Ok(())
}
