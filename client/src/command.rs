//! The client commands of `weir`: what a person does with a broker, from a terminal or a script.
//!
//! ```text
//!   topic, stream   make, show, change and remove what holds records (one thing, two names)
//!   produce         lines, JSON or a format of one's own, in
//!   consume, tail   records out, likewise
//!   group           who reads what, how far, and from where on
//!   inspect         what partitions are made of, down to the bytes on the disk
//!   watch           what happens, as it happens
//!   quota           what quotas let in and out now
//!   fault, clock    what shall go wrong, and when, for tests
//!   completions     what a shell needs to complete commands and the names that there are
//!   env             the variables that Kafka's clients and AWS's SDKs want
//! ```
//!
//! The contract with scripts: in `--output json` and `jsonl` each result, an error included, is one
//! JSON object on standard output; text is for people and may change. Exit codes: 0 as wished, 1
//! it failed, 2 what was written cannot be understood.

pub mod colours;
mod complete;
mod consume;
mod control;
mod decode;
mod endpoint;
mod env;
mod follow;
mod format;
mod group;
mod inspect;
mod json_record;
pub mod output;
mod position;
mod produce;
mod quota;
mod topic;
mod watch;

use clap::{Args, Subcommand};

use crate::connection::Client;
use crate::error::Error;
use crate::retry::Retry;
use complete::CompletionOptions;
use consume::{ConsumeOptions, TailOptions};
use control::{ClockCommand, FaultCommand};
use endpoint::{Endpoint, EndpointOptions};
use env::EnvOptions;
use group::GroupCommand;
use inspect::InspectOptions;
use output::{Failure, Output, Printer};
use produce::ProduceOptions;
use quota::QuotaOptions;
use topic::{Kind, TopicCommand};
use watch::WatchOptions;

/// How long a command waits for a broker that is not there yet.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// Why a command failed, where nobody answered.
const UNREACHABLE: &str = "unreachable";

/// A client command.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Make, show, change and remove topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Make, show, change and remove streams: topics whose partitions own hash keys, as shards of
    /// Kinesis
    #[command(subcommand)]
    Stream(TopicCommand),
    /// Write records: lines of standard input or of files
    Produce(ProduceOptions),
    /// Read records, from the oldest on
    Consume(ConsumeOptions),
    /// Read records as they come
    Tail(TailOptions),
    /// Show consumer groups and how far they have read, and have them read on elsewhere
    #[command(subcommand)]
    Group(GroupCommand),
    /// Look inside a topic or stream: partitions, segments, batches, indexes, bytes
    Inspect(InspectOptions),
    /// Show what happens in the broker, as it happens
    Watch(WatchOptions),
    /// Show what the quotas of a topic or stream let in and out now
    Quota(QuotaOptions),
    /// Have requests fail, wait or break off, for tests
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Show the broker's clock, and move one that stands still, for tests
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Print what a shell needs to complete commands, and the names of what there is
    #[command(after_help = complete::EXAMPLES)]
    Completions(CompletionOptions),
    /// Print the variables that Kafka's clients and AWS's SDKs want
    Env(EnvOptions),
}

/// What all commands that talk to a broker share.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    endpoint: EndpointOptions,

    /// How results are printed; one JSON object for each, errors included, in json and jsonl
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Common {
    /// What the command talks to.
    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let retry = Retry { time_max: PATIENCE, ..Retry::default() };
        Endpoint::new(&self.endpoint.address(), retry)
    }

    /// The same where only weir itself will do.
    fn client(&self, what: &str) -> Result<Client, Failure> {
        self.endpoint()?.native(what)
    }
}

impl ClientCommand {
    fn common(&self) -> Option<&Common> {
        match self {
            ClientCommand::Topic(command) | ClientCommand::Stream(command) => {
                Some(command.common())
            }
            ClientCommand::Produce(options) => Some(&options.common),
            ClientCommand::Consume(options) => Some(&options.reading.common),
            ClientCommand::Tail(options) => Some(&options.reading.common),
            ClientCommand::Group(command) => Some(command.common()),
            ClientCommand::Inspect(options) => Some(&options.common),
            ClientCommand::Watch(options) => Some(&options.common),
            ClientCommand::Quota(options) => Some(&options.common),
            ClientCommand::Fault(_) | ClientCommand::Clock(_) => None,
            ClientCommand::Completions(_) | ClientCommand::Env(_) => None,
        }
    }

    fn output(&self) -> Output {
        match self {
            ClientCommand::Fault(command) => command.control().output,
            ClientCommand::Clock(command) => command.control().output,
            other => other.common().map_or(Output::Text, |common| common.output),
        }
    }

    /// Runs the command; the process's exit code. Must be called inside a tokio runtime.
    pub async fn run(self) -> u8 {
        let mut printer = Printer::new(self.output());
        let url = self.common().map(|common| common.endpoint.address().shown());
        let result = match self {
            ClientCommand::Topic(command) => command.run(Kind::Topic, &mut printer).await,
            ClientCommand::Stream(command) => command.run(Kind::Stream, &mut printer).await,
            ClientCommand::Produce(options) => options.run(&mut printer).await,
            ClientCommand::Consume(options) => options.run(&mut printer).await,
            ClientCommand::Tail(options) => options.run(&mut printer).await,
            ClientCommand::Group(command) => command.run(&mut printer).await,
            ClientCommand::Inspect(options) => options.run(&mut printer).await,
            ClientCommand::Watch(options) => options.run(&mut printer).await,
            ClientCommand::Quota(options) => options.run(&mut printer).await,
            ClientCommand::Fault(command) => command.run(&mut printer).await,
            ClientCommand::Clock(command) => command.run(&mut printer).await,
            ClientCommand::Completions(options) => options.run(&mut printer),
            ClientCommand::Env(options) => options.run(&mut printer),
        };
        printer.finish(result.map_err(|failure| match url {
            Some(url) if failure.is(UNREACHABLE) => failure.adding(&format!(" at {url}")),
            _ => failure,
        }))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let reason = match &error {
            Error::Refused(refusal) => {
                let name = refusal.reason.as_str_name();
                name.strip_prefix("REASON_").unwrap_or(name).to_lowercase()
            }
            Error::Endpoint(_) => "endpoint".to_owned(),
            Error::Unreachable(_) => UNREACHABLE.to_owned(),
            Error::Closed => "closed".to_owned(),
            Error::Protocol(_) => "protocol".to_owned(),
        };
        Failure::of(reason, error.to_string())
    }
}
