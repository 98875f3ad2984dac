//! Client side of weir: what talks to a running broker from outside.
//!
//! For now that is the load tool behind `weir bench` ([`bench`]), the question behind `weir health`
//! ([`health`]), and what both need: one HTTP/1.1 connection ([`http`]) and a look at another
//! process through `/proc` ([`process`]). A Rust client library joins them later.

#![forbid(unsafe_code)]

pub mod bench;
pub mod health;
pub mod http;
pub mod process;
