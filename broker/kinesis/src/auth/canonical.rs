//! The form of a request that a signature covers: SigV4's canonical request.
//!
//! Source: "Create a signed AWS API request" in AWS's reference of signatures. As for all services
//! but S3, each segment of the path is encoded once more than it was sent, and the path is
//! normalised.

use std::fmt::Write;

use hyper::header::HOST;
use hyper::http::request::Parts;

use super::signature::QueryParameters;

/// What HTTP/2 calls the host.
pub(super) const AUTHORITY: &str = ":authority";

/// The canonical request with this hash of its body, in hexadecimal; none if a signed header is not
/// there.
pub(super) fn canonical_request(
    head: &Parts,
    signed_headers: &str,
    body_hash: &str,
) -> Option<String> {
    let mut request = String::with_capacity(512);
    request += head.method.as_str();
    request.push('\n');
    request += &canonical_path(head.uri.path());
    request.push('\n');
    request += &canonical_query(head.uri.query().unwrap_or_default());
    request.push('\n');
    for name in signed_headers.split(';') {
        request += name;
        request.push(':');
        request += &header_value(head, name)?;
        request.push('\n');
    }
    request.push('\n');
    request += signed_headers;
    request.push('\n');
    request += body_hash;
    Some(request)
}

fn canonical_path(path: &str) -> String {
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(encoded(segment)),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

fn canonical_query(query: &str) -> String {
    let parameters = QueryParameters(query).all().filter(|(name, _)| name != "X-Amz-Signature");
    let mut encoded: Vec<_> =
        parameters.map(|(name, value)| (encoded(&name), encoded(&value))).collect();
    encoded.sort_unstable();
    let joined: Vec<_> =
        encoded.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    joined.join("&")
}

/// All values of a header, without the white space that does not count. HTTP/2 has the host beside
/// its headers, and the JavaScript SDK signs it by the name that it has there.
fn header_value(head: &Parts, name: &str) -> Option<String> {
    let authority = || head.uri.authority().map(|authority| authority.as_str().to_owned());
    if name == AUTHORITY {
        return authority();
    }
    let mut values = head.headers.get_all(name).iter().peekable();
    if values.peek().is_none() && name == HOST.as_str() {
        return authority();
    }
    values.peek()?;
    let trimmed = values.map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    });
    Some(trimmed.collect::<Vec<_>>().join(","))
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Writing into a string cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_encoded_once_more() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/a/../b/./c/", "/b/c/"),
            ("/a%20b", "/a%2520b"),
            ("/..", "/"),
        ] {
            assert_eq!(canonical_path(path), expected, "{path}");
        }
    }

    #[test]
    fn queries_are_sorted_by_their_encoded_names_without_the_signature() {
        let query = "b=2&a=x%20y&X-Amz-Signature=00&a=%2F&c";
        assert_eq!(canonical_query(query), "a=%2F&a=x%20y&b=2&c=");
        assert_eq!(canonical_query(""), "");
    }

    #[test]
    fn headers_are_trimmed_and_must_be_there() {
        let request = hyper::Request::post("http://localhost:4566/")
            .header("x-amz-target", "  a   b ")
            .header("x-twice", "1")
            .header("x-twice", "2");
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let canonical = canonical_request(&head, "host;x-amz-target;x-twice", "00");
        let expected = "POST\n/\n\nhost:localhost:4566\nx-amz-target:a b\nx-twice:1,2\n\n\
                        host;x-amz-target;x-twice\n00";
        assert_eq!(canonical.as_deref(), Some(expected));
        assert_eq!(canonical_request(&head, "host;x-amz-date", "00"), None);
        let canonical = canonical_request(&head, ":authority", "00");
        let expected = "POST\n/\n\n:authority:localhost:4566\n\n:authority\n00";
        assert_eq!(canonical.as_deref(), Some(expected));
    }
}
