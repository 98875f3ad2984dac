//! What was written: by flags, in the environment, in the file. Nothing is interpreted yet.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Deserializer};

/// The settings as one source wrote them; absent ones are left to the next source.
///
/// This one struct is the list of all settings: its fields are the flags, the environment variables
/// and the file's keys, and its field comments are the help text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawConfig {
    /// Kafka protocol; `off`, or port 0 for a free one [default: localhost:9092]
    #[arg(long, value_name = "ADDR")]
    pub kafka: Option<String>,

    /// What clients are told to connect to, for all peers or those of a network; repeatable
    #[arg(long, value_name = "[PEER-CIDR=]HOST:PORT")]
    pub kafka_advertised: Option<Vec<String>>,

    /// Kinesis API over HTTP without TLS [default: localhost:4566]
    #[arg(long, value_name = "ADDR")]
    pub kinesis: Option<String>,

    /// The same API over TLS [default: localhost:4567; off where --kinesis is or that port is taken
    /// by another flag]
    #[arg(long, value_name = "ADDR")]
    pub kinesis_tls: Option<String>,

    /// Certificate chain of the TLS listeners in PEM [default: made by a local authority]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert in PEM, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// What Kinesis requests must show: `none`, `shape` (a signature's parts) or `verify` (one by a
    /// key of --kinesis-keys) [default: shape, verify with keys]
    #[arg(long, value_name = "MODE")]
    pub kinesis_auth: Option<String>,

    /// Access keys in TOML, readable by its owner alone: `[[key]]` with `id` and `secret`
    #[arg(long, value_name = "FILE")]
    pub kinesis_keys: Option<PathBuf>,

    /// Native API over gRPC [default: localhost:50051]
    #[arg(long, value_name = "ADDR")]
    pub grpc: Option<String>,

    /// `/metrics`, `/livez`, `/readyz` [default: localhost:8080]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,

    /// Everything that must last [default: ./weir-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// When an acknowledged record counts as kept: `group`, `interval` or `os` [default: group]
    #[arg(long, value_name = "POLICY")]
    pub flush: Option<String>,

    /// Shard quotas: `aws`, `off`, or a factor of AWS's [default: aws]
    #[arg(long, value_name = "QUOTAS")]
    pub quotas: Option<String>,

    /// Kafka topic to create if missing; repeatable
    #[arg(long, value_name = "NAME[:PARTITIONS]")]
    pub topic: Option<Vec<String>>,

    /// Kinesis stream to create if missing; repeatable
    #[arg(long, value_name = "NAME[:SHARDS]")]
    pub stream: Option<Vec<String>>,

    /// A broker setting by its Kafka name, such as `num.partitions=3`; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    #[serde(deserialize_with = "assignments")]
    pub set: Option<Vec<String>>,

    /// Temporary data, gone at exit, with the `os` flush policy
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_name = "BOOL")]
    pub ephemeral: Option<bool>,

    /// What shall go wrong, for tests: `[[fault]]` tables in TOML, as `/api/v1/faults` has them
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,

    /// The broker's clock stands still until `POST /api/v1/clock` moves it; for tests
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_name = "BOOL")]
    pub manual_clock: Option<bool>,

    /// `text`, or `json`: one ready line, then one object per log line [default: by terminal]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Settings file [default: ./weir.toml if there]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// `A=1,B=x,y,C=2` as three assignments: what has no `=` goes on with the list before it.
fn split_assignments(text: &str) -> Vec<String> {
    let mut assignments: Vec<String> = Vec::new();
    for part in text.split(',') {
        match assignments.last_mut() {
            Some(last) if !part.contains('=') => {
                last.push(',');
                last.push_str(part);
            }
            _ => assignments.push(part.trim().to_owned()),
        }
    }
    assignments
}

/// Reads the file's table of settings as the flag would have them.
fn assignments<'de, D: Deserializer<'de>>(table: D) -> Result<Option<Vec<String>>, D::Error> {
    let table = BTreeMap::<String, FileValue>::deserialize(table)?;
    let assignment = |(name, value)| match value {
        FileValue::Text(text) => format!("{name}={text}"),
        FileValue::Whole(number) => format!("{name}={number}"),
        FileValue::Fraction(number) => format!("{name}={number}"),
        FileValue::Switch(switch) => format!("{name}={switch}"),
        FileValue::List(words) => format!("{name}={}", words.join(",")),
    };
    Ok(Some(table.into_iter().map(assignment).collect()))
}

/// A setting's value in the file: quoted or not.
#[derive(Deserialize)]
#[serde(untagged, expecting = "in [set], a name with dots is quoted and has one value")]
enum FileValue {
    Text(String),
    Whole(i64),
    Fraction(f64),
    Switch(bool),
    List(Vec<String>),
}

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenIn {
    /// On the command line.
    Flag,
    /// In an environment variable.
    Environment,
    /// In this file.
    File(PathBuf),
}

impl WrittenIn {
    /// How a person finds the setting: `--data-dir`, `WEIR_DATA_DIR`, or `data-dir in weir.toml`.
    pub fn name_of(&self, key: &str) -> String {
        match self {
            WrittenIn::Flag => format!("--{key}"),
            WrittenIn::Environment => variable(key),
            WrittenIn::File(path) => format!("{key} in {}", path.display()),
        }
    }
}

/// The environment variable of a setting.
fn variable(key: &str) -> String {
    format!("WEIR_{}", key.to_ascii_uppercase().replace('-', "_"))
}

/// Why a source could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableSource(pub String);

impl fmt::Display for UnreadableSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl RawConfig {
    /// Reads the variables that are set. Lists are separated by commas; an empty variable is as if
    /// it were not set. Other names that begin with `WEIR_` are no errors, because Kubernetes makes
    /// up such names for every service called `weir`.
    pub fn from_environment(
        look_up: impl Fn(&str) -> Option<OsString>,
    ) -> Result<RawConfig, UnreadableSource> {
        let set = |key: &str| look_up(&variable(key)).filter(|value| !value.is_empty());
        let text = |key: &str| match set(key).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(UnreadableSource(format!("{} is not UTF-8", variable(key)))),
        };
        let list = |key: &str| {
            let split = |text: String| text.split(',').map(|item| item.trim().to_owned()).collect();
            text(key).map(|text| text.map(split))
        };
        let switch = |key: &str| match text(key)?.as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => {
                let name = variable(key);
                Err(UnreadableSource(format!("{name} is `{other}`, not true or false")))
            }
        };
        Ok(RawConfig {
            kafka: text("kafka")?,
            kafka_advertised: list("kafka-advertised")?,
            kinesis: text("kinesis")?,
            kinesis_tls: text("kinesis-tls")?,
            tls_cert: set("tls-cert").map(PathBuf::from),
            tls_key: set("tls-key").map(PathBuf::from),
            kinesis_auth: text("kinesis-auth")?,
            kinesis_keys: set("kinesis-keys").map(PathBuf::from),
            grpc: text("grpc")?,
            http: text("http")?,
            data_dir: set("data-dir").map(PathBuf::from),
            flush: text("flush")?,
            quotas: text("quotas")?,
            topic: list("topic")?,
            stream: list("stream")?,
            set: text("set")?.map(|text| split_assignments(&text)),
            ephemeral: switch("ephemeral")?,
            faults: set("faults").map(PathBuf::from),
            manual_clock: switch("manual-clock")?,
            log_format: text("log-format")?,
            config: set("config").map(PathBuf::from),
        })
    }

    /// Reads the file's text; an error names the line.
    pub fn from_file(path: &Path, text: &str) -> Result<RawConfig, UnreadableSource> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = error.message().trim().replace('\n', " ");
            UnreadableSource(format!("{}, line {line}: {message}", path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<RawConfig, UnreadableSource> {
        RawConfig::from_environment(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn variables_are_named_after_the_flags() {
        let read = environment(&[
            ("WEIR_KAFKA", "localhost:19092"),
            ("WEIR_DATA_DIR", "/data"),
            ("WEIR_TOPIC", "a:3, b"),
            ("WEIR_SET", "num.partitions=3, group.consumer.assignors=range,uniform"),
            ("WEIR_EPHEMERAL", "1"),
            ("WEIR_HTTP", ""),
            ("WEIR_SERVICE_HOST", "10.0.0.1"),
        ]);
        let expected = RawConfig {
            kafka: Some("localhost:19092".to_owned()),
            data_dir: Some(PathBuf::from("/data")),
            topic: Some(vec!["a:3".to_owned(), "b".to_owned()]),
            set: Some(vec![
                "num.partitions=3".to_owned(),
                "group.consumer.assignors=range,uniform".to_owned(),
            ]),
            ephemeral: Some(true),
            ..RawConfig::default()
        };
        assert_eq!(read, Ok(expected));
        let error = environment(&[("WEIR_EPHEMERAL", "maybe")]).expect_err("not a boolean");
        assert_eq!(error.0, "WEIR_EPHEMERAL is `maybe`, not true or false");
    }

    #[test]
    fn the_file_has_the_flags_names_and_no_others() {
        let path = Path::new("weir.toml");
        let text = "kafka = \"off\"\ndata-dir = \"/data\"\ntopic = [\"a:3\"]\nephemeral = false\n\
                    [set]\n\"num.partitions\" = 3\n\"auto.create.topics.enable\" = \"false\"\n";
        let expected = RawConfig {
            kafka: Some("off".to_owned()),
            data_dir: Some(PathBuf::from("/data")),
            topic: Some(vec!["a:3".to_owned()]),
            set: Some(vec![
                "auto.create.topics.enable=false".to_owned(),
                "num.partitions=3".to_owned(),
            ]),
            ephemeral: Some(false),
            ..RawConfig::default()
        };
        assert_eq!(RawConfig::from_file(path, text), Ok(expected));
        for (text, line, what) in [
            ("kafka = \"off\"\nkafak = \"x\"\n", 2, "unknown field `kafak`"),
            ("\n\nflush = 3\n", 3, "expected a string"),
            ("config = \"x\"\n", 1, "unknown field `config`"),
            ("kafka = \n", 1, ""),
            ("[set]\nnum.partitions = 3\n", 2, "a name with dots is quoted"),
        ] {
            let error = RawConfig::from_file(path, text).expect_err(text).0;
            assert!(error.starts_with(&format!("weir.toml, line {line}: ")), "{error}");
            assert!(error.contains(what), "{error}");
        }
    }
}
