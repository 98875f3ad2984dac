//! Whether a caller who is known may do what was asked.
//!
//! As in AWS, a key of the stream's own account may do everything that the resource's policy does
//! not deny, since weir gives its own keys all rights; a key of another account only what that
//! policy allows. AWS looks for a bare name among the caller's own streams; weir, which has one
//! account's streams, takes a name for the ARN that it stands for.

use super::policy::{Asked, Verdict, verdict};
use crate::action::Call;
use crate::errors::{ErrorKind, KinesisError};
use crate::page_token;
use crate::resource_reference::{find_named_consumer, find_subject};
use crate::sealed_token::Purpose;
use crate::shard_iterator::ShardIterator;

/// Checks a call whose members are in order. Without verified signatures everybody may everything.
pub(crate) fn check(call: &Call<'_>, operation: &str) -> Result<(), KinesisError> {
    let Some(identity) = call.identity else { return Ok(()) };
    let own = call.account();
    let is_stranger = identity.account(own) != own;
    let found = match operation {
        // The consumer of that name is what it makes, or refuses to make again.
        "RegisterStreamConsumer" => find_subject(call),
        _ => find_named_consumer(call).or_else(|| find_subject(call)),
    };
    if found.is_none() && is_expired(call) {
        // It was let in when it got the token, and the operation says what has become of that.
        return Ok(());
    }
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

/// Whether what a call goes on from, and names its stream by, is one of our tokens that is too old.
fn is_expired(call: &Call<'_>) -> bool {
    let (key, now) = (call.token_key(), call.now());
    if let Some(iterator) = call.input.text("ShardIterator") {
        let opened = ShardIterator::open(iterator, key, now);
        return opened.is_err_and(|error| error.kind == ErrorKind::ExpiredIterator);
    }
    let token = call.input.text("NextToken");
    let opened = token.map(|token| page_token::open(key, Purpose::ListShards, now, token));
    opened.and_then(Result::err).is_some_and(|error| error.kind == ErrorKind::ExpiredNextToken)
}
