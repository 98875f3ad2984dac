//! Generates the Kafka codec from the message definitions of a pinned release.

fn main() {}
