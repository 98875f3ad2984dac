//! Reads fields from a frame that a stranger sent.
//!
//! Nothing is allocated on the word of the wire alone. Every length is checked against the bytes
//! that remain before it is used; an array's count against the bytes that its smallest elements
//! would take; and because an element may be larger in memory than on the wire (an empty string is
//! 1 byte there and 24 here), all arrays of one frame together draw on a memory budget of
//! [`MEMORY_BUDGET`]. Strings and byte fields never exceed the frame, so they are not counted.
//! Message types do not contain themselves, so nesting is bounded by their definition.
//!
//! Record sets and byte fields come out as slices of the frame, without a copy.
//!
//! Two encodings exist, one per message version: the older with 2- and 4-byte lengths, and the
//! "flexible" one (KIP-482) with unsigned varints of length + 1 and a section of tagged fields at
//! the end of each struct. The reader is told once per message which it is
//! ([`Reader::set_flexible`]); the field methods then do the right thing.
//!
//! Read next: `writer.rs`, its mirror, then any file under `messages/`.

use bytes::Bytes;

use crate::error::{DecodeError, DecodeErrorKind};
use crate::message::Wire;
use crate::records::RecordSet;
use crate::uuid::Uuid;

/// Memory that the arrays of one frame may take, in bytes: some 200,000 partitions of a Fetch or
/// 400,000 topics of a Metadata request. What makes honest frames larger than this is records,
/// which are no arrays. Not in proportion to the frame: at 8 bytes for each of a frame's, 30 MB of
/// topic names took 500 MB.
pub const MEMORY_BUDGET: usize = 16 << 20;

/// A tagged field takes at least one byte for its tag and one for its size.
const TAGGED_FIELD_BYTES_MIN: usize = 2;

/// A cursor over one frame.
#[derive(Debug, Clone)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    /// End of what may be read: the frame's, or while a tagged field is read, that field's.
    limit: usize,
    flexible: bool,
    memory_left: usize,
}

impl Reader {
    /// A reader at the start of `frame`, which is without its 4-byte length.
    pub fn new(frame: Bytes) -> Self {
        let limit = frame.len();
        Self { frame, position: 0, limit, flexible: false, memory_left: MEMORY_BUDGET }
    }

    /// Chooses the encoding of all that is read from here on.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Bytes from the start of the frame.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes that may still be read.
    pub fn remaining(&self) -> usize {
        self.limit - self.position
    }

    /// Fails if anything is left: a message must fill its frame exactly.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(self.error(DecodeErrorKind::TrailingBytes(count))),
        }
    }

    /// An error at the current position.
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { position: self.position, kind }
    }

    /// One byte; anything but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.fixed::<1>()? != [0])
    }

    /// One byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// Two bytes, big-endian as all numbers.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid)
    }

    /// An unsigned variable-length integer of at most 5 bytes: 7 bits a byte, lowest first.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let start = self.position;
        let value = self.unsigned_base_128(5)?;
        u32::try_from(value)
            .map_err(|_| DecodeError { position: start, kind: DecodeErrorKind::VarintOverflow })
    }

    /// A zigzag variable-length integer of at most 10 bytes.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let zigzag = self.unsigned_base_128(10)?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    /// A string that may not be null, at most 32,767 bytes of UTF-8.
    pub fn string(&mut self) -> Result<String, DecodeError> {
        let start = self.position;
        self.nullable_string()?.ok_or(unexpected_null(start))
    }

    /// A string or null.
    pub fn nullable_string(&mut self) -> Result<Option<String>, DecodeError> {
        if self.flexible {
            let start = self.position;
            let length = self.compact_length()?;
            self.utf8(start, length)
        } else {
            self.legacy_nullable_string()
        }
    }

    /// A string with a 2-byte length whatever the version: the client id of request headers.
    pub fn legacy_nullable_string(&mut self) -> Result<Option<String>, DecodeError> {
        let start = self.position;
        let length = i64::from(self.i16()?);
        let length = self.legacy_length(start, length)?;
        self.utf8(start, length)
    }

    /// A slice of the frame that may not be null.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let start = self.position;
        self.nullable_bytes()?.ok_or(unexpected_null(start))
    }

    /// A slice of the frame, or null.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let start = self.position;
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        self.check_length(start, length)?;
        let end = self.position + length;
        let bytes = self.frame.slice(self.position..end);
        self.position = end;
        Ok(Some(bytes))
    }

    /// A record set of a response that may not be null, as a slice of the frame.
    pub fn records(&mut self) -> Result<RecordSet, DecodeError> {
        self.bytes().map(RecordSet::Bytes)
    }

    /// A record set of a response, as a slice of the frame, or null.
    pub fn nullable_records(&mut self) -> Result<Option<RecordSet>, DecodeError> {
        Ok(self.nullable_bytes()?.map(RecordSet::Bytes))
    }

    /// An array that may not be null.
    pub fn array<T: Wire>(&mut self, version: i16) -> Result<Vec<T>, DecodeError> {
        let start = self.position;
        self.nullable_array(version)?.ok_or(unexpected_null(start))
    }

    /// An array or null.
    pub fn nullable_array<T: Wire>(&mut self, version: i16) -> Result<Option<Vec<T>>, DecodeError> {
        let start = self.position;
        let Some(count) = self.length()? else {
            return Ok(None);
        };
        let () = const { assert!(T::WIRE_BYTES_MIN > 0, "an element without bytes has no bound") };
        if count > self.remaining() / T::WIRE_BYTES_MIN {
            let kind = DecodeErrorKind::CountExceedsFrame { count, remaining: self.remaining() };
            return Err(DecodeError { position: start, kind });
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self, version)?);
        }
        Ok(Some(elements))
    }

    /// A struct behind a byte that is negative for null.
    pub fn nullable_struct<T: Wire>(&mut self, version: i16) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 {
            return Ok(None);
        }
        T::read(self, version).map(Some)
    }

    /// Skips the tagged fields of a struct that defines none.
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(false))
    }

    /// Reads the tagged fields that end a struct of a flexible version. `known` reads the value of
    /// a tag and returns true, or returns false for a tag that it does not know, which is then
    /// skipped.
    pub fn tags(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        let start = self.position;
        let count = usize_from(self.unsigned_varint()?);
        if count > self.remaining() / TAGGED_FIELD_BYTES_MIN {
            let kind = DecodeErrorKind::CountExceedsFrame { count, remaining: self.remaining() };
            return Err(DecodeError { position: start, kind });
        }
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size_position = self.position;
            let size = usize_from(self.unsigned_varint()?);
            self.check_length(size_position, size)?;
            let end = self.position + size;
            let outer_limit = std::mem::replace(&mut self.limit, end);
            if !known(self, tag)? {
                self.position = end;
            } else if self.position != end {
                let left = self.remaining();
                return Err(self.error(DecodeErrorKind::TaggedFieldTrailingBytes(left)));
            }
            self.limit = outer_limit;
        }
        Ok(())
    }

    /// The length of bytes or of an array; `None` is null. Not yet checked against what remains.
    fn length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return self.compact_length();
        }
        let start = self.position;
        let length = i64::from(self.i32()?);
        self.legacy_length(start, length)
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.unsigned_varint()?.checked_sub(1).map(usize_from))
    }

    fn legacy_length(&self, position: usize, length: i64) -> Result<Option<usize>, DecodeError> {
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| DecodeError {
                position,
                kind: DecodeErrorKind::InvalidLength(length),
            }),
        }
    }

    fn utf8(
        &mut self,
        position: usize,
        length: Option<usize>,
    ) -> Result<Option<String>, DecodeError> {
        let Some(length) = length else {
            return Ok(None);
        };
        if let Ok(wire_length) = i64::try_from(length)
            && wire_length > i64::from(i16::MAX)
        {
            return Err(DecodeError {
                position,
                kind: DecodeErrorKind::InvalidLength(wire_length),
            });
        }
        self.check_length(position, length)?;
        let text = self.rest().get(..length).unwrap_or_default();
        let text = std::str::from_utf8(text)
            .map_err(|_| self.error(DecodeErrorKind::InvalidUtf8))?
            .to_owned();
        self.position += length;
        Ok(Some(text))
    }

    fn check_length(&self, position: usize, length: usize) -> Result<(), DecodeError> {
        let remaining = self.remaining();
        if length > remaining {
            let kind = DecodeErrorKind::LengthExceedsFrame { length, remaining };
            return Err(DecodeError { position, kind });
        }
        Ok(())
    }

    fn charge(&mut self, requested: usize) -> Result<(), DecodeError> {
        let left = self.memory_left;
        self.memory_left = left
            .checked_sub(requested)
            .ok_or_else(|| self.error(DecodeErrorKind::MemoryBudgetExceeded { requested, left }))?;
        Ok(())
    }

    fn unsigned_base_128(&mut self, bytes_max: u32) -> Result<u64, DecodeError> {
        let start = self.position;
        let overflow = DecodeError { position: start, kind: DecodeErrorKind::VarintOverflow };
        let mut value = 0u64;
        for index in 0..bytes_max {
            let [byte] = self.fixed::<1>()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * index);
            if shifted >> (7 * index) != bits {
                return Err(overflow);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(overflow)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(bytes) = self.rest().first_chunk::<N>().copied() else {
            let remaining = self.remaining();
            return Err(self.error(DecodeErrorKind::Truncated { needed: N, remaining }));
        };
        self.position += N;
        Ok(bytes)
    }

    fn rest(&self) -> &[u8] {
        // Position never passes the limit, nor the limit the frame; were it ever so, nothing would
        // be readable.
        self.frame.get(self.position..self.limit).unwrap_or_default()
    }
}

fn unexpected_null(position: usize) -> DecodeError {
    DecodeError { position, kind: DecodeErrorKind::UnexpectedNull }
}

fn usize_from(value: u32) -> usize {
    usize::try_from(value).expect("usize has at least 32 bits on every platform that runs weir")
}

#[cfg(test)]
mod tests {
    use super::DecodeErrorKind::*;
    use super::*;

    fn reader(bytes: &[u8], flexible: bool) -> Reader {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        reader.set_flexible(flexible);
        reader
    }

    fn error<T: std::fmt::Debug>(
        bytes: &[u8],
        flexible: bool,
        read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> (usize, DecodeErrorKind) {
        let error = read(&mut reader(bytes, flexible)).expect_err("must be refused");
        (error.position, error.kind)
    }

    #[test]
    fn variable_length_integers_are_read_up_to_their_bits() {
        for (bytes, value) in [
            (&[0x00][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0x80, 0x01], Some(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Some(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], None),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(reader(bytes, true).unsigned_varint().ok(), value, "{bytes:x?}");
        }
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        for (bytes, value) in [
            (&[0x00][..], Some(0)),
            (&[0x01], Some(-1)),
            (&[0x02], Some(1)),
            (&[&longest[..], &[0x01]].concat(), Some(i64::MIN)),
            (&[&longest[..], &[0x02]].concat(), None),
            (&[&longest[..], &[0x81, 0x00]].concat(), None),
        ] {
            assert_eq!(reader(bytes, true).varlong().ok(), value, "{bytes:x?}");
        }
    }

    #[test]
    fn null_is_read_only_where_it_may_stand() {
        assert_eq!(reader(&[0xff, 0xff], false).nullable_string(), Ok(None));
        assert_eq!(reader(&[0x00], true).nullable_string(), Ok(None));
        assert_eq!(reader(&[0xff; 4], false).nullable_array::<i32>(0), Ok(None));
        assert_eq!(error(&[0xff, 0xff], false, Reader::string), (0, UnexpectedNull));
        assert_eq!(error(&[0x00], true, Reader::bytes), (0, UnexpectedNull));
        assert_eq!(error(&[0xff; 4], false, |r| r.array::<i32>(0)), (0, UnexpectedNull));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let at_0 = |kind| (0, kind);
        assert_eq!(error(&[0xff, 0xfe], false, Reader::nullable_string), at_0(InvalidLength(-2)));
        assert_eq!(
            error(&[0x00, 0x02, b'a'], false, Reader::string),
            at_0(LengthExceedsFrame { length: 2, remaining: 1 })
        );
        assert_eq!(
            error(&[0x7f, 0xff, 0xff, 0xff, 0], false, Reader::bytes),
            at_0(LengthExceedsFrame { length: 0x7fff_ffff, remaining: 1 })
        );
        // 8 bytes hold two 4-byte elements, not three.
        assert_eq!(
            error(&[4, 0, 0, 0, 0, 0, 0, 0, 0], true, |r| r.array::<i32>(0)),
            at_0(CountExceedsFrame { count: 3, remaining: 8 })
        );
        assert_eq!(error(&[0, 1], false, Reader::i32), at_0(Truncated { needed: 4, remaining: 2 }));
        let long_string = [&[0x81, 0x80, 0x02][..], &[b'x'; 40_000]].concat();
        assert_eq!(error(&long_string, true, Reader::string), at_0(InvalidLength(32_768)));
    }

    #[test]
    fn strings_must_be_utf8() {
        assert_eq!(reader("\u{8}größe".as_bytes(), true).string(), Ok("größe".to_owned()));
        assert_eq!(error(&[0x02, 0xff], true, Reader::string), (1, InvalidUtf8));
    }

    #[test]
    fn tiny_elements_cannot_become_gigabytes() {
        // 3 MiB of empty strings: 1 byte each on the wire, 24 in memory, so 72 MiB against a budget
        // of 16.
        let count: u32 = 3 << 20;
        let mut frame = vec![0x81, 0x80, 0xc0, 0x01]; // count + 1 as a varint
        frame.resize(frame.len() + usize::try_from(count).unwrap(), 0x01);
        let mut reader = reader(&frame, true);
        let error = reader.array::<String>(0).expect_err("above the budget");
        assert!(matches!(error.kind, MemoryBudgetExceeded { .. }), "{error}");
    }

    #[test]
    fn byte_fields_are_slices_of_the_frame() {
        let frame = Bytes::from_static(&[0x04, b'a', b'b', b'c']);
        let mut reader = Reader::new(frame.clone());
        reader.set_flexible(true);
        let field = reader.bytes().expect("reads");
        assert_eq!(field.as_ptr(), frame.slice(1..).as_ptr());
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn unknown_tags_are_skipped_and_known_ones_end_where_they_say() {
        let mut found = None;
        // Tags 3 (unknown, 2 bytes) and 5 (an i16).
        let mut both = reader(&[2, 3, 2, 9, 9, 5, 2, 0, 7], true);
        let result = both.tags(|reader, tag| {
            if tag == 5 {
                found = Some(reader.i16()?);
            }
            Ok(tag == 5)
        });
        assert_eq!((result, found, both.remaining()), (Ok(()), Some(7), 0));

        let read_i16 = |r: &mut Reader| r.tags(|r, _| r.i16().map(|_| true));
        assert_eq!(error(&[1, 0, 3, 0, 7, 1], true, read_i16), (5, TaggedFieldTrailingBytes(1)));
        // The field may not read past its own size, although the frame has more bytes.
        let past = Truncated { needed: 2, remaining: 1 };
        assert_eq!(error(&[1, 0, 1, 0, 7, 1], true, read_i16), (3, past));
        let size = LengthExceedsFrame { length: 4, remaining: 1 };
        assert_eq!(error(&[1, 0, 4, 0], true, Reader::skip_tags), (2, size));
        let count = CountExceedsFrame { count: 3, remaining: 4 };
        assert_eq!(error(&[3, 0, 0, 0, 0], true, Reader::skip_tags), (0, count));
        assert_eq!(reader(&[1, 0, 4, 0], false).skip_tags(), Ok(()), "no tags in older versions");
    }
}
