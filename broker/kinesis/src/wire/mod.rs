//! What a Kinesis body is made of, apart from what it means.
//!
//! AWS speaks two encodings of the same tree: JSON 1.1 (every SDK but Java's) and CBOR 1.1 (Java's
//! default, the KPL). A request is parsed into one [`Value`] tree whichever it is, so that type and
//! constraint errors come out the same; a reply is written straight into its encoding by
//! [`ReplyWriter`]. The two differ in more than bytes:
//!
//! | | JSON | CBOR |
//! |---|---|---|
//! | blob | base64 text | byte string |
//! | time | seconds, as a number with decimals | tag 1, **milliseconds** (RFC 8949: seconds) |
//! | maps, lists in requests | as usual | definite or indefinite length |
//!
//! Both parsers stop at [`DEPTH_MAX`] levels and [`VALUES_MAX`] values, so a small body cannot grow
//! into a large tree or a deep stack.

mod cbor;
pub(crate) mod event_stream;
mod json;
mod value;
mod writer;

use bytes::Bytes;

pub(crate) use value::Value;
pub(crate) use writer::ReplyWriter;

/// Deepest nesting of lists and maps that is read; the deepest request of the API has four levels.
pub(crate) const DEPTH_MAX: u32 = 32;

/// Most values in one body; a PutRecords of 500 records has under 3,000.
pub(crate) const VALUES_MAX: u32 = 65_536;

/// How a request's body is encoded; its reply is encoded the same way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    /// `application/x-amz-json-1.1`
    Json,
    /// `application/x-amz-cbor-1.1`
    Cbor,
}

impl Encoding {
    /// The encoding of this media type (without parameters), if Kinesis speaks it.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Encoding> {
        [Encoding::Json, Encoding::Cbor]
            .into_iter()
            .find(|encoding| encoding.media_type().eq_ignore_ascii_case(media_type))
    }

    /// What the `Content-Type` header says.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/x-amz-json-1.1",
            Encoding::Cbor => "application/x-amz-cbor-1.1",
        }
    }
}

/// A body that is not one well-formed value, or is nested too deep, or holds too many values.
/// AWS answers all of them with a `SerializationException` that has no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// Reads one body. The tree borrows the body's text, and a CBOR byte string is a slice of it.
pub(crate) fn parse(encoding: Encoding, body: &Bytes) -> Result<Value<'_>, Malformed> {
    match encoding {
        Encoding::Json => json::parse(body),
        Encoding::Cbor => cbor::parse(body),
    }
}
