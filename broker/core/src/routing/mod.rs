//! Which partition a record goes to.

pub mod route;
