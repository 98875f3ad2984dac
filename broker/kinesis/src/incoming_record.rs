//! Records on their way in, as PutRecord and PutRecords both take them.

use bytes::Bytes;
use weir_core::routing::route::RoutedRecord;
use weir_core::stream::stream::Stream;
use weir_model::hash_key::HashKey;

use crate::action::Call;
use crate::errors::KinesisError;
use crate::input::Input;
use crate::stream_settings::max_record_kib;

/// Reads the record among these members. Its key and, in CBOR, its data stay slices of the body.
pub(crate) fn routed_record(
    call: &Call<'_>,
    members: &Input<'_>,
) -> Result<RoutedRecord, KinesisError> {
    let key = members.text("PartitionKey").unwrap_or_default();
    let explicit_hash_key = match members.text("ExplicitHashKey") {
        None => None,
        Some(text) => Some(explicit_hash_key(text)?),
    };
    Ok(RoutedRecord {
        key: slice_of_body(call.body, key),
        explicit_hash_key,
        data: members.blob("Data").cloned().unwrap_or_default(),
    })
}

fn explicit_hash_key(text: &str) -> Result<HashKey, KinesisError> {
    text.parse().map_err(|_| {
        KinesisError::invalid_argument(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
             Specified value was {text}"
        ))
    })
}

/// Text as bytes without a copy where it stands in the body (it does not if it had escapes).
fn slice_of_body(body: &Bytes, text: &str) -> Bytes {
    let body_range = body.as_ptr_range();
    let text_range = text.as_bytes().as_ptr_range();
    if body_range.start <= text_range.start && text_range.end <= body_range.end {
        body.slice_ref(text.as_bytes())
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    }
}

/// Bytes that count against limits and quotas: key and data.
pub(crate) fn size_bytes(record: &RoutedRecord) -> usize {
    record.key.len() + record.data.len()
}

/// Refuses a record above the stream's limit, which is 1 MiB unless it was made larger.
pub(crate) fn check_record_size(
    call: &Call<'_>,
    stream: &Stream,
    record: &RoutedRecord,
) -> Result<(), KinesisError> {
    let limit_bytes = max_record_kib(&stream.config()) * 1024;
    let size_bytes = size_bytes(record);
    if size_bytes <= limit_bytes {
        return Ok(());
    }
    Err(KinesisError::record_too_large(
        size_bytes,
        limit_bytes,
        stream.name.as_str(),
        call.account(),
    ))
}
