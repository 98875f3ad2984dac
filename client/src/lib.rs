//! Client side of weir: the bench tool and, later, the Rust client library.
