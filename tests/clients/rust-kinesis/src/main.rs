//! The AWS SDK for Rust with its defaults. The same checks as `../../python/boto3_client.py`, which
//! explains them.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, Record, Shard, ShardIteratorType, StartingPosition,
    SubscribeToShardEventStream,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::time::sleep;

/// The lowest hash key lies in the first of two even shards, the highest in the second.
const HASH_KEYS: [&str; 2] = ["0", "340282366920938463463374607431768211455"];
/// In the middle of the second shard.
const THREE_QUARTERS: &str = "255211775190703847597530955573826158592";
const SHARDS: [&str; 2] = ["shardId-000000000000", "shardId-000000000001"];
const BURST_RECORDS: usize = 500;
const BURST_RECORD_BYTES: usize = 5 * 1024;
const DEADLINE: Duration = Duration::from_secs(90);
const THROTTLED: &str = "ProvisionedThroughputExceededException";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn expect<T: PartialEq + std::fmt::Debug>(actual: T, wanted: T, what: &str) -> Outcome<()> {
    if actual == wanted {
        Ok(())
    } else {
        Err(format!("{what}: {actual:?} instead of {wanted:?}").into())
    }
}

/// What every step needs.
struct Check {
    kinesis: Client,
    stream: String,
}

impl Check {
    async fn create_stream(&self) -> Outcome<()> {
        let Self { kinesis, stream } = self;
        kinesis.create_stream().stream_name(stream).shard_count(2).send().await?;
        self.wait_for_status(Some("ACTIVE")).await?;
        let described = kinesis.describe_stream().stream_name(stream).send().await?;
        let description =
            described.stream_description().ok_or("DescribeStream has no description")?;
        expect(description.stream_status().as_str(), "ACTIVE", "DescribeStream status")?;
        expect(ids(description.shards()), SHARDS.to_vec(), "DescribeStream shards")?;
        let summary = kinesis.describe_stream_summary().stream_name(stream).send().await?;
        let open = summary.stream_description_summary().map(|summary| summary.open_shard_count());
        expect(open, Some(2), "DescribeStreamSummary open shards")?;
        let listed = kinesis.list_shards().stream_name(stream).send().await?;
        expect(ids(listed.shards()), SHARDS.to_vec(), "ListShards")?;
        let mut names = Vec::new();
        let mut pages = kinesis.list_streams().into_paginator().send();
        while let Some(page) = pages.next().await {
            names.extend(page?.stream_names);
        }
        expect(names.contains(stream), true, "ListStreams has the stream")
    }

    /// Asks until the stream has this status, or is not there where `wanted` is none; the SDK's own
    /// waiter asks each ten seconds only.
    async fn wait_for_status(&self, wanted: Option<&str>) -> Outcome<()> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let request = self.kinesis.describe_stream_summary().stream_name(&self.stream);
            let status = match request.send().await {
                Ok(answer) => answer
                    .stream_description_summary()
                    .map(|summary| summary.stream_status().as_str().to_owned()),
                Err(error) if error.code() == Some("ResourceNotFoundException") => None,
                Err(error) => return Err(error.into()),
            };
            if status.as_deref() == wanted {
                return Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
        Err(format!("the stream did not come to status {wanted:?}").into())
    }

    async fn iterator(&self, shard: &str, start: Start<'_>) -> Outcome<String> {
        let request = self.kinesis.get_shard_iterator().stream_name(&self.stream).shard_id(shard);
        let request = match start {
            Start::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            Start::At(number) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(number),
            Start::After(number) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number),
            Start::Time(time) => {
                request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(time)
            }
        };
        let answer = request.send().await?;
        Ok(answer.shard_iterator.ok_or("GetShardIterator answered no iterator")?)
    }

    /// Reads until `count` records came and once more, so that a record too many is seen.
    async fn read(&self, mut iterator: String, count: usize) -> Outcome<Vec<Record>> {
        let deadline = Instant::now() + DEADLINE;
        let mut records = Vec::new();
        let mut complete = false;
        while !complete {
            if Instant::now() > deadline {
                return Err(format!("only {} of {count} records came", records.len()).into());
            }
            complete = records.len() >= count;
            match self.kinesis.get_records().shard_iterator(&iterator).send().await {
                Ok(answer) => {
                    records.extend(answer.records);
                    iterator = answer.next_shard_iterator.ok_or("an open shard ended")?;
                }
                // Two MiB and five calls a second for each shard: wait until it is out of debt.
                Err(error) if error.code() == Some(THROTTLED) => {
                    complete = false;
                    sleep(Duration::from_millis(500)).await;
                }
                Err(error) => return Err(error.into()),
            }
            if records.len() < count {
                sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(records)
    }

    /// Five records to each shard, one PutRecord each; the data in order per shard.
    async fn put_five(&self, half: &str) -> Outcome<[Vec<String>; 2]> {
        let mut written = [Vec::new(), Vec::new()];
        for number in 0..5 {
            for (index, shard) in SHARDS.into_iter().enumerate() {
                let data = format!("{shard} {half} {number}");
                let answer = self
                    .kinesis
                    .put_record()
                    .stream_name(&self.stream)
                    .data(Blob::new(data.as_bytes()))
                    .partition_key(format!("key-{number}"))
                    .explicit_hash_key(HASH_KEYS[index])
                    .send()
                    .await?;
                expect(answer.shard_id(), shard, "PutRecord shard of an explicit hash key")?;
                written[index].push(data);
            }
        }
        Ok(written)
    }

    async fn check_iterators(&self) -> Outcome<()> {
        let latest_at_first = [
            self.iterator(SHARDS[0], Start::Latest).await?,
            self.iterator(SHARDS[1], Start::Latest).await?,
        ];
        let early = self.put_five("early").await?;
        sleep(Duration::from_millis(1500)).await;
        let late = self.put_five("late").await?;
        for (index, latest) in latest_at_first.into_iter().enumerate() {
            let everything = [early[index].clone(), late[index].clone()].concat();
            let records = self.read(latest, everything.len()).await?;
            expect(texts(&records), everything.clone(), "LATEST before the writes")?;
            self.check_iterators_of(SHARDS[index], &everything).await?;
        }
        Ok(())
    }

    /// Each iterator type on a shard that holds `everything`, with a pause in its middle.
    async fn check_iterators_of(&self, shard: &str, everything: &[String]) -> Outcome<()> {
        let iterator = self.iterator(shard, Start::TrimHorizon).await?;
        let records = self.read(iterator, everything.len()).await?;
        expect(texts(&records).as_slice(), everything, "TRIM_HORIZON")?;
        for (number, record) in records.iter().enumerate() {
            expect(record.partition_key(), Some(&*format!("key-{}", number % 5)), "partition key")?;
        }
        // Of one length, so that their order as text is their order as numbers.
        let ascending =
            records.windows(2).all(|pair| pair[0].sequence_number() < pair[1].sequence_number());
        expect(ascending, true, "ascending sequence numbers")?;

        let third = records[2].sequence_number();
        let arrival =
            records[4].approximate_arrival_timestamp().ok_or("a record without arrival time")?;
        // Between the halves, so that no rounding of the time matters.
        let pause = DateTime::from_millis(arrival.to_millis()? + 750);
        let starts = [
            ("AT_SEQUENCE_NUMBER", Start::At(third), &everything[2..]),
            ("AFTER_SEQUENCE_NUMBER", Start::After(third), &everything[3..]),
            ("AT_TIMESTAMP", Start::Time(pause), &everything[5..]),
            ("LATEST after the writes", Start::Latest, &[]),
        ];
        for (kind, start, wanted) in starts {
            let iterator = self.iterator(shard, start).await?;
            let came = texts(&self.read(iterator, wanted.len()).await?);
            expect(came.as_slice(), wanted, &format!("{kind} on {shard}"))?;
        }
        Ok(())
    }

    /// One PutRecords, its over-quota records sent again until none fails; how many were refused.
    async fn put_until_in(&self, burst: usize) -> Outcome<usize> {
        let deadline = Instant::now() + DEADLINE;
        let mut waiting = (0..BURST_RECORDS)
            .map(|number| {
                let data = format!("{:.<BURST_RECORD_BYTES$}", burst_name(burst, number) + " ");
                PutRecordsRequestEntry::builder()
                    .data(Blob::new(data))
                    .partition_key(format!("burst-{burst}"))
                    .explicit_hash_key(HASH_KEYS[0])
                    .build()
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut refused = 0;
        loop {
            let request = self.kinesis.put_records().stream_name(&self.stream);
            match request.set_records(Some(waiting.clone())).send().await {
                Ok(answer) => {
                    expect(answer.records().len(), waiting.len(), "PutRecords results")?;
                    let mut failed = Vec::new();
                    for (entry, result) in waiting.into_iter().zip(answer.records()) {
                        match result.error_code() {
                            None => expect(result.shard_id(), Some(SHARDS[0]), "PutRecords shard")?,
                            Some(THROTTLED) => failed.push(entry),
                            Some(code) => {
                                return Err(format!("PutRecords refused a record: {code}").into());
                            }
                        }
                    }
                    let count = answer.failed_record_count().unwrap_or(0);
                    expect(usize::try_from(count)?, failed.len(), "FailedRecordCount")?;
                    waiting = failed;
                }
                Err(error) if error.code() == Some(THROTTLED) => {}
                Err(error) => return Err(error.into()),
            }
            refused += waiting.len();
            if waiting.is_empty() {
                return Ok(refused);
            }
            if Instant::now() > deadline {
                return Err(format!("{} records were still refused", waiting.len()).into());
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn check_put_records(&self) -> Outcome<usize> {
        let start = self.iterator(SHARDS[0], Start::Latest).await?;
        let start_of_other = self.iterator(SHARDS[1], Start::Latest).await?;
        let (first, second) = tokio::join!(self.put_until_in(0), self.put_until_in(1));
        let refused = first? + second?;
        let wanted: Vec<_> = (0..2 * BURST_RECORDS)
            .map(|number| burst_name(number / BURST_RECORDS, number % BURST_RECORDS))
            .collect();
        let records = self.read(start, wanted.len()).await?;
        let whole = records.iter().all(|record| record.data().as_ref().len() == BURST_RECORD_BYTES);
        expect(whole, true, "lengths of the records")?;
        let mut came: Vec<_> = texts(&records)
            .iter()
            .map(|text| text.trim_end_matches(['.', ' ']).to_owned())
            .collect();
        came.sort();
        expect(came == wanted, true, "GetRecords returns each record of both PutRecords once")?;
        expect(self.read(start_of_other, 0).await?.len(), 0, "records in the other shard")?;
        Ok(refused)
    }

    /// Numbered records with the highest hash key.
    async fn put_pushed(&self, numbers: std::ops::Range<usize>) -> Outcome<Vec<String>> {
        let mut written = Vec::new();
        for number in numbers {
            let data = format!("pushed {number}");
            self.kinesis
                .put_record()
                .stream_name(&self.stream)
                .data(Blob::new(data.as_bytes()))
                .partition_key("pushed")
                .explicit_hash_key(HASH_KEYS[1])
                .send()
                .await?;
            written.push(data);
        }
        Ok(written)
    }

    /// Is pushed the records of the second shard while that is split, to its end; the rest is in a
    /// child.
    async fn check_subscription(&self) -> Outcome<()> {
        let Self { kinesis, stream } = self;
        let summary = kinesis.describe_stream_summary().stream_name(stream).send().await?;
        let arn = summary
            .stream_description_summary()
            .map(|summary| summary.stream_arn())
            .ok_or("no summary")?;
        let registered = kinesis
            .register_stream_consumer()
            .stream_arn(arn)
            .consumer_name("consumer")
            .send()
            .await?;
        let consumer = registered.consumer().ok_or("no consumer")?.consumer_arn();
        let latest = StartingPosition::builder().r#type(ShardIteratorType::Latest).build()?;
        let mut answer = kinesis
            .subscribe_to_shard()
            .consumer_arn(consumer)
            .shard_id(SHARDS[1])
            .starting_position(latest)
            .send()
            .await?;
        let write = async {
            let of_parent = self.put_pushed(0..25).await?;
            kinesis
                .split_shard()
                .stream_name(stream)
                .shard_to_split(SHARDS[1])
                .new_starting_hash_key(THREE_QUARTERS)
                .send()
                .await?;
            Outcome::Ok((of_parent, self.put_pushed(25..50).await?))
        };
        let read = async {
            let (mut came, mut children) = (Vec::new(), Vec::new());
            while let Some(event) = answer.event_stream.recv().await? {
                if let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event {
                    came.extend(texts(event.records()));
                    let ids = event.child_shards().iter().map(|child| child.shard_id().to_owned());
                    children.extend(ids);
                }
            }
            Outcome::Ok((came, children))
        };
        let (written, pushed) = tokio::join!(write, read);
        let ((of_parent, of_child), (came, children)) = (written?, pushed?);
        expect(came, of_parent, "what the subscription gave")?;
        expect(children.len(), 2, "children at the end of the subscription")?;
        let iterator = self.iterator(&children[1], Start::TrimHorizon).await?;
        let records = self.read(iterator, of_child.len()).await?;
        expect(texts(&records), of_child, "the upper child")?;
        kinesis.deregister_stream_consumer().consumer_arn(consumer).send().await?;
        Ok(())
    }

    async fn delete_stream(&self) -> Outcome<()> {
        self.kinesis.delete_stream().stream_name(&self.stream).send().await?;
        self.wait_for_status(None).await
    }

    async fn run(&self, expect_throttle: bool, checks: &mut Vec<String>) -> Outcome<()> {
        self.create_stream().await?;
        checks.push("create, describe, list".into());
        self.check_iterators().await?;
        checks.push("five iterator types".into());
        let refused = self.check_put_records().await?;
        if expect_throttle && refused == 0 {
            return Err("5 MB at once to a shard of 1 MiB/s, and no record was over quota".into());
        }
        checks.push(format!("PutRecords, {refused} over quota and sent again"));
        self.check_subscription().await?;
        checks.push("a subscription and a reshard in flight".into());
        self.delete_stream().await?;
        checks.push("delete".into());
        Ok(())
    }
}

/// Where an iterator begins.
enum Start<'a> {
    TrimHorizon,
    Latest,
    At(&'a str),
    After(&'a str),
    Time(DateTime),
}

fn ids(shards: &[Shard]) -> Vec<&str> {
    shards.iter().map(Shard::shard_id).collect()
}

fn texts(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8_lossy(record.data().as_ref()).into_owned())
        .collect()
}

fn burst_name(burst: usize, number: usize) -> String {
    format!("burst {burst} {number:03}")
}

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let started = Instant::now();
    let endpoint = argument("--endpoint").expect("--endpoint URL");
    let stream = argument("--stream").expect("--stream NAME");
    let expect_throttle = std::env::args().any(|argument| argument == "--expect-throttle");
    let config = aws_config::from_env()
        .endpoint_url(endpoint)
        .http_client(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
        .load()
        .await;
    let check = Check { kinesis: Client::new(&config), stream };
    let mut checks = Vec::new();
    let outcome = check.run(expect_throttle, &mut checks).await;
    let mut result = serde_json::json!({
        "client": "aws-sdk-rust",
        "version": aws_sdk_kinesis::meta::PKG_VERSION,
        "ok": outcome.is_ok(),
        "checks": checks,
        "seconds": started.elapsed().as_millis() as f64 / 1000.0,
    });
    if let Err(error) = &outcome {
        eprintln!("aws-sdk-rust: {error:?}");
        result["error"] = format!("{error:?}").chars().take(2000).collect::<String>().into();
    }
    println!("{result}");
    std::process::exit(i32::from(outcome.is_err()));
}
