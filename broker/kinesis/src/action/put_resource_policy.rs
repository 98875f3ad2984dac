//! PutResourcePolicy: gives a resource a policy, in place of the one that it has.
//!
//! Inputs: `ResourceARN`, `Policy` (JSON with at least one statement, up to 20 KiB).
//!
//! Behaviour: kept, and given back to the letter; it holds where signatures are verified
//! ([`access`](crate::auth::access)).
//!
//! Gaps: conditions are not evaluated: a statement with one allows nothing and denies in any case.

use bytes::Bytes;
use weir_core::stream::policy::Policy;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::resource_reference::{FoundResource, find_resource};
use crate::shape::{self, Member};

pub(super) static ACTION: Action = Action {
    name: "PutResourcePolicy",
    members: &[
        Member::required("ResourceARN", &shape::RESOURCE_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::required("Policy", &shape::ANY_TEXT),
    ],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let found = find_resource(call)?;
    let policy = Policy::new(call.input.text("Policy").unwrap_or_default());
    let refused = |refusal| errors::policy_refusal(refusal, found.name(), call.account());
    let policy = policy.map_err(refused)?;
    change_policy(call, &found, Some(policy)).await
}

/// Gives a resource this policy or none, and answers.
pub(super) async fn change_policy(
    call: &Call<'_>,
    found: &FoundResource,
    policy: Option<Policy>,
) -> Result<Bytes, KinesisError> {
    let changed = call.broker().change_policy(found.resource(), policy).await;
    changed.map_err(|error| {
        errors::amend_error(error, &found.stream, call.account(), |refusal| {
            errors::policy_refusal(refusal, found.name(), call.account())
        })
    })?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness};
    use serde_json::{Value as Json, json};

    const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";

    async fn policy(harness: &Harness) -> Json {
        harness.ok("GetResourcePolicy", json!({"ResourceARN": ARN})).await
    }

    #[tokio::test]
    async fn a_policy_is_given_back_to_the_letter_until_it_is_deleted() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let none = json!({"Policy": "{}"});
        assert_eq!(policy(&harness).await, none);
        let text = r#"{ "Version": "2012-10-17", "Statement": [ {"Effect": "Allow"} ] }"#;
        let input = json!({"ResourceARN": ARN, "Policy": text});
        assert_eq!(harness.call("PutResourcePolicy", input).await, (200, Json::Null));
        assert_eq!(policy(&harness).await, json!({"Policy": text}));
        for _ in 0..2 {
            let answered = harness.call("DeleteResourcePolicy", json!({"ResourceARN": ARN})).await;
            assert_eq!(answered, (200, Json::Null));
            assert_eq!(policy(&harness).await, none);
        }
    }

    #[tokio::test]
    async fn what_is_no_policy_is_refused() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let put = |arn: &str, policy: &str| json!({"ResourceARN": arn, "Policy": policy});
        let long = format!(r#"{{"Statement":[{{}}],"Id":"{}"}}"#, "x".repeat(20 * 1024));
        for (input, kind, message) in [
            (put(ARN, "nonsense"), "InvalidArgument", "Policy is not valid JSON.".to_owned()),
            (put(ARN, "{}"), "InvalidArgument", "Policy has no statement.".to_owned()),
            (
                put(ARN, &long),
                "LimitExceeded",
                "Policy is longer than the limit of 20480 bytes.".to_owned(),
            ),
            (
                put(&ARN.replace("/s", "/x"), "{}"),
                "ResourceNotFound",
                format!("Stream x under account {ACCOUNT} not found."),
            ),
        ] {
            let expected = (kind.to_owned(), message);
            assert_eq!(harness.error("PutResourcePolicy", input).await, expected);
        }
    }
}
