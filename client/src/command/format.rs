//! Format strings: how records are printed, and how lines are taken apart.
//!
//! | Field | | Modifier | |
//! |---|---|---|---|
//! | `%v` `%k` `%t` | value, key, stream | `{hex}` `{base64}` | of a value, a key |
//! | `%V` `%K` `%T` | their lengths in bytes | `{hex}` | of a number |
//! | `%p` `%o` | partition, offset | `{rfc3339}` | of a timestamp |
//! | `%d` | timestamp in milliseconds | | |
//! | `%h{…}` `%H` | for each header, with `%k` and `%v` inside; their number | | |
//! | `%i` | the record's number in this output, from 1 | | |
//! | `%D` `%s` | what `--decode` undid, as `gzip,kpl`; number in an aggregate | | |
//! | `%%` | a percent sign | | |
//!
//! Outside of fields `\n`, `\t`, `\r`, `\0`, `\\` and `\xNN` are what they are in most languages.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::command::decode::Decoded;
use crate::record::{NewRecord, Record, WantedPlace};

/// A format string that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Bytes(Part, Encoding),
    Number(Number, NumberEncoding),
    Time(TimeEncoding),
    Headers(Format),
    Stream,
    Chain,
    SubSequence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Key,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    AsIs,
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Partition,
    Offset,
    Headers,
    Count,
    KeyBytes,
    ValueBytes,
    StreamBytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberEncoding {
    Decimal,
    Hex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeEncoding {
    Millis,
    Rfc3339,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let mut rest = text.chars();
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        while let Some(next) = rest.next() {
            match next {
                '\\' => literal.push(escape(&mut rest)?),
                '%' if rest.as_str().starts_with('%') => {
                    rest.next();
                    literal.push(b'%');
                }
                '%' => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(field(&mut rest)?);
                }
                other => literal.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Format(pieces))
    }
}

fn escape(rest: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match rest.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = rest.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is no byte"))
        }
        Some(other) => Err(format!("\\{other} means nothing")),
        None => Err("a format cannot end in \\".to_owned()),
    }
}

fn field(rest: &mut std::str::Chars<'_>) -> Result<Piece, String> {
    let name = rest.next().ok_or("a format cannot end in %, unless it is %%")?;
    let modifier = modifier(rest)?;
    let wrong = |modifier: &str| format!("%{name}{{{modifier}}} means nothing");
    let bytes = |part| match modifier.as_deref() {
        None => Ok(Piece::Bytes(part, Encoding::AsIs)),
        Some("hex") => Ok(Piece::Bytes(part, Encoding::Hex)),
        Some("base64") => Ok(Piece::Bytes(part, Encoding::Base64)),
        Some(other) => Err(wrong(other)),
    };
    let number = |number| match modifier.as_deref() {
        None => Ok(Piece::Number(number, NumberEncoding::Decimal)),
        Some("hex") => Ok(Piece::Number(number, NumberEncoding::Hex)),
        Some(other) => Err(wrong(other)),
    };
    match name {
        'k' => bytes(Part::Key),
        'v' => bytes(Part::Value),
        't' => modifier.map_or(Ok(Piece::Stream), |other| Err(wrong(&other))),
        'D' => modifier.map_or(Ok(Piece::Chain), |other| Err(wrong(&other))),
        's' => modifier.map_or(Ok(Piece::SubSequence), |other| Err(wrong(&other))),
        'p' => number(Number::Partition),
        'o' => number(Number::Offset),
        'i' => number(Number::Count),
        'H' => number(Number::Headers),
        'K' => number(Number::KeyBytes),
        'V' => number(Number::ValueBytes),
        'T' => number(Number::StreamBytes),
        'd' => match modifier.as_deref() {
            None => Ok(Piece::Time(TimeEncoding::Millis)),
            Some("rfc3339") => Ok(Piece::Time(TimeEncoding::Rfc3339)),
            Some(other) => Err(wrong(other)),
        },
        'h' => {
            let inner = modifier.ok_or("%h wants to know how: %h{%k=%v }")?;
            Ok(Piece::Headers(inner.parse()?))
        }
        other => Err(format!("%{other} means nothing")),
    }
}

/// What stands in braces behind a field; braces inside of it are part of it.
fn modifier(rest: &mut std::str::Chars<'_>) -> Result<Option<String>, String> {
    let Some(inside) = rest.as_str().strip_prefix('{') else { return Ok(None) };
    let mut depth = 1;
    for (index, next) in inside.char_indices() {
        match next {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let (modifier, after) = inside.split_at(index);
            *rest = after.get(1..).unwrap_or_default().chars();
            return Ok(Some(modifier.to_owned()));
        }
    }
    Err("a { is not closed".to_owned())
}

impl Format {
    /// Prints a record behind `out`; `count` is its number in the output.
    pub(crate) fn print(&self, decoded: &Decoded, count: u64, out: &mut Vec<u8>) {
        let record = &decoded.record;
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.extend(bytes),
                Piece::Stream => out.extend(record.stream.as_bytes()),
                Piece::Chain => out.extend(decoded.chain().as_bytes()),
                Piece::SubSequence => match decoded.sub_sequence {
                    Some(number) => NumberEncoding::Decimal.print(number, out),
                    None => out.push(b'-'),
                },
                Piece::Bytes(Part::Key, encoding) => encoding.print(record.key.as_deref(), out),
                Piece::Bytes(Part::Value, encoding) => encoding.print(record.value.as_deref(), out),
                Piece::Number(Number::Offset, NumberEncoding::Decimal)
                    if let Some(number) = &record.sequence_number =>
                {
                    out.extend(number.as_bytes());
                }
                Piece::Number(number, encoding) => encoding.print(number.of(record, count), out),
                Piece::Time(encoding) => encoding.print(record.place.timestamp_ms, out),
                Piece::Headers(inner) => {
                    for (name, value) in &record.headers {
                        inner.print_header(name, value.as_deref(), out);
                    }
                }
            }
        }
    }

    fn print_header(&self, name: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.extend(bytes),
                Piece::Bytes(Part::Key, encoding) => encoding.print(Some(name.as_bytes()), out),
                Piece::Bytes(Part::Value, encoding) => encoding.print(value, out),
                // What a header does not have.
                Piece::Stream
                | Piece::Chain
                | Piece::SubSequence
                | Piece::Number(..)
                | Piece::Time(_)
                | Piece::Headers(_) => {}
            }
        }
    }

    /// Takes a line apart: each field ends where what stands behind it begins.
    pub(crate) fn read(&self, line: &[u8]) -> Result<NewRecord, String> {
        let mut record = NewRecord::default();
        let mut rest = line;
        let mut pieces = self.0.iter().peekable();
        while let Some(piece) = pieces.next() {
            if let Piece::Literal(bytes) = piece {
                rest = rest.strip_prefix(bytes.as_slice()).ok_or_else(|| missing(bytes))?;
                continue;
            }
            let end = match pieces.peek() {
                None => rest.len(),
                Some(Piece::Literal(bytes)) => find(rest, bytes).ok_or_else(|| missing(bytes))?,
                Some(_) => return Err("two fields need something between them".to_owned()),
            };
            let (field, after) = rest.split_at(end);
            rest = after;
            read_field(piece, field, &mut record)?;
        }
        match rest {
            [] => Ok(record),
            _ => Err(format!("{} is left over", String::from_utf8_lossy(rest))),
        }
    }
}

fn read_field(piece: &Piece, field: &[u8], record: &mut NewRecord) -> Result<(), String> {
    let number = || {
        let text = std::str::from_utf8(field).ok();
        text.and_then(|text| text.parse::<i64>().ok())
            .ok_or_else(|| format!("{} is no number", String::from_utf8_lossy(field)))
    };
    match piece {
        Piece::Bytes(Part::Key, encoding) => record.key = Some(encoding.read(field)?),
        Piece::Bytes(Part::Value, encoding) => record.value = Some(encoding.read(field)?),
        Piece::Time(TimeEncoding::Millis) => record.timestamp_ms = Some(number()?),
        Piece::Number(Number::Partition, NumberEncoding::Decimal) => {
            let index = u32::try_from(number()?).map_err(|_| "a partition is not negative")?;
            record.place = WantedPlace::Partition(index);
        }
        // What was printed with a record and is not for a writer to say.
        _ => {}
    }
    Ok(())
}

fn missing(bytes: &[u8]) -> String {
    format!("{:?} is missing", String::from_utf8_lossy(bytes))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

impl Number {
    fn of(self, record: &Record, count: u64) -> u64 {
        let length = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len) as u64;
        match self {
            Number::Partition => record.place.partition.into(),
            Number::Offset => record.place.offset,
            Number::Headers => record.headers.len() as u64,
            Number::Count => count,
            Number::KeyBytes => length(record.key.as_ref()),
            Number::ValueBytes => length(record.value.as_ref()),
            Number::StreamBytes => record.stream.len() as u64,
        }
    }
}

impl Encoding {
    fn print(self, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        let bytes = bytes.unwrap_or_default();
        match self {
            Encoding::AsIs => out.extend(bytes),
            Encoding::Hex => out.extend(bytes.iter().flat_map(|byte| hex(*byte))),
            Encoding::Base64 => out.extend(STANDARD.encode(bytes).as_bytes()),
        }
    }

    fn read(self, text: &[u8]) -> Result<Bytes, String> {
        let wrong = |what| format!("{} is no {what}", String::from_utf8_lossy(text));
        match self {
            Encoding::AsIs => Ok(Bytes::copy_from_slice(text)),
            Encoding::Base64 => Ok(STANDARD.decode(text).map_err(|_| wrong("base64"))?.into()),
            Encoding::Hex => {
                let byte = |pair: &[u8]| {
                    let digits = std::str::from_utf8(pair).ok().filter(|_| pair.len() == 2)?;
                    u8::from_str_radix(digits, 16).ok()
                };
                let bytes: Option<Vec<u8>> = text.chunks(2).map(byte).collect();
                Ok(bytes.ok_or_else(|| wrong("hex"))?.into())
            }
        }
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |value: u8| char::from_digit(value.into(), 16).map_or(b'?', |digit| digit as u8);
    [digit(byte >> 4), digit(byte & 15)]
}

impl NumberEncoding {
    fn print(self, number: u64, out: &mut Vec<u8>) {
        let written = match self {
            NumberEncoding::Decimal => write!(out, "{number}"),
            NumberEncoding::Hex => write!(out, "{number:x}"),
        };
        written.expect("memory takes what is written");
    }
}

impl TimeEncoding {
    fn print(self, timestamp_ms: i64, out: &mut Vec<u8>) {
        let text = match self {
            TimeEncoding::Millis => timestamp_ms.to_string(),
            TimeEncoding::Rfc3339 => rfc3339(timestamp_ms),
        };
        out.extend(text.as_bytes());
    }
}

/// A time for people, in UTC; the number itself where no calendar has it.
pub(crate) fn rfc3339(timestamp_ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(timestamp_ms) * 1_000_000);
    let text = time.ok().and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| timestamp_ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Place;

    fn record() -> Record {
        Record {
            stream: "orders".into(),
            place: Place { partition: 3, offset: 255, timestamp_ms: 1_500 },
            sequence_number: None,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(&[1, 0xab])),
            headers: vec![("a".to_owned(), Some("1".into())), ("b".to_owned(), None)],
        }
    }

    fn printed(format: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        format.parse::<Format>()?.print(&Decoded::plain(record()), 7, &mut out);
        Ok(out)
    }

    #[test]
    fn records_are_printed_as_the_format_says() {
        for (format, expected) in [
            ("%t/%p/%o %k\\n", "orders/3/255 k\n"),
            ("%v{hex} %v{base64}", "01ab Aas="),
            ("%o{hex} %K %V %T %H %i", "ff 1 2 6 2 7"),
            ("%d %d{rfc3339}", "1500 1970-01-01T00:00:01.5Z"),
            ("%h{%k=%v{base64};}", "a=MQ==;b=;"),
            ("100%%\\t\\x41\\\\", "100%\tA\\"),
            ("%p…", "3…"),
            ("%D %s", "- -"),
        ] {
            let printed = printed(format).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert_eq!(printed.as_deref(), Ok(expected), "{format}");
        }
    }

    #[test]
    fn formats_that_mean_nothing_are_refused() {
        for format in ["%", "%z", "%k{rot13}", "%h", "%h{%k", "\\q", "\\", "\\xzz", "%t{hex}"] {
            assert!(printed(format).is_err(), "{format}");
        }
    }

    #[test]
    fn lines_are_taken_apart_as_the_format_says() {
        let read = |format: &str, line: &str| {
            let format: Format = format.parse().expect("a legal format");
            format.read(line.as_bytes())
        };
        assert_eq!(read("%v", "a b"), Ok(NewRecord::new("a b")));
        assert_eq!(read("%k:%v", "k:v:w"), Ok(NewRecord::new("v:w").key("k")));
        let placed = NewRecord::new(&b"\x01\xab"[..]).partition(2).timestamp_ms(9);
        assert_eq!(read("[%p] %d %v{hex}", "[2] 9 01ab"), Ok(placed));
        for (format, line) in [
            ("%k:%v", "no colon"),
            ("%v{hex}", "0"),
            ("%p %v", "x v"),
            ("%k%v", "ab"),
            ("a%v", "b"),
        ] {
            assert!(read(format, line).is_err(), "{format} {line}");
        }
    }
}
