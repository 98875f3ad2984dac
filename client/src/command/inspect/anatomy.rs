//! The bytes of a record batch, taken apart: each field with its place, its bytes and its value.
//!
//! The layout is Kafka's message format 2: a header of 61 bytes with fixed fields, then records
//! whose numbers are varints (zigzag, seven bits a byte, the lowest first). Compressed records
//! are one field as they are stored, and are taken apart behind it as they are unpacked; the
//! places of those count from the first unpacked byte.
//!
//! Whatever the bytes are, each of them belongs to exactly one field: what cannot be read is a
//! field too, and is the last one.

use bytes::Bytes;
use weir_model::compression::{Codec, decompress};

use crate::command::format::rfc3339;

/// Most bytes that compressed records may become here.
const UNPACKED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Where the records begin.
const HEADER_BYTES: usize = 61;

/// Some bytes that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Which record it belongs to, counted from 0 in the batch; none: to the header.
    pub(super) record: Option<usize>,
    /// What it is.
    pub(super) name: String,
    /// Where it begins: in the file, or among the unpacked bytes.
    pub(super) position: u64,
    pub(super) bytes: Bytes,
    /// What it says, for people; empty where its bytes are text themselves.
    pub(super) value: String,
}

/// A batch, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Anatomy {
    /// As it is stored.
    pub(super) stored: Vec<Field>,
    /// Its records unpacked, where they are compressed and all of their bytes are here.
    pub(super) unpacked: Vec<Field>,
}

/// Takes a batch apart that begins at this place of its file. `is_whole` tells that no bytes of it
/// are missing; `crc_holds` what its checksum was found to be.
pub(super) fn take_apart(raw: &Bytes, position: u64, is_whole: bool, crc_holds: bool) -> Anatomy {
    let mut reader = Reader::new(raw.clone(), position);
    let Some(head) = header(&mut reader, crc_holds) else {
        reader.rest("cut off");
        return Anatomy { stored: reader.fields, unpacked: Vec::new() };
    };
    let codec = match head.codec {
        Some(Codec::None) => {
            records(&mut reader, &head);
            return Anatomy { stored: reader.fields, unpacked: Vec::new() };
        }
        codec => codec,
    };
    let packed = reader.bytes.slice(reader.at..);
    reader.rest("compressed records");
    let unpacked = codec.filter(|_| is_whole).and_then(|codec| {
        let bytes = decompress(codec, &packed, UNPACKED_BYTES_MAX).ok()?;
        let mut unpacked = Reader::new(bytes, 0);
        records(&mut unpacked, &head);
        Some(unpacked.fields)
    });
    Anatomy { stored: reader.fields, unpacked: unpacked.unwrap_or_default() }
}

/// What the records' fields count from.
struct Head {
    codec: Option<Codec>,
    base_offset: i64,
    base_timestamp_ms: i64,
    record_count: usize,
}

fn header(reader: &mut Reader, crc_holds: bool) -> Option<Head> {
    if reader.bytes.len() < HEADER_BYTES {
        return None;
    }
    let base_offset = reader.number("base offset", 8, |n| format!("{n}"))?;
    reader.number("batch length", 4, |n| format!("{n} bytes behind this field"))?;
    reader.number("leader epoch", 4, |n| format!("{n}"))?;
    reader.number("magic", 1, |n| format!("{n}, the message format"))?;
    let verdict = if crc_holds { "holds" } else { "DOES NOT HOLD" };
    reader.number("crc", 4, |n| {
        format!("{:#010x}, the CRC-32C of all that follows; it {verdict}", n as u32)
    })?;
    let attributes = reader.number("attributes", 2, attributes)?;
    reader.number("last offset delta", 4, |n| {
        format!("{n}, so the last offset is {}", base_offset.saturating_add(n))
    })?;
    let base_timestamp_ms = reader.number("base timestamp", 8, time)?;
    reader.number("max timestamp", 8, time)?;
    let none = |n: i64| if n == -1 { "-1, none".to_owned() } else { n.to_string() };
    reader.number("producer id", 8, none)?;
    reader.number("producer epoch", 2, none)?;
    reader.number("base sequence", 4, none)?;
    let record_count = reader.number("record count", 4, |n| format!("{n}"))?;
    Some(Head {
        codec: Codec::from_bits((attributes & 7) as u8),
        base_offset,
        base_timestamp_ms,
        record_count: usize::try_from(record_count).unwrap_or(0),
    })
}

fn time(millis: i64) -> String {
    if millis < 0 { format!("{millis}, none") } else { format!("{millis}, {}", rfc3339(millis)) }
}

/// The bits of a batch's attributes, named.
fn attributes(bits: i64) -> String {
    let codec = match Codec::from_bits((bits & 7) as u8) {
        Some(Codec::None) => "not compressed",
        Some(Codec::Gzip) => "gzip",
        Some(Codec::Snappy) => "snappy",
        Some(Codec::Lz4) => "lz4",
        Some(Codec::Zstd) => "zstd",
        None => "a codec without a name",
    };
    let timestamp = if bits & 8 == 0 { "dated by the writer" } else { "dated by the broker" };
    let mut said = format!("{codec}, {timestamp}");
    for (bit, name) in [(16, "transactional"), (32, "control"), (64, "delete horizon")] {
        if bits & bit != 0 {
            said += &format!(", {name}");
        }
    }
    said
}

/// Reads the records to their end, or up to what is none.
fn records(reader: &mut Reader, head: &Head) {
    for number in 0..head.record_count {
        reader.record = Some(number);
        if record(reader, head).is_none() {
            break;
        }
    }
    reader.record = None;
    reader.rest("not read");
}

fn record(reader: &mut Reader, head: &Head) -> Option<()> {
    reader.varint("length", |n| format!("{n} bytes behind this field"))?;
    reader.number("attributes", 1, |n| format!("{n}, unused"))?;
    let (timestamp, offset) = (head.base_timestamp_ms, head.base_offset);
    reader.varint("timestamp delta", |n| {
        format!("{n}, so {}", rfc3339(timestamp.saturating_add(n)))
    })?;
    reader.varint("offset delta", |n| format!("{n}, so offset {}", offset.saturating_add(n)))?;
    reader.text("key")?;
    reader.text("value")?;
    let headers = reader.varint("header count", |n| format!("{n}"))?;
    for _ in 0..headers {
        reader.text("header key")?;
        reader.text("header value")?;
    }
    Some(())
}

/// Cuts fields off, one after the other.
struct Reader {
    bytes: Bytes,
    at: usize,
    base: u64,
    record: Option<usize>,
    fields: Vec<Field>,
}

impl Reader {
    fn new(bytes: Bytes, base: u64) -> Reader {
        Reader { bytes, at: 0, base, record: None, fields: Vec::new() }
    }

    fn push(&mut self, name: &str, length: usize, value: String) {
        let end = self.at + length;
        self.fields.push(Field {
            record: self.record,
            name: name.to_owned(),
            position: self.base + self.at as u64,
            bytes: self.bytes.slice(self.at..end),
            value,
        });
        self.at = end;
    }

    /// A number of fixed width, high byte first, with its sign.
    fn number(
        &mut self,
        name: &str,
        length: usize,
        say: impl FnOnce(i64) -> String,
    ) -> Option<i64> {
        let bytes = self.bytes.get(self.at..)?.get(..length)?;
        let unsigned = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let unused = 64 - 8 * u32::try_from(length).ok()?;
        let number = (unsigned << unused) as i64 >> unused;
        self.push(name, length, say(number));
        Some(number)
    }

    fn varint(&mut self, name: &str, say: impl FnOnce(i64) -> String) -> Option<i64> {
        let (number, length) = zigzag(self.bytes.get(self.at..)?)?;
        self.push(name, length, say(number));
        Some(number)
    }

    /// A length and so many bytes.
    fn text(&mut self, name: &str) -> Option<()> {
        let (length, width) = zigzag(self.bytes.get(self.at..)?)?;
        let Ok(bytes) = usize::try_from(length) else {
            self.push(&format!("{name} length"), width, format!("{length}, none"));
            return (length == -1).then_some(());
        };
        if bytes > self.bytes.len() - self.at - width {
            return None;
        }
        self.push(&format!("{name} length"), width, format!("{length}"));
        if bytes > 0 {
            self.push(name, bytes, String::new());
        }
        Some(())
    }

    /// What is left, if anything is.
    fn rest(&mut self, name: &str) {
        let length = self.bytes.len() - self.at;
        if length > 0 {
            self.push(name, length, format!("{length} bytes"));
        }
    }
}

/// A varint and how many bytes it has.
fn zigzag(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some(((number >> 1) as i64 ^ -((number & 1) as i64), index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use weir_model::compression::compress;

    use super::*;

    /// Two records: `k` with `hello` and a header `h` without a value, and none with nothing.
    const RECORDS: &[u8] = &[
        30, 0, 0, 0, 2, b'k', 10, b'h', b'e', b'l', b'l', b'o', 2, 2, b'h', 1, // one
        12, 0, 4, 2, 1, 0, 0, // the other
    ];

    fn batch(attributes: u8, payload: &[u8]) -> Bytes {
        let mut raw = Vec::new();
        raw.extend(7_i64.to_be_bytes());
        raw.extend((49 + payload.len() as i32).to_be_bytes());
        raw.extend([0, 0, 0, 0, 2, 0xde, 0xad, 0xbe, 0xef, 0, attributes]);
        raw.extend(1_i32.to_be_bytes());
        raw.extend(1_500_i64.to_be_bytes());
        raw.extend(1_502_i64.to_be_bytes());
        raw.extend([0xff; 14]);
        raw.extend(2_i32.to_be_bytes());
        raw.extend(payload);
        raw.into()
    }

    fn value<'a>(fields: &'a [Field], record: Option<usize>, name: &str) -> &'a str {
        let mut found = fields.iter().filter(|f| f.record == record && f.name == name);
        found.next().map_or("(not there)", |field| &field.value)
    }

    #[test]
    fn each_field_has_its_place_and_its_value() {
        let anatomy = take_apart(&batch(0, RECORDS), 4096, true, true);
        let of = |record, name| value(&anatomy.stored, record, name);
        assert_eq!(of(None, "base offset"), "7");
        assert!(of(None, "crc").starts_with("0xdeadbeef"));
        assert_eq!(of(None, "last offset delta"), "1, so the last offset is 8");
        assert_eq!(of(None, "producer id"), "-1, none");
        assert_eq!(of(Some(0), "length"), "15 bytes behind this field");
        assert_eq!(of(Some(0), "header value length"), "-1, none");
        assert_eq!(of(Some(1), "key length"), "-1, none");
        assert_eq!(of(Some(1), "timestamp delta"), "2, so 1970-01-01T00:00:01.502Z");
        assert_eq!(of(Some(1), "offset delta"), "1, so offset 8");
        let hello = anatomy.stored.iter().find(|field| field.name == "value");
        let hello = hello.map(|field| (field.position, &field.bytes[..]));
        assert_eq!(hello, Some((4096 + 61 + 7, &b"hello"[..])));
    }

    #[test]
    fn compressed_records_are_taken_apart_behind_their_bytes() {
        let mut packed = Vec::new();
        compress(Codec::Zstd, RECORDS, &mut packed);
        let anatomy = take_apart(&batch(4, &packed), 0, true, true);
        let last = anatomy.stored.last().map(|field| (field.name.as_str(), field.bytes.len()));
        assert_eq!(last, Some(("compressed records", packed.len())));
        assert_eq!(value(&anatomy.unpacked, Some(1), "offset delta"), "1, so offset 8");
        assert!(take_apart(&batch(4, &packed), 0, false, true).unpacked.is_empty());
        assert!(take_apart(&batch(4, b"no frame"), 0, true, true).unpacked.is_empty());
    }

    #[test]
    fn every_byte_belongs_to_one_field_whatever_is_damaged() {
        let whole = batch(0, RECORDS);
        let check = |raw: Bytes, what: &str| {
            let fields = take_apart(&raw, 0, false, false).stored;
            let joined: Vec<u8> = fields.iter().flat_map(|field| field.bytes.to_vec()).collect();
            assert_eq!(joined, raw, "{what}");
            let mut at = 0;
            for field in &fields {
                assert_eq!(field.position, at, "{what}: {field:?}");
                at += field.bytes.len() as u64;
            }
        };
        for length in 0..=whole.len() {
            check(whole.slice(..length), &format!("cut to {length}"));
        }
        for place in 0..whole.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = whole.to_vec();
                damaged[place] ^= mask;
                check(damaged.into(), &format!("byte {place} with {mask:#x}"));
            }
        }
    }
}
