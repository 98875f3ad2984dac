//! The log on standard error: lines for people, or one JSON object a line for programs.
//!
//! `WEIR_LOG` sets what is logged, such as `debug` or `info,weir_kafka=trace`; `info` by default.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt as layer};

use crate::config::LogFormat;

/// The environment variable that says what is logged.
pub const VARIABLE: &str = "WEIR_LOG";

/// Why logging could not be set up.
#[derive(Debug)]
pub enum LoggingError {
    /// [`VARIABLE`] is not a list of levels.
    Filter(String, ParseError),
    /// The process logs elsewhere already.
    AlreadySet(TryInitError),
}

impl fmt::Display for LoggingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoggingError::Filter(text, error) => write!(out, "{VARIABLE} is `{text}`: {error}"),
            LoggingError::AlreadySet(error) => write!(out, "cannot set up logging: {error}"),
        }
    }
}

impl std::error::Error for LoggingError {}

/// Starts logging for the whole process.
pub fn start(format: LogFormat, filter: Option<String>) -> Result<(), LoggingError> {
    let filter = match filter {
        // h2 warns of misbehaving clients too, but cannot name them; the Kinesis dialect does.
        None => {
            Targets::new().with_default(LevelFilter::INFO).with_target("h2", LevelFilter::ERROR)
        }
        Some(text) => text.parse().map_err(|error| LoggingError::Filter(text, error))?,
    };
    let lines = layer::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => {
            let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let is_coloured = std::io::stderr().is_terminal() && !no_colour;
            lines.with_ansi(is_coloured).boxed()
        }
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(LoggingError::AlreadySet)
}
