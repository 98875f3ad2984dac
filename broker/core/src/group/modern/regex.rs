//! Regular expressions over topic names.
//!
//! Kafka means RE2's language since KIP-848, and matches whole names. Rust's `regex` has RE2's
//! promise as well, a time linear in the text, so a client cannot stop the broker with an
//! expression; what it can ask for in memory is bounded here.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use weir_model::time::Timestamp;

use crate::group::modern::records::ResolvedRegex;
use crate::group::topics::Topics;

/// Most bytes that a compiled expression may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Why a text is not a regular expression: in RE2's words, which clients of Kafka see, or in the
/// parser's own where RE2 has no such error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRegex(pub String);

/// The parser's words for what RE2 complains about too, and RE2's.
const RE2_WORDS: [(&str, &str); 6] = [
    ("unclosed character class", "missing closing ]"),
    ("unclosed group", "missing closing )"),
    ("unopened group", "unexpected )"),
    ("repetition operator missing expression", "missing argument to repetition operator"),
    (
        "invalid character class range, the start must be <= the end",
        "invalid character class range",
    ),
    (
        "incomplete escape sequence, reached end of pattern prematurely",
        "trailing backslash at end of expression",
    ),
];

/// Checks an expression that is new to the group.
pub(super) fn check(text: &str) -> Result<(), InvalidRegex> {
    compile(text).map(|_| ())
}

/// The topics whose whole names match. One that does not compile, which an older release may have
/// let in, matches nothing.
pub(super) fn resolve(text: &str, topics: &Topics, now: Timestamp) -> ResolvedRegex {
    let matching = match compile(text) {
        Ok(regex) => {
            let found = topics.names().filter(|name| regex.is_match(name.as_str()));
            found.map(|name| Arc::from(name.as_str())).collect()
        }
        Err(InvalidRegex(_)) => Default::default(),
    };
    ResolvedRegex { topics: matching, version: topics.version(), resolved_at: now }
}

fn compile(text: &str) -> Result<Regex, InvalidRegex> {
    // Alone first, so that a text such as `a)|(b` is not completed by the anchors around it.
    builder(text).build().map_err(reason)?;
    builder(&format!("^(?:{text})$")).build().map_err(reason)
}

fn builder(text: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(text);
    builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX);
    builder
}

fn reason(error: regex::Error) -> InvalidRegex {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let own = last.trim_start_matches("error: ");
    let known = RE2_WORDS.iter().find(|(parsers, _)| *parsers == own);
    InvalidRegex(known.map_or(own, |(_, re2)| *re2).to_owned())
}

#[cfg(test)]
mod tests {
    use weir_model::ids::{StreamId, StreamName};

    use super::*;
    use crate::group::topics::Topic;

    #[test]
    fn whole_names_match() {
        let names = ["orders", "orders-eu", "old.orders", "x"];
        let named = names.map(|name| {
            let id = StreamId::from_bytes([0; 16]);
            (StreamName::new(name).expect("legal"), Topic { id, partition_count: 1 })
        });
        let topics = Topics::new(1, named);
        for (text, expected) in [
            ("orders", &["orders"][..]),
            ("orders.*", &["orders", "orders-eu"]),
            (".*orders", &["old.orders", "orders"]),
            ("x|orders", &["orders", "x"]),
            ("(?i)ORDERS", &["orders"]),
            ("o", &[]),
            ("[", &[]),
        ] {
            let found = resolve(text, &topics, Timestamp::NONE).topics;
            let found: Vec<_> = found.iter().map(|name| &**name).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_an_expression_is_refused_with_a_reason() {
        for (text, reason) in [
            ("[a", "missing closing ]"),
            ("(a", "missing closing )"),
            ("a)|(b", "unexpected )"),
            ("*", "missing argument to repetition operator"),
            ("[b-a]", "invalid character class range"),
            ("a\\", "trailing backslash at end of expression"),
        ] {
            assert_eq!(check(text), Err(InvalidRegex(reason.to_owned())), "{text}");
        }
        let bomb = check("((a{100}){100}){100}");
        assert!(bomb.is_err_and(|InvalidRegex(why)| why.contains("size limit")));
    }
}
