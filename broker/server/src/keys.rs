//! The file of access keys (`--kinesis-keys`); what it may say stands in `weir_kinesis::KeyRing`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tracing::info;
use weir_kinesis::{Authentication, KeyRing};

use crate::config::KinesisAuth;
use crate::private_file::check_private;

/// Most bytes of the file: some ten thousand keys.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why the keys cannot be used, in one sentence.
#[derive(Debug)]
pub struct KeysError(String);

impl fmt::Display for KeysError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for KeysError {}

/// What Kinesis requests have to show, with the keys read.
pub(crate) fn authentication(auth: &KinesisAuth) -> Result<Authentication, KeysError> {
    match auth {
        KinesisAuth::None => Ok(Authentication::None),
        KinesisAuth::Shape => Ok(Authentication::Shape),
        KinesisAuth::Verify(file) => {
            let keys = read(file).map_err(|why| {
                KeysError(format!("cannot use the keys {}: {why}", file.display()))
            })?;
            info!(keys = keys.count(), "kinesis signatures are verified");
            Ok(Authentication::Verify(Arc::new(keys)))
        }
    }
}

fn read(file: &Path) -> Result<KeyRing, String> {
    check_private(file)?;
    let bytes = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    // The library's own text shows the line, and with it perhaps a secret.
    let keys: KeyRing = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("line {line}: {}", error.message().trim().replace('\n', " "))
    })?;
    keys.check()?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn refused(text: &str, mode: u32) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.toml");
        std::fs::write(&file, text).expect("written");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, permissions).expect("changed");
        authentication(&KinesisAuth::Verify(file)).err().map(|error| error.to_string())
    }

    #[test]
    fn keys_are_read_and_errors_name_the_line_but_no_secret() {
        let key = "[[key]]\nid = \"AK\"\nsecret = \"hidden\"\n";
        assert_eq!(refused(key, 0o600), None);
        for (text, mode, why) in [
            (key.to_owned(), 0o644, "others than its owner may read it"),
            (format!("{key}sesion-token = \"hidden\"\n"), 0o600, "unknown field `sesion-token`"),
            ("[[key]]\nid = \"AK\"\nsecret = hidden\n".to_owned(), 0o600, "line 3: "),
            (format!("{key}{key}"), 0o600, "there twice"),
            (String::new(), 0o600, "missing field `key`"),
        ] {
            let error = refused(&text, mode).expect("refused");
            assert!(error.contains(why) && !error.contains("hidden"), "{error}");
        }
    }
}
