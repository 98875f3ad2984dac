//! Whether a signature is the one that its key makes of the request: AWS's Signature Version 4.
//!
//! The order of the checks and their sentences are AWS's, as its SDKs' users have reported them;
//! that two headers have to be signed, whatever else is, says a sentence after one of AWS's.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};
use tracing::debug;
use weir_model::time::Timestamp;

use super::canonical::{AUTHORITY, canonical_request};
use super::keys::{Identity, Key, KeyRing};
use super::signature::Signature;
use crate::errors::KinesisError;
use crate::log_text::for_log;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "kinesis";
const TERMINATOR: &str = "aws4_request";
/// How far a client's clock may be away from ours.
const SKEW_S: i64 = 5 * 60;
/// Longest time that a signature in a query string may ask for: AWS's week.
const EXPIRES_S_MAX: i64 = 7 * 24 * 60 * 60;
/// What a signature has to cover, by any of its names, and how it is called in the refusal: without
/// it a request could be sent elsewhere or mean something else.
const SIGNED_ALWAYS: [(&[&str], &str); 2] =
    [(&["host", AUTHORITY], "'Host' or ':authority'"), (&["x-amz-target"], "'x-amz-target'")];

/// A canonical request as it may be logged: a session token is a secret.
fn without_token(request: &str) -> String {
    let mut shown = String::with_capacity(request.len());
    for part in request.split_inclusive(['\n', '&']) {
        let names = ["x-amz-security-token:", "X-Amz-Security-Token="];
        match names.into_iter().find(|name| part.starts_with(name)) {
            Some(name) => {
                shown += name;
                shown.extend(part.chars().next_back().filter(|end| ['\n', '&'].contains(end)));
            }
            None => shown += part,
        }
    }
    shown
}

/// Checks a signature, and says whose it is.
pub(super) fn verify<'k>(
    signature: &Signature<'_>,
    keys: &'k KeyRing,
    head: &Parts,
    body: &Bytes,
    now: Timestamp,
) -> Result<Identity<'k>, KinesisError> {
    if signature.algorithm != ALGORITHM {
        let algorithm = &signature.algorithm;
        return Err(KinesisError::incomplete_signature(format!(
            "Unsupported AWS 'algorithm': '{algorithm}'."
        )));
    }
    let scope = Scope::of(signature)?;
    check_date(signature, &scope, now)?;
    let key = keys.find(scope.key_id).filter(|key| has_token(key, signature));
    let key = key.ok_or_else(KinesisError::unrecognized_client)?;
    check_signed_headers(&signature.signed_headers)?;
    check_value(signature, &scope, key, head, body)?;
    Ok(key.identity())
}

/// A credential, taken apart.
struct Scope<'s> {
    key_id: &'s str,
    date: &'s str,
    region: &'s str,
}

impl<'s> Scope<'s> {
    fn of(signature: &'s Signature<'_>) -> Result<Scope<'s>, KinesisError> {
        let credential = &*signature.credential;
        let parts: Vec<_> = credential.split('/').collect();
        let &[key_id, date, region, service, terminator] = parts.as_slice() else {
            return Err(KinesisError::incomplete_signature(format!(
                "Credential must have exactly 5 slash-delimited elements, \
                 e.g. keyid/date/region/service/term, got '{credential}'"
            )));
        };
        let refused = |why: String| Err(KinesisError::invalid_signature(why));
        match () {
            () if service != SERVICE => {
                refused(format!("Credential should be scoped to correct service: '{SERVICE}'."))
            }
            () if terminator != TERMINATOR => refused(format!(
                "Credential should be scoped with a valid terminator: \
                 '{TERMINATOR}', not '{terminator}'."
            )),
            () if signature.region().is_none() => {
                refused("Credential should be scoped to a valid region.".to_owned())
            }
            () => Ok(Scope { key_id, date, region }),
        }
    }
}

fn check_date(
    signature: &Signature<'_>,
    scope: &Scope<'_>,
    now: Timestamp,
) -> Result<(), KinesisError> {
    let date = &*signature.date;
    let signed_s = seconds_of(date).ok_or_else(|| {
        KinesisError::incomplete_signature(format!(
            "Date must be in ISO-8601 'basic format'. Got '{date}'. \
             See http://en.wikipedia.org/wiki/ISO_8601"
        ))
    })?;
    let refused = |why: String| Err(KinesisError::invalid_signature(why));
    let day = date.get(..8).unwrap_or_default();
    if scope.date != day {
        return refused(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
             from HTTP: '{}' != '{day}', from '{date}'.",
            scope.date
        ));
    }
    let now_s = now.as_seconds();
    let holds_s = match signature.expires_s.as_deref().map(str::parse) {
        None => SKEW_S,
        Some(Ok(seconds)) if (1..=EXPIRES_S_MAX).contains(&seconds) => seconds,
        Some(_) => {
            return refused("X-Amz-Expires must be between 1 and 604800 seconds".to_owned());
        }
    };
    if signed_s.saturating_add(holds_s) < now_s {
        let (earliest, now) = (basic(now_s - holds_s), basic(now_s));
        return refused(format!(
            "Signature expired: {date} is now earlier than {earliest} ({now} - {}.)",
            in_words(holds_s)
        ));
    }
    if signed_s > now_s + SKEW_S {
        let (latest, now) = (basic(now_s + SKEW_S), basic(now_s));
        return refused(format!(
            "Signature not yet current: {date} is still later than {latest} ({now} + {}.)",
            in_words(SKEW_S)
        ));
    }
    Ok(())
}

fn in_words(seconds: i64) -> String {
    match seconds % 60 {
        0 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// `20260101T000000Z` as seconds since 1970.
fn seconds_of(date: &str) -> Option<i64> {
    let is_basic = |(index, byte): (usize, u8)| match index {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    if date.len() != 16 || !date.bytes().enumerate().all(is_basic) {
        return None;
    }
    let two = |from: usize| date.get(from..from + 2)?.parse::<u8>().ok();
    let month = Month::try_from(two(4)?).ok()?;
    let day = Date::from_calendar_date(date.get(..4)?.parse().ok()?, month, two(6)?).ok()?;
    let time = Time::from_hms(two(9)?, two(11)?, two(13)?).ok()?;
    Some(PrimitiveDateTime::new(day, time).assume_utc().unix_timestamp())
}

/// Seconds since 1970 as `20260101T000000Z`.
fn basic(seconds: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    )
}

fn has_token(key: &Key, signature: &Signature<'_>) -> bool {
    let sent = signature.session_token.as_deref();
    match (&key.session_token, sent) {
        (None, None) => true,
        // Tokens are secrets, so the comparison takes the same time wherever they differ.
        (Some(token), Some(sent)) => {
            Sha256::digest(token.as_bytes()) == Sha256::digest(sent.as_bytes())
        }
        _ => false,
    }
}

fn check_signed_headers(signed_headers: &str) -> Result<(), KinesisError> {
    let is_signed = |names: &[&str]| signed_headers.split(';').any(|name| names.contains(&name));
    match SIGNED_ALWAYS.iter().find(|(names, _)| !is_signed(names)) {
        None => Ok(()),
        Some((_, told)) => Err(KinesisError::invalid_signature(format!(
            "{told} must be a 'SignedHeader' in the AWS Authorization."
        ))),
    }
}

fn check_value(
    signature: &Signature<'_>,
    scope: &Scope<'_>,
    key: &Key,
    head: &Parts,
    body: &Bytes,
) -> Result<(), KinesisError> {
    let body_hash = hex(&Sha256::digest(body));
    let told = head.headers.get("x-amz-content-sha256");
    if told.is_some_and(|told| told.as_bytes() != body_hash.as_bytes()) {
        debug!(key = for_log(scope.key_id), body_hash, "the body is not what was signed");
        return Err(KinesisError::signature_mismatch());
    }
    let request = canonical_request(head, &signature.signed_headers, &body_hash);
    let Some(request) = request else {
        return Err(KinesisError::signature_mismatch());
    };
    let Scope { date, region, .. } = scope;
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{date}/{region}/{SERVICE}/{TERMINATOR}\n{}",
        signature.date,
        hex(&Sha256::digest(request.as_bytes()))
    );
    let mut signing = code_of(format!("AWS4{}", key.secret).as_bytes(), date.as_bytes());
    for part in [region.as_bytes(), SERVICE.as_bytes(), TERMINATOR.as_bytes()] {
        signing = code_of(&signing.finalize().into_bytes(), part);
    }
    let code = code_of(&signing.finalize().into_bytes(), to_sign.as_bytes());
    let sent = unhex(&signature.value).unwrap_or_default();
    code.verify_slice(&sent).map_err(|_| {
        let request = without_token(&request);
        debug!(key = for_log(scope.key_id), request, to_sign, "a signature does not match");
        KinesisError::signature_mismatch()
    })
}

fn code_of(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut code = <Hmac<Sha256>>::new_from_slice(key).expect("any key length is legal");
    code.update(text);
    code
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests;
