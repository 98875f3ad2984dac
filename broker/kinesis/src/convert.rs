//! Gives each member the type that the API's model says, or AWS's words for why it cannot have it.
//!
//! This is the first of the two checks of a request's members: unknown members are dropped, `null`
//! means absent, whole numbers lose their fraction, blobs and times are decoded. The first member
//! that has the wrong type ends the request with a `SerializationException`. What is left has the
//! right types everywhere, so that [`Input`](crate::input::Input) can hand it out without failing.

use std::borrow::Cow;

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::{DecodeError, Engine};
use bytes::Bytes;
use weir_model::time::Timestamp;

use crate::errors::KinesisError;
use crate::log_text::shortened;
use crate::shape::{Kind, Member, Shape};
use crate::wire::{Encoding, Value};

type Entries<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// Checks a whole body against an operation's members.
pub(crate) fn convert_input<'a>(
    body: Value<'a>,
    members: &'static [Member],
    encoding: Encoding,
) -> Result<Entries<'a>, KinesisError> {
    match body {
        Value::Map(entries) => structure(entries, members, encoding),
        // AWS says nothing more about a body that is not a map.
        _ => Err(KinesisError::malformed_body()),
    }
}

fn structure<'a>(
    entries: Entries<'a>,
    members: &'static [Member],
    encoding: Encoding,
) -> Result<Entries<'a>, KinesisError> {
    let mut known: Entries<'a> = Vec::with_capacity(members.len());
    for (name, value) in entries {
        let Some(member) = members.iter().find(|member| member.name == name) else {
            continue;
        };
        let value = convert(value, member.shape, encoding)?;
        match known.iter_mut().find(|(known_name, _)| *known_name == name) {
            Some((_, earlier)) => *earlier = value,
            None => known.push((name, value)),
        }
    }
    known.retain(|(_, value)| *value != Value::Null);
    Ok(known)
}

fn convert<'a>(
    value: Value<'a>,
    shape: &'static Shape,
    encoding: Encoding,
) -> Result<Value<'a>, KinesisError> {
    if value == Value::Null {
        return Ok(value);
    }
    match &shape.kind {
        Kind::Text => match value {
            Value::Text(_) => Ok(value),
            other => Err(cannot_become(&other, "an String")),
        },
        Kind::Integer => match value {
            Value::Integer(_) => Ok(value),
            // The cast cuts the fraction off and saturates.
            Value::Float(number) => Ok(Value::Integer(number as i64)),
            other => Err(cannot_become(&other, "an Integer")),
        },
        Kind::Boolean => boolean(value),
        Kind::Blob => blob(value),
        Kind::Timestamp => timestamp(value, encoding),
        Kind::List(element) => match value {
            Value::List(elements) => {
                let converted: Result<Vec<Value<'a>>, KinesisError> =
                    elements.into_iter().map(|value| convert(value, element, encoding)).collect();
                converted.map(Value::List)
            }
            Value::Map(_) => Err(unexpected_map()),
            _ => Err(KinesisError::serialization("Expected list or null")),
        },
        Kind::Map => match value {
            Value::Map(entries) => text_map(entries).map(Value::Map),
            Value::List(_) => Err(unexpected_list()),
            _ => Err(KinesisError::serialization("Expected map or null")),
        },
        Kind::Structure(members) => match value {
            Value::Map(entries) => structure(entries, members, encoding).map(Value::Map),
            Value::List(_) => Err(unexpected_list()),
            _ => Err(KinesisError::serialization("Expected null")),
        },
    }
}

fn text_map(entries: Entries<'_>) -> Result<Entries<'_>, KinesisError> {
    for (_, value) in &entries {
        match value {
            Value::Text(_) | Value::Null => {}
            other => return Err(cannot_become(other, "an String")),
        }
    }
    Ok(entries)
}

fn boolean(value: Value<'_>) -> Result<Value<'_>, KinesisError> {
    let Value::Text(text) = &value else {
        return match value {
            Value::Boolean(_) => Ok(value),
            other => Err(cannot_become(&other, "an Boolean")),
        };
    };
    let upper = text.to_uppercase();
    match upper.as_str() {
        "TRUE" | "YES" | "1" => Ok(Value::Boolean(true)),
        "FALSE" | "NO" | "0" => Ok(Value::Boolean(false)),
        _ => Err(KinesisError::serialization(format!(
            "'{}' can not be converted to an Boolean",
            shortened(&upper)
        ))),
    }
}

fn timestamp(value: Value<'_>, encoding: Encoding) -> Result<Value<'_>, KinesisError> {
    let millis = match (value, encoding) {
        (Value::Timestamp(time), _) => time.as_millis(),
        (Value::Integer(seconds), Encoding::Json) => seconds.saturating_mul(1000),
        // The casts saturate; a decimal fraction of a second is never exact, hence the rounding.
        (Value::Float(seconds), Encoding::Json) => (seconds * 1000.0).round() as i64,
        (Value::Integer(millis), Encoding::Cbor) => millis,
        (Value::Float(millis), Encoding::Cbor) => millis as i64,
        (other, _) => return Err(cannot_become(&other, "milliseconds since epoch")),
    };
    Ok(Value::Timestamp(Timestamp::from_millis(millis)))
}

fn blob(value: Value<'_>) -> Result<Value<'_>, KinesisError> {
    match value {
        Value::Blob(_) => Ok(value),
        Value::Text(text) => match BASE64.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Value::Blob(Bytes::from(bytes))),
            Err(error) => Err(not_base64(&text, error)),
        },
        other => Err(cannot_become(&other, "a Blob")),
    }
}

fn not_base64(text: &str, error: DecodeError) -> KinesisError {
    let why = match error {
        _ if !text.len().is_multiple_of(4) => format!(
            "Base64 encoded length is expected a multiple of 4 bytes but found: {}",
            text.len()
        ),
        DecodeError::InvalidByte(at, byte) => {
            let character = text.get(at..).and_then(|rest| rest.chars().next());
            let character = character.unwrap_or(char::from(byte));
            format!("Invalid Base64 character: '{character}'")
        }
        DecodeError::InvalidPadding | DecodeError::InvalidLength(_) => {
            "Invalid Base64 character: '='".to_owned()
        }
        // The misspelling is AWS's.
        DecodeError::InvalidLastSymbol { .. } => {
            "Invalid last non-pad Base64 character dectected".to_owned()
        }
    };
    KinesisError::serialization(format!(
        "'{}' can not be converted to a Blob: {why}",
        shortened(text)
    ))
}

/// AWS's words for a value of the wrong type; `target` comes with its article, such as it is.
fn cannot_become(value: &Value<'_>, target: &str) -> KinesisError {
    let class = match value {
        Value::List(_) => return unexpected_list(),
        Value::Map(_) => return unexpected_map(),
        Value::Null => "null",
        Value::Boolean(_) => "class java.lang.Boolean",
        Value::Integer(_) | Value::Float(_) => {
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
        }
        Value::Text(_) => "class java.lang.String",
        Value::Blob(_) => "class java.nio.HeapByteBuffer",
        Value::Timestamp(_) => "class java.util.Date",
    };
    KinesisError::serialization(format!("{class} can not be converted to {target}"))
}

fn unexpected_list() -> KinesisError {
    KinesisError::serialization("Start of list found where not expected")
}

fn unexpected_map() -> KinesisError {
    // AWS ends this one with a full stop, and the one for lists without.
    KinesisError::serialization("Start of structure or map found where not expected.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    static TEXTS: Shape = Shape { kind: Kind::List(&TEXT), rules: &[] };
    static TEXT: Shape = Shape { kind: Kind::Text, rules: &[] };
    static INTEGER: Shape = Shape { kind: Kind::Integer, rules: &[] };
    static BLOB: Shape = Shape { kind: Kind::Blob, rules: &[] };
    static TAGS: Shape = Shape { kind: Kind::Map, rules: &[] };
    static INNER: Shape =
        Shape { kind: Kind::Structure(&[Member::optional("Text", &TEXT)]), rules: &[] };
    static MEMBERS: [Member; 8] = [
        Member::optional("Text", &TEXT),
        Member::optional("Integer", &INTEGER),
        Member::optional("Boolean", &crate::shape::BOOLEAN),
        Member::optional("Blob", &BLOB),
        Member::optional("Time", &crate::shape::TIMESTAMP),
        Member::optional("Texts", &TEXTS),
        Member::optional("Tags", &TAGS),
        Member::optional("Inner", &INNER),
    ];

    fn convert_json(json: &str) -> Result<String, KinesisError> {
        let body = Bytes::copy_from_slice(json.as_bytes());
        let value = wire::parse(Encoding::Json, &body).expect("well-formed JSON");
        convert_input(value, &MEMBERS, Encoding::Json).map(|members| format!("{members:?}"))
    }

    #[test]
    fn wrong_types_get_awss_words() {
        const NUMBER: &str = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
        let list = "Start of list found where not expected".to_owned();
        let map = "Start of structure or map found where not expected.".to_owned();
        let plain = str::to_owned;
        for (json, message) in [
            (
                r#"{"Text":true}"#,
                plain("class java.lang.Boolean can not be converted to an String"),
            ),
            (r#"{"Text":1}"#, format!("{NUMBER} can not be converted to an String")),
            (r#"{"Text":[]}"#, list.clone()),
            (r#"{"Text":{}}"#, map.clone()),
            (
                r#"{"Integer":"1"}"#,
                plain("class java.lang.String can not be converted to an Integer"),
            ),
            (
                r#"{"Integer":true}"#,
                plain("class java.lang.Boolean can not be converted to an Integer"),
            ),
            (r#"{"Integer":[]}"#, list.clone()),
            (r#"{"Boolean":"maybe"}"#, plain("'MAYBE' can not be converted to an Boolean")),
            (r#"{"Boolean":1}"#, format!("{NUMBER} can not be converted to an Boolean")),
            (r#"{"Blob":true}"#, plain("class java.lang.Boolean can not be converted to a Blob")),
            (r#"{"Blob":1}"#, format!("{NUMBER} can not be converted to a Blob")),
            (
                r#"{"Blob":"abc"}"#,
                plain(
                    "'abc' can not be converted to a Blob: \
                 Base64 encoded length is expected a multiple of 4 bytes but found: 3",
                ),
            ),
            (
                r#"{"Blob":"=+/="}"#,
                plain("'=+/=' can not be converted to a Blob: Invalid Base64 character: '='"),
            ),
            (
                r#"{"Blob":"a*cd"}"#,
                plain("'a*cd' can not be converted to a Blob: Invalid Base64 character: '*'"),
            ),
            (
                r#"{"Blob":"YWJ="}"#,
                plain(
                    "'YWJ=' can not be converted to a Blob: \
                 Invalid last non-pad Base64 character dectected",
                ),
            ),
            (
                r#"{"Time":"1"}"#,
                plain("class java.lang.String can not be converted to milliseconds since epoch"),
            ),
            (r#"{"Texts":"a"}"#, plain("Expected list or null")),
            (r#"{"Texts":{}}"#, map),
            (r#"{"Texts":[1]}"#, format!("{NUMBER} can not be converted to an String")),
            (r#"{"Tags":1}"#, plain("Expected map or null")),
            (r#"{"Tags":[]}"#, list.clone()),
            (
                r#"{"Tags":{"a":true}}"#,
                plain("class java.lang.Boolean can not be converted to an String"),
            ),
            (r#"{"Inner":"x"}"#, plain("Expected null")),
            (r#"{"Inner":[]}"#, list),
        ] {
            assert_eq!(convert_json(json), Err(KinesisError::serialization(message)), "{json}");
        }
    }

    #[test]
    fn a_body_that_is_no_map_gets_no_message() {
        for json in ["null", "1", "[]", "\"a\""] {
            assert_eq!(convert_json(json), Err(KinesisError::malformed_body()), "{json}");
        }
    }

    #[test]
    fn right_types_are_decoded_and_the_rest_is_dropped() {
        for (json, expected) in [
            (r#"{"Other":[1],"Text":null}"#, "[]"),
            (r#"{"Text":"a","Text":"b"}"#, r#"[("Text", Text("b"))]"#),
            (r#"{"Text":"a","Text":null}"#, "[]"),
            (r#"{"Integer":1.9}"#, r#"[("Integer", Integer(1))]"#),
            (r#"{"Integer":1e300}"#, r#"[("Integer", Integer(9223372036854775807))]"#),
            (r#"{"Boolean":"yes"}"#, r#"[("Boolean", Boolean(true))]"#),
            (r#"{"Blob":"aGk="}"#, r#"[("Blob", Blob(b"hi"))]"#),
            (r#"{"Blob":""}"#, r#"[("Blob", Blob(b""))]"#),
            (r#"{"Time":1700000000.123}"#, r#"[("Time", Timestamp(Timestamp(1700000000123)))]"#),
            (r#"{"Time":5}"#, r#"[("Time", Timestamp(Timestamp(5000)))]"#),
            (r#"{"Texts":[null]}"#, r#"[("Texts", List([Null]))]"#),
            (r#"{"Inner":{"X":1}}"#, r#"[("Inner", Map([]))]"#),
        ] {
            assert_eq!(convert_json(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn cbor_times_are_milliseconds_with_or_without_their_tag() {
        for body in [&b"\xa1\x64Time\xc1\x19\x03\xe8"[..], b"\xa1\x64Time\x19\x03\xe8"] {
            let body = Bytes::from_static(body);
            let value = wire::parse(Encoding::Cbor, &body).expect("well-formed CBOR");
            let members = convert_input(value, &MEMBERS, Encoding::Cbor).expect("a time");
            assert_eq!(members[0].1, Value::Timestamp(Timestamp::from_millis(1000)));
        }
    }
}
