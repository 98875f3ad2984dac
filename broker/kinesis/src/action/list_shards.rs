//! ListShards: the shards of a stream, a page at a time, filtered by lineage and time.
//!
//! Inputs: the stream or `NextToken` but not both; `ExclusiveStartShardId`, `MaxResults` (default
//! 1,000), `StreamCreationTimestamp` (must be the stream's own), `ShardFilter`.
//!
//! Behaviour: a closed shard is listed until it has been closed for the retention period and holds
//! no records any more, whatever the filter. The token remembers the stream, the filter and the
//! last shard, and is good for 300 s.
//!
//! | filter | shards |
//! |---|---|
//! | none, FROM_TRIM_HORIZON | all |
//! | AFTER_SHARD_ID | those behind `ShardId` |
//! | AT_LATEST | open now |
//! | AT_TRIM_HORIZON, AT_TIMESTAMP | open at that time |
//! | FROM_TIMESTAMP | open at that time or later |
//!
//! AT_TRIM_HORIZON and AT_TIMESTAMP mean no time before a shard was closed that is listed no more:
//! what took its place is listed instead, so there is no hole. Before the stream was made there is
//! no shard.

use std::sync::Arc;

use bytes::Bytes;
use weir_core::partition::partition::Partition;
use weir_core::stream::stream::Stream;
use weir_model::time::Timestamp;

use crate::action::describe_stream::start_shard;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::page_token;
use crate::sealed_token::Purpose;
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::shard::{ShardId, write_shard};
use crate::stream_reference::{check_creation_time, find_stream};

const MAX_RESULTS_DEFAULT: usize = 1_000;

static FILTER_TYPE: Shape = Shape {
    kind: Kind::Text,
    rules: &[Rule::OneOf(&[
        "AFTER_SHARD_ID",
        "AT_TRIM_HORIZON",
        "FROM_TRIM_HORIZON",
        "AT_LATEST",
        "AT_TIMESTAMP",
        "FROM_TIMESTAMP",
    ])],
};
static FILTER: Shape = Shape {
    kind: Kind::Structure(&[
        Member::required("Type", &FILTER_TYPE),
        Member::optional("ShardId", &shape::SHARD_ID),
        Member::optional("Timestamp", &shape::TIMESTAMP),
    ]),
    rules: &[],
};

pub(super) static ACTION: Action = Action {
    name: "ListShards",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::optional("NextToken", &shape::NEXT_TOKEN),
        Member::optional("ExclusiveStartShardId", &shape::SHARD_ID),
        Member::optional("MaxResults", &shape::LIMIT),
        Member::optional("StreamCreationTimestamp", &shape::TIMESTAMP),
        Member::optional("ShardFilter", &FILTER),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Stream(1000.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let names_stream =
        call.input.text("StreamName").is_some() || call.input.text("StreamARN").is_some();
    let listing = match (call.input.text("NextToken"), names_stream) {
        (Some(_), true) => {
            return Err(KinesisError::invalid_argument(
                "NextToken and StreamName cannot be provided together.",
            ));
        }
        (None, false) => {
            return Err(KinesisError::invalid_argument(
                "Either NextToken or StreamName should be provided.",
            ));
        }
        (Some(token), false) => Listing::continued(call, token)?,
        (None, true) => Listing::begun(call)?,
    };
    let limit = call
        .input
        .integer("MaxResults")
        .map_or(MAX_RESULTS_DEFAULT, |limit| usize::try_from(limit).unwrap_or(MAX_RESULTS_DEFAULT));
    let (name, state) = (&listing.stream.name, listing.stream.state(call.now()));
    if !state.is_in_use() {
        return Err(KinesisError::not_active(name.as_str(), call.account(), state));
    }
    Ok(listing.page(call, limit))
}

/// What is listed: a stream's shards that pass the filter, behind `after`.
struct Listing {
    stream: Arc<Stream>,
    filter: Filter,
    after: Option<ShardId>,
}

/// Which shards pass, as two conditions on their life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Filter {
    /// Made at this time or before; none: at any time.
    created_by: Option<Timestamp>,
    /// Open after this time; none: open now.
    open_after: Option<Timestamp>,
}

impl Filter {
    fn open_at(time: Timestamp) -> Filter {
        Filter { created_by: Some(time), open_after: Some(time) }
    }

    fn lets_pass(self, partition: &Partition) -> bool {
        let created = self.created_by.is_none_or(|time| partition.created <= time);
        let open = match (partition.closed_at(), self.open_after) {
            (None, _) => true,
            (Some(closed), Some(time)) => closed.time > time,
            (Some(_), None) => false,
        };
        created && open
    }
}

impl Listing {
    /// The first page, as the request asks for it.
    fn begun(call: &Call<'_>) -> Result<Listing, KinesisError> {
        let stream = find_stream(call)?;
        check_creation_time(call, &stream)?;
        let horizon = stream.lineage_horizon(call.now());
        let mut after = start_shard(call, &stream)?;
        let all = Filter { created_by: None, open_after: Some(Timestamp::from_millis(0)) };
        let Some(asked) = call.input.structure("ShardFilter") else {
            let filter = all;
            return Ok(Listing { stream, filter, after });
        };
        let kind = asked.text("Type").unwrap_or_default();
        let time = || {
            asked.timestamp("Timestamp").ok_or_else(|| {
                KinesisError::invalid_argument(format!(
                    "Timestamp is required for a ShardFilter of type {kind}."
                ))
            })
        };
        let filter = match kind {
            "AFTER_SHARD_ID" => {
                let text = asked.text("ShardId").ok_or_else(|| {
                    KinesisError::invalid_argument(format!(
                        "ShardId is required for a ShardFilter of type {kind}."
                    ))
                })?;
                let shard = ShardId::parse(text).map_err(|_| {
                    KinesisError::could_not_find_shard(text, stream.name.as_str(), call.account())
                })?;
                after = after.max(Some(shard));
                all
            }
            "AT_LATEST" => Filter { created_by: None, open_after: None },
            "AT_TRIM_HORIZON" => Filter::open_at(horizon),
            "AT_TIMESTAMP" => match time()? {
                time if time < stream.created => Filter::open_at(time),
                time => Filter::open_at(time.max(horizon)),
            },
            "FROM_TIMESTAMP" => Filter { created_by: None, open_after: Some(time()?) },
            _ => all,
        };
        Ok(Listing { stream, filter, after })
    }

    fn page(&self, call: &Call<'_>, limit: usize) -> Bytes {
        let known = self.stream.known_partitions(call.now());
        let mut listed = known.iter().filter(|partition| {
            let shard = ShardId(partition.id.index);
            self.after.is_none_or(|after| shard > after) && self.filter.lets_pass(partition)
        });
        let mut writer = call.writer();
        writer.begin_map();
        writer.name("Shards");
        writer.begin_list();
        let mut last = self.after;
        for partition in listed.by_ref().take(limit) {
            write_shard(&mut writer, partition);
            last = Some(ShardId(partition.id.index));
        }
        writer.end_list();
        if listed.next().is_some() {
            let position = self.position_after(last);
            let (key, now) = (call.token_key(), call.now());
            let token = page_token::seal(key, Purpose::ListShards, now, &position);
            writer.text_member("NextToken", &token);
        }
        writer.end_map();
        writer.into_bytes()
    }

    /// The page token's text: stream id, created by, open after, last shard; `-` for none.
    fn position_after(&self, last: Option<ShardId>) -> String {
        let time = |time: Option<Timestamp>| {
            time.map_or_else(|| "-".to_owned(), |time| time.as_millis().to_string())
        };
        format!(
            "{} {} {} {}",
            self.stream.id,
            time(self.filter.created_by),
            time(self.filter.open_after),
            last.map_or_else(|| "-".to_owned(), |shard| shard.0.to_string()),
        )
    }

    /// The page that a token stands for.
    fn continued(call: &Call<'_>, token: &str) -> Result<Listing, KinesisError> {
        let position = page_token::open(call.token_key(), Purpose::ListShards, call.now(), token)?;
        let invalid = || KinesisError::invalid_argument("Invalid NextToken.");
        let mut parts = position.split(' ');
        let mut part = || parts.next().ok_or_else(invalid);
        let id = part()?.parse().map_err(|_| invalid())?;
        let time = |text: &str| match text {
            "-" => Ok(None),
            text => text
                .parse()
                .map(|millis| Some(Timestamp::from_millis(millis)))
                .map_err(|_| invalid()),
        };
        let filter = Filter { created_by: time(part()?)?, open_after: time(part()?)? };
        let after = match part()? {
            "-" => None,
            text => Some(ShardId::parse(text).map_err(|_| invalid())?),
        };
        // The token cannot name a stream that is gone: nothing tells which one it was.
        let stream = call.broker().stream_by_id(id).ok_or_else(invalid)?;
        Ok(Listing { stream, filter, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Harness, text};
    use serde_json::{Value as Json, json};
    use weir_core::partition::delete_records::{DeleteBefore, RecordDeletion};

    fn ids(reply: &Json) -> Vec<u32> {
        let shards = reply["Shards"].as_array().expect("a list of shards");
        let index = |shard: &Json| {
            let id = ShardId::parse(shard["ShardId"].as_str().expect("an id")).expect("a shard id");
            id.0.as_u32()
        };
        shards.iter().map(index).collect()
    }

    #[tokio::test]
    async fn shards_are_listed_in_pages() {
        let harness = Harness::new().await;
        harness.create_stream("s", 3).await;
        let page = harness.ok("ListShards", json!({"StreamName": "s", "MaxResults": 2})).await;
        assert_eq!(ids(&page), [0, 1]);
        let token = text(&page["NextToken"]);
        let rest = harness.ok("ListShards", json!({"NextToken": token})).await;
        assert_eq!(ids(&rest), [2]);
        assert_eq!(rest.get("NextToken"), None);
        harness.advance_ms(300_001);
        let (kind, _) = harness.error("ListShards", json!({"NextToken": token})).await;
        assert_eq!(kind, "ExpiredNextToken");
    }

    #[tokio::test]
    async fn filters_choose_by_position_and_time() {
        let harness = Harness::new().await;
        harness.create_stream("s", 3).await;
        harness.advance_ms(10_000);
        let (made, before, now) = (1_700_000_000, 1_699_999_999, 1_700_000_010);
        for (filter, expected) in [
            (json!({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000000"}), &[1, 2][..]),
            (json!({"Type": "AT_TRIM_HORIZON"}), &[0, 1, 2]),
            (json!({"Type": "FROM_TRIM_HORIZON"}), &[0, 1, 2]),
            (json!({"Type": "AT_LATEST"}), &[0, 1, 2]),
            (json!({"Type": "AT_TIMESTAMP", "Timestamp": made}), &[0, 1, 2]),
            (json!({"Type": "AT_TIMESTAMP", "Timestamp": before}), &[]),
            (json!({"Type": "FROM_TIMESTAMP", "Timestamp": now}), &[0, 1, 2]),
        ] {
            let input = json!({"StreamName": "s", "ShardFilter": filter});
            assert_eq!(ids(&harness.ok("ListShards", input).await), expected, "{filter}");
        }
    }

    /// Shard 0 is split after 10 s into 1 and 2, which are merged after 20 s into 3. A shard ends a
    /// millisecond after the last that it may hold.
    async fn split_and_merged() -> Harness {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.advance_ms(10_000);
        let mut split = json!({"StreamName": "s", "ShardToSplit": "0"});
        split["NewStartingHashKey"] = json!("99");
        harness.ok("SplitShard", split).await;
        harness.advance_ms(10_000);
        let merge = json!({"StreamName": "s", "ShardToMerge": "1", "AdjacentShardToMerge": "2"});
        harness.ok("MergeShards", merge).await;
        harness
    }

    #[tokio::test]
    async fn filters_follow_the_lineage() {
        let harness = split_and_merged().await;
        let at = |kind: &str, seconds: f64| {
            let time = 1_700_000_000.0 + seconds;
            json!({"Type": kind, "Timestamp": time})
        };
        for (filter, expected) in [
            (json!({"Type": "FROM_TRIM_HORIZON"}), &[0, 1, 2, 3][..]),
            (json!({"Type": "AT_TRIM_HORIZON"}), &[0]),
            (json!({"Type": "AT_LATEST"}), &[3]),
            (json!({"Type": "AFTER_SHARD_ID", "ShardId": "1"}), &[2, 3]),
            (at("AT_TIMESTAMP", 0.0), &[0]),
            (at("AT_TIMESTAMP", 10.0), &[0]),
            (at("AT_TIMESTAMP", 10.001), &[1, 2]),
            (at("AT_TIMESTAMP", 20.0), &[1, 2]),
            (at("AT_TIMESTAMP", 20.001), &[3]),
            (at("FROM_TIMESTAMP", 10.0), &[0, 1, 2, 3]),
            (at("FROM_TIMESTAMP", 10.001), &[1, 2, 3]),
            (at("FROM_TIMESTAMP", 20.001), &[3]),
        ] {
            let input = json!({"StreamName": "s", "ShardFilter": filter});
            assert_eq!(ids(&harness.ok("ListShards", input).await), expected, "{filter}");
        }
    }

    #[tokio::test]
    async fn closed_shards_are_forgotten_when_they_are_old_and_empty() {
        let harness = split_and_merged().await;
        let day = 24 * 3_600_000;
        for (advance, expected) in [
            (day - 10_000, &[0, 1, 2, 3][..]),
            (1, &[1, 2, 3]),
            (9_999, &[1, 2, 3]),
            (1, &[3]),
            (30 * day, &[3]),
        ] {
            harness.advance_ms(advance);
            let listed = harness.ok("ListShards", json!({"StreamName": "s"})).await;
            assert_eq!(ids(&listed), expected);
            let described = harness.ok("DescribeStream", json!({"StreamName": "s"})).await;
            assert_eq!(ids(&described["StreamDescription"]), expected);
        }
        let mut input = json!({"StreamName": "s", "ShardId": "2"});
        input["ShardIteratorType"] = json!("TRIM_HORIZON");
        let gone = "Shard shardId-000000000002 in stream s under account 000000000000 does not \
                    exist";
        let expected = ("ResourceNotFound".to_owned(), gone.to_owned());
        assert_eq!(harness.error("GetShardIterator", input).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn the_horizon_has_no_hole_when_a_longer_retention_moves_it_back() {
        let day = 24 * 3_600_000;
        // How long after the merge; when the first shards listed were made, in s; which they are.
        for (age, first, expected) in
            [(10_000, 0, &[0][..]), (day - 5_000, 10, &[1, 2]), (day + 3_600_000, 20, &[3])]
        {
            let harness = split_and_merged().await;
            harness.advance_ms(age);
            // The broker looks every second.
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            let check = async |when: &str| {
                for filter in [
                    json!({"Type": "AT_TRIM_HORIZON"}),
                    json!({"Type": "AT_TIMESTAMP", "Timestamp": 1_700_000_000}),
                    json!({"Type": "AT_TIMESTAMP", "Timestamp": 1_700_000_000 + first}),
                ] {
                    let input = json!({"StreamName": "s", "ShardFilter": filter});
                    let listed = ids(&harness.ok("ListShards", input).await);
                    assert_eq!(listed, expected, "{filter} {when}, {age} ms after the merge");
                }
            };
            check("before").await;
            let longer = json!({"StreamName": "s", "RetentionPeriodHours": 168});
            harness.ok("IncreaseStreamRetentionPeriod", longer).await;
            check("with a longer retention").await;
        }
    }

    #[tokio::test]
    async fn a_closed_shard_that_holds_records_is_listed_however_old_it_is() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.put("s", "k", "kept").await;
        let mut split = json!({"StreamName": "s", "ShardToSplit": "0"});
        split["NewStartingHashKey"] = json!("99");
        harness.ok("SplitShard", split).await;
        // The log in memory removes nothing by itself.
        harness.advance_ms(48 * 3_600_000);
        let listed = harness.ok("ListShards", json!({"StreamName": "s"})).await;
        assert_eq!(ids(&listed), [0, 1, 2]);
        let stream = harness.broker.stream("s").expect("the stream");
        let partition = stream.partitions()[0].clone();
        let before = DeleteBefore::HighWatermark;
        let deletion = RecordDeletion { stream, partition, before };
        harness.broker.delete_records(&[deletion]).await.remove(0).expect("deleted");
        let listed = harness.ok("ListShards", json!({"StreamName": "s"})).await;
        assert_eq!(ids(&listed), [1, 2]);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let filter = |kind: &str| json!({"StreamName": "s", "ShardFilter": {"Type": kind}});
        for (input, kind, message) in [
            (json!({}), "InvalidArgument", "Either NextToken or StreamName should be provided."),
            (
                json!({"StreamName": "s", "NextToken": "t"}),
                "InvalidArgument",
                "NextToken and StreamName cannot be provided together.",
            ),
            (json!({"NextToken": "t"}), "InvalidArgument", "Invalid NextToken."),
            (
                json!({"StreamName": "s", "StreamCreationTimestamp": 1}),
                "ResourceNotFound",
                "Stream s under account 000000000000 not found.",
            ),
            (
                filter("AFTER_SHARD_ID"),
                "InvalidArgument",
                "ShardId is required for a ShardFilter of type AFTER_SHARD_ID.",
            ),
            (
                filter("FROM_TIMESTAMP"),
                "InvalidArgument",
                "Timestamp is required for a ShardFilter of type FROM_TIMESTAMP.",
            ),
        ] {
            let expected = (kind.to_owned(), message.to_owned());
            assert_eq!(harness.error("ListShards", input.clone()).await, expected, "{input}");
        }
        let created = json!({"StreamName": "s", "StreamCreationTimestamp": 1_700_000_000.0});
        assert_eq!(ids(&harness.ok("ListShards", created).await), [0]);
    }
}
