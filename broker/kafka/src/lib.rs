//! The Kafka dialect.
