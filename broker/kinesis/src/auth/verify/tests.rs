//! What botocore signs is let in; whatever is changed after that is not.

use hyper::http::request::Builder;

use super::*;

const BODY: &[u8] = b"{}";
/// 2026-01-01 00:00:00 UTC.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn ring() -> KeyRing {
    let ring = serde_json::json!({"key": [
        {"id": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
        {"id": "TEMPORARY", "secret": "s", "session-token": "t"},
    ]});
    serde_json::from_value(ring).expect("a key ring")
}

fn request(authorization: &str, date: &str) -> Builder {
    hyper::Request::post("/")
        .header("host", "localhost:4566")
        .header("x-amz-target", "Kinesis_20131202.ListStreams")
        .header("x-amz-date", date)
        .header("authorization", authorization)
}

fn verified(request: Builder, now: Timestamp) -> Result<(), String> {
    let (head, ()) = request.body(()).expect("a request").into_parts();
    let signature = Signature::of(&head.headers, head.uri.query()).expect("all parts");
    let (keys, body) = (ring(), Bytes::from_static(BODY));
    let verified = verify(&signature, &keys, &head, &body, now);
    verified.map(drop).map_err(|error| error.message.unwrap_or_default())
}

fn header(scope: &str, signed: &str, value: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed}, Signature={value}"
    )
}

const SCOPE: &str = "20260101/eu-west-1/kinesis/aws4_request";
const SIGNED: &str = "host;x-amz-date;x-amz-target";
const DATE: &str = "20260101T000000Z";
/// What botocore's SigV4Auth makes of the request above.
const VALUE: &str = "559ed1d6804ca3cbae3317b99db1f7769727701969193ad082b93f17c0c3dfb3";

#[test]
fn what_botocore_signs_is_verified() {
    assert_eq!(verified(request(&header(SCOPE, SIGNED, VALUE), DATE), NOW), Ok(()));
    let mismatch = "The request signature we calculated does not match";
    for (what, request) in [
        ("value", request(&header(SCOPE, SIGNED, &VALUE.replace('0', "1")), DATE)),
        ("no hex", request(&header(SCOPE, SIGNED, "xyz"), DATE)),
        ("header", request(&header(SCOPE, SIGNED, VALUE), "20260101T000001Z")),
        ("headers", request(&header(SCOPE, "host;x-amz-target;x-none", VALUE), DATE)),
        (
            "hash of the body",
            request(&header(SCOPE, SIGNED, VALUE), DATE).header("x-amz-content-sha256", "00"),
        ),
    ] {
        let refused = verified(request, NOW).expect_err(what);
        assert!(refused.starts_with(mismatch), "{what}: {refused}");
    }
}

#[test]
fn the_scope_and_the_key_are_checked_first() {
    let invalid_token = "The security token included in the request is invalid.";
    for (authorization, expected) in [
        (
            "AWS4-ECDSA-P256-SHA256 Credential=A, SignedHeaders=h, Signature=0".to_owned(),
            "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'.",
        ),
        (
            header("x", SIGNED, VALUE),
            "Credential must have exactly 5 slash-delimited elements, \
             e.g. keyid/date/region/service/term, got 'AKIDEXAMPLE/x'",
        ),
        (
            header("20260101/eu-west-1/dynamodb/aws4_request", SIGNED, VALUE),
            "Credential should be scoped to correct service: 'kinesis'.",
        ),
        (
            header("20260101/eu-west-1/kinesis/aws", SIGNED, VALUE),
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws'.",
        ),
        (
            header("20260101//kinesis/aws4_request", SIGNED, VALUE),
            "Credential should be scoped to a valid region.",
        ),
        (
            header("20260102/eu-west-1/kinesis/aws4_request", SIGNED, VALUE),
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
             from HTTP: '20260102' != '20260101', from '20260101T000000Z'.",
        ),
        (
            header(SCOPE, "x-amz-target;x-amz-date", VALUE),
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            header(SCOPE, "host;x-amz-date", VALUE),
            "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (header(SCOPE, SIGNED, VALUE).replace("AKIDEXAMPLE", "NOBODY"), invalid_token),
        (header(SCOPE, SIGNED, VALUE).replace("AKIDEXAMPLE", "TEMPORARY"), invalid_token),
    ] {
        let refused = verified(request(&authorization, DATE), NOW);
        assert_eq!(refused, Err(expected.to_owned()), "{authorization}");
    }
    let with_token = |token: &str| {
        let authorization = header(SCOPE, SIGNED, VALUE).replace("AKIDEXAMPLE", "TEMPORARY");
        verified(request(&authorization, DATE).header("x-amz-security-token", token), NOW)
    };
    assert_eq!(with_token("u"), Err(invalid_token.to_owned()));
    let reached = with_token("t").expect_err("another secret");
    assert!(reached.starts_with("The request signature we calculated"), "{reached}");
}

#[test]
fn clocks_may_differ_by_five_minutes() {
    let at = |seconds: i64| {
        verified(request(&header(SCOPE, SIGNED, VALUE), DATE), NOW.plus_millis(seconds * 1000))
    };
    for seconds in [-300, 0, 300] {
        assert_eq!(at(seconds), Ok(()), "{seconds}");
    }
    assert_eq!(
        at(301),
        Err("Signature expired: 20260101T000000Z is now earlier than 20260101T000001Z \
             (20260101T000501Z - 5 min.)"
            .to_owned())
    );
    assert_eq!(
        at(-301),
        Err("Signature not yet current: 20260101T000000Z is still later than \
             20251231T235959Z (20251231T235459Z + 5 min.)"
            .to_owned())
    );
    for date in ["Thu, 01 Jan 2026 00:00:00 GMT", "20260101T000000", "20261301T000000Z"] {
        let refused = verified(request(&header(SCOPE, SIGNED, VALUE), date), NOW);
        let refused = refused.expect_err(date);
        assert!(refused.starts_with("Date must be in ISO-8601 'basic format'."), "{refused}");
    }
}

#[test]
fn a_signature_in_the_query_string_says_how_long_it_holds() {
    let sent = |expires: &str, now: Timestamp| {
        let uri = format!(
            "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F{}\
             &X-Amz-Date={DATE}&X-Amz-Expires={expires}\
             &X-Amz-SignedHeaders=host%3Bx-amz-target&X-Amz-Signature=\
             87dd861ea3ae4d863aaf5ce7317b4382207b1eb9ccf62182f3a08c0155ca4b90",
            SCOPE.replace('/', "%2F")
        );
        let request = hyper::Request::post(uri)
            .header("host", "localhost:4566")
            .header("x-amz-target", "Kinesis_20131202.ListStreams");
        verified(request, now)
    };
    assert_eq!(sent("3600", NOW.plus_millis(3_599_000)), Ok(()));
    let expired = sent("3600", NOW.plus_millis(3_601_000)).expect_err("too late");
    assert!(expired.ends_with("- 60 min.)"), "{expired}");
    for expires in ["0", "-1", "x", "604801"] {
        assert!(sent(expires, NOW).expect_err(expires).contains("X-Amz-Expires"), "{expires}");
    }
}

#[test]
fn a_session_token_is_not_logged() {
    let request = "POST\n/\nA=1&X-Amz-Security-Token=secret&B=2\nhost:h\n\
                   x-amz-security-token:secret\nx-amz-target:t\n";
    let shown = "POST\n/\nA=1&X-Amz-Security-Token=&B=2\nhost:h\n\
                 x-amz-security-token:\nx-amz-target:t\n";
    assert_eq!(without_token(request), shown);
}
