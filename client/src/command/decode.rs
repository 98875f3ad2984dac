//! `--decode`: what is inside of a value that was packed before it was written.
//!
//! ```text
//!   base64 ─> gzip ─> kpl ─┬─> record 0     what a Kinesis producer makes of many small records,
//!                          ├─> record 1     packed by whoever forwards them as text
//!                          └─> record 2
//! ```
//!
//! Values are printed as they are unless it is asked for. `auto` unpacks what says of itself what
//! it is, and leaves alone what does not, or what is damaged: gzip and zstd by their first bytes,
//! an aggregate by its first bytes and its digest, base64 only if one of those or a JSON object or
//! array is in it, since many a plain word could be base64. A chain that was named must fit every
//! value. All that a value becomes is bounded, whatever it claims.

mod kpl;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use weir_model::compression::{Codec, decompress};
use weir_model::limits::MIB;

use crate::record::Record;

/// Most bytes that all steps together may make of a value; 64 times what Kinesis takes, or what
/// Kafka does by default.
const UNPACKED_BYTES_MAX: usize = 64 * MIB;
/// Most steps that `auto` takes: nobody packs more often, but a made-up value could.
const STEPS_MAX: usize = 8;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What is to be unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Decoding {
    /// Nothing.
    #[default]
    None,
    /// What says what it is.
    Auto,
    /// This, in this order.
    Chain(Vec<Step>),
}

/// One way in which values are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Base64,
    Gzip,
    Zstd,
    Kpl,
}

const STEPS: [Step; 4] = [Step::Base64, Step::Gzip, Step::Zstd, Step::Kpl];

/// A record as it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) record: Record,
    /// What was undone to get at it, the outermost first.
    pub(crate) steps: Vec<Step>,
    /// Its number in the aggregate that it came in, from 0.
    pub(crate) sub_sequence: Option<u64>,
}

impl Decoded {
    /// A record as it was written.
    pub(crate) fn plain(record: Record) -> Decoded {
        Decoded { record, steps: Vec::new(), sub_sequence: None }
    }

    /// What was undone, as `gzip,kpl`; `-` if nothing was.
    pub(crate) fn chain(&self) -> String {
        if self.steps.is_empty() {
            return "-".to_owned();
        }
        let names: Vec<&str> = self.steps.iter().map(|step| step.name()).collect();
        names.join(",")
    }

    fn is_aggregated(&self) -> bool {
        self.sub_sequence.is_some()
    }
}

impl Step {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Step::Base64 => "base64",
            Step::Gzip => "gzip",
            Step::Zstd => "zstd",
            Step::Kpl => "kpl",
        }
    }

    /// The step that undoes what this value says it is.
    fn of(value: &[u8]) -> Option<Step> {
        match Step::by_magic(value) {
            Some(step) => Some(step),
            None if is_worth_decoding(value) => Some(Step::Base64),
            None => None,
        }
    }

    fn by_magic(value: &[u8]) -> Option<Step> {
        let magics = [(GZIP_MAGIC, Step::Gzip), (ZSTD_MAGIC, Step::Zstd), (kpl::MAGIC, Step::Kpl)];
        magics.into_iter().find(|(magic, _)| value.starts_with(magic)).map(|(_, step)| step)
    }

    /// What the record becomes: one record or, out of an aggregate, many. Never none. Takes the
    /// bytes that it makes from those that are left.
    fn undo(self, packed: &Decoded, bytes_left: &mut usize) -> Result<Vec<Decoded>, String> {
        let value = packed.record.value.clone().unwrap_or_default();
        let wrong = |why: &dyn fmt::Display| format!("its value is no {}: {why}", self.name());
        let value = match self {
            // What a line end adds is not meant.
            Step::Base64 => {
                STANDARD.decode(value.trim_ascii()).map(Bytes::from).map_err(|why| wrong(&why))?
            }
            Step::Gzip => {
                decompress(Codec::Gzip, &value, *bytes_left).map_err(|why| wrong(&why))?
            }
            Step::Zstd => {
                decompress(Codec::Zstd, &value, *bytes_left).map_err(|why| wrong(&why))?
            }
            Step::Kpl if packed.is_aggregated() => {
                return Err(wrong(&"it was in an aggregate already"));
            }
            Step::Kpl => return kpl_records(packed, &value).map_err(|why| wrong(&why)),
        };
        *bytes_left = bytes_left.saturating_sub(value.len());
        let mut unpacked = packed.clone();
        unpacked.record.value = Some(value);
        unpacked.steps.push(self);
        Ok(vec![unpacked])
    }
}

fn kpl_records(packed: &Decoded, value: &Bytes) -> Result<Vec<Decoded>, kpl::NoAggregate> {
    let mut steps = packed.steps.clone();
    steps.push(Step::Kpl);
    let records = kpl::records(value)?.into_iter().zip(0..).map(|(inner, sub_sequence)| Decoded {
        record: Record {
            key: Some(inner.partition_key),
            value: Some(inner.data),
            ..packed.record.clone()
        },
        steps: steps.clone(),
        sub_sequence: Some(sub_sequence),
    });
    Ok(records.collect())
}

/// Whether a value is base64 of something that can be known again.
fn is_worth_decoding(value: &[u8]) -> bool {
    let text = value.trim_ascii();
    let Ok(inner) = STANDARD.decode(text) else { return false };
    let is_json = || {
        matches!(inner.first(), Some(b'{' | b'['))
            && serde_json::from_slice::<serde::de::IgnoredAny>(&inner).is_ok()
    };
    Step::by_magic(&inner).is_some() || is_json()
}

impl Decoding {
    /// The records that are in this one; itself if nothing is to be unpacked.
    ///
    /// # Errors
    ///
    /// A sentence, when a chain was named that the value does not fit.
    pub(crate) fn records(&self, record: Record) -> Result<Vec<Decoded>, String> {
        let mut records = vec![Decoded::plain(record)];
        let mut bytes_left = UNPACKED_BYTES_MAX;
        match self {
            Decoding::None => {}
            Decoding::Auto => {
                for _ in 0..STEPS_MAX {
                    let (next, is_final) = unpacked_once(records, &mut bytes_left);
                    records = next;
                    if is_final {
                        break;
                    }
                }
            }
            Decoding::Chain(steps) => {
                for step in steps {
                    let mut next = Vec::new();
                    for record in &records {
                        next.extend(step.undo(record, &mut bytes_left)?);
                    }
                    records = next;
                }
            }
        }
        Ok(records)
    }
}

/// One step further into each record; whether none had any.
fn unpacked_once(records: Vec<Decoded>, bytes_left: &mut usize) -> (Vec<Decoded>, bool) {
    let mut next = Vec::with_capacity(records.len());
    let mut is_final = true;
    for record in records {
        let step = record.record.value.as_deref().and_then(Step::of);
        match step.map(|step| step.undo(&record, bytes_left)) {
            Some(Ok(inner)) => {
                is_final = false;
                next.extend(inner);
            }
            // What is damaged is shown as it is.
            Some(Err(_)) | None => next.push(record),
        }
    }
    (next, is_final)
}

impl FromStr for Decoding {
    type Err = String;

    fn from_str(text: &str) -> Result<Decoding, String> {
        let step = |name: &str| {
            let found = STEPS.into_iter().find(|step| step.name() == name);
            found.ok_or_else(|| format!("{name} is none of base64, gzip, zstd, kpl"))
        };
        match text {
            "none" => Ok(Decoding::None),
            "auto" => Ok(Decoding::Auto),
            _ => text.split(',').map(step).collect::<Result<_, _>>().map(Decoding::Chain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Place;
    use weir_model::compression::compress;

    fn record(value: &[u8]) -> Record {
        Record {
            sequence_number: None,
            stream: "clicks".into(),
            place: Place { partition: 0, offset: 9, timestamp_ms: 1 },
            key: Some(Bytes::from_static(b"outer")),
            value: Some(Bytes::copy_from_slice(value)),
            headers: Vec::new(),
        }
    }

    fn packed(codec: Codec, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(codec, value, &mut out);
        out
    }

    fn base64(value: &[u8]) -> Vec<u8> {
        STANDARD.encode(value).into_bytes()
    }

    fn seen(decoding: &str, value: &[u8]) -> Result<Vec<(String, Bytes)>, String> {
        let decoding: Decoding = decoding.parse().expect("a legal chain");
        let records = decoding.records(record(value))?;
        let told = |one: Decoded| (one.chain(), one.record.value.unwrap_or_default());
        Ok(records.into_iter().map(told).collect())
    }

    #[test]
    fn auto_goes_as_far_as_values_say_what_they_are() {
        let aggregate = kpl::tests::aggregate(&[("a", b"one"), ("b", b"two")]);
        let one =
            |chain: &str, value: &[u8]| vec![(chain.to_owned(), Bytes::copy_from_slice(value))];
        for (value, expected) in [
            (b"plain".to_vec(), one("-", b"plain")),
            // Each of these could be base64 of something.
            (b"abcd".to_vec(), one("-", b"abcd")),
            (b"".to_vec(), one("-", b"")),
            (base64(b"hello"), one("-", &base64(b"hello"))),
            (base64(b"{\"a\":1}"), one("base64", b"{\"a\":1}")),
            (packed(Codec::Gzip, b"zipped"), one("gzip", b"zipped")),
            (packed(Codec::Zstd, b"zipped"), one("zstd", b"zipped")),
            (base64(&packed(Codec::Gzip, b"zipped")), one("base64,gzip", b"zipped")),
            (b"\x1f\x8b\x08 damaged".to_vec(), one("-", b"\x1f\x8b\x08 damaged")),
        ] {
            assert_eq!(seen("auto", &value), Ok(expected), "{value:?}");
        }
        let both = |chain: &str| {
            [&b"one"[..], b"two"].map(|value| (chain.to_owned(), value.into())).to_vec()
        };
        assert_eq!(seen("auto", &aggregate), Ok(both("kpl")));
        let wrapped = base64(&packed(Codec::Gzip, &aggregate));
        assert_eq!(seen("auto", &wrapped), Ok(both("base64,gzip,kpl")));
        assert_eq!(seen("none", &wrapped), Ok(one("-", &wrapped)));
    }

    #[test]
    fn records_of_an_aggregate_have_their_keys_and_numbers() {
        let aggregate = kpl::tests::aggregate(&[("a", b"one"), ("b", b"two"), ("a", b"three")]);
        let records = Decoding::Auto.records(record(&aggregate)).expect("auto never fails");
        let told: Vec<_> = records
            .iter()
            .map(|one| (one.record.key.clone().unwrap_or_default(), one.sub_sequence))
            .collect();
        let expected = [("a", 0), ("b", 1), ("a", 2)];
        assert_eq!(told, expected.map(|(key, number)| (Bytes::from(key), Some(number))));
        assert!(records.iter().all(|one| one.record.place.offset == 9));
    }

    #[test]
    fn a_named_chain_must_fit() {
        let value = base64(b"hello");
        assert_eq!(seen("base64", &value), Ok(vec![("base64".to_owned(), "hello".into())]));
        assert!(seen("gzip", &value).is_err_and(|why| why.contains("no gzip")));
        assert!(seen("base64,kpl", &value).is_err());
        assert!(seen("kpl,kpl", &kpl::tests::aggregate(&[("a", b"x")])).is_err());
        for wrong in ["", "gzip,", "rot13", "auto,gzip", "Gzip"] {
            assert!(wrong.parse::<Decoding>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bomb_is_left_as_it_is() {
        let bomb = packed(Codec::Gzip, &vec![0; UNPACKED_BYTES_MAX + 1]);
        let records = seen("auto", &bomb).expect("auto never fails");
        assert_eq!(records, [("-".to_owned(), Bytes::from(bomb.clone()))]);
        assert!(seen("gzip", &bomb).is_err_and(|why| why.contains("more than")));
    }

    #[test]
    fn many_small_bombs_are_one() {
        let half = packed(Codec::Zstd, &vec![0; UNPACKED_BYTES_MAX / 2]);
        let aggregate = kpl::tests::aggregate(&["a", "b", "c"].map(|key| (key, half.as_slice())));
        let records = seen("auto", &aggregate).expect("auto never fails");
        let bytes: usize = records.iter().map(|(_, value)| value.len()).sum();
        assert!(bytes <= UNPACKED_BYTES_MAX + aggregate.len(), "{bytes}");
        assert_eq!(records.iter().filter(|(chain, _)| chain == "kpl,zstd").count(), 2);
    }

    #[test]
    fn however_often_it_is_packed_it_ends() {
        let mut value = b"{}".to_vec();
        for _ in 0..=STEPS_MAX {
            value = packed(Codec::Gzip, &value);
        }
        let records = seen("auto", &value).expect("auto never fails");
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].0.split(',').count(), STEPS_MAX);
    }
}
