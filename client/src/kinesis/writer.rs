//! PutRecords: records in requests of up to 500.
//!
//! Kinesis says of each record of a request whether it was kept, and promises nothing about the
//! order of the others when one was not. So a request has each key once: the next record of a key
//! waits until the one before it is kept, and order per key holds whatever is tried again.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_model::time::Moment;

use super::streams::Shard;
use super::{Kinesis, named, reason_of, refusal, unknown_partition};
use crate::error::{Error, Reason};
use crate::record::{NewRecord, WantedPlace};
use crate::retry::Retry;

/// Most records of a request.
const RECORDS_MAX: usize = 500;
/// Most bytes of a request; Kinesis takes 5 MiB, in which it counts keys and data.
const BYTES_MAX: usize = 4 << 20;
/// Longest key, in characters.
const KEY_CHARACTERS_MAX: usize = 256;
/// How long is tried to have a record kept.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(120);

/// Where a record is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) partition: u32,
    pub(crate) sequence_number: String,
}

/// Writes records to a stream.
#[derive(Debug)]
pub(crate) struct Writer {
    kinesis: Kinesis,
    stream: String,
    shards: Vec<Shard>,
    waiting: Vec<Value>,
    keys: HashSet<String>,
    bytes: usize,
    /// Counts up the keys that records without one are given.
    turn: u64,
    began: Moment,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecords {
    records: Vec<Put>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    sequence_number: Option<String>,
    shard_id: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
}

/// Why a record cannot be written to a Kinesis.
pub(crate) fn check(record: &NewRecord) -> Result<(), String> {
    if !record.headers.is_empty() {
        return Err("Kinesis has no headers".to_owned());
    }
    if record.value.is_none() {
        return Err("a record of Kinesis has a value".to_owned());
    }
    if record.timestamp_ms.is_some() {
        return Err("Kinesis gives records their times itself".to_owned());
    }
    let Some(key) = &record.key else { return Ok(()) };
    let Ok(key) = std::str::from_utf8(key) else {
        return Err("a key of Kinesis is text".to_owned());
    };
    match key.chars().count() {
        1..=KEY_CHARACTERS_MAX => Ok(()),
        count => Err(format!("a key of Kinesis has 1 to {KEY_CHARACTERS_MAX} characters: {count}")),
    }
}

impl Kinesis {
    /// A writer to a stream that exists.
    pub(crate) async fn writer(&self, stream: &str) -> Result<Writer, Error> {
        let shards = self.shards(stream).await?;
        Ok(Writer {
            kinesis: self.clone(),
            stream: stream.to_owned(),
            shards,
            waiting: Vec::new(),
            keys: HashSet::new(),
            bytes: 0,
            turn: 0,
            began: self.clock().real_moment(),
        })
    }
}

impl Writer {
    /// Whether something waits to be sent.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands a record over, which [`check`] has passed. What has to be sent before it is sent;
    /// where that is kept.
    pub(crate) async fn send(&mut self, record: NewRecord) -> Result<Vec<Placed>, Error> {
        let hash_key = self.hash_key(&record.place)?;
        let is_made_up = record.key.is_none();
        let key = match record.key {
            Some(key) => String::from_utf8_lossy(&key).into_owned(),
            None => self.next_key(),
        };
        let data = record.value.unwrap_or_default();
        let bytes = key.len() + data.len();
        let is_full = self.waiting.len() >= RECORDS_MAX || self.bytes + bytes > BYTES_MAX;
        let placed = match is_full || self.keys.contains(&key) {
            true => self.flush().await?,
            false => Vec::new(),
        };
        if self.waiting.is_empty() {
            self.began = self.kinesis.clock().real_moment();
        }
        self.waiting.push(entry(&key, &data, hash_key));
        if !is_made_up {
            self.keys.insert(key);
        }
        self.bytes += bytes;
        Ok(placed)
    }

    /// Sends what waits; where it is kept, in the order in which it came.
    pub(crate) async fn flush(&mut self) -> Result<Vec<Placed>, Error> {
        let mut left: Vec<(usize, Value)> =
            std::mem::take(&mut self.waiting).into_iter().enumerate().collect();
        self.keys.clear();
        self.bytes = 0;
        let mut placed: Vec<Option<Placed>> = vec![None; left.len()];
        let retry = Retry { pause_min: Duration::from_millis(50), ..*self.kinesis.retry() };
        let mut failures = 0;
        while !left.is_empty() {
            let refused = self.put(&mut left, &mut placed).await?;
            let Some(refused) = refused else { continue };
            let now = self.kinesis.clock().real_moment();
            if now.since(self.began) > DELIVERY_TIME_MAX || !refused.may_pass() {
                return Err(refused);
            }
            tokio::time::sleep(retry.pause(failures)).await;
            failures += 1;
        }
        Ok(placed.into_iter().flatten().collect())
    }

    /// Sends once, and leaves what was refused; with why.
    async fn put(
        &self,
        left: &mut Vec<(usize, Value)>,
        placed: &mut [Option<Placed>],
    ) -> Result<Option<Error>, Error> {
        let records: Vec<&Value> = left.iter().map(|(_, record)| record).collect();
        let body = json!({"StreamName": self.stream, "Records": records});
        let answer: PutRecords = match self.kinesis.once("PutRecords", &body).await {
            Ok(answer) => answer,
            // What was kept although the answer was lost is written twice, as by AWS's own SDKs.
            Err(error) if error.may_pass() => return Ok(Some(error)),
            Err(error) => return Err(named(error, &self.stream)),
        };
        if answer.records.len() != left.len() {
            return Err(Error::Protocol("PutRecords answers for others than were sent".to_owned()));
        }
        let mut refused = None;
        let mut again = Vec::new();
        for ((place, record), put) in left.drain(..).zip(answer.records) {
            match (put.sequence_number, put.shard_id, put.error_code) {
                (Some(sequence_number), Some(shard), None) => {
                    let partition = super::streams::index(&shard)?;
                    if let Some(slot) = placed.get_mut(place) {
                        *slot = Some(Placed { partition, sequence_number });
                    }
                }
                (_, _, code) => {
                    let code = code.unwrap_or_default();
                    refused = Some(refusal(reason_of(&code), put.error_message.unwrap_or(code)));
                    again.push((place, record));
                }
            }
        }
        *left = again;
        Ok(refused)
    }

    /// The hash key that brings a record where its writer wants it.
    fn hash_key(&self, place: &WantedPlace) -> Result<Option<String>, Error> {
        match place {
            WantedPlace::ByKey => Ok(None),
            WantedPlace::HashKey(hash_key) => Ok(Some(hash_key.to_string())),
            WantedPlace::Partition(index) => {
                let mut shards = self.shards.iter();
                match shards.find(|shard| shard.index().ok() == Some(*index)) {
                    Some(shard) if shard.is_open() => {
                        Ok(Some(shard.starting_hash_key().to_owned()))
                    }
                    Some(_) => Err(refusal(
                        Reason::PartitionClosed,
                        format!("partition {index} is closed"),
                    )),
                    None => Err(unknown_partition(*index)),
                }
            }
        }
    }

    /// A key for a record without one: each another, so that they spread over the shards.
    fn next_key(&mut self) -> String {
        self.turn += 1;
        let now = self.kinesis.clock().now().as_millis();
        format!("{now}-{}", self.turn)
    }
}

fn entry(key: &str, data: &Bytes, hash_key: Option<String>) -> Value {
    let mut entry = json!({"PartitionKey": key, "Data": STANDARD.encode(data)});
    if let (Some(members), Some(hash_key)) = (entry.as_object_mut(), hash_key) {
        members.insert("ExplicitHashKey".to_owned(), hash_key.into());
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kinesis_would_lose_is_refused() {
        for (record, is_legal) in [
            (NewRecord::new("v"), true),
            (NewRecord::new("v").key("k"), true),
            (NewRecord::new("v").key(""), false),
            (NewRecord::new("v").key("k".repeat(257)), false),
            (NewRecord::new("v").key(vec![0xff]), false),
            (NewRecord::new("v").header("n", "v"), false),
            (NewRecord::new("v").timestamp_ms(1), false),
            (NewRecord::tombstone("k"), false),
        ] {
            assert_eq!(check(&record).is_ok(), is_legal, "{record:?}");
        }
    }
}
