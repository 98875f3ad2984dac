//! What each operation's members look like: the model of the API, as tables.
//!
//! [`convert`](crate::convert) reads the tables to check types, [`validate`](crate::validate) to
//! check constraints. The constraint values are those of the service model of botocore 1.44.5. Each
//! operation's own members stand in its file under `action/`; shapes that several of them share
//! stand here.

/// What one value must be.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) rules: &'static [Rule],
}

/// A value's type.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    Blob,
    Timestamp,
    List(&'static Shape),
    /// Text to text.
    Map,
    Structure(&'static [Member]),
}

/// A member of a structure.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
    pub(crate) required: bool,
}

impl Member {
    /// A member that may be absent.
    pub(crate) const fn optional(name: &'static str, shape: &'static Shape) -> Member {
        Member { name, shape, required: false }
    }

    /// A member that must be there.
    pub(crate) const fn required(name: &'static str, shape: &'static Shape) -> Member {
        Member { name, shape, required: true }
    }
}

/// A constraint on a value. Lengths are characters of text, bytes of a blob, elements of a list,
/// entries of a map.
#[derive(Debug)]
pub(crate) enum Rule {
    LengthAtLeast(usize),
    LengthAtMost(usize),
    ValueAtLeast(i64),
    ValueAtMost(i64),
    OneOf(&'static [&'static str]),
    Matches(Pattern),
    MapKeyLengths {
        min: usize,
        max: usize,
    },
    MapValueLengths {
        min: usize,
        max: usize,
    },
    /// Of each text in a list.
    ElementLengths {
        min: usize,
        max: usize,
    },
    /// Each text in a list.
    ElementsOneOf(&'static [&'static str]),
}

/// The regular expressions of the API. There are few, so each is matched by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pattern {
    /// Streams, consumers, shards.
    Name,
    StreamArn,
    /// Whatever may have tags or a policy.
    ResourceArn,
    ConsumerArn,
    StreamId,
    HashKey,
    SequenceNumber,
}

impl Pattern {
    /// The expression as AWS prints it.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Pattern::Name => "[a-zA-Z0-9_.-]+",
            Pattern::StreamArn => r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
            Pattern::ResourceArn => r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+",
            Pattern::ConsumerArn => concat!(
                r"^(arn):aws.*:kinesis:.*:\d{12}:",
                r".*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+"
            ),
            Pattern::StreamId => "[a-z0-9]{20}-[a-z0-9]{3}",
            Pattern::HashKey => r"^(0|([1-9]\d{0,38}))$",
            Pattern::SequenceNumber => r"^(0|([1-9]\d{0,128}))$",
        }
    }

    /// Whether the whole text matches.
    pub(crate) fn matches(self, text: &str) -> bool {
        match self {
            Pattern::Name => is_name(text),
            Pattern::StreamArn => resources_in_arn(text)
                .any(|resource| resource.strip_prefix("stream/").is_some_and(is_solid)),
            Pattern::ConsumerArn => resources_in_arn(text).any(is_consumer),
            Pattern::ResourceArn => resources_in_arn(text).any(is_kind_and_name),
            Pattern::StreamId => {
                let alphabet = |part: &str| {
                    part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
                };
                text.split_once('-').is_some_and(|(first, second)| {
                    first.len() == 20 && second.len() == 3 && alphabet(first) && alphabet(second)
                })
            }
            Pattern::HashKey => is_number(text, 39),
            Pattern::SequenceNumber => is_number(text, 129),
        }
    }
}

/// Longest ARN that is read, in bytes: the API allows 2,048 characters.
const ARN_BYTES_MAX: usize = 4 * 2048;

/// A decimal number without leading zeros, of at most this many digits.
fn is_number(text: &str, digits_max: usize) -> bool {
    let canonical = text == "0" || !text.starts_with('0');
    (1..=digits_max).contains(&text.len())
        && canonical
        && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The parts of a text that may be the resource in an ARN of Kinesis: what follows the account, of
/// which there may be several, since a resource may look like the end of an ARN. Each is looked at
/// on its own, so texts beyond the length of all ARNs, which are refused anyway, have none.
pub(crate) fn resources_in_arn(text: &str) -> impl Iterator<Item = &str> {
    let text = if text.len() <= ARN_BYTES_MAX { text } else { "" };
    text.match_indices(':').filter_map(|(at, _)| {
        let (before, resource) = text.split_at(at);
        let (front, account) = before.rsplit_once(':')?;
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        // The two `.*` of the pattern may be empty, so `front` may end right after the colon.
        let is_ours = front
            .strip_prefix("arn:aws")
            .is_some_and(|rest| !rest.contains('\n') && format!("{rest}:").contains(":kinesis:"));
        if is_account && is_ours { resource.strip_prefix(':') } else { None }
    })
}

/// `.*(stream|channel|queue)/\S+`
fn is_kind_and_name(resource: &str) -> bool {
    ["stream/", "channel/", "queue/"].iter().any(|kind| {
        resource.match_indices(kind).any(|(at, _)| {
            let (before, rest) = resource.split_at(at);
            !before.contains('\n') && rest.strip_prefix(kind).is_some_and(is_solid)
        })
    })
}

/// `.*stream\/NAME\/consumer\/NAME:[0-9]+`
fn is_consumer(resource: &str) -> bool {
    resource.match_indices("stream/").any(|(at, kind)| {
        let (before, rest) = resource.split_at(at);
        let names = rest.strip_prefix(kind).and_then(|rest| rest.split_once("/consumer/"));
        let named = names.and_then(|(stream, rest)| Some((stream, rest.rsplit_once(':')?)));
        named.is_some_and(|(stream, (consumer, second))| {
            !before.contains('\n')
                && is_name(stream)
                && is_name(consumer)
                && !second.is_empty()
                && second.bytes().all(|byte| byte.is_ascii_digit())
        })
    })
}

/// `[a-zA-Z0-9_.-]+`
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `\S+`
fn is_solid(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

const NAME_RULES: &[Rule] =
    &[Rule::Matches(Pattern::Name), Rule::LengthAtLeast(1), Rule::LengthAtMost(128)];

/// A stream's name as Kinesis spells it.
pub(crate) static STREAM_NAME: Shape = Shape { kind: Kind::Text, rules: NAME_RULES };

/// A shard's id in any form that is accepted as input.
pub(crate) static SHARD_ID: Shape = Shape { kind: Kind::Text, rules: NAME_RULES };

/// A stream's ARN.
pub(crate) static STREAM_ARN: Shape = Shape {
    kind: Kind::Text,
    rules: &[Rule::Matches(Pattern::StreamArn), Rule::LengthAtLeast(1), Rule::LengthAtMost(2048)],
};

/// The ARN of anything that may have tags or a policy.
pub(crate) static RESOURCE_ARN: Shape = Shape {
    kind: Kind::Text,
    rules: &[Rule::Matches(Pattern::ResourceArn), Rule::LengthAtLeast(1), Rule::LengthAtMost(2048)],
};

/// A registered consumer's name.
pub(crate) static CONSUMER_NAME: Shape = Shape { kind: Kind::Text, rules: NAME_RULES };

/// A registered consumer's ARN.
pub(crate) static CONSUMER_ARN: Shape = Shape {
    kind: Kind::Text,
    rules: &[Rule::Matches(Pattern::ConsumerArn), Rule::LengthAtLeast(1), Rule::LengthAtMost(2048)],
};

/// Tags to put on a resource.
pub(crate) static TAGS: Shape = Shape {
    kind: Kind::Map,
    rules: &[
        Rule::LengthAtLeast(1),
        Rule::LengthAtMost(200),
        Rule::MapKeyLengths { min: 1, max: 128 },
        Rule::MapValueLengths { min: 0, max: 256 },
    ],
};

/// The key of one tag.
pub(crate) static TAG_KEY: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::LengthAtLeast(1), Rule::LengthAtMost(128)] };

/// Any text, or text that the list around it has rules for.
pub(crate) static ANY_TEXT: Shape = Shape { kind: Kind::Text, rules: &[] };

/// The keys of tags to take off a resource.
pub(crate) static TAG_KEYS: Shape = Shape {
    kind: Kind::List(&ANY_TEXT),
    rules: &[
        Rule::LengthAtLeast(1),
        Rule::LengthAtMost(50),
        Rule::ElementLengths { min: 1, max: 128 },
    ],
};

/// The id that the model reserves; checked, then ignored.
pub(crate) static STREAM_ID: Shape = Shape {
    kind: Kind::Text,
    rules: &[Rule::Matches(Pattern::StreamId), Rule::LengthAtLeast(1), Rule::LengthAtMost(24)],
};

/// A truth value.
pub(crate) static BOOLEAN: Shape = Shape { kind: Kind::Boolean, rules: &[] };

/// A time.
pub(crate) static TIMESTAMP: Shape = Shape { kind: Kind::Timestamp, rules: &[] };

/// Any whole number.
pub(crate) static INTEGER: Shape = Shape { kind: Kind::Integer, rules: &[] };

/// A whole number from 1 on.
pub(crate) static POSITIVE_INTEGER: Shape =
    Shape { kind: Kind::Integer, rules: &[Rule::ValueAtLeast(1)] };

/// How many entries a reply may have, where the API allows 1 to 10,000.
pub(crate) static LIMIT: Shape =
    Shape { kind: Kind::Integer, rules: &[Rule::ValueAtLeast(1), Rule::ValueAtMost(10_000)] };

/// A decimal hash key.
pub(crate) static HASH_KEY: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::Matches(Pattern::HashKey)] };

/// A decimal sequence number.
pub(crate) static SEQUENCE_NUMBER: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::Matches(Pattern::SequenceNumber)] };

/// A partition key.
pub(crate) static PARTITION_KEY: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::LengthAtLeast(1), Rule::LengthAtMost(256)] };

/// A record's data.
pub(crate) static DATA: Shape =
    Shape { kind: Kind::Blob, rules: &[Rule::LengthAtMost(DATA_BYTES_MAX)] };

/// Most bytes of data in a record of any stream: the most that MaxRecordSizeInKiB can allow.
pub(crate) const DATA_BYTES_MAX: usize = 10 * 1024 * 1024;

/// A whole number from 0 on.
pub(crate) static NATURAL_INTEGER: Shape =
    Shape { kind: Kind::Integer, rules: &[Rule::ValueAtLeast(0)] };

static STREAM_MODE: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::OneOf(&["PROVISIONED", "ON_DEMAND"])] };

/// Who scales a stream.
pub(crate) static STREAM_MODE_DETAILS: Shape =
    Shape { kind: Kind::Structure(&[Member::required("StreamMode", &STREAM_MODE)]), rules: &[] };

/// How large a stream's records may be, in KiB.
pub(crate) static MAX_RECORD_SIZE: Shape =
    Shape { kind: Kind::Integer, rules: &[Rule::ValueAtLeast(1024), Rule::ValueAtMost(10_240)] };

/// How records are spread over a stream's shards.
pub(crate) static DISTRIBUTION_STRATEGY: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::OneOf(&["AUTO", "USER_PARTITION_KEY"])] };

/// What a list call gave, to be sent back for the next page.
pub(crate) static NEXT_TOKEN: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::LengthAtLeast(1), Rule::LengthAtMost(1_048_576)] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let digits = |count: usize| format!("1{}", "0".repeat(count - 1));
        for (pattern, text, expected) in [
            (Pattern::Name, "a.B_9-", true),
            (Pattern::Name, "", false),
            (Pattern::Name, "a/b", false),
            (Pattern::Name, "é", false),
            (Pattern::HashKey, "0", true),
            (Pattern::HashKey, "00", false),
            (Pattern::HashKey, "", false),
            (Pattern::HashKey, &digits(39), true),
            (Pattern::HashKey, &digits(40), false),
            (Pattern::HashKey, "-1", false),
            (Pattern::SequenceNumber, &digits(129), true),
            (Pattern::SequenceNumber, &digits(130), false),
            (Pattern::StreamId, "abcdefghij0123456789-x1z", true),
            (Pattern::StreamId, "abcdefghij0123456789-x1", false),
            (Pattern::StreamId, "ABCDEFGHIJ0123456789-x1z", false),
        ] {
            assert_eq!(pattern.matches(text), expected, "{pattern:?} {text}");
        }
    }

    #[test]
    fn stream_arns_match_as_the_model_says() {
        for (text, expected) in [
            ("arn:aws:kinesis:us-east-1:000000000000:stream/s", true),
            ("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/s/consumer/c:1", true),
            ("arn:aws:kinesis::123456789012:stream/s", true),
            ("arn:aws:kinesis:us-east-1:00000000000:stream/s", false),
            ("arn:aws:kinesis:us-east-1:000000000000:stream/", false),
            ("arn:aws:kinesis:us-east-1:000000000000:stream/a b", false),
            ("arn:aws:sqs:us-east-1:000000000000:stream/s", false),
            ("xarn:aws:kinesis:us-east-1:000000000000:stream/s", false),
            ("s", false),
            ("", false),
        ] {
            assert_eq!(Pattern::StreamArn.matches(text), expected, "{text}");
            assert_eq!(Pattern::ResourceArn.matches(text), expected, "{text}");
        }
        let account = "arn:aws:kinesis:us-east-1:000000000000";
        for (resource, expected) in [
            ("queue/q", true),
            ("channel/c", true),
            ("a/stream/s", true),
            ("streams/s", false),
            ("topic/t", false),
            ("queue/", false),
        ] {
            let arn = format!("{account}:{resource}");
            assert_eq!(Pattern::ResourceArn.matches(&arn), expected, "{arn}");
            assert!(!Pattern::StreamArn.matches(&arn), "{arn}");
        }
        for (resource, expected) in [
            ("stream/s/consumer/c:1", true),
            ("a/stream/s/consumer/c:1", true),
            ("stream/s/consumer/c", false),
            ("stream/s/consumer/c:", false),
            ("stream/s/consumer/c:1x", false),
            ("stream/s t/consumer/c:1", false),
            ("stream/s/consumer/:1", false),
            ("queue/s/consumer/c:1", false),
        ] {
            let arn = format!("{account}:{resource}");
            assert_eq!(Pattern::ConsumerArn.matches(&arn), expected, "{arn}");
        }
        let longest = format!("{account}:stream/{}", "s".repeat(ARN_BYTES_MAX - 46));
        assert_eq!(longest.len(), ARN_BYTES_MAX);
        assert!(Pattern::StreamArn.matches(&longest));
        assert!(!Pattern::StreamArn.matches(&format!("{longest}s")));
    }
}
