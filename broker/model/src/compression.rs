//! The codecs of record batches, with a hard limit on what decompression may produce.
//!
//! | bits | codec | what producers write | what weir writes |
//! |---|---|---|---|
//! | 0 | none | | |
//! | 1 | gzip | one or more members (RFC 1952) | one member, level 6 |
//! | 2 | snappy | raw blocks (librdkafka) or `xerial` framing (Java) | one raw block |
//! | 3 | lz4 | the `lz4_frame` format | one frame, independent blocks of 64 KiB |
//! | 4 | zstd | one or more frames (RFC 8878) | one frame, level 3 |
//!
//! A compressed batch is a promise by a stranger. So output grows in steps while it is produced
//! and stops at the limit; no length that the input claims is believed before it is checked against
//! that limit. Besides its output a decoder holds at most a window (zstd: 8 MiB).

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::limits::{KIB, ZSTD_WINDOW_LOG_MAX};

mod lz4_frame;
mod xerial;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// Deflate in gzip members.
    Gzip,
    /// Snappy, raw or in Java's xerial framing.
    Snappy,
    /// LZ4 in its frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// Every codec, in the order of their bits.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with this number in a batch's attributes; none for 5 and above.
    pub const fn from_bits(bits: u8) -> Option<Codec> {
        match bits {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// The codec's number in a batch's attributes.
    pub const fn bits(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The codec's name in Kafka's `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Why bytes could not be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionError {
    /// The output would exceed the caller's limit.
    OutputTooLarge {
        /// The limit, in bytes.
        output_bytes_max: usize,
    },
    /// The bytes are not what this codec writes, or are cut short.
    Malformed(Codec),
}

impl fmt::Display for CompressionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressionError::OutputTooLarge { output_bytes_max } => {
                write!(out, "decompresses to more than {output_bytes_max} bytes")
            }
            CompressionError::Malformed(codec) => write!(out, "malformed {codec} data"),
        }
    }
}

impl std::error::Error for CompressionError {}

const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// A codec, and how hard it tries where it has levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// Deflate in a gzip member.
    Gzip {
        /// 1 to 9.
        level: u32,
    },
    /// Snappy.
    Snappy,
    /// LZ4, whose encoder here has one level.
    Lz4,
    /// Zstandard.
    Zstd {
        /// At most 22; negative ones are faster still than 1.
        level: i32,
    },
}

impl Compression {
    /// The codec at the level that weir uses where nobody asks for another.
    pub const fn of(codec: Codec) -> Compression {
        match codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip { level: GZIP_LEVEL },
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd { level: ZSTD_LEVEL },
        }
    }

    /// The codec.
    pub const fn codec(self) -> Codec {
        match self {
            Compression::None => Codec::None,
            Compression::Gzip { .. } => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd { .. } => Codec::Zstd,
        }
    }

    /// Appends the compressed form of `input` to `output`.
    pub fn compress(self, input: &[u8], output: &mut Vec<u8>) {
        let done = match self {
            Compression::None => output.write_all(input),
            Compression::Gzip { level } => gzip(input, level, output),
            Compression::Snappy => snappy(input, output),
            Compression::Lz4 => lz4_frame::compress(input, output),
            Compression::Zstd { level } => zstandard(input, level, output),
        };
        // An encoder fails when its writer does or its room ends, and a Vec has neither fault.
        done.expect("compressing memory into memory does not fail");
    }
}

/// Appends the compressed form of `input` to `output`, at the codec's usual level.
pub fn compress(codec: Codec, input: &[u8], output: &mut Vec<u8>) {
    Compression::of(codec).compress(input, output);
}

fn gzip(input: &[u8], level: u32, output: &mut Vec<u8>) -> io::Result<()> {
    let level = flate2::Compression::new(level);
    let mut encoder = flate2::write::GzEncoder::new(output, level);
    encoder.write_all(input)?;
    encoder.finish().map(drop)
}

fn snappy(input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    let start = output.len();
    output.resize(start + snap::raw::max_compress_len(input.len()), 0);
    let room = output.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Encoder::new().compress(input, room)?;
    output.truncate(start + written);
    Ok(())
}

fn zstandard(input: &[u8], level: i32, output: &mut Vec<u8>) -> io::Result<()> {
    // In one piece, not as a stream, so that the frame tells readers its size.
    output.extend_from_slice(&zstd::bulk::compress(input, level)?);
    Ok(())
}

/// Decompresses `input` to at most `output_bytes_max` bytes; [`Codec::None`] returns the same bytes
/// without a copy (and without a limit, since nothing grows).
pub fn decompress(
    codec: Codec,
    input: &Bytes,
    output_bytes_max: usize,
) -> Result<Bytes, CompressionError> {
    let output = match codec {
        Codec::None => return Ok(input.clone()),
        Codec::Gzip => read_within(
            flate2::bufread::MultiGzDecoder::new(&input[..]),
            input.len(),
            output_bytes_max,
        ),
        Codec::Snappy => xerial::decompress(input, output_bytes_max),
        Codec::Lz4 => lz4_frame::decompress(input, output_bytes_max),
        Codec::Zstd => unzstd(input, output_bytes_max),
    };
    match output {
        Ok(output) => Ok(Bytes::from(output)),
        Err(Fault::OutputTooLarge) => Err(CompressionError::OutputTooLarge { output_bytes_max }),
        Err(Fault::Malformed) => Err(CompressionError::Malformed(codec)),
    }
}

/// What stopped a decoder; [`decompress`] adds the codec and the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    OutputTooLarge,
    Malformed,
}

fn unzstd(input: &[u8], output_bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)
        .and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Ok(decoder)
        })
        .map_err(|_| Fault::Malformed)?;
    read_within(&mut decoder, input.len(), output_bytes_max)
}

/// Reads a decoder to its end. The buffer starts at a guess of four times the input and doubles,
/// so at no time is more allocated than twice of what was really produced, nor than the limit.
fn read_within(
    mut decoder: impl Read,
    input_bytes: usize,
    output_bytes_max: usize,
) -> Result<Vec<u8>, Fault> {
    let mut output = Vec::new();
    let mut step = input_bytes.saturating_mul(4).max(4 * KIB);
    loop {
        let room = step.min(output_bytes_max - output.len());
        output.reserve_exact(room);
        let read = decoder
            .by_ref()
            .take(room as u64)
            .read_to_end(&mut output)
            .map_err(|_| Fault::Malformed)?;
        if read < room {
            return Ok(output);
        }
        if output.len() == output_bytes_max {
            return match decoder.read(&mut [0]) {
                Ok(0) => Ok(output),
                Ok(_) => Err(Fault::OutputTooLarge),
                Err(_) => Err(Fault::Malformed),
            };
        }
        step = output.len();
    }
}

/// Makes room for `additional` bytes that are known to stay within the limit. Doubles like
/// `reserve` does, so that growing stays cheap, but never beyond the limit.
fn reserve_within(output: &mut Vec<u8>, additional: usize, output_bytes_max: usize) {
    if output.capacity() - output.len() < additional {
        let room = additional.max(output.len()).min(output_bytes_max - output.len());
        output.reserve_exact(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MIB;
    use crate::random::{Random, SeededRandom};

    const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn compressed(codec: Codec, input: &[u8]) -> Bytes {
        let mut output = Vec::new();
        compress(codec, input, &mut output);
        Bytes::from(output)
    }

    /// Bytes that do not compress.
    fn noise(count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        SeededRandom::new(1).fill(&mut bytes);
        bytes
    }

    #[test]
    fn every_codec_returns_what_it_was_given() {
        for input in [
            Vec::new(),
            b"a".to_vec(),
            vec![0; 3 * MIB],
            noise(300_000),
            b"abcdefgh".repeat(50_000),
        ] {
            for codec in Codec::ALL {
                let output = decompress(codec, &compressed(codec, &input), input.len());
                assert!(
                    output.is_ok_and(|output| output == input),
                    "{codec}, {} bytes",
                    input.len()
                );
            }
        }
    }

    #[test]
    fn no_codec_returns_the_same_bytes_without_a_copy() {
        let input = Bytes::from_static(b"records");
        let output = decompress(Codec::None, &input, 0).expect("nothing to do");
        assert_eq!(output.as_ptr(), input.as_ptr());
    }

    #[test]
    fn compress_appends() {
        for codec in Codec::ALL {
            let mut output = b"header".to_vec();
            compress(codec, b"records", &mut output);
            let stream = Bytes::from(output).slice(6..);
            let records = decompress(codec, &stream, KIB);
            assert_eq!(records.as_deref(), Ok(&b"records"[..]), "{codec}");
        }
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        let zeros = vec![0; 32 * MIB];
        for codec in COMPRESSED {
            let bomb = compressed(codec, &zeros);
            for output_bytes_max in [0, 1, 1000, MIB, 32 * MIB - 1] {
                assert_eq!(
                    decompress(codec, &bomb, output_bytes_max),
                    Err(CompressionError::OutputTooLarge { output_bytes_max }),
                    "{codec}"
                );
            }
        }
    }

    #[test]
    fn a_decoder_never_allocates_beyond_the_limit() {
        // Odd on purpose: doubling would pass it.
        let limit = 5 * MIB + 13;
        let zeros = vec![0; limit];
        let gzip = compressed(Codec::Gzip, &zeros);
        let decoder = flate2::bufread::MultiGzDecoder::new(&gzip[..]);
        for output in [
            read_within(decoder, gzip.len(), limit),
            xerial::decompress(&compressed(Codec::Snappy, &zeros), limit),
            lz4_frame::decompress(&compressed(Codec::Lz4, &zeros), limit),
            unzstd(&compressed(Codec::Zstd, &zeros), limit),
        ] {
            let output = output.expect("fits exactly");
            assert_eq!(output.len(), limit);
            assert!(output.capacity() <= limit, "{}", output.capacity());
        }
    }

    #[test]
    fn a_cut_or_damaged_stream_is_an_error_or_other_bytes_but_never_a_panic() {
        let input = [b"some records, some records ".repeat(20), noise(100)].concat();
        for codec in COMPRESSED {
            let stream = compressed(codec, &input);
            for length in 0..stream.len() {
                let output = decompress(codec, &stream.slice(..length), MIB);
                assert!(
                    output.is_err() || length == 0,
                    "{codec} cut to {length} bytes reads as whole"
                );
            }
            for bit in 0..stream.len() * 8 {
                let mut damaged = stream.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(output) = decompress(codec, &Bytes::from(damaged), MIB) {
                    assert!(output.len() <= MIB, "{codec}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn a_snappy_block_that_claims_4_gib_is_refused_before_it_is_believed() {
        let claim = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert_eq!(
            decompress(Codec::Snappy, &claim, MIB),
            Err(CompressionError::OutputTooLarge { output_bytes_max: MIB })
        );
        let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        framed.extend_from_slice(&[0xff; 4]);
        assert_eq!(
            decompress(Codec::Snappy, &Bytes::from(framed), MIB),
            Err(CompressionError::Malformed(Codec::Snappy))
        );
    }

    #[test]
    fn codecs_have_kafkas_numbers_and_names() {
        for (codec, bits, name) in [
            (Codec::None, 0, "none"),
            (Codec::Gzip, 1, "gzip"),
            (Codec::Snappy, 2, "snappy"),
            (Codec::Lz4, 3, "lz4"),
            (Codec::Zstd, 4, "zstd"),
        ] {
            assert_eq!(Codec::from_bits(bits), Some(codec));
            assert_eq!((codec.bits(), codec.name()), (bits, name));
        }
        assert_eq!(Codec::from_bits(5), None);
    }
}
