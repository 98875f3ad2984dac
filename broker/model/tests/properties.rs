//! Whatever is built reads back, and whatever arrives is either understood or refused.

use bytes::Bytes;
use proptest::prelude::*;
use weir_model::batch::{Placement, RecordBatch};
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::compression::{Codec, decompress};
use weir_model::ids::LogEpoch;
use weir_model::limits::{DecodeLimits, MIB};
use weir_model::offset::Offset;
use weir_model::record::{HeaderToWrite, RecordToWrite};
use weir_model::time::Timestamp;

type Field = Option<Vec<u8>>;

/// A record that owns what it says.
#[derive(Clone, Debug, PartialEq)]
struct OwnedRecord {
    timestamp: i64,
    key: Field,
    value: Field,
    headers: Vec<(Vec<u8>, Field)>,
}

fn field() -> impl Strategy<Value = Field> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
}

fn record() -> impl Strategy<Value = OwnedRecord> {
    let timestamp = prop_oneof![
        Just(-1),
        0..2_000_000_000_000i64,
        // Far apart, but not so far that the difference needs 65 bits.
        i64::MIN / 2..i64::MAX / 2,
    ];
    let name = prop::collection::vec(any::<u8>(), 0..70);
    let headers = prop::collection::vec((name, field()), 0..4);
    (timestamp, field(), field(), headers)
        .prop_map(|(timestamp, key, value, headers)| OwnedRecord { timestamp, key, value, headers })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn build(codec: Codec, records: &[OwnedRecord]) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| HeaderToWrite { key, value: value.as_deref() })
            .collect();
        let record = RecordToWrite {
            timestamp: Timestamp::from_millis(record.timestamp),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        builder.append(&record).expect("fits");
    }
    builder.build()
}

fn read(batch: &RecordBatch) -> Vec<OwnedRecord> {
    let owned = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.to_vec());
    let records = batch.records(&DecodeLimits::default()).expect("decodes");
    records
        .enumerate()
        .map(|(index, record)| {
            let record = record.expect("sound");
            assert_eq!(usize::try_from(record.offset_delta), Ok(index));
            let headers = record.headers.iter();
            OwnedRecord {
                timestamp: record.timestamp.as_millis(),
                headers: headers.map(|header| (header.key.to_vec(), owned(header.value))).collect(),
                key: owned(record.key),
                value: owned(record.value),
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn what_is_built_reads_back(
        codec in codec(),
        records in prop::collection::vec(record(), 1..30),
    ) {
        let batch = build(codec, &records);
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        prop_assert_eq!(batch.check_produced(), Ok(()));
        let parsed = RecordBatch::parse(batch.bytes().clone());
        prop_assert_eq!(parsed.as_ref(), Ok(&batch));
        let latest = records.iter().map(|record| record.timestamp).max();
        prop_assert_eq!(Some(batch.header().max_timestamp.as_millis()), latest);
        prop_assert_eq!(read(&batch), records);
    }

    #[test]
    fn a_new_append_time_has_the_crc_of_its_bytes(
        records in prop::collection::vec(record(), 1..30),
        append_time in any::<i64>(),
    ) {
        let placed = build(Codec::None, &records).place(&Placement {
            base_offset: Offset::new(77),
            leader_epoch: LogEpoch::ZERO,
            append_time: Some(Timestamp::from_millis(append_time)),
        });
        let batch = placed.to_batch();
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        prop_assert!(read(&batch).iter().all(|record| record.timestamp == append_time));
    }

    /// Behind a right header and CRC, as a hostile client would send it.
    #[test]
    fn damaged_records_end_in_an_error_or_in_records(
        codec in codec(),
        records in prop::collection::vec(record(), 1..5),
        place in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = build(codec, &records).bytes().to_vec();
        let place = 61 + place.index(bytes.len() - 61);
        bytes[place] = value;
        let batch = RecordBatch::parse(Bytes::from(bytes)).expect("the header is whole");
        if let Ok(found) = batch.records(&DecodeLimits::default()) {
            let (good, bad): (Vec<_>, Vec<_>) = found.partition(Result::is_ok);
            prop_assert!(good.len() <= records.len());
            prop_assert!(bad.len() <= 1, "the first error ends the records");
            for record in good.into_iter().flatten() {
                prop_assert_eq!(record.headers.iter().count(), record.headers.len());
            }
        }
    }

    #[test]
    fn noise_is_never_more_than_an_error(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let noise = Bytes::from(noise);
        for codec in Codec::ALL {
            if let Ok(output) = decompress(codec, &noise, MIB) {
                prop_assert!(output.len() <= MIB);
            }
        }
        prop_assert!(RecordBatch::parse(noise).is_err());
    }
}
