//! GetRecords: the records of a stream's shards, as a `Consumer` gives them.
//!
//! ```text
//!   the task            one task for each shard whose parents are read to their ends
//!   ListShards at the   GetShardIterator, then GetRecords, at most once in 200 ms: each shard
//!   beginning and when  grants all of its readers together five calls a second
//!   a shard has ended
//! ```
//!
//! So the records of a key come in their order, over splits and merges, too. `--last` has no
//! counterpart: a shard is read from its oldest record, and only its last records are kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::streams::Shard;
use super::{Kinesis, refusal, unknown_partition};
use crate::consumer::{Consumer, ConsumerOptions, Out};
use crate::error::{Error, Reason};
use crate::record::{From, Place, Record};

/// Between two calls for one shard.
const CALL_EVERY: Duration = Duration::from_millis(200);
/// The most that `--last` may keep of each shard.
const LAST_MAX: u64 = 10_000;

/// Where each shard is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    At(From),
    /// This record of the one shard that is read.
    SequenceNumber(String),
}

/// What all shards' tasks share.
#[derive(Clone, Debug)]
struct Reading {
    kinesis: Kinesis,
    stream: Arc<str>,
    start: Start,
    until_now: bool,
    records_left: Arc<Mutex<Option<u64>>>,
    out: Out,
}

/// How a shard's task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The shard is closed and was read to its end.
    Finished,
    /// The shard is open, and what was there is read: only that was asked for.
    CaughtUp,
    /// Nobody takes more.
    Enough,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Iterator {
    shard_iterator: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecords {
    records: Vec<Got>,
    next_shard_iterator: Option<String>,
    #[serde(default)]
    millis_behind_latest: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got {
    sequence_number: String,
    partition_key: String,
    data: String,
    approximate_arrival_timestamp: Option<f64>,
}

impl Kinesis {
    /// A reader of a stream.
    pub(crate) fn consumer(&self, options: ConsumerOptions, start: Start) -> Consumer {
        let kinesis = self.clone();
        Consumer::of_task(|out| async move {
            let told = out.clone();
            if let Err(error) = run(kinesis, options, start, out).await {
                // If nobody takes it, nobody wants it.
                let _ = told.send(Err(error)).await;
            }
        })
    }
}

async fn run(
    kinesis: Kinesis,
    options: ConsumerOptions,
    start: Start,
    out: Out,
) -> Result<(), Error> {
    if let Start::At(From::Last(count)) = start
        && count > LAST_MAX
    {
        let why = format!("of a shard of Kinesis at most the last {LAST_MAX} are found");
        return Err(refusal(Reason::Invalid, why));
    }
    let reading = Reading {
        kinesis,
        stream: options.stream.as_str().into(),
        start,
        until_now: options.until_now,
        records_left: Arc::new(Mutex::new(options.records_max)),
        out,
    };
    if options.records_max == Some(0) {
        return Ok(());
    }
    let shards = reading.kinesis.shards(&reading.stream).await?;
    let mut wanted = Shards::of(&shards, &options.partitions, &reading)?;
    let mut tasks = JoinSet::new();
    let mut is_enough = false;
    loop {
        let ready = if is_enough { Vec::new() } else { wanted.next() };
        for (shard, start) in ready {
            let reading = reading.clone();
            tasks.spawn(async move {
                let end = reading.read(&shard, start).await;
                (shard.shard_id, end)
            });
        }
        let Some(ended) = tasks.join_next().await else { return Ok(()) };
        let (id, end) = ended.map_err(|error| Error::Protocol(error.to_string()))?;
        match end? {
            // The others see so at their next answer; what they have handed on counts.
            End::Enough => is_enough = true,
            End::CaughtUp => {}
            End::Finished => {
                wanted.finished.insert(id);
                if options.partitions.is_empty() {
                    wanted.add(&reading.kinesis.shards(&reading.stream).await?);
                }
            }
        }
    }
}

/// Which shards wait for their parents.
struct Shards {
    waiting: BTreeMap<String, (Shard, Start)>,
    known: BTreeSet<String>,
    finished: BTreeSet<String>,
}

impl Shards {
    fn of(all: &[Shard], chosen: &[u32], reading: &Reading) -> Result<Shards, Error> {
        let mut shards = Shards {
            waiting: BTreeMap::new(),
            known: all.iter().map(|shard| shard.shard_id.clone()).collect(),
            finished: BTreeSet::new(),
        };
        for index in chosen {
            if !all.iter().any(|shard| shard.index().ok() == Some(*index)) {
                return Err(unknown_partition(*index));
            }
        }
        for shard in all {
            let is_chosen = chosen.is_empty() || chosen.contains(&shard.index()?);
            // A closed shard has nothing behind its newest record.
            let is_over = reading.start == Start::At(From::Latest) && !shard.is_open();
            if is_chosen && !is_over {
                let start = reading.start.clone();
                shards.waiting.insert(shard.shard_id.clone(), (shard.clone(), start));
            } else {
                shards.finished.insert(shard.shard_id.clone());
            }
        }
        Ok(shards)
    }

    /// Those that came since; they are read from their beginnings.
    fn add(&mut self, all: &[Shard]) {
        for shard in all {
            if self.known.insert(shard.shard_id.clone()) {
                let start = Start::At(From::Earliest);
                self.waiting.insert(shard.shard_id.clone(), (shard.clone(), start));
            }
        }
    }

    /// Takes those out whose parents are read, or gone.
    fn next(&mut self) -> Vec<(Shard, Start)> {
        let (known, finished) = (&self.known, &self.finished);
        let is_read = |id: &String| finished.contains(id) || !known.contains(id);
        let ready: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, (shard, _))| shard.parents().all(is_read))
            .map(|(id, _)| id.clone())
            .collect();
        ready.into_iter().filter_map(|id| self.waiting.remove(&id)).collect()
    }
}

impl Reading {
    /// Reads one shard until it, or what is wanted of it, ends.
    async fn read(&self, shard: &Shard, start: Start) -> Result<End, Error> {
        let partition = shard.index()?;
        let mut held = Held::of(&start);
        let mut last = None;
        let mut iterator = self.iterator(shard, &start, None).await?;
        loop {
            let called = self.kinesis.clock().real_moment();
            let body = json!({"ShardIterator": iterator});
            let answer: GetRecords = match self.kinesis.call("GetRecords", &body).await {
                Ok(answer) => answer,
                Err(error) if error.reason() == Some(Reason::OutOfRange) => {
                    // It was not used for five minutes: the program was stopped, or a terminal.
                    iterator = self.iterator(shard, &start, last.as_deref()).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(newest) = answer.records.last() {
                last = Some(newest.sequence_number.clone());
            }
            let mut records = Vec::with_capacity(answer.records.len());
            for record in answer.records {
                records.push(self.shown(partition, record)?);
            }
            let is_caught_up = answer.millis_behind_latest.is_none_or(|behind| behind == 0);
            let is_closed = answer.next_shard_iterator.is_none();
            let records = held.through(records, is_caught_up || is_closed);
            if !self.hand_on(records).await {
                return Ok(End::Enough);
            }
            match answer.next_shard_iterator {
                None => return Ok(End::Finished),
                Some(_) if self.until_now && is_caught_up => return Ok(End::CaughtUp),
                Some(next) => iterator = next,
            }
            let passed = self.kinesis.clock().real_moment().since(called);
            tokio::time::sleep(CALL_EVERY.saturating_sub(passed)).await;
        }
    }

    /// An iterator behind a record that was read, or where the shard is begun.
    async fn iterator(
        &self,
        shard: &Shard,
        start: &Start,
        last: Option<&str>,
    ) -> Result<String, Error> {
        let place = match (last, start) {
            (Some(number), _) => sequence("AFTER_SEQUENCE_NUMBER", number),
            (None, Start::SequenceNumber(number)) => sequence("AT_SEQUENCE_NUMBER", number),
            (None, Start::At(From::Offset(number))) => {
                sequence("AT_SEQUENCE_NUMBER", &number.to_string())
            }
            (None, Start::At(From::Earliest | From::Last(_))) => {
                json!({"ShardIteratorType": "TRIM_HORIZON"})
            }
            (None, Start::At(From::Latest)) => json!({"ShardIteratorType": "LATEST"}),
            (None, Start::At(From::TimestampMs(millis))) => json!({
                "ShardIteratorType": "AT_TIMESTAMP",
                "Timestamp": seconds(*millis),
            }),
        };
        let mut body = json!({"StreamName": &*self.stream, "ShardId": shard.shard_id});
        if let (Some(members), Value::Object(place)) = (body.as_object_mut(), place) {
            members.extend(place);
        }
        let iterator: Iterator = self.kinesis.call("GetShardIterator", &body).await?;
        Ok(iterator.shard_iterator)
    }

    fn shown(&self, partition: u32, got: Got) -> Result<Record, Error> {
        let value = STANDARD.decode(&got.data);
        let value = value.map_err(|_| Error::Protocol("data that is no base64".to_owned()))?;
        let timestamp_ms = got.approximate_arrival_timestamp.map_or(0, millis);
        Ok(Record {
            stream: Arc::clone(&self.stream),
            place: Place { partition, offset: 0, timestamp_ms },
            sequence_number: Some(got.sequence_number.into()),
            key: Some(got.partition_key.into()),
            value: Some(value.into()),
            headers: Vec::new(),
        })
    }

    /// Hands records on; whether more are wanted.
    async fn hand_on(&self, mut records: Vec<Record>) -> bool {
        let is_enough = match &mut *self.records_left.lock() {
            None => false,
            Some(left) => {
                records.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = left.saturating_sub(records.len() as u64);
                *left == 0
            }
        };
        if !records.is_empty() && self.out.send(Ok(records)).await.is_err() {
            return false;
        }
        !is_enough
    }
}

/// The last records of a shard, until it is caught up with.
struct Held {
    count: Option<usize>,
    records: VecDeque<Record>,
}

impl Held {
    fn of(start: &Start) -> Held {
        let count = match start {
            Start::At(From::Last(count)) => usize::try_from(*count).ok(),
            _ => None,
        };
        Held { count, records: VecDeque::new() }
    }

    /// What is to be handed on now.
    fn through(&mut self, records: Vec<Record>, is_caught_up: bool) -> Vec<Record> {
        let Some(count) = self.count else { return records };
        self.records.extend(records);
        let before = self.records.len().saturating_sub(count);
        self.records.drain(..before);
        if !is_caught_up {
            return Vec::new();
        }
        self.count = None;
        self.records.drain(..).collect()
    }
}

fn sequence(kind: &str, number: &str) -> Value {
    json!({"ShardIteratorType": kind, "StartingSequenceNumber": number})
}

/// Seconds since 1970, as the API has times.
fn seconds(millis: i64) -> f64 {
    // Exact up to the year 287396.
    millis as f64 / 1000.0
}

/// Milliseconds of what the API says.
pub(super) fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: u64) -> Record {
        Record {
            stream: "s".into(),
            place: Place { partition: 0, offset, timestamp_ms: 0 },
            sequence_number: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    #[test]
    fn the_last_records_are_kept_until_the_shard_is_caught_up_with() {
        let mut held = Held::of(&Start::At(From::Last(3)));
        let offsets = |records: Vec<Record>| -> Vec<u64> {
            records.iter().map(|record| record.place.offset).collect()
        };
        assert_eq!(held.through(vec![record(0), record(1)], false), []);
        assert_eq!(held.through((2..10).map(record).collect(), false), []);
        assert_eq!(offsets(held.through(vec![record(10)], true)), [8, 9, 10]);
        assert_eq!(offsets(held.through(vec![record(11)], true)), [11]);
    }

    #[test]
    fn times_are_seconds_with_their_parts() {
        assert_eq!(millis(1_767_225_599.123), 1_767_225_599_123);
        assert_eq!(millis(seconds(1_767_225_599_123)), 1_767_225_599_123);
    }
}
