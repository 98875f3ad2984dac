//! Checks members against the constraints of the API's model, in AWS's words.
//!
//! AWS reports the first ten violations of a request together:
//!
//! ```text
//! 2 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: Member must
//! have length greater than or equal to 1; Value null at 'records.1.member.data' failed to …
//! ```
//!
//! Its order between violations is not stable; ours is the order of the tables. What needs more
//! than one member to be decided is not a constraint and is checked by the action.

use std::fmt;

use crate::errors::KinesisError;
use crate::input::Input;
use crate::log_text::shortened;
use crate::shape::{Kind, Member, Rule, Shape};
use crate::wire::Value;

/// The rule that an absent member violates.
const ABSENT: &str = "Member must not be null";

/// Most violations that one answer lists.
const VIOLATIONS_MAX: usize = 10;

/// Checks an operation's converted members; the error lists what is wrong.
pub(crate) fn validate(input: &Input<'_>, members: &[Member]) -> Result<(), KinesisError> {
    let mut violations = Violations(Vec::new());
    check_structure(input, members, Path::Root, &mut violations);
    violations.into_result()
}

/// The error for members that the model lets be absent and this request may not leave out, as if
/// the model had said so; `paths` are their places. Without any, there is no error.
pub(crate) fn refuse_absent(paths: impl Iterator<Item = String>) -> Result<(), KinesisError> {
    let mut violations = Violations(Vec::new());
    for path in paths {
        violations.add("null", &path, ABSENT);
    }
    violations.into_result()
}

/// Where a value stands; a chain up the stack, written out only when something is wrong.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Member { of: &'p Path<'p>, name: &'p str },
    Element { of: &'p Path<'p>, index: usize },
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member { of, name } => {
                if !matches!(of, Path::Root) {
                    write!(out, "{of}.")?;
                }
                let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
                write!(out, "{}{rest}", first.to_ascii_lowercase())
            }
            // Counted from 1.
            Path::Element { of, index } => write!(out, "{of}.{}.member", index + 1),
        }
    }
}

struct Violations(Vec<String>);

impl Violations {
    fn add_value(&mut self, value: &Value<'_>, shape: &Shape, path: Path<'_>, rule: &str) {
        if self.0.len() < VIOLATIONS_MAX {
            let value = format!("'{}'", shortened(&shown(value, shape)));
            self.add(&value, &path, rule);
        }
    }

    fn add(&mut self, value: &str, path: &impl fmt::Display, rule: &str) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(format!("Value {value} at '{path}' failed to satisfy constraint: {rule}"));
        }
    }

    fn into_result(self) -> Result<(), KinesisError> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.into_error("error")),
            _ => Err(self.into_error("errors")),
        }
    }

    fn into_error(self, noun: &str) -> KinesisError {
        let (count, list) = (self.0.len(), self.0.join("; "));
        KinesisError::validation(format!("{count} validation {noun} detected: {list}"))
    }
}

fn check_structure(
    input: &Input<'_>,
    members: &[Member],
    of: Path<'_>,
    violations: &mut Violations,
) {
    for member in members {
        let name = member.name;
        let path = Path::Member { of: &of, name };
        match input.value(name) {
            Some(value) => check(value, member.shape, path, violations),
            None if member.required => {
                violations.add("null", &path, ABSENT);
            }
            None => {}
        }
    }
}

fn check(value: &Value<'_>, shape: &Shape, path: Path<'_>, violations: &mut Violations) {
    for rule in shape.rules {
        if !holds(rule, value) {
            violations.add_value(value, shape, path, &rule_text(rule));
        }
    }
    match (&shape.kind, value) {
        (Kind::List(element_shape), Value::List(elements)) => {
            for (index, element) in elements.iter().enumerate() {
                let path = Path::Element { of: &path, index };
                if *element == Value::Null {
                    violations.add("null", &path, ABSENT);
                } else {
                    check(element, element_shape, path, violations);
                }
            }
        }
        (Kind::Structure(members), Value::Map(entries)) => {
            check_structure(&Input::new(entries), members, path, violations);
        }
        _ => {}
    }
}

fn holds(rule: &Rule, value: &Value<'_>) -> bool {
    let integer = || match value {
        Value::Integer(number) => *number,
        _ => 0,
    };
    match rule {
        Rule::LengthAtLeast(min) => length(value) >= *min,
        Rule::LengthAtMost(max) => length(value) <= *max,
        Rule::ValueAtLeast(min) => integer() >= *min,
        Rule::ValueAtMost(max) => integer() <= *max,
        Rule::OneOf(names) => matches!(value, Value::Text(text) if names.contains(&text.as_ref())),
        Rule::Matches(pattern) => matches!(value, Value::Text(text) if pattern.matches(text)),
        Rule::MapKeyLengths { min, max } => {
            entries(value).iter().all(|(key, _)| (*min..=*max).contains(&key.chars().count()))
        }
        Rule::MapValueLengths { min, max } => {
            entries(value).iter().all(|(_, value)| (*min..=*max).contains(&length(value)))
        }
        Rule::ElementsOneOf(names) => elements(value)
            .iter()
            .all(|element| matches!(element, Value::Text(text) if names.contains(&text.as_ref()))),
        Rule::ElementLengths { min, max } => {
            elements(value).iter().all(|value| (*min..=*max).contains(&length(value)))
        }
    }
}

fn rule_text(rule: &Rule) -> String {
    let lengths = |min: &usize, max: &usize| {
        format!(
            "[Member must have length less than or equal to {max}, \
             Member must have length greater than or equal to {min}]"
        )
    };
    match rule {
        Rule::LengthAtLeast(min) => {
            format!("Member must have length greater than or equal to {min}")
        }
        Rule::LengthAtMost(max) => format!("Member must have length less than or equal to {max}"),
        Rule::ValueAtLeast(min) => format!("Member must have value greater than or equal to {min}"),
        Rule::ValueAtMost(max) => format!("Member must have value less than or equal to {max}"),
        Rule::OneOf(names) => format!("Member must satisfy enum value set: [{}]", names.join(", ")),
        Rule::Matches(pattern) => {
            format!("Member must satisfy regular expression pattern: {}", pattern.text())
        }
        Rule::MapKeyLengths { min, max } => {
            format!("Map keys must satisfy constraint: {}", lengths(min, max))
        }
        Rule::MapValueLengths { min, max } => {
            format!("Map value must satisfy constraint: {}", lengths(min, max))
        }
        Rule::ElementLengths { min, max } => {
            format!("Member must satisfy constraint: {}", lengths(min, max))
        }
        Rule::ElementsOneOf(names) => format!(
            "Member must satisfy constraint: [Member must satisfy enum value set: [{}]]",
            names.join(", ")
        ),
    }
}

fn length(value: &Value<'_>) -> usize {
    match value {
        // A text's characters are at most its bytes, so short ones need no counting.
        Value::Text(text) => text.chars().count(),
        Value::Blob(bytes) => bytes.len(),
        Value::List(elements) => elements.len(),
        Value::Map(entries) => entries.len(),
        Value::Null
        | Value::Boolean(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Timestamp(_) => 0,
    }
}

fn entries<'v, 'a>(value: &'v Value<'a>) -> &'v [(std::borrow::Cow<'a, str>, Value<'a>)] {
    match value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn elements<'v, 'a>(value: &'v Value<'a>) -> &'v [Value<'a>] {
    match value {
        Value::List(elements) => elements,
        _ => &[],
    }
}

/// A value as Java's `toString` shows it in AWS's messages.
fn shown(value: &Value<'_>, shape: &Shape) -> String {
    match (value, &shape.kind) {
        (Value::Null, _) => "null".to_owned(),
        (Value::Boolean(value), _) => value.to_string(),
        (Value::Integer(number), _) => number.to_string(),
        (Value::Float(number), _) => number.to_string(),
        (Value::Text(text), _) => text.to_string(),
        (Value::Blob(bytes), _) => {
            let length = bytes.len();
            format!("java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]")
        }
        (Value::Timestamp(time), _) => time.as_millis().to_string(),
        (Value::List(elements), Kind::List(element_shape)) => {
            shown_list(elements, |index, element| match element_shape.kind {
                // The only list of structures in the API that has a length is PutRecords'. What
                // follows the @ is an object's hash code, which means nothing to anybody.
                Kind::Structure(_) => {
                    format!("com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@{index:x}")
                }
                _ => shown(element, element_shape),
            })
        }
        (Value::List(elements), _) => shown_list(elements, |_, element| shown(element, shape)),
        (Value::Map(entries), _) => {
            let shown: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{key}={}", shown(value, shape)))
                .collect();
            format!("{{{}}}", shown.join(", "))
        }
    }
}

fn shown_list(elements: &[Value<'_>], show: impl Fn(usize, &Value<'_>) -> String) -> String {
    let shown: Vec<String> =
        elements.iter().enumerate().map(|(index, element)| show(index, element)).collect();
    format!("[{}]", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;
    use crate::shape;
    use crate::wire::{self, Encoding};
    use bytes::Bytes;

    static COUNT: Shape =
        Shape { kind: Kind::Integer, rules: &[Rule::ValueAtLeast(1), Rule::ValueAtMost(10)] };
    static MODE: Shape = Shape { kind: Kind::Text, rules: &[Rule::OneOf(&["A", "B"])] };
    static SMALL_BLOB: Shape = Shape { kind: Kind::Blob, rules: &[Rule::LengthAtMost(2)] };
    static RECORD: Shape = Shape {
        kind: Kind::Structure(&[
            Member::required("Data", &SMALL_BLOB),
            Member::optional("PartitionKey", &shape::PARTITION_KEY),
        ]),
        rules: &[],
    };
    static RECORDS: Shape = Shape {
        kind: Kind::List(&RECORD),
        rules: &[Rule::LengthAtLeast(1), Rule::LengthAtMost(2)],
    };
    static TAGS: Shape = Shape {
        kind: Kind::Map,
        rules: &[Rule::MapKeyLengths { min: 1, max: 3 }, Rule::MapValueLengths { min: 0, max: 2 }],
    };
    static MEMBERS: [Member; 5] = [
        Member::required("StreamName", &shape::STREAM_NAME),
        Member::optional("Count", &COUNT),
        Member::optional("Mode", &MODE),
        Member::optional("Records", &RECORDS),
        Member::optional("Tags", &TAGS),
    ];

    /// What is wrong with these members beside a good `StreamName`.
    fn violations(json: &str) -> String {
        let body = Bytes::copy_from_slice(json.as_bytes());
        let value = wire::parse(Encoding::Json, &body).expect("well-formed JSON");
        let members = convert::convert_input(value, &MEMBERS, Encoding::Json).expect("right types");
        match validate(&Input::new(&members), &MEMBERS) {
            Ok(()) => String::new(),
            Err(error) => error.message.unwrap_or_default(),
        }
    }

    #[test]
    fn violations_are_told_in_awss_words() {
        let one = "1 validation error detected: Value";
        let failed = "failed to satisfy constraint: Member must";
        let entry = "com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry";
        let data = r#"{"Data":"YQ=="}"#;
        for (json, expected) in [
            ("{}", format!("{one} null at 'streamName' {failed} not be null")),
            (
                r#"{"StreamName":""}"#,
                format!(
                    "2 validation errors detected: Value '' at 'streamName' {failed} satisfy \
                     regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' \
                     {failed} have length greater than or equal to 1"
                ),
            ),
            (
                r#"{"StreamName":"s","Count":0}"#,
                format!("{one} '0' at 'count' {failed} have value greater than or equal to 1"),
            ),
            (
                r#"{"StreamName":"s","Count":11}"#,
                format!("{one} '11' at 'count' {failed} have value less than or equal to 10"),
            ),
            (
                r#"{"StreamName":"s","Mode":"C"}"#,
                format!("{one} 'C' at 'mode' {failed} satisfy enum value set: [A, B]"),
            ),
            (
                r#"{"StreamName":"s","Records":[]}"#,
                format!("{one} '[]' at 'records' {failed} have length greater than or equal to 1"),
            ),
            (
                &format!(r#"{{"StreamName":"s","Records":[{data},{data},{data}]}}"#),
                format!(
                    "{one} '[{entry}@0, {entry}@1, {entry}@2]' at 'records' {failed} \
                     have length less than or equal to 2"
                ),
            ),
            (
                r#"{"StreamName":"s","Records":[{"Data":"YWJj"},{}]}"#,
                format!(
                    "2 validation errors detected: \
                     Value 'java.nio.HeapByteBuffer[pos=0 lim=3 cap=3]' at \
                     'records.1.member.data' {failed} have length less than or equal to 2; \
                     Value null at 'records.2.member.data' {failed} not be null"
                ),
            ),
            (
                r#"{"StreamName":"s","Records":[null]}"#,
                format!("{one} null at 'records.1.member' {failed} not be null"),
            ),
            (
                r#"{"StreamName":"s","Tags":{"abcd":"x","a":"xyz"}}"#,
                "2 validation errors detected: Value '{abcd=x, a=xyz}' at 'tags' failed to \
                 satisfy constraint: Map keys must satisfy constraint: [Member must have length \
                 less than or equal to 3, Member must have length greater than or equal to 1]; \
                 Value '{abcd=x, a=xyz}' at 'tags' failed to satisfy constraint: Map value must \
                 satisfy constraint: [Member must have length less than or equal to 2, Member \
                 must have length greater than or equal to 0]"
                    .to_owned(),
            ),
            (r#"{"StreamName":"s","Count":10,"Mode":"A"}"#, String::new()),
        ] {
            assert_eq!(violations(json), expected, "{json}");
        }
    }

    #[test]
    fn at_most_ten_violations_are_listed() {
        let records = vec!["{}"; 20].join(",");
        let message = violations(&format!(r#"{{"Records":[{records}]}}"#));
        assert!(message.starts_with("10 validation errors detected: "));
        assert_eq!(message.matches("failed to satisfy").count(), 10);
    }

    #[test]
    fn text_is_measured_in_characters() {
        let key = |length: usize| {
            let key = "é".repeat(length);
            violations(&format!(
                r#"{{"StreamName":"s","Records":[{{"Data":"","PartitionKey":"{key}"}}]}}"#
            ))
        };
        assert_eq!(key(256), "");
        assert!(key(257).ends_with("less than or equal to 256"));
    }

    #[test]
    fn long_values_are_cut() {
        let name = "x".repeat(1_000_000);
        assert!(violations(&format!(r#"{{"StreamName":"{name}"}}"#)).len() < 100_000);
    }
}
