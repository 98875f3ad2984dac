//! The load tool behind `weir bench produce` and `weir bench consume`.
//!
//! A **closed loop**: each connection has a fixed number of requests in flight and sends the next
//! when one is answered, so what is printed is what the broker sustained, and the latencies are
//! those under that load. It works against any broker that speaks the Kafka protocol or the
//! Kinesis API over plain HTTP, and is written to tell the truth:
//!
//! - only acknowledged records count, every error code is looked at, and a run with an error or
//!   with fewer records than asked for fails;
//! - the broker's CPU time and memory come from the kernel, not from the broker;
//! - the flush policy, without which a throughput means little, is part of the result.
//!
//! ```text
//!   produce ─┐                 ┌─ kafka      raw protocol, batches built once, up to 5 in flight
//!            ├─ Tally, report ─┤
//!   consume ─┘                 └─ kinesis    PutRecords / GetRecords, JSON or CBOR, one in flight
//! ```
//!
//! The client does as little as possible (batches are built once and stamped anew), because it
//! usually shares the machine's cores with the broker that it measures.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use weir_model::time::Clock;

use crate::http::{self, HttpError, Url};
use crate::kafka::connection::{ANSWER_WAIT_MAX, WireError};
use crate::process::{self, Pid};

mod cbor;
mod consume;
mod kafka;
mod kinesis;
mod payload;
mod produce;
mod report;
mod tally;

pub use kafka::advertised_addresses;
pub use report::Report;

/// Pause after the broker refused records because of a quota.
const THROTTLE_PAUSE: Duration = Duration::from_millis(50);

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub enum Bench {
    /// Write records and measure until the last is acknowledged
    Produce(ProduceOptions),
    /// Read records from the oldest on
    Consume(ConsumeOptions),
}

/// Where the load goes, and what the result says about it.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Speak the Kafka protocol to this address [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "kinesis")]
    pub kafka: Option<String>,

    /// Speak the Kinesis API to this address instead
    #[arg(long, value_name = "URL")]
    pub kinesis: Option<Url>,

    /// Topic or stream; a topic is created on first use if the broker does that
    #[arg(long, visible_alias = "stream", value_name = "NAME", default_value = "bench")]
    pub topic: String,

    /// Connections, each with its own closed loop
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub connections: u32,

    /// How Kinesis requests and answers are written
    #[arg(long, value_enum, default_value_t = Encoding::Json)]
    pub encoding: Encoding,

    /// The broker's process, for its CPU time and memory [default: who listens on the port here]
    #[arg(long)]
    pub pid: Option<u32>,

    /// Where the broker answers `/readyz`, which names its flush policy
    #[arg(long, value_name = "URL", default_value = "http://localhost:8080")]
    pub http: Url,

    /// The broker's flush policy, for the result, where it cannot be asked
    #[arg(long, value_name = "NAME")]
    pub flush: Option<String>,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// `weir bench produce`.
#[derive(Clone, Debug, Args)]
pub struct ProduceOptions {
    /// Where to.
    #[command(flatten)]
    pub target: Target,

    /// Records to write in all
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub records: u64,

    /// Bytes of each record's value
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub size: usize,

    /// Records in a batch (Kafka) or request (Kinesis) [default: 64, Kinesis 100]
    #[arg(long, value_name = "COUNT")]
    pub batch: Option<u32>,

    /// Kafka requests in flight on a connection
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub in_flight: usize,

    /// Kafka acknowledgement: `all`, or `1` for the leader's alone
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,

    /// Write as an idempotent Kafka producer
    #[arg(long)]
    pub idempotent: bool,

    /// Kafka compression of the batches
    #[arg(long, value_enum, default_value_t = CodecName::None)]
    pub codec: CodecName,
}

/// `weir bench consume`.
#[derive(Clone, Debug, Args)]
pub struct ConsumeOptions {
    /// Where from.
    #[command(flatten)]
    pub target: Target,

    /// Records to read in all [default: all that are there at the start]
    #[arg(long, value_name = "COUNT")]
    pub records: Option<u64>,

    /// Most bytes that a Kafka fetch asks for of each partition
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub partition_bytes: i32,

    /// Most records that a GetRecords call asks for
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub limit: u32,

    /// Check each Kafka batch's CRC too; order and count are always checked
    #[arg(long)]
    pub verify: bool,
}

/// How many acknowledgements a Kafka producer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    /// When the record is kept.
    All,
    /// When the leader has it.
    #[value(name = "1")]
    Leader,
}

/// How Kinesis requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// `application/x-amz-json-1.1`, as boto3 and the Go SDK do.
    Json,
    /// `application/x-amz-cbor-1.1`, as the Java SDK does.
    Cbor,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// A codec, as the command line spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CodecName {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Why a run was given up.
#[derive(Debug)]
pub enum BenchError {
    /// The options contradict each other or what the broker has.
    Options(String),
    /// No connection, or it broke.
    Io(std::io::Error),
    /// The HTTP connection broke.
    Http(HttpError),
    /// The broker sent what the protocol does not allow.
    Protocol(String),
    /// The broker refused.
    Refused(String),
    /// The broker did not answer for 30 seconds, or had nothing more to read.
    NoAnswer(String),
}

impl fmt::Display for BenchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BenchError::Options(why) => out.write_str(why),
            BenchError::Io(error) => write!(out, "connection failed: {error}"),
            BenchError::Http(error) => write!(out, "connection failed: {error}"),
            BenchError::Protocol(why) => write!(out, "the broker broke the protocol: {why}"),
            BenchError::Refused(why) => write!(out, "the broker refused: {why}"),
            BenchError::NoAnswer(what) => write!(out, "no answer: {what}"),
        }
    }
}

impl std::error::Error for BenchError {}

impl From<std::io::Error> for BenchError {
    fn from(error: std::io::Error) -> BenchError {
        BenchError::Io(error)
    }
}

impl From<WireError> for BenchError {
    fn from(error: WireError) -> BenchError {
        match error {
            WireError::Io(error) => BenchError::Io(error),
            WireError::NoAnswer(what) => BenchError::NoAnswer(what),
            WireError::Protocol(what) => BenchError::Protocol(what),
            WireError::Unsendable(what) => BenchError::Options(what),
        }
    }
}

impl From<HttpError> for BenchError {
    fn from(error: HttpError) -> BenchError {
        BenchError::Http(error)
    }
}

/// Where a run goes, with its dialect decided.
#[derive(Clone, Debug)]
enum Endpoint {
    Kafka(String),
    Kinesis(Url),
}

impl Target {
    fn endpoint(&self) -> Endpoint {
        match (&self.kinesis, &self.kafka) {
            (Some(url), _) => Endpoint::Kinesis(url.clone()),
            (None, Some(address)) => Endpoint::Kafka(address.clone()),
            (None, None) => Endpoint::Kafka("localhost:9092".to_owned()),
        }
    }

    /// The broker's process, if it was named or runs on this machine.
    async fn process(&self, endpoint: &Endpoint) -> Option<Pid> {
        if let Some(pid) = self.pid {
            return Some(Pid::new(pid));
        }
        let address = match endpoint {
            Endpoint::Kafka(address) => address,
            Endpoint::Kinesis(url) => &url.authority,
        };
        let mut addresses = tokio::net::lookup_host(address).await.ok()?;
        let local = addresses.find(|address| address.ip().is_loopback())?;
        process::holder_of(local).map(|holder| holder.pid)
    }

    /// The broker's flush policy, if it was given or the broker tells it.
    async fn flush_policy(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Ready {
            flush: String,
        }
        if self.flush.is_some() {
            return self.flush.clone();
        }
        let answer = http::get(&self.http, "/readyz").await.ok()?;
        serde_json::from_slice(&answer.body).ok().map(|ready: Ready| ready.flush)
    }
}

impl Bench {
    /// Runs the load and measures. The result may hold errors that the broker answered with; see
    /// [`Report::is_success`].
    pub async fn run(&self, clock: Arc<dyn Clock>) -> Result<Report, BenchError> {
        let target = self.target();
        if target.connections == 0 {
            return Err(BenchError::Options("--connections must be at least 1".to_owned()));
        }
        let endpoint = target.endpoint();
        let pid = target.process(&endpoint).await;
        let flush_policy = target.flush_policy().await;
        let before = pid.and_then(process::usage);
        let (tally, records_expected) = match self {
            Bench::Produce(options) => {
                (produce::run(options, &endpoint, &clock).await?, Some(options.records))
            }
            Bench::Consume(options) => consume::run(options, &endpoint, &clock).await?,
        };
        let after = pid.and_then(process::usage);
        let broker = pid.zip(before.zip(after));
        Ok(Report::new(self, &endpoint, records_expected, tally, flush_policy, broker))
    }

    /// How the result is to be printed.
    pub fn output(&self) -> Output {
        self.target().output
    }

    fn target(&self) -> &Target {
        match self {
            Bench::Produce(options) => &options.target,
            Bench::Consume(options) => &options.target,
        }
    }
}
