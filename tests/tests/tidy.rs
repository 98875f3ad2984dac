//! The rules of style that a machine can judge: sizes, names, headers, layers, licences.
//!
//! They are there to help. Where one stands in the way of good code, the exception goes into a
//! table here with its reason; existing excess may only shrink.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Longest file, in lines outside its tests.
const FILE_LINES_MAX: usize = 700;
/// Longest function, in lines from its name to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest line, in characters.
const LINE_CHARS_MAX: usize = 100;

/// Written by `proto/codegen` and `proto/native/codegen`: the generators are judged, not their
/// output.
const GENERATED: [&str; 3] =
    ["proto/kafka/src/messages", "proto/records/src/messages", "proto/native/src/generated"];

/// Module names that say nothing.
const EMPTY_NAMES: [&str; 8] =
    ["utils", "util", "helpers", "helper", "common", "types", "impls", "misc"];

/// Which of our crates each crate may use (design.md §2). The boundary is the missing line in a
/// `Cargo.toml`; this table is what the missing line is checked against.
const LAYERS: [(&str, &[&str]); 13] = [
    ("weir-model", &[]),
    ("weir-storage", &["weir-model"]),
    ("weir-core", &["weir-model", "weir-storage", "weir-kafka-records"]),
    ("weir-kafka", &["weir-core", "weir-model", "weir-kafka-protocol"]),
    ("weir-kinesis", &["weir-core", "weir-model"]),
    ("weir-grpc", &["weir-core", "weir-model", "weir-proto"]),
    ("weir-proto", &[]),
    ("weir-native-codegen", &[]),
    ("weir-kafka-protocol", &[]),
    ("weir-kafka-records", &["weir-kafka-protocol"]),
    ("weir-codegen", &[]),
    // The proto crates are for whoever stands outside, too (design.md §2).
    ("weir-client", &["weir-model", "weir-kafka-protocol", "weir-kafka-records", "weir-proto"]),
    (
        "weir",
        &[
            "weir-core",
            "weir-model",
            "weir-storage",
            "weir-kafka",
            "weir-kinesis",
            "weir-grpc",
            "weir-client",
        ],
    ),
];

/// Licences that a dependency may have; of a choice, one suffices.
const LICENCES: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "BlueOak-1.0.0",
    "0BSD",
    "Unlicense",
    "CC0-1.0",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// Our own Rust files, with their paths from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["broker", "client", "proto", "benches", "tests"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "only {} files found: is the root right?", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let relative = path.strip_prefix(root()).expect("below the root").display().to_string();
        let skipped = GENERATED.contains(&relative.as_str())
            || path.file_name().is_some_and(|name| name == "target" || name == ".cache");
        if path.is_dir() && !skipped {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((relative, fs::read_to_string(&path).expect("source is UTF-8")));
        }
    }
}

/// The lines before the file's own tests.
fn without_tests(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
}

/// Fails with all findings at once.
fn report(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let silent = |(_, text): &&(String, String)| !text.starts_with("//!");
    report(sources().iter().filter(silent).map(|(path, _)| path.clone()).collect());
}

#[test]
fn files_and_lines_stay_readable() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        let lines = without_tests(&text).len();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{path}: {lines} lines"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            if line.chars().count() > LINE_CHARS_MAX {
                findings.push(format!("{path}:{number}: {} columns", line.chars().count()));
            }
        }
    }
    report(findings);
}

#[test]
fn functions_fit_one_screen() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        let lines = without_tests(&text);
        for (number, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else {
                continue;
            };
            // In formatted code a function ends at the first brace that stands where it began.
            let indent = line.len() - line.trim_start().len();
            let closes =
                |end: &&str| end.trim_end() == "}" && end.len() - end.trim_start().len() == indent;
            let body = lines.get(number..).unwrap_or_default();
            let length = body.iter().position(closes).map_or(1, |end| end + 1);
            if length > FUNCTION_LINES_MAX {
                findings.push(format!("{path}:{}: {name} has {length} lines", number + 1));
            }
        }
    }
    report(findings);
}

/// The name of the function that a line opens, if it opens one with a body.
fn function_name(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let is_item = ["fn ", "pub ", "pub(", "async ", "const ", "unsafe "]
        .iter()
        .any(|start| rest.starts_with(start));
    let after = rest.split_once("fn ").filter(|_| is_item)?.1;
    if rest.ends_with(';') {
        return None;
    }
    after.split(['(', '<']).next()
}

#[test]
fn names_say_something_and_nothing_is_left_to_do() {
    let mut findings = Vec::new();
    let marks = ["TODO", "FIXME", "XXX"];
    for (path, text) in sources() {
        let stem = Path::new(&path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = Path::new(&path).parent().and_then(Path::file_name).and_then(|f| f.to_str());
        if EMPTY_NAMES.contains(&stem) || folder.is_some_and(|name| EMPTY_NAMES.contains(&name)) {
            findings.push(format!("{path}: a name that says nothing"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            if !path.ends_with("tidy.rs") && marks.iter().any(|mark| comment.contains(mark)) {
                findings.push(format!("{path}:{number}: {}", comment.trim()));
            }
        }
    }
    report(findings);
}

/// Where unsafe code may stand: the maps of segments, and a setting of the C library (ADR 18).
const UNSAFE_HOMES: [&str; 2] =
    ["broker/storage/src/local/map.rs", "broker/server/src/allocator.rs"];

#[test]
fn unsafe_code_stands_in_two_files() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        let is_home = UNSAFE_HOMES.contains(&path.as_str()) || path.ends_with("tidy.rs");
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split_once("//").map_or(line, |(code, _)| code);
            if !is_home && (code.contains("unsafe {") || code.contains("unsafe fn")) {
                findings.push(format!("{path}:{number}"));
            }
        }
    }
    report(findings);
}

fn cargo_metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        // Other platforms' crates are not downloaded, and their manifests not needed.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn crates_use_only_the_layers_below_them() {
    let metadata = cargo_metadata();
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().expect("a list of packages") {
        let name = text(package, "name");
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            continue;
        };
        if !package["source"].is_null() {
            continue;
        }
        let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
        for dependency in dependencies.iter().filter(|dependency| dependency["kind"].is_null()) {
            let used = text(dependency, "name");
            let is_ours = LAYERS.iter().any(|(layer, _)| *layer == used);
            if is_ours && !allowed.contains(&used) {
                findings.push(format!("{name} uses {used}"));
            }
        }
    }
    report(findings);
}

#[test]
fn dependencies_come_from_the_registry_under_licences_we_accept() {
    let metadata = cargo_metadata();
    let mut findings = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("a list of packages") {
        let name = text(package, "name");
        let source = text(package, "source");
        if !package["source"].is_null() && !source.starts_with("registry+") {
            findings.insert(format!("{name} comes from {source}"));
        }
        let licence = text(package, "license").replace('/', " OR ");
        if !is_accepted(&licence) {
            findings.insert(format!("{name} is under {licence:?}"));
        }
    }
    report(findings.into_iter().collect());
}

/// Whether a licence expression leaves us a choice that we accept: every part of an AND, and one of
/// each OR.
fn is_accepted(expression: &str) -> bool {
    expression.split(" AND ").all(|part| {
        let part = part.trim_matches(['(', ')', ' ']);
        part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim_matches(['(', ')', ' '])))
    })
}

#[test]
fn nothing_committed_names_this_workplace() {
    let output = Command::new("git")
        .args(["grep", "-nIE", "/work/(main|shared|brief)|/root/", "--", ":!tests/tests/tidy.rs"])
        .current_dir(root())
        .output()
        .expect("git runs");
    report(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect());
}
