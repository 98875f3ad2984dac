"""The native API from outside, by grpcio and what the server says of itself.

    pairs      a record of each form of key, value and headers, written by Kafka, Kinesis and gRPC,
               is read by each of the three, from a topic and from a stream
    tail       a reader that goes on gets what is written meanwhile, follows a split with the order
               of each key, and stops where it is told
    appends    one request after the other on one call, answered in order
    refusals   the status and the detail of what cannot be
    health     grpc.health.v1, and a stop that ends readers
"""

import pathlib
import sys
import tempfile
import threading
import time

import confluent_kafka
import grpc
from api import Native
from grpc_health.v1 import health_pb2, health_pb2_grpc

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness import aws
from harness.cases import Cases
from harness.weir_process import Weir

BINARY_KEY = bytes(range(200, 256))
# What design.md §1 tells of keys and values: (key, value, headers).
FORMS = [
    (b"text", b"value", []),
    ("ключ".encode(), b"\x00\xff", [("name", b"header"), ("name", None), ("", b"")]),
    (b"k" * 256, b"v", []),
    (b"k" * 257, b"v", []),
    (BINARY_KEY, b"v", []),
    (b"", b"empty key", []),
    (None, b"no key", []),
    (b"empty value", b"", []),
    (b"no value", None, []),
]


def partition_key(key):
    """The key as Kinesis shows it."""
    if not key:
        return "-"
    try:
        text = key.decode()
        return text if len(text) <= 256 else "hex:" + key[:126].hex()
    except UnicodeDecodeError:
        return "hex:" + key[:126].hex()


class Kafka:
    """Records as Kafka's clients write and read them."""

    can = FORMS

    def __init__(self, weir, _native):
        self.bootstrap = weir.kafka

    def write(self, stream, forms):
        failed = []
        producer = confluent_kafka.Producer({"bootstrap.servers": self.bootstrap})
        for key, value, headers in forms:
            producer.produce(
                stream, value, key, headers=headers,
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )  # fmt: skip
        assert producer.flush(30) == 0 and not failed, failed

    def read(self, stream, count):
        settings = {"bootstrap.servers": self.bootstrap, "group.id": "pairs"}
        consumer = confluent_kafka.Consumer(settings)
        partitions = consumer.list_topics(stream, 10).topics[stream].partitions
        consumer.assign([confluent_kafka.TopicPartition(stream, p, 0) for p in partitions])
        found, deadline = [], time.monotonic() + 20
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None:
                assert message.error() is None, message.error()
                found.append((message.key(), message.value(), message.headers() or []))
        consumer.close()
        return found

    def seen(self, form):
        return form


class Kinesis:
    """Records as the AWS SDK writes and reads them."""

    can = [(key, value, []) for key, value, headers in FORMS[:3] if not headers]

    def __init__(self, weir, _native):
        self.kinesis = aws.kinesis(weir.endpoint)

    def write(self, stream, forms):
        records = [{"Data": value, "PartitionKey": key.decode()} for key, value, _ in forms]
        answer = self.kinesis.put_records(StreamName=stream, Records=records)
        assert answer["FailedRecordCount"] == 0, answer

    def read(self, stream, count):
        found = []
        for shard in self.kinesis.list_shards(StreamName=stream)["Shards"]:
            iterator = self.kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            for record in self.kinesis.get_records(ShardIterator=iterator)["Records"]:
                found.append((record["PartitionKey"], record["Data"]))
        return found

    def seen(self, form):
        key, value, _ = form
        return partition_key(key), value or b""


class Grpc:
    """Records as the native API writes and reads them."""

    can = FORMS

    def __init__(self, _weir, native):
        self.native = native

    def write(self, stream, forms):
        answer = self.native.Append(stream=stream, records=[new_record(*form) for form in forms])
        assert all(result.HasField("place") for result in answer.results), answer

    def read(self, stream, count):
        tail = self.native.Tail(stream=stream, until_now=True, **{"from": {"earliest": True}})
        return [form_of(record) for answer in tail for record in answer.records]

    def seen(self, form):
        return form


def new_record(key, value, headers=(), **place):
    record = {"headers": [with_present(name=n, value=v) for n, v in headers], **place}
    return {**record, **with_present(key=key, value=value)}


def with_present(**members):
    return {name: value for name, value in members.items() if value is not None}


def form_of(record):
    def member(of, name):
        return getattr(of, name) if of.HasField(name) else None

    headers = [(header.name, member(header, "value")) for header in record.headers]
    return member(record, "key"), member(record, "value"), headers


def pairs(weir, native):
    sides = {side.__name__: side(weir, native) for side in (Kafka, Kinesis, Grpc)}
    for routing in ("ROUTING_BY_PARTITION", "ROUTING_BY_HASH"):
        for name, writer in sides.items():
            stream = f"pairs-{routing[11:].lower()}-{name}".lower()
            native.CreateStream(name=stream, partitions=3, routing=routing)
            writer.write(stream, writer.can)
            for reader_name, reader in sides.items():
                wanted = sorted(map(repr, map(reader.seen, writer.can)))
                found = sorted(map(repr, reader.read(stream, len(wanted))))
                assert found == wanted, (routing, name, reader_name, found, wanted)
    return f"9 pairs of a topic and 9 of a stream, {len(FORMS)} forms"


def tail(_weir, native):
    native.CreateStream(name="tailed", partitions=1, routing="ROUTING_BY_HASH")
    kinesis = aws.kinesis(_weir.endpoint)
    numbers = {f"key {key}": 0 for key in range(20)}

    def write(count):
        for key in numbers:
            for _ in range(count):
                kinesis.put_record(
                    StreamName="tailed", Data=str(numbers[key]).encode(), PartitionKey=key
                )
                numbers[key] += 1

    found, ended = {key: [] for key in numbers}, threading.Event()

    def read():
        for answer in native.Tail(
            stream="tailed", records_max=300, **{"from": {"latest": True}}
        ):
            for record in answer.records:
                found[record.key.decode()].append(int(record.value))
        ended.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.5)
    write(5)
    half = str(1 << 127)
    kinesis.split_shard(
        StreamName="tailed", ShardToSplit="shardId-000000000000", NewStartingHashKey=half
    )
    write(10)
    assert ended.wait(20), found
    assert found == {key: list(range(15)) for key in numbers}, found
    last = native.Tail(stream="tailed", until_now=True, **{"from": {"last": 3}})
    per_partition = {}
    for answer in last:
        per_partition.setdefault(answer.partition, []).extend(answer.records)
    assert {index: len(records) for index, records in per_partition.items()} == {0: 3, 1: 3, 2: 3}
    described = native.DescribeStream(name="tailed").stream
    parents = [list(partition.parents) for partition in described.partitions]
    assert (described.open_partitions, parents) == (2, [[], [0], [0]]), described
    return "300 records over a split in the order of each key, the last three of each partition"


def appends(_weir, native):
    native.CreateStream(name="appended", partitions=2)
    requests = (
        native.request(
            "AppendStream", stream="appended",
            records=[new_record(None, str(number).encode(), partition=number % 2)],
        )
        for number in range(200)
    )  # fmt: skip
    answers = list(native.call("AppendStream")(requests, timeout=30))
    places = [(a.results[0].place.partition, a.results[0].place.offset) for a in answers]
    assert places == [(number % 2, number // 2) for number in range(200)], places
    return "200 requests on one call, each at its place"


def refusals(_weir, native):
    native.CreateStream(name="strict", partitions=1, settings={"max.message.bytes": "1000"})
    mixed = native.Append(
        stream="strict",
        records=[
            new_record(b"k", b"v"),
            new_record(b"k", b"v" * 2000),
            new_record(b"k", b"v", [("", None)] * 2000),
            new_record(b"k", b"v", partition=7),
        ],
    )
    reasons = [
        result.WhichOneof("outcome") == "place" or result.error.reason for result in mixed.results
    ]
    assert reasons == [True, 5, 5, 3], mixed
    latest = {"from": {"offset": 99}}
    for name, members, code, reason in [
        ("Append", {"stream": "nowhere", "records": [{}]}, "NOT_FOUND", "REASON_UNKNOWN_STREAM"),
        ("Append", {"stream": "strict"}, "INVALID_ARGUMENT", "REASON_INVALID"),
        (
            "Append", {"stream": "strict", "records": [{"hash_key": "-1"}]},
            "INVALID_ARGUMENT", "REASON_INVALID",
        ),
        ("CreateStream", {"name": "strict"}, "ALREADY_EXISTS", "REASON_ALREADY_EXISTS"),
        ("CreateStream", {"name": "a b"}, "INVALID_ARGUMENT", "REASON_INVALID"),
        (
            "CreateStream", {"name": "x", "settings": {"nonsense": "1"}},
            "INVALID_ARGUMENT", "REASON_INVALID",
        ),
        ("DescribeStream", {"name": "__consumer_offsets"}, "NOT_FOUND", "REASON_UNKNOWN_STREAM"),
        ("DeleteStream", {"name": "nowhere"}, "NOT_FOUND", "REASON_UNKNOWN_STREAM"),
        ("Tail", {"stream": "strict"}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ("Tail", {"stream": "strict", **latest}, "OUT_OF_RANGE", "REASON_OUT_OF_RANGE"),
        (
            "Tail", {"stream": "strict", "partitions": [5], **latest},
            "NOT_FOUND", "REASON_UNKNOWN_PARTITION",
        ),
    ]:  # fmt: skip
        try:
            list(getattr(native, name)(**members) if name == "Tail" else [
                getattr(native, name)(**members)
            ])  # fmt: skip
            raise AssertionError(f"{name} {members} was not refused")
        except grpc.RpcError as error:
            assert error.code().name == code, (name, members, error)
            assert native.detail(error)["reason"] == reason, (name, members, error)
    return "a record beside three that are refused, and 11 calls"


def health(weir, native):
    stub = health_pb2_grpc.HealthStub(native.channel)
    serving = stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status
    assert serving == health_pb2.HealthCheckResponse.SERVING
    native.CreateStream(name="endless", partitions=1)
    reader = native.Tail(stream="endless", **{"from": {"latest": True}})
    ends = []

    def read():
        try:
            ends.append(list(reader))
        except grpc.RpcError as error:
            ends.append(native.detail(error)["reason"])

    ended = threading.Thread(target=read, daemon=True)
    ended.start()
    time.sleep(0.3)
    weir.stop()
    ended.join(5)
    # Not as if there were nothing more to come.
    assert ends == ["REASON_SHUTTING_DOWN"], ends
    return "SERVING, and a reader that a stop ends"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-native-") as root:
        with (
            Weir(pathlib.Path(root) / "data", "--quotas", "off") as weir,
            Native(weir.grpc) as native,
        ):
            for case in (pairs, tail, appends, refusals, health):
                cases.run(case.__name__, case, weir, native)
    cases.finish()


if __name__ == "__main__":
    main()
