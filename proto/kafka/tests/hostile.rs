//! Bytes of a hostile sender: cut short, or with lengths that lie, at every position of every
//! message and version.
//!
//! Whatever happens must be an error or a harmless value. A panic would end the broker, and so
//! would memory taken on the word of a length, so the process's peak memory is watched too.

mod fixtures;

use bytes::{Bytes, BytesMut};
use fixtures::Group;
use weir_kafka_protocol::message::Visitor;
use weir_kafka_protocol::messages::{visit_request, visit_response};
use weir_kafka_protocol::{ApiKey, DecodeError, Message, Reader, RequestHeader};

/// Lengths that lie, in the older encoding (2 and 4 bytes) and as varints: null, -2, and the
/// largest there are.
const LYING_LENGTHS: [&[u8]; 10] = [
    &[0xff, 0xff],
    &[0xff, 0xfe],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0x00],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

/// All frames here are small, so the budget of any is its minimum; a decoder that trusts lengths
/// takes gigabytes.
const MEMORY_GROWTH_MAX_BYTES: u64 = 64 << 20;

fn messages() -> Vec<Group> {
    fixtures::parse(include_bytes!("../testdata/messages.bin"))
}

struct Decode(Bytes, i16);

impl Visitor for Decode {
    type Output = Result<(), DecodeError>;

    fn visit<M: Message + Clone + PartialEq + std::fmt::Debug + Default>(self) -> Self::Output {
        M::decode_all(self.0, self.1).map(drop)
    }
}

/// Decodes bytes as the message that a fixture's name names.
fn decode(name: &str, version: i16, bytes: Bytes) -> Result<(), DecodeError> {
    let (request, response) = (name.strip_suffix("Request"), name.strip_suffix("Response"));
    let api_name = request.or(response).expect("messages are requests or responses");
    let api_key = *ApiKey::ALL.iter().find(|key| key.name() == api_name).expect(api_name);
    let visitor = Decode(bytes, version);
    if request.is_some() {
        visit_request(api_key, visitor)
    } else {
        visit_response(api_key, visitor)
    }
}

#[test]
fn a_message_cut_short_anywhere_is_an_error() {
    for Group { name, version, samples } in messages() {
        for sample in samples.iter().take(3) {
            for length in 0..sample.len() {
                let result = decode(&name, version, sample.slice(..length));
                let error = result.expect_err(&format!("{name} v{version} cut to {length} bytes"));
                assert!(error.position <= length, "{name} v{version}: {error}");
            }
        }
    }
}

#[test]
fn bytes_after_a_message_are_an_error() {
    for Group { name, version, samples } in messages() {
        for sample in &samples {
            let mut longer = BytesMut::from(&sample[..]);
            longer.extend_from_slice(&[0]);
            decode(&name, version, longer.freeze())
                .expect_err(&format!("{name} v{version} with a byte after it"));
        }
    }
}

#[test]
fn lengths_that_lie_take_no_memory_and_do_not_panic() {
    let before = peak_memory_bytes();
    for Group { name, version, samples } in messages() {
        let full = samples.get(1).expect("the second sample has every field");
        for position in 0..full.len() {
            for lie in LYING_LENGTHS {
                let mut bytes = BytesMut::from(&full[..]);
                let end = bytes.len().min(position + lie.len());
                let place = bytes.get_mut(position..end).expect("within the message");
                place.copy_from_slice(lie.get(..place.len()).expect("no longer than the lie"));
                // Many of these are still valid values; only a panic or an allocation would be
                // wrong.
                let _ = decode(&name, version, bytes.freeze());
            }
        }
    }
    let growth = peak_memory_bytes().saturating_sub(before);
    assert!(growth < MEMORY_GROWTH_MAX_BYTES, "memory grew by {growth} bytes");
}

/// The most memory that this process has had resident, or 0 where Linux does not say.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[test]
fn versions_that_do_not_exist_are_refused() {
    for api_key in ApiKey::ALL {
        let definition = api_key.definition();
        for version in
            [i16::MIN, -1, definition.version_min - 1, definition.version_max + 1, i16::MAX]
        {
            for kind in ["Request", "Response"] {
                let name = format!("{}{kind}", definition.name);
                decode(&name, version, Bytes::from_static(&[0; 64])).expect_err(&name);
            }
        }
    }
}

#[test]
fn headers_cut_short_are_errors() {
    for Group { name, samples, .. } in fixtures::parse(include_bytes!("../testdata/headers.bin")) {
        for sample in samples.iter().filter(|_| name.ends_with("Request")) {
            for length in 0..sample.len() {
                let mut reader = Reader::new(sample.slice(..length));
                RequestHeader::decode(&mut reader).expect_err(&name);
            }
        }
    }
}
