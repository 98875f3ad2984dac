//! A record as a JSON object, as `consume -o jsonl` prints it and `produce --json` reads it:
//!
//! ```json
//! {"stream":"orders","partition":0,"offset":17,"timestamp_ms":1769860800000,"key":"k","value":"v",
//!  "headers":[{"name":"trace","value":"5f2c"}],"decoded":["gzip","kpl"],"sub_sequence":2}
//! ```
//!
//! The last two only where `--decode` unpacked something. Of a Kinesis a record has, in place of
//! the offset, a `sequence_number`. What is no UTF-8 stands, in base64, under the name with
//! `_base64` behind it. A null value is null; a member that is left out is null, or the broker's
//! choice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::command::decode::{Decoded, Step};
use crate::record::{NewRecord, WantedPlace};

/// The object of a record that was read.
pub(crate) fn object(decoded: &Decoded) -> Value {
    let record = &decoded.record;
    let mut members = Map::new();
    members.insert("stream".to_owned(), json!(&*record.stream));
    members.insert("partition".to_owned(), json!(record.place.partition));
    match &record.sequence_number {
        Some(number) => members.insert("sequence_number".to_owned(), json!(&**number)),
        None => members.insert("offset".to_owned(), json!(record.place.offset)),
    };
    members.insert("timestamp_ms".to_owned(), json!(record.place.timestamp_ms));
    insert_bytes(&mut members, "key", record.key.as_ref());
    insert_bytes(&mut members, "value", record.value.as_ref());
    if !record.headers.is_empty() {
        let header = |(name, value): &(String, Option<Bytes>)| {
            let mut header = Map::new();
            header.insert("name".to_owned(), json!(name));
            insert_bytes(&mut header, "value", value.as_ref());
            Value::Object(header)
        };
        members.insert("headers".to_owned(), record.headers.iter().map(header).collect());
    }
    if !decoded.steps.is_empty() {
        let names: Vec<_> = decoded.steps.iter().copied().map(Step::name).collect();
        members.insert("decoded".to_owned(), json!(names));
    }
    if let Some(number) = decoded.sub_sequence {
        members.insert("sub_sequence".to_owned(), json!(number));
    }
    Value::Object(members)
}

/// A member that is text, null or, under a name of its own, base64.
pub(crate) fn insert_bytes(members: &mut Map<String, Value>, name: &str, bytes: Option<&Bytes>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => members.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => members.insert(name.to_owned(), json!(text)),
        Some((bytes, Err(_))) => {
            members.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes)))
        }
    };
}

/// What a line may say; anything else in it is a mistake. Where a record was read is passed over,
/// so that it can be written as it was printed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "stream")]
    _stream: Option<IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "decoded")]
    _decoded: Option<IgnoredAny>,
    #[serde(rename = "sub_sequence")]
    _sub_sequence: Option<IgnoredAny>,
    #[serde(rename = "sequence_number")]
    _sequence_number: Option<IgnoredAny>,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<Value>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<LineHeader>,
    timestamp_ms: Option<i64>,
    partition: Option<u32>,
    hash_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineHeader {
    name: String,
    value: Option<String>,
    value_base64: Option<String>,
}

/// What of a line's place and time is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The key decides, and the time is now.
    Anew,
    /// As the line says, where it does.
    AsWritten,
}

/// The record that a line tells of. A value that is no text, such as an object, is written as JSON.
pub(crate) fn parse(line: &[u8], placed: Placed) -> Result<NewRecord, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let value = match line.value {
        Some(Value::String(text)) => Some(text),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let mut record = NewRecord {
        key: bytes(line.key, line.key_base64)?,
        value: bytes(value, line.value_base64)?,
        ..NewRecord::default()
    };
    for header in line.headers {
        record.headers.push((header.name, bytes(header.value, header.value_base64)?));
    }
    if placed == Placed::Anew {
        return Ok(record);
    }
    record.timestamp_ms = line.timestamp_ms;
    record.place = match (line.hash_key, line.partition) {
        (Some(text), _) => {
            WantedPlace::HashKey(text.parse().map_err(|_| format!("{text} is no hash key"))?)
        }
        (None, Some(index)) => WantedPlace::Partition(index),
        (None, None) => WantedPlace::ByKey,
    };
    Ok(record)
}

fn bytes(text: Option<String>, base64: Option<String>) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (Some(text), _) => Ok(Some(text.into())),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(&base64).map_err(|_| format!("{base64} is no base64"))?;
            Ok(Some(bytes.into()))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Place, Record};

    #[test]
    fn a_record_that_was_printed_is_read_as_it_was() {
        let record = Record {
            stream: "s".into(),
            place: Place { partition: 3, offset: 17, timestamp_ms: 1000 },
            sequence_number: None,
            key: Some(Bytes::from_static(&[0xff, 0])),
            value: None,
            headers: vec![
                ("a".to_owned(), Some(Bytes::from_static(b"text"))),
                ("b".to_owned(), None),
                ("c".to_owned(), Some(Bytes::from_static(&[0xfe]))),
            ],
        };
        let line = object(&Decoded::plain(record.clone())).to_string();
        let read = parse(line.as_bytes(), Placed::AsWritten).expect("it was printed so");
        assert_eq!((read.key, read.value, read.headers), (record.key, None, record.headers));
        assert_eq!((read.timestamp_ms, read.place), (Some(1000), WantedPlace::Partition(3)));
    }

    #[test]
    fn a_value_may_be_any_json() {
        let read = parse(br#"{"value":{"n":1}}"#, Placed::Anew).expect("it is JSON");
        assert_eq!(read, NewRecord::new(r#"{"n":1}"#));
        assert!(parse(b"{", Placed::Anew).is_err());
        assert!(parse(br#"{"key_base64":"*"}"#, Placed::Anew).is_err());
    }

    #[test]
    fn a_misspelt_member_is_refused() {
        for line in [r#"{"kye":"k","value":"v"}"#, r#"{"headers":[{"name":"n","valeu":"v"}]}"#] {
            let refused = parse(line.as_bytes(), Placed::Anew).expect_err(line);
            assert!(refused.contains("unknown field"), "{refused}");
        }
    }
}
