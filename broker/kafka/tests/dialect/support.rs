//! `docs/support.md` says what is served because it is made from the table that serves it.

use std::path::Path;

const BEGIN: &str = "<!-- kafka: generated from broker/kafka/src/dispatch.rs -->\n";
const END: &str = "<!-- kafka: end -->\n";

/// `WEIR_UPDATE=1 cargo test -p weir-kafka` writes the table anew.
#[test]
fn the_support_document_lists_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/support.md");
    let document = std::fs::read_to_string(&path).expect("docs/support.md is there");
    let (before, rest) = document.split_once(BEGIN).expect("the table's beginning is marked");
    let (found, after) = rest.split_once(END).expect("the table's end is marked");
    let table = weir_kafka::support_table();
    if std::env::var_os("WEIR_UPDATE").is_some() {
        let document = [before, BEGIN, &table, END, after].concat();
        std::fs::write(&path, document).expect("docs/support.md can be written");
    } else {
        assert_eq!(found, table, "run WEIR_UPDATE=1 cargo test -p weir-kafka");
    }
}
