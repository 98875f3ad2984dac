//! The thread that reads the log and the files that it is rotated to.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::position::{FileId, FilePosition, Positions, read_behind};
use crate::command::output::Failure;

/// How often is looked for more.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Looks without anything new after which a file that was rotated is done: ten seconds, which is
/// longer than any server takes to open its log again.
const QUIET_LOOKS_MAX: u32 = 200;
/// Longest line.
const LINE_BYTES_MAX: usize = 64 << 20;
/// What a rotated file is called when its lines can no longer be read.
const COMPRESSED: [&str; 5] = ["gz", "zst", "bz2", "xz", "lz4"];

/// A line, and how far its file is read with it.
#[derive(Debug)]
pub(super) struct Line {
    /// Without its end.
    pub(super) bytes: Vec<u8>,
    pub(super) position: FilePosition,
}

type Lines = mpsc::Sender<Result<Line, Failure>>;

/// Why reading ended.
enum End {
    /// Nobody takes the lines.
    NotWanted,
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Failed(error)
    }
}

/// Sends the lines of the log from where it is known on, until nobody takes them.
pub(super) fn tail(path: &Path, known: &Positions, out: &Lines) {
    if let Err(End::Failed(error)) = go_on(path, known, out) {
        let why = format!("cannot read {}: {error}", path.display());
        // Whoever left is not told.
        let _ = out.blocking_send(Err(Failure::of("io", why)));
    }
}

fn go_on(path: &Path, known: &Positions, out: &Lines) -> Result<(), End> {
    let mut logs = backlog(path, known)?;
    loop {
        let current = take_up_current(path, known, &mut logs)?;
        let mut is_quiet = true;
        for log in &mut logs {
            is_quiet &= !log.read_more(out)?;
        }
        for log in logs.extract_if(.., |log| Some(log.id) != current && log.is_done()) {
            log.send_rest(out)?;
        }
        if is_quiet {
            if out.is_closed() {
                return Err(End::NotWanted);
            }
            std::thread::sleep(POLL_EVERY);
        }
    }
}

/// Opens the log itself, if it is another file than before; which it is now, if there is one.
fn take_up_current(
    path: &Path,
    known: &Positions,
    logs: &mut Vec<Log>,
) -> Result<Option<FileId>, End> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // Between a rename and the new file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let id = FileId::of(&metadata);
    if !logs.iter().any(|log| log.id == id) {
        match Log::open(path, known) {
            Ok(log) => logs.push(log),
            // Rotated just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(id))
}

/// The files that the log was rotated to since it was followed last, oldest first.
fn backlog(path: &Path, known: &Positions) -> io::Result<Vec<Log>> {
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: Vec<(SystemTime, Log)> = Vec::new();
    for sibling in siblings(path)? {
        let log = Log::open(&sibling, known)?;
        found.push((log.file.metadata()?.modified()?, log));
    }
    found.sort_by_key(|(modified, _)| *modified);
    match found.iter().position(|(_, log)| log.is_known) {
        Some(first) => Ok(found.drain(first..).map(|(_, log)| log).collect()),
        None => {
            eprintln!("weir: the file that was read last is gone; lines of it may be missing");
            Ok(Vec::new())
        }
    }
}

/// The log and what it may have been rotated to.
fn siblings(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let base = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let base = base.ok_or(io::ErrorKind::InvalidInput)?;
    let mut siblings = Vec::new();
    for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(&base) else { continue };
        let is_rotated = rest.is_empty() || rest.starts_with(['.', '-']);
        let extension = entry.path().extension().map(|e| e.to_string_lossy().into_owned());
        let is_compressed = extension.is_some_and(|e| COMPRESSED.contains(&e.as_str()));
        if is_rotated && !is_compressed && entry.file_type()?.is_file() {
            siblings.push(entry.path());
        }
    }
    Ok(siblings)
}

/// An open file of the log.
struct Log {
    file: File,
    id: FileId,
    /// Whether it was read before this program began.
    is_known: bool,
    /// Up to where lines were sent.
    sent: u64,
    /// What was read behind it: no whole line.
    rest: Vec<u8>,
    /// The last position, whose checksum does not change any more when the file is long enough.
    position: Option<FilePosition>,
    quiet_looks: u32,
}

impl Log {
    fn open(path: &Path, known: &Positions) -> io::Result<Log> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let offset = known.offset_in(&file, &metadata)?;
        Ok(Log {
            file,
            id: FileId::of(&metadata),
            is_known: offset.is_some(),
            sent: offset.unwrap_or(0),
            rest: Vec::new(),
            position: None,
            quiet_looks: 0,
        })
    }

    /// Sends the lines that are there now; whether anything was.
    fn read_more(&mut self, out: &Lines) -> Result<bool, End> {
        if self.file.metadata()?.len() < self.sent + self.rest.len() as u64 {
            // Cut: what is there now is new.
            (self.sent, self.position) = (0, None);
            self.rest.clear();
        }
        let mut has_more = false;
        while read_behind(&self.file, self.sent + self.rest.len() as u64, &mut self.rest)? > 0 {
            has_more = true;
            self.send_lines(out)?;
            if self.rest.len() > LINE_BYTES_MAX {
                let why = format!("a line of more than {LINE_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why).into());
            }
        }
        self.quiet_looks = if has_more { 0 } else { self.quiet_looks.saturating_add(1) };
        Ok(has_more)
    }

    fn send_lines(&mut self, out: &Lines) -> Result<(), End> {
        let read = std::mem::take(&mut self.rest);
        for line in read.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(bytes) => self.send(bytes, line.len(), out)?,
                None => self.rest = line.to_vec(),
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], length: usize, out: &Lines) -> Result<(), End> {
        self.sent += length as u64;
        let position = match self.position {
            Some(position) if position.has_whole_head() => position.at(self.sent),
            _ => FilePosition::of(&self.file, self.id, self.sent)?,
        };
        self.position = Some(position);
        let line = Line { bytes: bytes.to_vec(), position };
        out.blocking_send(Ok(line)).map_err(|_| End::NotWanted)
    }

    /// Whether its writer has left it.
    fn is_done(&self) -> bool {
        self.quiet_looks > QUIET_LOOKS_MAX
    }

    /// Sends a last line that never got its end.
    fn send_rest(mut self, out: &Lines) -> Result<(), End> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { Ok(()) } else { self.send(&rest, rest.len(), out) }
    }
}
