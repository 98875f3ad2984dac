//! Record sets inside messages, and the gather list that a message becomes.
//!
//! A fetch response may carry 50 MiB of records that already lie in files. Copying them into the
//! response would double the work, so a message is not written as one buffer but as a list of
//! parts, in order:
//!
//! ```text
//!   Bytes: length, header, fields │ External: 1 MiB of segment 7 │ Bytes: fields │ External …
//! ```
//!
//! The connection's writer resolves each external part to bytes of exactly the length that was
//! announced.

use bytes::{Bytes, BytesMut};

/// The records of one partition in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordSet {
    /// In memory: always so after decoding, then a slice of the frame.
    Bytes(Bytes),
    /// `length` bytes that whoever sends the message fills in. `index` says which: its meaning is
    /// the caller's, who meets it again as [`Part::External`].
    #[allow(missing_docs, reason = "the fields are named in the sentence above them")]
    External { index: usize, length: usize },
}

impl RecordSet {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { length, .. } => *length,
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::External { .. } => None,
        }
    }
}

impl Default for RecordSet {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for RecordSet {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// One stretch of an encoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// In memory.
    Bytes(Bytes),
    /// See [`RecordSet::External`].
    #[allow(missing_docs, reason = "as there")]
    External { index: usize, length: usize },
}

impl Part {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { length, .. } => *length,
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An encoded message, in the order in which its parts are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gather {
    /// None is empty.
    pub parts: Vec<Part>,
}

impl Gather {
    /// Bytes that will be on the wire, external parts and the frame's length prefix (if it has one)
    /// included.
    pub fn total_length(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// The message as one buffer, or `None` if it has external parts. Copies unless there is only
    /// one part.
    pub fn into_bytes(mut self) -> Option<Bytes> {
        if self.parts.len() <= 1 {
            return match self.parts.pop() {
                None => Some(Bytes::new()),
                Some(Part::Bytes(bytes)) => Some(bytes),
                Some(Part::External { .. }) => None,
            };
        }
        let mut whole = BytesMut::with_capacity(self.total_length());
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => whole.extend_from_slice(bytes),
                Part::External { .. } => return None,
            }
        }
        Some(whole.freeze())
    }
}
