//! What every generated type can do, and what every whole message knows of itself.

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::reader::Reader;
use crate::records::Gather;
use crate::uuid::Uuid;
use crate::writer::Writer;

/// A value that stands on the wire: an array's element, a struct, or a message's body.
///
/// Generated for structs. Callers use [`Message`], which also chooses the encoding; these two
/// methods rely on that choice having been made.
pub trait Wire: Sized {
    /// The fewest bytes that a value takes in any version; never 0.
    const WIRE_BYTES_MIN: usize;

    /// Reads the fields that `version` has.
    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the fields that `version` has.
    fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A message that is sent or stored by itself, in one of several versions.
pub trait Message: Wire {
    /// Kafka's name, such as `FetchRequest`.
    const NAME: &'static str;
    /// First and last version that exist.
    const VERSIONS: (i16, i16);
    /// First version with compact lengths and tagged fields; `None` if there is none.
    const FLEXIBLE_FROM: Option<i16>;

    /// Whether `version` has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool {
        Self::FLEXIBLE_FROM.is_some_and(|first| version >= first)
    }

    /// Whether `version` exists.
    fn has_version(version: i16) -> bool {
        let (first, last) = Self::VERSIONS;
        (first..=last).contains(&version)
    }

    /// Reads a body. What follows it in the frame is left to the caller: see [`Reader::finish`].
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::has_version(version) {
            return Err(reader.error(DecodeErrorKind::UnsupportedVersion(version)));
        }
        reader.set_flexible(Self::is_flexible(version));
        Self::read(reader, version)
    }

    /// Reads a body that must fill `bytes` exactly.
    fn decode_all(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(message)
    }

    /// Writes a body. On an error the writer holds half a message and must be dropped.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::has_version(version) {
            return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        writer.set_flexible(Self::is_flexible(version));
        self.write(writer, version)
    }

    /// The body alone, without header or length.
    fn encode_body(&self, version: i16) -> Result<Gather, EncodeError> {
        let mut writer = Writer::new();
        self.encode(&mut writer, version)?;
        Ok(writer.finish())
    }
}

/// A message that a client sends.
pub trait Request: Message {
    /// Names it on the wire.
    const API_KEY: ApiKey;
    /// What answers it.
    type Response: Response;
}

/// A message that answers a [`Request`] of the same key and version.
pub trait Response: Message {
    /// Names the request that it answers.
    const API_KEY: ApiKey;

    /// How long the broker will not read on, where the message can say so in some version; in the
    /// others it is left out.
    fn throttle_time_ms(&mut self) -> Option<&mut i32> {
        None
    }

    /// The error of the request as a whole, where the message has such a field in every version.
    fn error_code(&mut self) -> Option<&mut i16> {
        None
    }
}

/// Does something with a message type that is known only at run time: see
/// `messages::visit_request`.
pub trait Visitor {
    /// What is found out.
    type Output;

    /// Called with the type.
    fn visit<M: Message + Clone + PartialEq + std::fmt::Debug + Default>(self) -> Self::Output;
}

macro_rules! wire_scalar {
    ($type:ty, $method:ident) => {
        impl Wire for $type {
            const WIRE_BYTES_MIN: usize = size_of::<$type>();

            fn read(reader: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
                reader.$method()
            }

            fn write(&self, writer: &mut Writer, _version: i16) -> Result<(), EncodeError> {
                writer.$method(*self);
                Ok(())
            }
        }
    };
}

wire_scalar!(i8, i8);
wire_scalar!(i16, i16);
wire_scalar!(i32, i32);
wire_scalar!(i64, i64);
wire_scalar!(Uuid, uuid);

impl Wire for String {
    // A compact empty string.
    const WIRE_BYTES_MIN: usize = 1;

    fn read(reader: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
        reader.string()
    }

    fn write(&self, writer: &mut Writer, _version: i16) -> Result<(), EncodeError> {
        writer.string(self)
    }
}
