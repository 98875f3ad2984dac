//! Faults on request, as this dialect has them: which errors may be asked for, and where a call
//! meets them.
//!
//! A rule that names no shard meets calls as a whole, before the operation. One that names a shard
//! meets the calls about that shard, and of PutRecords the records for it, which alone fail then.
//! An error without a text of its own has AWS's where that says nothing but who and where.

use std::sync::Arc;

use tokio::time::sleep;
use weir_core::faults::{AskedOf, BreakOff, Fault, FaultDialect, FaultRule};
use weir_core::routing::route::RoutedRecord;
use weir_core::stream::stream::Stream;
use weir_model::ids::PartitionIndex;

use crate::action::{ACTIONS, Action, Call};
use crate::dispatch::{Reply, carry_out};
use crate::errors::{ErrorKind, KinesisError};
use crate::incoming_record::routed_record;
use crate::resource_reference::find_subject;
use crate::shard::ShardId;
use crate::shard_iterator::ShardIterator;

const PUT_RECORDS: &str = "PutRecords";

/// Checks a rule that is about this dialect, among others perhaps.
pub fn check(rule: &FaultRule) -> Result<(), String> {
    if let Some(operation) = &rule.operation
        && !ACTIONS.iter().any(|action| action.name == operation)
    {
        return Err(format!("the Kinesis API has no operation {operation}"));
    }
    if let Some(error) = &rule.error
        && ErrorKind::named(error).is_none()
    {
        return Err(format!("no operation of the Kinesis API ends in {error}"));
    }
    let has_other = rule.latency_ms.is_some() || rule.disconnect.is_some();
    let may_be_records = rule.operation.as_deref().is_none_or(|named| named == PUT_RECORDS);
    if rule.shard.is_some() && may_be_records && has_other {
        return Err("records of one shard in PutRecords can only fail with an error".to_owned());
    }
    Ok(())
}

/// Carries a call out, with whatever is wanted to happen to it.
pub(crate) async fn around(call: &Call<'_>, action: &Action) -> Result<Reply, KinesisError> {
    let Some((fault, shard)) = find(call, action) else {
        return carry_out(call, action).await;
    };
    let is_subscription = matches!(action.run, crate::action::Run::Events(_));
    let breaks_later = is_subscription && fault.disconnect() == Some(BreakOff::After);
    if !breaks_later {
        sleep(fault.latency()).await;
    }
    if let Some(error) = error_of(&fault, call, shard) {
        return Err(error);
    }
    if fault.disconnect() == Some(BreakOff::Before) {
        return Ok(Reply::BrokenOff);
    }
    let reply = carry_out(call, action).await;
    match (fault.disconnect(), reply) {
        (Some(_), Ok(Reply::Events(subscription))) => {
            Ok(Reply::Breaking(subscription, fault.latency()))
        }
        // Whatever came of it, nobody learns.
        (Some(_), _) => Ok(Reply::BrokenOff),
        (None, reply) => reply,
    }
}

/// The records of a PutRecords that are wanted to fail, by their places in the request. Records
/// that are spread evenly have no shard before they are written.
pub(crate) fn failing_records(
    call: &Call<'_>,
    stream: &Stream,
    records: &[RoutedRecord],
) -> Vec<(usize, KinesisError)> {
    if !call.broker().faults().is_any() {
        return Vec::new();
    }
    let mut looked: Vec<(PartitionIndex, Option<Fault>)> = Vec::new();
    let mut failing = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let Some(index) = stream.place_by_key(record) else { continue };
        // A request counts once for each shard.
        let known = looked.iter().position(|(known, _)| *known == index);
        let known = known.unwrap_or_else(|| {
            looked.push((index, look(call, PUT_RECORDS, Some(stream), Some(index))));
            looked.len() - 1
        });
        let fault = looked.get(known).and_then(|(_, fault)| fault.as_ref());
        if let Some(error) = fault.and_then(|fault| error_of(fault, call, Some(index))) {
            failing.push((place, error));
        }
    }
    failing
}

/// What is wanted to happen to a call, and on behalf of which shard.
fn find(call: &Call<'_>, action: &Action) -> Option<(Fault, Option<PartitionIndex>)> {
    let stream = find_subject(call).map(|found| found.stream);
    if let Some(whole) = look(call, action.name, stream.as_deref(), None) {
        return Some((whole, None));
    }
    let shard = stream.as_ref().and_then(|stream| shard_of(call, action, stream));
    let part = shard.and_then(|shard| look(call, action.name, stream.as_deref(), Some(shard)));
    part.map(|fault| (fault, shard))
}

fn look(
    call: &Call<'_>,
    operation: &str,
    stream: Option<&Stream>,
    shard: Option<PartitionIndex>,
) -> Option<Fault> {
    let asked = AskedOf {
        dialect: FaultDialect::Kinesis,
        operation,
        stream: stream.map(|stream| stream.name.as_str()),
        shard: shard.map(PartitionIndex::as_u32),
        is_part: shard.is_some(),
    };
    call.broker().faults().look(&asked, call.now())
}

/// The one shard that a call is about.
fn shard_of(call: &Call<'_>, action: &Action, stream: &Arc<Stream>) -> Option<PartitionIndex> {
    if action.name == "PutRecord" {
        return stream.place_by_key(&routed_record(call, &call.input).ok()?);
    }
    if let Some(iterator) = call.input.text("ShardIterator") {
        let opened = ShardIterator::open(iterator, call.token_key(), call.now());
        return opened.ok().map(|iterator| iterator.shard);
    }
    let named = ["ShardId", "ShardToSplit", "ShardToMerge"];
    let text = named.into_iter().find_map(|member| call.input.text(member))?;
    ShardId::parse(text).ok().map(|shard| shard.0)
}

fn error_of(fault: &Fault, call: &Call<'_>, shard: Option<PartitionIndex>) -> Option<KinesisError> {
    let (name, message) = fault.error()?;
    // Checked when the rule was set.
    let kind = ErrorKind::named(name)?;
    if message.is_some() || kind == ErrorKind::InternalFailure {
        return Some(KinesisError::requested(kind, message));
    }
    let stream = find_subject(call).map(|found| found.stream);
    let stream = stream.as_ref().map(|stream| stream.name.as_str());
    Some(match (kind, stream, shard) {
        (ErrorKind::ProvisionedThroughputExceeded, Some(stream), Some(shard)) => {
            KinesisError::shard_rate_exceeded(ShardId(shard), stream, call.account())
        }
        (ErrorKind::LimitExceeded, stream, _) => {
            KinesisError::call_rate_exceeded(stream, call.account())
        }
        _ => KinesisError::requested(kind, Some("A fault on request.")),
    })
}

#[cfg(test)]
mod tests;
