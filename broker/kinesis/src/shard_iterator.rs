//! Shard iterators: a position in a shard, sealed, good for five minutes.
//!
//! The position is an offset and the log epoch in which it was found. After a power cut that took
//! records away, the epoch tells that the offset may mean another record now, and the read goes on
//! at the first record after the loss instead of waiting for an offset to come round again.
//!
//! | bytes | payload |
//! |---|---|
//! | 16 | stream id: a stream made again under an old name does not honour the old iterators |
//! | 4 | shard index |
//! | 4 | log epoch |
//! | 8 | offset |
//! | 1, n | length of the stream's name, and the name, for error texts once the stream is gone |
//!
//! AWS's iterators are 152 bytes before base64 and 16 more for each 16 characters of the stream's
//! name beyond the first 14; ours have the same length.

use weir_core::read::position::RememberedPlace;
use weir_core::stream::stream::Stream;
use weir_model::ids::{LogEpoch, PartitionIndex, StreamId};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::errors::KinesisError;
use crate::sealed_token::{self, Purpose, TokenError};

/// What an iterator holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ShardIterator {
    /// The stream that it reads.
    pub(crate) stream: StreamId,
    /// That stream's name.
    pub(crate) stream_name: String,
    /// The shard that it reads.
    pub(crate) shard: PartitionIndex,
    /// The next record's place.
    pub(crate) place: RememberedPlace,
}

impl ShardIterator {
    /// An iterator over a stream's shard from `place` on.
    pub(crate) fn new(
        stream: &Stream,
        shard: PartitionIndex,
        place: RememberedPlace,
    ) -> ShardIterator {
        ShardIterator {
            stream: stream.id,
            stream_name: stream.name.as_str().to_owned(),
            shard,
            place,
        }
    }

    /// The text that the client gets.
    pub(crate) fn seal(&self, key: &[u8; 32], now: Timestamp) -> String {
        let name = self.stream_name.as_bytes();
        let name_length = u8::try_from(name.len()).expect("stream names have at most 249 bytes");
        let mut payload = Vec::with_capacity(33 + name.len());
        payload.extend_from_slice(&self.stream.to_bytes());
        payload.extend_from_slice(&self.shard.as_u32().to_be_bytes());
        payload.extend_from_slice(&self.place.epoch.number().to_be_bytes());
        payload.extend_from_slice(&self.place.offset.number().to_be_bytes());
        payload.push(name_length);
        payload.extend_from_slice(name);
        let raw_bytes = 152 + (name.len() + 2) / 16 * 16;
        sealed_token::seal(key, Purpose::ShardIterator, now, &payload, raw_bytes)
    }

    /// Reads what a client sent. Quotation marks around it are let pass: some shells leave them.
    pub(crate) fn open(
        text: &str,
        key: &[u8; 32],
        now: Timestamp,
    ) -> Result<ShardIterator, KinesisError> {
        let invalid = || KinesisError::invalid_argument("Invalid ShardIterator.");
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let opened = sealed_token::open(key, Purpose::ShardIterator, now, inner.unwrap_or(text));
        let payload = opened.map_err(|error| match error {
            TokenError::Invalid => invalid(),
            TokenError::Expired { issued } => {
                KinesisError::expired_iterator(sealed_token::expired_text("Iterator", issued, now))
            }
        })?;
        // The code held, so we wrote this; what does not parse was written by another version.
        ShardIterator::parse(&payload).ok_or_else(invalid)
    }

    fn parse(payload: &[u8]) -> Option<ShardIterator> {
        let (stream, rest) = payload.split_first_chunk::<16>()?;
        let (shard, rest) = rest.split_first_chunk::<4>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (name_length, rest) = rest.split_first()?;
        let name = rest.get(..usize::from(*name_length))?;
        Some(ShardIterator {
            stream: StreamId::from_bytes(*stream),
            stream_name: std::str::from_utf8(name).ok()?.to_owned(),
            shard: PartitionIndex::try_from(i64::from(u32::from_be_bytes(*shard))).ok()?,
            place: RememberedPlace {
                epoch: LogEpoch::new(u32::from_be_bytes(*epoch))?,
                offset: Offset::new(u64::from_be_bytes(*offset)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::ErrorKind;

    const KEY: [u8; 32] = [1; 32];
    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn iterator(name: &str) -> ShardIterator {
        ShardIterator {
            stream: StreamId::from_bytes([3; 16]),
            stream_name: name.to_owned(),
            shard: PartitionIndex::try_from(7).expect("a shard index"),
            place: RememberedPlace {
                epoch: LogEpoch::new(2).expect("an epoch"),
                offset: Offset::new(1 << 42),
            },
        }
    }

    #[test]
    fn an_iterator_reads_back_and_is_as_long_as_awss() {
        for (name_length, length) in [(1, 204), (13, 204), (14, 224), (128, 376)] {
            let iterator = iterator(&"s".repeat(name_length));
            let text = iterator.seal(&KEY, NOW);
            assert_eq!(text.len(), length, "a name of {name_length}");
            assert!(text.starts_with("AAAAAAAAAAE"));
            assert_eq!(ShardIterator::open(&text, &KEY, NOW), Ok(iterator.clone()));
            let quoted = format!("\"{text}\"");
            assert_eq!(ShardIterator::open(&quoted, &KEY, NOW), Ok(iterator));
        }
    }

    #[test]
    fn wrong_and_old_iterators_get_awss_answers() {
        let invalid = KinesisError::invalid_argument("Invalid ShardIterator.");
        let text = iterator("s").seal(&KEY, NOW);
        for wrong in ["", "a", "\"", "AAAA", &text[1..], &text.to_lowercase()] {
            assert_eq!(ShardIterator::open(wrong, &KEY, NOW), Err(invalid.clone()), "{wrong}");
        }
        let later = NOW.plus_millis(sealed_token::LIFE_MS + 1);
        let expired = ShardIterator::open(&text, &KEY, later).expect_err("too old");
        assert_eq!(expired.kind, ErrorKind::ExpiredIterator);
    }
}
