//! One record inside a batch: its encoding, and the view of it that readers get.
//!
//! ```text
//! length        varint   bytes after this field
//! attributes    1 byte   unused, 0
//! timestamp     varlong  milliseconds after the batch's base timestamp
//! offset        varint   after the batch's base offset
//! key           varint length, -1 for none; then the bytes
//! value         varint length, -1 for none; then the bytes
//! header count  varint   then for each header: key (length, bytes), value (length or -1, bytes)
//! ```
//!
//! All varints are zigzag: 0, -1, 1, -2 … become 0, 1, 2, 3 …, seven bits a byte, lowest first.
//!
//! A decoded [`Record`] owns slices of the batch's bytes, so nothing is copied or allocated.
//! Headers are checked when the record is decoded and taken apart only when somebody asks.
//! Read [`crate::batch`] for the frame around records.

use std::fmt;

use bytes::Bytes;

use crate::time::Timestamp;

/// Fewest bytes that a record takes: seven fields of at least one byte.
pub const RECORD_BYTES_MIN: usize = 7;

/// Fewest bytes that a header takes: two lengths.
const HEADER_BYTES_MIN: usize = 2;

/// One record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's offset, counted from its batch's base offset.
    pub offset_delta: i32,
    /// When the producer made it or, with log-append time, when the broker appended its batch.
    pub timestamp: Timestamp,
    /// The key, if it has one; an empty key is not the same as none.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone on a compacted stream.
    pub value: Option<Bytes>,
    /// The headers, in the producer's order; keys may repeat.
    pub headers: Headers,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The key. Producers send UTF-8, but nothing on the way checks it.
    pub key: Bytes,
    /// The value, if it has one.
    pub value: Option<Bytes>,
}

/// A record's headers, still encoded; known to be well formed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    count: usize,
    encoded: Bytes,
}

impl Headers {
    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers one after the other, as slices of the batch.
    pub fn iter(&self) -> HeaderIter<'_> {
        HeaderIter { headers: self, cursor: Cursor::new(&self.encoded), remaining: self.count }
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = Header;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Takes a record's headers apart; see [`Headers::iter`].
#[derive(Debug)]
pub struct HeaderIter<'a> {
    headers: &'a Headers,
    cursor: Cursor<'a>,
    remaining: usize,
}

impl Iterator for HeaderIter<'_> {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        self.remaining = self.remaining.checked_sub(1)?;
        let (key, value) = read_header(&mut self.cursor).expect("checked by decode_record");
        let encoded = &self.headers.encoded;
        Some(Header { key: key.of(encoded), value: value.map(|span| span.of(encoded)) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}

/// What is wrong with the bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// A field runs past the end of the record, or the record past the end of the batch.
    PastTheEnd,
    /// A varint has more bytes, or more bits, than its type.
    VarintTooLong,
    /// The record's length, a header count or a header key's length is negative.
    NegativeLength,
    /// The fields end before the record does.
    BytesLeftOver,
    /// The offset is not above the record's before, or is above the batch's last.
    OffsetOutOfOrder,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            RecordFault::PastTheEnd => "a field runs past the end",
            RecordFault::VarintTooLong => "a varint is too long",
            RecordFault::NegativeLength => "a length is negative",
            RecordFault::BytesLeftOver => "its fields end before its length",
            RecordFault::OffsetOutOfOrder => "its offset is out of order",
        })
    }
}

/// A record to be encoded by [`crate::batch_builder::BatchBuilder`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordToWrite<'a> {
    /// When the record was made.
    pub timestamp: Timestamp,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value, if it has one.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [HeaderToWrite<'a>],
}

/// A header to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct HeaderToWrite<'a> {
    /// The key; Kafka's clients read it as UTF-8.
    pub key: &'a [u8],
    /// The value, if it has one.
    pub value: Option<&'a [u8]>,
}

/// What a batch tells each of its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordContext {
    pub(crate) base_timestamp: Timestamp,
    /// Set with log-append time: every record then has this one timestamp.
    pub(crate) append_time: Option<Timestamp>,
}

/// Decodes the record at `position`; also returns where the next one begins.
#[inline]
pub(crate) fn decode_record(
    bytes: &Bytes,
    position: usize,
    context: &RecordContext,
) -> Result<(Record, usize), RecordFault> {
    let mut cursor = Cursor { bytes, position };
    let length = cursor.length()?.ok_or(RecordFault::NegativeLength)?;
    let body = cursor.span(length)?;
    // From here on the record's own end is the border, not the batch's.
    let mut cursor = Cursor {
        bytes: bytes.get(..body.end).ok_or(RecordFault::PastTheEnd)?,
        position: body.start,
    };
    cursor.span(1)?; // attributes
    let timestamp_delta = cursor.varlong()?;
    let offset_delta = cursor.varint()?;
    let key = cursor.nullable_span()?;
    let value = cursor.nullable_span()?;
    let headers = read_headers(&mut cursor, bytes)?;
    if cursor.position != body.end {
        return Err(RecordFault::BytesLeftOver);
    }
    let timestamp = match context.append_time {
        Some(append_time) => append_time,
        None => context.base_timestamp.plus_millis(timestamp_delta),
    };
    let record = Record {
        offset_delta,
        timestamp,
        key: key.map(|span| span.of(bytes)),
        value: value.map(|span| span.of(bytes)),
        headers,
    };
    Ok((record, body.end))
}

/// Checks the headers at the cursor and steps over them.
#[inline]
fn read_headers(cursor: &mut Cursor<'_>, bytes: &Bytes) -> Result<Headers, RecordFault> {
    let count = usize::try_from(cursor.varint()?).map_err(|_| RecordFault::NegativeLength)?;
    if count == 0 {
        return Ok(Headers::default());
    }
    if count > cursor.remaining() / HEADER_BYTES_MIN {
        return Err(RecordFault::PastTheEnd);
    }
    let start = cursor.position;
    for _ in 0..count {
        read_header(cursor)?;
    }
    let span = Span { start, end: cursor.position };
    Ok(Headers { count, encoded: span.of(bytes) })
}

fn read_header(cursor: &mut Cursor<'_>) -> Result<(Span, Option<Span>), RecordFault> {
    let key = cursor.nullable_span()?.ok_or(RecordFault::NegativeLength)?;
    Ok((key, cursor.nullable_span()?))
}

/// Bytes that `record` takes in a batch, its own length field apart.
pub(crate) fn record_body_bytes(
    record: &RecordToWrite<'_>,
    timestamp_delta: i64,
    offset_delta: i32,
) -> usize {
    let mut count = 1
        + varint_bytes(timestamp_delta)
        + varint_bytes(i64::from(offset_delta))
        + nullable_bytes(record.key)
        + nullable_bytes(record.value)
        + varint_bytes(length_of(record.headers.len()));
    for header in record.headers {
        count += nullable_bytes(Some(header.key)) + nullable_bytes(header.value);
    }
    count
}

/// Appends the encoded record to `out`; `body_bytes` is what [`record_body_bytes`] said.
pub(crate) fn encode_record(
    out: &mut Vec<u8>,
    record: &RecordToWrite<'_>,
    timestamp_delta: i64,
    offset_delta: i32,
    body_bytes: usize,
) {
    write_varint(out, length_of(body_bytes));
    let body_start = out.len();
    out.push(0); // attributes
    write_varint(out, timestamp_delta);
    write_varint(out, i64::from(offset_delta));
    write_nullable(out, record.key);
    write_nullable(out, record.value);
    write_varint(out, length_of(record.headers.len()));
    for header in record.headers {
        write_nullable(out, Some(header.key));
        write_nullable(out, header.value);
    }
    assert!(
        out.len() - body_start == body_bytes,
        "a record's length field differs from its bytes: no reader could find the next record"
    );
}

/// A length as the varint it is written as.
pub(crate) fn length_of(count: usize) -> i64 {
    i64::try_from(count).expect("a slice is never longer than i64::MAX")
}

/// Bytes that a number takes as a zigzag varint: 1 to 10.
pub(crate) fn varint_bytes(number: i64) -> usize {
    let significant_bits = 64 - (zigzag(number) | 1).leading_zeros() as usize;
    significant_bits.div_ceil(7)
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => varint_bytes(length_of(bytes.len())) + bytes.len(),
        None => varint_bytes(-1),
    }
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            write_varint(out, length_of(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => write_varint(out, -1),
    }
}

/// Appends a number as a zigzag varint. Kafka's 32-bit and 64-bit forms are the same bytes.
pub(crate) fn write_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = zigzag(number);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(encoded: u64) -> i64 {
    (encoded >> 1).cast_signed() ^ -((encoded & 1).cast_signed())
}

/// A range of a batch's bytes that is known to lie inside them.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn of(self, bytes: &Bytes) -> Bytes {
        bytes.slice(self.start..self.end)
    }
}

/// Reads fields one after the other and never past the end.
#[derive(Clone, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, position: 0 }
    }

    fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// Steps over `count` bytes.
    #[inline]
    fn span(&mut self, count: usize) -> Result<Span, RecordFault> {
        if count > self.remaining() {
            return Err(RecordFault::PastTheEnd);
        }
        let start = self.position;
        self.position += count;
        Ok(Span { start, end: self.position })
    }

    /// A length and that many bytes; any negative length is "none", as Kafka reads it.
    #[inline]
    fn nullable_span(&mut self) -> Result<Option<Span>, RecordFault> {
        match self.length()? {
            Some(length) => self.span(length).map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn length(&mut self) -> Result<Option<usize>, RecordFault> {
        Ok(usize::try_from(self.varint()?).ok())
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, RecordFault> {
        let encoded = self.unsigned_varint(5)?;
        if encoded > u64::from(u32::MAX) {
            return Err(RecordFault::VarintTooLong);
        }
        Ok(i32::try_from(unzigzag(encoded)).expect("32 zigzag bits are one i32"))
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordFault> {
        self.unsigned_varint(10).map(unzigzag)
    }

    #[inline]
    fn unsigned_varint(&mut self, bytes_max: usize) -> Result<u64, RecordFault> {
        // Most varints are one byte: small lengths and deltas.
        match self.bytes.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            Some(_) => self.long_varint(bytes_max),
            None => Err(RecordFault::PastTheEnd),
        }
    }

    fn long_varint(&mut self, bytes_max: usize) -> Result<u64, RecordFault> {
        let mut number = 0u64;
        for index in 0..bytes_max {
            let byte = *self.bytes.get(self.position).ok_or(RecordFault::PastTheEnd)?;
            self.position += 1;
            let (bits, shift) = (u64::from(byte & 0x7f), 7 * index);
            // The tenth byte of a varlong has room for one bit only.
            if (bits << shift) >> shift != bits {
                return Err(RecordFault::VarintTooLong);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(RecordFault::VarintTooLong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_varint(number: i64, expected: &[u8]) {
        let mut bytes = Vec::new();
        write_varint(&mut bytes, number);
        assert_eq!(bytes, expected, "{number}");
        assert_eq!(varint_bytes(number), expected.len(), "{number}");
        assert_eq!(Cursor::new(&bytes).varlong(), Ok(number));
        if let Ok(number) = i32::try_from(number) {
            assert_eq!(Cursor::new(&bytes).varint(), Ok(number));
        } else {
            let read = Cursor::new(&bytes).varint();
            assert_eq!(read, Err(RecordFault::VarintTooLong), "{number}");
        }
    }

    #[test]
    fn varints_are_zigzag_and_lowest_bits_first() {
        check_varint(0, &[0]);
        check_varint(-1, &[1]);
        check_varint(1, &[2]);
        check_varint(63, &[0x7e]);
        check_varint(-64, &[0x7f]);
        check_varint(64, &[0x80, 1]);
        check_varint(300, &[0xd8, 4]);
        check_varint(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check_varint(i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        check_varint(i64::from(i32::MAX) + 1, &[0x80, 0x80, 0x80, 0x80, 0x10]);
        let nine_full = [0xff; 9];
        check_varint(i64::MIN, &[&nine_full[..], &[1]].concat());
        check_varint(i64::MAX, &[&[0xfe][..], &nine_full[1..], &[1]].concat());
    }

    #[test]
    fn varints_without_an_end_or_with_too_many_bits_are_refused() {
        use RecordFault::{PastTheEnd, VarintTooLong};
        for (bytes, as_int, as_long) in [
            (&[][..], Err(PastTheEnd), Err(PastTheEnd)),
            (&[0x80], Err(PastTheEnd), Err(PastTheEnd)),
            (&[0xff; 4], Err(PastTheEnd), Err(PastTheEnd)),
            (&[0xff; 5], Err(VarintTooLong), Err(PastTheEnd)),
            (&[0xff; 11], Err(VarintTooLong), Err(VarintTooLong)),
            // Longer than need be, but Kafka reads it too.
            (&[0x82, 0x80, 0], Ok(1), Ok(1)),
            // One bit more than 32, and than 64.
            (&[0x80, 0x80, 0x80, 0x80, 0x10], Err(VarintTooLong), Ok(1 << 31)),
            (
                &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
                Err(VarintTooLong),
                Err(VarintTooLong),
            ),
        ] {
            assert_eq!(Cursor::new(bytes).varint(), as_int, "{bytes:x?}");
            assert_eq!(Cursor::new(bytes).varlong(), as_long, "{bytes:x?}");
        }
    }

    fn decode(bytes: &[u8]) -> Result<Record, RecordFault> {
        let context =
            RecordContext { base_timestamp: Timestamp::from_millis(1000), append_time: None };
        decode_record(&Bytes::copy_from_slice(bytes), 0, &context).map(|(record, _)| record)
    }

    #[test]
    fn malformed_records_are_refused_for_what_is_wrong() {
        use RecordFault::{BytesLeftOver, NegativeLength, PastTheEnd};
        // length, attributes, timestamp, offset, key, value, header count
        assert!(decode(&[12, 0, 0, 0, 1, 1, 0]).is_ok());
        for (bytes, fault) in [
            (&[][..], PastTheEnd),
            (&[1, 0, 0, 0, 1, 1, 0], NegativeLength),
            (&[14, 0, 0, 0, 1, 1, 0], PastTheEnd),
            (&[10, 0, 0, 0, 1, 1, 0], PastTheEnd),
            (&[14, 0, 0, 0, 1, 1, 0, 0], BytesLeftOver),
            // A value that would reach into the next record, and one beyond all bytes.
            (&[12, 0, 0, 0, 1, 2, 0, 0, 0, 0], PastTheEnd),
            (&[12, 0, 0, 0, 1, 0x7e, 0], PastTheEnd),
            // Headers: a negative count, more than bytes, a key of negative length, one cut off.
            (&[12, 0, 0, 0, 1, 1, 1], NegativeLength),
            (&[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f], PastTheEnd),
            (&[16, 0, 0, 0, 1, 1, 2, 1, 1], NegativeLength),
            (&[16, 0, 0, 0, 1, 1, 2, 2, b'h'], PastTheEnd),
        ] {
            assert_eq!(decode(bytes), Err(fault), "{bytes:x?}");
        }
    }

    #[test]
    fn a_record_is_slices_of_its_batch() {
        let bytes = Bytes::from_static(&[24, 0, 9, 0, 2, b'k', 2, b'v', 2, 2, b'h', 2, b'w']);
        let context =
            RecordContext { base_timestamp: Timestamp::from_millis(1000), append_time: None };
        let (record, end) = decode_record(&bytes, 0, &context).expect("sound");
        assert_eq!(end, bytes.len());
        assert_eq!(record.timestamp, Timestamp::from_millis(995));
        let header = record.headers.iter().next().expect("one header");
        let slices = [record.key, record.value, Some(header.key), header.value];
        for (slice, (text, at)) in slices.iter().zip([(b"k", 5), (b"v", 7), (b"h", 10), (b"w", 12)])
        {
            let slice = slice.as_ref().expect("all are there");
            assert_eq!(&slice[..], text);
            assert_eq!(slice.as_ptr(), bytes[at..].as_ptr());
        }
    }
}
