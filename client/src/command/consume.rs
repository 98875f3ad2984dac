//! `weir consume` and `weir tail`: records out. They differ in where they begin and how a line
//! looks.

use clap::Args;
use regex::bytes::Regex;
use weir_model::time::{Clock, SystemClock};

use crate::command::Common;
use crate::command::complete;
use crate::command::decode::{Decoded, Decoding};
use crate::command::format::Format;
use crate::command::json_record;
use crate::command::output::{Failure, Output, Printer};
use crate::command::position::PositionOptions;
use crate::consumer::ConsumerOptions;
use crate::record::{From, Record};

/// What a value alone takes.
const CONSUME_FORMAT: &str = "%v\\n";
/// What a person looks for first.
const TAIL_FORMAT: &str = "%p:%o  %d{rfc3339}  %k  %v\\n";

/// Options of `consume`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CONSUME_EXAMPLES)]
pub struct ConsumeOptions {
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Options of `tail`.
#[derive(Clone, Debug, Args)]
#[command(after_help = TAIL_EXAMPLES)]
pub struct TailOptions {
    #[command(flatten)]
    pub(crate) reading: Reading,
}

const CONSUME_EXAMPLES: &str = "Examples:
  weir consume orders --exit                      all that is there, a value on each line
  weir consume orders --last 10 -f '%o %k %v\\n'   the last ten of each partition
  weir consume orders --from -1h --grep error -o jsonl
  weir consume orders -o jsonl --exit | weir produce copy --json
  weir consume clicks --decode auto -f '%D %k %v\\n'  unpack gzip, base64, aggregates of the KPL

Formats: %v value, %k key, %t stream, %p partition, %o offset, %d timestamp, %h{%k=%v } headers,
  %V %K %T lengths, %H headers, %i number, %D what was decoded, %s number in an aggregate;
  %v{hex}, %v{base64}, %o{hex}, %d{rfc3339}; \\n \\t \\xNN %%";

const TAIL_EXAMPLES: &str = "Examples:
  weir tail orders                                what is written from now on
  weir tail orders --last 5 --key order-17
  weir tail orders -f '%d{rfc3339} %v\\n'";

/// What both share.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reading {
    #[command(flatten)]
    pub(crate) common: Common,

    /// The topic or stream
    #[arg(add = complete::streams())]
    stream: String,

    /// Only this partition; may be repeated
    #[arg(long, short, value_name = "INDEX")]
    partition: Vec<u32>,

    #[command(flatten)]
    position: PositionOptions,

    /// End after so many records
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u64>,

    /// End at what is there now
    #[arg(long, short)]
    exit: bool,

    /// How a record is printed; see below
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<Format>,

    /// Unpack values: what is to be undone in this order, of base64, gzip, zstd and kpl (aggregates
    /// of the Kinesis Producer Library), such as base64,gzip,kpl; or auto, as far as it can be told
    #[arg(long, value_name = "CHAIN", default_value = "none")]
    decode: Decoding,

    /// Only records with this key
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,

    /// Only records whose value has what this regular expression finds
    #[arg(long, value_name = "REGEX")]
    grep: Option<Regex>,

    /// Only records with this header
    #[arg(long, value_name = "NAME=VALUE")]
    header: Option<String>,
}

impl ConsumeOptions {
    pub(crate) async fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        self.reading.run(printer, From::Earliest, CONSUME_FORMAT).await
    }
}

impl TailOptions {
    pub(crate) async fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        self.reading.run(printer, From::Latest, TAIL_FORMAT).await
    }
}

impl Reading {
    async fn run(self, printer: &mut Printer, from: From, format: &str) -> Result<(), Failure> {
        let otherwise: Format = format.parse().map_err(Failure::usage)?;
        let filter = Filter::of(&self)?;
        let begin = self.position.position(from, SystemClock::new().now().as_millis());
        let options = ConsumerOptions {
            stream: self.stream,
            partitions: self.partition,
            // The endpoint sets it.
            from,
            until_now: self.exit,
            // What is filtered out does not count.
            records_max: self.count.filter(|_| filter.takes_all()),
        };
        let format = self.format.unwrap_or(otherwise);
        let mut consumer = self.common.endpoint()?.consumer(options, begin)?;
        let mut line = Vec::new();
        let mut count = 0;
        while self.count.is_none_or(|count_max| count < count_max) {
            if !consumer.has_next() {
                printer.flush()?;
            }
            let Some(record) = consumer.next().await else { return Ok(()) };
            for decoded in unpack(&self.decode, record?)? {
                if !filter.takes(&decoded.record) {
                    continue;
                }
                // The last wanted one may lie in the middle of an aggregate.
                if self.count == Some(count) {
                    break;
                }
                count += 1;
                if printer.output == Output::Text {
                    line.clear();
                    format.print(&decoded, count, &mut line);
                    printer.raw(&line)?;
                } else {
                    printer.result(&json_record::object(&decoded), String::new)?;
                }
            }
        }
        Ok(())
    }
}

/// What is in a record.
fn unpack(decoding: &Decoding, record: Record) -> Result<Vec<Decoded>, Failure> {
    let place = record.place;
    decoding.records(record).map_err(|why| {
        let at = format!("partition {}, offset {}", place.partition, place.offset);
        Failure::of("decode", format!("{at}: {why}; --decode auto leaves such values as they are"))
    })
}

/// Which records are printed.
struct Filter {
    key: Option<String>,
    grep: Option<Regex>,
    header: Option<(String, String)>,
}

impl Filter {
    fn of(reading: &Reading) -> Result<Filter, Failure> {
        let header = match &reading.header {
            None => None,
            Some(text) => {
                let header = text.split_once('=');
                let (name, value) = header.ok_or_else(|| {
                    Failure::usage(format!("--header {text}: a header is NAME=VALUE"))
                })?;
                Some((name.to_owned(), value.to_owned()))
            }
        };
        Ok(Filter { key: reading.key.clone(), grep: reading.grep.clone(), header })
    }

    fn takes_all(&self) -> bool {
        self.key.is_none() && self.grep.is_none() && self.header.is_none()
    }

    fn takes(&self, record: &Record) -> bool {
        let has_key = |key: &String| record.key.as_deref() == Some(key.as_bytes());
        let is_found = |regex: &Regex| regex.is_match(record.value.as_deref().unwrap_or_default());
        let has_header = |(name, value): &(String, String)| {
            let mut headers = record.headers.iter();
            headers.any(|(n, v)| n == name && v.as_deref() == Some(value.as_bytes()))
        };
        self.key.as_ref().is_none_or(has_key)
            && self.grep.as_ref().is_none_or(is_found)
            && self.header.as_ref().is_none_or(has_header)
    }
}
