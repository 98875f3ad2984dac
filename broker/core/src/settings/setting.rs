//! What a setting is, whoever has it: a name, the shape of its value, a default.

use crate::error::ConfigError;

/// Longest value of a setting, in bytes: what is kept of a client's text has a limit.
const VALUE_BYTES_MAX: usize = 16 << 10;

/// What a setting's value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number of 32 bits in these bounds.
    Int {
        /// Smallest legal value.
        min: i32,
        /// Largest legal value.
        max: i32,
    },
    /// A whole number of 64 bits in these bounds.
    Long {
        /// Smallest legal value.
        min: i64,
        /// Largest legal value.
        max: i64,
    },
    /// A number in these bounds.
    Double {
        /// Smallest legal value.
        min: f64,
        /// Largest legal value.
        max: f64,
    },
    /// 1 to 9, or -1 for the codec's own default.
    GzipLevel,
    /// `true` or `false`.
    Switch,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in capitals or not.
    OneOfAnyCase(&'static [&'static str]),
    /// A comma-separated list of these words.
    ListOf(&'static [&'static str]),
    /// A comma-separated list of anything.
    List,
    /// A comma-separated list of `name=pattern` with these names.
    PatternsOf(&'static [&'static str]),
    /// A comma-separated list of `partition:broker`, or `*`.
    ThrottledReplicas,
    /// Any text.
    Text,
}

impl Kind {
    /// A whole number of 32 bits, at least `min`.
    pub(crate) const fn int(min: i32) -> Kind {
        Kind::Int { min, max: i32::MAX }
    }

    /// A whole number of 64 bits, at least `min`.
    pub(crate) const fn long(min: i64) -> Kind {
        Kind::Long { min, max: i64::MAX }
    }

    /// A share of a whole.
    pub(crate) const RATIO: Kind = Kind::Double { min: 0.0, max: 1.0 };

    /// Whether the value is a list, to which words can be added and from which they can be taken.
    pub const fn is_list(self) -> bool {
        matches!(self, Kind::ListOf(_) | Kind::List | Kind::PatternsOf(_) | Kind::ThrottledReplicas)
    }
}

/// Whether a setting changes what the broker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Acts,
    /// It is kept and reported only.
    Stored,
}

/// When a setting of the broker is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangedWhen {
    /// It can be changed while the broker runs.
    Running,
    /// It is read at start only.
    Starting,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name for it, or weir's own, which begins with `weir.`.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds where nobody set it; none where that depends on other settings.
    pub default: Option<&'static str>,
    /// Whether it acts.
    pub effect: Effect,
    /// For a topic's setting: the broker's settings that give its default, the first one that is
    /// set wins. Empty for others.
    pub synonyms: &'static [Synonym],
    /// When it can be changed.
    pub changed: ChangedWhen,
}

/// A broker's setting that gives the default of a topic's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker's setting.
    pub name: &'static str,
    /// How many of the topic's units one of its own is: hours stand for so many milliseconds.
    pub factor: i64,
}

impl Synonym {
    /// The topic's value for a legal value of the broker's. Negative times mean "never" in all
    /// units.
    pub fn convert(self, value: &str) -> String {
        match value.trim().parse::<i64>() {
            Ok(number) if self.factor != 1 => {
                let converted = number.saturating_mul(self.factor);
                if number < 0 { "-1".to_owned() } else { converted.to_string() }
            }
            _ => value.to_owned(),
        }
    }
}

impl Setting {
    pub(crate) const fn acts(name: &'static str, kind: Kind, default: &'static str) -> Setting {
        let effect = Effect::Acts;
        let changed = ChangedWhen::Running;
        Setting { name, kind, default: Some(default), effect, synonyms: &[], changed }
    }

    pub(crate) const fn stored(name: &'static str, kind: Kind, default: &'static str) -> Setting {
        Setting { effect: Effect::Stored, ..Setting::acts(name, kind, default) }
    }

    /// Without a default of its own.
    pub(crate) const fn unset(self) -> Setting {
        Setting { default: None, ..self }
    }

    /// Read at start only.
    pub(crate) const fn at_start(self) -> Setting {
        Setting { changed: ChangedWhen::Starting, ..self }
    }

    pub(crate) const fn defaults_to(self, synonyms: &'static [Synonym]) -> Setting {
        Setting { synonyms, ..self }
    }

    /// Whether somebody may set this value. The reasons are Kafka's, word for word.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        let outcome = match self.kind {
            _ if value.len() > VALUE_BYTES_MAX => {
                Err(format!("Value must be no longer than {VALUE_BYTES_MAX} bytes"))
            }
            Kind::Int { min, max } => {
                let number = value.trim().parse::<i32>();
                number
                    .map_err(|_| "Not a number of type INT".to_owned())
                    .and_then(|number| in_bounds(i64::from(number), i64::from(min), i64::from(max)))
            }
            Kind::Long { min, max } => {
                let number = value.trim().parse::<i64>();
                number
                    .map_err(|_| "Not a number of type LONG".to_owned())
                    .and_then(|number| in_bounds(number, min, max))
            }
            Kind::Double { min, max } => match value.trim().parse::<f64>() {
                Err(_) => Err("Not a number of type DOUBLE".to_owned()),
                Ok(number) if number < min => Err(format!("Value must be at least {min}")),
                Ok(number) if number > max => Err(format!("Value must be no more than {max}")),
                Ok(number) if number.is_nan() => Err("Not a number of type DOUBLE".to_owned()),
                Ok(_) => Ok(()),
            },
            Kind::GzipLevel => match value.trim().parse::<i32>() {
                Err(_) => Err("Not a number of type INT".to_owned()),
                Ok(-1 | 1..=9) => Ok(()),
                Ok(_) => Err("Value must be between 1 and 9 or equal to -1".to_owned()),
            },
            Kind::Switch if is_switch(value) => Ok(()),
            Kind::Switch => Err("Expected value to be either true or false".to_owned()),
            Kind::OneOf(words) => one_of(value, words),
            Kind::OneOfAnyCase(words) => {
                match words.iter().any(|word| word.eq_ignore_ascii_case(value.trim())) {
                    true => Ok(()),
                    false => Err(format!(
                        "String must be one of (case insensitive): {}",
                        words.join(", ")
                    )),
                }
            }
            Kind::ListOf(words) => words_of(value).try_for_each(|word| one_of(word, words)),
            Kind::ThrottledReplicas if are_replicas(value) => Ok(()),
            Kind::ThrottledReplicas => Err(format!("{} {REPLICAS_WANTED}", self.name)),
            Kind::PatternsOf(names) => {
                match words_of(value).find(|word| !is_pattern(word, names)) {
                    None => Ok(()),
                    Some(word) => Err(format!("Illegal client matching pattern: {word}")),
                }
            }
            Kind::List | Kind::Text => Ok(()),
        };
        outcome.map_err(|why| ConfigError::Invalid {
            name: self.name.to_owned(),
            value: self.shown(value),
            why,
        })
    }

    /// A value that is refused as Kafka shows it, which is as Java shows what it was read as.
    fn shown(&self, value: &str) -> String {
        match (self.kind, value.trim().parse::<f64>()) {
            (Kind::ThrottledReplicas, _) => {
                format!("[{}]", words_of(value).collect::<Vec<_>>().join(", "))
            }
            (Kind::Double { .. }, Ok(number)) => format!("{number:?}"),
            _ => value.to_owned(),
        }
    }
}

/// The words of a list.
pub(crate) fn words_of(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

const REPLICAS_WANTED: &str = "must be the literal '*' or a list of replicas in the following \
                               format: [partitionId]:[brokerId],[partitionId]:[brokerId],...";

fn are_replicas(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let is_replica = |word: &str| match word.split_once(':') {
        Some((partition, broker)) => is_number(partition) && is_number(broker),
        None => false,
    };
    value.trim() == "*" || words_of(value).all(is_replica)
}

fn is_pattern(word: &str, names: &[&str]) -> bool {
    word.split_once('=').is_some_and(|(name, pattern)| {
        names.contains(&name.trim()) && !pattern.is_empty() && !pattern.contains('=')
    })
}

fn is_switch(value: &str) -> bool {
    let value = value.trim();
    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
}

fn in_bounds(number: i64, min: i64, max: i64) -> Result<(), String> {
    if number < min {
        return Err(format!("Value must be at least {min}"));
    }
    if number > max {
        return Err(format!("Value must be no more than {max}"));
    }
    Ok(())
}

fn one_of(value: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&value.trim()) {
        return Ok(());
    }
    Err(format!("String must be one of: {}", words.join(", ")))
}
