//! What a resource policy says of one call: IAM's rules for a document of statements.
//!
//! A statement is about a call when its principal, action and resource all are. One that denies
//! outweighs all that allow. Conditions are not evaluated: a statement with one allows nothing and
//! denies in any case, which errs on the side of refusing.

use std::borrow::Cow;

use serde_json::Value as Json;

/// What the ARNs of Kinesis begin with; a region follows.
const KINESIS_ARN: &str = "arn:aws:kinesis:";

/// What a policy says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Allowed,
    Denied,
    /// No statement is about it.
    Silent,
}

/// One call, as policies see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The caller's ARN.
    pub(super) principal: &'a str,
    /// The caller's account.
    pub(super) account: &'a str,
    /// Such as `kinesis:PutRecord`.
    pub(super) action: &'a str,
    /// The resource's ARN.
    pub(super) resource: &'a str,
}

/// What a policy says of a call. What is no policy says nothing.
pub(super) fn verdict(policy: &str, asked: Asked<'_>) -> Verdict {
    let document: Json = serde_json::from_str(policy).unwrap_or_default();
    let statements = match document.get("Statement") {
        Some(Json::Array(statements)) => statements.as_slice(),
        Some(statement) => std::slice::from_ref(statement),
        None => &[],
    };
    let mut verdict = Verdict::Silent;
    for statement in statements.iter().filter(|statement| is_about(statement, asked)) {
        let effect = statement.get("Effect").and_then(Json::as_str);
        match (effect, statement.get("Condition")) {
            (Some("Deny"), _) => return Verdict::Denied,
            (Some("Allow"), None) => verdict = Verdict::Allowed,
            _ => {}
        }
    }
    verdict
}

fn is_about(statement: &Json, asked: Asked<'_>) -> bool {
    let named = |yes: &str, no: &str, fits: &dyn Fn(&Json) -> bool, if_absent: bool| match (
        statement.get(yes),
        statement.get(no),
    ) {
        (Some(wanted), _) => fits(wanted),
        (None, Some(unwanted)) => !fits(unwanted),
        (None, None) => if_absent,
    };
    let is_principal = |wanted: &Json| is_principal(wanted, asked);
    // The names of actions have no case.
    let is_action = |wanted: &Json| {
        let action = asked.action.to_ascii_lowercase();
        any_text(wanted, |pattern| matches(&pattern.to_ascii_lowercase(), &action))
    };
    // weir's streams are the same in all regions; what a client signs for decides nothing.
    let resource = in_any_region(asked.resource);
    let is_resource =
        |wanted: &Json| any_text(wanted, |pattern| matches(&in_any_region(pattern), &resource));
    named("Principal", "NotPrincipal", &is_principal, false)
        && named("Action", "NotAction", &is_action, false)
        // A resource's policy is about that resource, if it says nothing else.
        && named("Resource", "NotResource", &is_resource, true)
}

/// An ARN of Kinesis, or a pattern of such, without its region; of one with a star what begins
/// there, since the star may reach beyond it.
fn in_any_region(arn: &str) -> Cow<'_, str> {
    let Some(rest) = arn.strip_prefix(KINESIS_ARN) else { return Cow::Borrowed(arn) };
    let region_end = rest.find(':').unwrap_or(rest.len());
    let begin = rest.find('*').map_or(region_end, |star| star.min(region_end));
    Cow::Owned(format!("{KINESIS_ARN}{}", rest.get(begin..).unwrap_or_default()))
}

fn is_principal(wanted: &Json, asked: Asked<'_>) -> bool {
    let root = format!("arn:aws:iam::{}:root", asked.account);
    let fits = |text: &str| {
        text == "*" || text == asked.account || text == root || text == asked.principal
    };
    match wanted {
        Json::Object(kinds) => kinds.get("AWS").is_some_and(|aws| any_text(aws, fits)),
        _ => wanted.as_str() == Some("*"),
    }
}

/// Whether a text, or one of a list of texts, fits.
fn any_text(value: &Json, fits: impl Fn(&str) -> bool) -> bool {
    match value {
        Json::String(text) => fits(text),
        Json::Array(texts) => texts.iter().filter_map(Json::as_str).any(fits),
        _ => false,
    }
}

/// Whether a text matches a pattern in which `*` stands for any characters and `?` for one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut position) = (0, 0);
    // Where the last star was, and what of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(position) {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, position));
                at += 1;
            }
            (Some(&wanted), _) if wanted == b'?' || wanted == byte => {
                at += 1;
                position += 1;
            }
            (_, Some((star_at, taken))) => {
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                position = taken + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ASKED: Asked<'static> = Asked {
        principal: "arn:aws:iam::111122223333:user/bob",
        account: "111122223333",
        action: "kinesis:PutRecord",
        resource: "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
    };

    fn judged(statements: Json) -> Verdict {
        verdict(&json!({"Version": "2012-10-17", "Statement": statements}).to_string(), ASKED)
    }

    fn allow(principal: Json, action: Json, resource: Json) -> Json {
        json!({"Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource})
    }

    #[test]
    fn regions_are_not_compared() {
        for (pattern, expected) in [
            ("arn:aws:kinesis:us-east-1:000000000000:stream/orders", Verdict::Allowed),
            ("arn:aws:kinesis:eu-west-9:000000000000:stream/orders", Verdict::Allowed),
            ("arn:aws:kinesis:eu-*:000000000000:stream/ord*", Verdict::Allowed),
            ("arn:aws:kinesis:*:stream/orders", Verdict::Allowed),
            ("arn:aws:kinesis:eu*", Verdict::Allowed),
            ("arn:aws:kinesis:us-east-1:000000000000:stream/others", Verdict::Silent),
            ("arn:aws:kinesis:us-east-1:111111111111:stream/orders", Verdict::Silent),
            ("arn:aws:kinesis:eu-west-9", Verdict::Silent),
            ("arn:aws:sqs:us-east-1:000000000000:stream/orders", Verdict::Silent),
        ] {
            let statement = allow(json!("*"), json!("kinesis:PutRecord"), json!(pattern));
            assert_eq!(judged(statement), expected, "{pattern}");
        }
    }

    #[test]
    fn a_statement_is_about_its_principals_actions_and_resources() {
        let bob = || json!({"AWS": "arn:aws:iam::111122223333:user/bob"});
        let orders = || json!(ASKED.resource);
        for (statement, expected) in [
            (allow(bob(), json!("kinesis:PutRecord"), orders()), Verdict::Allowed),
            (allow(json!("*"), json!(["x", "kinesis:Put*"]), json!("*")), Verdict::Allowed),
            (allow(json!({"AWS": ["1", "111122223333"]}), json!("*"), orders()), Verdict::Allowed),
            (
                allow(json!({"AWS": "arn:aws:iam::111122223333:root"}), json!("*"), orders()),
                Verdict::Allowed,
            ),
            (allow(bob(), json!("KINESIS:putrecor?"), orders()), Verdict::Allowed),
            (allow(bob(), json!("kinesis:Get*"), orders()), Verdict::Silent),
            (allow(bob(), json!("*"), json!("arn:*:stream/other")), Verdict::Silent),
            (allow(json!({"AWS": "444455556666"}), json!("*"), orders()), Verdict::Silent),
            (allow(json!({"Service": "*"}), json!("*"), orders()), Verdict::Silent),
            (
                json!({"Effect": "Allow", "Principal": "*", "NotAction": "kinesis:Get*"}),
                Verdict::Allowed,
            ),
            (json!({"Effect": "Allow", "NotPrincipal": bob(), "Action": "*"}), Verdict::Silent),
            (json!({"Effect": "Allow", "Action": "*"}), Verdict::Silent),
        ] {
            assert_eq!(judged(statement.clone()), expected, "{statement}");
            assert_eq!(judged(json!([statement])), expected);
        }
    }

    #[test]
    fn a_denial_outweighs_and_conditions_err_on_its_side() {
        let all = |effect: &str| json!({"Effect": effect, "Principal": "*", "Action": "*"});
        let with_condition = |effect: &str| {
            let mut statement = all(effect);
            statement["Condition"] = json!({"Bool": {"aws:SecureTransport": "false"}});
            statement
        };
        assert_eq!(judged(json!([all("Allow"), all("Deny")])), Verdict::Denied);
        assert_eq!(judged(json!([all("Deny"), all("Allow")])), Verdict::Denied);
        assert_eq!(judged(json!([with_condition("Allow")])), Verdict::Silent);
        assert_eq!(judged(json!([all("Allow"), with_condition("Deny")])), Verdict::Denied);
        for text in ["", "[]", "{}", r#"{"Statement": "x"}"#] {
            assert_eq!(verdict(text, ASKED), Verdict::Silent, "{text}");
        }
    }

    #[test]
    fn stars_take_as_much_as_is_needed() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**a", "bba", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
