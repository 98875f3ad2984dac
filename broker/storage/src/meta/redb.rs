//! The metadata store on this machine: one redb file, on the injected [`Disk`].
//!
//! Commits that wait together share one transaction and one flush. There is no thread for them:
//! whoever has the turn takes along what waits, checks each commit against the state that the ones
//! before it leave, and answers all of them once the transaction is durable. So a commit that comes
//! alone, as most do, is made where it was asked for, without a hop to another thread and back.
//! Reads look at what is committed and do not wait.
//!
//! Values are stored behind their version. Versions come from one counter for the whole store, so a
//! key that is deleted and made again never shows an old version, and compare-and-set is safe. The
//! counter on disk is ahead of what was given out, so that most commits write one page less.
//!
//! [`Disk`]: crate::disk::Disk

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition,
    WriteTransaction,
};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::disk::{DiskFile, OpenMode, is_disk_full, rewrite};
use crate::error::MetaError;
use crate::local::{DataDir, DiskRoom, OpenError};
use crate::meta::{Expect, MetaChange, MetaFuture, MetaStore, Versioned};

/// Name of the file in the data directory.
const FILE: &str = "meta.redb";
const VALUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
/// The version that is reserved last: none above it was given out.
const VERSION: &str = "version";

/// Versions that are reserved at a time. What of them is not given out before the store is closed
/// is skipped: 2^64 versions are enough for eighteen million million blocks.
const VERSIONS_RESERVED: u64 = 1_000_000;

const CACHE_BYTES: usize = 16 << 20;
/// Commits that share a transaction, at most.
const GROUP_MAX: usize = 1000;

/// The store; see the module's text.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    waiting: Mutex<Vec<Request>>,
    /// Held by whoever makes the commits that wait.
    turn: AsyncMutex<Versions>,
}

/// Where the counter stands; nothing is reserved when a store is opened.
#[derive(Clone, Copy, Debug, Default)]
struct Versions {
    last: u64,
    reserved: u64,
}

#[derive(Debug)]
struct Request {
    changes: Vec<MetaChange>,
    answer: oneshot::Sender<Result<(), MetaError>>,
}

impl RedbStore {
    /// Opens the store of a data directory, or makes it in a new one.
    pub fn open(data: &DataDir) -> Result<RedbStore, OpenError> {
        let disk = data.disk();
        let failed =
            |error: &dyn std::fmt::Display| OpenError::Meta(format!("cannot open {FILE}: {error}"));
        if data.is_new() {
            // A crash while it was first made may have left half a file, which holds nothing yet.
            match disk.remove_file(Path::new(FILE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&error));
                }
                _ => {}
            }
        }
        let file = open_file(data).map_err(|error| failed(&error))?;
        let backend = DiskBackend { file, room: Arc::clone(data.room()) };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| failed(&error))?;
        Ok(RedbStore { database, waiting: Mutex::default(), turn: AsyncMutex::default() })
    }

    /// Makes one transaction of what waits, or of as much as one may hold.
    fn commit_waiting(&self, versions: &mut Versions) {
        let group: Vec<Request> = {
            let mut waiting = self.waiting.lock();
            let count = waiting.len().min(GROUP_MAX);
            waiting.drain(..count).collect()
        };
        // Who left before the turn came is not answered and makes no change.
        let (changes, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .filter(|request| !request.answer.is_closed())
            .map(|request| (request.changes, request.answer))
            .unzip();
        let outcomes = commit_group(&self.database, versions, &changes);
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Who leaves now leaves a commit that stands.
            drop(answer.send(outcome));
        }
    }
}

/// Runs what waits for the disk where it is called. On one of several workers of a runtime the
/// others' tasks go on meanwhile; elsewhere (tests, simulation) nothing else could.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn open_file(data: &DataDir) -> io::Result<Arc<dyn DiskFile>> {
    let file = data.disk().open(Path::new(FILE), OpenMode::Create)?;
    data.disk().sync_dir(Path::new(""))?;
    if !data.was_stopped_cleanly() {
        // What redb reads now it builds upon, and must not lose with the next power cut.
        rewrite(&*file, 0, file.length()?)?;
        file.sync_data()?;
    }
    Ok(file)
}

impl MetaStore for RedbStore {
    fn get(&self, key: Bytes) -> MetaFuture<'_, Option<Versioned>> {
        Box::pin(async move { get(&self.database, &key).map_err(|error| failure(&error)) })
    }

    fn scan(&self, prefix: Bytes) -> MetaFuture<'_, Vec<(Bytes, Versioned)>> {
        Box::pin(async move { scan(&self.database, &prefix).map_err(|error| failure(&error)) })
    }

    fn commit(&self, changes: Vec<MetaChange>) -> MetaFuture<'_, ()> {
        Box::pin(async move {
            let (answer, mut answered) = oneshot::channel();
            self.waiting.lock().push(Request { changes, answer });
            loop {
                let mut versions = self.turn.lock().await;
                // Who had the turn before may have taken this commit along.
                if let Some(outcome) = made(&mut answered) {
                    return outcome;
                }
                blocking(|| self.commit_waiting(&mut versions));
                if let Some(outcome) = made(&mut answered) {
                    return outcome;
                }
            }
        })
    }
}

/// The outcome of a commit that was made.
fn made(answered: &mut oneshot::Receiver<Result<(), MetaError>>) -> Option<Result<(), MetaError>> {
    match answered.try_recv() {
        Ok(outcome) => Some(outcome),
        Err(oneshot::error::TryRecvError::Empty) => None,
        Err(oneshot::error::TryRecvError::Closed) => {
            Some(Err(MetaError::Failed("the commit was cut short".to_owned())))
        }
    }
}

fn get(database: &Database, key: &[u8]) -> Result<Option<Versioned>, redb::Error> {
    let transaction = database.begin_read()?;
    let values = match transaction.open_table(VALUES) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        values => values?,
    };
    Ok(values.get(key)?.and_then(|stored| decode(stored.value())))
}

fn scan(database: &Database, prefix: &[u8]) -> Result<Vec<(Bytes, Versioned)>, redb::Error> {
    let transaction = database.begin_read()?;
    let values = match transaction.open_table(VALUES) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        values => values?,
    };
    let mut found = Vec::new();
    for entry in values.range(prefix..)? {
        let (key, stored) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        if let Some(versioned) = decode(stored.value()) {
            found.push((Bytes::copy_from_slice(key.value()), versioned));
        }
    }
    Ok(found)
}

/// Makes the commits of a group in one transaction; one outcome for each.
fn commit_group(
    database: &Database,
    versions: &mut Versions,
    group: &[Vec<MetaChange>],
) -> Vec<Result<(), MetaError>> {
    let mut next = *versions;
    let mut outcomes = Vec::with_capacity(group.len());
    let applied = database
        .begin_write()
        .map_err(redb::Error::from)
        .and_then(|transaction| apply_group(transaction, &mut next, group, &mut outcomes));
    match applied {
        Ok(()) => {
            *versions = next;
            outcomes
        }
        // Whether it was made or not: what it reserved is read anew before the next.
        Err(error) => {
            *versions = Versions::default();
            group.iter().map(|_| Err(failure(&error))).collect()
        }
    }
}

fn apply_group(
    transaction: WriteTransaction,
    versions: &mut Versions,
    group: &[Vec<MetaChange>],
    outcomes: &mut Vec<Result<(), MetaError>>,
) -> Result<(), redb::Error> {
    {
        let mut values = transaction.open_table(VALUES)?;
        if versions.reserved - versions.last < group.len() as u64 {
            reserve(&transaction, versions)?;
        }
        for changes in group {
            if !all_hold(&values, changes)? {
                outcomes.push(Err(MetaError::Conflict));
                continue;
            }
            versions.last += 1;
            for change in changes {
                match &change.value {
                    Some(value) => {
                        let stored = encode(versions.last, value);
                        values.insert(&*change.key, &*stored)?;
                    }
                    None => {
                        values.remove(&*change.key)?;
                    }
                }
            }
            outcomes.push(Ok(()));
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Has the transaction reserve another block of versions.
fn reserve(transaction: &WriteTransaction, versions: &mut Versions) -> Result<(), redb::Error> {
    let mut counters = transaction.open_table(COUNTERS)?;
    let last = counters.get(VERSION)?.map_or(0, |stored| stored.value());
    *versions = Versions { last, reserved: last + VERSIONS_RESERVED };
    counters.insert(VERSION, versions.reserved)?;
    Ok(())
}

fn all_hold(
    values: &Table<'_, &'static [u8], &'static [u8]>,
    changes: &[MetaChange],
) -> Result<bool, redb::Error> {
    for change in changes {
        let found = values.get(&*change.key)?.and_then(|stored| decode(stored.value()));
        let holds = match change.expect {
            Expect::Anything => true,
            Expect::Absent => found.is_none(),
            Expect::Version(version) => found.is_some_and(|found| found.version == version),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn encode(version: u64, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(8 + value.len());
    stored.extend_from_slice(&version.to_be_bytes());
    stored.extend_from_slice(value);
    stored
}

fn decode(stored: &[u8]) -> Option<Versioned> {
    let (version, value) = stored.split_first_chunk()?;
    let version = u64::from_be_bytes(*version);
    Some(Versioned { version, value: Bytes::copy_from_slice(value) })
}

fn failure(error: &redb::Error) -> MetaError {
    match error {
        redb::Error::Io(cause) if is_disk_full(cause) => MetaError::DiskFull,
        other => MetaError::Failed(other.to_string()),
    }
}

/// The file under redb.
#[derive(Debug)]
struct DiskBackend {
    file: Arc<dyn DiskFile>,
    room: Arc<DiskRoom>,
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.file.read_at(out, offset)?;
        if read < out.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let present = self.file.length()?;
        if length <= present {
            return self.file.set_length(length);
        }
        match self.file.allocate(present, length) {
            Err(error) if is_disk_full(&error) => {
                // Metadata commits must work on a full disk: that is what the reserve is for.
                self.room.note_full();
                self.file.allocate(present, length)
            }
            result => result,
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(undecided)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(data, &[], offset).map_err(undecided)
    }
}

/// A full disk that shows only here, where room was allocated before (on a file system that copies
/// on write, or over a quota): the commit may have been made, and must not pass for one that was
/// refused.
fn undecided(cause: io::Error) -> io::Error {
    match is_disk_full(&cause) {
        true => io::Error::other(format!("{cause}, in allocated room")),
        false => cause,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::local::Reserve;
    use crate::sim_disk::SimDisk;

    fn open(disk: &SimDisk) -> RedbStore {
        let data = DataDir::open(Arc::new(disk.clone()), Reserve::None);
        let mut data = data.expect("a directory");
        let store = RedbStore::open(&data).expect("a store");
        if data.is_new() {
            data.format(1).expect("room for FORMAT");
        }
        store
    }

    fn put(key: &'static str, expect: Expect) -> Vec<MetaChange> {
        let value = Some(Bytes::from_static(b"value"));
        vec![MetaChange { key: Bytes::from_static(key.as_bytes()), expect, value }]
    }

    fn gone(key: &'static str) -> Vec<MetaChange> {
        vec![MetaChange { value: None, ..put(key, Expect::Anything).remove(0) }]
    }

    /// What is done without waiting, as all is where nobody else has the turn.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("it waits"),
        }
    }

    fn version(store: &RedbStore, key: &'static str) -> Option<u64> {
        let found = now(store.get(Bytes::from_static(key.as_bytes()))).expect("readable");
        found.map(|found| found.version)
    }

    #[test]
    fn versions_grow_over_deletions_and_starts() {
        let disk = SimDisk::new(1, 64 << 20);
        let mut last = 0;
        for start in 0..3 {
            let store = open(&disk);
            for _ in 0..2 {
                now(store.commit(gone("key"))).expect("deleted");
                now(store.commit(put("key", Expect::Absent))).expect("made");
                let version = version(&store, "key").expect("it is there");
                assert!(version > last, "{version} after {last}, start {start}");
                last = version;
            }
            assert_eq!(now(store.commit(put("key", Expect::Absent))), Err(MetaError::Conflict));
        }
    }

    #[test]
    fn a_block_of_versions_that_is_used_up_is_followed_by_another() {
        let disk = SimDisk::new(1, 64 << 20);
        let store = open(&disk);
        now(store.commit(put("key", Expect::Anything))).expect("made");
        let first = version(&store, "key").expect("it is there");
        now(store.turn.lock()).last += VERSIONS_RESERVED - 3;
        for expected in [first + VERSIONS_RESERVED - 2, first + VERSIONS_RESERVED - 1] {
            now(store.commit(put("key", Expect::Anything))).expect("made");
            assert_eq!(version(&store, "key"), Some(expected));
        }
        drop(store);
        let store = open(&disk);
        now(store.commit(put("key", Expect::Anything))).expect("made");
        assert!(version(&store, "key") > Some(first + VERSIONS_RESERVED - 1));
    }

    #[test]
    fn commits_that_wait_are_made_together_and_those_of_who_left_are_not() {
        let disk = SimDisk::new(1, 64 << 20);
        let store = open(&disk);
        let turn = now(store.turn.lock());
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(store.commit(put("first", Expect::Absent)));
        let mut left = Box::pin(store.commit(put("left", Expect::Absent)));
        let mut second = pin!(store.commit(put("second", Expect::Absent)));
        let mut again = pin!(store.commit(put("first", Expect::Absent)));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(left.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(again.as_mut().poll(&mut context).is_pending());
        drop((left, turn));
        assert_eq!(now(first), Ok(()));
        assert!(version(&store, "second").is_some(), "made by the first one");
        assert_eq!(now(second), Ok(()));
        assert_eq!(now(again), Err(MetaError::Conflict));
        assert_eq!(version(&store, "left"), None);
    }

    #[test]
    fn tasks_of_several_workers_commit_at_the_same_time() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        runtime.expect("a runtime").block_on(async {
            let store = Arc::new(open(&SimDisk::new(1, 64 << 20)));
            let tasks: Vec<_> = (0..200)
                .map(|number| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move {
                        let key = Bytes::from(format!("key {number}"));
                        let value = Some(key.clone());
                        store.commit(vec![MetaChange { key, expect: Expect::Absent, value }]).await
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.expect("no panic"), Ok(()));
            }
            assert_eq!(store.scan(Bytes::from_static(b"key")).await.expect("read").len(), 200);
        });
    }
}
