//! The `weir` command: `serve` (also alone or followed by flags), `health`, `bench`, and the client
//! commands of [`weir_client::command`].
//!
//! Exit codes: 0 as wished, 1 it failed, 2 what was written cannot be understood.

#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::CompleteEnv;
use tracing::{error, info, warn};
use weir::banner;
use weir::config::{self, Config, LogFormat, RawConfig};
use weir::doctor::{self, Finding};
use weir::shutdown::{StopSignal, StopSignals};
use weir::{Server, allocator, descriptors, flush_probe, logging};
use weir_client::bench::{Bench, Output};
use weir_client::command::ClientCommand;
use weir_client::command::colours::Colours;
use weir_client::command::output::{Output as ClientOutput, error_object, say_failed};
use weir_client::health;
use weir_client::http::Url;
use weir_model::time::{Clock, SystemClock};

/// Event broker that speaks the Kafka protocol and the Kinesis Data Streams API
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: RawConfig,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker (so does weir alone, or followed by flags)
    Serve(Box<RawConfig>),
    /// Ask a broker whether it is ready; exit 0 when it is
    Health(HealthOptions),
    /// Look at what `weir serve` with the same flags would meet on this machine
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Box<DoctorOptions>),
    /// Measure a broker under load
    #[command(subcommand)]
    Bench(Bench),
    #[command(flatten)]
    Client(ClientCommand),
}

const DOCTOR_EXAMPLES: &str = "Examples:
  weir doctor                                     before the first start, or when clients get lost
  weir doctor --data-dir /mnt/disk --output jsonl";

#[derive(Debug, clap::Args)]
struct DoctorOptions {
    /// How findings are printed; one JSON object for each in json and jsonl
    #[arg(long, short, value_enum, default_value_t = ClientOutput::Text)]
    output: ClientOutput,

    #[command(flatten)]
    serve: RawConfig,
}

#[derive(Debug, clap::Args)]
struct HealthOptions {
    /// Ask again until it is ready or this time is over, such as 5s or 500ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    wait: Duration,

    /// Where the broker answers `/readyz`
    #[arg(long, value_name = "URL", default_value = "http://localhost:8080")]
    http: Url,
}

fn main() -> ExitCode {
    // First, since start-up time counts from here.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    // Ends here if it is a shell that asks; see `weir completions`.
    CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    match cli.command {
        None => serve(cli.serve, clock),
        Some(Command::Serve(flags)) => serve(*flags, clock),
        Some(Command::Health(options)) => ask_health(&options, &*clock),
        Some(Command::Doctor(options)) => examine(*options, clock),
        Some(Command::Bench(bench)) => run_bench(&bench, clock),
        Some(Command::Client(command)) => run_client(command),
    }
}

/// Prints help, a version, or why the arguments mean nothing: as JSON where JSON was asked for.
fn not_understood(error: &clap::Error) -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    let wants_json = arguments.iter().any(|argument| {
        matches!(argument.as_str(), "--output=json" | "--output=jsonl" | "-ojson" | "-ojsonl")
    }) || arguments.windows(2).any(|pair| {
        matches!(pair, [name, value] if matches!(name.as_str(), "--output" | "-o")
            && matches!(value.as_str(), "json" | "jsonl"))
    });
    if wants_json && error.use_stderr() {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        print(&format!("{}\n", error_object("usage", message)));
        return ExitCode::from(2);
    }
    error.exit()
}

fn run_client(command: ClientCommand) -> ExitCode {
    match client_runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(command.run());
            // A thread that reads from a terminal is not waited for.
            runtime.shutdown_background();
            ExitCode::from(code)
        }
        Err(error) => failed(1, &format_args!("cannot start: {error}")),
    }
}

/// Prints why the command failed.
fn failed(code: u8, why: &dyn std::fmt::Display) -> ExitCode {
    say_failed(why);
    ExitCode::from(code)
}

fn serve(flags: RawConfig, clock: Arc<dyn Clock>) -> ExitCode {
    allocator::give_back_large_buffers();
    let config = match config::read(flags, |name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(error) => return failed(2, &error),
    };
    let is_terminal = std::io::stdout().is_terminal();
    let by_terminal = if is_terminal { LogFormat::Text } else { LogFormat::Json };
    let format = config.log_format.unwrap_or(by_terminal);
    if let Err(error) = logging::start(format, std::env::var(logging::VARIABLE).ok()) {
        return failed(2, &error);
    }
    if let Err(error) = descriptors::raise_limit() {
        warn!(%error, "cannot raise the limit of open files");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(1, &format_args!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(run_server(config, format, clock));
    // Whatever still runs had its time; the data is closed.
    runtime.shutdown_background();
    code
}

/// Prints what `weir serve` would meet; 1 if something would keep it from serving well.
fn examine(options: DoctorOptions, clock: Arc<dyn Clock>) -> ExitCode {
    let DoctorOptions { output, serve } = options;
    let config = match config::read(serve, |name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(error) if output == ClientOutput::Text => return failed(2, &error),
        Err(error) => {
            print(&format!("{}\n", error_object("usage", &error.to_string())));
            return ExitCode::from(2);
        }
    };
    let runtime = match client_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(1, &format_args!("cannot start: {error}")),
    };
    let findings = runtime.block_on(doctor::examine(&config, &clock));
    for finding in &findings {
        match output {
            ClientOutput::Text => print(&finding.to_text(Colours::of_stdout())),
            ClientOutput::Json => print(&format!("{:#}\n", finding.to_json())),
            ClientOutput::Jsonl => print(&format!("{}\n", finding.to_json())),
        }
    }
    if findings.iter().any(Finding::is_problem) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// Says why the broker failed, where and as its log is written.
fn broker_failed(format: LogFormat, why: &dyn std::fmt::Display) -> ExitCode {
    match format {
        LogFormat::Text => failed(1, why),
        LogFormat::Json => {
            error!("{why}");
            ExitCode::from(1)
        }
    }
}

async fn run_server(config: Config, format: LogFormat, clock: Arc<dyn Clock>) -> ExitCode {
    let mut signals = match StopSignals::install() {
        Ok(signals) => signals,
        Err(error) => {
            return broker_failed(format, &format_args!("cannot take over signals: {error}"));
        }
    };
    let started = tokio::select! {
        started = Server::start(config, Arc::clone(&clock)) => started,
        signal = signals.next() => return exit_at_once(signal),
    };
    let server = match started {
        Ok(server) => server,
        Err(error) => return broker_failed(format, &error),
    };
    announce(&server, format, &clock);
    let signal = signals.next().await;
    info!(signal = signal.name(), "stopping");
    tokio::select! {
        stopped = server.stop() => match stopped {
            Ok(()) => {
                info!("stopped");
                ExitCode::SUCCESS
            }
            Err(error) => broker_failed(format, &error),
        },
        signal = signals.next() => exit_at_once(signal),
    }
}

fn exit_at_once(signal: StopSignal) -> ExitCode {
    warn!(signal = signal.name(), "stopping at once, without a last flush");
    std::process::exit(signal.exit_code())
}

/// Says that the broker is ready, and later what a flush takes.
fn announce(server: &Server, format: LogFormat, clock: &Arc<dyn Clock>) {
    let ready = server.ready(clock.moment().since_start());
    let colours = Colours::of_stdout();
    match format {
        LogFormat::Json => print(&format!("{}\n", ready.to_json())),
        LogFormat::Text => print(&ready.to_text(colours)),
    }
    let (directory, clock) = (ready.data_dir, Arc::clone(clock));
    tokio::task::spawn_blocking(move || match flush_probe::measure(&directory, &*clock) {
        Ok(flush) => match format {
            LogFormat::Json => {
                let micros = u64::try_from(flush.as_micros()).unwrap_or(u64::MAX);
                info!(flush_micros = micros, "measured a flush of 4 KiB");
            }
            LogFormat::Text => print(&banner::flush_text(flush, colours)),
        },
        Err(error) => warn!(%error, "cannot measure a flush"),
    });
}

/// Prints to standard output. Whoever closed it does not care; the broker goes on.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        warn!(%error, "cannot write to standard output");
    }
}

fn ask_health(options: &HealthOptions, clock: &dyn Clock) -> ExitCode {
    let runtime = match client_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(1, &format_args!("cannot start: {error}")),
    };
    match runtime.block_on(health::wait_until_ready(&options.http, options.wait, clock)) {
        Ok(answer) => {
            print(&answer);
            ExitCode::SUCCESS
        }
        Err(error) => failed(1, &format_args!("not ready at {}: {error}", options.http)),
    }
}

fn run_bench(bench: &Bench, clock: Arc<dyn Clock>) -> ExitCode {
    let runtime = match client_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(1, &format_args!("cannot start: {error}")),
    };
    match runtime.block_on(bench.run(clock)) {
        Ok(report) => {
            match bench.output() {
                Output::Text => print(&report.to_string()),
                Output::Json => print(&format!("{}\n", report.to_json())),
            }
            if report.is_success() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => failed(1, &error),
    }
}

/// One thread: a client that shares the broker's cores should take as little as it can.
fn client_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A number with `ms`, `s` or `m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let unit_ms = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        _ => return Err("a time ends in ms, s or m".to_owned()),
    };
    match number.parse::<f64>() {
        Ok(count) if (0.0..=86_400.0).contains(&count) => {
            Ok(Duration::from_secs_f64(count * unit_ms / 1e3))
        }
        _ => Err("a time begins with a number up to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["weir"], arguments].concat())
    }

    fn serve_flags(arguments: &[&str]) -> RawConfig {
        let cli = parse(arguments).expect("legal arguments");
        match cli.command {
            None => cli.serve,
            Some(Command::Serve(flags)) => *flags,
            Some(other) => panic!("{other:?} is not serve"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_may_be_left_out() {
        assert_eq!(serve_flags(&[]), RawConfig::default());
        let flags = ["--kafka", "off", "--topic", "a:3", "--topic", "b", "--ephemeral"];
        let expected = RawConfig {
            kafka: Some("off".to_owned()),
            topic: Some(vec!["a:3".to_owned(), "b".to_owned()]),
            ephemeral: Some(true),
            ..RawConfig::default()
        };
        assert_eq!(serve_flags(&flags), expected);
        assert_eq!(serve_flags(&[&["serve"], flags.as_slice()].concat()), expected);
    }

    #[test]
    fn flags_and_commands_that_do_not_exist_are_refused() {
        for arguments in [
            ["--kafak", "off"].as_slice(),
            &["--kafka", "off", "health"],
            &["start"],
            &["health", "--wait", "5"],
            &["bench", "produce", "--kafka", "a:1", "--kinesis", "http://a:1"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        for (text, millis) in [
            ("5s", Some(5_000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1_500)),
            ("2m", Some(120_000)),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("5h", None),
        ] {
            let parsed = parse_duration(text).ok();
            assert_eq!(parsed, millis.map(Duration::from_millis), "{text}");
        }
    }
}
