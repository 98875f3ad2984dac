//! `weir completions`: what a shell needs to complete what is being typed.
//!
//! The script that is printed calls `weir` itself at each Tab, with the line as it stands. What
//! commands and flags there are is known here; names of topics, streams and groups are asked of the
//! broker, and if that does not answer at once, there are none.

use std::ffi::OsStr;
use std::future::Future;
use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use clap_complete::{ArgValueCompleter, CompletionCandidate};

use crate::command::endpoint::{Address, Endpoint, EndpointOptions};
use crate::command::output::{Failure, Printer};
use crate::retry::Retry;

/// How long somebody who has pressed Tab waits for a broker.
const PATIENCE: Duration = Duration::from_millis(300);
/// Where the script says which shell asks.
const VARIABLE: &str = "COMPLETE";

pub(super) const EXAMPLES: &str = "Examples:
  source <(weir completions bash)                 in ~/.bashrc
  source <(weir completions zsh)                  in ~/.zshrc, behind compinit
  weir completions fish | source                  in ~/.config/fish/config.fish";

/// Options of `completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionOptions {
    /// Which shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl CompletionOptions {
    pub(crate) fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        let shell: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        };
        let mut script = Vec::new();
        shell.write_registration(VARIABLE, "weir", "weir", "weir", &mut script)?;
        printer.raw(&script)
    }
}

/// The names of topics and streams.
pub(super) fn streams() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        names(begun, async |endpoint, prefix| {
            let streams = endpoint.list(&prefix).await?;
            Ok(streams.into_iter().map(|stream| stream.name).collect())
        })
    })
}

/// The names of consumer groups.
pub(super) fn groups() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        names(begun, async |endpoint, prefix| {
            let groups = endpoint.list_groups(&prefix).await?;
            Ok(groups.into_iter().map(|group| group.name).collect())
        })
    })
}

/// What an endpoint has that begins so; nothing if it cannot be asked: a shell has no place for
/// why.
fn names<F>(begun: &OsStr, list: impl FnOnce(Endpoint, String) -> F) -> Vec<CompletionCandidate>
where
    F: Future<Output = Result<Vec<String>, Failure>>,
{
    let Some(prefix) = begun.to_str() else { return Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let retry = Retry { time_max: Duration::ZERO, ..Retry::default() };
    let asked = runtime.block_on(async {
        let endpoint = Endpoint::new(&address(), retry).ok()?;
        let names = tokio::time::timeout(PATIENCE, list(endpoint, prefix.to_owned())).await;
        names.ok()?.ok()
    });
    asked.unwrap_or_default().into_iter().map(CompletionCandidate::new).collect()
}

/// The endpoint of the line that is being typed.
fn address() -> Address {
    let words: Vec<_> = std::env::args().collect();
    let said = |flag: &str| {
        words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix(flag)? {
            "" => words.get(index + 1).cloned(),
            rest => rest.strip_prefix('=').map(ToOwned::to_owned),
        })
    };
    EndpointOptions::said(said("--grpc"), said("--kafka"), said("--kinesis")).address()
}
