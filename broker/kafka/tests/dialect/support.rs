//! `docs/support.md` says what is served because it is made from the tables that serve it.

use std::path::Path;

/// The parts of the document that are generated: where each begins and ends, and its text.
fn parts() -> [(&'static str, &'static str, String); 2] {
    [
        (
            "<!-- kafka: generated from broker/kafka/src/dispatch.rs -->\n",
            "<!-- kafka: end -->\n",
            weir_kafka::support_table(),
        ),
        (
            "<!-- kafka settings: generated from broker/core/src/settings/table.rs and \
             broker/core/src/stream/config_table.rs -->\n",
            "<!-- kafka settings: end -->\n",
            weir_kafka::settings_tables(),
        ),
    ]
}

/// `WEIR_UPDATE=1 cargo test -p weir-kafka` writes the tables anew.
#[test]
fn the_support_document_lists_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/support.md");
    let mut document = std::fs::read_to_string(&path).expect("docs/support.md is there");
    let is_update = std::env::var_os("WEIR_UPDATE").is_some();
    for (begin, end, table) in parts() {
        let (before, rest) = document.split_once(begin).expect("the table's beginning is marked");
        let (found, after) = rest.split_once(end).expect("the table's end is marked");
        if !is_update {
            assert_eq!(found, table, "run WEIR_UPDATE=1 cargo test -p weir-kafka");
        }
        document = [before, begin, &table, end, after].concat();
    }
    if is_update {
        std::fs::write(&path, document).expect("docs/support.md can be written");
    }
}
