//! The log on standard error: lines for people, or one JSON object a line for programs.
//!
//! `WEIR_LOG` sets what is logged, such as `debug` or `info,weir_kafka=trace`; `info` by default.
//! While weir runs, levels are changed by module ([`LogLevels`]); those that it was started with
//! stay underneath.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing::info;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt as layer};

use crate::config::LogFormat;

/// The environment variable that says what is logged.
pub const VARIABLE: &str = "WEIR_LOG";

/// What stands for every module that has no level of its own.
const DEFAULT: &str = "default";
/// Most modules in one request.
const MODULES_MAX: usize = 100;
/// Longest name of a module, in bytes.
const MODULE_BYTES_MAX: usize = 200;

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
    let (reloadable, handle) = reload::Layer::new(filter.clone());
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
        .with(lines.with_filter(reloadable))
        .try_init()
        .map_err(LoggingError::AlreadySet)?;
    let levels = LogLevels { started: Levels::of(&filter), now: Mutex::default(), handle };
    *levels.now.lock() = levels.started.clone();
    // Only the first start of a process gets here: the second finds its log set up.
    OF_PROCESS.get_or_init(|| levels);
    Ok(())
}

/// A process has one log, and so one set of levels.
static OF_PROCESS: OnceLock<LogLevels> = OnceLock::new();

/// What is logged, which may be changed at any time.
#[derive(Debug)]
pub(crate) struct LogLevels {
    /// What the process was started with.
    started: Levels,
    /// A sync lock: held while the filter is replaced, which waits for nothing.
    now: Mutex<Levels>,
    handle: Handle<Targets, Registry>,
}

impl LogLevels {
    /// Those of this process; none where [`start`] has not set up its log.
    pub(crate) fn of_process() -> Option<&'static LogLevels> {
        OF_PROCESS.get()
    }

    /// The level of each module that has one, and of the rest.
    pub(crate) fn shown(&self) -> BTreeMap<String, String> {
        let levels = self.now.lock().0.clone();
        levels.into_iter().map(|(module, level)| (module, level.to_string())).collect()
    }

    /// Has these levels hold over those of the start, in the place of what was set before. An error
    /// is a sentence, and then nothing has changed.
    pub(crate) fn replace(&self, wanted: &BTreeMap<String, String>) -> Result<(), String> {
        let levels = self.started.with(wanted)?;
        let mut now = self.now.lock();
        let replaced = self.handle.reload(levels.targets());
        replaced.map_err(|error| format!("cannot change what is logged: {error}"))?;
        *now = levels;
        drop(now);
        info!(?wanted, "log levels changed");
        Ok(())
    }
}

/// Levels by module, [`DEFAULT`] among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Levels(BTreeMap<String, LevelFilter>);

impl Levels {
    fn of(targets: &Targets) -> Levels {
        let modules = targets.iter().map(|(module, level)| (module.to_owned(), level));
        let rest = targets.default_level().unwrap_or(LevelFilter::OFF);
        Levels(modules.chain([(DEFAULT.to_owned(), rest)]).collect())
    }

    fn targets(&self) -> Targets {
        let mut targets = Targets::new();
        for (module, level) in &self.0 {
            targets = match module.as_str() {
                DEFAULT => targets.with_default(*level),
                module => targets.with_target(module, *level),
            };
        }
        targets
    }

    fn with(&self, wanted: &BTreeMap<String, String>) -> Result<Levels, String> {
        if wanted.len() > MODULES_MAX {
            return Err(format!("{} modules, at most {MODULES_MAX} may be", wanted.len()));
        }
        let mut levels = self.clone();
        for (module, level) in wanted {
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
            let is_named = !module.is_empty() && module.bytes().all(is_legal);
            if !is_named || module.len() > MODULE_BYTES_MAX {
                let shown: String = module.chars().take(MODULE_BYTES_MAX).collect();
                return Err(format!("{shown:?} is not a module such as weir_kafka::connection"));
            }
            levels.0.insert(module.clone(), level_of(level)?);
        }
        Ok(levels)
    }
}

fn level_of(text: &str) -> Result<LevelFilter, String> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => {
            let shown: String = text.chars().take(MODULE_BYTES_MAX).collect();
            Err(format!("{shown:?} is not a level: off, error, warn, info, debug or trace"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn started() -> Levels {
        Levels::of(&"info,h2=error".parse().expect("legal levels"))
    }

    fn with(wanted: &[(&str, &str)]) -> Result<Levels, String> {
        let owned = |(module, level): &(&str, &str)| (module.to_string(), level.to_string());
        started().with(&wanted.iter().map(owned).collect())
    }

    #[test]
    fn wanted_levels_lie_over_those_of_the_start() {
        let would_log =
            |levels: &Levels, module, level| levels.targets().would_enable(module, &level);
        let levels = with(&[("weir_kafka", "debug"), ("weir_kafka::pauses", "warn")]);
        let levels = levels.expect("legal levels");
        for (module, level, is_logged) in [
            ("weir_kafka::connection", Level::DEBUG, true),
            ("weir_kafka::connection", Level::TRACE, false),
            ("weir_kafka::pauses", Level::INFO, false),
            ("weir_core::broker", Level::INFO, true),
            ("weir_core::broker", Level::DEBUG, false),
            ("h2::proto", Level::WARN, false),
        ] {
            assert_eq!(would_log(&levels, module, level), is_logged, "{module} {level}");
        }
        let quiet = with(&[("default", "off"), ("h2", "trace")]).expect("legal levels");
        assert!(!would_log(&quiet, "weir_core", Level::ERROR));
        assert!(would_log(&quiet, "h2", Level::TRACE));
        assert_eq!(with(&[]), Ok(started()));
    }

    #[test]
    fn what_is_no_module_or_level_is_refused() {
        for (module, level, why) in [
            ("weir_kafka", "loud", "\"loud\" is not a level"),
            ("weir_kafka", "DEBUG", "\"DEBUG\" is not a level"),
            ("", "info", "\"\" is not a module"),
            ("weir kafka", "info", "\"weir kafka\" is not a module"),
            ("weir_kafka=debug", "info", "is not a module"),
        ] {
            let refused = with(&[(module, level)]).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        let long = "m".repeat(MODULE_BYTES_MAX + 1);
        assert!(with(&[(&long, "info")]).is_err());
        let many: Vec<String> = (0..=MODULES_MAX).map(|index| format!("m{index}")).collect();
        let many: Vec<_> = many.iter().map(|module| (module.as_str(), "info")).collect();
        assert!(with(&many).is_err());
    }
}
