//! Holds every version of every record format against bytes that Kafka's own classes wrote.
//!
//! The same as `proto/kafka/tests/oracle.rs`, where the samples' origin is described.

#[path = "../../kafka/tests/fixtures/mod.rs"]
mod fixtures;

use std::collections::BTreeSet;

use bytes::Bytes;
use fixtures::{Dice, Group};
use weir_kafka_protocol::message::Visitor;
use weir_kafka_protocol::{Message, Reader};
use weir_kafka_records::messages::{self, consumer_protocol_subscription, offset_commit};
use weir_kafka_records::{
    RecordKey, decode_key, decode_versioned, decode_versioned_prefix, encode_key, encode_versioned,
    record_type,
};

fn records() -> Vec<Group> {
    fixtures::parse(include_bytes!("../testdata/records.bin"))
}

/// Reads bytes as the format and version of a group, and writes them again. `None` if they cannot
/// be read.
struct WrittenAgain<'a>(&'a Group, Bytes);

impl Visitor for WrittenAgain<'_> {
    type Output = Option<Bytes>;

    fn visit<M: Message + Clone + PartialEq + std::fmt::Debug + Default>(self) -> Option<Bytes> {
        let Self(Group { name, version, .. }, bytes) = self;
        assert_eq!(M::NAME, name);
        let mut reader = Reader::new(bytes);
        let prefix = reader.i16().ok()?;
        let message = M::decode(&mut reader, *version).ok()?;
        reader.finish().ok()?;
        let mut again = prefix.to_be_bytes().to_vec();
        let body = message.encode_body(*version).expect(name).into_bytes().expect(name);
        again.extend_from_slice(&body);
        Some(Bytes::from(again))
    }
}

#[test]
fn records_are_read_and_written_as_kafka_does() {
    for group in records() {
        for sample in &group.samples {
            let again = messages::visit(&group.name, WrittenAgain(&group, sample.clone()));
            assert_eq!(again, Some(Some(sample.clone())), "{} v{}", group.name, group.version);
        }
    }
}

struct Versions;

impl Visitor for Versions {
    type Output = (i16, i16);

    fn visit<M: Message + Clone + PartialEq + std::fmt::Debug + Default>(self) -> (i16, i16) {
        M::VERSIONS
    }
}

#[test]
fn every_version_that_exists_is_proven() {
    let proven: BTreeSet<(String, i16)> =
        records().into_iter().map(|group| (group.name, group.version)).collect();
    let mut exist = BTreeSet::new();
    for &name in messages::NAMES {
        let (first, last) = messages::visit(name, Versions).expect(name);
        exist.extend((first..=last).map(|version| (name.to_owned(), version)));
    }
    assert_eq!(proven, exist);
}

#[test]
fn keys_and_values_carry_the_prefix_that_kafka_writes() {
    for Group { name, version, samples } in records() {
        for sample in samples {
            let prefix = record_type(&sample).expect("two bytes");
            match name.as_str() {
                "OffsetCommitKey" => {
                    assert_eq!(prefix, offset_commit::OffsetCommitKey::RECORD_TYPE);
                    let key: offset_commit::OffsetCommitKey =
                        decode_key(sample.clone()).expect(&name);
                    assert_eq!(encode_key(&key).as_ref(), Ok(&sample));
                    let other = decode_key::<messages::group_metadata::GroupMetadataKey>(sample);
                    other.expect_err("a key of another type");
                }
                "OffsetCommitValue" => {
                    assert_eq!(prefix, version);
                    let value: offset_commit::OffsetCommitValue =
                        decode_versioned(sample.clone()).expect(&name);
                    assert_eq!(encode_versioned(&value, version), Ok(sample));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn metadata_of_a_newer_consumer_is_read_as_far_as_it_is_known() {
    use consumer_protocol_subscription::ConsumerProtocolSubscription;

    let known = ConsumerProtocolSubscription {
        topics: vec!["orders".to_owned()],
        rack_id: Some("here".to_owned()),
        ..Default::default()
    };
    let (_, last) = ConsumerProtocolSubscription::VERSIONS;
    let mut newer = encode_versioned(&known, last).expect("encodes").to_vec();
    newer.splice(..2, (last + 1).to_be_bytes());
    newer.extend_from_slice(b"a field of the future");
    let newer = Bytes::from(newer);
    assert_eq!(decode_versioned_prefix(newer.clone()), Ok(known));
    decode_versioned::<ConsumerProtocolSubscription>(newer).expect_err("strict");
}

#[test]
fn records_cut_short_are_errors_and_whatever_is_read_is_written_the_same_twice() {
    let mut dice = Dice(2026);
    let mut own = Vec::new();
    for group in records() {
        let mut written = Vec::new();
        for sample in &group.samples {
            for length in 0..sample.len() {
                let cut = WrittenAgain(&group, sample.slice(..length));
                assert_eq!(messages::visit(&group.name, cut), Some(None), "{}", group.name);
            }
            // The two bytes of the prefix are checked by others; here they are kept.
            let disturbed = [&sample[..2], &dice.disturb(&sample.slice(2..))].concat();
            let disturbed = WrittenAgain(&group, Bytes::from(disturbed));
            if let Some(first) = messages::visit(&group.name, disturbed).flatten() {
                let second =
                    messages::visit(&group.name, WrittenAgain(&group, first.clone())).flatten();
                assert_eq!(second.as_ref(), Some(&first), "{} v{}", group.name, group.version);
                written.push(first);
            }
        }
        own.push(Group { samples: written, ..group });
    }
    own.extend(records());
    fixtures::write_for_java("records.bin", &own);
}
