//! Which partition a record goes to, and what becomes of that by a reshard.

pub mod reshard;
pub mod route;
