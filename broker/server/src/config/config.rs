//! What we run with: every setting parsed, defaulted and checked, once.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use weir_core::FlushPolicy;
use weir_core::quota::limits::QuotaPolicy;
use weir_core::settings::broker_settings::BrokerSettings;
use weir_core::settings::written::{Written, broker_name_of};
use weir_kafka::AdvertisedRule;
use weir_model::ids::{InvalidStreamName, STREAM_NAME_LENGTH_MAX, StreamName};
use weir_model::limits::STREAM_PARTITIONS_MAX;

use super::raw::{RawConfig, UnreadableSource, WrittenIn};
use crate::listen::ListenAddress;
use crate::tls::Certificates;

/// The file that is read when no other is named and it exists.
const DEFAULT_FILE: &str = "weir.toml";
const DEFAULT_DATA_DIRECTORY: &str = "weir-data";
/// Where the Kinesis API speaks TLS if nothing else was written.
const KINESIS_TLS_PORT: u16 = 4567;

/// Everything that `weir serve` needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The Kafka listener.
    pub kafka: ListenAddress,
    /// What Kafka clients are told, in the order given; empty: decided for each peer.
    pub kafka_advertised: Vec<AdvertisedRule>,
    /// The Kinesis listener.
    pub kinesis: ListenAddress,
    /// The Kinesis listener with TLS.
    pub kinesis_tls: ListenAddress,
    /// The certificates of listeners with TLS.
    pub certificates: Certificates,
    /// What Kinesis requests must show.
    pub kinesis_auth: KinesisAuth,
    /// The listener for the native API.
    pub grpc: ListenAddress,
    /// The listener for health and metrics.
    pub http: ListenAddress,
    /// Where the data lies.
    pub data: DataLocation,
    /// The flush policy of streams that do not set one.
    pub flush: FlushPolicy,
    /// The stance on shard quotas.
    pub quotas: QuotaPolicy,
    /// The broker's settings that have Kafka's names.
    pub settings: BrokerSettings,
    /// Topics that are made at start.
    pub topics: Vec<InitialStream>,
    /// Kinesis streams that are made at start.
    pub streams: Vec<InitialStream>,
    /// The file that says what shall go wrong.
    pub faults: Option<PathBuf>,
    /// Whether the broker's clock stands still until it is moved.
    pub manual_clock: bool,
    /// How the start and the log are written; none: whoever starts decides by terminal.
    pub log_format: Option<LogFormat>,
}

impl Default for Config {
    /// What `weir serve` runs with when nothing is written anywhere.
    fn default() -> Config {
        parse(&[]).expect("the defaults are legal")
    }
}

impl Config {
    /// A broker for a test: free ports, temporary data, no quotas.
    pub fn ephemeral() -> Config {
        let any_port = ListenAddress::Localhost { port: 0 };
        Config {
            kafka: any_port.clone(),
            kinesis: any_port.clone(),
            kinesis_tls: any_port.clone(),
            grpc: any_port.clone(),
            http: any_port,
            data: DataLocation::Temporary,
            flush: FlushPolicy::Os,
            quotas: QuotaPolicy::Off,
            ..Config::default()
        }
    }
}

/// What Kinesis requests must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KinesisAuth {
    /// Nothing.
    None,
    /// A signature that has all its parts.
    Shape,
    /// A signature by a key of this file.
    Verify(PathBuf),
}

/// Where the data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataLocation {
    /// In a directory that lasts.
    Directory(PathBuf),
    /// In a directory of its own that is removed at exit.
    Temporary,
}

/// A stream that is made at start if it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialStream {
    /// Its name.
    pub name: StreamName,
    /// Its partitions, or shards.
    pub partitions: u32,
}

/// How the start and the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the settings cannot be used, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<UnreadableSource> for ConfigError {
    fn from(error: UnreadableSource) -> ConfigError {
        ConfigError(error.0)
    }
}

/// Reads all three sources and parses what they say.
pub fn read(
    flags: RawConfig,
    look_up: impl Fn(&str) -> Option<OsString>,
) -> Result<Config, ConfigError> {
    let environment = RawConfig::from_environment(look_up)?;
    let (path, is_named) = match flags.config.as_ref().or(environment.config.as_ref()) {
        Some(path) => (path.clone(), true),
        None => (PathBuf::from(DEFAULT_FILE), false),
    };
    let file = match std::fs::read_to_string(&path) {
        Ok(text) => RawConfig::from_file(&path, &text)?,
        Err(error) if !is_named && error.kind() == std::io::ErrorKind::NotFound => {
            RawConfig::default()
        }
        Err(error) => {
            return Err(ConfigError(format!("cannot read {}: {error}", path.display())));
        }
    };
    parse(&[
        (WrittenIn::Flag, flags),
        (WrittenIn::Environment, environment),
        (WrittenIn::File(path), file),
    ])
}

/// Parses the settings; sources that come first win.
fn parse(sources: &[(WrittenIn, RawConfig)]) -> Result<Config, ConfigError> {
    let settings = Settings { sources };
    let is_ephemeral = settings.is_ephemeral()?;
    let localhost = |port| ListenAddress::Localhost { port };
    let address = |key, field: fn(&RawConfig) -> Option<&String>, port| {
        settings.parse(key, field, localhost(port), |text| text.parse().map_err(text_of))
    };
    let topics = settings.parse_list("topic", |raw| raw.topic.as_ref(), parse_stream)?;
    let streams = settings.parse_list("stream", |raw| raw.stream.as_ref(), parse_stream)?;
    check_named_once(&topics, &streams)?;
    let kinesis = address("kinesis", |raw| raw.kinesis.as_ref(), 4566)?;
    let kafka = address("kafka", |raw| raw.kafka.as_ref(), 9092)?;
    let grpc = address("grpc", |raw| raw.grpc.as_ref(), 50_051)?;
    let http = address("http", |raw| raw.http.as_ref(), 8080)?;
    let is_tls_port = |address: &ListenAddress| address.port() == Some(KINESIS_TLS_PORT);
    let kinesis_tls = match settings.first(|raw| raw.kinesis_tls.as_ref()) {
        // Whoever wants no Kinesis wants none on a second port either.
        None if kinesis == ListenAddress::Off => ListenAddress::Off,
        // 4567 is where other emulators have Kinesis without TLS, so it is asked for.
        None if [&kafka, &kinesis, &grpc, &http].into_iter().any(is_tls_port) => ListenAddress::Off,
        _ => address("kinesis-tls", |raw| raw.kinesis_tls.as_ref(), KINESIS_TLS_PORT)?,
    };
    Ok(Config {
        kafka,
        kafka_advertised: settings.parse_list(
            "kafka-advertised",
            |raw| raw.kafka_advertised.as_ref(),
            |text| text.parse().map_err(text_of),
        )?,
        kinesis,
        kinesis_tls,
        certificates: settings.certificates()?,
        kinesis_auth: settings.kinesis_auth()?,
        grpc,
        http,
        data: match is_ephemeral {
            true => DataLocation::Temporary,
            false => {
                let written = settings.first(|raw| raw.data_dir.as_ref());
                let path = written.map_or(DEFAULT_DATA_DIRECTORY.into(), |(_, path)| path.clone());
                DataLocation::Directory(path)
            }
        },
        flush: settings.parse(
            "flush",
            |raw| raw.flush.as_ref(),
            if is_ephemeral { FlushPolicy::Os } else { FlushPolicy::Group },
            parse_flush,
        )?,
        quotas: settings.parse(
            "quotas",
            |raw| raw.quotas.as_ref(),
            QuotaPolicy::Aws,
            parse_quotas,
        )?,
        settings: settings.broker_settings()?,
        topics,
        streams,
        faults: settings.first(|raw| raw.faults.as_ref()).map(|(_, path)| path.clone()),
        manual_clock: settings
            .first(|raw| raw.manual_clock.as_ref())
            .is_some_and(|(_, is_manual)| *is_manual),
        log_format: settings.parse(
            "log-format",
            |raw| raw.log_format.as_ref(),
            None,
            |text| parse_log_format(text).map(Some),
        )?,
    })
}

/// The sources, with the ways to look a setting up.
struct Settings<'a> {
    sources: &'a [(WrittenIn, RawConfig)],
}

impl<'a> Settings<'a> {
    /// The setting where it counts, and where it was written.
    fn first<T: ?Sized>(
        &self,
        field: impl Fn(&'a RawConfig) -> Option<&'a T>,
    ) -> Option<(&'a WrittenIn, &'a T)> {
        self.sources.iter().find_map(|(place, raw)| field(raw).map(|value| (place, value)))
    }

    fn parse<T>(
        &self,
        key: &str,
        field: impl Fn(&'a RawConfig) -> Option<&'a String>,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        match self.first(field) {
            None => Ok(default),
            Some((place, text)) => parse(text).map_err(|why| invalid(place, key, text, &why)),
        }
    }

    /// A list is taken whole from the first source that has it, so that a flag can shorten one.
    fn parse_list<T>(
        &self,
        key: &str,
        field: impl Fn(&'a RawConfig) -> Option<&'a Vec<String>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some((place, texts)) = self.first(field) else { return Ok(Vec::new()) };
        texts
            .iter()
            .map(|text| parse(text).map_err(|why| invalid(place, key, text, &why)))
            .collect()
    }

    /// The broker's settings by their Kafka names. Unlike lists they add up: what one source leaves
    /// out another may set.
    fn broker_settings(&self) -> Result<BrokerSettings, ConfigError> {
        let mut written = Written::default();
        for (place, raw) in self.sources {
            let mut named = BTreeSet::new();
            for text in raw.set.iter().flatten() {
                let refused = |why: &str| invalid(place, "set", text, why);
                let (name, value) =
                    text.split_once('=').ok_or_else(|| refused("not NAME=VALUE"))?;
                let (name, value) = (name.trim(), value.trim());
                if !named.insert(name) {
                    return Err(refused("the name is set twice"));
                }
                let mut checked = Written::default();
                checked.insert(name, value).map_err(|error| refused(&why_refused(&error)))?;
                if written.get(name).is_none() {
                    written.insert(name, value).expect("it was checked");
                }
            }
        }
        BrokerSettings::new(written).map_err(ConfigError)
    }

    /// A chain and its key are of no use without each other.
    fn certificates(&self) -> Result<Certificates, ConfigError> {
        let chain = self.first(|raw| raw.tls_cert.as_ref());
        let key = self.first(|raw| raw.tls_key.as_ref());
        let alone = |place: &WrittenIn, key: &str, missing: &str| {
            let (there, missing) = (place.name_of(key), place.name_of(missing));
            Err(ConfigError(format!("{there} needs {missing} beside it")))
        };
        match (chain, key) {
            (None, None) => Ok(Certificates::Local),
            (Some((_, chain)), Some((_, key))) => {
                Ok(Certificates::Files { chain: chain.clone(), key: key.clone() })
            }
            (Some((place, _)), None) => alone(place, "tls-cert", "tls-key"),
            (None, Some((place, _))) => alone(place, "tls-key", "tls-cert"),
        }
    }

    /// Keys are of use to `verify` alone, and `verify` of none without them.
    fn kinesis_auth(&self) -> Result<KinesisAuth, ConfigError> {
        let mode = self.first(|raw| raw.kinesis_auth.as_ref());
        let keys = self.first(|raw| raw.kinesis_keys.as_ref());
        match (mode.map(|(place, text)| (place, text.as_str())), keys) {
            (None, None) | (Some((_, "shape")), None) => Ok(KinesisAuth::Shape),
            (Some((_, "none")), None) => Ok(KinesisAuth::None),
            (None | Some((_, "verify")), Some((_, keys))) => Ok(KinesisAuth::Verify(keys.clone())),
            (Some((place, "verify")), None) => {
                let (there, missing) =
                    (place.name_of("kinesis-auth"), place.name_of("kinesis-keys"));
                Err(ConfigError(format!("{there} verify needs {missing} beside it")))
            }
            (Some((place, text)), None) => {
                Err(invalid(place, "kinesis-auth", text, "not none, shape or verify"))
            }
            (Some((place, text)), Some((_, _))) => {
                Err(invalid(place, "kinesis-auth", text, "with keys only verify makes sense"))
            }
        }
    }

    /// `ephemeral` and `data-dir` are two answers to one question: the stronger source wins, and
    /// one source may not give both.
    fn is_ephemeral(&self) -> Result<bool, ConfigError> {
        for (place, raw) in self.sources {
            match (raw.ephemeral, &raw.data_dir) {
                (Some(true), Some(_)) => {
                    return Err(ConfigError(format!(
                        "{} and {} exclude each other",
                        place.name_of("ephemeral"),
                        place.name_of("data-dir")
                    )));
                }
                (Some(is_ephemeral), _) => return Ok(is_ephemeral),
                (None, Some(_)) => return Ok(false),
                (None, None) => {}
            }
        }
        Ok(false)
    }
}

fn invalid(place: &WrittenIn, key: &str, text: &str, why: &str) -> ConfigError {
    ConfigError(format!("{} is `{text}`: {why}", place.name_of(key)))
}

/// Why a broker setting is refused, after its name and value.
fn why_refused(error: &weir_core::error::ConfigError) -> String {
    match error {
        weir_core::error::ConfigError::Invalid { why, .. } => why.clone(),
        weir_core::error::ConfigError::Conflict { why } => why.clone(),
        weir_core::error::ConfigError::Unknown { name } => match broker_name_of(name) {
            Some(broker) => format!("{name} is a setting of topics, its default is {broker}"),
            None => "weir has no such setting".to_owned(),
        },
    }
}

fn text_of(error: impl fmt::Display) -> String {
    error.to_string()
}

fn parse_flush(text: &str) -> Result<FlushPolicy, String> {
    [FlushPolicy::Group, FlushPolicy::INTERVAL, FlushPolicy::Os]
        .into_iter()
        .find(|policy| policy.name() == text)
        .ok_or_else(|| "not group, interval or os".to_owned())
}

fn parse_quotas(text: &str) -> Result<QuotaPolicy, String> {
    match text {
        "aws" => Ok(QuotaPolicy::Aws),
        "off" => Ok(QuotaPolicy::Off),
        _ => match text.parse::<f64>() {
            // A factor so small that a bucket never holds a record would only look like a hang.
            Ok(factor) if (0.001..=1_000_000.0).contains(&factor) => {
                Ok(QuotaPolicy::Factor(factor))
            }
            _ => Err("not aws, off or a factor from 0.001 to 1000000".to_owned()),
        },
    }
}

fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("not text or json".to_owned()),
    }
}

/// `NAME` or `NAME:PARTITIONS`.
/// One name is one stream, whichever dialect made it, so it can be asked for in one way only.
fn check_named_once(
    topics: &[InitialStream],
    streams: &[InitialStream],
) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    match topics.iter().chain(streams).find(|asked| !seen.insert(&asked.name)) {
        None => Ok(()),
        Some(twice) => {
            let name = &twice.name;
            Err(ConfigError(format!(
                "'{name}' is named twice among the topics and streams to make"
            )))
        }
    }
}

fn parse_stream(text: &str) -> Result<InitialStream, String> {
    let (name, partitions) = match text.split_once(':') {
        Some((name, count)) => (name, count.parse().unwrap_or(0)),
        None => (text, 1),
    };
    let name = StreamName::new(name).map_err(|error| match error {
        InvalidStreamName::Empty => "the name is empty".to_owned(),
        InvalidStreamName::Dots => "a name may not be . or ..".to_owned(),
        InvalidStreamName::TooLong => format!("above {STREAM_NAME_LENGTH_MAX} characters"),
        InvalidStreamName::Character => "a name has letters, digits, dot, _ and - only".to_owned(),
    })?;
    if name.is_internal() {
        return Err("weir keeps its own state under this name".to_owned());
    }
    match usize::try_from(partitions) {
        Ok(count) if (1..=STREAM_PARTITIONS_MAX).contains(&count) => {
            Ok(InitialStream { name, partitions })
        }
        _ => Err(format!("not between 1 and {STREAM_PARTITIONS_MAX} partitions")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(
        flags: RawConfig,
        environment: RawConfig,
        file: RawConfig,
    ) -> Result<Config, ConfigError> {
        parse(&[
            (WrittenIn::Flag, flags),
            (WrittenIn::Environment, environment),
            (WrittenIn::File("weir.toml".into()), file),
        ])
    }

    fn flags(raw: RawConfig) -> Result<Config, ConfigError> {
        sources(raw, RawConfig::default(), RawConfig::default())
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let raw = |port: u16| RawConfig {
            kafka: Some(format!("localhost:{port}")),
            topic: Some(vec![format!("t{port}")]),
            ..RawConfig::default()
        };
        for (first, second, third, port) in [
            (raw(1), raw(2), raw(3), 1),
            (RawConfig::default(), raw(2), raw(3), 2),
            (RawConfig::default(), RawConfig::default(), raw(3), 3),
            (RawConfig::default(), RawConfig::default(), RawConfig::default(), 9092),
        ] {
            let config = sources(first, second, third).expect("legal");
            assert_eq!(config.kafka, ListenAddress::Localhost { port });
            assert_eq!(config.topics.len(), usize::from(port != 9092), "lists do not add up");
        }
    }

    #[test]
    fn tls_goes_with_the_dialect_and_a_chain_with_its_key() {
        let listens = |kinesis: Option<&str>, tls: Option<&str>| {
            let written = |text: Option<&str>| text.map(str::to_owned);
            let (kinesis, kinesis_tls) = (written(kinesis), written(tls));
            flags(RawConfig { kinesis, kinesis_tls, ..RawConfig::default() }).expect("legal")
        };
        let at = |port| ListenAddress::Localhost { port };
        assert_eq!(listens(None, None).kinesis_tls, at(4567));
        assert_eq!(listens(Some("off"), None).kinesis_tls, ListenAddress::Off);
        assert_eq!(listens(Some("off"), Some("localhost:1")).kinesis_tls, at(1));
        for taken in ["localhost:4567", "0.0.0.0:4567", "weir:4567"] {
            assert_eq!(listens(Some(taken), None).kinesis_tls, ListenAddress::Off, "{taken}");
        }
        let file = || Some(PathBuf::from("file.pem"));
        let chain = RawConfig { tls_cert: file(), ..RawConfig::default() };
        let refused = flags(chain.clone()).expect_err("a chain alone").to_string();
        assert_eq!(refused, "--tls-cert needs --tls-key beside it");
        let both = RawConfig { tls_key: file(), ..chain };
        let chain = PathBuf::from("file.pem");
        let expected = Certificates::Files { chain: chain.clone(), key: chain };
        assert_eq!(flags(both).expect("legal").certificates, expected);
    }

    #[test]
    fn errors_name_the_value_and_where_it_was_written() {
        let raw = RawConfig { flush: text("always"), ..RawConfig::default() };
        let none = RawConfig::default;
        for (read, start) in [
            (sources(raw.clone(), none(), none()), "--flush is `always`: "),
            (sources(none(), raw.clone(), none()), "WEIR_FLUSH is `always`: "),
            (sources(none(), none(), raw), "flush in weir.toml is `always`: "),
        ] {
            let error = read.expect_err("no such policy").to_string();
            assert_eq!(error, format!("{start}not group, interval or os"));
        }
    }

    #[test]
    fn broker_settings_add_up_and_each_comes_from_the_strongest_source() {
        let raw = |texts: &[&str]| RawConfig {
            set: Some(texts.iter().map(|text| (*text).to_owned()).collect()),
            ..RawConfig::default()
        };
        let config = sources(
            raw(&["num.partitions=3"]),
            raw(&["num.partitions=4", "group.max.size=7"]),
            raw(&["group.max.size=8", "auto.create.topics.enable = false"]),
        );
        let settings = config.expect("legal").settings;
        let partitions = (settings.topics.partitions, settings.groups.members_max);
        assert_eq!(partitions, (3, 7));
        assert_eq!(settings.written.get("auto.create.topics.enable"), Some("false"));
    }

    #[test]
    fn broker_settings_that_cannot_be_are_refused_in_a_sentence() {
        let group_max = "group.consumer.session.timeout.ms of 6000 is outside its minimum and \
                         maximum";
        for (texts, expected) in [
            (&["num.partitions"][..], "--set is `num.partitions`: not NAME=VALUE"),
            (&["num.partition=1"], "--set is `num.partition=1`: weir has no such setting"),
            (&["num.partitions=0"], "--set is `num.partitions=0`: Value must be at least 1"),
            (
                &["retention.ms=1"],
                "--set is `retention.ms=1`: retention.ms is a setting of topics, its default is \
                 log.retention.ms",
            ),
            (
                &["quota.window.num=1", "quota.window.num=2"],
                "--set is `quota.window.num=2`: the name is set twice",
            ),
            (&["group.consumer.session.timeout.ms=6000"], group_max),
        ] {
            let set = Some(texts.iter().map(|text| (*text).to_owned()).collect());
            let error = flags(RawConfig { set, ..RawConfig::default() }).expect_err("refused");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn ephemeral_data_brings_its_own_flush_policy_unless_one_is_written() {
        let ephemeral = RawConfig { ephemeral: Some(true), ..RawConfig::default() };
        let config = flags(ephemeral.clone()).expect("legal");
        assert_eq!((config.data, config.flush), (DataLocation::Temporary, FlushPolicy::Os));
        let config = flags(RawConfig { flush: text("group"), ..ephemeral }).expect("legal");
        assert_eq!(config.flush, FlushPolicy::Group);
    }

    #[test]
    fn the_stronger_source_decides_between_ephemeral_and_a_directory() {
        let ephemeral = || RawConfig { ephemeral: Some(true), ..RawConfig::default() };
        let directory = || RawConfig { data_dir: Some("/data".into()), ..RawConfig::default() };
        let location = |read: Result<Config, ConfigError>| read.expect("legal").data;
        let lasting = DataLocation::Directory("/data".into());
        let none = RawConfig::default;
        assert_eq!(location(sources(ephemeral(), directory(), none())), DataLocation::Temporary);
        assert_eq!(location(sources(directory(), ephemeral(), none())), lasting);
        let both = RawConfig { data_dir: Some("/data".into()), ..ephemeral() };
        let error = flags(both).expect_err("contradiction").to_string();
        assert_eq!(error, "--ephemeral and --data-dir exclude each other");
    }

    #[test]
    fn quotas_are_a_word_or_a_factor() {
        for (written, expected) in [
            ("aws", Some(QuotaPolicy::Aws)),
            ("off", Some(QuotaPolicy::Off)),
            ("2.5", Some(QuotaPolicy::Factor(2.5))),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("on", None),
        ] {
            let config = flags(RawConfig { quotas: text(written), ..RawConfig::default() });
            assert_eq!(config.ok().map(|config| config.quotas), expected, "{written}");
        }
    }

    #[test]
    fn a_stream_to_make_is_named_once() {
        for (topics, streams, legal) in [
            (&["a:1", "b"][..], &["c"][..], true),
            (&["a:1", "a:2"], &[], false),
            (&["a"], &["a"], false),
            (&[], &["a", "a"], false),
        ] {
            let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
            let raw =
                RawConfig { topic: list(topics), stream: list(streams), ..RawConfig::default() };
            assert_eq!(flags(raw).is_ok(), legal, "{topics:?} {streams:?}");
        }
    }

    #[test]
    fn initial_streams_have_a_legal_name_and_count() {
        for (written, expected) in [
            ("orders", Some(1)),
            ("orders:12", Some(12)),
            ("orders:0", None),
            ("orders:10001", None),
            ("orders:", None),
            ("orders:x", None),
            ("a/b", None),
            ("", None),
            ("__consumer_offsets", None),
        ] {
            let raw = RawConfig { topic: Some(vec![written.to_owned()]), ..RawConfig::default() };
            let topics = flags(raw).map(|config| config.topics);
            let partitions = topics.ok().and_then(|topics| Some(topics.first()?.partitions));
            assert_eq!(partitions, expected, "{written}");
        }
    }
}
