//! Renders the table of `dispatch` as the Kafka part of `docs/support.md`.

use std::fmt::Write;

use crate::dispatch::SERVED;

/// The served APIs as a Markdown table: key, name, versions, deliberate gaps.
pub fn support_table() -> String {
    let mut table = String::from("| Key | API | Versions | Left out |\n|---:|---|---|---|\n");
    for api in SERVED {
        let versions = if api.listed_from == api.first {
            format!("{}-{}", api.first, api.last)
        } else {
            format!("{}-{} (listed from {})", api.first, api.last, api.listed_from)
        };
        let (key, name, gaps) = (api.key.as_i16(), api.key.name(), api.gaps.join("; "));
        let written = writeln!(table, "| {key} | {name} | {versions} | {gaps} |");
        written.expect("writing to a string cannot fail");
    }
    table
}
