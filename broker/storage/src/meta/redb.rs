//! The metadata store on this machine: one redb file, on the injected [`Disk`].
//!
//! Commits that arrive together share one transaction and one flush: a thread takes what waits,
//! checks each commit against the state that the ones before it leave, and answers all of them once
//! the transaction is durable. Reads look at what is committed and do not wait.
//!
//! Values are stored behind their version. Versions come from one counter for the whole store, so a
//! key that is deleted and made again never shows an old version, and compare-and-set is safe.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition,
    WriteTransaction,
};
use tokio::sync::oneshot;

use crate::disk::{DiskFile, OpenMode, is_disk_full, rewrite};
use crate::error::MetaError;
use crate::local::{DataDir, DiskRoom, OpenError};
use crate::meta::{Expect, MetaChange, MetaFuture, MetaStore, Versioned};

/// Name of the file in the data directory.
const FILE: &str = "meta.redb";
const VALUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
/// The version given out last.
const VERSION: &str = "version";

const CACHE_BYTES: usize = 16 << 20;
/// Commits that share a transaction, at most.
const GROUP_MAX: usize = 1000;

/// Who makes the commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committing {
    /// A thread of the store's own.
    Thread,
    /// Whoever calls, at once, blocking. For simulation.
    Inline,
}

/// The store; see the module's text.
#[derive(Debug)]
pub struct RedbStore {
    database: Arc<Database>,
    committer: Option<Committer>,
}

#[derive(Debug)]
struct Committer {
    /// Taken away to end the thread.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Request {
    changes: Vec<MetaChange>,
    answer: oneshot::Sender<Result<(), MetaError>>,
}

impl RedbStore {
    /// Opens the store of a data directory, or makes it in a new one.
    pub fn open(data: &DataDir, committing: Committing) -> Result<RedbStore, OpenError> {
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
        RedbStore::start(database, committing).map_err(|error| failed(&error))
    }

    fn start(database: Database, committing: Committing) -> io::Result<RedbStore> {
        let database = Arc::new(database);
        let committer = match committing {
            Committing::Inline => None,
            Committing::Thread => Some(Committer::start(Arc::clone(&database))?),
        };
        Ok(RedbStore { database, committer })
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

impl Drop for RedbStore {
    fn drop(&mut self) {
        if let Some(committer) = &self.committer {
            drop(committer.requests.lock().take());
            if let Some(thread) = committer.thread.lock().take() {
                // A panic there has been reported by its own thread.
                drop(thread.join());
            }
        }
    }
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
            let Some(committer) = &self.committer else {
                let mut outcomes = commit_group(&self.database, &[changes]);
                return outcomes.pop().unwrap_or(Ok(()));
            };
            let (answer, answered) = oneshot::channel();
            let closed = || MetaError::Failed("the metadata store is closed".to_owned());
            let request = Request { changes, answer };
            match &*committer.requests.lock() {
                Some(requests) => requests.send(request).map_err(|_| closed())?,
                None => return Err(closed()),
            }
            answered.await.map_err(|_| closed())?
        })
    }
}

impl Committer {
    fn start(database: Arc<Database>) -> io::Result<Committer> {
        let (requests, received) = mpsc::channel::<Request>();
        let thread =
            std::thread::Builder::new().name("meta-commit".to_owned()).spawn(move || {
                while let Ok(first) = received.recv() {
                    let others = received.try_iter().take(GROUP_MAX - 1);
                    let (changes, answers): (Vec<_>, Vec<_>) = std::iter::once(first)
                        .chain(others)
                        .map(|request| (request.changes, request.answer))
                        .unzip();
                    let outcomes = commit_group(&database, &changes);
                    for (answer, outcome) in answers.into_iter().zip(outcomes) {
                        // Whoever asked may have gone; the commit stands.
                        drop(answer.send(outcome));
                    }
                }
            })?;
        Ok(Committer { requests: Mutex::new(Some(requests)), thread: Mutex::new(Some(thread)) })
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
fn commit_group(database: &Database, group: &[Vec<MetaChange>]) -> Vec<Result<(), MetaError>> {
    let mut outcomes = Vec::with_capacity(group.len());
    let applied = database
        .begin_write()
        .map_err(redb::Error::from)
        .and_then(|transaction| apply_group(transaction, group, &mut outcomes));
    match applied {
        Ok(()) => outcomes,
        Err(error) => group.iter().map(|_| Err(failure(&error))).collect(),
    }
}

fn apply_group(
    transaction: WriteTransaction,
    group: &[Vec<MetaChange>],
    outcomes: &mut Vec<Result<(), MetaError>>,
) -> Result<(), redb::Error> {
    {
        let mut values = transaction.open_table(VALUES)?;
        let mut counters = transaction.open_table(COUNTERS)?;
        let mut version = counters.get(VERSION)?.map_or(0, |stored| stored.value());
        for changes in group {
            if !all_hold(&values, changes)? {
                outcomes.push(Err(MetaError::Conflict));
                continue;
            }
            version += 1;
            for change in changes {
                match &change.value {
                    Some(value) => {
                        let stored = encode(version, value);
                        values.insert(&*change.key, &*stored)?;
                    }
                    None => {
                        values.remove(&*change.key)?;
                    }
                }
            }
            outcomes.push(Ok(()));
        }
        counters.insert(VERSION, version)?;
    }
    transaction.commit()?;
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
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(data, &[], offset)
    }
}
