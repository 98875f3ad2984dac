//! What to do about a full disk: refuse appends, keep a reserve for everything that frees space.
//!
//! `BALLAST` is a file of nothing but room. When an append finds the disk full it is emptied, so
//! that metadata commits and deletions still have space, and appends are refused without another
//! try. Once there is space for the ballast again and some more, it is taken back and appends go
//! on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

use crate::disk::{Disk, OpenMode};

const BALLAST: &str = "BALLAST";
const BALLAST_BYTES_MAX: u64 = 64 << 20;
/// The ballast is at most this part of the file system.
const BALLAST_PART: u64 = 16;
/// Space beyond the ballast that must be there before appends go on, so that they do not stop
/// again at once.
const MARGIN_BYTES: u64 = 1 << 20;

/// Whether to keep a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// The smaller of 64 MiB and a sixteenth of the file system.
    Ballast,
    /// None: the data directory is temporary.
    None,
}

/// Room on the disk; see the module's text.
#[derive(Debug)]
pub struct DiskRoom {
    disk: Arc<dyn Disk>,
    ballast_bytes: u64,
    full: AtomicBool,
}

impl DiskRoom {
    /// Takes the reserve, if the disk has room for it.
    pub(crate) fn take(disk: &Arc<dyn Disk>, reserve: Reserve) -> io::Result<DiskRoom> {
        let ballast_bytes = match reserve {
            Reserve::Ballast => BALLAST_BYTES_MAX.min(disk.space()?.total / BALLAST_PART),
            Reserve::None => 0,
        };
        let room = DiskRoom { disk: Arc::clone(disk), ballast_bytes, full: AtomicBool::new(false) };
        if let Err(error) = room.retake_ballast() {
            warn!(%error, "no room for the reserve, appends are refused until there is");
            room.note_full();
        }
        Ok(room)
    }

    /// Whether appends must be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// The disk was found full: appends stop, and the reserve is given to what frees space.
    pub(crate) fn note_full(&self) {
        if !self.full.swap(true, Ordering::AcqRel) {
            warn!("disk full, appends are refused until there is space again");
        }
        if let Err(error) = self.release_ballast() {
            warn!(%error, "the reserve could not be released");
        }
    }

    /// Lets appends go on if there is space again. Called about once a second.
    pub(crate) fn look_again(&self) {
        if !self.is_full() {
            return;
        }
        let is_enough =
            self.disk.space().is_ok_and(|space| space.free >= self.ballast_bytes + MARGIN_BYTES);
        if is_enough && self.retake_ballast().is_ok() {
            self.full.store(false, Ordering::Release);
            info!("space on the disk again, appends go on");
        }
    }

    fn retake_ballast(&self) -> io::Result<()> {
        if self.ballast_bytes == 0 {
            return Ok(());
        }
        let file = self.disk.open(Path::new(BALLAST), OpenMode::Create)?;
        let taken = file.length()?;
        if taken < self.ballast_bytes
            && let Err(error) = file.allocate(taken, self.ballast_bytes)
        {
            // Part of it may have been taken.
            file.set_length(0)?;
            return Err(error);
        }
        Ok(())
    }

    fn release_ballast(&self) -> io::Result<()> {
        if self.ballast_bytes == 0 {
            return Ok(());
        }
        self.disk.open(Path::new(BALLAST), OpenMode::Create)?.set_length(0)
    }
}
