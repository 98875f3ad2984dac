//! Whether a caller who is known may do what was asked.
//!
//! As in AWS, a key of the stream's own account may do everything that the resource's policy does
//! not deny, since weir gives its own keys all rights; a key of another account only what that
//! policy allows. AWS looks for a bare name among the caller's own streams; weir, which has one
//! account's streams, takes a name for the ARN that it stands for.

use super::policy::{Asked, Verdict, verdict};
use crate::action::Call;
use crate::errors::KinesisError;
use crate::resource_reference::find_subject;

/// Checks a call whose members are in order. Without verified signatures everybody may everything.
pub(crate) fn check(call: &Call<'_>, operation: &str) -> Result<(), KinesisError> {
    let Some(identity) = call.identity else { return Ok(()) };
    let own = call.account();
    let is_stranger = identity.account(own) != own;
    let found = find_subject(call);
    let policy = found.as_ref().and_then(|found| found.labels().policy);
    let action = format!("kinesis:{operation}");
    let arn = found.as_ref().map_or_else(|| "*".to_owned(), |found| found.arn(call));
    let principal = identity.arn(own);
    let asked = Asked {
        principal: &principal,
        account: identity.account(own),
        action: &action,
        resource: &arn,
    };
    let judged = policy.map_or(Verdict::Silent, |policy| verdict(policy.as_str(), asked));
    let because = match judged {
        Verdict::Denied => "with an explicit deny in a resource-based policy",
        Verdict::Silent if is_stranger => {
            &format!("because no resource-based policy allows the {action} action")
        }
        Verdict::Allowed | Verdict::Silent => return Ok(()),
    };
    Err(KinesisError::access_denied(&principal, &action, &arn, because))
}
