//! What the core shows of its inside, as messages.

use std::time::Duration;

use bytes::Bytes;
use weir_core::inspect::{
    BatchPlace as CorePlace, BatchView, FileView, IndexEntryView, IndexPage, IndexState,
    SegmentState, SegmentView,
};
use weir_core::partition::look::{LookedAt, PlacedRecord};
use weir_core::quota::limits::{BucketKind, BucketView};
use weir_model::batch::{BatchHeader as CoreHeader, TimestampType};
use weir_model::compression::Codec;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;
use weir_proto::v1::bucket::Kind;
use weir_proto::v1::list_index_entries_response::State as WireIndexState;
use weir_proto::v1::segment::State as WireSegmentState;
use weir_proto::v1::{
    Batch, BatchHeader, BatchPlace, BatchRecord, Bucket, Header, IndexEntry,
    ListIndexEntriesResponse, ReadBatchResponse, Segment, SegmentFile,
};

/// Most bytes of a key or value.
const FIELD_BYTES_MAX: usize = 64 * 1024;
/// Most headers of a record.
const HEADERS_MAX: usize = 100;

pub(super) fn segment(view: SegmentView) -> Segment {
    let state = match view.state {
        SegmentState::Active => WireSegmentState::Active,
        SegmentState::Full => WireSegmentState::Full,
        SegmentState::Sealed => WireSegmentState::Sealed,
    };
    let file = |FileView { name, bytes }| SegmentFile { name, bytes };
    Segment {
        base_offset: view.base_offset.number(),
        next_offset: view.next_offset.number(),
        bytes: view.bytes,
        readable_bytes: view.readable_bytes,
        record_count: view.record_count,
        first_timestamp_ms: view.first_timestamp.map(Timestamp::as_millis),
        max_timestamp_ms: view.max_timestamp.map(Timestamp::as_millis),
        state: state.into(),
        files: view.files.into_iter().map(file).collect(),
    }
}

pub(super) fn batch(view: &BatchView, log_start: Offset) -> Batch {
    let is_behind = |header: CoreHeader| header.last_offset() >= log_start.as_i64();
    Batch {
        position: view.position,
        bytes: view.bytes,
        header: view.header.map(|header| batch_header(&header)),
        crc_holds: view.crc_holds,
        fault: view.fault.map(|fault| fault.to_string()).unwrap_or_default(),
        is_trimmed: view.fault.is_none() && !view.header.is_some_and(is_behind),
    }
}

fn batch_header(header: &CoreHeader) -> BatchHeader {
    let attributes = header.attributes;
    BatchHeader {
        base_offset: header.base_offset,
        batch_length: header.batch_length,
        leader_epoch: header.leader_epoch,
        magic: i32::from(header.magic),
        crc: header.crc,
        attributes: i32::from(attributes.0),
        codec: attributes.codec().map(Codec::name).unwrap_or_default().to_owned(),
        is_log_append_time: attributes.timestamp_type() == TimestampType::LogAppendTime,
        is_transactional: attributes.is_transactional(),
        is_control: attributes.is_control(),
        has_delete_horizon: attributes.has_delete_horizon(),
        last_offset_delta: header.last_offset_delta,
        base_timestamp_ms: header.base_timestamp.as_millis(),
        max_timestamp_ms: header.max_timestamp.as_millis(),
        producer_id: header.producer_id,
        producer_epoch: i32::from(header.producer_epoch),
        base_sequence: header.base_sequence,
        record_count: header.record_count,
    }
}

/// A batch with its records, and so many of its bytes from one on.
pub(super) fn looked_at(
    looked: &LookedAt,
    log_start: Offset,
    (raw_from, raw_max): (usize, usize),
) -> ReadBatchResponse {
    let CorePlace { segment, position } = looked.batch.place;
    let bytes = &looked.batch.bytes;
    let from = raw_from.min(bytes.len());
    let to = from.saturating_add(raw_max).min(bytes.len());
    ReadBatchResponse {
        at: Some(BatchPlace { segment: segment.number(), position }),
        batch: Some(batch(&looked.batch.view, log_start)),
        records: looked.records.iter().map(record).collect(),
        records_fault: looked.records_fault.map(|fault| fault.to_string()).unwrap_or_default(),
        records_bytes: looked.records_bytes as u64,
        // A copy, so that the answer does not keep the whole batch in memory.
        raw: Bytes::copy_from_slice(&bytes.slice(from..to)),
    }
}

fn record(placed: &PlacedRecord) -> BatchRecord {
    let PlacedRecord { record, offset, position, bytes } = placed;
    let length = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len) as u64;
    let header = |header: weir_model::record::Header| Header {
        name: String::from_utf8_lossy(&beginning(&header.key)).into_owned(),
        value: header.value.as_ref().map(beginning),
    };
    BatchRecord {
        offset: *offset,
        timestamp_ms: record.timestamp.as_millis(),
        position: *position as u64,
        bytes: *bytes as u64,
        key: record.key.as_ref().map(beginning),
        value: record.value.as_ref().map(beginning),
        key_bytes: length(&record.key),
        value_bytes: length(&record.value),
        headers: record.headers.iter().take(HEADERS_MAX).map(header).collect(),
        header_count: record.headers.len() as u64,
    }
}

fn beginning(field: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&field.slice(..field.len().min(FIELD_BYTES_MAX)))
}

pub(super) fn index_page(page: &IndexPage) -> ListIndexEntriesResponse {
    let state = match page.state {
        IndexState::InMemory => WireIndexState::InMemory,
        IndexState::Stored => WireIndexState::Stored,
        IndexState::Damaged => WireIndexState::Damaged,
    };
    let entry = |entry: &IndexEntryView| match entry {
        IndexEntryView::Offset { offset, position } => {
            IndexEntry { offset: offset.number(), position: *position, timestamp_ms: 0 }
        }
        IndexEntryView::Time { timestamp, offset } => {
            let timestamp_ms = timestamp.as_millis();
            IndexEntry { offset: offset.number(), position: 0, timestamp_ms }
        }
    };
    ListIndexEntriesResponse {
        entries: page.entries.iter().map(entry).collect(),
        entry_count: page.entry_count,
        state: state.into(),
    }
}

pub(super) fn bucket(view: &BucketView) -> Bucket {
    let kind = match view.kind {
        BucketKind::WriteBytes => Kind::WriteBytes,
        BucketKind::WriteRecords => Kind::WriteRecords,
        BucketKind::ReadBytes => Kind::ReadBytes,
        BucketKind::ReadCalls => Kind::ReadCalls,
    };
    Bucket {
        kind: kind.into(),
        level: view.level,
        capacity: view.capacity,
        per_second: view.per_second,
        debt: (-view.level).max(0.0),
        wait_ms: millis_up(view.wait),
    }
}

/// In milliseconds, rounded up.
pub(crate) fn millis_up(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}
