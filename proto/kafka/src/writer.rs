//! Writes fields into a gather list: the mirror of `reader.rs`.
//!
//! Small fields go into one growing buffer. A record set ends that buffer, becomes a part of its
//! own without being copied, and a new buffer begins after it. See `records.rs` for the picture.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::EncodeError;
use crate::message::Wire;
use crate::records::{Gather, Part, RecordSet};
use crate::uuid::Uuid;

/// Record sets below this are copied: another entry in the gather list costs more than so few
/// bytes.
const COPY_BELOW_BYTES: usize = 512;

/// Room of a fresh buffer: most responses fit, and after a record set what is left is used on.
const BUFFER_BYTES: usize = 1024;

/// Builds one encoded message.
#[derive(Debug)]
pub struct Writer {
    pieces: Vec<Piece>,
    buffer: BytesMut,
    flexible: bool,
}

/// A part that can still be patched if it is ours.
#[derive(Debug)]
enum Piece {
    Owned(BytesMut),
    Shared(Bytes),
    External { index: usize, length: usize },
}

/// Where a struct's count of tagged fields stands in the buffer, so that it can be raised.
#[derive(Debug, Clone, Copy)]
pub struct TagSection {
    count_position: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A writer of the older encoding, without a byte written.
    pub fn new() -> Self {
        Self { pieces: Vec::new(), buffer: BytesMut::with_capacity(BUFFER_BYTES), flexible: false }
    }

    /// Chooses the encoding of all that is written from here on.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// The parts written so far, without a length prefix.
    pub fn finish(mut self) -> Gather {
        self.seal_buffer();
        let parts = self.pieces.into_iter().map(|piece| match piece {
            Piece::Owned(buffer) => Part::Bytes(buffer.freeze()),
            Piece::Shared(bytes) => Part::Bytes(bytes),
            Piece::External { index, length } => Part::External { index, length },
        });
        Gather { parts: parts.collect() }
    }

    /// The parts written so far as a frame. The first 4 bytes, which the caller wrote as a
    /// placeholder, become the length of the rest.
    pub(crate) fn finish_frame(mut self) -> Result<Gather, EncodeError> {
        self.seal_buffer();
        let total: usize = self.pieces.iter().map(Piece::len).sum();
        let frame_length = total - size_of::<i32>();
        let prefix = wire_i32(frame_length)?.to_be_bytes();
        let Some(Piece::Owned(first)) = self.pieces.first_mut() else {
            unreachable!("a frame begins with the 4 bytes of its length in an owned buffer");
        };
        first
            .first_chunk_mut::<4>()
            .expect("a frame begins with the 4 bytes of its length")
            .copy_from_slice(&prefix);
        Ok(self.finish())
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Two bytes, big-endian as all numbers.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(&value.0);
    }

    /// 7 bits a byte, lowest first.
    pub fn unsigned_varint(&mut self, value: u32) {
        self.unsigned_base_128(u64::from(value));
    }

    /// Zigzag, then 7 bits a byte, lowest first.
    pub fn varlong(&mut self, value: i64) {
        self.unsigned_base_128(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A string of at most 32,767 bytes.
    pub fn string(&mut self, value: &str) -> Result<(), EncodeError> {
        self.nullable_string(Some(value))
    }

    /// A string or null.
    pub fn nullable_string(&mut self, value: Option<&str>) -> Result<(), EncodeError> {
        if !self.flexible {
            return self.legacy_nullable_string(value);
        }
        let Some(value) = value else {
            return self.length(None);
        };
        i16::try_from(value.len()).map_err(|_| EncodeError::TooLong(value.len()))?;
        self.length(Some(value.len()))?;
        self.buffer.put_slice(value.as_bytes());
        Ok(())
    }

    /// A string with a 2-byte length whatever the version: the client id of request headers.
    pub fn legacy_nullable_string(&mut self, value: Option<&str>) -> Result<(), EncodeError> {
        let Some(value) = value else {
            self.i16(-1);
            return Ok(());
        };
        let length = i16::try_from(value.len()).map_err(|_| EncodeError::TooLong(value.len()))?;
        self.i16(length);
        self.buffer.put_slice(value.as_bytes());
        Ok(())
    }

    /// A byte field, copied: these are small (assignments, tokens), record sets are not.
    pub fn bytes(&mut self, value: &Bytes) -> Result<(), EncodeError> {
        self.nullable_bytes(Some(value))
    }

    /// A byte field or null, copied.
    pub fn nullable_bytes(&mut self, value: Option<&Bytes>) -> Result<(), EncodeError> {
        self.length(value.map(Bytes::len))?;
        if let Some(value) = value {
            self.buffer.put_slice(value);
        }
        Ok(())
    }

    /// The record set of a request.
    pub fn record_bytes(&mut self, value: &Bytes) -> Result<(), EncodeError> {
        self.nullable_record_bytes(Some(value))
    }

    /// The record set of a request, or null.
    pub fn nullable_record_bytes(&mut self, value: Option<&Bytes>) -> Result<(), EncodeError> {
        self.length(value.map(Bytes::len))?;
        if let Some(value) = value {
            self.append_shared(value);
        }
        Ok(())
    }

    /// The record set of a response.
    pub fn records(&mut self, value: &RecordSet) -> Result<(), EncodeError> {
        self.nullable_records(Some(value))
    }

    /// The record set of a response, or null.
    pub fn nullable_records(&mut self, value: Option<&RecordSet>) -> Result<(), EncodeError> {
        self.length(value.map(RecordSet::len))?;
        match value {
            None => {}
            Some(RecordSet::Bytes(bytes)) => self.append_shared(bytes),
            Some(RecordSet::External { length: 0, .. }) => {}
            Some(&RecordSet::External { index, length }) => {
                self.seal_buffer();
                self.pieces.push(Piece::External { index, length });
            }
        }
        Ok(())
    }

    /// An array that may not be null.
    pub fn array<T: Wire>(&mut self, elements: &[T], version: i16) -> Result<(), EncodeError> {
        self.nullable_array(Some(elements), version)
    }

    /// An array or null.
    pub fn nullable_array<T: Wire>(
        &mut self,
        elements: Option<&[T]>,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.length(elements.map(<[T]>::len))?;
        for element in elements.unwrap_or_default() {
            element.write(self, version)?;
        }
        Ok(())
    }

    /// A struct behind a byte that is -1 for null and 1 otherwise.
    pub fn nullable_struct<T: Wire>(
        &mut self,
        value: Option<&T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        let Some(value) = value else {
            self.i8(-1);
            return Ok(());
        };
        self.i8(1);
        value.write(self, version)
    }

    /// Opens the tagged fields that end a struct: an empty section, or nothing if the version is
    /// not flexible.
    pub fn tags(&mut self) -> TagSection {
        let section = TagSection { count_position: self.buffer.len() };
        if self.flexible {
            self.buffer.put_u8(0);
        }
        section
    }

    /// Adds one tagged field to `section`; tags must come in ascending order.
    pub fn tag(
        &mut self,
        section: TagSection,
        tag: u32,
        value: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        debug_assert!(self.flexible, "only flexible versions have tagged fields");
        // The size stands before the value and its own length depends on it, so the value is
        // written aside first.
        let outer = std::mem::take(&mut self.buffer);
        let piece_count = self.pieces.len();
        let written = value(self);
        assert_eq!(self.pieces.len(), piece_count, "record sets are never tagged fields");
        let value = std::mem::replace(&mut self.buffer, outer);
        written?;

        let count = self.buffer.get_mut(section.count_position);
        let count = count.expect("the section was opened in this buffer");
        // One byte holds the count: no message has 128 tagged fields, which the generator checks.
        *count += 1;
        self.unsigned_varint(tag);
        self.unsigned_varint(wire_i32(value.len())?.cast_unsigned());
        self.buffer.put_slice(&value);
        Ok(())
    }

    fn length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let length = length.map(wire_i32).transpose()?;
        if self.flexible {
            self.unsigned_varint(length.map_or(0, |length| length.cast_unsigned() + 1));
        } else {
            self.i32(length.unwrap_or(-1));
        }
        Ok(())
    }

    fn append_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < COPY_BELOW_BYTES {
            self.buffer.put_slice(bytes);
        } else {
            self.seal_buffer();
            self.pieces.push(Piece::Shared(bytes.clone()));
        }
    }

    fn seal_buffer(&mut self) {
        if !self.buffer.is_empty() {
            self.pieces.push(Piece::Owned(self.buffer.split()));
        }
    }

    fn unsigned_base_128(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.buffer.put_u8(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.buffer.put_u8(low);
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Owned(buffer) => buffer.len(),
            Self::Shared(bytes) => bytes.len(),
            Self::External { length, .. } => *length,
        }
    }
}

fn wire_i32(length: usize) -> Result<i32, EncodeError> {
    i32::try_from(length).map_err(|_| EncodeError::TooLong(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.set_flexible(true);
        write(&mut writer);
        writer.finish().into_bytes().expect("no external parts").to_vec()
    }

    #[test]
    fn variable_length_integers_are_as_short_as_can_be() {
        for (value, expected) in [
            (0, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            assert_eq!(bytes(|writer| writer.unsigned_varint(value)), expected);
        }
        for (value, expected) in
            [(0, &[0x00][..]), (-1, &[0x01]), (1, &[0x02]), (-65, &[0x81, 0x01])]
        {
            assert_eq!(bytes(|writer| writer.varlong(value)), expected);
        }
    }

    #[test]
    fn tagged_fields_are_counted_and_sized() {
        let written = bytes(|writer| {
            let outer = writer.tags();
            writer
                .tag(outer, 1, |writer| {
                    writer.i8(9);
                    let inner = writer.tags();
                    writer.tag(inner, 0, |writer| writer.string("ab"))
                })
                .expect("fits");
            writer.tag(outer, 4, |writer| writer.nullable_string(None)).expect("fits");
        });
        assert_eq!(written, [2, 1, 7, 9, 1, 0, 3, 3, b'a', b'b', 4, 1, 0]);
    }

    #[test]
    fn strings_above_their_limit_are_refused() {
        let long = "x".repeat(32_768);
        for flexible in [false, true] {
            let mut writer = Writer::new();
            writer.set_flexible(flexible);
            assert_eq!(writer.string(&long), Err(EncodeError::TooLong(32_768)));
            assert_eq!(writer.string(&long[1..]), Ok(()));
        }
    }
}
