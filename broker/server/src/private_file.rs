//! Files with secrets, which others than their owner may not read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Refuses a file that others may read, in words that follow its name.
pub(crate) fn check_private(file: &Path) -> Result<(), String> {
    let mode = std::fs::metadata(file).map_err(|error| error.to_string())?;
    match mode.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err("others than its owner may read it; `chmod 600` makes it private".to_owned()),
    }
}
