//! A member of a group on `weir-client`, for the tests in `tests/rustclient`:
//!
//! ```text
//!   group_member URL GROUP STREAM automatic|manual|hangs
//! ```
//!
//! One that hangs does so at its first record, longer than the consumer lets it, and goes on then.
//!
//! It says what comes to it as it comes, each a JSON array on a line, and only then comes back:
//!
//! ```text
//!   [TIME, "given", [PARTITION, …]]     likewise "taken" and "lost"
//!   [TIME, "record", PARTITION, OFFSET, VALUE]
//!   [TIME, "closes"]                    nothing is handled any more
//! ```
//!
//! Times are microseconds of the machine's monotonic clock, which all its processes share.
//! It closes when its standard input ends.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use weir_client::{Client, Commit, GroupConsumer, GroupEvent, GroupOptions, GroupPartition, Retry};

type Failed = Box<dyn Error + Send + Sync>;

/// Longer than any restart in the tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// Short, so that kills come between a record and its position, and seldom enough to be noticed.
const KEPT_EVERY: Duration = Duration::from_millis(200);
/// How long one hangs that does.
const HANG: Duration = Duration::from_secs(6);
/// How many records a manual member handles between two commits.
const COMMIT_AFTER: u64 = 50;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [url, group, stream, mode] = arguments.as_slice() else {
        return Err("group_member URL GROUP STREAM automatic|manual|hangs".into());
    };
    let retry = Retry { time_max: PATIENCE, ..Retry::default() };
    let client = Client::new(url)?.with_retry(retry);
    let mut options = GroupOptions::new(*group, [*stream]);
    options.commit = match *mode {
        "manual" => Commit::Manual,
        _ => Commit::Automatic { every: KEPT_EVERY },
    };
    let mut hangs = *mode == "hangs";
    if hangs {
        options.processing_max = HANG / 6;
        options.session_timeout = Some(HANG / 6);
    }
    let is_manual = options.commit == Commit::Manual;
    let mut consumer = client.group_consumer(options);
    let mut ended = input_ended();
    let mut handled = 0;
    loop {
        let event = tokio::select! {
            event = consumer.next_event() => event.ok_or("the consumer ended")??,
            _ = &mut ended => break,
        };
        match event {
            GroupEvent::Record(record) => {
                let value = String::from_utf8(record.value.clone().unwrap_or_default().to_vec())?;
                let place = record.place;
                say(json!([now_us()?, "record", place.partition, place.offset, value]))?;
                if std::mem::take(&mut hangs) {
                    tokio::time::sleep(HANG).await;
                }
                if is_manual {
                    consumer.acknowledge(&record).or_else(lost)?;
                    handled += 1;
                    if handled % COMMIT_AFTER == 0 {
                        commit(&mut consumer).await?;
                    }
                }
            }
            GroupEvent::Given(which) => say_change("given", &which)?,
            GroupEvent::Taken(which) => {
                say_change("taken", &which)?;
                if is_manual {
                    commit(&mut consumer).await?;
                }
            }
            GroupEvent::Lost(which) => say_change("lost", &which)?,
        }
    }
    say(json!([now_us()?, "closes"]))?;
    consumer.close().await.or_else(lost)
}

/// Commits; a membership that was lost meanwhile is told of as such.
async fn commit(consumer: &mut GroupConsumer) -> Result<(), Failed> {
    consumer.commit().await.or_else(lost)
}

fn lost(error: weir_client::Error) -> Result<(), Failed> {
    eprintln!("not kept: {error}");
    Ok(())
}

fn input_ended() -> oneshot::Receiver<()> {
    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // Whatever it ends with, it ends.
        let _ = std::io::stdin().lock().read_to_end(&mut rest);
        let _ = end.send(());
    });
    ended
}

fn say_change(what: &str, which: &[GroupPartition]) -> Result<(), Failed> {
    let partitions: Vec<u32> = which.iter().map(|one| one.partition).collect();
    say(json!([now_us()?, what, partitions]))
}

fn say(line: Value) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn now_us() -> Result<u64, Failed> {
    let now = clock_gettime(ClockId::Monotonic);
    Ok(u64::try_from(now.tv_sec)? * 1_000_000 + u64::try_from(now.tv_nsec)? / 1_000)
}
