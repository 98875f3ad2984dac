//! Records on their way in, as PutRecord and PutRecords both take them.

use bytes::Bytes;
use weir_core::routing::route::{RoutedRecord, WantedPlace};
use weir_core::stream::distribution::Distribution;
use weir_core::stream::record_size::record_kib_max;
use weir_core::stream::stream::Stream;
use weir_model::hash_key::HashKey;

use crate::action::Call;
use crate::errors::KinesisError;
use crate::input::Input;

/// Reads the record among these members. Its key and, in CBOR, its data stay slices of the body.
pub(crate) fn routed_record(
    call: &Call<'_>,
    members: &Input<'_>,
) -> Result<RoutedRecord, KinesisError> {
    let key = members.text("PartitionKey").unwrap_or_default();
    let wanted = match members.text("ExplicitHashKey") {
        None => WantedPlace::ByKey,
        Some(text) => WantedPlace::HashKey(explicit_hash_key(text)?),
    };
    Ok(RoutedRecord {
        key: Some(slice_of_body(call.body, key)).filter(|key| !key.is_empty()),
        value: Some(members.blob("Data").cloned().unwrap_or_default()),
        wanted,
        ..RoutedRecord::default()
    })
}

/// Whether each record of a stream must have a partition key. The model lets it be absent, for the
/// sake of streams whose records are spread evenly.
pub(crate) fn needs_partition_keys(stream: &Stream) -> bool {
    Distribution::of(stream) == Distribution::ByKey
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

/// Refuses records above a stream's limit, which is 1 MiB unless it was made larger.
pub(crate) struct RecordSizeLimit<'c> {
    stream: &'c Stream,
    account: &'c str,
    limit_bytes: usize,
}

impl<'c> RecordSizeLimit<'c> {
    /// The limit of this stream.
    pub(crate) fn of(call: &'c Call<'_>, stream: &'c Stream) -> RecordSizeLimit<'c> {
        RecordSizeLimit {
            stream,
            account: call.account(),
            limit_bytes: record_kib_max(&stream.config()) * 1024,
        }
    }

    /// Lets a record pass that is not above it.
    pub(crate) fn check(&self, record: &RoutedRecord) -> Result<(), KinesisError> {
        let size_bytes = record.size_bytes();
        if size_bytes <= self.limit_bytes {
            return Ok(());
        }
        let name = self.stream.name.as_str();
        let limit_bytes = self.limit_bytes;
        Err(KinesisError::record_too_large(size_bytes, limit_bytes, name, self.account))
    }
}
