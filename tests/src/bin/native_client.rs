//! A program on `weir-client` for the tests in `tests/client`:
//!
//! ```text
//!   native_client roundtrip URL STREAM RECORDS    writes numbered records of 100 keys and reads
//!                                                 them at the same time; each must come once,
//!                                                 and those of a key in their order
//!   native_client in URL STREAM                   each line of standard input is a record
//!   native_client out URL STREAM                  what is there now, a line for each value
//! ```
//!
//! Its last line of output (of errors for `out`) is a JSON object with what was done and the CPU
//! seconds of this process.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Duration;

use serde_json::json;
use weir_client::process::{Pid, usage};
use weir_client::{Client, ConsumerOptions, Delivery, NewRecord, Producer, ProducerOptions, Retry};

type Failed = Box<dyn Error + Send + Sync>;

const KEYS: u64 = 100;
/// Longer than any restart in the tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// Deliveries that are looked at together.
const ROUND: u64 = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["roundtrip", url, stream, records] => {
            let retry = Retry { time_max: PATIENCE, ..Retry::default() };
            roundtrip(&Client::new(url)?.with_retry(retry), stream, records.parse()?).await
        }
        ["in", url, stream] => lines_in(&Client::new(url)?, stream).await,
        ["out", url, stream] => lines_out(&Client::new(url)?, stream).await,
        _ => Err("native_client roundtrip|in|out URL STREAM [RECORDS]".into()),
    }
}

/// CPU seconds of this process so far.
fn cpu_s() -> f64 {
    usage(Pid::own()).map_or(0.0, |usage| usage.cpu().as_secs_f64())
}

async fn roundtrip(client: &Client, stream: &str, records: u64) -> Result<(), Failed> {
    let producer = client.producer(ProducerOptions::new(stream)).await?;
    let writing = tokio::spawn(write(producer, records));
    let mut next_of_key: BTreeMap<u64, u64> = BTreeMap::new();
    let mut consumer = client.consumer(ConsumerOptions::new(stream));
    for _ in 0..records {
        let record = consumer.next().await.ok_or("the reader ended")??;
        let number: u64 = String::from_utf8(record.value.unwrap_or_default().to_vec())?.parse()?;
        let expected = next_of_key.entry(number % KEYS).or_insert(number % KEYS);
        if number != *expected {
            let place = record.place;
            return Err(format!("{number} where {expected} was next, at {place:?}").into());
        }
        *expected += KEYS;
    }
    let offsets = writing.await??;
    println!("{}", json!({"records": records, "acknowledged": offsets, "cpu_s": cpu_s()}));
    Ok(())
}

/// Writes numbered records; how many were kept.
async fn write(producer: Producer, records: u64) -> Result<u64, Failed> {
    let mut kept = 0;
    let mut deliveries: Vec<Delivery> = Vec::new();
    for number in 0..records {
        let record = NewRecord::new(number.to_string()).key(format!("key-{}", number % KEYS));
        deliveries.push(producer.send(record).await?);
        if number % ROUND == ROUND - 1 {
            for delivery in deliveries.drain(..) {
                delivery.await?;
                kept += 1;
            }
        }
    }
    producer.close().await?;
    for delivery in deliveries {
        delivery.await?;
        kept += 1;
    }
    Ok(kept)
}

async fn lines_in(client: &Client, stream: &str) -> Result<(), Failed> {
    let producer = client.producer(ProducerOptions::new(stream)).await?;
    let (mut records, mut bytes) = (0_u64, 0_u64);
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line?;
        records += 1;
        bytes += line.len() as u64;
        // That it is kept is what `close` says.
        drop(producer.send(NewRecord::new(line)).await?);
    }
    producer.close().await?;
    println!("{}", json!({"records": records, "bytes": bytes, "cpu_s": cpu_s()}));
    Ok(())
}

async fn lines_out(client: &Client, stream: &str) -> Result<(), Failed> {
    let options = ConsumerOptions { until_now: true, ..ConsumerOptions::new(stream) };
    let mut consumer = client.consumer(options);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let (mut records, mut bytes) = (0_u64, 0_u64);
    while let Some(record) = consumer.next().await {
        let value = record?.value.unwrap_or_default();
        records += 1;
        bytes += value.len() as u64;
        out.write_all(&value)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    eprintln!("{}", json!({"records": records, "bytes": bytes, "cpu_s": cpu_s()}));
    Ok(())
}
