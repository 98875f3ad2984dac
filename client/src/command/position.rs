//! Where to begin: `earliest`, `latest`, an offset, or a time.

use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::command::output::Failure;
use crate::record::From;

/// From where to read.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PositionOptions {
    /// earliest, latest, an offset (of Kinesis a sequence number), a time such as
    /// 2026-01-31T12:00:00Z or @1769860800000, or an age such as -10m [units: s, m, h, d]
    #[arg(long, value_name = "POSITION", value_parser = parse, allow_hyphen_values = true)]
    from: Option<Begin>,

    /// Begin so many records before the newest of each partition
    #[arg(long, value_name = "COUNT", conflicts_with = "from")]
    last: Option<u64>,
}

/// What `--from` and `--to` may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    At(From),
    /// Larger than any offset: a sequence number of Kinesis.
    SequenceNumber(String),
    /// So many milliseconds ago.
    AgoMs(i64),
}

impl PositionOptions {
    /// The position; `otherwise` where none is said.
    pub(crate) fn position(&self, otherwise: From, now_ms: i64) -> Begin {
        match (self.last, &self.from) {
            (Some(count), _) => Begin::At(From::Last(count)),
            (None, Some(Begin::AgoMs(ago))) => {
                Begin::At(From::TimestampMs(now_ms.saturating_sub(*ago)))
            }
            (None, Some(begin)) => begin.clone(),
            (None, None) => Begin::At(otherwise),
        }
    }
}

impl Begin {
    /// The place that is meant at this time, where there are offsets.
    pub(crate) fn at(&self, now_ms: i64) -> Result<From, Failure> {
        match self {
            Begin::At(position) => Ok(*position),
            Begin::AgoMs(ago) => Ok(From::TimestampMs(now_ms.saturating_sub(*ago))),
            Begin::SequenceNumber(number) => {
                Err(Failure::usage(format!("{number} is above all offsets")))
            }
        }
    }
}

/// Reads what was written.
pub(crate) fn parse(text: &str) -> Result<Begin, String> {
    if let Some(age) = text.strip_prefix('-') {
        return age_ms(age).map(Begin::AgoMs);
    }
    if let Some(millis) = text.strip_prefix('@') {
        let millis = millis.parse().map_err(|_| "behind @ stand milliseconds since 1970")?;
        return Ok(Begin::At(From::TimestampMs(millis)));
    }
    match text {
        "earliest" | "oldest" | "start" => return Ok(Begin::At(From::Earliest)),
        "latest" | "newest" | "end" => return Ok(Begin::At(From::Latest)),
        _ => {}
    }
    if let Ok(offset) = text.parse() {
        return Ok(Begin::At(From::Offset(offset)));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Begin::SequenceNumber(text.to_owned()));
    }
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => {
            let millis = time.unix_timestamp_nanos() / 1_000_000;
            let millis = i64::try_from(millis).map_err(|_| "the time is too far away")?;
            Ok(Begin::At(From::TimestampMs(millis)))
        }
        Err(_) => Err("no position: earliest, latest, an offset, a time or an age".to_owned()),
    }
}

/// Milliseconds of a number with its unit.
fn age_ms(text: &str) -> Result<i64, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("an age ends in s, m, h or d".to_owned()),
    };
    let number: i64 = number.parse().map_err(|_| "an age is a number with its unit")?;
    number.checked_mul(unit_ms).ok_or_else(|| "the age is too great".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_words_offsets_times_and_ages() {
        for (text, expected) in [
            ("earliest", Some(Begin::At(From::Earliest))),
            ("end", Some(Begin::At(From::Latest))),
            ("17", Some(Begin::At(From::Offset(17)))),
            (
                "49590338271490256608559692538361571095921575989136588898",
                Some(Begin::SequenceNumber(
                    "49590338271490256608559692538361571095921575989136588898".to_owned(),
                )),
            ),
            ("@1000", Some(Begin::At(From::TimestampMs(1000)))),
            ("1970-01-01T00:00:02.5Z", Some(Begin::At(From::TimestampMs(2500)))),
            ("1970-01-01T01:00:00+01:00", Some(Begin::At(From::TimestampMs(0)))),
            ("-10m", Some(Begin::AgoMs(600_000))),
            ("-1", None),
            ("-99999999999999d", None),
            ("tomorrow", None),
            ("@x", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
