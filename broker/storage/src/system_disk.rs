//! The operating system's disk. Everything that Linux and macOS do differently stands here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use crate::disk::{DirEntry, Disk, DiskFile, EntryKind, Lock, LockGuard, OpenMode, Space};
use crate::local::map::Map;

/// A directory on this machine.
#[derive(Debug)]
pub struct SystemDisk {
    root: PathBuf,
}

impl SystemDisk {
    /// The disk under `root`, which is created if it is missing.
    pub fn at(root: &Path) -> io::Result<SystemDisk> {
        fs::create_dir_all(root)?;
        Ok(SystemDisk { root: root.to_owned() })
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        debug_assert!(path.is_relative(), "a path would leave the data directory");
        self.root.join(path)
    }
}

impl Disk for SystemDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match mode {
            OpenMode::Existing => {}
            OpenMode::CreateNew => {
                options.create_new(true);
            }
            OpenMode::Create => {
                options.create(true).truncate(false);
            }
        }
        let file = options.open(self.absolute(path))?;
        Ok(Arc::new(SystemFile { file }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(self.absolute(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.absolute(directory))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let file_type = entry.file_type()?;
            let kind = if file_type.is_dir() {
                EntryKind::Directory
            } else if file_type.is_file() {
                EntryKind::File(entry.metadata()?.len())
            } else {
                continue;
            };
            entries.push(DirEntry { name, kind });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.absolute(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(self.absolute(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.absolute(from), self.absolute(to))
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(self.absolute(directory))?.sync_all()
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(self.absolute(path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(holder.as_bytes())?;
                Ok(Lock::Taken(LockGuard::new(file)))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The holder's text is a courtesy; the lock is held whatever can be read of it.
                let _ = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
                Ok(Lock::Held(text.trim().to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.root)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}

const HOLDER_BYTES_MAX: u64 = 256;

#[derive(Debug)]
struct SystemFile {
    file: File,
}

impl DiskFile for SystemFile {
    fn write_at(&self, head: &[u8], rest: &[u8], position: u64) -> io::Result<()> {
        let mut parts = [IoSlice::new(head), IoSlice::new(rest)];
        let mut parts = parts.as_mut_slice();
        let mut position = position;
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match write_vectored_at(&self.file, parts, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..)
            && !rest.is_empty()
        {
            match FileExt::read_at(&self.file, rest, position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_resident_at(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        read_resident_at(&self.file, buffer, position)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        allocate(&self.file, from, to)
    }

    fn sync_data(&self) -> io::Result<()> {
        // On Linux this is fdatasync, which covers the length; on macOS the standard library asks
        // for a full flush down to the medium (F_FULLFSYNC).
        self.file.sync_data()
    }

    fn map(&self, length: u64) -> io::Result<Option<Map>> {
        Map::of(&self.file, length).map(Some)
    }
}

#[cfg(target_os = "linux")]
fn write_vectored_at(file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
    Ok(rustix::io::pwritev(file, parts, position)?)
}

/// Without `pwritev` in reach the parts are written one by one: two calls instead of one.
#[cfg(not(target_os = "linux"))]
fn write_vectored_at(file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
    let first = parts.iter().find(|part| !part.is_empty());
    first.map_or(Ok(0), |part| FileExt::write_at(file, part, position))
}

#[cfg(target_os = "linux")]
fn read_resident_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
    use rustix::io::{Errno, ReadWriteFlags};
    let mut parts = [io::IoSliceMut::new(buffer)];
    match rustix::io::preadv2(file, &mut parts, position, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        // A file system that cannot say (tmpfs before 6.x among them) is read plainly: where it
        // matters, on disks, the answer exists.
        Err(Errno::OPNOTSUPP) => FileExt::read_at(file, buffer, position).map(Some),
        Err(error) => Err(error.into()),
    }
}

/// There is no way to ask; the read may wait for the disk.
#[cfg(not(target_os = "linux"))]
fn read_resident_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
    FileExt::read_at(file, buffer, position).map(Some)
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), from, to - from) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            // Some network and overlay file systems cannot reserve; there a full disk is an error
            // of the write.
            Err(Errno::OPNOTSUPP) => return file.set_len(to),
            Err(error) => return Err(error.into()),
        }
    }
}

/// macOS reserves nothing here: a full disk is an error of the write.
#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, _from: u64, to: u64) -> io::Result<()> {
    file.set_len(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_learns_who_has_the_lock() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let disk = SystemDisk::at(root.path()).expect("the directory is there");
        let path = Path::new("LOCK");
        let first = disk.lock(path, "process 1").expect("nobody else locks");
        assert!(matches!(first, Lock::Taken(_)));
        match disk.lock(path, "process 2").expect("the file is there") {
            Lock::Held(holder) => assert_eq!(holder, "process 1"),
            Lock::Taken(_) => panic!("locked twice"),
        }
        drop(first);
        assert!(matches!(disk.lock(path, "process 2"), Ok(Lock::Taken(_))));
    }

    #[test]
    fn both_parts_are_written_one_after_the_other() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let disk = SystemDisk::at(root.path()).expect("the directory is there");
        let file = disk.open(Path::new("file"), OpenMode::CreateNew).expect("it is new");
        file.allocate(0, 64).expect("there is room");
        file.write_at(b"head", b"rest", 10).expect("there is room");
        file.write_at(b"", b"!", 18).expect("there is room");
        let mut read = [0; 9];
        assert_eq!(file.read_at(&mut read, 10).expect("readable"), 9);
        assert_eq!(&read, b"headrest!");
        assert_eq!(file.read_resident_at(&mut read, 60).expect("readable"), Some(4));
        assert_eq!(file.length().expect("readable"), 64);
    }
}
