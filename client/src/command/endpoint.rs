//! What a command talks to: weir by its native API, any Kafka, or any Kinesis. Commands ask here
//! and mean the same everywhere; what an endpoint cannot do it refuses in a sentence.

use std::collections::HashMap;

use clap::Args;
use weir_model::time::{Clock, SystemClock};

use crate::admin::{
    Admin, GroupDescription, GroupSummary, NewStream, PartitionCounts, Reset, ResetPosition,
    Settings,
};
use crate::command::output::Failure;
use crate::command::position::Begin;
use crate::connection::{Client, LOCAL};
use crate::consumer::{Consumer, ConsumerOptions};
use crate::described::{By, Described, DescribedPartition};
use crate::error::Error;
use crate::kafka::Kafka;
use crate::kafka::topics::NewTopic;
use crate::kinesis::{self, Kinesis, NewShards, Start};
use crate::producer::{Broker, Producer, ProducerOptions};
use crate::record::{From, NewRecord, WantedPlace};
use crate::retry::Retry;

/// The variable that names an endpoint where no flag does.
const VARIABLE: &str = "WEIR_ENDPOINT";
/// Shards of a stream whose maker does not say: Kinesis asks for a number.
const KINESIS_SHARDS: u32 = 1;

/// Which endpoint.
#[derive(Clone, Debug, Args)]
pub(crate) struct EndpointOptions {
    /// The broker's native API [default: WEIR_ENDPOINT, which may be http://…, kafka://HOST:PORT
    /// or kinesis+http://…, or http://localhost:50051]
    #[arg(long, value_name = "URL", conflicts_with_all = ["kafka", "kinesis"])]
    grpc: Option<String>,

    /// Any Kafka in place of it; several brokers with commas
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "kinesis")]
    kafka: Option<String>,

    /// Any Kinesis in place of it, with the credentials and the region of AWS's variables
    #[arg(long, value_name = "URL")]
    kinesis: Option<String>,
}

/// Where an endpoint is, and what it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Native(String),
    Kafka(String),
    Kinesis(String),
}

/// What a command talks to.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    Native(Client),
    Kafka(Kafka),
    Kinesis(Kinesis),
}

/// A topic or stream to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// As many as the endpoint gives where it is none.
    pub(crate) partitions: Option<u32>,
    pub(crate) by: By,
    pub(crate) settings: HashMap<String, String>,
    /// Only ask whether it could be made.
    pub(crate) dry_run: bool,
}

impl EndpointOptions {
    /// What flags of these values say.
    pub(super) fn said(
        grpc: Option<String>,
        kafka: Option<String>,
        kinesis: Option<String>,
    ) -> EndpointOptions {
        EndpointOptions { grpc, kafka, kinesis }
    }

    pub(super) fn address(&self) -> Address {
        match (&self.grpc, &self.kafka, &self.kinesis) {
            (Some(url), _, _) => Address::Native(url.clone()),
            (_, Some(brokers), _) => Address::Kafka(brokers.clone()),
            (_, _, Some(url)) => Address::Kinesis(url.clone()),
            (None, None, None) => match std::env::var(VARIABLE) {
                Ok(text) if !text.is_empty() => Address::of(&text),
                _ => Address::Native(LOCAL.to_owned()),
            },
        }
    }
}

impl Address {
    /// What the variable says.
    fn of(text: &str) -> Address {
        if let Some(brokers) = text.strip_prefix("kafka://") {
            return Address::Kafka(brokers.trim_end_matches('/').to_owned());
        }
        match text.strip_prefix("kinesis+") {
            Some(url) => Address::Kinesis(url.to_owned()),
            None => Address::Native(text.to_owned()),
        }
    }

    /// As it was written, for people.
    pub(super) fn shown(&self) -> String {
        match self {
            Address::Native(text) | Address::Kafka(text) | Address::Kinesis(text) => text.clone(),
        }
    }
}

impl Endpoint {
    /// The way to an endpoint. Nothing is sent yet.
    pub(super) fn new(address: &Address, retry: Retry) -> Result<Endpoint, Failure> {
        let usage = |error: Error| Failure::usage(error.to_string());
        match address {
            Address::Native(text) => {
                let url = match text.contains("://") {
                    true => text.clone(),
                    false => format!("http://{text}"),
                };
                Ok(Endpoint::Native(Client::new(&url).map_err(usage)?.with_retry(retry)))
            }
            Address::Kafka(brokers) => {
                Ok(Endpoint::Kafka(Kafka::new(brokers, retry).map_err(usage)?))
            }
            Address::Kinesis(url) => {
                Ok(Endpoint::Kinesis(Kinesis::new(url, retry).map_err(usage)?))
            }
        }
    }

    /// Weir's own client, for what nobody else has.
    pub(super) fn native(self, what: &str) -> Result<Client, Failure> {
        match self {
            Endpoint::Native(client) => Ok(client),
            Endpoint::Kafka(_) => Err(cannot("Kafka", what)),
            Endpoint::Kinesis(_) => Err(cannot("Kinesis", what)),
        }
    }

    /// The same, with other patience for what may pass by itself.
    pub(crate) fn with_retry(self, retry: Retry) -> Endpoint {
        match self {
            Endpoint::Native(client) => Endpoint::Native(client.with_retry(retry)),
            Endpoint::Kafka(kafka) => Endpoint::Kafka(kafka.with_retry(retry)),
            Endpoint::Kinesis(kinesis) => Endpoint::Kinesis(kinesis.with_retry(retry)),
        }
    }

    pub(crate) fn retry(&self) -> &Retry {
        match self {
            Endpoint::Native(client) => client.retry(),
            Endpoint::Kafka(kafka) => kafka.retry(),
            Endpoint::Kinesis(kinesis) => kinesis.retry(),
        }
    }

    /// Makes a topic or stream, or asks whether it could be made.
    pub(crate) async fn create(&self, wanted: Wanted) -> Result<Described, Failure> {
        match self {
            Endpoint::Native(client) => {
                let stream = wanted.native();
                Ok(client.admin().create_stream(stream).await?.into())
            }
            Endpoint::Kafka(_) if wanted.by == By::Hash => Err(Failure::usage(
                "Kafka has no streams whose partitions own hash keys: topic create, or --by \
                 partition",
            )),
            Endpoint::Kafka(kafka) => {
                let Wanted { name, partitions, by: _, settings, dry_run } = wanted;
                let new = NewTopic { name, partitions, settings, validate_only: dry_run };
                Ok(kafka.create_topic(&new).await?)
            }
            Endpoint::Kinesis(_) if wanted.by == By::Partition => Err(Failure::usage(
                "Kinesis has no topics whose writers choose partitions: stream create, or --by \
                 hash",
            )),
            Endpoint::Kinesis(_) if wanted.dry_run => Err(cannot("Kinesis", "try without doing")),
            Endpoint::Kinesis(kinesis) => {
                let settings = wanted.settings.into_iter().collect();
                let shards = wanted.partitions.unwrap_or(KINESIS_SHARDS);
                Ok(kinesis.create_stream(&wanted.name, shards, &settings).await?)
            }
        }
    }

    /// All whose names begin so, ordered by name, without their partitions.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Described>, Failure> {
        match self {
            Endpoint::Native(client) => {
                let streams = client.admin().list_streams(prefix).await?;
                Ok(streams.into_iter().map(Described::from).collect())
            }
            Endpoint::Kafka(kafka) => Ok(kafka.list_topics(prefix).await?),
            Endpoint::Kinesis(kinesis) => Ok(kinesis.list_streams(prefix).await?),
        }
    }

    /// One with its partitions.
    pub(crate) async fn describe(&self, name: &str) -> Result<Described, Failure> {
        match self {
            Endpoint::Native(client) => Ok(client.admin().describe_stream(name).await?.into()),
            Endpoint::Kafka(kafka) => Ok(kafka.describe_topic(name).await?),
            Endpoint::Kinesis(kinesis) => Ok(kinesis.describe_stream(name).await?),
        }
    }

    /// Removes one with its records.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Failure> {
        match self {
            Endpoint::Native(client) => Ok(client.admin().delete_stream(name).await?),
            Endpoint::Kafka(kafka) => Ok(kafka.delete_topic(name).await?),
            Endpoint::Kinesis(kinesis) => Ok(kinesis.delete_stream(name).await?),
        }
    }

    /// Sets settings of one and takes others back, all or none.
    pub(crate) async fn alter(&self, name: &str, settings: Settings) -> Result<(), Failure> {
        match self {
            Endpoint::Native(client) => {
                client.admin().alter(name, settings).await?;
                Ok(())
            }
            Endpoint::Kafka(kafka) => Ok(kafka.alter_topic(name, &settings).await?),
            Endpoint::Kinesis(_) if settings.validate_only => {
                Err(cannot("Kinesis", "try without doing"))
            }
            Endpoint::Kinesis(_) if !settings.removed.is_empty() => {
                Err(cannot("Kinesis", "take a setting back"))
            }
            Endpoint::Kinesis(kinesis) => {
                let set = settings.set.into_iter().collect();
                Ok(kinesis.alter_stream(name, &set).await?)
            }
        }
    }

    /// Gives one another number of partitions.
    pub(crate) async fn set_partition_count(
        &self,
        name: &str,
        partitions: u32,
        dry_run: bool,
    ) -> Result<PartitionCounts, Failure> {
        match self {
            Endpoint::Native(client) => {
                Ok(client.admin().set_partition_count(name, partitions, dry_run).await?)
            }
            Endpoint::Kafka(kafka) => {
                Ok(kafka.set_topic_partitions(name, partitions, dry_run).await?)
            }
            Endpoint::Kinesis(_) if dry_run => Err(cannot("Kinesis", "try without doing")),
            Endpoint::Kinesis(kinesis) => Ok(kinesis.set_shard_count(name, partitions).await?),
        }
    }

    /// Splits a partition in two; those that were made.
    pub(crate) async fn split(
        &self,
        name: &str,
        partition: u32,
        at: Option<u128>,
    ) -> Result<Vec<DescribedPartition>, Failure> {
        if let Endpoint::Kinesis(kinesis) = self {
            return Ok(kinesis.reshard(name, NewShards::Split(partition, at)).await?);
        }
        let made = self.resharding("split")?.split(name, partition, at).await?;
        Ok(made.into_iter().map(DescribedPartition::from).collect())
    }

    /// Merges two partitions; the one that was made.
    pub(crate) async fn merge(
        &self,
        name: &str,
        partition: u32,
        adjacent: u32,
    ) -> Result<DescribedPartition, Failure> {
        if let Endpoint::Kinesis(kinesis) = self {
            let made = kinesis.reshard(name, NewShards::Merge(partition, adjacent)).await?;
            let made = made.into_iter().next();
            return made.ok_or_else(|| Failure::of("protocol", "no shard came of the merge"));
        }
        Ok(self.resharding("merge")?.merge(name, partition, adjacent).await?.into())
    }

    fn resharding(&self, what: &str) -> Result<Admin, Failure> {
        Ok(self.clone().native(&format!("{what} partitions"))?.admin())
    }

    /// All groups whose names begin so, ordered by name.
    pub(crate) async fn list_groups(&self, prefix: &str) -> Result<Vec<GroupSummary>, Failure> {
        match self {
            Endpoint::Native(client) => Ok(client.admin().list_groups(prefix).await?),
            Endpoint::Kafka(kafka) => Ok(kafka.list_groups(prefix).await?),
            Endpoint::Kinesis(_) => Err(no_groups()),
        }
    }

    /// One group with its members and how far it has read.
    pub(crate) async fn describe_group(&self, name: &str) -> Result<GroupDescription, Failure> {
        match self {
            Endpoint::Native(client) => Ok(client.admin().describe_group(name).await?),
            Endpoint::Kafka(kafka) => Ok(kafka.describe_group(name).await?),
            Endpoint::Kinesis(_) => Err(no_groups()),
        }
    }

    /// Has a group read on somewhere else, or says where that would be.
    pub(crate) async fn reset_group(&self, reset: Reset) -> Result<Vec<ResetPosition>, Failure> {
        match self {
            Endpoint::Native(client) => Ok(client.admin().reset_group(reset).await?),
            Endpoint::Kafka(kafka) => Ok(kafka.reset_group(&reset).await?),
            Endpoint::Kinesis(_) => Err(no_groups()),
        }
    }

    /// Removes a group without members.
    pub(crate) async fn delete_group(&self, name: &str) -> Result<(), Failure> {
        match self {
            Endpoint::Native(client) => Ok(client.admin().delete_group(name).await?),
            Endpoint::Kafka(kafka) => Ok(kafka.delete_group(name).await?),
            Endpoint::Kinesis(_) => Err(no_groups()),
        }
    }

    /// A writer of batches.
    pub(crate) async fn producer(&self, options: ProducerOptions) -> Result<Producer, Failure> {
        let broker = match self {
            Endpoint::Native(client) => Broker::Native(client.clone()),
            Endpoint::Kafka(kafka) => Broker::Kafka(kafka.clone()),
            Endpoint::Kinesis(_) => {
                return Err(Failure::usage("--follow writes to weir and to Kafka, not to Kinesis"));
            }
        };
        Ok(Producer::begin(broker, options).await?)
    }

    /// Why a record cannot be written here.
    pub(crate) fn check(&self, record: &NewRecord) -> Result<(), String> {
        match (self, &record.place) {
            (Endpoint::Kafka(_), WantedPlace::HashKey(_)) => {
                Err("Kafka has no hash keys".to_owned())
            }
            (Endpoint::Kinesis(_), _) => kinesis::check(record),
            _ => Ok(()),
        }
    }

    /// A reader from a place on, whatever `options` say of that.
    pub(crate) fn consumer(
        &self,
        options: ConsumerOptions,
        begin: Begin,
    ) -> Result<Consumer, Failure> {
        let now_ms = SystemClock::new().now().as_millis();
        if let Endpoint::Kinesis(kinesis) = self {
            let start = match begin {
                Begin::At(From::Offset(number)) => Start::SequenceNumber(number.to_string()),
                Begin::SequenceNumber(number) => Start::SequenceNumber(number),
                other => Start::At(other.at(now_ms)?),
            };
            if matches!(start, Start::SequenceNumber(_)) && options.partitions.len() != 1 {
                let why = "a sequence number is of one shard: say which with --partition";
                return Err(Failure::usage(why));
            }
            return Ok(kinesis.consumer(options, start));
        }
        let options = ConsumerOptions { from: begin.at(now_ms)?, ..options };
        match self {
            Endpoint::Kafka(kafka) => Ok(kafka.consumer(options)),
            other => Ok(other.clone().native("be read")?.consumer(options)),
        }
    }
}

impl Wanted {
    fn native(self) -> NewStream {
        let mut stream = match self.by {
            By::Partition => NewStream::by_partition(self.name),
            By::Hash => NewStream::by_hash(self.name),
        };
        if let Some(count) = self.partitions {
            stream = stream.partitions(count);
        }
        stream = stream.settings(self.settings);
        if self.dry_run { stream.validate_only() } else { stream }
    }
}

fn no_groups() -> Failure {
    Failure::usage("Kinesis has no consumer groups")
}

/// What an endpoint has no words for.
fn cannot(who: &str, what: &str) -> Failure {
    Failure::usage(format!("{who} cannot {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_says_what_an_endpoint_speaks() {
        for (text, address) in [
            ("http://localhost:50051", Address::Native("http://localhost:50051".to_owned())),
            ("localhost:50051", Address::Native("localhost:50051".to_owned())),
            ("kafka://a:9092,b:9092", Address::Kafka("a:9092,b:9092".to_owned())),
            ("kinesis+http://a:4566", Address::Kinesis("http://a:4566".to_owned())),
            ("kafka://a:9092/", Address::Kafka("a:9092".to_owned())),
        ] {
            assert_eq!(Address::of(text), address, "{text}");
        }
    }
}
