"""Writes the streams of this folder with the C codecs. How to run it: README.md."""

import gzip
import struct
import zlib

import lz4.frame
import snappy
import zstandard

TEXT = "".join(f"line {i} of the text\n" for i in range(4000)).encode()
HALF = len(TEXT) // 2


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


def xerial(*chunks):
    blocks = (snappy.compress(chunk) for chunk in chunks)
    return b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + b"".join(
        struct.pack(">i", len(block)) + block for block in blocks)


def lz4_frame(content, **options):
    return lz4.frame.compress(content, store_size=options.pop("store_size", False), **options)


write("raw.snappy", snappy.compress(TEXT))
write("xerial.snappy", xerial(TEXT[:HALF], TEXT[HALF:]))
write("xerial-joined.snappy", xerial(TEXT[:HALF]) + xerial(TEXT[HALF:]))

write("member.gzip", gzip.compress(TEXT, mtime=0))
write("members.gzip", gzip.compress(TEXT[:HALF], mtime=0) + gzip.compress(TEXT[HALF:], 1, mtime=0))

write("independent.lz4", lz4_frame(TEXT, block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX64KB))
write("linked.lz4", lz4_frame(TEXT, block_linked=True, block_size=lz4.frame.BLOCKSIZE_MAX64KB))
write("checksums-and-size.lz4", lz4_frame(TEXT, block_linked=True, content_checksum=True, block_checksum=True,
                                          store_size=True, block_size=lz4.frame.BLOCKSIZE_MAX64KB))
write("large-blocks.lz4", lz4_frame(TEXT, block_size=lz4.frame.BLOCKSIZE_MAX4MB))
write("frames.lz4", lz4_frame(TEXT[:HALF]) + struct.pack("<II", 0x184D2A53, 3) + b"any" + lz4_frame(TEXT[HALF:]))

write("sized.zstd", zstandard.ZstdCompressor(level=3).compress(TEXT))
stream = zstandard.ZstdCompressor(level=19, write_checksum=True).compressobj()
write("unsized-level-19.zstd", stream.compress(TEXT) + stream.flush())
write("frames.zstd", zstandard.ZstdCompressor(level=1).compress(TEXT[:HALF])
      + struct.pack("<II", 0x184D2A53, 3) + b"any" + zstandard.ZstdCompressor(level=9).compress(TEXT[HALF:]))

# Nobody needs such a window for so little text; a decoder would have to allocate it.
window = zstandard.ZstdCompressionParameters(window_log=27, compression_level=3, write_content_size=0)
stream = zstandard.ZstdCompressor(compression_params=window).compressobj()
write("window-128-mib.zstd", stream.compress(TEXT) + stream.flush())
