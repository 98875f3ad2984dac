//! Producer ids; transactions will stand here too.

pub mod producer_ids;
