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

/// Most violations that one answer lists.
const VIOLATIONS_MAX: usize = 10;

/// Checks an operation's converted members; the error lists what is wrong.
pub(crate) fn validate(input: &Input<'_>, members: &[Member]) -> Result<(), KinesisError> {
    let mut violations = Violations(Vec::new());
    check_structure(input, members, Path::Root, &mut violations);
    match violations.0.len() {
        0 => Ok(()),
        1 => Err(violations.into_error("error")),
        _ => Err(violations.into_error("errors")),
    }
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
    fn add(&mut self, value: Option<&Value<'_>>, shape: &Shape, path: Path<'_>, rule: &str) {
        if self.0.len() == VIOLATIONS_MAX {
            return;
        }
        let value = match value {
            None | Some(Value::Null) => "null".to_owned(),
            Some(value) => format!("'{}'", shortened(&shown(value, shape))),
        };
        self.0.push(format!("Value {value} at '{path}' failed to satisfy constraint: {rule}"));
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
                violations.add(None, member.shape, path, "Member must not be null");
            }
            None => {}
        }
    }
}

fn check(value: &Value<'_>, shape: &Shape, path: Path<'_>, violations: &mut Violations) {
    for rule in shape.rules {
        if !holds(rule, value) {
            violations.add(Some(value), shape, path, &rule_text(rule));
        }
    }
    match (&shape.kind, value) {
        (Kind::List(element_shape), Value::List(elements)) => {
            for (index, element) in elements.iter().enumerate() {
                let path = Path::Element { of: &path, index };
                if *element == Value::Null {
                    violations.add(None, element_shape, path, "Member must not be null");
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
