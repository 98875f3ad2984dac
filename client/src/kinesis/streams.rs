//! Streams of a Kinesis: made, shown, changed, resharded, removed. Kinesis does all of that in the
//! background; here it is done when a method returns.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Kinesis, named, refusal, unknown_partition};
use crate::admin::PartitionCounts;
use crate::described::{By, Described, DescribedPartition};
use crate::error::{Error, Reason};

/// How long a stream may take to be made, changed or removed; AWS takes half a minute.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const HOUR_MS: u64 = 3_600_000;
/// The one setting that Kinesis has a word for.
const RETENTION: &str = "retention.ms";

/// A shard as it is listed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Shard {
    pub(super) shard_id: String,
    parent_shard_id: Option<String>,
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    ending_sequence_number: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    stream_description_summary: SummaryFields,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SummaryFields {
    stream_status: String,
    retention_period_hours: u64,
    stream_creation_timestamp: Option<f64>,
    open_shard_count: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListStreams {
    stream_names: Vec<String>,
    has_more_streams: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListShards {
    shards: Vec<Shard>,
    next_token: Option<String>,
}

/// How the shards of a stream are to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewShards {
    /// Into two, where this hash key begins the upper one; in the middle where it is none.
    Split(u32, Option<u128>),
    /// Into one.
    Merge(u32, u32),
}

impl Shard {
    /// Its number: the digits behind the last dash of its id.
    pub(super) fn index(&self) -> Result<u32, Error> {
        index(&self.shard_id)
    }

    pub(super) fn is_open(&self) -> bool {
        self.sequence_number_range.ending_sequence_number.is_none()
    }

    /// Ids of what it came from.
    pub(super) fn parents(&self) -> impl Iterator<Item = &String> {
        self.parent_shard_id.iter().chain(&self.adjacent_parent_shard_id)
    }

    pub(super) fn starting_hash_key(&self) -> &str {
        &self.hash_key_range.starting_hash_key
    }

    fn described(&self) -> Result<DescribedPartition, Error> {
        let parents: Result<Vec<u32>, Error> = self.parents().map(|id| index(id)).collect();
        let HashKeyRange { starting_hash_key, ending_hash_key } = self.hash_key_range.clone();
        Ok(DescribedPartition {
            index: self.index()?,
            is_open: self.is_open(),
            parents: parents?,
            hash_keys: Some((starting_hash_key, ending_hash_key)),
            ..DescribedPartition::default()
        })
    }
}

pub(super) fn index(id: &str) -> Result<u32, Error> {
    let digits = id.rsplit('-').next().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| Error::Protocol(format!("{id} is no shard's id")))
}

impl Kinesis {
    /// Makes a stream; it can be used when this returns.
    pub(crate) async fn create_stream(
        &self,
        name: &str,
        shards: u32,
        settings: &BTreeMap<String, String>,
    ) -> Result<Described, Error> {
        let hours = retention_hours(settings)?;
        let body = json!({"StreamName": name, "ShardCount": shards});
        match self.tell("CreateStream", &body).await {
            Err(error) if error.reason() == Some(Reason::NotAllowed) => {
                // Only a name that is taken is said so; a refused key is, too.
                return Err(match self.summary(name).await {
                    Ok(_) => refusal(Reason::AlreadyExists, "a stream of that name exists"),
                    Err(_) => error,
                });
            }
            made => made?,
        }
        self.settled(name).await?;
        if let Some(hours) = hours {
            self.set_retention(name, hours).await?;
        }
        self.describe_stream(name).await
    }

    /// All streams whose names begin so, ordered by name, without their shards.
    pub(crate) async fn list_streams(&self, prefix: &str) -> Result<Vec<Described>, Error> {
        let mut names: Vec<String> = Vec::new();
        let mut body = json!({});
        loop {
            let page: ListStreams = self.call("ListStreams", &body).await?;
            names.extend(page.stream_names);
            match names.last() {
                Some(last) if page.has_more_streams => {
                    body = json!({"ExclusiveStartStreamName": last});
                }
                _ => break,
            }
        }
        names.retain(|name| name.starts_with(prefix));
        names.sort();
        let mut streams = Vec::with_capacity(names.len());
        for name in names {
            match self.summary(&name).await {
                Ok(summary) => streams.push(described(name, &summary)),
                // It was removed meanwhile.
                Err(error) if error.reason() == Some(Reason::UnknownStream) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(streams)
    }

    /// One stream with its shards.
    pub(crate) async fn describe_stream(&self, name: &str) -> Result<Described, Error> {
        let summary = self.summary(name).await?;
        let shards = self.shards(name).await?;
        let partitions: Result<Vec<_>, Error> = shards.iter().map(Shard::described).collect();
        Ok(Described { partitions: partitions?, ..described(name.to_owned(), &summary) })
    }

    /// Removes a stream with its records; its name is free when this returns.
    pub(crate) async fn delete_stream(&self, name: &str) -> Result<(), Error> {
        let body = json!({"StreamName": name, "EnforceConsumerDeletion": true});
        self.tell("DeleteStream", &body).await.map_err(|error| named(error, name))?;
        let start = self.clock().real_moment();
        loop {
            match self.summary(name).await {
                Err(error) if error.reason() == Some(Reason::UnknownStream) => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => self.wait(name, start).await?,
            }
        }
    }

    /// Sets or takes back the settings that Kinesis has words for.
    pub(crate) async fn alter_stream(
        &self,
        name: &str,
        settings: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        match retention_hours(settings)? {
            Some(hours) => self.set_retention(name, hours).await,
            None => Ok(()),
        }
    }

    /// Has a stream scaled to a number of shards.
    pub(crate) async fn set_shard_count(
        &self,
        name: &str,
        shards: u32,
    ) -> Result<PartitionCounts, Error> {
        let before = self.summary(name).await?.open_shard_count;
        let body = json!({
            "StreamName": name, "TargetShardCount": shards, "ScalingType": "UNIFORM_SCALING",
        });
        self.tell("UpdateShardCount", &body).await?;
        let now = self.settled(name).await?.open_shard_count;
        Ok(PartitionCounts { before, now })
    }

    /// Splits or merges shards; those that were made.
    pub(crate) async fn reshard(
        &self,
        name: &str,
        change: NewShards,
    ) -> Result<Vec<DescribedPartition>, Error> {
        let before = self.shards(name).await?;
        let find = |index: u32| {
            let mut found = before.iter().filter(|shard| shard.index().ok() == Some(index));
            found.next().ok_or_else(|| unknown_partition(index))
        };
        match change {
            NewShards::Split(index, at) => {
                let shard = find(index)?;
                let at = at.map_or_else(|| middle(&shard.hash_key_range), Ok)?;
                let body = json!({
                    "StreamName": name,
                    "ShardToSplit": shard.shard_id,
                    "NewStartingHashKey": at.to_string(),
                });
                self.tell("SplitShard", &body).await?;
            }
            NewShards::Merge(index, adjacent) => {
                let body = json!({
                    "StreamName": name,
                    "ShardToMerge": find(index)?.shard_id,
                    "AdjacentShardToMerge": find(adjacent)?.shard_id,
                });
                self.tell("MergeShards", &body).await?;
            }
        }
        self.settled(name).await?;
        let after = self.shards(name).await?;
        let is_new = |shard: &&Shard| before.iter().all(|old| old.shard_id != shard.shard_id);
        after.iter().filter(is_new).map(Shard::described).collect()
    }

    /// All shards, in the order of their numbers.
    pub(super) async fn shards(&self, name: &str) -> Result<Vec<Shard>, Error> {
        let mut shards = Vec::new();
        let mut body = json!({"StreamName": name});
        loop {
            let page: ListShards =
                self.call("ListShards", &body).await.map_err(|error| named(error, name))?;
            shards.extend(page.shards);
            match page.next_token {
                Some(token) => body = json!({"NextToken": token}),
                None => break,
            }
        }
        let mut numbered = Vec::with_capacity(shards.len());
        for shard in shards {
            numbered.push((shard.index()?, shard));
        }
        numbered.sort_by_key(|(index, _)| *index);
        Ok(numbered.into_iter().map(|(_, shard)| shard).collect())
    }

    async fn summary(&self, name: &str) -> Result<SummaryFields, Error> {
        let body = json!({"StreamName": name});
        let asked: Result<Summary, Error> = self.call("DescribeStreamSummary", &body).await;
        let summary = asked.map_err(|error| named(error, name))?;
        Ok(summary.stream_description_summary)
    }

    /// Waits until a stream is no longer being made or changed.
    async fn settled(&self, name: &str) -> Result<SummaryFields, Error> {
        let start = self.clock().real_moment();
        loop {
            let summary = self.summary(name).await?;
            if summary.stream_status == "ACTIVE" {
                return Ok(summary);
            }
            self.wait(name, start).await?;
        }
    }

    async fn wait(&self, name: &str, start: weir_model::time::Moment) -> Result<(), Error> {
        if self.clock().real_moment().since(start) > CHANGE_WAIT_MAX {
            let why = format!("{name} is still being changed after {CHANGE_WAIT_MAX:?}");
            return Err(refusal(Reason::Busy, why));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        Ok(())
    }

    async fn set_retention(&self, name: &str, hours: u64) -> Result<(), Error> {
        let now = self.summary(name).await?.retention_period_hours;
        let action = match hours.cmp(&now) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Less => "DecreaseStreamRetentionPeriod",
            std::cmp::Ordering::Greater => "IncreaseStreamRetentionPeriod",
        };
        let body: Value = json!({"StreamName": name, "RetentionPeriodHours": hours});
        self.tell(action, &body).await?;
        self.settled(name).await.map(|_| ())
    }
}

/// The retention that settings ask for. Refuses any that Kinesis has no word for.
fn retention_hours(settings: &BTreeMap<String, String>) -> Result<Option<u64>, Error> {
    let mut hours = None;
    for (name, value) in settings {
        if name != RETENTION {
            let why = format!("Kinesis has no setting {name}, only {RETENTION}");
            return Err(refusal(Reason::Invalid, why));
        }
        let millis = value.parse::<u64>().ok().filter(|millis| millis % HOUR_MS == 0);
        let why = format!("{RETENTION}={value} is refused: Kinesis keeps records for whole hours");
        let millis = millis.ok_or_else(|| refusal(Reason::Invalid, why))?;
        hours = Some(millis / HOUR_MS);
    }
    Ok(hours)
}

fn middle(range: &HashKeyRange) -> Result<u128, Error> {
    let parse = |text: &str| {
        text.parse::<u128>().map_err(|_| Error::Protocol(format!("{text} is no hash key")))
    };
    let (first, last) = (parse(&range.starting_hash_key)?, parse(&range.ending_hash_key)?);
    Ok(first + (last.saturating_sub(first)) / 2 + 1)
}

fn described(name: String, summary: &SummaryFields) -> Described {
    let retention_ms = summary.retention_period_hours.saturating_mul(HOUR_MS);
    Described {
        name,
        by: Some(By::Hash),
        created_at_ms: summary.stream_creation_timestamp.map(super::reader::millis),
        open_partitions: Some(summary.open_shard_count),
        settings: BTreeMap::from([(RETENTION.to_owned(), retention_ms.to_string())]),
        ..Described::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_in_whole_hours_and_the_only_setting() {
        for (name, value, hours) in [
            (RETENTION, "86400000", Some(24)),
            (RETENTION, "86400001", None),
            (RETENTION, "soon", None),
            ("cleanup.policy", "compact", None),
        ] {
            let settings = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(retention_hours(&settings).ok().flatten(), hours, "{name}={value}");
        }
    }

    #[test]
    fn a_shard_is_numbered_by_its_id_and_halved_in_its_middle() {
        assert_eq!(index("shardId-000000000012").ok(), Some(12));
        assert!(index("shard").is_err());
        let range = HashKeyRange {
            starting_hash_key: "0".to_owned(),
            ending_hash_key: u128::MAX.to_string(),
        };
        assert_eq!(middle(&range).ok(), Some(1 << 127));
    }
}
