//! Headers and frames: what stands around a message's body on a connection.
//!
//! ```text
//!   request    length i32 │ api key i16 │ api version i16 │ correlation id i32
//!              │ client id string │ (tags) │ body
//!   response   length i32 │ correlation id i32 │ (tags) │ body
//! ```
//!
//! Tags are there when the body's version is flexible. Two oddities: the client id keeps its 2-byte
//! length even then, and the response to `ApiVersions` never has header tags, because a client that
//! asks does not yet know what the broker can parse.

use crate::api_key::ApiKey;
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::{Request, Response};
use crate::reader::Reader;
use crate::records::Gather;
use crate::writer::Writer;

/// What a request says about itself before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which request follows.
    pub api_key: ApiKey,
    /// As sent: it may be a version that nobody serves.
    pub api_version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
    /// A name that the client chose for itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads a header and leaves the reader at the body.
    ///
    /// The header of a known key is read whatever its version, so that `ApiVersions` can answer a
    /// version from the future. An unknown key is an error: where its header ends cannot be known.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let raw_key = reader.i16()?;
        let api_key = ApiKey::from_i16(raw_key)
            .ok_or_else(|| reader.error(DecodeErrorKind::UnknownApiKey(raw_key)))?;
        let api_version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let client_id = reader.legacy_nullable_string()?;
        reader.set_flexible(api_key.is_flexible(api_version));
        reader.skip_tags()?;
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }

    /// Writes a header.
    pub fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.i16(self.api_key.as_i16());
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        writer.legacy_nullable_string(self.client_id.as_deref())?;
        writer.set_flexible(self.api_key.is_flexible(self.api_version));
        writer.tags();
        Ok(())
    }
}

/// Reads the header of a response and returns its correlation id.
pub fn decode_response_header(
    reader: &mut Reader,
    api_key: ApiKey,
    version: i16,
) -> Result<i32, DecodeError> {
    let correlation_id = reader.i32()?;
    reader.set_flexible(api_key.response_header_version(version) >= 1);
    reader.skip_tags()?;
    Ok(correlation_id)
}

/// Writes the header of a response.
pub fn encode_response_header(
    writer: &mut Writer,
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
) {
    writer.i32(correlation_id);
    writer.set_flexible(api_key.response_header_version(version) >= 1);
    writer.tags();
}

/// A whole response as it is sent: length, header, body.
pub fn encode_response<R: Response>(
    correlation_id: i32,
    version: i16,
    response: &R,
) -> Result<Gather, EncodeError> {
    let mut writer = Writer::new();
    writer.i32(0);
    encode_response_header(&mut writer, R::API_KEY, version, correlation_id);
    response.encode(&mut writer, version)?;
    writer.finish_frame()
}

/// A whole request as it is sent: length, header, body.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    version: i16,
    request: &R,
) -> Result<Gather, EncodeError> {
    let header = RequestHeader {
        api_key: R::API_KEY,
        api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    let mut writer = Writer::new();
    writer.i32(0);
    header.encode(&mut writer)?;
    request.encode(&mut writer, version)?;
    writer.finish_frame()
}
