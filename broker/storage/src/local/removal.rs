//! Unlinking what was deleted. Nothing here is synced: a start finds what a power cut brought back,
//! and removes it again.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use weir_model::ids::PartitionId;

use crate::disk::EntryKind;
use crate::local::layout::{partition_directory, stream_directory};
use crate::local::shared::Shared;

/// Removes partitions' directories, and their streams' once they are empty.
pub(super) fn remove_partitions(shared: &Shared, ids: &[PartitionId]) -> io::Result<()> {
    for id in ids {
        remove_tree(shared, &partition_directory(*id))?;
    }
    for stream in ids.iter().map(|id| id.stream).collect::<BTreeSet<_>>() {
        let directory = stream_directory(stream);
        match shared.disk.list(&directory) {
            Ok(entries) if entries.is_empty() => {
                shared.disk.remove_dir(&directory)?;
                shared.directories.forget(&directory);
            }
            Ok(_) => {}
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

fn remove_tree(shared: &Shared, directory: &Path) -> io::Result<()> {
    let entries = match shared.disk.list(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = directory.join(&entry.name);
        match entry.kind {
            EntryKind::Directory => remove_tree(shared, &path)?,
            EntryKind::File(_) => shared.disk.remove_file(&path)?,
        }
    }
    shared.disk.remove_dir(directory)
}
