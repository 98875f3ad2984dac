//! The data directory as a whole: who holds it, which format it has, how it was left.
//!
//! | file | what |
//! |---|---|
//! | `LOCK` | exclusive lock while a process runs; its text says which |
//! | `FORMAT` | format version, feature bits, cluster id; written once |
//! | `CLEAN` | exists only after a clean stop; deleted before the first write |
//! | `BALLAST` | see [`disk_room`](super::disk_room) |
//!
//! ```text
//! FORMAT:  8 "weirdata"   4 version   8 feature bits   16 cluster id   4 CRC-32
//! ```

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use weir_model::random::Random;

use crate::disk::{Disk, Lock, LockGuard, read_file, write_file_atomically};
use crate::local::disk_room::{DiskRoom, Reserve};
use crate::local::layout::LOGS;

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const CLEAN: &str = "CLEAN";

const MAGIC: &[u8; 8] = b"weirdata";
/// Format 1 was never released: there, each stream had a directory for its partitions' own.
const VERSION: u32 = 2;
/// Reserved: small batches of many partitions share a journal. Not written and not read yet.
const FEATURE_SHARED_JOURNAL: u64 = 1;
/// The features that this program knows how to read.
const FEATURES_KNOWN: u64 = 0;
const _: () = assert!(FEATURES_KNOWN & FEATURE_SHARED_JOURNAL == 0, "nobody reads a journal yet");

/// Why a data directory cannot be used. The text is a sentence for whoever started weir.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    Locked {
        /// What that process says of itself.
        holder: String,
    },
    /// A newer weir wrote it, or it is not a data directory.
    Format(String),
    /// `meta.redb` and the logs do not belong together.
    Mismatch(String),
    /// The metadata store failed.
    Meta(String),
    /// All log epochs are used up.
    EpochsExhausted,
    /// The operating system refused.
    Io {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { holder } => {
                write!(out, "the data directory is in use by another process ({holder})")
            }
            OpenError::Format(text) | OpenError::Mismatch(text) | OpenError::Meta(text) => {
                out.write_str(text)
            }
            OpenError::EpochsExhausted => {
                out.write_str("the data directory has no log epochs left (2^20 unclean stops)")
            }
            OpenError::Io { what, error } => write!(out, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Turns an operating system's error into an [`OpenError`].
pub(crate) fn cannot(what: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |error| OpenError::Io { what, error }
}

/// A locked data directory.
#[derive(Debug)]
pub struct DataDir {
    disk: Arc<dyn Disk>,
    room: Arc<DiskRoom>,
    format: Option<u128>,
    was_stopped_cleanly: bool,
    _lock: LockGuard,
}

impl DataDir {
    /// Locks the directory and checks its format; nothing in it is changed but the lock and the
    /// reserve.
    pub fn open(disk: Arc<dyn Disk>, reserve: Reserve) -> Result<DataDir, OpenError> {
        let holder = format!("process {}", std::process::id());
        let lock = match disk.lock(Path::new(LOCK), &holder).map_err(cannot("lock LOCK"))? {
            Lock::Taken(guard) => guard,
            Lock::Held(holder) => return Err(OpenError::Locked { holder }),
        };
        let format =
            read_file(&*disk, Path::new(FORMAT), 1 << 10).map_err(cannot("read FORMAT"))?;
        let format = format.map(|bytes| parse_format(&bytes)).transpose()?;
        if format.is_none() && holds_logs(&*disk).map_err(cannot("list the logs"))? {
            let text = "the data directory holds logs but no FORMAT file; it was not made by weir \
                        or is damaged";
            return Err(OpenError::Mismatch(text.to_owned()));
        }
        let room = DiskRoom::take(&disk, reserve).map_err(cannot("reserve space"))?;
        let names = disk.list(Path::new("")).map_err(cannot("list the data directory"))?;
        let was_stopped_cleanly = names.iter().any(|entry| entry.name == CLEAN);
        let room = Arc::new(room);
        Ok(DataDir { disk, room, format, was_stopped_cleanly, _lock: lock })
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Its reserve of space.
    pub fn room(&self) -> &Arc<DiskRoom> {
        &self.room
    }

    /// Whether nothing was ever kept here.
    pub(crate) fn is_new(&self) -> bool {
        self.format.is_none()
    }

    /// Whether the run before stopped cleanly, so that all it wrote is on the disk.
    pub(crate) fn was_stopped_cleanly(&self) -> bool {
        self.was_stopped_cleanly
    }

    /// The cluster id in FORMAT; none in a new directory.
    pub(crate) fn cluster_id(&self) -> Option<u128> {
        self.format
    }

    /// Writes FORMAT into a new directory.
    pub(crate) fn format(&mut self, cluster_id: u128) -> Result<(), OpenError> {
        let mut content = Vec::with_capacity(40);
        content.put_slice(MAGIC);
        content.put_u32(VERSION);
        content.put_u64(FEATURES_KNOWN);
        content.put_u128(cluster_id);
        content.put_u32(crc32fast::hash(&content));
        write_file_atomically(&*self.disk, Path::new(FORMAT), &content)
            .map_err(cannot("write FORMAT"))?;
        self.format = Some(cluster_id);
        Ok(())
    }

    /// Whether the last stop was clean. Takes the mark away, durably, so that the next start knows
    /// whether this run stopped cleanly too.
    pub(crate) fn take_clean_mark(&self) -> Result<bool, OpenError> {
        match self.disk.remove_file(Path::new(CLEAN)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(cannot("remove CLEAN")(error)),
        }
        self.disk.sync_dir(Path::new("")).map_err(cannot("sync the data directory"))?;
        Ok(true)
    }

    /// Marks the stop as clean: everything is flushed and checkpointed.
    pub(crate) fn put_clean_mark(&self) -> io::Result<()> {
        write_file_atomically(&*self.disk, Path::new(CLEAN), b"clean\n")
    }
}

/// Draws the id of a new cluster.
pub(crate) fn new_cluster_id(random: &dyn Random) -> u128 {
    (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64())
}

fn holds_logs(disk: &dyn Disk) -> io::Result<bool> {
    match disk.list(Path::new(LOGS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        listed => Ok(!listed?.is_empty()),
    }
}

fn parse_format(content: &[u8]) -> Result<u128, OpenError> {
    let damaged = || OpenError::Format("FORMAT is damaged or not weir's".to_owned());
    let (fields, mut crc) = content.split_at_checked(36).ok_or_else(damaged)?;
    if crc.try_get_u32() != Ok(crc32fast::hash(fields)) {
        return Err(damaged());
    }
    let mut fields = fields.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let version = fields.try_get_u32().map_err(|_| damaged())?;
    let features = fields.try_get_u64().map_err(|_| damaged())?;
    let cluster_id = fields.try_get_u128().map_err(|_| damaged())?;
    let unknown = features & !FEATURES_KNOWN;
    if version < VERSION {
        return Err(OpenError::Format(format!(
            "the data directory was written before the first release of weir (format {version}), \
             which this one cannot read: it reads format {VERSION}"
        )));
    }
    if version != VERSION || unknown != 0 {
        return Err(OpenError::Format(format!(
            "the data directory was written by a newer weir (format {version}, unknown features \
             {unknown:#x}); this one reads format {VERSION}"
        )));
    }
    Ok(cluster_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    fn open(root: &Path) -> Result<DataDir, OpenError> {
        let disk = SystemDisk::at(root).expect("a temporary directory");
        DataDir::open(Arc::new(disk), Reserve::None)
    }

    #[test]
    fn a_second_process_is_refused_in_a_sentence() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let first = open(root.path()).expect("it is free");
        let refused = open(root.path()).expect_err("it is taken").to_string();
        assert!(refused.contains("in use by another process (process "), "{refused}");
        drop(first);
        open(root.path()).expect("it is free again");
    }

    #[test]
    fn formats_that_cannot_be_read_are_refused_in_a_sentence() {
        let root = tempfile::tempdir().expect("a temporary directory");
        open(root.path()).expect("new").format(7).expect("there is room");
        assert_eq!(open(root.path()).expect("ours").cluster_id(), Some(7));
        let path = root.path().join(FORMAT);
        let mut content = std::fs::read(&path).expect("it was written");
        content[19] |= 2;
        let crc = crc32fast::hash(&content[..36]);
        content[36..].copy_from_slice(&crc.to_be_bytes());
        std::fs::write(&path, &content).expect("writable");
        let refused = open(root.path()).expect_err("unknown").to_string();
        assert!(refused.contains("newer weir") && refused.contains("0x2"), "{refused}");
        content[11] = 1;
        let crc = crc32fast::hash(&content[..36]);
        content[36..].copy_from_slice(&crc.to_be_bytes());
        std::fs::write(&path, &content).expect("writable");
        let refused = open(root.path()).expect_err("too old").to_string();
        assert!(refused.contains("before the first release"), "{refused}");
        content[3] ^= 1;
        std::fs::write(&path, &content).expect("writable");
        let refused = open(root.path()).expect_err("damaged").to_string();
        assert!(refused.contains("FORMAT is damaged"), "{refused}");
    }
}
