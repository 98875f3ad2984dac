//! `weir watch`: what happens in the broker, a line for each event.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use weir_proto::v1::partitions_changed::Change;
use weir_proto::v1::throttled::Direction;

use crate::command::Common;
use crate::command::complete;
use crate::command::format::rfc3339;
use crate::command::output::{Failure, Printer};
use crate::events::{Event, EventKind, Kind, Watch};

/// Options of `watch`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  weir watch                                      everything, from now on
  weir watch --replay --stream clicks -n 1
  weir watch --kind throttled --kind rebalanced -o jsonl")]
pub struct WatchOptions {
    #[command(flatten)]
    pub(super) common: Common,

    /// Only what happens to this topic or stream, which need not exist yet
    #[arg(long, value_name = "NAME", add = complete::streams())]
    stream: Option<String>,

    /// Only events of this kind, and how many were missed; may be repeated
    #[arg(long, value_enum)]
    kind: Vec<WantedKind>,

    /// Begin with what happened before
    #[arg(long)]
    replay: bool,

    /// End after so many events
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u64>,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WantedKind {
    /// A stream was made
    Created,
    /// A stream was removed
    Deleted,
    /// Partitions were split, merged or added
    Partitions,
    /// A group divides its partitions anew
    Rebalanced,
    /// A quota held something back
    Throttled,
    /// Records were made to last
    Flushed,
    /// The broker began after an unclean stop
    Recovered,
}

impl WantedKind {
    fn asked(self) -> EventKind {
        match self {
            WantedKind::Created => EventKind::Created,
            WantedKind::Deleted => EventKind::Deleted,
            WantedKind::Partitions => EventKind::PartitionsChanged,
            WantedKind::Rebalanced => EventKind::Rebalanced,
            WantedKind::Throttled => EventKind::Throttled,
            WantedKind::Flushed => EventKind::Flushed,
            WantedKind::Recovered => EventKind::Recovered,
        }
    }
}

impl WatchOptions {
    pub(crate) async fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        let watch = Watch {
            stream: self.stream,
            kinds: self.kind.into_iter().map(WantedKind::asked).collect(),
            replay: self.replay,
        };
        let mut events = self.common.client("tell of events")?.watch(watch).await?;
        let mut count = 0;
        while self.count.is_none_or(|count_max| count < count_max) {
            let Some(event) = events.next().await? else {
                return Err(Failure::of("closed", "the broker has ended the call"));
            };
            count += 1;
            printer.result(&object(&event), || line(&event))?;
            printer.flush()?;
        }
        Ok(())
    }
}

/// What happened: the kind's name, its members, and a sentence.
fn told(event: &Event) -> (&'static str, Value, String) {
    let Some(kind) = &event.kind else {
        return ("unknown", json!({}), "something that this weir does not know".to_owned());
    };
    match kind {
        Kind::Created(made) => {
            let said = format!("made, partitions: {}", made.partitions);
            ("created", json!({"partitions": made.partitions}), said)
        }
        Kind::Deleted(_) => ("deleted", json!({}), "removed".to_owned()),
        Kind::PartitionsChanged(changed) => {
            let change = change_name(changed.change());
            let members = json!({
                "change": change,
                "closed": changed.closed,
                "made": changed.made,
                "open_partitions": changed.open_partitions,
            });
            let sum = |indexes: &[u32]| match indexes {
                [] => "-".to_owned(),
                some => some.iter().map(u32::to_string).collect::<Vec<_>>().join("+"),
            };
            let (closed, made) = (sum(&changed.closed), sum(&changed.made));
            let said = format!("{change}: {closed} → {made}, open: {}", changed.open_partitions);
            ("partitions", members, said)
        }
        Kind::Rebalanced(group) => {
            let (name, generation, members) = (&group.group, group.generation, group.members);
            let object = json!({"group": name, "generation": generation, "members": members});
            let said = format!("group {name}, generation {generation}, members: {members}");
            ("rebalanced", object, said)
        }
        Kind::Throttled(throttled) => {
            let direction = match throttled.direction() {
                Direction::Write => "write",
                Direction::Read => "read",
                Direction::Unspecified => "unknown",
            };
            let wait_ms = throttled.wait_ms;
            let said = format!("a {direction} is held back, again in {wait_ms} ms");
            ("throttled", json!({"direction": direction, "wait_ms": wait_ms}), said)
        }
        Kind::Flushed(flushed) => {
            let (bytes, took_us) = (flushed.bytes, flushed.took_us);
            let said = format!("{bytes} bytes in {took_us} µs");
            ("flushed", json!({"bytes": bytes, "took_us": took_us}), said)
        }
        Kind::Recovered(found) => {
            let members = json!({
                "epoch": found.epoch,
                "partitions": found.partitions,
                "damaged": found.damaged,
                "records": found.records,
            });
            let said = format!(
                "after an unclean stop, log epoch {}: {} records in {} partitions, damaged: {}",
                found.epoch, found.records, found.partitions, found.damaged
            );
            ("recovered", members, said)
        }
        Kind::Missed(missed) => {
            let said = format!("{} events came too fast", missed.count);
            ("missed", json!({"count": missed.count}), said)
        }
    }
}

fn change_name(change: Change) -> &'static str {
    match change {
        Change::Split => "split",
        Change::Merged => "merged",
        Change::Scaled => "scaled",
        Change::Added => "added",
        Change::Unspecified => "changed",
    }
}

fn object(event: &Event) -> Value {
    let (kind, members, _) = told(event);
    let mut object = Map::new();
    object.insert("time_ms".to_owned(), json!(event.time_ms));
    object.insert("kind".to_owned(), json!(kind));
    if !event.stream.is_empty() {
        object.insert("stream".to_owned(), json!(event.stream));
    }
    if let Some(partition) = event.partition {
        object.insert("partition".to_owned(), json!(partition));
    }
    if let Value::Object(members) = members {
        object.extend(members);
    }
    Value::Object(object)
}

fn line(event: &Event) -> String {
    let (kind, _, said) = told(event);
    let place = match (event.stream.as_str(), event.partition) {
        ("", _) => String::new(),
        (stream, None) => format!("{stream}  "),
        (stream, Some(partition)) => format!("{stream}/{partition}  "),
    };
    format!("{}  {kind:<10}  {place}{said}\n", rfc3339(event.time_ms))
}

#[cfg(test)]
mod tests {
    use weir_proto::v1;

    use super::*;

    #[test]
    fn an_event_is_one_line_and_one_flat_object() {
        let split = v1::PartitionsChanged {
            change: Change::Split.into(),
            closed: vec![0],
            made: vec![1, 2],
            open_partitions: 2,
        };
        let event = Event {
            time_ms: 1_500,
            stream: "clicks".to_owned(),
            partition: None,
            kind: Some(Kind::PartitionsChanged(split)),
        };
        let expected = "1970-01-01T00:00:01.5Z  partitions  clicks  split: 0 → 1+2, open: 2\n";
        assert_eq!(line(&event), expected);
        let expected = json!({
            "time_ms": 1_500, "kind": "partitions", "stream": "clicks", "change": "split",
            "closed": [0], "made": [1, 2], "open_partitions": 2,
        });
        assert_eq!(object(&event), expected);
    }

    #[test]
    fn a_kind_of_a_later_broker_is_shown_as_unknown() {
        let event = Event { time_ms: 0, ..Event::default() };
        assert!(line(&event).contains("unknown"), "{}", line(&event));
        assert_eq!(object(&event), json!({"time_ms": 0, "kind": "unknown"}));
    }
}
