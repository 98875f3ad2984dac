//! Tokens that a client carries and must not change: shard iterators and page tokens.
//!
//! ```text
//!   base64( 00 00 00 00 00 00 00 01 | issued, ms | payload | zeros | HMAC-SHA256 of all before )
//!           8 bytes, as AWS's begin   8 bytes      any       to the   32 bytes
//!                                                            length asked for
//! ```
//!
//! The code's key belongs to the data directory, so a token outlives a restart and is worthless
//! anywhere else. What a token is for goes into the code too, so that a page token is no iterator.
//! Nothing in one is secret; it only has to be ours.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use weir_model::time::Timestamp;

const LEAD: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const HEAD_BYTES: usize = LEAD.len() + 8;
const CODE_BYTES: usize = 32;

/// How long a token is good for, in ms; AWS's figure for iterators and page tokens alike.
pub(crate) const LIFE_MS: i64 = 300_000;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    ShardIterator,
    ListShards,
    ListStreamConsumers,
    ListStreams,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Purpose::ShardIterator => b"shard iterator",
            Purpose::ListShards => b"list shards",
            Purpose::ListStreamConsumers => b"list stream consumers",
            Purpose::ListStreams => b"list streams",
        }
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenError {
    /// It was not made here for this purpose, or was changed.
    Invalid,
    /// It is older than [`LIFE_MS`].
    Expired {
        /// When it was made.
        issued: Timestamp,
    },
}

/// Makes a token of `raw_bytes` bytes before base64, or more if the payload needs them.
pub(crate) fn seal(
    key: &[u8; 32],
    purpose: Purpose,
    now: Timestamp,
    payload: &[u8],
    raw_bytes: usize,
) -> String {
    let mut token = Vec::with_capacity(raw_bytes.max(HEAD_BYTES + payload.len() + CODE_BYTES));
    token.extend_from_slice(&LEAD);
    token.extend_from_slice(&now.as_millis().to_be_bytes());
    token.extend_from_slice(payload);
    let padded = raw_bytes.saturating_sub(CODE_BYTES).max(token.len());
    token.resize(padded, 0);
    let code = code(key, purpose, &token).finalize().into_bytes();
    token.extend_from_slice(&code);
    BASE64.encode(token)
}

/// Checks a token and gives its payload with the zeros after it.
pub(crate) fn open(
    key: &[u8; 32],
    purpose: Purpose,
    now: Timestamp,
    token: &str,
) -> Result<Vec<u8>, TokenError> {
    let token = BASE64.decode(token).map_err(|_| TokenError::Invalid)?;
    let (sealed, code_bytes) = token.split_last_chunk::<CODE_BYTES>().ok_or(TokenError::Invalid)?;
    code(key, purpose, sealed).verify_slice(code_bytes).map_err(|_| TokenError::Invalid)?;
    let head = sealed.split_first_chunk::<8>();
    let (_lead, rest) = head.ok_or(TokenError::Invalid)?;
    let (issued, payload) = rest.split_first_chunk::<8>().ok_or(TokenError::Invalid)?;
    let issued = Timestamp::from_millis(i64::from_be_bytes(*issued));
    if now.millis_since(issued) > LIFE_MS {
        return Err(TokenError::Expired { issued });
    }
    Ok(payload.to_vec())
}

/// AWS's sentence for a token that is too old; `noun` is what it calls the token.
pub(crate) fn expired_text(noun: &str, issued: Timestamp, now: Timestamp) -> String {
    format!(
        "{noun} expired. The {} was created at time {} while right now it is {} which is further \
         in the future than the tolerated delay of {LIFE_MS} milliseconds.",
        noun.to_lowercase(),
        java_date(issued),
        java_date(now),
    )
}

fn code(key: &[u8; 32], purpose: Purpose, sealed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(purpose.label());
    // A label never contains a zero, so no label and token can be read as another pair.
    mac.update(&[0]);
    mac.update(sealed);
    mac
}

/// A date as Java's `Date.toString` writes it: `Thu Jan 22 01:22:02 UTC 2015`.
fn java_date(time: Timestamp) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.as_seconds();
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let weekday = usize::try_from(days.rem_euclid(7)).ok();
    let month = usize::try_from(month - 1).ok();
    let name = |names: &[&'static str], index: Option<usize>| {
        index.and_then(|index| names.get(index).copied()).unwrap_or("")
    };
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        name(&WEEKDAYS, weekday),
        name(&MONTHS, month),
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
    )
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. The arithmetic
/// counts from 0000-03-01, so that a leap day is the last day of a year of 400-year cycles.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_CYCLE: i64 = 146_097;
    let days = days + 719_468;
    let cycle = days.div_euclid(DAYS_PER_CYCLE);
    let day_of_cycle = days.rem_euclid(DAYS_PER_CYCLE);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [9; 32];
    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn sealed() -> String {
        seal(&KEY, Purpose::ShardIterator, NOW, b"payload", 152)
    }

    fn opened(token: &str, now: Timestamp) -> Result<Vec<u8>, TokenError> {
        open(&KEY, Purpose::ShardIterator, now, token)
    }

    #[test]
    fn a_token_opens_with_its_key_for_its_purpose_only() {
        let token = sealed();
        assert_eq!(token.len(), 204);
        let payload = opened(&token, NOW).expect("our own token");
        assert!(payload.starts_with(b"payload\0"));
        let other_key = open(&[8; 32], Purpose::ShardIterator, NOW, &token);
        assert_eq!(other_key, Err(TokenError::Invalid));
        let other_purpose = open(&KEY, Purpose::ListShards, NOW, &token);
        assert_eq!(other_purpose, Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_with_any_character_changed_is_invalid() {
        let token = sealed();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(opened(&changed, NOW), Err(TokenError::Invalid), "{at}");
        }
        for length in 0..token.len() {
            assert_eq!(opened(&token[..length], NOW), Err(TokenError::Invalid), "{length}");
        }
    }

    #[test]
    fn a_token_lives_five_minutes() {
        let token = sealed();
        assert!(opened(&token, NOW.plus_millis(LIFE_MS)).is_ok());
        let expired = Err(TokenError::Expired { issued: NOW });
        assert_eq!(opened(&token, NOW.plus_millis(LIFE_MS + 1)), expired);
    }

    #[test]
    fn expiry_is_told_in_awss_words() {
        let issued = Timestamp::from_millis(1_421_889_722_000);
        assert_eq!(
            expired_text("Iterator", issued, issued.plus_millis(400_000)),
            "Iterator expired. The iterator was created at time Thu Jan 22 01:22:02 UTC 2015 \
             while right now it is Thu Jan 22 01:28:42 UTC 2015 which is further in the future \
             than the tolerated delay of 300000 milliseconds."
        );
    }

    #[test]
    fn dates_are_written_as_java_writes_them() {
        for (seconds, expected) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (951_782_400, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_709_251_199, "Thu Feb 29 23:59:59 UTC 2024"),
            (4_107_542_400, "Mon Mar 01 00:00:00 UTC 2100"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
        ] {
            assert_eq!(java_date(Timestamp::from_millis(seconds * 1000)), expected);
        }
    }
}
