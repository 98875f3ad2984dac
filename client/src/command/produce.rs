//! `weir produce`: records in, from lines of standard input or of files.

mod sink;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::sync::mpsc;
use weir_model::time::SystemClock;

use crate::command::complete;
use crate::command::endpoint::Endpoint;
use crate::command::follow::{Follow, default_position};
use crate::command::format::Format;
use crate::command::json_record::{self, Placed};
use crate::command::output::{Failure, Output, Printer};
use crate::command::{Common, UNREACHABLE};
use crate::producer::{Codec, ProducerOptions};
use crate::progress::Progress;
use crate::record::NewRecord;
use crate::retry::Retry;
use sink::Sink;

/// Longest line; the broker's limit for a record is far below unless it was raised.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Lines that are read ahead.
const LINES_AHEAD_MAX: usize = 1000;
/// Longer than anybody waits for a broker.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Options of `produce`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ProduceOptions {
    #[command(flatten)]
    pub(crate) common: Common,

    /// The topic or stream
    #[arg(add = complete::streams())]
    stream: String,

    /// Files whose lines are written, - for standard input [default: -]
    files: Vec<PathBuf>,

    /// Write the lines of a log as they come, for ever: through rotations, restarts and crashes,
    /// each at least once
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    follow: Option<PathBuf>,

    /// With --follow: where is kept how far the log was written [default: a file under
    /// ~/.local/state/weir]
    #[arg(long, value_name = "FILE", requires = "follow")]
    position: Option<PathBuf>,

    /// How a line is taken apart, such as '%k %v'; see `weir consume --help` for the fields
    #[arg(long, short, value_name = "FORMAT", default_value = "%v", conflicts_with = "json")]
    format: Format,

    /// Lines are JSON, as `weir consume -o jsonl` prints them
    #[arg(long)]
    json: bool,

    /// With --json: into the partition and with the time that a line says
    #[arg(long, requires = "json")]
    as_written: bool,

    /// Key of the records whose line says none
    #[arg(long, short, value_name = "TEXT")]
    key: Option<String>,

    /// A header of all records, NAME=VALUE; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// All into this partition
    #[arg(long, short, value_name = "INDEX")]
    partition: Option<u32>,

    /// How batches are compressed
    #[arg(long, short = 'z', value_enum, default_value_t = Compression::None)]
    compression: Compression,

    /// How long a record may wait for others to share its batch
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5)]
    linger_ms: u64,
}

const EXAMPLES: &str = "Examples:
  echo hello | weir produce greetings
  weir produce orders -f '%k %v' orders.txt
  weir produce clicks --json < clicks.jsonl
  weir produce audit --key host-1 -H source=syslog -z zstd /var/log/syslog
  weir produce web --follow /var/log/nginx/access.log

Prints where records are kept with -o jsonl, and how many otherwise.";

/// Codecs by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Codec {
        match compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        }
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a header is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl ProduceOptions {
    pub(crate) async fn run(mut self, printer: &mut Printer) -> Result<(), Failure> {
        let endpoint = self.common.endpoint()?;
        let options = ProducerOptions {
            codec: self.compression.into(),
            linger: Duration::from_millis(self.linger_ms),
            ..ProducerOptions::new(&self.stream)
        };
        if let Some(file) = self.follow.take() {
            return self.run_following(file, endpoint, options, printer).await;
        }
        let mut sink = self.sink(&endpoint, options).await?;
        let files = std::mem::take(&mut self.files);
        let progress = FileProgress::of(&files, printer);
        let mut lines = read_lines(files);
        let sent = self.send_lines(&mut lines, &mut sink, &endpoint, printer, progress).await;
        // What was handed over is kept, whatever came of the lines behind it.
        let (count, kept) = sink.close(printer).await;
        if printer.output == Output::Text {
            let records = if count == 1 { "record" } else { "records" };
            eprintln!("{count} {records} kept in {}", self.stream);
        }
        sent.and(kept)
    }

    async fn sink(&self, endpoint: &Endpoint, options: ProducerOptions) -> Result<Sink, Failure> {
        let Endpoint::Kinesis(kinesis) = endpoint else {
            return Ok(Sink::batches(endpoint.producer(options).await?));
        };
        if self.compression != Compression::None {
            return Err(Failure::usage("Kinesis does not compress: leave --compression out"));
        }
        Ok(Sink::kinesis(kinesis.writer(&self.stream).await?, options.linger))
    }

    async fn send_lines(
        &self,
        lines: &mut mpsc::Receiver<Result<Line, Failure>>,
        sink: &mut Sink,
        endpoint: &Endpoint,
        printer: &mut Printer,
        mut progress: FileProgress,
    ) -> Result<(), Failure> {
        loop {
            let line = match sink.linger() {
                None => lines.recv().await,
                Some(linger) => match tokio::time::timeout(linger, lines.recv()).await {
                    Ok(line) => line,
                    Err(_) => {
                        sink.tell(printer).await?;
                        continue;
                    }
                },
            };
            let Some(line) = line else { return Ok(()) };
            let Line { number, bytes } = line?;
            progress.count(number, bytes.len());
            let record = self.record(&bytes, endpoint).map_err(|why| {
                Failure::of("invalid", format!("line {number} is refused: {why}"))
            })?;
            sink.send(record).await?;
            let is_asked = printer.output != Output::Text;
            if sink.is_full() || (is_asked && lines.is_empty()) {
                sink.tell(printer).await?;
            }
        }
    }

    /// Follows a log. A broker that is away is waited for, as long as it takes.
    async fn run_following(
        mut self,
        file: PathBuf,
        endpoint: Endpoint,
        options: ProducerOptions,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let position = match self.position.take() {
            Some(position) => position,
            None => default_position(&self.stream, &file, |name| std::env::var_os(name))?,
        };
        match endpoint.list("").await {
            Err(failure) if failure.is(UNREACHABLE) => {
                eprintln!("weir: {}; waiting for it", failure.message());
            }
            _ => {}
        }
        let options = ProducerOptions { delivery_time_max: FOREVER, ..options };
        let patient = Retry { time_max: FOREVER, ..*endpoint.retry() };
        let endpoint = endpoint.with_retry(patient);
        let producer = endpoint.producer(options).await?;
        let record = |line: &[u8]| self.record(line, &endpoint);
        Follow { file, position }.run(producer, record, printer).await
    }

    fn record(&self, line: &[u8], endpoint: &Endpoint) -> Result<NewRecord, String> {
        let placed = if self.as_written { Placed::AsWritten } else { Placed::Anew };
        let mut record = match self.json {
            true => json_record::parse(line, placed)?,
            false => self.format.read(line)?,
        };
        if record.key.is_none()
            && let Some(key) = &self.key
        {
            record = record.key(key.clone());
        }
        for (name, value) in &self.headers {
            record = record.header(name.clone(), value.clone());
        }
        if let Some(index) = self.partition {
            record = record.partition(index);
        }
        endpoint.check(&record)?;
        Ok(record)
    }
}

/// A line without its end.
struct Line {
    /// Counted from 1, over all files.
    number: u64,
    bytes: Vec<u8>,
}

/// How far files have been read, for whoever looks.
struct FileProgress {
    shown: Progress,
    /// Of all files; none where that is not known, or nobody is to be told.
    bytes_total: Option<u64>,
    bytes_done: u64,
}

impl FileProgress {
    fn of(files: &[PathBuf], printer: &Printer) -> FileProgress {
        let shown = Progress::on_terminal(Arc::new(SystemClock::new()));
        let is_told = printer.output == Output::Text && shown.is_seen();
        let bytes_total = total_bytes(files).filter(|_| is_told);
        FileProgress { shown, bytes_total, bytes_done: 0 }
    }

    /// Counts a line with its end.
    fn count(&mut self, number: u64, bytes: usize) {
        self.bytes_done += bytes as u64 + 1;
        if self.bytes_total.is_some() {
            self.shown.tell(self.bytes_done, self.bytes_total, number);
        }
    }
}

/// How long the files are together; none if one of them is no file, but a person or a pipe.
fn total_bytes(files: &[PathBuf]) -> Option<u64> {
    let length = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file);
        metadata.map(|metadata| metadata.len())
    };
    if files.is_empty() { None } else { files.iter().map(length).sum() }
}

/// Reads lines on a thread of their own: who types them takes his time.
fn read_lines(files: Vec<PathBuf>) -> mpsc::Receiver<Result<Line, Failure>> {
    let (out, lines) = mpsc::channel(LINES_AHEAD_MAX);
    let files = if files.is_empty() { vec![PathBuf::from("-")] } else { files };
    std::thread::spawn(move || {
        let mut number = 0;
        for file in &files {
            let read = open(file).and_then(|reader| send_lines(reader, &mut number, &out));
            if let Err(error) = read {
                let why = format!("cannot read {}: {error}", file.display());
                // Whoever does not listen any more has failed for another reason.
                let _ = out.blocking_send(Err(Failure::of("io", why)));
                return;
            }
        }
    });
    lines
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    Ok(Box::new(BufReader::new(File::open(file)?)))
}

fn send_lines(
    mut reader: Box<dyn BufRead>,
    number: &mut u64,
    out: &mpsc::Sender<Result<Line, Failure>>,
) -> io::Result<()> {
    loop {
        let mut bytes = Vec::new();
        let mut limited = io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
        if limited.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        let has_end = bytes.last() == Some(&b'\n');
        if !has_end && bytes.len() == LINE_BYTES_MAX {
            let why = format!("a line of more than {LINE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if has_end {
            bytes.pop();
        }
        *number += 1;
        if out.blocking_send(Ok(Line { number: *number, bytes })).is_err() {
            return Ok(());
        }
    }
}
