//! How a stream is written in the metadata: one row per stream, as JSON.
//!
//! ```text
//!   key    's' + the stream's 16-byte id
//!   value  {"name": …, "routing": …, "created_ms": …, "settings": {…}, "partitions": […],
//!           "scalings_ms": […], "deleting": …, "attributes": {…}}
//! ```
//!
//! JSON, because rows are few, small and read once at start, and because a person with any redb
//! browser can then read them. The structs here are twins of the domain types on purpose: the
//! domain may change freely, a row that was written once must stay readable for ever.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_model::hash_key::{HashKey, HashKeyRange};
use weir_model::ids::{PartitionId, PartitionIndex, StreamId, StreamName};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

use crate::partition::partition::{ClosedAt, Origin, Partition};
use crate::settings::broker_settings::TopicDefaults;
use crate::stream::attributes::StreamAttributes;
use crate::stream::attributes_row::AttributesRow;
use crate::stream::config::{Overrides, StreamConfig};
use crate::stream::layout::Layout;
use crate::stream::stream::{Intent, NewStream, Routing, Stream};

/// First byte of a stream row's key.
pub(super) const STREAM_KEY: u8 = b's';

/// Whether a row's stream lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Lives,
    /// Its deletion was decided; what is left of it goes at the next start.
    Deleting,
}

#[derive(Serialize, Deserialize)]
struct StreamRow {
    name: String,
    routing: RoutingRow,
    created_ms: i64,
    settings: Overrides,
    partitions: Vec<PartitionRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scalings_ms: Vec<i64>,
    #[serde(default)]
    deleting: bool,
    #[serde(default, skip_serializing_if = "AttributesRow::is_empty")]
    attributes: AttributesRow,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RoutingRow {
    ByHash,
    ByPartition,
}

#[derive(Serialize, Deserialize)]
struct PartitionRow {
    /// Both ends of the hash-key range in decimal; JSON's numbers end at 2^53.
    hash_keys: [String; 2],
    created_ms: i64,
    /// Absent where it is `created_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    numbered_from_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parents: Vec<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<ClosedRow>,
}

#[derive(Serialize, Deserialize)]
struct ClosedRow {
    end: u64,
    time_ms: i64,
    #[serde(default, skip_serializing_if = "is_false")]
    expired: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

pub(super) fn key(id: StreamId) -> Bytes {
    let mut key = vec![STREAM_KEY];
    key.extend_from_slice(&id.to_bytes());
    key.into()
}

pub(super) fn encode(stream: &Stream, life: Life) -> Bytes {
    let layout = stream.layout().current();
    encode_with(stream, &stream.config(), &stream.attributes(), &layout, life)
}

/// The row of a stream that is about to have these settings, attributes and partitions.
pub(super) fn encode_with(
    stream: &Stream,
    config: &StreamConfig,
    attributes: &StreamAttributes,
    layout: &Layout,
    life: Life,
) -> Bytes {
    let row = StreamRow {
        name: stream.name.as_str().to_owned(),
        routing: match stream.routing {
            Routing::ByHash => RoutingRow::ByHash,
            Routing::ByPartition => RoutingRow::ByPartition,
        },
        created_ms: stream.created.as_millis(),
        settings: config.overrides.clone(),
        partitions: layout.partitions.iter().map(|p| encode_partition(p)).collect(),
        scalings_ms: layout.scalings.iter().map(|time| time.as_millis()).collect(),
        deleting: life == Life::Deleting,
        attributes: AttributesRow::of(attributes),
    };
    serde_json::to_vec(&row).expect("a row of texts and numbers always serialises").into()
}

fn encode_partition(partition: &Partition) -> PartitionRow {
    let range = partition.hash_keys;
    PartitionRow {
        hash_keys: [range.start().to_string(), range.end().to_string()],
        created_ms: partition.created.as_millis(),
        numbered_from_ms: Some(partition.numbered_from)
            .filter(|time| *time != partition.created)
            .map(Timestamp::as_millis),
        parents: partition
            .parents
            .iter()
            .flatten()
            .map(|index| i64::from(index.as_u32()))
            .collect(),
        closed: partition.closed_at().map(|closed| ClosedRow {
            end: closed.end.number(),
            time_ms: closed.time.as_millis(),
            expired: closed.is_expired,
        }),
    }
}

/// Reads a row back; says in words what is wrong with it otherwise.
pub(super) fn decode(
    key: &[u8],
    value: &[u8],
    defaults: &TopicDefaults,
) -> Result<(Stream, Life), String> {
    let id = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
    let id = StreamId::from_bytes(id.ok_or("its key does not hold a stream id")?);
    let row: StreamRow = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let name = StreamName::new(&row.name).map_err(|error| format!("name: {error:?}"))?;
    let config = StreamConfig::of(row.settings, defaults);
    let mut partitions = Vec::with_capacity(row.partitions.len());
    for (index, partition) in row.partitions.iter().enumerate() {
        let index = PartitionIndex::try_from(index).map_err(|error| format!("{error:?}"))?;
        partitions.push(Arc::new(decode_partition(PartitionId { stream: id, index }, partition)?));
    }
    let routing = match row.routing {
        RoutingRow::ByHash => Routing::ByHash,
        RoutingRow::ByPartition => Routing::ByPartition,
    };
    let new = NewStream {
        name,
        routing,
        partitions: 0,
        overrides: Overrides::new(),
        attributes: row.attributes.into_attributes(),
        intent: Intent::Make,
    };
    let scalings = row.scalings_ms.iter().map(|time_ms| Timestamp::from_millis(*time_ms));
    let layout = Layout::new(partitions, scalings.collect());
    let created = Timestamp::from_millis(row.created_ms);
    let life = if row.deleting { Life::Deleting } else { Life::Lives };
    Ok((Stream::new(id, &new, created, config, layout), life))
}

fn decode_partition(id: PartitionId, row: &PartitionRow) -> Result<Partition, String> {
    let [start, end] = &row.hash_keys;
    let hash_key = |text: &str| text.parse::<HashKey>().map_err(|error| format!("{error:?}"));
    let range = HashKeyRange::new(hash_key(start)?, hash_key(end)?);
    let hash_keys = range.ok_or("a hash-key range that ends before it starts")?;
    let mut parents = [None, None];
    for (slot, parent) in parents.iter_mut().zip(&row.parents) {
        *slot = Some(PartitionIndex::try_from(*parent).map_err(|error| format!("{error:?}"))?);
    }
    let closed = row.closed.as_ref().map(|closed| ClosedAt {
        end: Offset::new(closed.end),
        time: Timestamp::from_millis(closed.time_ms),
        is_expired: closed.expired,
    });
    let created = Timestamp::from_millis(row.created_ms);
    let numbered_from = row.numbered_from_ms.map_or(created, Timestamp::from_millis);
    let origin = Origin { created, numbered_from, parents };
    Ok(Partition::new(id, hash_keys, origin, closed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_storage::config::FlushPolicy;

    /// A row as the first release wrote it. It must be read for ever.
    const FIRST_RELEASE: &str = r#"{"name":"orders","routing":"by_hash","created_ms":1700000000000,
        "settings":{"retention.ms":"86400000"},"partitions":[
        {"hash_keys":["0","99"],"created_ms":1700000000000,
         "closed":{"end":7,"time_ms":1700000001000}},
        {"hash_keys":["0","340282366920938463463374607431768211455"],"created_ms":1700000001000,
         "parents":[0]}]}"#;

    fn defaults() -> TopicDefaults {
        TopicDefaults::of_the_table(FlushPolicy::Group)
    }

    #[test]
    fn a_row_of_the_first_release_is_read_and_written_back_the_same() {
        let id = StreamId::from_bytes([7; 16]);
        let (stream, life) =
            decode(&key(id), FIRST_RELEASE.as_bytes(), &defaults()).expect("a legal row");
        assert_eq!((stream.id, life), (id, Life::Lives));
        assert_eq!(stream.config().retention_ms, Some(86_400_000));
        assert_eq!(*stream.attributes(), StreamAttributes::default());
        let partitions = stream.partitions();
        assert_eq!(partitions[0].closed_at().map(|closed| closed.end), Some(Offset::new(7)));
        assert_eq!(partitions[1].parents[0], Some(PartitionIndex::ZERO));
        assert_eq!(partitions[1].numbered_from, partitions[1].created);

        let written = encode(&stream, Life::Deleting);
        let (again, life) = decode(&key(id), &written, &defaults()).expect("a legal row");
        assert_eq!((again.name.as_str(), life), ("orders", Life::Deleting));
        assert_eq!(again.partitions()[1].hash_keys, HashKeyRange::ALL);
    }

    #[test]
    fn what_resharding_adds_is_written_and_read_back() {
        let row = FIRST_RELEASE
            .replace(r#""parents":[0]"#, r#""numbered_from_ms":1700000005000,"parents":[0]"#)
            .replace(r#""time_ms":1700000001000"#, r#""time_ms":1700000001000,"expired":true"#)
            .replace(r#""parents":[0]}]"#, r#""parents":[0]}],"scalings_ms":[1700000000500]"#);
        let key = key(StreamId::from_bytes([7; 16]));
        let (stream, _) = decode(&key, row.as_bytes(), &defaults()).expect("a legal row");
        let (again, _) = decode(&key, &encode(&stream, Life::Lives), &defaults()).expect("legal");
        for stream in [stream, again] {
            let layout = stream.layout().current();
            let numbered_from = layout.partitions[1].numbered_from.as_millis();
            assert_eq!(numbered_from, 1_700_000_005_000);
            assert_eq!(layout.partitions[1].created.as_millis(), 1_700_000_001_000);
            let closed = layout.partitions[0].closed_at();
            assert_eq!(closed.map(|closed| closed.is_expired), Some(true));
            assert_eq!(layout.scalings[..], [Timestamp::from_millis(1_700_000_000_500)]);
        }
    }

    #[test]
    fn damaged_rows_say_what_is_wrong() {
        for (key, value) in [
            (&b"s123"[..], FIRST_RELEASE),
            (&[STREAM_KEY; 17], "{"),
            (&[STREAM_KEY; 17], &FIRST_RELEASE.replace("\"99\"", "\"-1\"")),
            (&[STREAM_KEY; 17], &FIRST_RELEASE.replace("orders", "or/ders")),
        ] {
            assert!(decode(key, value.as_bytes(), &defaults()).is_err(), "{value}");
        }
    }
}
