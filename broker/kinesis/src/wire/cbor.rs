//! Reads CBOR (RFC 8949) into a [`Value`] tree, as far as AWS uses it.
//!
//! One item is a head and what follows it. The head's first byte holds the major type (3 bits) and
//! an argument: itself below 24, in the next 1, 2, 4 or 8 bytes for 24 to 27, or 31 for a length
//! that is not told and ends with `ff`; the Java SDK sends maps, lists and text in that form.
//!
//! | major | what | read as |
//! |---|---|---|
//! | 0, 1 | integer, negative integer | clamped to 64 bits with a sign |
//! | 2 | byte string | a slice of the body, no copy (pieces of indefinite length are joined) |
//! | 3 | text | borrowed from the body |
//! | 4, 5 | list, map | keys are text |
//! | 6 | tag | 1 is a time in milliseconds; others are dropped, their content is read |
//! | 7 | true, false, null, undefined, floats of 2, 4, 8 bytes | |
//!
//! Our own reader and not a crate: AWS departs from the RFC where it matters, byte strings must be
//! slices of the body, and the limits have to stand where the items are counted.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use weir_model::time::Timestamp;

use super::{DEPTH_MAX, Malformed, VALUES_MAX, Value};

/// Room that a list or map of a told length gets at once; the length itself is not trusted.
const CAPACITY_MAX: u64 = 512;

const TAG_TIME: u64 = 1;

/// Reads a whole body; bytes after the first item are malformed.
pub(super) fn parse(body: &Bytes) -> Result<Value<'_>, Malformed> {
    let mut reader = Reader { body, at: 0, values_left: VALUES_MAX };
    let value = reader.value(DEPTH_MAX)?;
    if reader.at == body.len() { Ok(value) } else { Err(Malformed) }
}

struct Reader<'a> {
    body: &'a Bytes,
    at: usize,
    values_left: u32,
}

/// The start of an item.
struct Head {
    major: u8,
    /// The low five bits, which tell floats and simple values apart.
    short: u8,
    argument: Argument,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    Number(u64),
    Indefinite,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth_left: u32) -> Result<Value<'a>, Malformed> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Malformed)?;
        let head = self.head()?;
        match (head.major, head.argument) {
            (0, Argument::Number(number)) => Ok(Value::Integer(clamp(number))),
            // -1 - number; the clamped number is at most i64::MAX, so this cannot overflow.
            (1, Argument::Number(number)) => Ok(Value::Integer(-1 - clamp(number))),
            (2, length) => self.byte_string(length).map(Value::Blob),
            (3, length) => self.text(length).map(Value::Text),
            (4, length) => self.list(length, depth_left),
            (5, length) => self.map(length, depth_left),
            (6, Argument::Number(tag)) => self.tagged(tag, depth_left),
            (7, Argument::Number(bits)) => simple_or_float(head.short, bits),
            _ => Err(Malformed),
        }
    }

    fn head(&mut self) -> Result<Head, Malformed> {
        let first = *self.take(1)?.first().ok_or(Malformed)?;
        let (major, short) = (first >> 5, first & 0x1f);
        let argument = match short {
            0..=23 => Argument::Number(u64::from(short)),
            24 => Argument::Number(self.big_endian(1)?),
            25 => Argument::Number(self.big_endian(2)?),
            26 => Argument::Number(self.big_endian(4)?),
            27 => Argument::Number(self.big_endian(8)?),
            31 => Argument::Indefinite,
            _ => return Err(Malformed),
        };
        Ok(Head { major, short, argument })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.body.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn take_counted(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        self.take(usize::try_from(length).map_err(|_| Malformed)?)
    }

    fn big_endian(&mut self, length: usize) -> Result<u64, Malformed> {
        let bytes = self.take(length)?.iter();
        Ok(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Whether an item of indefinite length ends here; its end mark is then read.
    fn at_end_mark(&mut self) -> Result<bool, Malformed> {
        let ends = *self.body.get(self.at).ok_or(Malformed)? == 0xff;
        self.at += usize::from(ends);
        Ok(ends)
    }

    fn byte_string(&mut self, length: Argument) -> Result<Bytes, Malformed> {
        match length {
            Argument::Number(length) => {
                let bytes = self.take_counted(length)?;
                Ok(self.body.slice_ref(bytes))
            }
            Argument::Indefinite => {
                let mut joined = BytesMut::new();
                while let Some(piece) = self.piece(2)? {
                    joined.extend_from_slice(piece);
                }
                Ok(joined.freeze())
            }
        }
    }

    fn text(&mut self, length: Argument) -> Result<Cow<'a, str>, Malformed> {
        match length {
            Argument::Number(length) => as_text(self.take_counted(length)?).map(Cow::Borrowed),
            Argument::Indefinite => {
                let mut joined = String::new();
                while let Some(piece) = self.piece(3)? {
                    joined.push_str(as_text(piece)?);
                }
                Ok(Cow::Owned(joined))
            }
        }
    }

    /// One piece of a string of indefinite length: a string of the same kind and a told length.
    fn piece(&mut self, major: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.at_end_mark()? {
            return Ok(None);
        }
        let head = self.head()?;
        match head.argument {
            Argument::Number(length) if head.major == major => self.take_counted(length).map(Some),
            _ => Err(Malformed),
        }
    }

    /// Whether a list or map goes on, given how many entries it told and how many were read.
    fn has_more(&mut self, length: Argument, read: u64) -> Result<bool, Malformed> {
        match length {
            Argument::Number(length) => Ok(read < length),
            Argument::Indefinite => self.at_end_mark().map(|ends| !ends),
        }
    }

    fn list(&mut self, length: Argument, depth_left: u32) -> Result<Value<'a>, Malformed> {
        let depth_left = depth_left.checked_sub(1).ok_or(Malformed)?;
        let mut elements = Vec::with_capacity(capacity(length));
        let mut read = 0;
        while self.has_more(length, read)? {
            elements.push(self.value(depth_left)?);
            read += 1;
        }
        Ok(Value::List(elements))
    }

    fn map(&mut self, length: Argument, depth_left: u32) -> Result<Value<'a>, Malformed> {
        let depth_left = depth_left.checked_sub(1).ok_or(Malformed)?;
        let mut entries = Vec::with_capacity(capacity(length));
        let mut read = 0;
        while self.has_more(length, read)? {
            let name = self.head()?;
            if name.major != 3 {
                return Err(Malformed);
            }
            let name = self.text(name.argument)?;
            entries.push((name, self.value(depth_left)?));
            read += 1;
        }
        Ok(Value::Map(entries))
    }

    fn tagged(&mut self, tag: u64, depth_left: u32) -> Result<Value<'a>, Malformed> {
        let depth_left = depth_left.checked_sub(1).ok_or(Malformed)?;
        let content = self.value(depth_left)?;
        match content {
            Value::Integer(millis) if tag == TAG_TIME => {
                Ok(Value::Timestamp(Timestamp::from_millis(millis)))
            }
            // The fraction of a millisecond is cut off; the cast saturates.
            Value::Float(millis) if tag == TAG_TIME => {
                Ok(Value::Timestamp(Timestamp::from_millis(millis as i64)))
            }
            other => Ok(other),
        }
    }
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn capacity(length: Argument) -> usize {
    match length {
        Argument::Number(length) => length.min(CAPACITY_MAX) as usize,
        Argument::Indefinite => 0,
    }
}

fn as_text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Major type 7: the argument is a simple value's number or a float's bits.
fn simple_or_float(short: u8, bits: u64) -> Result<Value<'static>, Malformed> {
    match (short, bits) {
        (20, _) => Ok(Value::Boolean(false)),
        (21, _) => Ok(Value::Boolean(true)),
        (22 | 23, _) => Ok(Value::Null),
        (25, bits) => Ok(Value::Float(half_float(bits))),
        (26, bits) => {
            let bits = u32::try_from(bits).map_err(|_| Malformed)?;
            Ok(Value::Float(f64::from(f32::from_bits(bits))))
        }
        (27, bits) => Ok(Value::Float(f64::from_bits(bits))),
        _ => Err(Malformed),
    }
}

/// A 16-bit float: sign, 5 bits of exponent, 10 bits of fraction.
fn half_float(bits: u64) -> f64 {
    let fraction = (bits & 0x3ff) as f64;
    let exponent = ((bits >> 10) & 0x1f) as i32;
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if bits & 0x3ff == 0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(hex: &str) -> Bytes {
        let digits: Vec<u8> = hex
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(|digit| (digit as char).to_digit(16).expect("a hex digit") as u8)
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text))
    }

    #[test]
    fn items_read_as_what_they_are() {
        let blob = |bytes: &'static [u8]| Value::Blob(Bytes::from_static(bytes));
        let time = |millis| Value::Timestamp(Timestamp::from_millis(millis));
        for (hex, expected) in [
            ("00", Value::Integer(0)),
            ("17", Value::Integer(23)),
            ("18 64", Value::Integer(100)),
            ("19 03e8", Value::Integer(1000)),
            ("1b ffffffffffffffff", Value::Integer(i64::MAX)),
            ("20", Value::Integer(-1)),
            ("3b ffffffffffffffff", Value::Integer(i64::MIN)),
            ("f4", Value::Boolean(false)),
            ("f5", Value::Boolean(true)),
            ("f6", Value::Null),
            ("f7", Value::Null),
            ("f9 3e00", Value::Float(1.5)),
            ("f9 0001", Value::Float(5.960_464_477_539_063e-8)),
            ("f9 fc00", Value::Float(f64::NEG_INFINITY)),
            ("fa 47c35000", Value::Float(100_000.0)),
            ("fb 3ff199999999999a", Value::Float(1.1)),
            ("40", blob(b"")),
            ("44 01020304", blob(&[1, 2, 3, 4])),
            ("5f 42 0102 41 03 ff", blob(&[1, 2, 3])),
            ("61 61", text("a")),
            ("7f 65 7374726561 64 6d696e67 ff", text("streaming")),
            ("80", Value::List(vec![])),
            ("82 01 f6", Value::List(vec![Value::Integer(1), Value::Null])),
            ("9f 01 9f ff ff", Value::List(vec![Value::Integer(1), Value::List(vec![])])),
            ("a1 61 41 01", Value::Map(vec![("A".into(), Value::Integer(1))])),
            (
                "bf 61 41 01 7f 61 42 ff f5 ff",
                Value::Map(vec![
                    ("A".into(), Value::Integer(1)),
                    ("B".into(), Value::Boolean(true)),
                ]),
            ),
            ("c1 1b 0000018bcfe56800", time(1_700_000_000_000)),
            ("c1 fb 40f86a0000000000", time(100_000)),
            ("d8 20 61 61", text("a")),
        ] {
            assert_eq!(parse(&bytes_of(hex)), Ok(expected), "{hex}");
        }
    }

    #[test]
    fn a_byte_string_is_a_slice_of_the_body() {
        let body = bytes_of("a1 64 44617461 43 010203");
        let Ok(Value::Map(entries)) = parse(&body) else {
            panic!("a map was expected");
        };
        let Some((_, Value::Blob(blob))) = entries.first() else {
            panic!("a blob was expected");
        };
        assert_eq!(blob.as_ptr(), body[7..].as_ptr());
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for hex in [
            "",
            "18",
            "1c",
            "1f",
            "3f",
            "41",
            "5f 61 61 ff",
            "5f 41",
            "5f 5f ff ff",
            "61 ff",
            "7f 41 61 ff",
            "81",
            "9f",
            "9b ffffffffffffffff 00",
            "5b ffffffffffffffff 00",
            "a1 61 41",
            "a1 01 01",
            "bf 61 41 ff",
            "c1",
            "df 00",
            "e0",
            "f8 20",
            "fa 00",
            "ff",
            "00 00",
        ] {
            assert_eq!(parse(&bytes_of(hex)), Err(Malformed), "{hex}");
        }
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        for opener in ["81", "9f", "c2", "a1 61 41"] {
            let bomb = bytes_of(&opener.repeat(1_000_000));
            assert_eq!(parse(&bomb), Err(Malformed), "{opener}");
        }
        let deepest = bytes_of(&("81".repeat(DEPTH_MAX as usize) + "00"));
        assert!(parse(&deepest).is_ok());
        let too_deep = bytes_of(&("81".repeat(DEPTH_MAX as usize + 1) + "00"));
        assert_eq!(parse(&too_deep), Err(Malformed));
        let flat = |count: usize| bytes_of(&format!("9f{}ff", "00".repeat(count)));
        assert!(parse(&flat(VALUES_MAX as usize - 1)).is_ok());
        assert_eq!(parse(&flat(VALUES_MAX as usize)), Err(Malformed));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&Bytes::from(body));
        }
    }
}
