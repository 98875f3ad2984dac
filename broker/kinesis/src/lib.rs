//! The Kinesis Data Streams dialect.
