//! The steps of opening a data directory: identity, epoch, checkpoints, recovery of all partitions.
//!
//! In this order: FORMAT and the metadata store must name the same cluster; the log epoch rises,
//! durably, unless the last stop was clean; then partitions are checked, on a few threads. Only
//! after that anything is appended.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tracing::warn;
use weir_model::ids::{LogEpoch, PartitionId};
use weir_model::random::Random;

use crate::disk::EntryKind;
use crate::error::MetaError;
use crate::local::data_dir::{DataDir, OpenError, cannot, new_cluster_id};
use crate::local::layout::{LOGS, parse_partition, partition_directory};
use crate::local::partition::Partition;
use crate::local::recovery;
use crate::local::row::{
    CLUSTER_KEY, EPOCH_KEY, PARTITION_PREFIX, PartitionRow, parse_partition_key,
};
use crate::local::shared::Shared;
use crate::meta::{Expect, MetaChange, MetaStore};

/// Ties FORMAT and the metadata store together, in a new directory by drawing an id.
pub(super) async fn identify(
    data: &mut DataDir,
    meta: &dyn MetaStore,
    random: &dyn Random,
) -> Result<u128, OpenError> {
    let stored = meta.get(Bytes::from_static(CLUSTER_KEY)).await.map_err(meta_failed)?;
    let stored = stored.and_then(|stored| Some(u128::from_be_bytes(*stored.value.first_chunk()?)));
    match (data.cluster_id(), stored) {
        (Some(format), Some(stored)) if format == stored => Ok(format),
        (Some(_), _) => Err(OpenError::Mismatch(
            "meta.redb does not belong to this data directory: its cluster id is not FORMAT's"
                .to_owned(),
        )),
        (None, stored) => {
            let cluster_id = stored.unwrap_or_else(|| new_cluster_id(random));
            let value = Bytes::copy_from_slice(&cluster_id.to_be_bytes());
            meta.commit(vec![put(CLUSTER_KEY, value)]).await.map_err(meta_failed)?;
            data.format(cluster_id)?;
            Ok(cluster_id)
        }
    }
}

/// The epoch of this run: one higher after an unclean stop.
pub(super) async fn begin_epoch(
    meta: &dyn MetaStore,
    is_clean: bool,
) -> Result<LogEpoch, OpenError> {
    let stored = meta.get(Bytes::from_static(EPOCH_KEY)).await.map_err(meta_failed)?;
    let epoch = match stored {
        None => LogEpoch::ZERO,
        Some(stored) => stored
            .value
            .first_chunk()
            .and_then(|bytes| LogEpoch::new(u32::from_be_bytes(*bytes)))
            .ok_or_else(|| OpenError::Meta("the stored log epoch is damaged".to_owned()))?,
    };
    if is_clean {
        return Ok(epoch);
    }
    let epoch = epoch.next().ok_or(OpenError::EpochsExhausted)?;
    let value = Bytes::copy_from_slice(&epoch.number().to_be_bytes());
    meta.commit(vec![put(EPOCH_KEY, value)]).await.map_err(meta_failed)?;
    Ok(epoch)
}

fn put(key: &'static [u8], value: Bytes) -> MetaChange {
    MetaChange { key: Bytes::from_static(key), expect: Expect::Anything, value: Some(value) }
}

fn meta_failed(error: MetaError) -> OpenError {
    OpenError::Meta(match error {
        MetaError::Failed(text) => format!("the metadata store failed: {text}"),
        MetaError::DiskFull => "the disk has no room for metadata".to_owned(),
        MetaError::Conflict => "another process changed the metadata".to_owned(),
    })
}

pub(super) fn make_logs_directory(data: &DataDir) -> io::Result<()> {
    match data.disk().create_dir(Path::new(LOGS)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Even if it was there: the run that made it may have been killed before the sync.
        _ => data.disk().sync_dir(Path::new("")),
    }
}

pub(super) async fn read_rows(
    meta: &dyn MetaStore,
) -> Result<BTreeMap<PartitionId, PartitionRow>, OpenError> {
    let stored = meta.scan(Bytes::from_static(PARTITION_PREFIX)).await.map_err(meta_failed)?;
    let mut rows = BTreeMap::new();
    for (key, stored) in stored {
        let row = PartitionRow::decode(&stored.value);
        match parse_partition_key(&key).zip(row) {
            Some((id, row)) => {
                rows.insert(id, row);
            }
            None => return Err(OpenError::Meta("a partition's row is damaged".to_owned())),
        }
    }
    Ok(rows)
}

pub(super) type Partitions = HashMap<PartitionId, Arc<Partition>>;

/// Checks every partition that has a row or a directory.
pub(super) async fn recover_all(
    rows: BTreeMap<PartitionId, PartitionRow>,
    shared: &Arc<Shared>,
) -> Result<Partitions, OpenError> {
    // Makes names last that the run before may have created without a sync.
    let synced = shared.disk.sync_dir(Path::new(LOGS));
    synced.map_err(cannot("sync the directory of the logs"))?;
    let mut found: BTreeMap<PartitionId, Option<PartitionRow>> = BTreeMap::new();
    for id in list_partitions(shared).map_err(cannot("list the logs"))? {
        found.insert(id, None);
    }
    found.extend(rows.into_iter().map(|(id, row)| (id, Some(row))));
    let found: Vec<_> = found.into_iter().collect();
    if shared.options.recovery_threads <= 1 {
        let recovered = found.into_iter().map(|(id, row)| (id, recover_one(id, row, shared)));
        return Ok(recovered.collect());
    }
    let shared = Arc::clone(shared);
    let recovering = tokio::task::spawn_blocking(move || recover_in_parallel(&found, &shared));
    recovering.await.map_err(io::Error::other).map_err(cannot("recover the logs"))
}

fn recover_in_parallel(
    found: &[(PartitionId, Option<PartitionRow>)],
    shared: &Arc<Shared>,
) -> Partitions {
    let next = AtomicUsize::new(0);
    let recovered = Mutex::new(Partitions::with_capacity(found.len()));
    let work = || {
        while let Some((id, row)) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
            let partition = recover_one(*id, row.clone(), shared);
            recovered.lock().insert(*id, partition);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..shared.options.recovery_threads.min(found.len()) {
            scope.spawn(work);
        }
    });
    recovered.into_inner()
}

fn recover_one(id: PartitionId, row: Option<PartitionRow>, shared: &Arc<Shared>) -> Arc<Partition> {
    let directory = partition_directory(id).into();
    let kept = row.clone().unwrap_or_default();
    Arc::new(match recovery::recover(id, &directory, row, shared) {
        Ok(opened) => Partition::recovered(id, kept, opened, shared),
        Err(cause) => {
            warn!(partition = %id, error = %cause, "partition could not be recovered");
            Partition::unusable(id, kept, shared)
        }
    })
}

pub(super) fn list_partitions(shared: &Shared) -> io::Result<Vec<PartitionId>> {
    let entries = shared.disk.list(Path::new(LOGS))?;
    let directories = entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
    Ok(directories.filter_map(|entry| parse_partition(&entry.name)).collect())
}
