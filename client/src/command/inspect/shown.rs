//! What `weir inspect` prints of each level, as text and as JSON.

use serde_json::{Map, Value, json};

use crate::admin;
use crate::command::format::rfc3339;
use crate::command::inspect::anatomy::Anatomy;
use crate::command::inspect::dump;
use crate::command::json_record::insert_bytes;
use crate::command::output::table;
use crate::command::quota::{bucket_object, bucket_row};
use crate::command::topic::{partition_object, short};
use crate::inspect::{
    Batch, BatchHeader, BatchRecord, Index, ListIndexEntriesResponse, ListSegmentsResponse,
    PartitionPlace, ReadBatchResponse, Segment, ShowBucketsResponse,
    list_index_entries_response as entries, segment,
};

/// Cells of the bar that shows which hash keys a partition has.
const BAR: u32 = 32;
/// Longest text of a key or value in a table, in characters.
const CELL: usize = 40;

pub(super) fn stream_object(stream: &admin::Stream) -> Value {
    let partitions: Vec<_> = stream
        .partitions
        .iter()
        .cloned()
        .map(|partition| partition_object(&partition.into()))
        .collect();
    json!({"name": stream.name, "partitions": partitions})
}

pub(super) fn stream_text(stream: &admin::Stream) -> String {
    let row = |partition: &admin::Partition| {
        let range = partition.hash_keys.clone().unwrap_or_default();
        vec![
            partition.index.to_string(),
            if partition.is_open { "open" } else { "closed" }.to_owned(),
            partition.log_start.to_string(),
            partition.high_watermark.to_string(),
            partition.bytes.to_string(),
            partition.segments.to_string(),
            bar(&range.starting, &range.ending),
            short(&range.starting),
        ]
    };
    let heading = ["PARTITION", "STATE", "START", "END", "BYTES", "SEGMENTS", "HASH KEYS", "FROM"];
    let rows: Vec<_> = stream.partitions.iter().map(row).collect();
    table(&heading, &rows)
}

/// Where a range of hash keys lies among all of them.
fn bar(starting: &str, ending: &str) -> String {
    let cell = |key: &str| key.parse::<u128>().map(|key| (key >> (128 - BAR.ilog2())) as u32);
    let (Ok(first), Ok(last)) = (cell(starting), cell(ending)) else {
        return String::new();
    };
    let mark = |at: u32| if (first..=last).contains(&at) { '#' } else { '.' };
    (0..BAR).map(mark).collect()
}

/// A partition: its segments, the entries of their offset and time indexes, its quotas.
pub(super) struct Partition<'a> {
    pub(super) of: &'a PartitionPlace,
    pub(super) found: &'a ListSegmentsResponse,
    pub(super) indexes: &'a [[u64; 2]],
    pub(super) buckets: &'a ShowBucketsResponse,
}

impl Partition<'_> {
    pub(super) fn object(&self) -> Value {
        let segments = self.found.segments.iter().zip(self.indexes);
        let segments: Vec<_> =
            segments.map(|(found, counts)| segment_object(found, counts)).collect();
        let buckets: Vec<_> = self.buckets.buckets.iter().map(bucket_object).collect();
        json!({
            "name": self.of.stream,
            "partition": self.of.partition,
            "log_start": self.found.log_start,
            "high_watermark": self.found.high_watermark,
            "log_end": self.found.log_end,
            "segments": segments,
            "next_offset": self.found.next_offset,
            "quota_factor": self.buckets.factor,
            "buckets": buckets,
        })
    }

    pub(super) fn text(&self) -> String {
        let ListSegmentsResponse { log_start, high_watermark, log_end, .. } = self.found;
        let mut text = format!(
            "{}  the oldest record is {log_start}, readers see those before {high_watermark}, \
             the next one is {log_end}\n\n",
            place(self.of)
        );
        let rows = self.found.segments.iter().zip(self.indexes);
        let rows: Vec<_> = rows.map(|(found, counts)| segment_row(found, counts)).collect();
        let heading = [
            "SEGMENT",
            "STATE",
            "NEXT",
            "RECORDS",
            "BYTES",
            "OFFSET INDEX",
            "TIME INDEX",
            "FIRST TIME",
            "LATEST TIME",
        ];
        text += &table(&heading, &rows);
        if let Some(next) = self.found.next_offset {
            text += &format!("… more from offset {next} on\n");
        }
        let files = self.found.segments.iter().flat_map(|found| &found.files);
        let rows: Vec<_> =
            files.map(|file| vec![file.name.clone(), file.bytes.to_string()]).collect();
        if !rows.is_empty() {
            text += "\n";
            text += &table(&["FILE", "BYTES"], &rows);
        }
        if !self.buckets.buckets.is_empty() {
            let rows: Vec<_> = self.buckets.buckets.iter().map(bucket_row).collect();
            text += "\n";
            text += &table(&crate::command::quota::BUCKET_HEADING, &rows);
        }
        text
    }
}

fn place(of: &PartitionPlace) -> String {
    format!("{}/{}", of.stream, of.partition)
}

fn state_name(state: segment::State) -> &'static str {
    match state {
        segment::State::Active => "active",
        segment::State::Full => "full",
        segment::State::Sealed => "sealed",
        segment::State::Unspecified => "unknown",
    }
}

fn segment_object(found: &Segment, [offset_entries, time_entries]: &[u64; 2]) -> Value {
    let file = |file: &crate::inspect::SegmentFile| json!({"name": file.name, "bytes": file.bytes});
    json!({
        "base_offset": found.base_offset,
        "next_offset": found.next_offset,
        "state": state_name(found.state()),
        "records": found.record_count,
        "bytes": found.bytes,
        "readable_bytes": found.readable_bytes,
        "first_timestamp_ms": found.first_timestamp_ms,
        "max_timestamp_ms": found.max_timestamp_ms,
        "offset_index_entries": offset_entries,
        "time_index_entries": time_entries,
        "files": found.files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn segment_row(found: &Segment, [offset_entries, time_entries]: &[u64; 2]) -> Vec<String> {
    let time = |millis: Option<i64>| millis.map_or_else(|| "-".to_owned(), rfc3339);
    vec![
        found.base_offset.to_string(),
        state_name(found.state()).to_owned(),
        found.next_offset.to_string(),
        found.record_count.to_string(),
        found.bytes.to_string(),
        offset_entries.to_string(),
        time_entries.to_string(),
        time(found.first_timestamp_ms),
        time(found.max_timestamp_ms),
    ]
}

/// The batches of a segment, and where those behind them begin.
pub(super) struct Batches<'a> {
    pub(super) of: &'a PartitionPlace,
    pub(super) segment: &'a Segment,
    pub(super) batches: &'a [Batch],
    pub(super) next: Option<u64>,
}

impl Batches<'_> {
    pub(super) fn object(&self) -> Value {
        json!({
            "name": self.of.stream,
            "partition": self.of.partition,
            "segment": self.segment.base_offset,
            "batches": self.batches.iter().map(header_object).collect::<Vec<_>>(),
            "next_position": self.next,
        })
    }

    pub(super) fn text(&self) -> String {
        let rows: Vec<_> = self.batches.iter().map(batch_row).collect();
        let heading = [
            "PLACE",
            "BYTES",
            "OFFSET",
            "LAST",
            "RECORDS",
            "CODEC",
            "PRODUCER",
            "SEQUENCE",
            "EPOCH",
            "LATEST TIME",
            "STATE",
        ];
        let Segment { base_offset, bytes, .. } = self.segment;
        let state = state_name(self.segment.state());
        let mut text =
            format!("{}  {base_offset:020}.log, {state}, {bytes} bytes\n\n", place(self.of));
        text += &table(&heading, &rows);
        if let Some(next) = self.next {
            text += &format!("… more from place {next} on\n");
        }
        text
    }
}

fn batch_row(batch: &Batch) -> Vec<String> {
    let header = batch.header.clone().unwrap_or_default();
    let none = |number: i64| if number < 0 { "-".to_owned() } else { number.to_string() };
    vec![
        batch.position.to_string(),
        batch.bytes.to_string(),
        header.base_offset.to_string(),
        last_offset(&header).to_string(),
        header.record_count.to_string(),
        header.codec.clone(),
        none(header.producer_id),
        none(header.base_sequence.into()),
        header.leader_epoch.to_string(),
        if header.max_timestamp_ms < 0 { "-".to_owned() } else { rfc3339(header.max_timestamp_ms) },
        state(batch),
    ]
}

fn last_offset(header: &BatchHeader) -> i64 {
    header.base_offset.saturating_add(header.last_offset_delta.into())
}

/// What is to be known of a batch in a few words.
fn state(batch: &Batch) -> String {
    let header = batch.header.clone().unwrap_or_default();
    let mut words = vec![match (batch.fault.as_str(), batch.crc_holds) {
        ("", true) => "intact".to_owned(),
        ("", false) => "the checksum does not hold".to_owned(),
        (fault, _) => fault.to_owned(),
    }];
    for (holds, word) in [
        (header.is_transactional, "transactional"),
        (header.is_control, "control"),
        (batch.is_trimmed, "trimmed"),
    ] {
        if holds {
            words.push(word.to_owned());
        }
    }
    words.join(", ")
}

/// A batch's place and every field of its header.
fn header_object(batch: &Batch) -> Value {
    let header = batch.header.as_ref().map(|header| {
        json!({
            "base_offset": header.base_offset,
            "batch_length": header.batch_length,
            "leader_epoch": header.leader_epoch,
            "magic": header.magic,
            "crc": header.crc,
            "attributes": header.attributes,
            "codec": header.codec,
            "is_log_append_time": header.is_log_append_time,
            "is_transactional": header.is_transactional,
            "is_control": header.is_control,
            "has_delete_horizon": header.has_delete_horizon,
            "last_offset_delta": header.last_offset_delta,
            "base_timestamp_ms": header.base_timestamp_ms,
            "max_timestamp_ms": header.max_timestamp_ms,
            "producer_id": header.producer_id,
            "producer_epoch": header.producer_epoch,
            "base_sequence": header.base_sequence,
            "record_count": header.record_count,
        })
    });
    json!({
        "position": batch.position,
        "bytes": batch.bytes,
        "header": header,
        "crc_holds": batch.crc_holds,
        "fault": batch.fault,
        "is_trimmed": batch.is_trimmed,
    })
}

pub(super) fn batch_object(of: &PartitionPlace, found: &ReadBatchResponse) -> Value {
    json!({
        "name": of.stream,
        "partition": of.partition,
        "segment": found.at.map(|at| at.segment),
        "batch": found.batch.as_ref().map(header_object),
        "records": found.records.iter().map(record_object).collect::<Vec<_>>(),
        "records_bytes": found.records_bytes,
        "records_fault": found.records_fault,
    })
}

fn record_object(record: &BatchRecord) -> Value {
    let mut members = Map::new();
    for (name, number) in [
        ("offset", json!(record.offset)),
        ("timestamp_ms", json!(record.timestamp_ms)),
        ("position", json!(record.position)),
        ("bytes", json!(record.bytes)),
        ("key_bytes", json!(record.key_bytes)),
        ("value_bytes", json!(record.value_bytes)),
        ("header_count", json!(record.header_count)),
    ] {
        members.insert(name.to_owned(), number);
    }
    insert_bytes(&mut members, "key", record.key.as_ref());
    insert_bytes(&mut members, "value", record.value.as_ref());
    let header = |header: &weir_proto::v1::Header| {
        let mut members = Map::new();
        members.insert("name".to_owned(), json!(header.name));
        insert_bytes(&mut members, "value", header.value.as_ref());
        Value::Object(members)
    };
    members.insert("headers".to_owned(), record.headers.iter().map(header).collect());
    Value::Object(members)
}

pub(super) fn batch_text(of: &PartitionPlace, found: &ReadBatchResponse) -> String {
    let batch = found.batch.clone().unwrap_or_default();
    let mut text = bytes_heading(of, found);
    if let Some(header) = &batch.header {
        text += "\n";
        text += &header_text(header, batch.crc_holds);
    }
    let row = |record: &BatchRecord| {
        vec![
            record.offset.to_string(),
            rfc3339(record.timestamp_ms),
            record.position.to_string(),
            record.bytes.to_string(),
            cell(record.key.as_deref()),
            cell(record.value.as_deref()),
            record.header_count.to_string(),
        ]
    };
    let rows: Vec<_> = found.records.iter().map(row).collect();
    // Byte 61 of the batch where they are not compressed.
    text +=
        &format!("\nrecords, {} bytes unpacked; places count from there\n", found.records_bytes);
    text += &table(&["OFFSET", "TIME", "PLACE", "BYTES", "KEY", "VALUE", "HEADERS"], &rows);
    let records = batch.header.map_or(0, |header| header.record_count);
    let missing = i64::from(records).saturating_sub(found.records.len() as i64);
    if !found.records_fault.is_empty() {
        text += &format!("… {}\n", found.records_fault);
    } else if missing > 0 && !batch.is_trimmed {
        text += &format!("… records: {missing} more\n");
    }
    text
}

/// A line for each field of a header.
fn header_text(header: &BatchHeader, crc_holds: bool) -> String {
    let time = |millis: i64| match millis {
        ..0 => format!("{millis}, none"),
        _ => format!("{millis}, {}", rfc3339(millis)),
    };
    let holds = if crc_holds { "holds" } else { "DOES NOT HOLD" };
    let dated = if header.is_log_append_time { "the broker" } else { "the writer" };
    let codec = if header.codec.is_empty() { "without a name" } else { &header.codec };
    let flags = [
        (header.is_transactional, ", transactional"),
        (header.is_control, ", control"),
        (header.has_delete_horizon, ", delete horizon"),
    ];
    let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    let last = last_offset(header);
    let fields = [
        ("base offset", header.base_offset.to_string()),
        ("batch length", format!("{} bytes behind this field", header.batch_length)),
        ("leader epoch", header.leader_epoch.to_string()),
        ("magic", format!("{}, the message format", header.magic)),
        ("crc", format!("{:#010x}, it {holds}", header.crc)),
        ("attributes", format!("codec {codec}, dated by {dated}{flags}")),
        ("last offset delta", format!("{}, so the last is {last}", header.last_offset_delta)),
        ("base timestamp", time(header.base_timestamp_ms)),
        ("max timestamp", time(header.max_timestamp_ms)),
        ("producer id", header.producer_id.to_string()),
        ("producer epoch", header.producer_epoch.to_string()),
        ("base sequence", header.base_sequence.to_string()),
        ("record count", header.record_count.to_string()),
    ];
    fields.iter().map(|(name, value)| format!("  {name:<18} {value}\n")).collect()
}

/// A key or value in a table: as text where it is such, otherwise in hex; shortened.
fn cell(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "-".to_owned() };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => {
            let hex = bytes.iter().take(CELL).map(|byte| format!("{byte:02x}"));
            format!("0x{}", hex.collect::<String>())
        }
    };
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

pub(super) fn bytes_object(
    of: &PartitionPlace,
    found: &ReadBatchResponse,
    anatomy: &Anatomy,
    missing_bytes: u64,
) -> Value {
    json!({
        "name": of.stream,
        "partition": of.partition,
        "segment": found.at.map(|at| at.segment),
        "batch": found.batch.as_ref().map(header_object),
        "fields": dump::objects(&anatomy.stored),
        "unpacked": dump::objects(&anatomy.unpacked),
        "missing_bytes": missing_bytes,
    })
}

/// Which batch it is and where it lies.
pub(super) fn bytes_heading(of: &PartitionPlace, found: &ReadBatchResponse) -> String {
    let batch = found.batch.clone().unwrap_or_default();
    let segment = found.at.map_or(0, |at| at.segment);
    format!(
        "{}  {segment:020}.log, bytes {} to {}: {}\n",
        place(of),
        batch.position,
        batch.position + batch.bytes,
        state(&batch)
    )
}

/// The entries of an index.
pub(super) struct Entries<'a> {
    pub(super) of: &'a PartitionPlace,
    pub(super) segment: &'a Segment,
    pub(super) index: Index,
    pub(super) found: &'a ListIndexEntriesResponse,
}

impl Entries<'_> {
    fn state(&self) -> &'static str {
        match self.found.state() {
            entries::State::InMemory => "in_memory",
            entries::State::Stored => "stored",
            entries::State::Damaged => "damaged",
            entries::State::Unspecified => "unknown",
        }
    }

    fn is_time(&self) -> bool {
        self.index == Index::Time
    }

    pub(super) fn object(&self) -> Value {
        let entry = |entry: &crate::inspect::IndexEntry| match self.is_time() {
            true => json!({"timestamp_ms": entry.timestamp_ms, "offset": entry.offset}),
            false => json!({"offset": entry.offset, "position": entry.position}),
        };
        json!({
            "name": self.of.stream,
            "partition": self.of.partition,
            "segment": self.segment.base_offset,
            "index": if self.is_time() { "time" } else { "offset" },
            "state": self.state(),
            "entry_count": self.found.entry_count,
            "entries": self.found.entries.iter().map(entry).collect::<Vec<_>>(),
        })
    }

    pub(super) fn text(&self) -> String {
        let state = match self.state() {
            "in_memory" => "in memory, grows with its segment",
            "stored" => "a file",
            "damaged" => "its file is damaged, and is rebuilt when it is needed",
            other => other,
        };
        let count = self.found.entry_count;
        let (name, heading) = match self.is_time() {
            true => ("time", ["UP TO TIME", "OFFSET"]),
            false => ("offset", ["OFFSET", "PLACE"]),
        };
        let row = |entry: &crate::inspect::IndexEntry| match self.is_time() {
            true => vec![rfc3339(entry.timestamp_ms), entry.offset.to_string()],
            false => vec![entry.offset.to_string(), entry.position.to_string()],
        };
        let rows: Vec<_> = self.found.entries.iter().map(row).collect();
        let base = self.segment.base_offset;
        let place = place(self.of);
        let mut text =
            format!("{place}  segment {base}, {name} index, entries: {count}; {state}\n\n");
        text += &table(&heading, &rows);
        let missing = count.saturating_sub(rows.len() as u64);
        if missing > 0 {
            text += &format!("… entries: {missing} more\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_where_hash_keys_lie() {
        let half = 1_u128 << 127;
        for (first, last, expected) in [
            (0, u128::MAX, "################################"),
            (half, u128::MAX, "................################"),
            (0, (half >> 1) - 1, "########........................"),
            (u128::MAX, u128::MAX, "...............................#"),
        ] {
            assert_eq!(bar(&first.to_string(), &last.to_string()), expected);
        }
        assert_eq!(bar("", ""), "");
    }

    #[test]
    fn cells_are_short_and_stay_on_their_line() {
        for (bytes, expected) in [
            (None, "-".to_owned()),
            (Some(&b"a\nb"[..]), "a\\nb".to_owned()),
            (Some(&b"\xff\x00"[..]), "0xff00".to_owned()),
            (Some(&[b'x'; 41][..]), "x".repeat(40) + "…"),
        ] {
            assert_eq!(cell(bytes), expected);
        }
    }
}
