//! DescribeAccountSettings: how the account's commitment to a minimum throughput stands.
//!
//! Inputs: none.
//!
//! Behaviour: `StartedAt` is there once there was a commitment, `EndedAt` once it has ended,
//! `EarliestAllowedEndAt` while it holds.

use bytes::Bytes;
use weir_core::account::{Commitment, CommitmentStatus};

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;

pub(super) static ACTION: Action = Action {
    name: "DescribeAccountSettings",
    members: &[],
    rate: CallRate::Unlimited,
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    Ok(reply(call, call.broker().commitment()))
}

/// The answer of both operations on the account.
pub(super) fn reply(call: &Call<'_>, commitment: Option<Commitment>) -> Bytes {
    let status = commitment.map(|commitment| commitment.status(call.now()));
    let status = status.unwrap_or(CommitmentStatus::Disabled);
    let mut writer = call.writer();
    writer.begin_map();
    writer.name("MinimumThroughputBillingCommitment");
    writer.begin_map();
    let name = match status {
        CommitmentStatus::Disabled => "DISABLED",
        CommitmentStatus::Enabled => "ENABLED",
        CommitmentStatus::EnabledUntilEarliestEnd => "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
    };
    writer.text_member("Status", name);
    if let Some(commitment) = commitment {
        writer.timestamp_member("StartedAt", commitment.started);
        match (status, commitment.ended) {
            (CommitmentStatus::Disabled, Some(ended)) => {
                writer.timestamp_member("EndedAt", ended);
            }
            _ => writer.timestamp_member("EarliestAllowedEndAt", commitment.earliest_end()),
        }
    }
    writer.end_map();
    writer.end_map();
    writer.into_bytes()
}
