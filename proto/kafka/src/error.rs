//! Why bytes could not be read as a message, or a message not written as bytes.
//!
//! A [`DecodeError`] blames the sender and carries the position, so that a log line can be held
//! against a hex dump. An [`EncodeError`] blames us: the value cannot be expressed in the version
//! that was asked for.

use std::fmt;

/// Bytes that are not a message of the expected type and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// Bytes from the start of the frame to the start of what could not be read.
    pub position: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named in the sentence above them")]
pub enum DecodeErrorKind {
    /// A fixed-size field needs more bytes than remain.
    Truncated { needed: usize, remaining: usize },
    /// A string, byte field or tagged field announces more bytes than remain.
    LengthExceedsFrame { length: usize, remaining: usize },
    /// An array announces more elements than the remaining bytes can hold, however small each is.
    CountExceedsFrame { count: usize, remaining: usize },
    /// A length below -1, or above what its type allows.
    InvalidLength(i64),
    /// A null where the field may not be null in this version.
    UnexpectedNull,
    /// A variable-length integer runs past the bits of its type.
    VarintOverflow,
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// The elements would take more memory than the frame's size justifies.
    MemoryBudgetExceeded { requested: usize, left: usize },
    /// A known tagged field ended before the size that it announced.
    TaggedFieldTrailingBytes(usize),
    /// Bytes after the end of the message.
    TrailingBytes(usize),
    /// The message does not exist in this version.
    UnsupportedVersion(i16),
    /// No request with this key is known, so not even its header can be read.
    UnknownApiKey(i16),
    /// A record of an internal topic whose type number is not known, or not the expected one.
    UnknownRecordType(i16),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use DecodeErrorKind::*;
        match self.kind {
            Truncated { needed, remaining } => {
                write!(f, "needs {needed} bytes, {remaining} remain")
            }
            LengthExceedsFrame { length, remaining } => {
                write!(f, "length {length} exceeds the {remaining} bytes that remain")
            }
            CountExceedsFrame { count, remaining } => {
                write!(f, "{count} elements cannot fit in the {remaining} bytes that remain")
            }
            InvalidLength(length) => write!(f, "invalid length {length}"),
            UnexpectedNull => write!(f, "null in a field that may not be null"),
            VarintOverflow => write!(f, "variable-length integer is too long"),
            InvalidUtf8 => write!(f, "string is not UTF-8"),
            MemoryBudgetExceeded { requested, left } => {
                write!(
                    f,
                    "elements need {requested} bytes of memory, {left} are left for this frame"
                )
            }
            TaggedFieldTrailingBytes(count) => {
                write!(f, "tagged field has {count} bytes after its value")
            }
            TrailingBytes(count) => write!(f, "{count} bytes after the end of the message"),
            UnsupportedVersion(version) => write!(f, "unsupported version {version}"),
            UnknownApiKey(api_key) => write!(f, "unknown api key {api_key}"),
            UnknownRecordType(record_type) => write!(f, "unknown record type {record_type}"),
        }?;
        write!(f, " at byte {}", self.position)
    }
}

impl std::error::Error for DecodeError {}

/// A value that the wire format of the asked-for version cannot express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named in the sentence above them")]
pub enum EncodeError {
    /// A field that this version lacks holds something else than its default, and dropping it would
    /// change the meaning.
    FieldNotInVersion { field: &'static str, version: i16 },
    /// A field holds null, which this version cannot say.
    NullNotInVersion { field: &'static str, version: i16 },
    /// A string above 32,767 bytes, or bytes or an array above 2,147,483,647.
    TooLong(usize),
    /// The message does not exist in this version.
    UnsupportedVersion { message: &'static str, version: i16 },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldNotInVersion { field, version } => {
                write!(f, "{field} is set, but version {version} does not have it")
            }
            Self::NullNotInVersion { field, version } => {
                write!(f, "{field} is null, which version {version} does not allow")
            }
            Self::TooLong(length) => {
                write!(f, "length {length} is above what the wire format allows")
            }
            Self::UnsupportedVersion { message, version } => {
                write!(f, "{message} has no version {version}")
            }
        }
    }
}

impl std::error::Error for EncodeError {}

/// A field that is set although `version` lacks it; called by generated code.
#[cold]
#[doc(hidden)]
pub fn not_in_version(field: &'static str, version: i16) -> EncodeError {
    EncodeError::FieldNotInVersion { field, version }
}

/// The value of a field that may not be null in `version`; called by generated code.
#[doc(hidden)]
pub fn not_null<T>(value: Option<T>, field: &'static str, version: i16) -> Result<T, EncodeError> {
    value.ok_or(EncodeError::NullNotInVersion { field, version })
}
