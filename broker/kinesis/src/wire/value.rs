//! The tree that both encodings are read into.

use std::borrow::Cow;

use bytes::Bytes;
use weir_model::time::Timestamp;

/// One value of a request's body. Text is borrowed from the body unless it had escapes.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    /// `null`, which means the same as leaving the member out.
    Null,
    Boolean(bool),
    /// A whole number; what does not fit is clamped, as AWS does.
    Integer(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// A byte string of CBOR, or base64 text once a blob was asked for.
    Blob(Bytes),
    /// A tagged time of CBOR, or a number once a time was asked for.
    Timestamp(Timestamp),
    List(Vec<Value<'a>>),
    /// Entries in the order of the body; of two with one name the last counts.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}
