//! The LZ4 frame format, read straight into the output.
//!
//! ```text
//! 4 bytes   magic 0x184D2204, little-endian like all numbers here
//! 1 byte    FLG: version 01 | independent | block checksums | content size | content checksum
//!                | 0 | dictionary
//! 1 byte    BD: 0 | largest block (4: 64 KiB, 5: 256 KiB, 6: 1 MiB, 7: 4 MiB) | 0000
//! 0/8 bytes content size
//! 1 byte    header checksum: second byte of xxHash-32 from FLG on
//! blocks:   4 bytes length, top bit set if stored uncompressed; data; 0/4 bytes checksum
//! 4 bytes   0, the end mark
//! 0/4 bytes content checksum: xxHash-32 of the output
//! ```
//!
//! The block decoder is `lz4_flex`'s. The frame around it is our own because here all output is one
//! buffer: linked blocks look back into it, so no window is kept and nothing is copied twice; a
//! frame that ends without its end mark is an error; and a tiny frame that announces 4 MiB blocks
//! allocates for what its bytes can hold, not for what it announces.

use std::io::{self, Write};

use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::{Fault, reserve_within};
use crate::limits::KIB;

const MAGIC: u32 = 0x184D_2204;
/// Frames with these magics carry no content and are stepped over.
const SKIPPABLE_MAGICS: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;
/// How far back a linked block may refer.
const LOOK_BACK_BYTES: usize = 64 * KIB;
/// One byte of a compressed block makes at most 255 bytes of output.
const BLOCK_RATIO_MAX: usize = 255;
const STORED_UNCOMPRESSED: u32 = 1 << 31;

/// Appends one frame as Kafka's Java client can read it: it refuses linked blocks.
pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, output);
    encoder.write_all(input)?;
    encoder.finish().map(drop).map_err(io::Error::other)
}

/// Decompresses all frames of `input`, one after the other.
pub(super) fn decompress(input: &[u8], output_bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut input = Input(input);
    let mut output = Vec::new();
    while !input.0.is_empty() {
        let magic = input.u32()?;
        if SKIPPABLE_MAGICS.contains(&magic) {
            let length = input.u32()?;
            input.take(length)?;
        } else if magic == MAGIC {
            let frame = Frame::read(&mut input)?;
            frame.decompress(&mut input, &mut output, output_bytes_max)?;
        } else {
            return Err(Fault::Malformed);
        }
    }
    Ok(output)
}

/// What a frame's header says.
struct Frame {
    blocks_are_linked: bool,
    has_block_checksums: bool,
    has_content_checksum: bool,
    content_bytes: Option<u64>,
    block_bytes_max: usize,
}

impl Frame {
    fn read(input: &mut Input<'_>) -> Result<Frame, Fault> {
        let header_start = input.0;
        let flags = input.u8()?;
        let block_descriptor = input.u8()?;
        let is_version_1 = flags >> 6 == 1;
        let has_dictionary = flags & 0x01 != 0;
        let has_reserved_bits = flags & 0x02 != 0 || block_descriptor & 0x8f != 0;
        if !is_version_1 || has_dictionary || has_reserved_bits {
            return Err(Fault::Malformed);
        }
        let block_bytes_max = match block_descriptor >> 4 {
            4 => 64 * KIB,
            5 => 256 * KIB,
            6 => 1024 * KIB,
            7 => 4096 * KIB,
            _ => return Err(Fault::Malformed),
        };
        let content_bytes = match flags & 0x08 != 0 {
            true => Some(input.u64()?),
            false => None,
        };
        let header_bytes = header_start.len() - input.0.len();
        let header = header_start.get(..header_bytes).ok_or(Fault::Malformed)?;
        let [_, checksum, _, _] = XxHash32::oneshot(0, header).to_le_bytes();
        if input.u8()? != checksum {
            return Err(Fault::Malformed);
        }
        Ok(Frame {
            blocks_are_linked: flags & 0x20 == 0,
            has_block_checksums: flags & 0x10 != 0,
            has_content_checksum: flags & 0x04 != 0,
            content_bytes,
            block_bytes_max,
        })
    }

    fn decompress(
        &self,
        input: &mut Input<'_>,
        output: &mut Vec<u8>,
        output_bytes_max: usize,
    ) -> Result<(), Fault> {
        let frame_start = output.len();
        loop {
            let field = input.u32()?;
            if field == 0 {
                break;
            }
            let block = input.take(field & !STORED_UNCOMPRESSED)?;
            if block.len() > self.block_bytes_max {
                return Err(Fault::Malformed);
            }
            if self.has_block_checksums && input.u32()? != XxHash32::oneshot(0, block) {
                return Err(Fault::Malformed);
            }
            if field & STORED_UNCOMPRESSED == 0 {
                self.decompress_block(block, frame_start, output, output_bytes_max)?;
            } else if block.len() <= output_bytes_max - output.len() {
                reserve_within(output, block.len(), output_bytes_max);
                output.extend_from_slice(block);
            } else {
                return Err(Fault::OutputTooLarge);
            }
        }
        let content = output.get(frame_start..).ok_or(Fault::Malformed)?;
        let length_differs =
            self.content_bytes.is_some_and(|announced| announced != content.len() as u64);
        if length_differs
            || (self.has_content_checksum && input.u32()? != XxHash32::oneshot(0, content))
        {
            return Err(Fault::Malformed);
        }
        Ok(())
    }

    /// Decompresses one block onto the end of `output`.
    fn decompress_block(
        &self,
        block: &[u8],
        frame_start: usize,
        output: &mut Vec<u8>,
        output_bytes_max: usize,
    ) -> Result<(), Fault> {
        let start = output.len();
        let possible = self.block_bytes_max.min(block.len().saturating_mul(BLOCK_RATIO_MAX));
        let room = possible.min(output_bytes_max - start);
        reserve_within(output, room, output_bytes_max);
        output.resize(start + room, 0);
        let (before, target) = output.split_at_mut_checked(start).ok_or(Fault::Malformed)?;
        let done = if self.blocks_are_linked {
            let look_back_start = frame_start.max(start.saturating_sub(LOOK_BACK_BYTES));
            let look_back = before.get(look_back_start..).ok_or(Fault::Malformed)?;
            decompress_into_with_dict(block, target, look_back)
        } else {
            decompress_into(block, target)
        };
        match done {
            Ok(written) => {
                output.truncate(start + written);
                Ok(())
            }
            // The block may well be sound: it was refused the room to say what it has to say.
            Err(_) if possible > room => Err(Fault::OutputTooLarge),
            Err(_) => Err(Fault::Malformed),
        }
    }
}

/// The bytes not read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: u32) -> Result<&'a [u8], Fault> {
        let count = usize::try_from(count).map_err(|_| Fault::Malformed)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Fault::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }
}
