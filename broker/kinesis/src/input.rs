//! The members of a request, after their types were checked.

use std::borrow::Cow;

use bytes::Bytes;
use weir_model::time::Timestamp;

use crate::wire::Value;

/// A structure's members. Asking for one that is absent, or that the operation's table gives
/// another type, gives nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(&'a [(Cow<'a, str>, Value<'a>)]);

impl<'a> Input<'a> {
    /// Views converted members.
    pub(crate) fn new(members: &'a [(Cow<'a, str>, Value<'a>)]) -> Input<'a> {
        Input(members)
    }

    /// A member as it is.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value<'a>> {
        let (_, value) = self.0.iter().find(|(member, _)| member == name)?;
        Some(value)
    }

    /// A member that is text.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A member that is a whole number.
    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether a truth value is there and true.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Boolean(true)))
    }

    /// A member that is a blob.
    pub(crate) fn blob(&self, name: &str) -> Option<&'a Bytes> {
        match self.value(name)? {
            Value::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A member that is a time.
    pub(crate) fn timestamp(&self, name: &str) -> Option<Timestamp> {
        match self.value(name)? {
            Value::Timestamp(time) => Some(*time),
            _ => None,
        }
    }

    /// A member that is a structure.
    pub(crate) fn structure(&self, name: &str) -> Option<Input<'a>> {
        match self.value(name)? {
            Value::Map(members) => Some(Input(members)),
            _ => None,
        }
    }

    /// The texts of a member that is a list of them; none if it is absent.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let elements = match self.value(name) {
            Some(Value::List(elements)) => elements.as_slice(),
            _ => &[],
        };
        elements.iter().filter_map(|element| match element {
            Value::Text(text) => Some(text.as_ref()),
            _ => None,
        })
    }

    /// The entries of a member that maps text to text; none if it is absent. A value that is null
    /// is empty.
    pub(crate) fn text_map(&self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let entries = match self.value(name) {
            Some(Value::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(key, value)| match value {
            Value::Text(text) => (key.as_ref(), text.as_ref()),
            _ => (key.as_ref(), ""),
        })
    }

    /// The structures of a member that is a list of them; none if it is absent.
    pub(crate) fn structures(&self, name: &str) -> impl Iterator<Item = Input<'a>> {
        let elements = match self.value(name) {
            Some(Value::List(elements)) => elements.as_slice(),
            _ => &[],
        };
        elements.iter().filter_map(|element| match element {
            Value::Map(members) => Some(Input(members.as_slice())),
            _ => None,
        })
    }
}
