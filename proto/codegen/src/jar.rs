//! Finds the message definitions inside Kafka's jars.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crate::definition::Definition;

const DEFINITION_FOLDER: &str = "common/message/";

/// All definitions of all jars, by name.
pub(crate) fn read_definitions(jars: &[PathBuf]) -> Result<BTreeMap<String, Definition>, String> {
    let mut definitions = BTreeMap::new();
    for jar in jars {
        let say = |error: &dyn std::fmt::Display| format!("{}: {error}", jar.display());
        let file = File::open(jar).map_err(|error| say(&error))?;
        let mut archive = zip::ZipArchive::new(file).map_err(|error| say(&error))?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(|error| say(&error))?;
            let name = entry.name().map_err(|error| say(&error))?.into_owned();
            if !name.starts_with(DEFINITION_FOLDER) || !name.ends_with(".json") {
                continue;
            }
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(|error| say(&error))?;
            let definition =
                Definition::parse(&text).map_err(|error| say(&format!("{name}: {error}")))?;
            definitions.insert(definition.name.clone(), definition);
        }
    }
    if definitions.is_empty() {
        return Err(format!("no {DEFINITION_FOLDER}*.json in {jars:?}"));
    }
    Ok(definitions)
}
