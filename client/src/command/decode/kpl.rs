//! The aggregate in which the Kinesis Producer Library, and libraries like it, put many records of
//! a user into one of Kinesis.
//!
//! ```text
//!   F3 89 9A C2 │ protobuf message │ MD5 of the message, 16 bytes
//!
//!   1  string, repeated    partition keys
//!   2  string, repeated    explicit hash keys
//!   3  message, repeated   1  number   index of its partition key
//!                          2  number   index of its explicit hash key, if it has one
//!                          3  bytes    data
//!                          4  message  tags, that nobody writes
//! ```
//!
//! Everything comes from a stream that anybody may have written to: lengths are held against what
//! is there, and records are slices of the value, so nothing grows.

use std::fmt;

use bytes::Bytes;
use md5::{Digest, Md5};

/// What an aggregate begins with.
pub(super) const MAGIC: &[u8] = &[0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;

const KEYS_FIELD: u64 = 1;
const RECORDS_FIELD: u64 = 3;
const KEY_INDEX_FIELD: u64 = 1;
const DATA_FIELD: u64 = 3;

/// A record of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inner {
    pub(super) partition_key: Bytes,
    pub(super) data: Bytes,
}

/// Why a value is not an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAggregate {
    Magic,
    Digest,
    Malformed,
    UnknownKey,
    Empty,
}

impl fmt::Display for NoAggregate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            NoAggregate::Magic => "it does not begin with f3899ac2",
            NoAggregate::Digest => "its MD5 is wrong",
            NoAggregate::Malformed => "its message is malformed",
            NoAggregate::UnknownKey => "a record's partition key is not in its table",
            NoAggregate::Empty => "it has no records",
        })
    }
}

/// The records of an aggregate, in their order; one at least.
pub(super) fn records(value: &Bytes) -> Result<Vec<Inner>, NoAggregate> {
    let rest = value.strip_prefix(MAGIC).ok_or(NoAggregate::Magic)?;
    let (message, digest) = rest
        .len()
        .checked_sub(DIGEST_BYTES)
        .map(|end| rest.split_at(end))
        .ok_or(NoAggregate::Digest)?;
    if Md5::digest(message)[..] != *digest {
        return Err(NoAggregate::Digest);
    }
    let (mut keys, mut messages) = (Vec::new(), Vec::new());
    let mut fields = Fields(value.slice_ref(message));
    while let Some(field) = fields.next()? {
        match field {
            (KEYS_FIELD, Content::Bytes(key)) => keys.push(key),
            (RECORDS_FIELD, Content::Bytes(message)) => messages.push(message),
            _ => {}
        }
    }
    match messages.is_empty() {
        true => Err(NoAggregate::Empty),
        false => messages.into_iter().map(|message| record(message, &keys)).collect(),
    }
}

fn record(message: Bytes, keys: &[Bytes]) -> Result<Inner, NoAggregate> {
    // Fields that are not written have the number 0, and no bytes.
    let (mut key_index, mut data) = (0, Bytes::new());
    let mut fields = Fields(message);
    while let Some(field) = fields.next()? {
        match field {
            (KEY_INDEX_FIELD, Content::Number(index)) => key_index = index,
            (DATA_FIELD, Content::Bytes(bytes)) => data = bytes,
            _ => {}
        }
    }
    let key = usize::try_from(key_index).ok().and_then(|index| keys.get(index));
    Ok(Inner { partition_key: key.ok_or(NoAggregate::UnknownKey)?.clone(), data })
}

/// The fields of a protobuf message, in the order of writing.
struct Fields(Bytes);

/// What a field holds.
enum Content {
    Number(u64),
    Bytes(Bytes),
    /// Of a fixed length; nothing here has such fields.
    Fixed,
}

impl Fields {
    fn next(&mut self) -> Result<Option<(u64, Content)>, NoAggregate> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let content = match tag & 7 {
            0 => Content::Number(self.number()?),
            1 => self.take(8).map(|_| Content::Fixed)?,
            2 => {
                let length = self.number()?;
                Content::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Content::Fixed)?,
            _ => return Err(NoAggregate::Malformed),
        };
        Ok(Some((tag >> 3, content)))
    }

    fn take(&mut self, length: u64) -> Result<Bytes, NoAggregate> {
        let length = usize::try_from(length).map_err(|_| NoAggregate::Malformed)?;
        match length <= self.0.len() {
            true => Ok(self.0.split_to(length)),
            false => Err(NoAggregate::Malformed),
        }
    }

    /// A number in groups of 7 bits, the lowest first.
    fn number(&mut self) -> Result<u64, NoAggregate> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1)?.first().copied().ok_or(NoAggregate::Malformed)?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(NoAggregate::Malformed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend(bytes);
        field
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [MAGIC, message, &Md5::digest(message)[..]].concat()
    }

    /// An aggregate of these keys and data.
    pub(in crate::command::decode) fn aggregate(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        for (key, _) in records {
            message.extend(field(1, key.as_bytes()));
        }
        for ((_, data), index) in records.iter().zip(0_u8..) {
            message.extend(field(3, &[&[1 << 3, index], field(3, data).as_slice()].concat()));
        }
        sealed(&message)
    }

    #[test]
    fn what_is_no_aggregate_is_told_from_one() {
        let good = aggregate(&[("k", b"data")]);
        let mut flipped = good.clone();
        *flipped.last_mut().expect("not empty") ^= 1;
        for (value, why) in [
            (b"".to_vec(), NoAggregate::Magic),
            (b"\xf3\x89\x9a\xc2".to_vec(), NoAggregate::Digest),
            (flipped, NoAggregate::Digest),
            (sealed(b""), NoAggregate::Empty),
            (sealed(&field(1, b"k")), NoAggregate::Empty),
            // A length beyond the end, a number without one, a kind that there is not.
            (sealed(&[3 << 3 | 2, 0x7f]), NoAggregate::Malformed),
            (sealed(&[0xff; 11]), NoAggregate::Malformed),
            (sealed(&[3 << 3 | 3]), NoAggregate::Malformed),
            (sealed(&field(3, &field(3, b"no table"))), NoAggregate::UnknownKey),
        ] {
            assert_eq!(records(&Bytes::from(value.clone())), Err(why), "{value:02x?}");
        }
        assert!(records(&Bytes::from(good)).is_ok());
    }

    #[test]
    fn unknown_fields_are_passed_over_and_missing_ones_have_their_defaults() {
        let inner = [&[9 << 3 | 5, 0, 0, 0, 0], field(4, b"tag").as_slice()].concat();
        let message =
            [&[8 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0], &*field(3, &inner), &field(1, b"k")].concat();
        let expected = Inner { partition_key: "k".into(), data: Bytes::new() };
        assert_eq!(records(&Bytes::from(sealed(&message))), Ok(vec![expected]));
    }

    #[test]
    fn no_damage_behind_a_right_digest_is_a_panic() {
        let good = aggregate(&[("key", b"data"), ("other", b"more")]);
        let message = &good[MAGIC.len()..good.len() - DIGEST_BYTES];
        for index in 0..message.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut damaged = message.to_vec();
                damaged[index] = value;
                let _ = records(&Bytes::from(sealed(&damaged)));
                let _ = records(&Bytes::from(sealed(&message[..index])));
            }
        }
    }
}
