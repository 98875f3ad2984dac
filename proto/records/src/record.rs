//! The two bytes before a record's key or value, which say how to read the rest.
//!
//! Before a key stands its record type, since one topic holds several kinds of record; keys have no
//! other version than 0. Before a value, and before the consumer protocol's metadata, stands the
//! version of its format.
//!
//! Formats are read from our own log and, for the consumer protocol, from clients; either way the
//! bytes are checked as strictly as those of a request.

use bytes::Bytes;
use weir_kafka_protocol::{DecodeError, DecodeErrorKind, EncodeError, Message, Reader, Writer};

/// Keys have had no other version so far, and their two bytes leave no room for one.
const KEY_VERSION: i16 = 0;

/// The key of a record in an internal topic.
pub trait RecordKey: Message {
    /// Tells the records of one topic apart. Numbers of different topics overlap.
    const RECORD_TYPE: i16;
}

/// The record type that a key begins with.
pub fn record_type(key: &Bytes) -> Result<i16, DecodeError> {
    Reader::new(key.clone()).i16()
}

/// Reads a key of a known type, all of it.
pub fn decode_key<K: RecordKey>(key: Bytes) -> Result<K, DecodeError> {
    let mut reader = Reader::new(key);
    let found = reader.i16()?;
    if found != K::RECORD_TYPE {
        return Err(DecodeError { position: 0, kind: DecodeErrorKind::UnknownRecordType(found) });
    }
    let key = K::decode(&mut reader, KEY_VERSION)?;
    reader.finish()?;
    Ok(key)
}

/// Writes a key behind its type.
pub fn encode_key<K: RecordKey>(key: &K) -> Result<Bytes, EncodeError> {
    encode_behind(K::RECORD_TYPE, KEY_VERSION, key)
}

/// Reads a value in the version that it begins with, all of it.
pub fn decode_versioned<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    let message = M::decode(&mut reader, version)?;
    reader.finish()?;
    Ok(message)
}

/// Reads consumer-protocol metadata as Kafka does: a version above the last known one is read as
/// the last known one, and bytes after it are ignored, since newer clients append fields.
pub fn decode_versioned_prefix<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(value);
    let (_, last) = M::VERSIONS;
    let version = reader.i16()?.min(last);
    M::decode(&mut reader, version)
}

/// Reads only what version 0 has: every version of consumer-protocol metadata begins with it.
pub fn decode_first_version<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(value);
    reader.i16()?;
    M::decode(&mut reader, 0)
}

/// Writes a value, or consumer-protocol metadata, behind its version.
pub fn encode_versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    encode_behind(version, version, message)
}

fn encode_behind<M: Message>(prefix: i16, version: i16, message: &M) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(prefix);
    message.encode(&mut writer, version)?;
    let bytes = writer.finish().into_bytes();
    Ok(bytes.expect("records of internal topics hold no record sets, hence no external parts"))
}
