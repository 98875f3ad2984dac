"""What changes a stream through the native API, seen by the other dialects as well.

    reshards   partitions are split at a key and in the middle, merged and scaled, as Kinesis shows
    counts     a stream that routes by partition gets more of them, as Kafka shows
    settings   settings are set, taken back and judged, as Kafka shows
    refusals   the status and the detail of what cannot be
"""

import pathlib
import sys
import tempfile

from confluent_kafka import admin
import grpc
from api import Native

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness import aws
from harness.cases import Cases
from harness.weir_process import Weir

LAST = (1 << 128) - 1
HALF = 1 << 127


def shards(weir, stream):
    """Kinesis's shards: (index, first key, last key, parents), whether open or closed."""
    found = []
    for shard in aws.kinesis(weir.endpoint).list_shards(StreamName=stream)["Shards"]:
        keys = shard["HashKeyRange"]
        named = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
        parents = [int(parent[-12:]) for parent in named if parent]
        range_of = int(keys["StartingHashKey"]), int(keys["EndingHashKey"])
        found.append((int(shard["ShardId"][-12:]), *range_of, parents))
    return found


def shown(partition):
    keys = partition.hash_keys
    return partition.index, int(keys.starting), int(keys.ending), list(partition.parents)


def reshards(weir, native):
    native.CreateStream(name="resharded", partitions=1, routing="ROUTING_BY_HASH")
    made = native.SplitPartition(stream="resharded", partition=0).partitions
    assert list(map(shown, made)) == [(1, 0, HALF - 1, [0]), (2, HALF, LAST, [0])], made
    made = native.SplitPartition(stream="resharded", partition=1, hash_key="1000").partitions
    assert list(map(shown, made)) == [(3, 0, 999, [1]), (4, 1000, HALF - 1, [1])], made
    merged = native.MergePartitions(stream="resharded", partition=4, adjacent=2).partition
    assert shown(merged) == (5, 1000, LAST, [4, 2]) and merged.is_open, merged
    counts = native.SetPartitionCount(stream="resharded", partitions=4)
    assert (counts.before, counts.now) == (2, 4), counts
    described = native.DescribeStream(name="resharded").stream
    assert described.open_partitions == 4, described
    mine, theirs = list(map(shown, described.partitions)), shards(weir, "resharded")
    assert mine == theirs, (mine, theirs)
    widths = [
        int(p.hash_keys.ending) - int(p.hash_keys.starting) + 1
        for p in described.partitions
        if p.is_open
    ]
    assert all(abs(width - (1 << 126)) < 1 << 106 for width in widths), widths
    return f"{len(mine)} partitions, the same as Kinesis's shards"


def counts(weir, native):
    native.CreateStream(name="counted", partitions=2)
    judged = native.SetPartitionCount(stream="counted", partitions=5, validate_only=True)
    assert (judged.before, judged.now) == (2, 2), judged
    counts = native.SetPartitionCount(stream="counted", partitions=5)
    assert (counts.before, counts.now) == (2, 5), counts
    kafka = admin.AdminClient({"bootstrap.servers": weir.kafka})
    partitions = kafka.list_topics("counted", 10).topics["counted"].partitions
    assert sorted(partitions) == list(range(5)), partitions
    return "2 partitions became 5"


def set_on_topic(weir, name):
    """What Kafka shows as set on the topic itself."""
    kafka = admin.AdminClient({"bootstrap.servers": weir.kafka})
    resource = admin.ConfigResource(admin.ConfigResource.Type.TOPIC, name)
    described = kafka.describe_configs([resource])[resource].result(10)
    own = admin.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {key: entry.value for key, entry in described.items() if entry.source == own}


def settings(weir, native):
    first = {"retention.ms": "1000000", "max.message.bytes": "2000"}
    native.CreateStream(name="altered", partitions=1, settings=first)
    change = {"set": {"retention.ms": "7200000"}, "removed": ["max.message.bytes"]}
    judged = native.AlterStream(stream="altered", validate_only=True, **change)
    assert dict(judged.settings) == first == set_on_topic(weir, "altered"), judged
    altered = native.AlterStream(stream="altered", **change)
    wanted = {"retention.ms": "7200000"}
    assert dict(altered.settings) == wanted == set_on_topic(weir, "altered"), altered
    large = native.Append(stream="altered", records=[{"value": b"v" * 3000}])
    assert large.results[0].HasField("place"), large
    return "set and taken back; Kafka shows the same"


def refusals(weir, native):
    native.CreateStream(name="hashed", partitions=2, routing="ROUTING_BY_HASH")
    native.CreateStream(name="chosen", partitions=2)
    native.SplitPartition(stream="hashed", partition=0)
    kinesis = aws.kinesis(weir.endpoint)
    kinesis.create_stream(
        StreamName="demand", StreamModeDetails={"StreamMode": "ON_DEMAND"}
    )
    invalid = ("INVALID_ARGUMENT", "REASON_INVALID")
    not_allowed = ("FAILED_PRECONDITION", "REASON_NOT_ALLOWED")
    unknown = ("NOT_FOUND", "REASON_UNKNOWN_STREAM")
    no_partition = ("NOT_FOUND", "REASON_UNKNOWN_PARTITION")
    closed = ("FAILED_PRECONDITION", "REASON_PARTITION_CLOSED")
    limit = ("RESOURCE_EXHAUSTED", "REASON_LIMIT")
    cases = [
        ("SplitPartition", {"stream": "nowhere"}, unknown),
        ("SplitPartition", {"stream": "chosen"}, not_allowed),
        ("SplitPartition", {"stream": "demand"}, not_allowed),
        ("SplitPartition", {"stream": "hashed", "partition": 9}, no_partition),
        ("SplitPartition", {"stream": "hashed", "partition": (1 << 32) - 1}, no_partition),
        ("SplitPartition", {"stream": "hashed", "partition": 0}, closed),
        ("SplitPartition", {"stream": "hashed", "partition": 1, "hash_key": "7"}, invalid),
        ("SplitPartition", {"stream": "hashed", "partition": 1, "hash_key": "seven"}, invalid),
        ("MergePartitions", {"stream": "hashed", "partition": 1, "adjacent": 2}, invalid),
        ("MergePartitions", {"stream": "hashed", "partition": 0, "adjacent": 1}, closed),
        ("SetPartitionCount", {"stream": "chosen", "partitions": 1}, invalid),
        ("SetPartitionCount", {"stream": "chosen", "partitions": 10_001}, invalid),
        ("SetPartitionCount", {"stream": "hashed", "partitions": 0}, limit),
        ("SetPartitionCount", {"stream": "hashed", "partitions": 7}, limit),
        ("SetPartitionCount", {"stream": "hashed", "validate_only": True}, not_allowed),
        ("AlterStream", {"stream": "nowhere", "removed": ["retention.ms"]}, unknown),
        ("AlterStream", {"stream": "chosen"}, invalid),
        ("AlterStream", {"stream": "chosen", "set": {"nonsense": "1"}}, invalid),
        ("AlterStream", {"stream": "chosen", "set": {"retention.ms": "soon"}}, invalid),
        (
            "AlterStream",
            {"stream": "chosen", "set": {"retention.ms": "1"}, "removed": ["retention.ms"]},
            invalid,
        ),
    ]
    for name, members, wanted in cases:
        try:
            getattr(native, name)(**members)
        except grpc.RpcError as error:
            found = error.code().name, native.detail(error)["reason"]
            assert found == wanted, (name, members, error)
        else:
            raise AssertionError(f"{name} {members} was not refused")
    assert native.DescribeStream(name="hashed").stream.open_partitions == 3
    assert not native.DescribeStream(name="chosen").stream.settings
    return f"{len(cases)} calls, and nothing was changed"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-native-") as root:
        # With quotas, so that AWS's limits of a scaling hold.
        with Weir(pathlib.Path(root) / "data") as weir, Native(weir.grpc) as native:
            for case in (reshards, counts, settings, refusals):
                cases.run(case.__name__, case, weir, native)
    cases.finish()


if __name__ == "__main__":
    main()
