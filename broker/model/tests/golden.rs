//! Batches and compressed streams that other implementations wrote; see `testdata/README.md`.

use std::path::Path;

use bytes::Bytes;
use weir_model::batch::{
    BatchHeader, BatchKind, Placement, ProducerStamp, RecordBatch, TimestampType,
};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::compression::{Codec, CompressionError, decompress};
use weir_model::ids::{LogEpoch, ProducerId};
use weir_model::limits::{DecodeLimits, MIB};
use weir_model::offset::Offset;
use weir_model::record::{HeaderToWrite, Record, RecordToWrite};
use weir_model::time::Timestamp;

const TIME: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// `MakeBatches.shapes`.
const SHAPES: [RecordToWrite<'static>; 3] = [
    RecordToWrite {
        timestamp: TIME,
        key: Some(b"key"),
        value: Some(b"value"),
        headers: &[
            HeaderToWrite { key: b"one", value: Some(b"1") },
            HeaderToWrite { key: b"none", value: None },
            HeaderToWrite { key: b"", value: Some(b"") },
        ],
    },
    RecordToWrite { timestamp: TIME.plus_millis(70), key: None, value: Some(b""), headers: &[] },
    RecordToWrite { timestamp: TIME.plus_millis(-30), key: Some(b""), value: None, headers: &[] },
];

fn file(name: &str) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    Bytes::from(std::fs::read(folder.join(name)).expect("a file of testdata"))
}

fn java_batch(name: &str) -> RecordBatch {
    let batch = RecordBatch::parse(file(&format!("java-{name}.batch"))).expect("a batch");
    assert_eq!(batch.verify_crc(), Ok(()), "{name}");
    batch
}

fn records(batch: &RecordBatch) -> Vec<Record> {
    let records = batch.records(&DecodeLimits::default()).expect("decodes");
    records.map(|record| record.expect("sound")).collect()
}

fn build(options: BatchOptions, records: &[RecordToWrite<'_>]) -> RecordBatch {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        builder.append(record).expect("fits");
    }
    builder.build()
}

fn assert_same(record: &Record, expected: &RecordToWrite<'_>, timestamp: Timestamp) {
    assert_eq!(record.key.as_deref(), expected.key);
    assert_eq!(record.value.as_deref(), expected.value);
    assert_eq!(record.timestamp, timestamp);
    assert_eq!(record.headers.len(), expected.headers.len());
    for (header, expected) in record.headers.iter().zip(expected.headers) {
        assert_eq!(header.key, expected.key);
        assert_eq!(header.value.as_deref(), expected.value);
    }
}

#[test]
fn javas_batches_read_in_every_codec() {
    for codec in Codec::ALL {
        let batch = java_batch(&format!("few-{codec}"));
        assert_eq!(batch.codec(), codec);
        assert_eq!(batch.check_produced(), Ok(()), "{codec}");
        let records = records(&batch);
        assert_eq!(records.len(), SHAPES.len());
        for (record, expected) in records.iter().zip(&SHAPES) {
            assert_same(record, expected, expected.timestamp);
        }
    }
}

#[test]
fn javas_batches_of_several_compressed_blocks_read_in_every_codec() {
    for codec in &Codec::ALL[1..] {
        let records = records(&java_batch(&format!("many-{codec}")));
        assert_eq!(records.len(), 1000, "{codec}");
        for (record, index) in records.iter().zip(0..) {
            let (key, value) = (format!("key-{index}"), format!("value-{index} ").repeat(10));
            assert_eq!(record.offset_delta, index);
            assert_eq!(record.timestamp, TIME.plus_millis(i64::from(index)));
            assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
        }
    }
}

#[test]
fn uncompressed_batches_are_built_as_java_builds_them() {
    let plain = build(BatchOptions::default(), &SHAPES);
    assert_eq!(plain.bytes(), java_batch("few-none").bytes());

    let producer = ProducerStamp {
        id: ProducerId::new(4711).expect("not negative"),
        epoch: 7,
        base_sequence: i32::MAX - 1,
    };
    let transactional = build(
        BatchOptions {
            kind: BatchKind::Transactional,
            producer: Some(producer),
            ..BatchOptions::default()
        },
        &SHAPES,
    );
    assert_eq!(transactional.bytes(), java_batch("transactional").bytes());
    assert_eq!(transactional.header().last_sequence(), 0);
}

#[test]
fn a_commit_marker_is_built_and_placed_as_java_does() {
    let marker = RecordToWrite {
        timestamp: TIME,
        key: Some(&[0, 0, 0, 1]),
        value: Some(&[0, 0, 0, 0, 0, 9]),
        headers: &[],
    };
    let options = BatchOptions {
        kind: BatchKind::Control,
        producer: Some(ProducerStamp {
            id: ProducerId::new(4711).expect("not negative"),
            epoch: 7,
            base_sequence: -1,
        }),
        ..BatchOptions::default()
    };
    let placed = build(options, &[marker]).place(&Placement {
        base_offset: Offset::new(42),
        leader_epoch: LogEpoch::new(3).expect("a small epoch"),
        append_time: None,
    });
    let expected = java_batch("commit-marker");
    assert_eq!(placed.to_batch().bytes(), expected.bytes());
    assert!(expected.header().attributes.is_control());
}

#[test]
fn log_append_time_is_stamped_as_java_stamps_it() {
    let append_time = TIME.plus_millis(1000);
    let placed = java_batch("few-none").place(&Placement {
        base_offset: Offset::ZERO,
        leader_epoch: LogEpoch::ZERO,
        append_time: Some(append_time),
    });
    let expected = java_batch("log-append-time");
    // Java's builder leaves the leader epoch at -1, which no log of ours has.
    let expected_header = BatchHeader { leader_epoch: 0, ..*expected.header() };
    assert_eq!(*placed.header(), expected_header);
    let batch = placed.to_batch();
    assert_eq!(batch.verify_crc(), Ok(()));
    assert_eq!(batch.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(batch.bytes()[16..], expected.bytes()[16..]);
    for (record, shape) in records(&batch).iter().zip(&SHAPES) {
        assert_same(record, shape, append_time);
    }
}

#[test]
fn streams_of_the_c_codecs_decompress() {
    let text: String = (0..4000).map(|i| format!("line {i} of the text\n")).collect();
    for name in [
        "member.gzip",
        "members.gzip",
        "raw.snappy",
        "xerial.snappy",
        "xerial-joined.snappy",
        "independent.lz4",
        "linked.lz4",
        "checksums-and-size.lz4",
        "large-blocks.lz4",
        "frames.lz4",
        "sized.zstd",
        "unsized-level-19.zstd",
        "frames.zstd",
    ] {
        let codec = Codec::ALL
            .into_iter()
            .find(|codec| name.ends_with(codec.name()))
            .expect("the file is named after its codec");
        let stream = file(name);
        // The limit is exact: the text's own length will do, and one byte less will not.
        let output = decompress(codec, &stream, text.len());
        assert!(output.is_ok_and(|output| output == text), "{name}");
        let output_bytes_max = text.len() - 1;
        assert_eq!(
            decompress(codec, &stream, output_bytes_max),
            Err(CompressionError::OutputTooLarge { output_bytes_max }),
            "{name}"
        );
        let cut = stream.slice(..stream.len() - 1);
        assert_eq!(
            decompress(codec, &cut, MIB),
            Err(CompressionError::Malformed(codec)),
            "{name} without its last byte"
        );
    }
}

#[test]
fn a_zstd_window_above_8_mib_is_refused() {
    assert_eq!(
        decompress(Codec::Zstd, &file("window-128-mib.zstd"), MIB),
        Err(CompressionError::Malformed(Codec::Zstd))
    );
}
