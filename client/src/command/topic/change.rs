//! `weir topic alter`, `split` and `merge`: a stream that is there gets other settings or
//! partitions.

use std::collections::HashMap;

use clap::Args;
use serde_json::json;

use super::{partition_object, setting};
use crate::admin::Settings;
use crate::command::Common;
use crate::command::complete;
use crate::command::endpoint::Endpoint;
use crate::command::output::{Failure, Printer};
use crate::described::DescribedPartition;

pub(super) const ALTER_EXAMPLES: &str = "Examples:
  weir topic alter orders --set retention.ms=3600000 --dry-run
  weir topic alter orders --remove retention.ms --partitions 24";

pub(super) const SPLIT_EXAMPLES: &str = "Examples:
  weir stream split clicks 0                      in the middle of its hash keys
  weir stream split clicks 0 --at 170141183460469231731687303715884105728
  weir stream merge clicks 1 2                    and back";

/// Options of `alter`.
#[derive(Clone, Debug, Args)]
pub struct AlterOptions {
    #[command(flatten)]
    pub(super) common: Common,

    /// Which one
    #[arg(add = complete::streams())]
    name: String,

    /// A setting such as retention.ms=3600000; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,

    /// A setting that is to be the broker's again; may be repeated
    #[arg(long = "remove", value_name = "NAME")]
    removed: Vec<String>,

    /// How many partitions (shards) it is to have
    #[arg(long, short, visible_alias = "shards", value_name = "COUNT")]
    partitions: Option<u32>,

    /// Only ask whether it could be done
    #[arg(long)]
    dry_run: bool,
}

/// Options of `split`.
#[derive(Clone, Debug, Args)]
pub struct SplitOptions {
    #[command(flatten)]
    pub(super) common: Common,

    /// Which one
    #[arg(add = complete::streams())]
    name: String,

    /// The partition that is to become two
    partition: u32,

    /// The first hash key of the upper one, in decimal [default: the middle]
    #[arg(long, value_name = "HASH_KEY")]
    at: Option<u128>,
}

/// Options of `merge`.
#[derive(Clone, Debug, Args)]
pub struct MergeOptions {
    #[command(flatten)]
    pub(super) common: Common,

    /// Which one
    #[arg(add = complete::streams())]
    name: String,

    /// A partition
    partition: u32,

    /// The partition beside it
    adjacent: u32,
}

impl AlterOptions {
    pub(super) async fn run(
        self,
        endpoint: &Endpoint,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        if self.settings.is_empty() && self.removed.is_empty() && self.partitions.is_none() {
            return Err(Failure::usage("nothing to change: --set, --remove or --partitions"));
        }
        if !self.settings.is_empty() || !self.removed.is_empty() {
            self.alter_settings(endpoint, printer).await?;
        }
        if let Some(partitions) = self.partitions {
            let counts = endpoint.set_partition_count(&self.name, partitions, self.dry_run).await?;
            let after = if self.dry_run { partitions } else { counts.now };
            let object = json!({
                "name": self.name,
                "partitions": {"before": counts.before, "after": after},
                "dry_run": self.dry_run,
            });
            let would = self.would();
            printer.result(&object, || {
                format!("{}: partitions {} → {after}{would}\n", self.name, counts.before)
            })?;
        }
        Ok(())
    }

    async fn alter_settings(
        &self,
        endpoint: &Endpoint,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let before = endpoint.describe(&self.name).await?.settings;
        let set: HashMap<_, _> = self.settings.iter().cloned().collect();
        let removed = self.removed.clone();
        let settings = Settings { set, removed, validate_only: self.dry_run };
        endpoint.alter(&self.name, settings).await?;
        let set = self.settings.iter().map(|(name, value)| (name, Some(value)));
        for (name, after) in set.chain(self.removed.iter().map(|name| (name, None))) {
            let before = before.get(name);
            let object = json!({
                "name": self.name,
                "setting": {"name": name, "before": before, "after": after},
                "dry_run": self.dry_run,
            });
            let shown = |value: Option<&String>| {
                value.map_or_else(|| "the broker's".to_owned(), Clone::clone)
            };
            let would = self.would();
            printer.result(&object, || {
                format!("{}: {name} {} → {}{would}\n", self.name, shown(before), shown(after))
            })?;
        }
        Ok(())
    }

    fn would(&self) -> &'static str {
        if self.dry_run { " (not done)" } else { "" }
    }
}

impl SplitOptions {
    pub(super) async fn run(
        self,
        endpoint: &Endpoint,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let made = endpoint.split(&self.name, self.partition, self.at).await?;
        print(&self.name, &[self.partition], &made, printer)
    }
}

impl MergeOptions {
    pub(super) async fn run(
        self,
        endpoint: &Endpoint,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let made = endpoint.merge(&self.name, self.partition, self.adjacent).await?;
        print(&self.name, &[self.partition, self.adjacent], &[made], printer)
    }
}

/// What became of which partitions.
fn print(
    name: &str,
    closed: &[u32],
    made: &[DescribedPartition],
    printer: &mut Printer,
) -> Result<(), Failure> {
    let objects: Vec<_> = made.iter().map(partition_object).collect();
    let object = json!({"name": name, "closed": closed, "made": objects});
    let sum = |indexes: Vec<String>| indexes.join(" + ");
    printer.result(&object, || {
        let closed = sum(closed.iter().map(u32::to_string).collect());
        let made = sum(made.iter().map(|partition| partition.index.to_string()).collect());
        format!("{name}: {closed} → {made}\n")
    })
}
