//! Large buffers go back to the system when they are freed.
//!
//! A frame of up to 100 MiB is read into one buffer. The C library's allocator maps such a buffer
//! by itself at first and unmaps it when it is freed; but each time it does so it raises the size
//! from which it maps, up to 32 MiB. From then on large buffers are cut from its heaps, one per
//! thread, where a small buffer that is still in use keeps the room of the large ones before it:
//! clients that sent 31 MiB frames, closed and came again made 500 MB of a budget of 256 MiB, and
//! no end. With a fixed size that does not happen: what the budget counts is what is resident
//! (docs/adr/0018).
//!
//! Source: mallopt(3), `M_MMAP_THRESHOLD`.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "a setting of the C library has no safe interface")
)]

/// Buffers of this many bytes and more are mapped by themselves. Above the batches that producers
/// send by default (16 KB of the Java client, 1 MB of librdkafka), for which a mapping and its page
/// faults would be dear.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: std::ffi::c_int = 1 << 20;

/// Bytes that a heap keeps free at its end, for the next batches.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const FREE_AT_END_BYTES_MAX: std::ffi::c_int = 4 << 20;

/// Makes the allocator give large buffers back. Acts on the whole process; to be called while it
/// has one thread. Elsewhere than with glibc there is nothing to do.
pub fn give_back_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both are settings that `mallopt` documents, with values in its range, and no other
    // thread runs yet that could allocate meanwhile.
    let taken = unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN) == 1
            && libc::mallopt(libc::M_TRIM_THRESHOLD, FREE_AT_END_BYTES_MAX) == 1
    };
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    debug_assert!(taken, "glibc takes these values");
}
