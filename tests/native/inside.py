"""What the native API shows of the inside of a stream, held against the files on the disk.

    segments   each segment with its files, offsets and times
    batches    each batch's header, position, checksum and bytes, of every codec and dialect
    records    each record where it lies in its batch
    indexes    the entries of a finished segment's indexes
    damage     a flipped bit and a destroyed header are shown as such, and what follows as well
    buckets    a shard's buckets, full and in debt
    refusals   the status and the detail of what cannot be
"""

import pathlib
import random
import struct
import sys
import tempfile
import time

import confluent_kafka
import grpc
from api import Native

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness import aws, segments
from harness.cases import Cases
from harness.weir_process import Weir

HEADER_FIELDS = (
    "base_offset batch_length leader_epoch magic crc attributes last_offset_delta "
    "base_timestamp_ms max_timestamp_ms producer_id producer_epoch base_sequence record_count"
).split()
VALUES = {}


def crc32c(data, table=[]):
    """The checksum of batches, worked out here on its own."""
    if not table:
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
            table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def directory_of(weir, native, stream, partition=0):
    stream_id = native.DescribeStream(name=stream).stream.id
    return weir.data_dir / "logs" / f"{stream_id}-{partition}"


def fill(weir, native, stream):
    """A stream of several segments of 1 MiB, with batches of every codec."""
    native.CreateStream(name=stream, partitions=1, settings={"segment.bytes": str(1 << 20)})
    written, chance = VALUES.setdefault(stream, []), random.Random(1)
    for number in range(5):
        for codec in segments.CODECS:
            producer = confluent_kafka.Producer({
                "bootstrap.servers": weir.kafka, "compression.type": codec,
                "enable.idempotence": True, "linger.ms": 20, "batch.size": 20_000,
            })  # fmt: skip
            for index in range(200):
                # It compresses a little: each codec is used, and the segments fill.
                noise = chance.randbytes(700) + bytes(100)
                key = f"{codec}-{index}".encode()
                producer.produce(stream, noise, key, headers=[("n", b"%d" % index)])
                written.append((key, noise))
            assert producer.flush(30) == 0
    native.Append(stream=stream, records=[{"key": b"last", "value": b"from gRPC"}])
    written.append((b"last", b"from gRPC"))


def all_segments(native, stream, **members):
    found, from_offset = [], 0
    while from_offset is not None:
        page = native.ListSegments(
            stream=stream, partition=0, from_offset=from_offset, **members
        )
        found.extend(page.segments)
        from_offset = page.next_offset if page.HasField("next_offset") else None
    return found


def all_batches(native, stream, segment, **members):
    found, position = [], 0
    while position is not None:
        page = native.ListBatches(
            stream=stream, partition=0, segment=segment, position=position, **members
        )
        found.extend(page.batches)
        position = page.next_position if page.HasField("next_position") else None
    return found


def state_name(message):
    return message.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[message.state].name


def segments_shown(weir, native):
    fill(weir, native, "inside")
    directory = directory_of(weir, native, "inside")
    deadline = time.monotonic() + 10
    while True:
        # What is written beside a full segment comes a moment later.
        found = all_segments(native, "inside", count_max=1)
        if time.monotonic() > deadline or all(
            state_name(segment) == "STATE_SEALED" for segment in found[:-1]
        ):
            break
        time.sleep(0.1)
    assert found == all_segments(native, "inside"), "pages of one are not the whole"
    states = [state_name(segment) for segment in found]
    wanted = ["STATE_SEALED"] * (len(found) - 1) + ["STATE_ACTIVE"]
    assert len(found) > 2 and states == wanted, states
    for segment, following in zip(found, [*found[1:], None]):
        paths = directory.glob(f"{segment.base_offset:020}.*")
        on_disk = {path.name: path.stat().st_size for path in paths}
        shown = {file.name: file.bytes for file in segment.files}
        assert shown == on_disk and segment.files[0].name.endswith(".log"), (shown, on_disk)
        assert segment.readable_bytes == segment.bytes
        if following is not None:
            assert segment.next_offset == following.base_offset
            assert segment.files[0].bytes == segment.bytes, segment
            assert {name.rsplit(".")[-1] for name in shown} >= {"log", "index", "timeindex", "seal"}
        assert segment.first_timestamp_ms <= segment.max_timestamp_ms
    count = len(VALUES["inside"])
    assert found[-1].next_offset == count == sum(segment.record_count for segment in found)
    return f"{len(found)} segments, {count} records"


def batches(weir, native):
    directory, seen = directory_of(weir, native, "inside"), []
    for segment in all_segments(native, "inside"):
        data = (directory / f"{segment.base_offset:020}.log").read_bytes()[: segment.bytes]
        found = all_batches(native, "inside", segment.base_offset, count_max=7)
        assert [batch.position for batch in found] == [
            sum(batch.bytes for batch in found[:number]) for number in range(len(found))
        ]
        assert sum(batch.bytes for batch in found) == len(data)
        for batch in found:
            raw = data[batch.position : batch.position + batch.bytes]
            fields = [getattr(batch.header, name) for name in HEADER_FIELDS]
            assert list(segments.HEADER.unpack_from(raw)) == fields, batch
            holds = crc32c(raw[21:]) == batch.header.crc
            assert holds and batch.crc_holds and not batch.fault and not batch.is_trimmed, batch
            assert batch.header.codec == segments.CODECS[batch.header.attributes & 7]
            seen.append(batch.header)
    codecs = {header.codec for header in seen}
    assert codecs == set(segments.CODECS), codecs
    assert sum(header.record_count for header in seen) == len(VALUES["inside"])
    idempotent = {header.producer_id for header in seen[:-1]}
    assert min(idempotent) >= 0 and seen[-1].producer_id == -1
    return f"{len(seen)} batches of {len(codecs)} codecs, as the files have them"


def records(weir, native):
    directory, found, offset = directory_of(weir, native, "inside"), [], 0
    while offset < len(VALUES["inside"]):
        answer = native.ReadBatch(
            stream="inside", partition=0, offset=offset, records_max=1000, bytes_max=1 << 20
        )
        assert not answer.records_fault, answer
        header, place = answer.batch.header, answer.at
        with (directory / f"{place.segment:020}.log").open("rb") as file:
            file.seek(place.position)
            assert file.read(answer.batch.bytes) == answer.raw
        end = 0
        for number, record in enumerate(answer.records):
            assert record.offset == header.base_offset + number and record.position == end
            end = record.position + record.bytes
            if header.codec == "none":
                at = 61 + record.position
                assert record.value in answer.raw[at : at + record.bytes]
            assert (record.key_bytes, record.value_bytes) == (len(record.key), len(record.value))
            found.append((record.key, record.value))
        assert end == answer.records_bytes and len(answer.records) == header.record_count
        part = native.ReadBatch(
            stream="inside", partition=0, at={"segment": place.segment, "position": place.position},
            records_skipped=1, records_max=1, bytes_from=5, bytes_max=9,
        )  # fmt: skip
        assert list(part.records) == list(answer.records[1:2]) and part.raw == answer.raw[5:14]
        offset = header.base_offset + header.last_offset_delta + 1
    assert found == VALUES["inside"]
    return f"{len(found)} records, each at its place"


def indexes(weir, native):
    first = all_segments(native, "inside")[0]
    directory = directory_of(weir, native, "inside")
    base = first.base_offset
    members = {"stream": "inside", "partition": 0, "segment": base}
    offsets = native.ListIndexEntries(index="INDEX_OFFSET", **members)
    stored = struct.iter_unpack(">II", (directory / f"{base:020}.index").read_bytes())
    wanted = [(base + relative, position) for relative, position in stored]
    assert [(entry.offset, entry.position) for entry in offsets.entries] == wanted
    assert state_name(offsets) == "STATE_STORED" and offsets.entry_count == len(wanted) > 5
    known = {batch.position: batch for batch in all_batches(native, "inside", base)}
    for entry in offsets.entries:
        header = known[entry.position].header
        assert header.base_offset + header.last_offset_delta == entry.offset, (entry, header)
    times = native.ListIndexEntries(index="INDEX_TIME", **members)
    stored = struct.iter_unpack(">qI", (directory / f"{base:020}.timeindex").read_bytes())
    assert [(entry.timestamp_ms, entry.offset) for entry in times.entries] == [
        (timestamp, base + relative) for timestamp, relative in stored
    ]
    page = native.ListIndexEntries(index="INDEX_OFFSET", skipped=2, count_max=2, **members)
    assert list(page.entries) == list(offsets.entries[2:4])
    active = native.ListIndexEntries(
        **{**members, "segment": all_segments(native, "inside")[-1].base_offset}
    )
    assert state_name(active) == "STATE_IN_MEMORY", active
    return f"{offsets.entry_count} entries of offsets, {times.entry_count} of times"


def damage(weir, native):
    first = all_segments(native, "inside")[0]
    before = all_batches(native, "inside", first.base_offset)
    entries = native.ListIndexEntries(stream="inside", partition=0, segment=first.base_offset)
    flipped, destroyed = before[3], before[10]
    after = min(e.position for e in entries.entries if e.position > destroyed.position)
    path = directory_of(weir, native, "inside") / f"{first.base_offset:020}.log"
    weir.stop()
    with path.open("r+b") as file:
        file.seek(flipped.position + flipped.bytes - 5)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))
        file.seek(destroyed.position + 8)
        file.write(b"\xff" * 13)
    weir.start()
    with Native(weir.grpc) as native:
        found = all_batches(native, "inside", first.base_offset)
        gone = {flipped.position, *range(destroyed.position, after)}
        # As text, since another connection has other classes.
        intact = [str(batch) for batch in found if not batch.fault]
        assert intact == [str(batch) for batch in before if batch.position not in gone]
        faults = {b.position: b for b in found if b.fault}
        assert set(faults) == {flipped.position, destroyed.position}, faults
        bad, rubble = faults[flipped.position], faults[destroyed.position]
        assert "crc" in bad.fault and not bad.crc_holds, bad
        assert str(bad.header) == str(flipped.header), bad
        assert rubble.bytes == after - destroyed.position and rubble.header.magic == -1, rubble
        seen = native.ReadBatch(
            stream="inside", partition=0, records_max=10, bytes_max=1000,
            at={"segment": first.base_offset, "position": destroyed.position},
        )  # fmt: skip
        assert seen.raw == path.read_bytes()[destroyed.position :][:1000] and seen.records_fault
        held = native.ReadBatch(
            stream="inside", partition=0, offset=flipped.header.base_offset, records_max=1
        )
        assert held.batch == bad, held
    return f"{len(intact)} intact batches beside \"{bad.fault}\" and \"{rubble.fault}\""


def buckets(weir, native):
    native.CreateStream(name="measured", partitions=1, routing="ROUTING_BY_HASH")
    native.CreateStream(name="free", partitions=1)
    kinds = ["write bytes", "write records", "read bytes", "read calls"]
    show = lambda: dict(zip(kinds, native.ShowBuckets(stream="measured", partition=0).buckets))
    full = show()
    assert [bucket.kind for bucket in full.values()] == [1, 2, 3, 4]
    capacities = [bucket.capacity for bucket in full.values()]
    assert capacities == [1 << 20, 1000, 2 << 20, 5] == [b.level for b in full.values()], full
    assert capacities == [b.per_second for b in full.values()]
    kinesis = aws.kinesis(weir.endpoint)
    records = [{"Data": b"d", "PartitionKey": "k"}] * 500
    kinesis.put_records(StreamName="measured", Records=records)
    written = show()["write records"]
    assert 500 <= written.level < 1_000 and (written.debt, written.wait_ms) == (0, 0), written
    kinesis.put_record(StreamName="measured", Data=b"d" * 1_000_000, PartitionKey="k")
    kinesis.put_record(StreamName="measured", Data=b"d" * 1_000_000, PartitionKey="k")
    spent = show()
    written = spent["write bytes"]
    assert -1_000_000 < written.level < 0 and written.debt == -written.level, spent
    assert 0 < written.wait_ms <= 1_000 and not spent["write records"].debt, spent
    assert spent["read calls"] == full["read calls"]
    assert not native.ShowBuckets(stream="free", partition=0).buckets
    return f"a debt of {written.debt:.0f} bytes, paid off in {written.wait_ms} ms"


def refusals(_weir, native):
    native.CreateStream(name="small", partitions=1)
    native.Append(stream="small", records=[{"value": b"v"}])
    at = {"stream": "small", "partition": 0}
    invalid = ("INVALID_ARGUMENT", "REASON_INVALID")
    unknown = ("NOT_FOUND", "REASON_UNKNOWN_STREAM")
    no_partition = ("NOT_FOUND", "REASON_UNKNOWN_PARTITION")
    outside = ("OUT_OF_RANGE", "REASON_OUT_OF_RANGE")
    cases = [
        ("ListSegments", {"stream": "nowhere"}, unknown),
        ("ListSegments", {"stream": "__consumer_offsets"}, unknown),
        ("ListSegments", {**at, "partition": 1}, no_partition),
        ("ListSegments", {**at, "count_max": 1_001}, invalid),
        ("ListSegments", {**at, "from_offset": (1 << 64) - 1}, invalid),
        ("ListBatches", {**at, "segment": 5}, outside),
        ("ListBatches", {**at, "count_max": 1_001}, invalid),
        ("ReadBatch", at, invalid),
        ("ReadBatch", {**at, "offset": 1}, outside),
        ("ReadBatch", {**at, "at": {"segment": 0, "position": 1 << 60}}, outside),
        ("ReadBatch", {**at, "offset": 0, "records_max": 1_001}, invalid),
        ("ReadBatch", {**at, "offset": 0, "bytes_max": (1 << 20) + 1}, invalid),
        ("ListIndexEntries", {**at, "index": 9}, invalid),
        ("ListIndexEntries", {**at, "segment": 9}, outside),
        ("ShowBuckets", {**at, "partition": 7}, no_partition),
    ]
    for name, members, wanted in cases:
        try:
            getattr(native, name)(**members)
        except grpc.RpcError as error:
            found = error.code().name, native.detail(error)["reason"]
            assert found == wanted, (name, members, error)
        else:
            raise AssertionError(f"{name} {members} was not refused")
    behind = native.ListBatches(segment=0, position=1 << 60, **at)
    assert not behind.batches and not behind.HasField("next_position"), behind
    return f"{len(cases)} calls"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-native-") as root:
        with Weir(pathlib.Path(root) / "data") as weir:
            with Native(weir.grpc) as native:
                cases.run("segments", segments_shown, weir, native)
                for case in (batches, records, indexes, buckets, refusals, damage):
                    cases.run(case.__name__, case, weir, native)
    cases.finish()


if __name__ == "__main__":
    main()
