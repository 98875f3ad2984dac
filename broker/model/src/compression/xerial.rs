//! Snappy as Kafka's producers write it: a raw block, or blocks in snappy-java's framing.
//!
//! The framing is named after its author's domain, `org.xerial`. Snappy's own framing format is
//! another one and is not used with Kafka.
//!
//! ```text
//! 82 53 4e 41 50 50 59 00   magic, "\x82SNAPPY\0"
//! 4 bytes                   version, 1
//! 4 bytes                   lowest version that can read it, 1
//! then blocks:  4 bytes big-endian length, that many bytes of a raw snappy block
//! ```
//!
//! A raw block begins with its decompressed length as a varint. No raw block begins with the
//! framing's magic: as a length it would have to be followed by a copy from before the start.

use snap::raw::{Decoder, decompress_len};

use super::{Fault, reserve_within};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Magic and two versions.
const STREAM_HEADER_BYTES: usize = 16;

/// Decompresses a raw block or a xerial stream, whichever `input` is.
pub(super) fn decompress(input: &[u8], output_bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut output = Vec::new();
    if !input.starts_with(&MAGIC) {
        append_block(input, &mut output, output_bytes_max)?;
        return Ok(output);
    }
    let mut rest = input;
    while !rest.is_empty() {
        if rest.starts_with(&MAGIC) {
            // Also in the middle: snappy-java reads streams that were joined.
            rest = rest.get(STREAM_HEADER_BYTES..).ok_or(Fault::Malformed)?;
            continue;
        }
        let (length, after) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Fault::Malformed)?;
        let (block, after) = after.split_at_checked(length).ok_or(Fault::Malformed)?;
        append_block(block, &mut output, output_bytes_max)?;
        rest = after;
    }
    Ok(output)
}

/// Decompresses one raw block onto the end of `output`.
fn append_block(block: &[u8], output: &mut Vec<u8>, output_bytes_max: usize) -> Result<(), Fault> {
    let length = decompress_len(block).map_err(|_| Fault::Malformed)?;
    let start = output.len();
    if length > output_bytes_max - start {
        return Err(Fault::OutputTooLarge);
    }
    reserve_within(output, length, output_bytes_max);
    output.resize(start + length, 0);
    let room = output.get_mut(start..).ok_or(Fault::Malformed)?;
    let written = Decoder::new().decompress(block, room).map_err(|_| Fault::Malformed)?;
    if written == length { Ok(()) } else { Err(Fault::Malformed) }
}
