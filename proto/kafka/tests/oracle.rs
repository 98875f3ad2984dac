//! Holds every version of every message against bytes that Kafka's own classes wrote.
//!
//! Read and written again, the bytes must be the same; as the samples give every field a value
//! other than its default somewhere, that proves both directions. `tests/oracle/run.sh` (needs a
//! JDK) makes the samples, and also passes values that Kafka's generator did not make back to
//! Kafka's classes.

mod fixtures;

use std::collections::BTreeSet;

use bytes::Bytes;
use fixtures::{Dice, Group};
use weir_kafka_protocol::message::Visitor;
use weir_kafka_protocol::messages::{visit_request, visit_response};
use weir_kafka_protocol::{ApiKey, ErrorCode, Message, Reader, RequestHeader, Writer, frame};

fn messages() -> Vec<Group> {
    fixtures::parse(include_bytes!("../testdata/messages.bin"))
}

/// Calls `visitor` with the type that a fixture's name names.
fn visit<V: Visitor>(name: &str, visitor: V) -> V::Output {
    let (request, response) = (name.strip_suffix("Request"), name.strip_suffix("Response"));
    let api_name = request.or(response).expect("messages are requests or responses");
    let api_key = *ApiKey::ALL.iter().find(|key| key.name() == api_name).expect(api_name);
    if request.is_some() {
        visit_request(api_key, visitor)
    } else {
        visit_response(api_key, visitor)
    }
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let gather = message.encode_body(version).expect("what was read can be written");
    gather.into_bytes().expect("what was read has no external parts")
}

struct RoundTrip<'a>(&'a Group);

impl Visitor for RoundTrip<'_> {
    type Output = ();

    fn visit<M: Message + Clone + PartialEq + std::fmt::Debug + Default>(self) {
        let Group { name, version, samples } = self.0;
        assert_eq!(M::NAME, name);
        for (index, sample) in samples.iter().enumerate() {
            let message = M::decode_all(sample.clone(), *version)
                .unwrap_or_else(|error| panic!("{name} v{version} sample {index}: {error}"));
            assert_eq!(
                encode(&message, *version),
                sample,
                "{name} v{version} sample {index}: {message:?}"
            );
            let is_default = samples.first() == Some(sample);
            assert_eq!(message == M::default(), is_default, "{name} v{version} sample {index}");
        }
    }
}

#[test]
fn messages_are_read_and_written_as_kafka_does() {
    for group in messages() {
        visit(&group.name, RoundTrip(&group));
    }
}

#[test]
fn every_version_that_exists_is_proven() {
    let proven: BTreeSet<(String, i16)> = messages()
        .into_iter()
        .map(|group| {
            assert!(group.samples.len() >= 3, "{} has too few samples", group.name);
            (group.name, group.version)
        })
        .collect();
    let mut exist = BTreeSet::new();
    for api_key in ApiKey::ALL {
        let definition = api_key.definition();
        for version in definition.version_min..=definition.version_max {
            exist.insert((format!("{}Request", definition.name), version));
            exist.insert((format!("{}Response", definition.name), version));
        }
    }
    assert_eq!(proven, exist);
}

#[test]
fn headers_are_read_and_written_as_kafka_does() {
    for Group { name, version, samples } in
        fixtures::parse(include_bytes!("../testdata/headers.bin"))
    {
        for sample in samples {
            let mut reader = Reader::new(sample.clone());
            let mut writer = Writer::new();
            let correlation_id = if name.ends_with("Request") {
                let header = RequestHeader::decode(&mut reader).expect(&name);
                assert_eq!(format!("{}Request", header.api_key.name()), name);
                assert_eq!(header.api_version, version, "{name}");
                header.encode(&mut writer).expect(&name);
                header.correlation_id
            } else {
                let api_name = name.strip_suffix("Response").expect(&name);
                let api_key = *ApiKey::ALL.iter().find(|key| key.name() == api_name).expect(&name);
                let id = frame::decode_response_header(&mut reader, api_key, version).expect(&name);
                frame::encode_response_header(&mut writer, api_key, version, id);
                id
            };
            reader.finish().expect(&name);
            assert_eq!(correlation_id, i32::from(version) - 5, "{name} v{version}");
            assert_eq!(writer.finish().into_bytes(), Some(sample), "{name} v{version}");
        }
    }
}

#[test]
fn error_codes_are_those_of_kafka() {
    let ours: Vec<String> = ErrorCode::DEFINITIONS
        .iter()
        .map(|known| format!("{}\t{}\t{}", known.code.0, known.name, known.retriable))
        .collect();
    let kafkas: Vec<&str> = include_str!("../testdata/errors.tsv").lines().collect();
    assert_eq!(ours, kafkas);
}

/// Reads disturbed bytes; what can still be read is a value that no generator of Kafka's made.
struct OwnValue(Bytes, i16);

impl Visitor for OwnValue {
    type Output = Option<Bytes>;

    fn visit<M: Message + Clone + PartialEq + std::fmt::Debug + Default>(self) -> Option<Bytes> {
        let Self(disturbed, version) = self;
        let message = M::decode_all(disturbed, version).ok()?;
        let written = encode(&message, version);
        let again = M::decode_all(written.clone(), version).expect("what was written can be read");
        assert_eq!(encode(&again, version), written, "{} v{version}: {message:?}", M::NAME);
        Some(written)
    }
}

#[test]
fn whatever_is_read_is_written_the_same_twice() {
    let mut dice = Dice(2026);
    let mut own = Vec::new();
    for Group { name, version, samples } in messages() {
        let mut written = Vec::new();
        for sample in &samples {
            for _ in 0..4 {
                let disturbed = dice.disturb(sample);
                written.extend(visit(&name, OwnValue(disturbed, version)));
            }
        }
        own.push(Group { name, version, samples: written });
    }
    let count: usize = own.iter().map(|group| group.samples.len()).sum();
    assert!(count > 1_000, "only {count} disturbed samples could be read");
    own.extend(messages());
    fixtures::write_for_java("messages.bin", &own);
}
