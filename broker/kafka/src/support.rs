//! Renders the table of `dispatch`, and the tables of settings, as the Kafka part of
//! `docs/support.md`.

use std::fmt::Write;

use weir_core::settings::setting::{ChangedWhen, Effect, Setting};
use weir_core::settings::table::{BROKER_SETTINGS, CLIENT_METRICS_SETTINGS, GROUP_SETTINGS};
use weir_core::stream::config_table::TOPIC_SETTINGS;

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

/// The settings of topics, of the broker, of groups and of client metrics as Markdown tables: name,
/// default, whether it acts, and what gives its default or when it is read.
pub fn settings_tables() -> String {
    let mut tables = String::new();
    for (title, settings) in [
        ("Topics", TOPIC_SETTINGS),
        ("The broker", BROKER_SETTINGS),
        ("Groups", GROUP_SETTINGS),
        ("Client metrics", CLIENT_METRICS_SETTINGS),
    ] {
        let head = "| Setting | Default | Effect | |\n|---|---|---|---|\n";
        let written = write!(tables, "### {title}\n\n{head}");
        written.expect("writing to a string cannot fail");
        for setting in settings {
            tables.push_str(&settings_row(setting));
        }
        tables.push('\n');
    }
    tables
}

fn settings_row(setting: &Setting) -> String {
    let name = setting.name;
    let default = setting.default.map_or(String::new(), |default| format!("`{default}`"));
    let effect = match setting.effect {
        Effect::Acts => "acts",
        Effect::Stored => "stored only",
    };
    let synonyms: Vec<_> = setting.synonyms.iter().map(|synonym| synonym.name).collect();
    let note = match setting.changed {
        ChangedWhen::Starting => "read at start".to_owned(),
        ChangedWhen::Running if synonyms.is_empty() => String::new(),
        ChangedWhen::Running => format!("default from {}", synonyms.join(", ")),
    };
    format!("| {name} | {default} | {effect} | {note} |\n")
}
