//! A batch's bytes on paper: a line for each field, and more where it is long.
//!
//! ```text
//!   PLACE     BYTES                    FIELD         VALUE
//!   00000000  00 00 00 00 00 00 00 07  base offset   7
//! ```
//!
//! Places and bytes are in hex, values as people write them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::command::inspect::anatomy::{Anatomy, Field};

/// Bytes of a line.
const ROW: usize = 8;
/// Longest name of a field.
const NAME: usize = 20;

/// The lines of a batch.
pub(super) fn text(anatomy: &Anatomy, missing_bytes: u64) -> String {
    let mut text = format!("{:<8}  {:<23}  {:<NAME$}  VALUE\n", "PLACE", "BYTES", "FIELD");
    add_fields(&anatomy.stored, &mut text);
    if missing_bytes > 0 {
        let _ = writeln!(text, "… {missing_bytes} bytes more");
    }
    if !anatomy.unpacked.is_empty() {
        text += "\nunpacked; places count from here\n";
        add_fields(&anatomy.unpacked, &mut text);
    }
    text
}

fn add_fields(fields: &[Field], text: &mut String) {
    let mut record = None;
    for field in fields {
        if field.record != record {
            if let Some(number) = field.record {
                let _ = writeln!(text, "-- record {number} --");
            }
            record = field.record;
        }
        add_field(field, text);
    }
}

fn add_field(field: &Field, text: &mut String) {
    let mut name = field.name.as_str();
    for (row, bytes) in field.bytes.chunks(ROW).enumerate() {
        let place = field.position + (row * ROW) as u64;
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = match (row, field.value.as_str()) {
            (0, value) if !value.is_empty() => value.to_owned(),
            _ => format!("\"{}\"", letters(bytes)),
        };
        let _ = writeln!(text, "{place:08x}  {:<23}  {name:<NAME$}  {value}", hex.join(" "));
        name = "";
    }
}

/// Bytes as ASCII has them; a dot for what it does not print.
fn letters(bytes: &[u8]) -> String {
    let letter = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    };
    bytes.iter().map(letter).collect()
}

/// The fields as JSON has them; bytes in hex.
pub(super) fn objects(fields: &[Field]) -> Value {
    let object = |field: &Field| {
        let hex: String = field.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = match field.value.as_str() {
            "" => letters(&field.bytes),
            value => value.to_owned(),
        };
        json!({
            "record": field.record,
            "field": field.name,
            "position": field.position,
            "bytes": hex,
            "value": value,
        })
    };
    fields.iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn field(record: Option<usize>, name: &str, position: u64, bytes: &[u8], value: &str) -> Field {
        let bytes = Bytes::copy_from_slice(bytes);
        Field { record, name: name.to_owned(), position, bytes, value: value.to_owned() }
    }

    #[test]
    fn long_fields_go_on_in_more_lines() {
        let stored = vec![
            field(None, "magic", 16, &[2], "2"),
            field(Some(0), "value", 4096, b"0123456789\n", ""),
        ];
        let anatomy = Anatomy { stored, unpacked: Vec::new() };
        let expected = "\
PLACE     BYTES                    FIELD                 VALUE
00000010  02                       magic                 2
-- record 0 --
00001000  30 31 32 33 34 35 36 37  value                 \"01234567\"
00001008  38 39 0a                                       \"89.\"
… 3 bytes more
";
        assert_eq!(text(&anatomy, 3), expected);
    }
}
