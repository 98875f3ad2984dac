//! UpdateAccountSettings: begins or ends the account's commitment to a minimum throughput.
//!
//! Inputs: `MinimumThroughputBillingCommitment` with `Status` (`ENABLED` or `DISABLED`).
//!
//! Behaviour: a commitment that is ended within its first 24 hours holds until they have passed,
//! and may be taken up again until then. Nobody is charged; it opens warm throughput and more
//! consumers to on-demand streams, as on AWS.

use bytes::Bytes;
use weir_core::account::CommitmentWish;

use crate::action::describe_account_settings::reply;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::shape::{Kind, Member, Rule, Shape};

static STATUS: Shape = Shape { kind: Kind::Text, rules: &[Rule::OneOf(&["ENABLED", "DISABLED"])] };
static COMMITMENT: Shape =
    Shape { kind: Kind::Structure(&[Member::required("Status", &STATUS)]), rules: &[] };

pub(super) static ACTION: Action = Action {
    name: "UpdateAccountSettings",
    members: &[Member::required("MinimumThroughputBillingCommitment", &COMMITMENT)],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let commitment = call.input.structure("MinimumThroughputBillingCommitment");
    let wish = match commitment.and_then(|commitment| commitment.text("Status")) {
        Some("ENABLED") => CommitmentWish::Enable,
        _ => CommitmentWish::Disable,
    };
    let changed = call.broker().change_commitment(wish).await;
    let commitment = changed.map_err(|error| KinesisError::internal_failure(&error))?;
    Ok(reply(call, commitment))
}

#[cfg(test)]
mod tests {
    use crate::harness::Harness;
    use serde_json::{Value as Json, json};

    const NAME: &str = "MinimumThroughputBillingCommitment";
    const DAY_MS: u64 = 86_400_000;

    async fn update(harness: &Harness, status: &str) -> Json {
        let input = json!({NAME: {"Status": status}});
        let reply = harness.ok("UpdateAccountSettings", input).await;
        assert_eq!(harness.ok("DescribeAccountSettings", json!({})).await, reply);
        reply[NAME].clone()
    }

    #[tokio::test]
    async fn a_commitment_holds_for_a_day_at_least() {
        let harness = Harness::new().await;
        let disabled = json!({"Status": "DISABLED"});
        let reply = harness.ok("DescribeAccountSettings", json!({})).await;
        assert_eq!(reply, json!({NAME: disabled}));
        assert_eq!(update(&harness, "DISABLED").await, disabled);
        let (started, day_later) = (1_700_000_000.0, 1_700_086_400.0);
        assert_eq!(
            update(&harness, "ENABLED").await,
            json!({"Status": "ENABLED", "StartedAt": started, "EarliestAllowedEndAt": day_later})
        );
        harness.advance_ms(1_000);
        assert_eq!(
            update(&harness, "DISABLED").await,
            json!({
                "Status": "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
                "StartedAt": started,
                "EarliestAllowedEndAt": day_later,
            })
        );
        harness.advance_ms(DAY_MS);
        let reply = harness.ok("DescribeAccountSettings", json!({})).await;
        let ended = json!({"Status": "DISABLED", "StartedAt": started, "EndedAt": day_later});
        assert_eq!(reply[NAME], ended);
    }

    #[tokio::test]
    async fn other_states_cannot_be_asked_for() {
        let harness = Harness::new().await;
        let input = json!({NAME: {"Status": "ENABLED_UNTIL_EARLIEST_ALLOWED_END"}});
        let message = "1 validation error detected: Value 'ENABLED_UNTIL_EARLIEST_ALLOWED_END' at \
                       'minimumThroughputBillingCommitment.status' failed to satisfy constraint: \
                       Member must satisfy enum value set: [ENABLED, DISABLED]";
        let expected = ("Validation".to_owned(), message.to_owned());
        assert_eq!(harness.error("UpdateAccountSettings", input).await, expected);
    }
}
