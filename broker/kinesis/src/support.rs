//! The operations that are served, for `docs/support.md`: the table of actions, and what each
//! action's contract says under `Gaps`. A test, since nobody needs them while the broker runs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::action::ACTIONS;

const BEGIN: &str = "<!-- kinesis: generated from broker/kinesis/src/action -->\n";
const END: &str = "<!-- kinesis: end -->\n";

fn from_the_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// `CreateStream` is in `create_stream.rs`.
fn file_name(operation: &str) -> String {
    let mut name = String::new();
    for character in operation.chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name + ".rs"
}

/// The paragraph of a module's text that begins with `Gaps:`, in one line and without that word.
fn gaps(source: &str) -> String {
    let text = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let paragraph = text
        .skip_while(|line| !line.starts_with("Gaps:"))
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    paragraph.strip_prefix("Gaps:").unwrap_or_default().trim().trim_end_matches('.').to_owned()
}

fn table() -> String {
    let mut table = "| Operation | Left out |\n|---|---|\n".to_owned();
    for action in ACTIONS {
        let path = from_the_crate("src/action").join(file_name(action.name));
        let source = fs::read_to_string(&path).expect("an action has a file of its name");
        table.push_str(&format!("| {} | {} |\n", action.name, gaps(&source)));
    }
    table
}

/// `WEIR_UPDATE=1 cargo test -p weir-kinesis` writes the table anew.
#[test]
fn the_support_document_lists_what_is_served() {
    let path = from_the_crate("../../docs/support.md");
    let document = fs::read_to_string(&path).expect("docs/support.md is there");
    let (before, rest) = document.split_once(BEGIN).expect("the table's beginning is marked");
    let (found, after) = rest.split_once(END).expect("the table's end is marked");
    let table = table();
    if std::env::var_os("WEIR_UPDATE").is_some() {
        let document = [before, BEGIN, &table, END, after].concat();
        fs::write(&path, document).expect("docs/support.md can be written");
    } else {
        assert_eq!(found, table, "run WEIR_UPDATE=1 cargo test -p weir-kinesis");
    }
}

#[test]
fn gaps_are_read_out_of_a_contract() {
    for (source, expected) in [
        ("//! X: y.\n//!\n//! Gaps: one\n//! two. Three.\n//!\n//! Z.\n", "one two. Three"),
        ("//! X: y.\n\n//! Gaps: not of the module\n", ""),
        ("//! X: y.\n//!\n//! Gaps: last.\n", "last"),
    ] {
        assert_eq!(gaps(source), expected, "{source:?}");
    }
}
