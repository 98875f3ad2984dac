"""What the native API tells of, as it happens.

    streams    made, split, merged, scaled, grown and removed, by whichever dialect
    groups     a rebalance with its generation and members
    throttled  a shard over its quota, once a second at most
    flushed    a flush of a partition, once a second at most
    filter     only one stream, only some kinds
    missed     a listener that does not read is told how many it missed, and goes on
    recovered  an unclean start is told to who comes later; a clean one is not
"""

import itertools
import pathlib
import sys
import tempfile
import time

import confluent_kafka
import grpc
from api import Native
from confluent_kafka import admin

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness import aws
from harness.cases import Cases
from harness.weir_process import Weir


class Watching:
    """A listener; what happens after it was made is told to it."""

    def __init__(self, native, **members):
        self.call = native.call("Watch")(native.request("Watch", **members), timeout=60)
        # They are there when it listens.
        self.call.initial_metadata()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call.cancel()

    def until(self, wanted):
        """The events up to the first that is wanted, that one included."""
        found = []
        for event in self.call:
            found.append(event)
            if wanted(event):
                return found
        raise AssertionError(f"it ended after {found}")


def kind(event):
    return event.WhichOneof("kind")


def streams(weir, native):
    kinds = ["EVENT_KIND_CREATED", "EVENT_KIND_DELETED", "EVENT_KIND_PARTITIONS_CHANGED"]
    with Watching(native, kinds=kinds) as watching:
        began = time.time() * 1000
        kinesis = aws.kinesis(weir.endpoint)
        kafka = admin.AdminClient({"bootstrap.servers": weir.kafka})
        native.CreateStream(name="told", partitions=1, routing="ROUTING_BY_HASH")
        kinesis.split_shard(
            StreamName="told", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(1 << 127)
        )
        native.MergePartitions(stream="told", partition=1, adjacent=2)
        native.SetPartitionCount(stream="told", partitions=2)
        native.DeleteStream(name="told")
        kafka.create_topics([admin.NewTopic("topic", 2)])["topic"].result(10)
        kafka.create_partitions([admin.NewPartitions("topic", 3)])["topic"].result(10)
        kafka.delete_topics(["topic"])["topic"].result(10)
        found = watching.until(lambda event: event.stream == "topic" and kind(event) == "deleted")
    told = []
    for event in found:
        assert began - 1_000 < event.time_ms < time.time() * 1000 + 1_000, event
        if kind(event) == "partitions_changed":
            change = event.partitions_changed
            parts = list(change.closed), list(change.made), change.open_partitions
            told.append((event.stream, change.change, *parts))
        else:
            told.append((event.stream, kind(event), event.created.partitions))
    assert told == [
        ("told", "created", 1),
        ("told", 1, [0], [1, 2], 2),
        ("told", 2, [1, 2], [3], 1),
        ("told", 3, [3], [4, 5], 2),
        ("told", "deleted", 0),
        ("topic", "created", 2),
        ("topic", 4, [], [2], 3),
        ("topic", "deleted", 0),
    ], told
    return f"{len(told)} events in order"


def groups(weir, native):
    native.CreateStream(name="grouped", partitions=2)
    for protocol in ("classic", "consumer"):
        settings = {"bootstrap.servers": weir.kafka, "group.id": f"g-{protocol}"}
        settings["group.protocol"] = protocol
        with Watching(native, kinds=["EVENT_KIND_REBALANCED"]) as watching:
            consumer = confluent_kafka.Consumer(settings)
            consumer.subscribe(["grouped"])
            deadline = time.monotonic() + 20
            while not consumer.assignment() and time.monotonic() < deadline:
                consumer.poll(0.2)
            assert consumer.assignment(), "nothing was assigned"
            joined = watching.until(lambda event: event.rebalanced.members == 1)[-1]
            consumer.close()
            left = watching.until(lambda event: event.rebalanced.members == 0)[-1]
        for event in (joined, left):
            assert event.rebalanced.group == f"g-{protocol}" and not event.stream, event
        assert 0 < joined.rebalanced.generation < left.rebalanced.generation, (joined, left)
    return "one member came and went, in both protocols"


def at_most_one_a_second(events):
    for before, after in itertools.pairwise(events):
        assert after.time_ms - before.time_ms >= 990, (before, after)


def throttled(weir, native):
    native.CreateStream(name="tight", partitions=1, routing="ROUTING_BY_HASH")
    kinesis = aws.kinesis(weir.endpoint)
    records = [{"Data": b"d" * 10, "PartitionKey": "k"}] * 500
    with Watching(native, stream="tight", kinds=["EVENT_KIND_THROTTLED"]) as watching:
        refused, deadline = 0, time.monotonic() + 3.5
        while time.monotonic() < deadline:
            refused += kinesis.put_records(StreamName="tight", Records=records)["FailedRecordCount"]
        # The last one is told at once; what would come later is not waited for.
        native.DeleteStream(name="tight")
        found = [next(watching.call) for _ in range(3)]
    for event in found:
        told = event.throttled
        assert (event.stream, event.partition, told.direction) == ("tight", 0, 1), event
        assert 0 < told.wait_ms <= 2_000, event
    at_most_one_a_second(found)
    assert refused > 100, refused
    return f"3 events for {refused} records that were refused"


def throttled_consumer(weir, native):
    native.CreateStream(name="read", partitions=1, routing="ROUTING_BY_HASH")
    for _ in range(5):
        native.Append(stream="read", records=[{"value": b"v" * 1_000_000}])
        time.sleep(1)
    config = {"bootstrap.servers": weir.kafka, "group.id": "read", "auto.offset.reset": "earliest"}
    with Watching(native, stream="read", kinds=["EVENT_KIND_THROTTLED"]) as watching:
        consumer = confluent_kafka.Consumer(config)
        consumer.assign([confluent_kafka.TopicPartition("read", 0, 0)])
        got, deadline = 0, time.monotonic() + 20
        while got < 5 and time.monotonic() < deadline:
            got += consumer.poll(1.0) is not None
        consumer.close()
        event = next(watching.call)
    told = event.throttled
    assert got == 5 and (event.stream, event.partition, told.direction) == ("read", 0, 2), event
    return "a Kafka consumer that reads faster than its shard may is told of"


def flushed(_weir, native):
    native.CreateStream(name="flushed", partitions=1)
    with Watching(native, stream="flushed", kinds=["EVENT_KIND_FLUSHED"]) as watching:
        appends, deadline = 0, time.monotonic() + 3.5
        while time.monotonic() < deadline:
            native.Append(stream="flushed", records=[{"value": b"v" * 100}])
            appends += 1
        found = [next(watching.call) for _ in range(3)]
    for event in found:
        assert event.partition == 0 and event.HasField("partition"), event
        assert event.flushed.bytes > 100 and event.flushed.took_us > 0, event
    at_most_one_a_second(found)
    assert appends > 10, appends
    return f"3 events for {appends} appends"


def filters(_weir, native):
    with Watching(native, stream="wanted") as watching:
        native.CreateStream(name="unwanted", partitions=1)
        native.CreateStream(name="wanted", partitions=1)
        native.Append(stream="unwanted", records=[{"value": b"v"}])
        native.DeleteStream(name="unwanted")
        native.DeleteStream(name="wanted")
        found = watching.until(lambda event: kind(event) == "deleted")
    assert [(event.stream, kind(event)) for event in found] == [
        ("wanted", "created"), ("wanted", "deleted"),
    ], found  # fmt: skip
    try:
        next(native.Watch(kinds=[99]))
    except grpc.RpcError as error:
        assert native.detail(error)["reason"] == "REASON_INVALID", error
    else:
        raise AssertionError("a kind that there is not was taken")
    with Watching(native, replay=True, kinds=["EVENT_KIND_DELETED"]) as late:
        past = late.until(lambda event: event.stream == "wanted")
    assert "unwanted" in [event.stream for event in past] and {*map(kind, past)} == {"deleted"}
    return "one stream's events, one kind's, and what was before"


def missed(weir, native):
    kafka = admin.AdminClient({"bootstrap.servers": weir.kafka})
    names = [f"many-{number:04}-{'x' * 230}" for number in range(4_000)]
    kinds = ["EVENT_KIND_CREATED", "EVENT_KIND_DELETED"]
    # Else the library reads ahead, however little is asked of it.
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    with Native(weir.grpc, narrow) as reader, Watching(reader, kinds=kinds) as watching:
        for future in kafka.create_topics([admin.NewTopic(name, 1) for name in names]).values():
            future.result(60)
        for future in kafka.delete_topics(names, operation_timeout=60).values():
            future.result(60)
        native.CreateStream(name="behind", partitions=1)
        found = watching.until(lambda event: event.stream == "behind")
    lost = sum(event.missed.count for event in found)
    told = [event for event in found if kind(event) != "missed"]
    assert lost > 0 and lost + len(told) == 2 * len(names) + 1, (lost, len(told))
    seen = [event for event in told if kind(event) == "created"]
    assert [event.stream for event in seen[:100]] == names[:100]
    return f"{lost} of {2 * len(names)} missed, and told so"


def recovered(weir, native):
    native.CreateStream(name="kept", partitions=1)
    native.Append(stream="kept", records=[{"value": b"v"}] * 10)
    weir.kill()
    weir.start()
    with Native(weir.grpc) as after, Watching(after, replay=True) as watching:
        first = next(watching.call)
        assert kind(first) == "recovered", first
        told = first.recovered
        assert (told.epoch, told.damaged) == (1, 0) and told.records >= 10, told
    weir.stop()
    weir.start()
    with Native(weir.grpc) as after, Watching(after, replay=True) as watching:
        after.CreateStream(name="later", partitions=1)
        events = watching.until(lambda event: event.stream == "later")
        assert [kind(event) for event in events] == ["created"], events
    return f"{told.records} records of {told.partitions} partitions"


CASES = (
    streams, groups, throttled, throttled_consumer, flushed, filters, missed, recovered,
)  # fmt: skip


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-native-") as root:
        with Weir(pathlib.Path(root) / "data") as weir:
            with Native(weir.grpc) as native:
                for case in CASES:
                    cases.run(case.__name__, case, weir, native)
    cases.finish()


if __name__ == "__main__":
    main()
