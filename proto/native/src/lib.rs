//! weir's native API: the messages, clients and servers of `weir.v1`.
//!
//! The definitions in `proto/weir/v1/` say what each message means, with units and limits; the
//! Rust of [`v1`] is generated from them by `weir-native-codegen` and committed.

#![forbid(unsafe_code)]

pub mod status_detail;

/// Version 1 of the API: it grows, and what is there keeps its meaning.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v1 {
    include!("generated/weir.v1.rs");
}

/// The definitions as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("generated/weir.v1.bin");
