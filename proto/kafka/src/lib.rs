//! Kafka requests and responses as bytes, generated; no I/O.
