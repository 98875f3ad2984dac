//! DecreaseStreamRetentionPeriod: makes a stream keep its records for a shorter time.
//!
//! Inputs: the stream, `RetentionPeriodHours` (24 to 8,760, and not above what holds).
//!
//! Behaviour: as IncreaseStreamRetentionPeriod's. Records that are older than the new retention go
//! within a second.

use weir_core::stream::retention::RetentionChange;

use crate::action::increase_stream_retention_period::{MEMBERS, change_retention};
use crate::action::{Action, Run};
use crate::call_rates::CallRate;

pub(super) static ACTION: Action = Action {
    name: "DecreaseStreamRetentionPeriod",
    members: &MEMBERS,
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(change_retention(call, RetentionChange::Decrease))),
};
