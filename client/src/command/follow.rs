//! `weir produce --follow FILE`: the lines of a log that is being written, for ever.
//!
//! ```text
//!   tailing thread                      command                 position file
//!   lines of the file, and of the ──>   sent; when all    ──>   of each file that is read:
//!   files that it was rotated to        before are kept         up to where it is kept
//! ```
//!
//! What holds:
//!
//! - Every line is kept at least once, through the end (kill -9 included) of this program and of
//!   the broker: the position moves only over lines that are kept. After a crash the lines of the
//!   last moments come again.
//! - A file that was renamed (logrotate's way, nginx's) is read to its end: its writer may go on
//!   with it for a while, and does so until it was told. One that was rotated while nobody followed
//!   is found by its inode, as are the ones after it; not if it was compressed or removed.
//! - A file that was cut to nothing (`copytruncate`) is read from its beginning. What was written
//!   between the copy and the cut is lost by that way of rotating, for everybody.
//! - A line is sent when it has its end.

mod position;
mod tailing;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::command::output::{Failure, Output, Printer};
use crate::producer::{Delivery, Producer};
use crate::record::NewRecord;
use position::{FilePosition, Positions};
use tailing::Line;

/// How often the position is written down.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// Lines that are on their way.
const UNKEPT_MAX: usize = 50_000;
/// Lines that are read ahead.
const LINES_AHEAD_MAX: usize = 1000;

/// What to follow.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    /// The log.
    pub(crate) file: PathBuf,
    /// Where the position is kept.
    pub(crate) position: PathBuf,
}

/// Where the position of a log is kept if nobody says.
pub(crate) fn default_position(
    stream: &str,
    file: &Path,
    variable: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(file)?;
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = variable("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    let state = state.ok_or_else(|| {
        Failure::usage("there is no HOME to keep the position in: say --position FILE")
    })?;
    let name: String = absolute
        .to_string_lossy()
        .chars()
        .map(|letter| if letter.is_alphanumeric() || letter == '.' { letter } else { '_' })
        .collect();
    Ok(state.join("weir").join(format!("{stream}-{name}.json")))
}

/// A line on its way.
struct Unkept {
    delivery: Delivery,
    position: FilePosition,
}

impl Follow {
    /// Sends lines until a signal ends it; what was read then is kept before this returns.
    pub(crate) async fn run(
        self,
        producer: Producer,
        record: impl Fn(&[u8]) -> Result<NewRecord, String>,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let positions = Positions::load(&self.position)?;
        let (out, lines) = mpsc::channel(LINES_AHEAD_MAX);
        let (file, known) = (self.file.clone(), positions.clone());
        std::thread::spawn(move || tailing::tail(&file, &known, &out));
        let mut following =
            Following { positions, unkept: VecDeque::new(), file: self.position, is_saved: true };
        let ended = following.go_on(lines, &producer, record, printer).await;
        let flushed = producer.close().await;
        let kept = following.take_all(printer).await;
        following.save()?;
        ended.and(flushed.map_err(Failure::from)).and(kept)
    }
}

struct Following {
    positions: Positions,
    /// In the order of sending.
    unkept: VecDeque<Unkept>,
    file: PathBuf,
    is_saved: bool,
}

impl Following {
    async fn go_on(
        &mut self,
        mut lines: mpsc::Receiver<Result<Line, Failure>>,
        producer: &Producer,
        record: impl Fn(&[u8]) -> Result<NewRecord, String>,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut save = tokio::time::interval(SAVE_EVERY);
        loop {
            tokio::select! {
                line = lines.recv(), if self.unkept.len() < UNKEPT_MAX => {
                    // The thread ends only with a failure.
                    let Some(line) = line else { return Ok(()) };
                    let Line { bytes, position } = line?;
                    match record(&bytes) {
                        Ok(record) => {
                            let delivery = producer.send(record).await?;
                            self.unkept.push_back(Unkept { delivery, position });
                        }
                        // A log goes on whatever one of its lines is.
                        Err(why) => eprintln!("weir: a line is passed over: {why}"),
                    }
                }
                place = oldest(&self.unkept), if !self.unkept.is_empty() => {
                    self.take(place?, printer)?;
                }
                _ = save.tick() => {
                    self.save()?;
                    printer.flush()?;
                }
                _ = terminated.recv() => return Ok(()),
                _ = interrupted.recv() => return Ok(()),
            }
        }
    }

    /// The oldest line is kept.
    fn take(&mut self, place: crate::record::Place, printer: &mut Printer) -> Result<(), Failure> {
        let Some(Unkept { position, .. }) = self.unkept.pop_front() else { return Ok(()) };
        self.positions.note(position);
        self.is_saved = false;
        if printer.output != Output::Text {
            let object = json!({
                "partition": place.partition,
                "offset": place.offset,
                "timestamp_ms": place.timestamp_ms,
            });
            printer.result(&object, String::new)?;
        }
        Ok(())
    }

    async fn take_all(&mut self, printer: &mut Printer) -> Result<(), Failure> {
        while !self.unkept.is_empty() {
            let place = oldest(&self.unkept).await?;
            self.take(place, printer)?;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), Failure> {
        if !self.is_saved {
            self.positions.save(&self.file)?;
            self.is_saved = true;
        }
        Ok(())
    }
}

async fn oldest(unkept: &VecDeque<Unkept>) -> Result<crate::record::Place, crate::error::Error> {
    match unkept.front() {
        Some(line) => line.delivery.clone().await,
        None => std::future::pending().await,
    }
}
