//! The faulty twin of the disk: in memory, by seed, forgetting exactly what the contract of
//! [`disk`](crate::disk) allows it to forget.
//!
//! ```text
//!   what a process sees      files and names "now"
//!   what is on the medium    files and names as of their last syncs
//!                            + at a power cut: any subset of what was written since
//! ```
//!
//! Each file keeps both contents and the 512-byte sectors in which they differ; names keep the list
//! of changes that no directory sync has covered. [`SimDisk::cut_power`] lets a random subset of
//! sectors, lengths and name changes through and forgets the rest; [`SimDisk::kill`] ends the
//! process only, and loses nothing. After either, files opened before are dead.
//!
//! A crash can be set to the n-th operation from now: that one is done in part, and everything
//! after it fails until the power is cut or the process killed. Syncs and writes can be made to
//! fail by chance, and the disk has a capacity.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use weir_model::random::{Random, SeededRandom};

use crate::disk::{DirEntry, Disk, DiskFile, EntryKind, Lock, LockGuard, OpenMode, Space};
use crate::local::map::Map;

/// What is torn at a power cut, in bytes.
const SECTOR_BYTES: usize = 512;

/// What goes wrong by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The operation, counted from now, in the middle of which everything stops.
    pub crash_at: Option<u64>,
    /// Syncs of files that fail, of 1,000.
    pub sync_failures: u64,
    /// Writes that fail, of 1,000.
    pub write_failures: u64,
}

/// A disk in memory; see the module's text. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    medium: Arc<Mutex<Medium>>,
}

#[derive(Debug)]
struct Medium {
    random: SeededRandom,
    capacity: u64,
    faults: Faults,
    operations: u64,
    /// Counts power cuts and kills; a file opened in an earlier life is dead.
    life: u64,
    is_down: bool,
    is_locked: bool,
    files: BTreeMap<FileId, FileContent>,
    next_file: u64,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    /// In the order in which they were made.
    unsynced_names: Vec<NameChange>,
}

type FileId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(FileId),
    Directory,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, Node),
    Remove(PathBuf),
    /// One change, as journaling file systems make it: the file is never at neither place.
    Move {
        from: PathBuf,
        to: PathBuf,
        node: Node,
    },
}

#[derive(Debug, Default)]
struct FileContent {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
    /// Shortest that the file was since the last sync, if it was shortened.
    shortened_to: Option<usize>,
}

impl SimDisk {
    /// An empty disk of this many bytes.
    pub fn new(seed: u64, capacity: u64) -> SimDisk {
        let names = BTreeMap::from([(PathBuf::new(), Node::Directory)]);
        let medium = Medium {
            random: SeededRandom::new(seed),
            capacity,
            faults: Faults::default(),
            operations: 0,
            life: 0,
            is_down: false,
            is_locked: false,
            files: BTreeMap::new(),
            next_file: 0,
            durable_names: names.clone(),
            names,
            unsynced_names: Vec::new(),
        };
        SimDisk { medium: Arc::new(Mutex::new(medium)) }
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        let mut medium = self.medium.lock();
        let now = medium.operations;
        medium.faults = Faults { crash_at: faults.crash_at.map(|count| now + count), ..faults };
    }

    /// How much fits from now on, in bytes.
    pub fn set_capacity(&self, capacity: u64) {
        self.medium.lock().capacity = capacity;
    }

    /// Operations that changed or synced something so far.
    pub fn operations(&self) -> u64 {
        self.medium.lock().operations
    }

    /// Whether a crash that was set has happened.
    pub fn is_down(&self) -> bool {
        self.medium.lock().is_down
    }

    /// Ends the process: all that was written stays, nothing that was open works any more.
    pub fn kill(&self) {
        self.medium.lock().begin_next_life();
    }

    /// Cuts the power: of what was not synced, a random part is lost.
    pub fn cut_power(&self) {
        let mut medium = self.medium.lock();
        medium.forget();
        medium.begin_next_life();
    }

    /// A digest of everything that a process can see, to compare two runs.
    pub fn digest(&self) -> u32 {
        let medium = self.medium.lock();
        let mut hasher = crc32fast::Hasher::new();
        for (path, node) in &medium.names {
            hasher.update(path.as_os_str().as_encoded_bytes());
            if let Node::File(id) = node {
                hasher.update(medium.files.get(id).map_or(&[][..], |file| &file.now));
            }
        }
        hasher.finalize()
    }
}

impl Medium {
    fn begin_next_life(&mut self) {
        self.life += 1;
        self.is_down = false;
        self.is_locked = false;
        self.faults = Faults::default();
    }

    /// Forgets unsynced names, lengths and sectors, some of each.
    fn forget(&mut self) {
        // Now and then all is kept or all is lost; mostly something between.
        let kept_of_4 = self.below(5);
        for change in std::mem::take(&mut self.unsynced_names) {
            if self.below(4) < kept_of_4 {
                change.apply(&mut self.durable_names);
            }
        }
        let mut names = std::mem::take(&mut self.durable_names);
        // A name lasts only as long as the directory that holds it; parents sort before children.
        let mut kept: BTreeMap<PathBuf, Node> = BTreeMap::new();
        for (path, node) in std::mem::take(&mut names) {
            let has_parent = path.parent().is_none_or(|parent| kept.contains_key(parent));
            if has_parent {
                kept.insert(path, node);
            }
        }
        let is_named = |id: &FileId| kept.values().any(|node| *node == Node::File(*id));
        self.files.retain(|id, _| is_named(id));
        let random = &self.random;
        for file in self.files.values_mut() {
            file.forget(|| random.next_u64() % 4 < kept_of_4);
        }
        self.names.clone_from(&kept);
        self.durable_names = kept;
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    /// Counts an operation. In the middle of the one that the crash was set to, the disk goes down.
    fn begin_operation(&mut self) -> io::Result<Progress> {
        self.check_is_up()?;
        self.operations += 1;
        if self.faults.crash_at.is_some_and(|at| self.operations >= at) {
            self.is_down = true;
            return Ok(Progress::InPart);
        }
        Ok(Progress::Whole)
    }

    fn check_is_up(&self) -> io::Result<()> {
        if self.is_down { Err(down()) } else { Ok(()) }
    }

    fn file(&mut self, id: FileId, life: u64) -> io::Result<&mut FileContent> {
        self.check_is_up()?;
        if life != self.life {
            return Err(io::Error::other("the file was opened before a crash"));
        }
        // Unlinked files live on while they are open; nothing here ever forgets one before a crash.
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        let named = self.names.values().filter_map(|node| match node {
            Node::File(id) => self.files.get(id),
            Node::Directory => None,
        });
        named.map(|file| file.now.len() as u64).sum()
    }

    /// Fails if a file cannot grow by so many bytes.
    fn check_room(&self, more: usize) -> io::Result<()> {
        if more > 0 && self.used() + more as u64 > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let progress = self.begin_operation()?;
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
        progress.result()
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        match self.node(path.parent().unwrap_or(Path::new("")))? {
            Node::Directory => Ok(()),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn has_children(&self, directory: &Path) -> bool {
        self.names.keys().any(|path| path.parent() == Some(directory))
    }
}

/// How far an operation got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Whole,
    /// The crash came in its middle.
    InPart,
}

impl Progress {
    fn result(self) -> io::Result<()> {
        match self {
            Progress::Whole => Ok(()),
            Progress::InPart => Err(down()),
        }
    }
}

fn down() -> io::Error {
    io::Error::other("the machine is down")
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            NameChange::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
            NameChange::Move { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }

    /// Whether a sync of `directory` makes the change last.
    fn is_in(&self, directory: &Path) -> bool {
        let is_child = |path: &PathBuf| path.parent() == Some(directory);
        match self {
            NameChange::Add(path, _) | NameChange::Remove(path) => is_child(path),
            NameChange::Move { from, to, .. } => is_child(from) || is_child(to),
        }
    }
}

impl FileContent {
    /// Writes the sectors that `keeps` lets through.
    fn write(&mut self, bytes: &[u8], position: usize, keeps: impl Fn() -> bool) {
        let end = position + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        let mut at = position;
        while at < end {
            let sector = at / SECTOR_BYTES;
            let until = ((sector + 1) * SECTOR_BYTES).min(end);
            if keeps() {
                copy(bytes, at - position, &mut self.now, at, until - at);
                self.dirty.insert(sector);
            }
            at = until;
        }
    }

    fn set_length(&mut self, length: usize) {
        if length < self.now.len() {
            self.shortened_to = Some(self.shortened_to.map_or(length, |to| to.min(length)));
            self.dirty.retain(|sector| sector * SECTOR_BYTES < length);
        }
        self.now.resize(length, 0);
    }

    /// Makes all that was written last.
    fn sync(&mut self) {
        self.apply_shortening();
        self.durable.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep_sector(sector);
        }
    }

    /// A power cut: what was written since the last sync lasts where `keeps` lets it.
    fn forget(&mut self, keeps: impl Fn() -> bool) {
        if keeps() {
            self.apply_shortening();
        }
        self.shortened_to = None;
        if keeps() {
            self.durable.resize(self.now.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if keeps() {
                self.keep_sector(sector);
            }
        }
        self.now.clone_from(&self.durable);
    }

    fn apply_shortening(&mut self) {
        if let Some(length) = self.shortened_to.take() {
            self.durable.truncate(length);
        }
    }

    fn keep_sector(&mut self, sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.now.len()).min(self.durable.len());
        if start < end {
            copy(&self.now, start, &mut self.durable, start, end - start);
        }
    }
}

fn copy(from: &[u8], from_start: usize, to: &mut [u8], to_start: usize, length: usize) {
    let source = from.get(from_start..from_start + length).expect("inside its source");
    let target = to.get_mut(to_start..to_start + length).expect("inside its target");
    target.copy_from_slice(source);
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut medium = self.medium.lock();
        medium.check_is_up()?;
        let id = match (medium.names.get(path).copied(), mode) {
            (Some(Node::Directory), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Some(Node::File(id)), _) => id,
            (None, OpenMode::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::CreateNew | OpenMode::Create) => {
                medium.check_parent(path)?;
                let id = medium.next_file;
                medium.next_file += 1;
                medium.files.insert(id, FileContent::default());
                medium.change_name(NameChange::Add(path.to_owned(), Node::File(id)))?;
                id
            }
        };
        let life = medium.life;
        Ok(Arc::new(SimFile { medium: Arc::clone(&self.medium), id, life }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.check_is_up()?;
        medium.check_parent(path)?;
        if medium.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        medium.change_name(NameChange::Add(path.to_owned(), Node::Directory))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        let medium = self.medium.lock();
        medium.check_is_up()?;
        if medium.node(directory)? != Node::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let mut entries = Vec::new();
        for (path, node) in &medium.names {
            if path.parent() != Some(directory) {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kind = match node {
                Node::Directory => EntryKind::Directory,
                Node::File(id) => {
                    let length = medium.files.get(id).map_or(0, |file| file.now.len());
                    EntryKind::File(length as u64)
                }
            };
            entries.push(DirEntry { name, kind });
        }
        Ok(entries)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.check_is_up()?;
        match medium.node(path)? {
            Node::File(_) => medium.change_name(NameChange::Remove(path.to_owned())),
            Node::Directory => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.check_is_up()?;
        if medium.node(path)? != Node::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if medium.has_children(path) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        medium.change_name(NameChange::Remove(path.to_owned()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.check_is_up()?;
        medium.check_parent(to)?;
        let node = medium.node(from)?;
        medium.change_name(NameChange::Move { from: from.to_owned(), to: to.to_owned(), node })
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        let progress = medium.begin_operation()?;
        if medium.node(directory)? != Node::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if progress == Progress::Whole {
            for change in std::mem::take(&mut medium.unsynced_names) {
                if change.is_in(directory) {
                    change.apply(&mut medium.durable_names);
                } else {
                    medium.unsynced_names.push(change);
                }
            }
        }
        progress.result()
    }

    fn lock(&self, _path: &Path, _holder: &str) -> io::Result<Lock> {
        let mut medium = self.medium.lock();
        medium.check_is_up()?;
        if medium.is_locked {
            return Ok(Lock::Held("another simulated process".to_owned()));
        }
        medium.is_locked = true;
        let (disk, life) = (Arc::clone(&self.medium), medium.life);
        Ok(Lock::Taken(LockGuard::new(SimLock { disk, life })))
    }

    fn space(&self) -> io::Result<Space> {
        let medium = self.medium.lock();
        medium.check_is_up()?;
        let free = medium.capacity.saturating_sub(medium.used());
        Ok(Space { free, total: medium.capacity })
    }
}

struct SimLock {
    disk: Arc<Mutex<Medium>>,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut medium = self.disk.lock();
        if medium.life == self.life {
            medium.is_locked = false;
        }
    }
}

#[derive(Debug)]
struct SimFile {
    medium: Arc<Mutex<Medium>>,
    id: FileId,
    life: u64,
}

impl SimFile {
    fn grow(&self, medium: &mut Medium, end: u64) -> io::Result<usize> {
        let end = usize::try_from(end).map_err(io::Error::other)?;
        let length = medium.file_in_crash(self.id, self.life)?.now.len();
        medium.check_room(end.saturating_sub(length))?;
        Ok(end)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, head: &[u8], rest: &[u8], position: u64) -> io::Result<()> {
        let mut medium = self.medium.lock();
        let bytes = [head, rest].concat();
        let progress = medium.begin_operation()?;
        let end = self.grow(&mut medium, position + bytes.len() as u64)?;
        let fails = medium.below(1000) < medium.faults.write_failures;
        // A write that does not get through is cut anywhere: each sector may or may not be there.
        let coins = SeededRandom::new(medium.random.next_u64());
        let is_whole = progress == Progress::Whole && !fails;
        let file = medium.file_in_crash(self.id, self.life)?;
        file.write(&bytes, end - bytes.len(), || is_whole || coins.next_u64().is_multiple_of(2));
        progress.result()?;
        if fails { Err(io::Error::other("the write failed")) } else { Ok(()) }
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut medium = self.medium.lock();
        let file = medium.file(self.id, self.life)?;
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let found = file.now.get(start..).unwrap_or_default();
        let read = found.len().min(buffer.len());
        copy(found, 0, buffer, 0, read);
        Ok(read)
    }

    fn read_resident_at(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        self.read_at(buffer, position).map(Some)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.medium.lock().file(self.id, self.life)?.now.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut medium = self.medium.lock();
        let progress = medium.begin_operation()?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        medium.file_in_crash(self.id, self.life)?.set_length(length);
        progress.result()
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        assert!(from <= to, "files are not shortened by allocating");
        let mut medium = self.medium.lock();
        let progress = medium.begin_operation()?;
        progress.result()?;
        let end = self.grow(&mut medium, to)?;
        let file = medium.file(self.id, self.life)?;
        if file.now.len() < end {
            file.set_length(end);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut medium = self.medium.lock();
        let progress = medium.begin_operation()?;
        if progress == Progress::Whole && medium.below(1000) < medium.faults.sync_failures {
            // The pages count as clean from now on, and never reach the medium.
            medium.file(self.id, self.life)?.dirty.clear();
            return Err(io::Error::other("the sync failed"));
        }
        if progress == Progress::Whole {
            medium.file(self.id, self.life)?.sync();
        }
        progress.result()
    }

    fn map(&self, _length: u64) -> io::Result<Option<Map>> {
        Ok(None)
    }
}

impl Medium {
    /// Like [`Medium::file`], for the operation in whose middle the disk goes down.
    fn file_in_crash(&mut self, id: FileId, life: u64) -> io::Result<&mut FileContent> {
        let was_down = std::mem::replace(&mut self.is_down, false);
        let found = self.file(id, life).map(|_| ());
        self.is_down = was_down;
        found?;
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with(content: &[u8]) -> (SimDisk, Arc<dyn DiskFile>) {
        let disk = SimDisk::new(1, 1 << 20);
        let file = disk.open(Path::new("file"), OpenMode::CreateNew).expect("it is new");
        file.write_at(content, &[], 0).expect("there is room");
        (disk, file)
    }

    fn content(disk: &SimDisk) -> Option<Vec<u8>> {
        crate::disk::read_file(disk, Path::new("file"), 1 << 20).expect("readable")
    }

    #[test]
    fn what_was_synced_with_its_name_survives_every_power_cut() {
        let (disk, file) = disk_with(&[7; 3000]);
        file.sync_data().expect("up");
        disk.sync_dir(Path::new("")).expect("up");
        for _ in 0..50 {
            disk.cut_power();
            assert_eq!(content(&disk), Some(vec![7; 3000]));
        }
        assert!(file.length().is_err(), "a file opened before the crash is dead");
    }

    #[test]
    fn a_name_without_a_directory_sync_may_vanish_and_a_sector_without_a_sync_too() {
        let (mut vanished, mut torn) = (0, 0);
        for seed in 0..200 {
            let disk = SimDisk::new(seed, 1 << 20);
            let file = disk.open(Path::new("file"), OpenMode::CreateNew).expect("it is new");
            file.write_at(&[7; 3000], &[], 0).expect("there is room");
            disk.cut_power();
            match content(&disk) {
                None => vanished += 1,
                Some(found) if found != [7; 3000] => torn += 1,
                Some(_) => {}
            }
        }
        assert!(vanished > 20 && torn > 20, "{vanished} vanished, {torn} torn");
    }

    #[test]
    fn a_kill_loses_nothing_but_open_files() {
        let (disk, file) = disk_with(b"kept");
        disk.kill();
        assert_eq!(content(&disk), Some(b"kept".to_vec()));
        assert!(file.sync_data().is_err());
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let (disk, file) = disk_with(&[7; 512]);
        disk.sync_dir(Path::new("")).expect("up");
        disk.set_faults(Faults { sync_failures: 1000, ..Faults::default() });
        file.sync_data().expect_err("it was told to fail");
        disk.set_faults(Faults::default());
        file.sync_data().expect("this one works");
        assert_eq!(content(&disk), Some(vec![7; 512]), "still readable");
        disk.cut_power();
        assert_eq!(content(&disk), Some(vec![0; 512]), "but it never reached the medium");
    }

    #[test]
    fn everything_fails_after_the_crash_that_was_set() {
        let (disk, file) = disk_with(b"before");
        disk.set_faults(Faults { crash_at: Some(2), ..Faults::default() });
        file.sync_data().expect("the first operation is whole");
        file.write_at(b"after", &[], 0).expect_err("the second is not");
        assert!(disk.is_down() && file.length().is_err());
        disk.cut_power();
        assert!(!disk.is_down());
    }

    #[test]
    fn a_full_disk_refuses_to_grow_files_and_takes_room_back() {
        let disk = SimDisk::new(1, 1000);
        let file = disk.open(Path::new("file"), OpenMode::CreateNew).expect("it is new");
        let refused = file.allocate(0, 1001).expect_err("too large");
        assert!(crate::disk::is_disk_full(&refused));
        file.allocate(0, 1000).expect("it fits");
        assert_eq!(disk.space().expect("up").free, 0);
        disk.remove_file(Path::new("file")).expect("it is there");
        assert_eq!(disk.space().expect("up").free, 1000);
    }
}
