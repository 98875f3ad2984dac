//! `weir env`: the variables with which programs that know nothing of weir use it.

use clap::{Args, ValueEnum};

use crate::command::output::{Failure, Printer};

/// Options of `env`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  eval \"$(weir env)\" && aws kinesis list-streams
  weir env --shell fish | source")]
pub struct EnvOptions {
    /// How the shell writes them
    #[arg(long, value_enum, default_value_t = Shell::Posix)]
    shell: Shell,

    /// Where weir answers Kafka's clients
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9092")]
    kafka: String,

    /// Where weir answers the Kinesis API
    #[arg(long, value_name = "URL", default_value = "http://localhost:4566")]
    kinesis: String,

    /// Where weir answers its native API
    #[arg(long, value_name = "URL", default_value = "http://localhost:50051")]
    grpc: String,
}

/// Shells that write variables differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// sh, bash, zsh
    Posix,
    /// fish
    Fish,
    /// NAME=VALUE, as env files have it
    Plain,
}

impl EnvOptions {
    pub(crate) fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        let variables = [
            ("WEIR_ENDPOINT", self.grpc.as_str()),
            ("KAFKA_BOOTSTRAP_SERVERS", &self.kafka),
            // Of all services only Kinesis goes here; the others stay where they are.
            ("AWS_ENDPOINT_URL_KINESIS", &self.kinesis),
            // A signature's presence and shape are looked at, its value is not.
            ("AWS_ACCESS_KEY_ID", "weir"),
            ("AWS_SECRET_ACCESS_KEY", "weir"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ];
        for (name, value) in variables {
            let quoted = value.replace('\'', r"'\''");
            let line = match self.shell {
                Shell::Posix => format!("export {name}='{quoted}'\n"),
                Shell::Fish => format!("set -gx {name} '{}'\n", value.replace('\'', r"\'")),
                Shell::Plain => format!("{name}={value}\n"),
            };
            printer.raw(line.as_bytes())?;
        }
        Ok(())
    }
}
