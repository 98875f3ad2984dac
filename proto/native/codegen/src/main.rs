//! Generates the Rust of weir's native API from its protobuf definitions, without `protoc`.
//!
//! ```text
//!   weir-native-codegen <repository>
//! ```
//!
//! From `proto/native/proto/weir/v1/*.proto` come, in `proto/native/src/generated/`, the messages
//! with clients and servers of the services (`weir.v1.rs`), and the definitions themselves as a
//! descriptor set, which the server's reflection answers with (`weir.v1.bin`). Both are committed;
//! a test here fails if they are not what the definitions give.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use prost::Message;

/// Where the definitions are, seen from the repository.
const DEFINITIONS: &str = "proto/native/proto";
/// Where what comes from them goes.
const GENERATED: &str = "proto/native/src/generated";
/// The definitions, in the order of their first page.
const FILES: [&str; 3] = ["weir/v1/streams.proto", "weir/v1/records.proto", "weir/v1/groups.proto"];

fn main() -> ExitCode {
    let Some(repository) = std::env::args_os().nth(1) else {
        eprintln!("usage: weir-native-codegen <repository>");
        return ExitCode::FAILURE;
    };
    let repository = Path::new(&repository);
    match generate(&repository.join(DEFINITIONS), &repository.join(GENERATED)) {
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
}
