//! Generates the Rust of weir's native API from its protobuf definitions, without `protoc`.
//!
//! ```text
//!   weir-native-codegen <repository>            generates
//!   weir-native-codegen <repository> release    and keeps the definitions as released
//! ```
//!
//! From `proto/native/proto/weir/v1/*.proto` come, in `proto/native/src/generated/`, the messages
//! with clients and servers of the services (`weir.v1.rs`), and the definitions themselves as a
//! descriptor set, which the server's reflection answers with (`weir.v1.bin`). Both are committed;
//! a test here fails if they are not what the definitions give.
//!
//! `proto/native/released/weir.v1.bin` has the definitions as they were released last. Another test
//! fails when something of them is gone or changed ([`breaking`]); what is new is kept by
//! `release`, once for each release.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use prost::Message;
use prost_types::FileDescriptorSet;

mod breaking;

/// Where the definitions are, seen from the repository.
const DEFINITIONS: &str = "proto/native/proto";
/// Where what comes from them goes.
const GENERATED: &str = "proto/native/src/generated";
/// Where the definitions are kept as they were released.
const RELEASED: &str = "proto/native/released/weir.v1.bin";
/// The definitions, in the order of their first page.
const FILES: [&str; 5] = [
    "weir/v1/streams.proto",
    "weir/v1/records.proto",
    "weir/v1/groups.proto",
    "weir/v1/inspect.proto",
    "weir/v1/events.proto",
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (repository, is_release) = match arguments[..] {
        [repository] => (Path::new(repository), false),
        [repository, "release"] => (Path::new(repository), true),
        _ => {
            eprintln!("usage: weir-native-codegen <repository> [release]");
            return ExitCode::FAILURE;
        }
    };
    let mut done = generate(&repository.join(DEFINITIONS), &repository.join(GENERATED));
    if is_release {
        done = done.and_then(|()| release(repository));
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-native-codegen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(definitions: &Path, generated: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let set = protox::compile(FILES, [definitions])?;
    std::fs::write(generated.join("weir.v1.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure().out_dir(generated).bytes(".").compile_fds(set)?;
    Ok(())
}

/// Keeps the definitions as released, unless they break what was released before.
fn release(repository: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut set = protox::compile(FILES, [repository.join(DEFINITIONS)])?;
    let path = repository.join(RELEASED);
    if path.exists() {
        let broken = breaking::breaks(&read_set(&path)?, &set);
        if !broken.is_empty() {
            return Err(broken.join("\n").into());
        }
    }
    for file in &mut set.file {
        // Comments break nobody.
        file.source_code_info = None;
    }
    std::fs::write(path, set.encode_to_vec())?;
    Ok(())
}

fn read_set(path: &Path) -> Result<FileDescriptorSet, Box<dyn std::error::Error>> {
    Ok(FileDescriptorSet::decode(&*std::fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_code_is_what_the_definitions_give() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let fresh = tempfile::tempdir().expect("can make a folder");
        generate(&repository.join(DEFINITIONS), fresh.path()).expect("generates");
        for name in ["weir.v1.rs", "weir.v1.bin"] {
            let committed = std::fs::read(repository.join(GENERATED).join(name));
            let fresh = std::fs::read(fresh.path().join(name)).expect("was written");
            assert!(
                committed.is_ok_and(|committed| committed == fresh),
                "{name} differs: run weir-native-codegen"
            );
        }
    }

    #[test]
    fn nothing_that_was_released_is_gone_or_changed() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let released = read_set(&repository.join(RELEASED)).expect("was released");
        let now = protox::compile(FILES, [repository.join(DEFINITIONS)]).expect("compiles");
        let broken = breaking::breaks(&released, &now);
        assert!(broken.is_empty(), "clients would break:\n{}", broken.join("\n"));
    }
}
