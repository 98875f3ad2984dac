//! DisableEnhancedMonitoring: gives up figures of a stream's shards.
//!
//! Inputs, answer: as EnableEnhancedMonitoring's. Figures that were not asked for do not matter.

use weir_core::stream::monitoring::MetricsChange;

use crate::action::enable_enhanced_monitoring::{MEMBERS, change_metrics};
use crate::action::{Action, Run};
use crate::call_rates::CallRate;

pub(super) static ACTION: Action = Action {
    name: "DisableEnhancedMonitoring",
    members: &MEMBERS,
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(change_metrics(call, MetricsChange::Disable))),
};
