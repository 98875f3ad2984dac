//! The data directory as the server finds or makes it, and the broker that is opened on it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;
use weir_core::FlushPolicy;
use weir_core::broker::{Broker, BrokerOptions, Foundations, PARTITIONS_MAX_DEFAULT};
use weir_core::group::coordinator::GroupOptions;
use weir_model::random::{Random, SystemRandom};
use weir_model::time::Clock;
use weir_storage::disk::SystemDisk;
use weir_storage::local::{DataDir, LocalLog, LocalOptions, OpenError, Reserve};
use weir_storage::log::Log;
use weir_storage::meta::redb::RedbStore;

use crate::config::{Config, DataLocation};
use crate::descriptors;
use crate::serve::StartError;

/// AWS's account of all streams, until there is a setting.
const ACCOUNT_ID: &str = "000000000000";

/// A directory that lasts, or one that goes with the broker.
#[derive(Debug)]
pub(crate) enum DataDirectory {
    Lasting(PathBuf),
    Temporary(TempDir),
}

impl DataDirectory {
    /// Makes the directory if it is missing.
    pub(crate) fn make(location: &DataLocation) -> Result<DataDirectory, StartError> {
        match location {
            DataLocation::Directory(path) => std::fs::create_dir_all(path)
                .map(|()| DataDirectory::Lasting(path.clone()))
                .map_err(|error| StartError::Directory(path.clone(), error)),
            DataLocation::Temporary => tempfile::Builder::new()
                .prefix("weir-")
                .tempdir()
                .map(DataDirectory::Temporary)
                .map_err(|error| StartError::Directory(std::env::temp_dir(), error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            DataDirectory::Lasting(path) => path,
            DataDirectory::Temporary(directory) => directory.path(),
        }
    }

    /// Whether it goes with the broker.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, DataDirectory::Temporary(_))
    }

    pub(crate) fn remove_if_temporary(self) -> std::io::Result<()> {
        match self {
            DataDirectory::Lasting(_) => Ok(()),
            DataDirectory::Temporary(directory) => directory.close(),
        }
    }

    fn reserve(&self) -> Reserve {
        match self {
            DataDirectory::Lasting(_) => Reserve::Ballast,
            DataDirectory::Temporary(_) => Reserve::None,
        }
    }
}

/// Opens the metadata, the log and the core on top of them; locks the directory first.
pub(crate) async fn open_broker(
    config: &Config,
    directory: &DataDirectory,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Broker>, StartError> {
    let path = directory.path().to_owned();
    let unusable = |error: OpenError| StartError::Data(path.clone(), error);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let (data, meta) = open_store(path.clone(), directory.reserve()).await.map_err(unusable)?;
    let meta = Arc::new(meta);
    let options =
        LocalOptions { open_files_max: descriptors::segments_max(), ..LocalOptions::default() };
    let log = LocalLog::open(data, meta.clone(), Arc::clone(&clock), &*random, options)
        .await
        .map_err(unusable)?;
    let options = BrokerOptions {
        node_id: 1,
        // As Kafka writes its own: 22 characters.
        cluster_id: URL_SAFE_NO_PAD.encode(log.cluster_id().to_be_bytes()),
        account_id: ACCOUNT_ID.to_owned(),
        log_directory: shown_path(&path),
        settings: config.settings.clone(),
        partitions_max: PARTITIONS_MAX_DEFAULT,
        default_flush: config.flush,
        quotas: config.quotas,
        groups: GroupOptions {
            // What need not outlive the broker need not be flushed either.
            flush: match config.data {
                DataLocation::Directory(_) => FlushPolicy::Group,
                DataLocation::Temporary => FlushPolicy::Os,
            },
            ..GroupOptions::of(&config.settings)
        },
    };
    let foundations = Foundations { log: Arc::new(Log::Local(log)), meta, clock, random };
    let broker = Broker::open(foundations, options).await.map_err(StartError::Meta)?;
    if let Log::Local(log) = &**broker.log() {
        let live: HashSet<_> = broker.streams().iter().map(|stream| stream.id).collect();
        log.retain_streams(&live).await.map_err(StartError::Meta)?;
    }
    Ok(broker)
}

/// The directory of the logs as a tool elsewhere can find it, if it can be found.
fn shown_path(data: &Path) -> String {
    let whole = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    whole.join("logs").display().to_string()
}

/// The part that blocks: files are opened, locked and reserved.
async fn open_store(path: PathBuf, reserve: Reserve) -> Result<(DataDir, RedbStore), OpenError> {
    let open = move || {
        let io = |error| OpenError::Io { what: "open the data directory", error };
        let disk = SystemDisk::at(&path).map_err(io)?;
        let data = DataDir::open(Arc::new(disk), reserve)?;
        let meta = RedbStore::open(&data)?;
        Ok((data, meta))
    };
    tokio::task::spawn_blocking(open).await.expect("opening does not panic and is not cancelled")
}
