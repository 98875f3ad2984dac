//! Generates the Kafka codec from the message definitions of a pinned release.
//!
//! ```text
//!   weir-codegen <repository> <jar>...
//! ```
//!
//! The jars (`kafka-clients`, `kafka-group-coordinator`, `kafka-transaction-coordinator`) carry the
//! definitions that Kafka's own classes were generated from, under `common/message/`. From them
//! come
//!
//! ```text
//!   proto/kafka/src/messages/      api_key.rs, mod.rs, and one file per API that a broker serves
//!   proto/records/src/messages/    mod.rs and one file per record of an internal topic
//! ```
//!
//! `tests/oracle/jars.sh` fetches the jars of the version that `tests/versions.toml` pins and
//! prints their paths. The output is committed; a test here fails if it is not what the pinned
//! definitions give.
//!
//! Read next: `definition.rs` for what is read, `rust.rs` for what is written.

#![forbid(unsafe_code)]

mod definition;
mod jar;
mod module;
mod names;
mod rust;
mod versions;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use module::Output;

/// Generated code is laid out like the rest of the repository.
const RUSTFMT_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rustfmt.toml");

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(repository), jars) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        eprintln!("usage: weir-codegen <repository> <jar>...");
        return ExitCode::FAILURE;
    };
    match generate(&jars, &repository) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-codegen: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes all generated files below `root`, laid out by rustfmt, and removes generated files that
/// are no longer.
fn generate(jars: &[PathBuf], root: &Path) -> Result<(), String> {
    let definitions = jar::read_definitions(jars)?;
    let outputs = [module::protocol(&definitions)?, module::records(&definitions)?];
    for Output { folder, files } in outputs {
        let folder = root.join(folder);
        let say = |error: std::io::Error| format!("{}: {error}", folder.display());
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(say)?;
        }
        std::fs::create_dir_all(&folder).map_err(say)?;
        for (name, text) in &files {
            std::fs::write(folder.join(name), text).map_err(say)?;
        }
        // Formatting the root module formats all that it declares.
        let status = Command::new("rustfmt")
            .args(["--edition", "2024", "--config-path", RUSTFMT_CONFIG])
            .arg(folder.join("mod.rs"))
            .status()
            .map_err(|error| format!("rustfmt: {error}"))?;
        if !status.success() {
            return Err(format!("rustfmt refused what was written to {}", folder.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Write;

    /// The jars of the pinned version in the local Maven repository, where `tests/oracle/jars.sh`
    /// puts them.
    fn pinned_jars(repository: &Path) -> Vec<PathBuf> {
        let versions = std::fs::read_to_string(repository.join("tests/versions.toml"));
        let versions: toml::Table = versions.expect("is committed").parse().expect("is TOML");
        let version = versions["kafka"]["version"].as_str().expect("is a string");
        let home = PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
        ["kafka-clients", "kafka-group-coordinator", "kafka-transaction-coordinator"]
            .map(|artifact| {
                home.join(".m2/repository/org/apache/kafka")
                    .join(artifact)
                    .join(version)
                    .join(format!("{artifact}-{version}.jar"))
            })
            .to_vec()
    }

    fn files_in(folder: &Path) -> BTreeMap<String, String> {
        let entries = std::fs::read_dir(folder).expect("is a folder");
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.expect("can be listed").path();
            let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("is text"))
        };
        entries.map(read).collect()
    }

    #[test]
    fn committed_code_is_what_the_pinned_definitions_give() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let jars = pinned_jars(&repository);
        if let Some(absent) = jars.iter().find(|jar| !jar.exists()) {
            assert!(
                std::env::var_os("CI").is_none(),
                "{} is absent: run tests/oracle/jars.sh",
                absent.display()
            );
            // Past the test runner's capture: a skipped check must be seen.
            let why =
                format!("SKIPPED: {} is absent: run tests/oracle/jars.sh\n", absent.display());
            std::io::stderr().write_all(why.as_bytes()).expect("stderr is open");
            return;
        }
        let fresh = tempfile::tempdir().expect("can make a folder");
        generate(&jars, fresh.path()).expect("generates");
        for folder in ["proto/kafka/src/messages", "proto/records/src/messages"] {
            let committed = files_in(&repository.join(folder));
            let generated = files_in(&fresh.path().join(folder));
            let names =
                |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&committed), names(&generated), "files of {folder}");
            for (name, text) in &generated {
                assert!(committed[name] == *text, "{folder}/{name} differs: run weir-codegen");
            }
        }
    }
}
