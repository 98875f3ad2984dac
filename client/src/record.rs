//! Records, as a program makes and gets them.

use std::sync::Arc;

use bytes::Bytes;

/// A record to be written.
///
/// ```
/// use weir_client::NewRecord;
///
/// let record = NewRecord::new("paid").key("order-17").header("trace", "5f2c");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) place: WantedPlace,
}

/// Where a record's writer wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum WantedPlace {
    #[default]
    ByKey,
    Partition(u32),
    HashKey(u128),
}

impl NewRecord {
    /// A record with this value, without a key.
    pub fn new(value: impl Into<Bytes>) -> NewRecord {
        NewRecord { value: Some(value.into()), ..NewRecord::default() }
    }

    /// A record without a value: in a compacted stream it deletes what was under its key.
    pub fn tombstone(key: impl Into<Bytes>) -> NewRecord {
        NewRecord { key: Some(key.into()), ..NewRecord::default() }
    }

    /// With this key. Records of one key go to one partition, and stay in their order there.
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> NewRecord {
        NewRecord { key: Some(key.into()), ..self }
    }

    /// With one header more.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> NewRecord {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// With this time, in milliseconds since 1970 (UTC), in place of now.
    #[must_use]
    pub fn timestamp_ms(self, timestamp_ms: i64) -> NewRecord {
        NewRecord { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// Into this partition, whatever its key.
    #[must_use]
    pub fn partition(self, index: u32) -> NewRecord {
        NewRecord { place: WantedPlace::Partition(index), ..self }
    }

    /// Into the partition that owns this hash key, whatever its key.
    #[must_use]
    pub fn hash_key(self, hash_key: u128) -> NewRecord {
        NewRecord { place: WantedPlace::HashKey(hash_key), ..self }
    }
}

/// Where a record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the partition.
    pub partition: u32,
    /// Offset in the partition.
    pub offset: u64,
    /// The record's time, in milliseconds since 1970 (UTC).
    pub timestamp_ms: i64,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The stream it lies in.
    pub stream: Arc<str>,
    /// Where it lies there.
    pub place: Place,
    /// Its sequence number, where it was read from a Kinesis; that has no offsets, and `place` says
    /// 0.
    pub sequence_number: Option<Arc<str>>,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value, if it has one.
    pub value: Option<Bytes>,
    /// Its headers, in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// From where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest record that is kept.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// This offset, in each partition.
    Offset(u64),
    /// The first record of this time or later: milliseconds since 1970, UTC.
    TimestampMs(i64),
    /// So many records before the newest of each partition.
    Last(u64),
}
