//! Reads JSON into a [`Value`] tree.
//!
//! The grammar, numbers and escapes are `serde_json`'s; what is ours is the tree, and the limits on
//! its depth and size (`serde_json` alone would let 16 MiB of `[[],[],…` become ten times that).

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{DEPTH_MAX, Malformed, VALUES_MAX, Value};

/// Reads a whole body; anything after the value but white space is malformed.
pub(super) fn parse(body: &[u8]) -> Result<Value<'_>, Malformed> {
    let values_left = Cell::new(VALUES_MAX);
    let seed = ValueSeed { depth_left: DEPTH_MAX, values_left: &values_left };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = seed.deserialize(&mut deserializer).map_err(|_| Malformed)?;
    deserializer.end().map_err(|_| Malformed)?;
    Ok(value)
}

/// Reads one value and what it contains, counting down what may still come.
struct ValueSeed<'s> {
    depth_left: u32,
    values_left: &'s Cell<u32>,
}

impl ValueSeed<'_> {
    fn for_content<E: Error>(&self) -> Result<ValueSeed<'_>, E> {
        let depth_left = self.depth_left.checked_sub(1);
        Ok(ValueSeed {
            depth_left: depth_left.ok_or_else(|| E::custom("nested too deep"))?,
            values_left: self.values_left,
        })
    }
}

impl<'a> DeserializeSeed<'a> for ValueSeed<'_> {
    type Value = Value<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Value<'a>, D::Error> {
        let left = self.values_left.get().checked_sub(1);
        self.values_left.set(left.ok_or_else(|| D::Error::custom("too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ValueSeed<'_> {
    type Value = Value<'a>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'a>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'a>, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'a>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'a>, E> {
        Ok(Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'a>, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Value<'a>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(self.for_content()?)? {
            elements.push(element);
        }
        Ok(Value::List(elements))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Value<'a>, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key_seed(NameSeed)? {
            let value = map.next_value_seed(self.for_content()?)?;
            entries.push((name, value));
        }
        Ok(Value::Map(entries))
    }
}

/// Reads a member's name. (Plain `Cow<str>` deserializes into an owned copy each time.)
struct NameSeed;

impl<'a> DeserializeSeed<'a> for NameSeed {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for NameSeed {
    type Value = Cow<'a, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a member name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text))
    }

    #[test]
    fn values_read_as_what_they_are() {
        for (json, expected) in [
            ("null", Value::Null),
            (" true ", Value::Boolean(true)),
            ("-5", Value::Integer(-5)),
            ("1.5", Value::Float(1.5)),
            ("18446744073709551615", Value::Integer(i64::MAX)),
            (r#""a/b""#, text("a/b")),
            (r#""a\u00e9\ud83d\ude00\n""#, text("aé😀\n")),
            ("[1,[]]", Value::List(vec![Value::Integer(1), Value::List(vec![])])),
            (
                r#"{"A":1,"A":"x"}"#,
                Value::Map(vec![("A".into(), Value::Integer(1)), ("A".into(), text("x"))]),
            ),
        ] {
            assert_eq!(parse(json.as_bytes()), Ok(expected), "{json}");
        }
    }

    #[test]
    fn text_without_escapes_is_borrowed_from_the_body() {
        let body = br#"["plain","esc\naped"]"#;
        let Ok(Value::List(elements)) = parse(body) else {
            panic!("a list was expected");
        };
        let borrowed: Vec<bool> = elements
            .iter()
            .map(|element| matches!(element, Value::Text(Cow::Borrowed(_))))
            .collect();
        assert_eq!(borrowed, [true, false]);
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for body in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "nul",
            "01",
            "1 2",
            "{'a':1}",
            "\"\\ud800\"",
            "\"\u{1}\"",
            "[1e999]",
        ] {
            assert_eq!(parse(body.as_bytes()), Err(Malformed), "{body:?}");
        }
        assert_eq!(parse(b"\"\xff\""), Err(Malformed), "not UTF-8");
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(DEPTH_MAX as usize).as_bytes()).is_ok());
        assert_eq!(parse(nested(DEPTH_MAX as usize + 2).as_bytes()), Err(Malformed));
        assert_eq!(parse(nested(1_000_000).as_bytes()), Err(Malformed));
        let flat = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(parse(flat(VALUES_MAX as usize - 1).as_bytes()).is_ok());
        assert_eq!(parse(flat(VALUES_MAX as usize).as_bytes()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&body);
        }

        #[test]
        fn arbitrary_json_like_text_never_panics(body in r#"[\[\]{}",:0-9eE.+\\u n-]{0,64}"#) {
            let _ = parse(body.as_bytes());
        }
    }
}
