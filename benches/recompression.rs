//! What a topic's `compression.type` costs where its producers chose otherwise: a batch is taken
//! apart and built again under another codec, on the way of a Produce request to the log.
//!
//! ```text
//!   cargo bench -p weir-benches                  bytes of plain records per second, by codec
//!   cargo bench -p weir-benches -- --test        each once, to see that it works
//! ```
//!
//! The batch has 1,000 records of 1 KiB, lines of JSON as applications log them.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use weir_model::batch::RecordBatch;
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::compression::{Codec, Compression};
use weir_model::limits::DecodeLimits;
use weir_model::record::RecordToWrite;
use weir_model::time::Timestamp;

const RECORDS: u64 = 1_000;
const VALUE_BYTES: usize = 1_024;
const CODECS: [(&str, Codec); 4] =
    [("gzip", Codec::Gzip), ("snappy", Codec::Snappy), ("lz4", Codec::Lz4), ("zstd", Codec::Zstd)];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    let plain = batch(Codec::None);
    for (name, codec) in CODECS {
        measure(&mut criterion, &format!("none to {name}"), &plain, codec);
        measure(&mut criterion, &format!("{name} to none"), &batch(codec), Codec::None);
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, name: &str, from: &RecordBatch, to: Codec) {
    let mut group = criterion.benchmark_group("recompression");
    group.throughput(Throughput::Bytes(RECORDS * VALUE_BYTES as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || from.clone(),
            |batch| recompressed(&batch, to),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn recompressed(batch: &RecordBatch, to: Codec) -> RecordBatch {
    let recompressed = batch.recompressed(Compression::of(to), &DecodeLimits::default());
    recompressed.expect("the batch is sound")
}

fn batch(codec: Codec) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
    for number in 0..RECORDS {
        let value = value(number);
        let timestamp = Timestamp::from_millis(1_800_000_000_000);
        let record = RecordToWrite { timestamp, key: None, value: Some(&value), headers: &[] };
        builder.append(&record).expect("a batch has room for a thousand records");
    }
    builder.build()
}

/// Lines about numbers that look random, so that a codec finds words again and no more.
fn value(number: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    let mut state = number;
    while value.len() < VALUE_BYTES {
        // Knuth's MMIX generator.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (user, amount) = (state >> 40, state >> 54);
        let line =
            format!("{{\"user\":\"{user:08x}\",\"amount\":{amount},\"currency\":\"EUR\"}}\n");
        value.extend_from_slice(line.as_bytes());
    }
    value.truncate(VALUE_BYTES);
    value
}
