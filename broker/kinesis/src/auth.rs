//! The shape of AWS's request signatures.
//!
//! weir has one account and, without a key file, no secrets: it checks that a signature is there
//! and has all its parts, as AWS does before it looks at the value, and reads the region out of it.
//! The value is not checked. A signature stands in the `Authorization` header or in the query
//! string, never in both.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, DATE};

use crate::errors::KinesisError;

/// Longest region name that is believed; AWS's longest have 14 characters.
const REGION_LENGTH_MAX: usize = 32;

/// Checks a request's signature and gives the region that it was made for, if it names one.
pub(crate) fn check(
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Option<String>, KinesisError> {
    let query = QueryParameters(query.unwrap_or_default());
    let header = headers.get(AUTHORIZATION);
    match (header, query.contains("X-Amz-Algorithm")) {
        (Some(_), true) => Err(KinesisError::two_signatures()),
        (None, false) => Err(KinesisError::missing_authentication_token()),
        (Some(header), false) => check_header(&String::from_utf8_lossy(header.as_bytes()), headers),
        (None, true) => check_query(&query),
    }
}

fn check_header(authorization: &str, headers: &HeaderMap) -> Result<Option<String>, KinesisError> {
    let mut clauses = String::new();
    for part in ["Credential", "Signature", "SignedHeaders"] {
        if header_part(authorization, part).is_none() {
            clauses += &format!("Authorization header requires '{part}' parameter. ");
        }
    }
    if !headers.contains_key("x-amz-date") && !headers.contains_key(DATE) {
        clauses += "Authorization header requires existence of either \
                    a 'X-Amz-Date' or a 'Date' header. ";
    }
    if clauses.is_empty() {
        Ok(header_part(authorization, "Credential").and_then(region_of))
    } else {
        clauses += &format!("Authorization={authorization}");
        Err(KinesisError::incomplete_signature(clauses))
    }
}

/// One `Name=value` of the header; the algorithm comes first and is none of them.
fn header_part<'h>(authorization: &'h str, name: &str) -> Option<&'h str> {
    let parts = authorization.split([',', ' ']).skip(1);
    let values = parts.filter_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    values.last().filter(|value| !value.is_empty())
}

fn check_query(query: &QueryParameters<'_>) -> Result<Option<String>, KinesisError> {
    let mut clauses = String::new();
    for name in [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
        "X-Amz-Date",
    ] {
        if query.value(name).is_none_or(|value| value.is_empty()) {
            clauses += &format!("AWS query-string parameters must include '{name}'. ");
        }
    }
    if clauses.is_empty() {
        let credential = query.value("X-Amz-Credential");
        Ok(credential.as_deref().and_then(region_of))
    } else {
        clauses += "Re-examine the query-string parameters.";
        Err(KinesisError::incomplete_signature(clauses))
    }
}

/// The region of `<key id>/<date>/<region>/kinesis/aws4_request`. It is shown in ARNs, so it must
/// look like a region.
fn region_of(credential: &str) -> Option<String> {
    let region = credential.split('/').nth(2)?;
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_region = (1..=REGION_LENGTH_MAX).contains(&region.len()) && region.bytes().all(legal);
    is_region.then(|| region.to_owned())
}

/// The part of a URL after the question mark.
struct QueryParameters<'q>(&'q str);

impl QueryParameters<'_> {
    fn contains(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.split('&').find_map(|parameter| {
            let (found, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (percent_decoded(found) == name).then(|| percent_decoded(value))
        })
    }
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match (first, after.split_at_checked(2)) {
            (b'%', Some((digits, tail))) => std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .map(|byte| (byte, tail)),
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = tail;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn check_parts(
        authorization: Option<&str>,
        date: Option<&str>,
        query: &str,
    ) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = authorization {
            let value = HeaderValue::from_str(authorization).expect("a header value");
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(date) = date {
            headers.insert("x-amz-date", HeaderValue::from_str(date).expect("a header value"));
        }
        check(&headers, Some(query)).map_err(|error| error.message.unwrap_or_default())
    }

    #[test]
    fn complete_signatures_give_their_region() {
        let header = "AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/kinesis/aws4_request, \
                      SignedHeaders=host;x-amz-date, Signature=00ff";
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
                     &X-Amz-Credential=AK%2F20260101%2Fap-south-1%2Fkinesis%2Faws4_request\
                     &X-Amz-Signature=0&X-Amz-SignedHeaders=host&X-Amz-Date=20260101T000000Z";
        let region = |region: &str| Ok(Some(region.to_owned()));
        assert_eq!(check_parts(Some(header), Some("d"), ""), region("eu-west-1"));
        assert_eq!(check_parts(None, None, query), region("ap-south-1"));
        for credential in ["a", "a/b/EU WEST/k", "a/b//k", "a/b/é/k"] {
            let header = format!("X Credential={credential},Signature=1,SignedHeaders=h");
            if let Ok(value) = HeaderValue::from_str(&header) {
                let mut headers = HeaderMap::new();
                headers.insert(AUTHORIZATION, value);
                headers.insert("x-amz-date", HeaderValue::from_static("d"));
                assert_eq!(check(&headers, None), Ok(None), "{credential}");
            }
        }
    }

    #[test]
    fn each_missing_part_has_its_clause() {
        const NO_CREDENTIAL: &str = "Authorization header requires 'Credential' parameter. ";
        const NO_SIGNATURE: &str = "Authorization header requires 'Signature' parameter. ";
        const NO_HEADERS: &str = "Authorization header requires 'SignedHeaders' parameter. ";
        const NO_DATE: &str = "Authorization header requires existence of either a 'X-Amz-Date' \
                               or a 'Date' header. ";
        for (header, date, expected) in [
            (
                "X",
                None,
                format!("{NO_CREDENTIAL}{NO_SIGNATURE}{NO_HEADERS}{NO_DATE}Authorization=X"),
            ),
            (
                "AWS4- Signature=b,Credential=a",
                Some("a"),
                format!("{NO_HEADERS}Authorization=AWS4- Signature=b,Credential=a"),
            ),
            (
                "AWS4- Signature=b, SignedHeaders=c",
                Some("a"),
                format!("{NO_CREDENTIAL}Authorization=AWS4- Signature=b, SignedHeaders=c"),
            ),
        ] {
            assert_eq!(check_parts(Some(header), date, ""), Err(expected), "{header}");
        }
        assert_eq!(
            check_parts(None, None, "X-Amz-Algorithm&X-Amz-Credential=a&X-Amz-Date=d"),
            Err("AWS query-string parameters must include 'X-Amz-Algorithm'. \
                 AWS query-string parameters must include 'X-Amz-Signature'. \
                 AWS query-string parameters must include 'X-Amz-SignedHeaders'. \
                 Re-examine the query-string parameters."
                .to_owned())
        );
    }

    #[test]
    fn a_signature_stands_in_exactly_one_place() {
        let missing = Err("Missing Authentication Token".to_owned());
        assert_eq!(check_parts(None, None, ""), missing);
        assert_eq!(check_parts(None, None, "X-Amz-Signature=b&X-Amz-Date=d"), missing);
        let both = check_parts(Some("X"), Some("d"), "X-Amz-Algorithm");
        assert!(both.is_err_and(|message| message.starts_with("Found both 'X-Amz-Algorithm'")));
    }
}
