//! Record formats of Kafka's internal topics and of consumer-protocol metadata.
