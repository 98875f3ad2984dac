"""Reads weir's segment files as Kafka batches of format 2, for tests that look at what lies on
disk.

Only the header of each batch, the 61 bytes before its records:

    base offset 8 | length 4 | leader epoch 4 | magic 1 | CRC 4 | attributes 2 | last offset delta
    4 | base timestamp 8 | max timestamp 8 | producer id 8 | producer epoch 2 | base sequence 4 |
    count 4
"""

import base64
import struct
import typing

HEADER = struct.Struct(">qiibIhiqqqhii")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


class Batch(typing.NamedTuple):
    partition: int
    base_offset: int
    codec: str
    producer_id: int
    record_count: int


def partition_directories(data_dir, topic_id):
    """The directories of the stream whose Kafka topic id is the base64 text `topic_id`, by
    partition.
    """
    # librdkafka writes it in the standard alphabet, Kafka in the one for URLs.
    wanted = base64.b64decode(topic_id.translate(str.maketrans("-_", "+/")) + "==").hex()
    found = {}
    for directory in (data_dir / "logs").iterdir():
        stream, _, partition = directory.name.rpartition("-")
        if stream.replace("-", "") == wanted:
            found[int(partition)] = directory
    if not found:
        raise FileNotFoundError(
            f"no directory for topic id {topic_id} ({wanted}) under {data_dir}/logs"
        )
    return dict(sorted(found.items()))


def batches(data_dir, topic_id):
    """Every batch of a stream, partition by partition in the order of their offsets."""
    for partition, directory in partition_directories(data_dir, topic_id).items():
        for segment in sorted(directory.glob("*.log")):
            yield from batches_of_segment(partition, segment.read_bytes())


def batches_of_segment(partition, data):
    position = 0
    while position + HEADER.size <= len(data):
        fields = HEADER.unpack_from(data, position)
        base_offset, length, _, magic, _, attributes = fields[:6]
        if length == 0:
            return  # space reserved behind the last batch of an active segment
        if magic != 2:
            raise ValueError(
                f"magic {magic} at byte {position} of a segment of partition {partition}"
            )
        yield Batch(partition, base_offset, CODECS[attributes & 7], fields[9], fields[12])
        position += 12 + length
