//! How the broker is told what to do, in two steps.
//!
//! ```text
//!   flags        ─┐
//!   WEIR_… names ─┼─> RawConfig each: what was written, as text ──> Config: what we run with
//!   weir.toml    ─┘         raw.rs                                     config.rs
//! ```
//!
//! A flag beats an environment variable, which beats the file. All three spell the same keys
//! (`--data-dir`, `WEIR_DATA_DIR`, `data-dir = "…"`), and every value is parsed in one place, so an
//! error can always name the value, what would be legal, and where it was written.

#[expect(clippy::module_inception, reason = "the raw config and the config are its two halves")]
mod config;
mod raw;

pub use config::{Config, ConfigError, DataLocation, InitialStream, KinesisAuth, LogFormat, read};
pub use raw::{RawConfig, WrittenIn};
