//! The limits that several crates share, each with its unit, and the relations between them.
//!
//! Whatever grows with what a client sends has a limit here or beside its one user. The `const`
//! block at the end states what must hold between limits: a change that breaks it does not compile.

/// One KiB, in bytes.
pub const KIB: usize = 1 << 10;
/// One MiB, in bytes.
pub const MIB: usize = 1 << 20;

/// Largest request frame, in bytes; a longer one closes the connection
/// (Kafka's `socket.request.max.bytes`).
pub const FRAME_BYTES_MAX: usize = 100 * MIB;
/// Largest request frame before authentication, where that is on, in bytes.
pub const FRAME_BYTES_MAX_UNAUTHENTICATED: usize = MIB;
/// A frame above this many bytes is admitted only when nothing else of its connection waits, and
/// read on beyond them only when no other such frame is.
pub const FRAME_BYTES_LARGE: usize = 32 * MIB;
/// Bytes of all requests that the broker holds at one time.
pub const REQUEST_BYTES_BUDGET: usize = 256 * MIB;
/// Request bytes of one connection that may be unanswered before weir stops reading from it.
pub const CONNECTION_UNANSWERED_BYTES_MAX: usize = 32 * MIB;
/// Requests of one connection that may be unanswered before weir stops reading from it.
pub const CONNECTION_UNANSWERED_REQUESTS_MAX: usize = 16;

/// Largest record batch, header included, in bytes. Streams have a lower limit of their own
/// (`max.message.bytes`, [`MESSAGE_BYTES_MAX_DEFAULT`]); this one bounds what a log scan believes.
pub const BATCH_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Kafka's default for `max.message.bytes`: largest batch of a stream as sent (compressed), in
/// bytes.
pub const MESSAGE_BYTES_MAX_DEFAULT: usize = MIB + 12;
/// Batches that weir builds itself (Kinesis, gRPC) hold at most this many bytes unless one record
/// alone is larger.
pub const BUILT_BATCH_BYTES_MAX: usize = 512 * KIB;

/// Most bytes that one batch may decompress to.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * MIB;
/// Most bytes of output for one byte of compressed input …
pub const DECOMPRESSED_RATIO_MAX: usize = 200;
/// … but always at least this many bytes: a few KiB may honestly be a full batch of zeros.
pub const DECOMPRESSED_BYTES_ALWAYS: usize = 4 * MIB;
/// Largest zstd window, as a power of two (8 MiB). Levels up to 19 stay within it.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Bytes of decoded batches that the broker keeps for readers that decode (Kinesis, console).
pub const DECODED_CACHE_BYTES_MAX: usize = 16 * MIB;

/// Bytes of one partition that may wait for their flush.
pub const UNFLUSHED_BYTES_MAX_PARTITION: usize = 64 * MIB;
/// Bytes of all partitions that may wait for their flush.
pub const UNFLUSHED_BYTES_MAX: usize = 512 * MIB;

/// Most partitions of one stream.
pub const STREAM_PARTITIONS_MAX: usize = 10_000;
/// Most partitions of one stream with those that splits and merges have closed: they stay in its
/// row, which each reshard writes whole.
pub const STREAM_LINEAGE_MAX: usize = 10 * STREAM_PARTITIONS_MAX;

/// How much a reader is willing to decompress.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Most bytes of output.
    pub output_bytes_max: usize,
    /// Most bytes of output for one byte of input.
    pub output_ratio_max: usize,
    /// Output that is granted whatever the ratio, in bytes.
    pub output_bytes_always: usize,
}

impl Default for DecodeLimits {
    fn default() -> DecodeLimits {
        DecodeLimits {
            output_bytes_max: DECOMPRESSED_BYTES_MAX,
            output_ratio_max: DECOMPRESSED_RATIO_MAX,
            output_bytes_always: DECOMPRESSED_BYTES_ALWAYS,
        }
    }
}

impl DecodeLimits {
    /// Most bytes of output that this many bytes of input may have.
    pub fn output_bytes_max_for(&self, input_bytes: usize) -> usize {
        input_bytes
            .saturating_mul(self.output_ratio_max)
            .max(self.output_bytes_always)
            .min(self.output_bytes_max)
    }
}

const _: () = {
    assert!(FRAME_BYTES_MAX_UNAUTHENTICATED <= FRAME_BYTES_LARGE);
    assert!(FRAME_BYTES_LARGE <= FRAME_BYTES_MAX);
    // Else a frame of the largest size would leave too little of the budget for the others.
    assert!(FRAME_BYTES_MAX <= REQUEST_BYTES_BUDGET / 2);
    assert!(CONNECTION_UNANSWERED_BYTES_MAX >= FRAME_BYTES_LARGE);
    // A batch's length travels as a signed 32-bit number.
    assert!(BATCH_BYTES_MAX <= i32::MAX as usize);
    assert!(BATCH_BYTES_MAX <= FRAME_BYTES_MAX);
    assert!(MESSAGE_BYTES_MAX_DEFAULT <= BATCH_BYTES_MAX);
    assert!(BUILT_BATCH_BYTES_MAX <= MESSAGE_BYTES_MAX_DEFAULT);
    assert!(DECOMPRESSED_BYTES_ALWAYS <= DECOMPRESSED_BYTES_MAX);
    assert!(MESSAGE_BYTES_MAX_DEFAULT <= DECOMPRESSED_BYTES_ALWAYS);
    assert!(1 << ZSTD_WINDOW_LOG_MAX <= DECOMPRESSED_BYTES_MAX);
    assert!(UNFLUSHED_BYTES_MAX_PARTITION <= UNFLUSHED_BYTES_MAX);
    // One full request into one partition must not block for ever on the partition's own limit.
    assert!(FRAME_BYTES_LARGE <= UNFLUSHED_BYTES_MAX_PARTITION);
};
