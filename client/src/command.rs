//! The client commands of `weir`: what a person does with a broker, from a terminal or a script.
//!
//! ```text
//!   topic, stream   make, show, change and remove what holds records (one thing, two names)
//!   produce         lines, JSON or a format of one's own, in
//!   consume, tail   records out, likewise
//!   group           who reads what, how far, and from where on
//!   completions     what a shell needs to complete commands and the names that there are
//!   env             the variables that Kafka's clients and AWS's SDKs want
//! ```
//!
//! The contract with scripts: in `--output json` and `jsonl` each result, an error included, is one
//! JSON object on standard output; text is for people and may change. Exit codes: 0 as wished, 1
//! it failed, 2 what was written cannot be understood.

mod complete;
mod consume;
mod endpoint;
mod env;
mod follow;
mod format;
mod group;
mod json_record;
pub mod output;
mod position;
mod produce;
mod topic;

use clap::{Args, Subcommand};

use crate::error::Error;
use crate::retry::Retry;
use complete::CompletionOptions;
use consume::{ConsumeOptions, TailOptions};
use endpoint::{Endpoint, EndpointOptions};
use env::EnvOptions;
use group::GroupCommand;
use output::{Failure, Output, Printer};
use produce::ProduceOptions;
use topic::{Kind, TopicCommand};

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
            ClientCommand::Completions(_) | ClientCommand::Env(_) => None,
        }
    }

    /// Runs the command; the process's exit code. Must be called inside a tokio runtime.
    pub async fn run(self) -> u8 {
        let output = self.common().map_or(Output::Text, |common| common.output);
        let mut printer = Printer::new(output);
        let url = self.common().map(|common| common.endpoint.address().shown());
        let result = match self {
            ClientCommand::Topic(command) => command.run(Kind::Topic, &mut printer).await,
            ClientCommand::Stream(command) => command.run(Kind::Stream, &mut printer).await,
            ClientCommand::Produce(options) => options.run(&mut printer).await,
            ClientCommand::Consume(options) => options.run(&mut printer).await,
            ClientCommand::Tail(options) => options.run(&mut printer).await,
            ClientCommand::Group(command) => command.run(&mut printer).await,
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
