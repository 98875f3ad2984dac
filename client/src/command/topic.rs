//! `weir topic` and `weir stream`: one thing, two names. They differ in what `create` makes.

mod change;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::command::Common;
use crate::command::complete;
use crate::command::endpoint::Wanted;
use crate::command::format::rfc3339;
use crate::command::output::{Failure, Printer, table};
use crate::described::{self, Described, DescribedPartition};
use change::{AlterOptions, MergeOptions, SplitOptions};

/// Under which name it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Topic,
    Stream,
}

/// What to do with topics or streams.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicCommand {
    /// Make one
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateOptions),
    /// Show which there are
    #[command(visible_alias = "ls")]
    List(ListOptions),
    /// Show one with its partitions, what they came from, and its settings
    Describe(DescribeOptions),
    /// Give one other settings, or another number of partitions
    #[command(after_help = change::ALTER_EXAMPLES)]
    Alter(AlterOptions),
    /// Make two partitions of one, where the hash of a record's key decides
    #[command(after_help = change::SPLIT_EXAMPLES)]
    Split(SplitOptions),
    /// Make one partition of two that lie beside each other
    #[command(after_help = change::SPLIT_EXAMPLES)]
    Merge(MergeOptions),
    /// Remove some, with their records
    #[command(visible_alias = "rm")]
    Delete(DeleteOptions),
}

const CREATE_EXAMPLES: &str = "Examples:
  weir topic create orders --partitions 12
  weir stream create clicks --partitions 4 --set retention.ms=86400000";

/// Options of `create`.
#[derive(Clone, Debug, Args)]
pub struct CreateOptions {
    #[command(flatten)]
    common: Common,

    /// Its name
    name: String,

    /// How many partitions (shards) it has [default: as the broker is set]
    #[arg(long, short, visible_alias = "shards", value_name = "COUNT")]
    partitions: Option<u32>,

    /// Who chooses a record's partition [default: partition for topics, hash for streams]
    #[arg(long, value_enum)]
    by: Option<By>,

    /// A setting such as retention.ms=3600000; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,

    /// Only ask whether it could be made
    #[arg(long)]
    dry_run: bool,
}

/// How records find their partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Writers choose it, as Kafka's clients do
    Partition,
    /// The hash of its key does; partitions can be split and merged
    Hash,
}

/// Options of `list`.
#[derive(Clone, Debug, Args)]
pub struct ListOptions {
    #[command(flatten)]
    common: Common,

    /// Only those whose names begin so
    #[arg(default_value = "")]
    prefix: String,
}

/// Options of `describe`.
#[derive(Clone, Debug, Args)]
pub struct DescribeOptions {
    #[command(flatten)]
    common: Common,

    /// Which one
    #[arg(add = complete::streams())]
    name: String,
}

/// Options of `delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteOptions {
    #[command(flatten)]
    common: Common,

    /// Which ones
    #[arg(required = true, add = complete::streams())]
    names: Vec<String>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a setting is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl TopicCommand {
    pub(crate) fn common(&self) -> &Common {
        match self {
            TopicCommand::Create(options) => &options.common,
            TopicCommand::List(options) => &options.common,
            TopicCommand::Describe(options) => &options.common,
            TopicCommand::Alter(options) => &options.common,
            TopicCommand::Split(options) => &options.common,
            TopicCommand::Merge(options) => &options.common,
            TopicCommand::Delete(options) => &options.common,
        }
    }

    pub(crate) async fn run(self, kind: Kind, printer: &mut Printer) -> Result<(), Failure> {
        let endpoint = self.common().endpoint()?;
        match self {
            TopicCommand::Create(options) => {
                let (name, dry_run) = (options.name.clone(), options.dry_run);
                let made = endpoint.create(options.wanted(kind)).await?;
                let done = if dry_run { "could be made" } else { "made" };
                let with = match made.open_partitions {
                    Some(1) => ", with 1 partition".to_owned(),
                    Some(count) => format!(", with {count} partitions"),
                    None => String::new(),
                };
                printer.result(&object(&made), || format!("{name} {done}{with}\n"))
            }
            TopicCommand::List(options) => list(&endpoint.list(&options.prefix).await?, printer),
            TopicCommand::Describe(options) => {
                let stream = endpoint.describe(&options.name).await?;
                printer.result(&object(&stream), || description(&stream))
            }
            TopicCommand::Alter(options) => options.run(&endpoint, printer).await,
            TopicCommand::Split(options) => options.run(&endpoint, printer).await,
            TopicCommand::Merge(options) => options.run(&endpoint, printer).await,
            TopicCommand::Delete(options) => {
                for name in &options.names {
                    endpoint.delete(name).await?;
                    let object = json!({"name": name, "deleted": true});
                    printer.result(&object, || format!("{name} removed\n"))?;
                }
                Ok(())
            }
        }
    }
}

impl CreateOptions {
    fn wanted(self, kind: Kind) -> Wanted {
        let by = self.by.unwrap_or(match kind {
            Kind::Topic => By::Partition,
            Kind::Stream => By::Hash,
        });
        Wanted {
            name: self.name,
            partitions: self.partitions,
            by: by.into(),
            settings: self.settings.into_iter().collect(),
            dry_run: self.dry_run,
        }
    }
}

impl From<By> for described::By {
    fn from(by: By) -> described::By {
        match by {
            By::Partition => described::By::Partition,
            By::Hash => described::By::Hash,
        }
    }
}

fn list(streams: &[Described], printer: &mut Printer) -> Result<(), Failure> {
    if printer.output != crate::command::output::Output::Text {
        for stream in streams {
            printer.result(&object(stream), String::new)?;
        }
        return Ok(());
    }
    let row = |stream: &Described| {
        vec![
            stream.name.clone(),
            or_none(stream.open_partitions),
            or_none(stream.by.map(by_name)),
            or_none(stream.created_at_ms.map(rfc3339)),
        ]
    };
    let rows: Vec<_> = streams.iter().map(row).collect();
    printer.raw(table(&["NAME", "PARTITIONS", "BY", "CREATED"], &rows).as_bytes())
}

fn by_name(by: described::By) -> &'static str {
    match by {
        described::By::Hash => "hash",
        described::By::Partition => "partition",
    }
}

/// What an endpoint does not tell is null.
fn object(stream: &Described) -> Value {
    let mut object = json!({
        "name": stream.name,
        "id": stream.id,
        "by": stream.by.map(by_name),
        "created_at_ms": stream.created_at_ms,
        "open_partitions": stream.open_partitions,
    });
    if let Some(members) = object.as_object_mut() {
        if !stream.settings.is_empty() {
            members.insert("settings".to_owned(), json!(stream.settings));
        }
        if !stream.partitions.is_empty() {
            let partitions = stream.partitions.iter().map(partition_object).collect();
            members.insert("partitions".to_owned(), partitions);
        }
    }
    object
}

pub(crate) fn partition_object(partition: &DescribedPartition) -> Value {
    let range = partition.hash_keys.as_ref();
    json!({
        "partition": partition.index,
        "is_open": partition.is_open,
        "parents": partition.parents,
        "starting_hash_key": range.map(|(starting, _)| starting),
        "ending_hash_key": range.map(|(_, ending)| ending),
        "log_start": partition.log_start,
        "high_watermark": partition.high_watermark,
        "log_end": partition.log_end,
        "bytes": partition.bytes,
        "segments": partition.segments,
    })
}

fn description(stream: &Described) -> String {
    let mut text = stream.name.clone();
    let about = [
        stream.by.map(|by| format!("by {}", by_name(by))),
        stream.created_at_ms.map(|millis| format!("made {}", rfc3339(millis))),
        stream.id.as_ref().map(|id| format!("id {id}")),
    ];
    let about: Vec<_> = about.into_iter().flatten().collect();
    text += &format!("  {}\n", about.join(", "));
    for (name, value) in &stream.settings {
        text += &format!("  {name}={value}\n");
    }
    text.push('\n');
    let heading =
        ["PARTITION", "STATE", "FROM", "START", "END", "BYTES", "SEGMENTS", "HASH KEYS FROM", "TO"];
    let rows: Vec<_> = stream.partitions.iter().map(partition_row).collect();
    text + &table(&heading, &rows)
}

fn partition_row(partition: &DescribedPartition) -> Vec<String> {
    let parents: Vec<_> = partition.parents.iter().map(u32::to_string).collect();
    let range = partition.hash_keys.as_ref();
    vec![
        partition.index.to_string(),
        if partition.is_open { "open" } else { "closed" }.to_owned(),
        if parents.is_empty() { "-".to_owned() } else { parents.join("+") },
        or_none(partition.log_start),
        or_none(partition.high_watermark),
        or_none(partition.bytes),
        or_none(partition.segments),
        or_none(range.map(|(starting, _)| short(starting))),
        or_none(range.map(|(_, ending)| short(ending))),
    ]
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A hash key in the 32 digits that show where it lies; the table's reader compares, and does not
/// reckon.
pub(crate) fn short(hash_key: &str) -> String {
    hash_key.parse::<u128>().map_or_else(|_| hash_key.to_owned(), |key| format!("{key:032x}"))
}
