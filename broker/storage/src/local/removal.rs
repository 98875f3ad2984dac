//! Unlinking what was deleted. Nothing here is synced: a start finds what a power cut brought back,
//! and removes it again.

use std::io;
use std::path::Path;

use weir_model::ids::PartitionId;

use crate::disk::EntryKind;
use crate::local::layout::partition_directory;
use crate::local::shared::Shared;

/// Removes partitions' directories.
pub(super) fn remove_partitions(shared: &Shared, ids: &[PartitionId]) -> io::Result<()> {
    for id in ids {
        remove_tree(shared, &partition_directory(*id))?;
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
