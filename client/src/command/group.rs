//! `weir group`: who reads what, how far, and from where on.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_model::time::{Clock, SystemClock};

use crate::admin::{
    GroupDescription, GroupProgress, GroupState, GroupSummary, GroupType, MemberDescription, Reset,
    ResetPosition, ResetTo, StreamPartitions,
};
use crate::command::Common;
use crate::command::complete;
use crate::command::endpoint::Endpoint;
use crate::command::output::{Failure, Output, Printer, table};
use crate::command::position::{self, Begin};
use crate::record::From;

/// What to do with consumer groups.
#[derive(Clone, Debug, Subcommand)]
pub enum GroupCommand {
    /// Show which there are
    #[command(visible_alias = "ls")]
    List(ListOptions),
    /// Show one with its members, and how far it is behind
    Describe(DescribeOptions),
    /// Have one that has no members read on elsewhere; shows what would be done unless told to
    #[command(after_help = RESET_EXAMPLES)]
    Reset(ResetOptions),
    /// Remove some that have no members
    #[command(visible_alias = "rm")]
    Delete(DeleteOptions),
}

const RESET_EXAMPLES: &str = "Examples:
  weir group reset billing --to earliest          what would be done
  weir group reset billing --to earliest --execute
  weir group reset billing --to -1h --stream orders --partition 3 --execute
  weir group reset billing --by -100 --execute    the last hundred of each partition again";

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
    #[arg(add = complete::groups())]
    name: String,
}

/// Options of `reset`.
#[derive(Clone, Debug, Args)]
pub struct ResetOptions {
    #[command(flatten)]
    common: Common,

    /// Which one
    #[arg(add = complete::groups())]
    name: String,

    /// earliest, latest, an offset, a time such as 2026-01-31T12:00:00Z or @1769860800000, or an
    /// age such as -10m [units: s, m, h, d]
    #[arg(long, value_name = "POSITION", value_parser = position::parse)]
    #[arg(allow_hyphen_values = true, required_unless_present = "by", conflicts_with = "by")]
    to: Option<Begin>,

    /// So many records on, or back, from where it is
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    by: Option<i64>,

    /// Only in this topic or stream [default: all that it has positions in]
    #[arg(long, value_name = "NAME", add = complete::streams())]
    stream: Option<String>,

    /// Only in this partition of it; may be repeated
    #[arg(long, short, value_name = "INDEX", requires = "stream")]
    partition: Vec<u32>,

    /// Do it
    #[arg(long)]
    execute: bool,
}

/// Options of `delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteOptions {
    #[command(flatten)]
    common: Common,

    /// Which ones
    #[arg(required = true, add = complete::groups())]
    names: Vec<String>,
}

impl GroupCommand {
    pub(crate) fn common(&self) -> &Common {
        match self {
            GroupCommand::List(options) => &options.common,
            GroupCommand::Describe(options) => &options.common,
            GroupCommand::Reset(options) => &options.common,
            GroupCommand::Delete(options) => &options.common,
        }
    }

    pub(crate) async fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        let endpoint = self.common().endpoint()?;
        match self {
            GroupCommand::List(options) => {
                print_list(&endpoint.list_groups(&options.prefix).await?, printer)
            }
            GroupCommand::Describe(options) => {
                let described = endpoint.describe_group(&options.name).await?;
                printer.result(&description_object(&described), || description(&described))
            }
            GroupCommand::Reset(options) => options.run(&endpoint, printer).await,
            GroupCommand::Delete(options) => {
                for name in &options.names {
                    endpoint.delete_group(name).await?;
                    let object = json!({"name": name, "deleted": true});
                    printer.result(&object, || format!("{name} removed\n"))?;
                }
                Ok(())
            }
        }
    }
}

impl ResetOptions {
    async fn run(self, endpoint: &Endpoint, printer: &mut Printer) -> Result<(), Failure> {
        let to = match (self.to, self.by) {
            (Some(to), _) => match to.at(SystemClock::new().now().as_millis())? {
                From::Earliest => ResetTo::Earliest,
                From::Latest => ResetTo::Latest,
                From::Offset(offset) => ResetTo::Offset(offset),
                From::TimestampMs(timestamp_ms) => ResetTo::TimestampMs(timestamp_ms),
                From::Last(_) => return Err(Failure::usage("--to is one place")),
            },
            (None, Some(by)) => ResetTo::By(by),
            (None, None) => return Err(Failure::usage("--to or --by is missing")),
        };
        let only =
            self.stream.map(|stream| StreamPartitions { stream, partitions: self.partition });
        let reset = Reset {
            group: self.name.clone(),
            partitions: only.into_iter().collect(),
            to,
            preview: !self.execute,
        };
        let positions = endpoint.reset_group(reset).await?;
        if printer.output != Output::Text {
            for position in &positions {
                printer.result(&reset_object(&self.name, position, self.execute), String::new)?;
            }
            return Ok(());
        }
        let rows: Vec<_> = positions.iter().map(reset_row).collect();
        printer.raw(table(&["STREAM", "PARTITION", "BEFORE", "AFTER"], &rows).as_bytes())?;
        match self.execute {
            true => Ok(()),
            false => printer.raw(b"\nNothing is changed yet: --execute does it.\n"),
        }
    }
}

fn reset_object(group: &str, position: &ResetPosition, is_done: bool) -> Value {
    json!({
        "group": group,
        "stream": position.stream,
        "partition": position.partition,
        "before": position.before,
        "after": position.after,
        "executed": is_done,
    })
}

fn reset_row(position: &ResetPosition) -> Vec<String> {
    vec![
        position.stream.clone(),
        position.partition.to_string(),
        or_none(position.before),
        position.after.to_string(),
    ]
}

fn print_list(groups: &[GroupSummary], printer: &mut Printer) -> Result<(), Failure> {
    if printer.output != Output::Text {
        for group in groups {
            printer.result(&summary_object(group), String::new)?;
        }
        return Ok(());
    }
    let row = |group: &GroupSummary| {
        vec![group.name.clone(), state(group), kind(group).to_owned(), group.protocol_type.clone()]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    printer.raw(table(&["NAME", "STATE", "TYPE", "PROTOCOL"], &rows).as_bytes())
}

fn state(group: &GroupSummary) -> String {
    let name = GroupState::try_from(group.state).unwrap_or_default().as_str_name();
    name.strip_prefix("GROUP_STATE_").unwrap_or(name).to_lowercase().replace('_', " ")
}

/// Who assigns: the clients by Kafka's classic protocol, or the broker.
fn kind(group: &GroupSummary) -> &'static str {
    match GroupType::try_from(group.r#type).unwrap_or_default() {
        GroupType::Classic => "classic",
        GroupType::Consumer => "consumer",
        GroupType::Unspecified => "unknown",
    }
}

fn summary_object(group: &GroupSummary) -> Value {
    json!({
        "name": group.name,
        "state": state(group),
        "type": kind(group),
        "protocol_type": group.protocol_type,
    })
}

fn description_object(described: &GroupDescription) -> Value {
    let summary = described.group.clone().unwrap_or_default();
    let mut object = summary_object(&summary);
    if let Some(members) = object.as_object_mut() {
        members.insert("assignor".to_owned(), json!(described.assignor));
        if described.epoch != 0 {
            members.insert("epoch".to_owned(), json!(described.epoch));
        }
        let progress = described.progress.iter();
        members.insert("lag".to_owned(), json!(progress.filter_map(|p| p.lag).sum::<u64>()));
        let all = described.members.iter().map(member_object).collect();
        members.insert("members".to_owned(), all);
        let all = described.progress.iter().map(progress_object).collect();
        members.insert("positions".to_owned(), all);
    }
    object
}

fn member_object(member: &MemberDescription) -> Value {
    let assigned: BTreeMap<_, _> =
        member.assigned.iter().map(|of| (&of.stream, &of.partitions)).collect();
    json!({
        "id": member.member_id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "host": member.client_host,
        "assigned": assigned,
    })
}

fn progress_object(progress: &GroupProgress) -> Value {
    json!({
        "stream": progress.stream,
        "partition": progress.partition,
        "position": progress.next_offset,
        "log_start": progress.log_start,
        "high_watermark": progress.high_watermark,
        "lag": progress.lag,
        "member": progress.member_id,
    })
}

fn description(described: &GroupDescription) -> String {
    let group = described.group.clone().unwrap_or_default();
    let mut text = format!("{}  {}, {}", group.name, state(&group), kind(&group));
    if !described.assignor.is_empty() {
        text += &format!(", assigned by {}", described.assignor);
    }
    if described.epoch != 0 {
        text += &format!(", epoch {}", described.epoch);
    }
    text.push('\n');
    if !described.members.is_empty() {
        let heading = ["MEMBER", "CLIENT", "HOST", "READS"];
        let rows: Vec<_> = described.members.iter().map(member_row).collect();
        text += &format!("\n{}", table(&heading, &rows));
    }
    if !described.progress.is_empty() {
        let heading = ["STREAM", "PARTITION", "POSITION", "END", "LAG", "MEMBER"];
        let rows: Vec<_> = described.progress.iter().map(progress_row).collect();
        let lag: u64 = described.progress.iter().filter_map(|progress| progress.lag).sum();
        text += &format!("\n{}\n{lag} records behind\n", table(&heading, &rows));
    }
    text
}

fn member_row(member: &MemberDescription) -> Vec<String> {
    let reads = |of: &StreamPartitions| {
        let partitions: Vec<_> = of.partitions.iter().map(u32::to_string).collect();
        format!("{} {}", of.stream, partitions.join(","))
    };
    let reads: Vec<_> = member.assigned.iter().map(reads).collect();
    vec![
        member.member_id.clone(),
        member.client_id.clone(),
        member.client_host.trim_start_matches('/').to_owned(),
        if reads.is_empty() { "-".to_owned() } else { reads.join("; ") },
    ]
}

fn progress_row(progress: &GroupProgress) -> Vec<String> {
    let member = &progress.member_id;
    vec![
        progress.stream.clone(),
        progress.partition.to_string(),
        or_none(progress.next_offset),
        progress.high_watermark.to_string(),
        or_none(progress.lag),
        if member.is_empty() { "-".to_owned() } else { member.clone() },
    ]
}

fn or_none(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}
