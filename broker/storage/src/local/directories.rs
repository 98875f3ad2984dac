//! Directory syncs, shared: one sync makes every name last that was created before it began.
//!
//! Whoever creates a name takes a [`DirectoryTicket`]; the flush that covers the file behind the
//! name redeems it. A ticket is free when another flush has synced the directory since. A sync that
//! failed is never tried again: whoever needs the directory from then on gets the failure too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::disk::{Disk, is_out_of_descriptors};

/// One directory and how far its names are synced.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    created: AtomicU64,
    /// Held over the sync: those who come meanwhile find their name synced, or sync once for all.
    synced: Mutex<Synced>,
}

#[derive(Clone, Copy, Debug)]
enum Synced {
    /// All names created up to this number.
    UpTo(u64),
    /// A sync failed. The kernel may call the names clean from now on, so asking again proves
    /// nothing.
    Failed,
}

/// A name that must last before something else may count.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryTicket {
    directory: Arc<Directory>,
    number: u64,
}

impl Directory {
    pub(crate) fn at(path: PathBuf) -> Arc<Directory> {
        Arc::new(Directory {
            path,
            created: AtomicU64::new(0),
            synced: Mutex::new(Synced::UpTo(0)),
        })
    }

    /// Creates the directory `path` in this one if it is missing. Either way somebody may have
    /// created it a moment ago and not synced it yet, so there is a ticket in both cases.
    pub(crate) fn create(
        self: &Arc<Directory>,
        disk: &dyn Disk,
        path: &Path,
    ) -> io::Result<DirectoryTicket> {
        match disk.create_dir(path) {
            Ok(()) => Ok(self.created()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(self.so_far()),
            Err(error) => Err(error),
        }
    }

    /// A ticket for a name that was just created here.
    pub(crate) fn created(self: &Arc<Directory>) -> DirectoryTicket {
        let number = self.created.fetch_add(1, Ordering::AcqRel) + 1;
        DirectoryTicket { directory: Arc::clone(self), number }
    }

    /// A ticket for all names created here so far.
    fn so_far(self: &Arc<Directory>) -> DirectoryTicket {
        let number = self.created.load(Ordering::Acquire);
        DirectoryTicket { directory: Arc::clone(self), number }
    }
}

impl DirectoryTicket {
    /// Whether another flush has synced the name already.
    pub(crate) fn is_free(&self) -> bool {
        let synced = self.directory.synced.try_lock();
        synced
            .is_some_and(|synced| matches!(*synced, Synced::UpTo(number) if number >= self.number))
    }

    /// Makes the name last. Blocks.
    pub(crate) fn redeem(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut synced = self.directory.synced.lock();
        match *synced {
            Synced::UpTo(number) if number >= self.number => return Ok(()),
            Synced::UpTo(_) => {}
            Synced::Failed => {
                return Err(io::Error::other("an earlier sync of the directory failed"));
            }
        }
        let covered = self.directory.created.load(Ordering::Acquire);
        let result = disk.sync_dir(&self.directory.path);
        *synced = match &result {
            Ok(()) => Synced::UpTo(covered),
            // Without a descriptor the directory was not even opened: nothing was tried.
            Err(cause) if is_out_of_descriptors(cause) => *synced,
            Err(_) => Synced::Failed,
        };
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DirEntry, DiskFile, Lock, OpenMode, Space};

    /// Fails syncs of directories as told, one after the other, and can do nothing else.
    #[derive(Debug)]
    struct SyncsOnly(Mutex<Vec<Option<i32>>>);

    impl Disk for SyncsOnly {
        fn open(&self, _: &Path, _: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn create_dir(&self, _: &Path) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn remove_file(&self, _: &Path) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn remove_dir(&self, _: &Path) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn sync_dir(&self, _: &Path) -> io::Result<()> {
            match self.0.lock().remove(0) {
                None => Ok(()),
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            }
        }
        fn lock(&self, _: &Path, _: &str) -> io::Result<Lock> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn space(&self) -> io::Result<Space> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Redeems one ticket after the other, while syncs end as told.
    fn redeem_all(syncs: Vec<Option<i32>>, tickets: usize) -> Vec<bool> {
        let disk = SyncsOnly(Mutex::new(syncs));
        let directory = Directory::at(PathBuf::from("logs"));
        (0..tickets).map(|_| directory.created().redeem(&disk).is_ok()).collect()
    }

    #[test]
    fn a_failed_sync_of_a_directory_is_never_tried_again() {
        let io_error = rustix::io::Errno::IO.raw_os_error();
        assert_eq!(redeem_all(vec![None, Some(io_error)], 4), [true, false, false, false]);
    }

    #[test]
    fn a_sync_that_found_no_descriptor_was_not_tried() {
        let none_left = rustix::io::Errno::MFILE.raw_os_error();
        assert_eq!(redeem_all(vec![Some(none_left), None, None], 3), [false, true, true]);
    }
}
