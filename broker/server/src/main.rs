//! The weir event broker.

fn main() {}
