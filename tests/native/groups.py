"""Groups by the native API: members beside each other and beside a Kafka consumer, and what is
kept, shown and changed.

    sharing      two members share four partitions; one leaves, one is cancelled, one does not
                 answer any more: the partitions move, no record is lost or read by two at once
    mixed        a native member and a confluent-kafka consumer (KIP-848) in one group
    positions    kept by one API, seen by the other; how far behind; set to another place
    back         a member comes back under its id, while its old call is open and under its
                 static name
    lineage      the shards of a split stream, with what is to be read first
    killed       kill -9 of weir; the members come back and go on where they were
    refusals     the status and the detail of what cannot be
    stopped      a stop ends memberships
"""

import pathlib
import sys
import tempfile
import time

import confluent_kafka
import grpc
import kafka
from api import Native
from member import KafkaMember, Ledger, Member, Writer, wait_for

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness import aws
from harness.cases import Cases
from harness.weir_process import Weir

# What the tests wait for is not held up by the classic protocol's first rebalance or by seconds
# between heartbeats; members of this API do not need that, a Kafka consumer does.
SETTINGS = [
    "--quotas", "off",
    "--set", "group.consumer.min.heartbeat.interval.ms=500",
    "--set", "group.consumer.heartbeat.interval.ms=500",
]  # fmt: skip


def refused(native, name, members, code, reason):
    try:
        getattr(native, name)(**members)
    except grpc.RpcError as error:
        detail = native.detail(error)
        assert (error.code().name, detail["reason"]) == (code, reason), (name, members, error)
        assert detail.get("message"), error
        return
    raise AssertionError(f"{name} {members} was not refused")


def settled(ledger, ends):
    """Every record was read, and nothing went wrong on the way."""
    took = wait_for(lambda: ledger.has_read(ends))
    assert not ledger.wrong, ledger.wrong[:3]
    return took


def sharing(_weir, native):
    native.CreateStream(name="shared", partitions=4)
    ledger = Ledger()
    writer = Writer(native, "shared", 4)
    one = Member(native, ledger, "one", "sharing", ["shared"])
    wait_for(lambda: one.has(4))
    two = Member(native, ledger, "two", "sharing", ["shared"])
    joined = wait_for(lambda: one.has(2) and two.has(2))
    begun = time.monotonic()
    one.leave()
    wait_for(lambda: two.has(4))
    left = time.monotonic() - begun

    three = Member(native, ledger, "three", "sharing", ["shared"])
    wait_for(lambda: two.has(2) and three.has(2))
    begun = time.monotonic()
    three.cancel()
    wait_for(lambda: two.has(4))
    cancelled = time.monotonic() - begun
    assert max(joined, left, cancelled) < 3, (joined, left, cancelled)

    four = Member(native, ledger, "four", "sharing", ["shared"], session_timeout_ms=1500)
    wait_for(lambda: two.has(2) and four.has(2))
    time.sleep(2)
    assert four.has(2) and not four.ended.is_set(), "it answers, and is not silent"
    four.fall_silent()
    begun = time.monotonic()
    wait_for(lambda: two.has(4))
    silent = time.monotonic() - begun
    assert four.ended.wait(10), "silence does not end a membership"
    assert four.refused == ("ABORTED", "REASON_SILENT"), four.refused
    # The last answer may be as old as a third of the session.
    assert 0.9 < silent < 2.5, silent

    settled(ledger, writer.stop())
    assert all(not result.HasField("error") for result in two.results), two.results
    two.leave()
    state = native.DescribeGroup(group="sharing").group.state
    assert state == 1, state
    records = sum(writer.ends.values())
    return (
        f"{records} records, {ledger.read_again()} again; moved {joined:.2f} s after a join, "
        f"{left:.2f} s after leaving, {cancelled:.2f} s after a cancel, silent for {silent:.1f} s"
    )


def mixed(weir, native):
    native.CreateStream(name="mixed", partitions=4)
    ledger = Ledger()
    writer = Writer(native, "mixed", 4)
    ours = Member(native, ledger, "ours", "mixing", ["mixed"])
    wait_for(lambda: ours.has(4))
    kafka = KafkaMember(weir.kafka, ledger, "kafka", "mixing", ["mixed"])
    wait_for(lambda: ours.has(2) and kafka.has(2))
    described = native.DescribeGroup(group="mixing")
    assert described.group.type == 2 and described.group.state in (5, 6), described
    clients = {member.client_id: member for member in described.members}
    assert clients.keys() == {"ours", "kafka"}, clients
    assert all(one.client_host == "/127.0.0.1" for one in clients.values()), clients
    wait_for(lambda: len(ledger.read) == 4)
    kafka.close()
    wait_for(lambda: ours.has(4))
    again = KafkaMember(weir.kafka, ledger, "again", "mixing", ["mixed"])
    wait_for(lambda: ours.has(2) and again.has(2))
    ours.leave()
    wait_for(lambda: again.has(4))
    settled(ledger, writer.stop())
    again.close()
    ends = {partition: end for (_, partition), end in writer.ends.items()}
    kept = {one.partition: one.next_offset for one in native.GetPositions(group="mixing").positions}
    assert kept == ends, (kept, ends)
    return f"{sum(ends.values())} records, {ledger.read_again()} again; both ways twice"


def positions(weir, native):
    native.CreateStream(name="kept", partitions=3)
    # Not so long ago that retention would take them.
    began_ms = int(time.time() * 1000) - 60_000
    for number in range(30):
        record = {"value": b"v", "partition": number % 3, "timestamp_ms": began_ms + number}
        native.Append(stream="kept", records=[record])
    at = {"stream": "kept", "partition": 0, "next_offset": 4, "metadata": "mine"}
    results = native.Acknowledge(
        group="keepers",
        positions=[
            at,
            {"stream": "nowhere", "partition": 0, "next_offset": 1},
            {"stream": "kept", "partition": 9, "next_offset": 1},
            {"stream": "kept", "partition": 1, "next_offset": 1 << 60},
            {"stream": "kept", "partition": 1, "next_offset": 1, "metadata": "m" * 5000},
        ],
    ).results
    assert [result.error.reason for result in results] == [0, 2, 3, 1, 1], results

    settings = {"bootstrap.servers": weir.kafka, "group.id": "keepers"}
    consumer = confluent_kafka.Consumer(settings)
    seen = consumer.committed([confluent_kafka.TopicPartition("kept", 0)], timeout=10)[0]
    assert seen.offset == 4, seen
    # By another client: confluent-kafka 2.16 reads on behind the end of a text that it fetched.
    reader = kafka.KafkaConsumer(bootstrap_servers=weir.kafka, group_id="keepers")
    seen = reader.committed(kafka.TopicPartition("kept", 0), metadata=True)
    reader.close(autocommit=False)
    assert (seen.offset, seen.metadata) == (4, "mine"), seen
    partition = confluent_kafka.TopicPartition("kept", 1, 7, metadata="theirs")
    consumer.commit(offsets=[partition], asynchronous=False)
    consumer.close()
    kept = native.GetPositions(group="keepers").positions
    # confluent-kafka sends the end of its text along.
    told = [(one.partition, one.next_offset, one.metadata) for one in kept]
    assert told == [(0, 4, "mine"), (1, 7, "theirs\0")], told
    some = native.GetPositions(group="keepers", streams=[{"stream": "kept", "partitions": [1, 2]}])
    assert [one.partition for one in some.positions] == [1], some

    described = native.DescribeGroup(group="keepers")
    lags = {one.partition: (one.high_watermark, one.lag) for one in described.progress}
    assert lags == {0: (10, 6), 1: (10, 3)}, lags
    listed = {one.name: (one.type, one.state) for one in native.ListGroups(prefix="keep").groups}
    assert listed == {"keepers": (1, 1)}, listed
    assert not native.ListGroups(prefix="keep", states=["GROUP_STATE_STABLE"]).groups

    def reset(expected, **to):
        whole = {"group": "keepers", "streams": [{"stream": "kept"}], **to}
        before = [one.next_offset for one in native.GetPositions(group="keepers").positions]
        preview = native.ResetPositions(preview=True, **whole).positions
        after = [one.next_offset for one in native.GetPositions(group="keepers").positions]
        assert after == before, "a preview changes nothing"
        assert [one.after for one in preview] == expected, (to, preview)
        assert native.ResetPositions(**whole).positions == preview
        kept = [one.next_offset for one in native.GetPositions(group="keepers").positions]
        assert kept == expected, (to, kept)

    refused(
        native, "ResetPositions",
        {"group": "keepers", "streams": [{"stream": "kept"}], "shift_by": -1},
        "INVALID_ARGUMENT", "REASON_INVALID",
    )  # fmt: skip
    reset([10, 10, 10], latest=True)
    reset([7, 7, 7], shift_by=-3)
    reset([0, 0, 0], shift_by=-30)
    reset([6, 6, 6], offset=6)
    reset([10, 10, 10], offset=99)
    reset([4, 4, 3], timestamp_ms=began_ms + 11)
    reset([10, 10, 10], timestamp_ms=began_ms + 5_000)
    reset([0, 0, 0], earliest=True)

    member = Member(native, Ledger(), "keeper", "keepers", ["kept"])
    wait_for(lambda: member.has(3))
    not_empty = ("FAILED_PRECONDITION", "REASON_GROUP_NOT_EMPTY")
    for name, rest in [
        ("ResetPositions", {"latest": True}),
        ("ResetPositions", {"latest": True, "preview": True}),
        ("DeleteGroup", {}),
        ("Acknowledge", {"positions": [at]}),
    ]:
        refused(native, name, {"group": "keepers", **rest}, *not_empty)
    result = native.DeletePositions(group="keepers", streams=[{"stream": "kept"}]).results
    assert [one.error.reason for one in result] == [25, 25, 25], result
    # What the member holds may be kept by it outside of its call too, in its epoch.
    who = {"member_id": member.id, "epoch": member.epoch}
    native.Acknowledge(group="keepers", member=who, positions=[at])
    refused(
        native, "Acknowledge",
        {"group": "keepers", "member": {**who, "epoch": 99}, "positions": [at]},
        "ABORTED", "REASON_FENCED",
    )  # fmt: skip
    refused(
        native, "Acknowledge",
        {"group": "keepers", "member": {"member_id": "else", "epoch": 1}, "positions": [at]},
        "NOT_FOUND", "REASON_UNKNOWN_MEMBER",
    )  # fmt: skip
    member.leave()
    result = native.DeletePositions(
        group="keepers", streams=[{"stream": "kept", "partitions": [0]}]
    ).results
    assert len(result) == 1 and not result[0].HasField("error"), result
    assert [one.partition for one in native.GetPositions(group="keepers").positions] == [1, 2]
    native.DeleteGroup(group="keepers")
    refused(native, "DescribeGroup", {"group": "keepers"}, "NOT_FOUND", "REASON_UNKNOWN_GROUP")
    return "each seen by the other API, lags, 8 resets with their previews, deletions"


def back(_weir, native):
    native.CreateStream(name="back", partitions=2)
    ledger = Ledger()
    first = Member(native, ledger, "first", "back", ["back"], member_id="it")
    wait_for(lambda: first.has(2))
    # The broker has not noticed yet that the first call's client is gone, and never will.
    with first.lock:
        first.places = {}
        ledger.drop_all("first")
    second = Member(native, ledger, "second", "back", ["back"], member_id="it")
    took = wait_for(lambda: second.has(2))
    assert first.ended.wait(5) and first.refused == ("ABORTED", "REASON_TAKEN_OVER"), first.refused
    time.sleep(0.5)
    assert second.has(2) and not second.ended.is_set(), "the first call took the member along"
    second.leave()

    static = {"instance_id": "static", "session_timeout_ms": 3_000}
    third = Member(native, ledger, "third", "static", ["back"], **static)
    wait_for(lambda: third.has(2))
    other = Member(native, ledger, "other", "static", ["back"], instance_id="static")
    assert other.ended.wait(5), "two members have one static name"
    assert other.refused == ("ALREADY_EXISTS", "REASON_INSTANCE_TAKEN"), other.refused
    fourth = Member(native, ledger, "fourth", "static", ["back"])
    wait_for(lambda: third.has(1) and fourth.has(1))
    had = ledger.of("third")
    third.cancel()
    time.sleep(1)
    assert fourth.has(1), "a static member that is away keeps what it has"
    fifth = Member(native, ledger, "fifth", "static", ["back"], **static)
    wait_for(lambda: fifth.has(1))
    assert ledger.of("fifth") == had, (ledger.of("fifth"), had)
    fifth.leave()
    wait_for(lambda: fourth.has(2))
    fourth.leave()
    assert not ledger.wrong, ledger.wrong
    return f"its place taken over in {took:.2f} s; a static member finds what it had"


def lineage(weir, native):
    native.CreateStream(name="split", partitions=1, routing="ROUTING_BY_HASH")
    keys = [b"key %d" % number for number in range(20)]
    for _ in range(5):
        native.Append(stream="split", records=[{"key": key, "value": b"old"} for key in keys])
    kinesis = aws.kinesis(weir.endpoint)
    half = str(1 << 127)
    kinesis.split_shard(
        StreamName="split", ShardToSplit="shardId-000000000000", NewStartingHashKey=half
    )
    native.Append(stream="split", records=[{"key": key, "value": b"new"} for key in keys])
    ledger = Ledger()
    first = Member(native, ledger, "first", "lineage", ["split"])
    wait_for(lambda: first.has(3))
    unread = {partition: parents for (_, partition), parents in first.parents.items()}
    assert unread == {0: [], 1: [0], 2: [0]}, unread
    marks = native.DescribeStream(name="split").stream.partitions
    ends = {("split", one.index): one.high_watermark for one in marks}
    settled(ledger, ends)
    wait_for(lambda: len(native.GetPositions(group="lineage").positions) == 3)
    first.leave()
    second = Member(native, ledger, "second", "lineage", ["split"])
    wait_for(lambda: second.has(3))
    unread = {partition: parents for (_, partition), parents in second.parents.items()}
    assert unread == {0: [], 1: [], 2: []}, unread
    kinesis.split_shard(
        StreamName="split", ShardToSplit="shardId-000000000001", NewStartingHashKey=str(1 << 126)
    )
    took = wait_for(lambda: second.has(5))
    second.leave()
    return f"closed shards are read too, their children say so; new ones come in {took:.1f} s"


def killed(weir, native):
    native.CreateStream(name="lasting", partitions=4)
    ledger = Ledger()
    writer = Writer(native, "lasting", 4)
    members = [
        Member(native, ledger, name, "lasting", ["lasting"], member_id=name) for name in "ab"
    ]
    wait_for(lambda: all(member.has(2) for member in members))
    wait_for(lambda: len(native.GetPositions(group="lasting").positions) == 4)
    had = {member.name: ledger.of(member.name) for member in members}
    ends = writer.stop()
    kept = native.GetPositions(group="lasting").positions
    kept = {one.partition: one.next_offset for one in kept}
    weir.kill()
    for member in members:
        assert member.ended.wait(10), "a call outlives the broker"
        assert member.refused[0] == "UNAVAILABLE", member.refused
    # What was read and may not have been kept when the broker was killed.
    unsure = sum(len(read) - kept[partition] for (_, partition), read in ledger.read.items())
    weir.start()
    wait_for(lambda: _answers(native))
    begun = time.monotonic()
    members = [
        Member(native, ledger, name, "lasting", ["lasting"], member_id=name) for name in "ab"
    ]
    wait_for(lambda: all(member.has(2) for member in members))
    took = time.monotonic() - begun
    assert {member.name: ledger.of(member.name) for member in members} == had
    again = Writer(native, "lasting", 4)
    time.sleep(0.5)
    after = again.stop()
    settled(ledger, {key: max(ends[key], after[key]) for key in ends})
    for member in members:
        member.leave()
    repeated, records = ledger.read_again(), sum(after.values())
    assert repeated <= unsure < records / 2, (repeated, unsure, records)
    again = f"{repeated} of {unsure} again"
    return f"back with what they had in {took:.2f} s; {records} records, {again}"


def _answers(native):
    try:
        native.ListGroups()
        return True
    except grpc.RpcError:
        return False


def refusals(weir, native):
    native.CreateStream(name="refusing", partitions=1)
    here = {"group": "refusing", "subscription": {"streams": ["refusing"]}}
    for begin, code, reason in [
        ({**here, "group": ""}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ({**here, "group": "g" * 1025}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ({"group": "refusing"}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ({**here, "subscription": {"streams": ["a b"]}}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ({**here, "subscription": {"pattern": "("}}, "INVALID_ARGUMENT", "REASON_INVALID"),
        (
            {**here, "subscription": {"streams": ["__consumer_offsets"]}},
            "NOT_FOUND", "REASON_UNKNOWN_STREAM",
        ),
        ({**here, "assignor": "fair"}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ({**here, "session_timeout_ms": 10}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ({**here, "rebalance_timeout_ms": 0}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ({**here, "client_id": "c" * 2000}, "INVALID_ARGUMENT", "REASON_INVALID"),
    ]:  # fmt: skip
        member = Member(native, Ledger(), "refused", **begin)
        assert member.ended.wait(10), begin
        assert member.refused == (code, reason), (begin, member.refused)
    assert not [one for one in native.ListGroups().groups if one.name == "refusing"]

    # What a member may not do ends its membership, or is refused position by position.
    member = Member(native, Ledger(), "wrong", "refusing", ["refusing"])
    wait_for(lambda: member.has(1))
    member.say(
        acknowledge={
            "positions": [
                {"stream": "refusing", "partition": 7, "next_offset": 1},
                {"stream": "refusing", "partition": 0, "next_offset": 0},
            ]
        }
    )
    wait_for(lambda: len(member.results) == 2)
    assert [one.error.reason for one in member.results] == [29, 0], member.results
    member.say(begin=here)
    assert member.ended.wait(10)
    assert member.refused == ("INVALID_ARGUMENT", "REASON_INVALID"), member.refused
    wait_for(lambda: native.DescribeGroup(group="refusing").group.state == 1)

    # What is no message is refused, and not taken for the end of the call.
    garbled = native.channel.stream_stream("/weir.v1.Groups/Join")(iter([b"\xff" * 8]))
    try:
        list(garbled)
        raise AssertionError("a message that is none was not refused")
    except grpc.RpcError as error:
        assert error.code().name == "INVALID_ARGUMENT", error
        assert native.detail(error)["reason"] == "REASON_INVALID", error
    refused(
        native, "ResetPositions", {"group": "refusing", "earliest": False},
        "INVALID_ARGUMENT", "REASON_INVALID",
    )  # fmt: skip

    silent = native.call("Join")(iter([native.request("Join", still_here={})]))
    try:
        list(silent)
        raise AssertionError("a call without a beginning was not refused")
    except grpc.RpcError as error:
        assert error.code().name == "INVALID_ARGUMENT", error

    connect = confluent_kafka.Consumer(
        {"bootstrap.servers": weir.kafka, "group.id": "classic", "group.protocol": "classic"}
    )
    connect.subscribe(["refusing"])
    wait_for(lambda: connect.poll(0.1) is not None or connect.assignment())
    described = native.DescribeGroup(group="classic")
    assigned = [(one.stream, list(one.partitions)) for one in described.members[0].assigned]
    assert (described.group.type, assigned) == (1, [("refusing", [0])]), described
    connect.close()
    for name, members, code, reason in [
        ("DescribeGroup", {"group": "nobody"}, "NOT_FOUND", "REASON_UNKNOWN_GROUP"),
        ("DescribeGroup", {}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ("DeleteGroup", {"group": "nobody"}, "NOT_FOUND", "REASON_UNKNOWN_GROUP"),
        ("GetPositions", {"group": "nobody"}, "NOT_FOUND", "REASON_UNKNOWN_GROUP"),
        ("Acknowledge", {"group": "nobody"}, "INVALID_ARGUMENT", "REASON_INVALID"),
        ("ResetPositions", {"group": "nobody"}, "INVALID_ARGUMENT", "REASON_INVALID"),
        (
            "ResetPositions", {"group": "nobody", "latest": True},
            "NOT_FOUND", "REASON_UNKNOWN_GROUP",
        ),
        (
            "ResetPositions",
            {"group": "n", "latest": True, "streams": [{"stream": "refusing", "partitions": [3]}]},
            "NOT_FOUND", "REASON_UNKNOWN_PARTITION",
        ),
        (
            "DeletePositions", {"group": "nobody", "streams": [{"stream": "refusing"}]},
            "NOT_FOUND", "REASON_UNKNOWN_GROUP",
        ),
        (
            "GetPositions",
            {"group": "classic", "streams": [{"stream": "refusing", "partitions": [0, 0]}]},
            "INVALID_ARGUMENT", "REASON_INVALID",
        ),
    ]:  # fmt: skip
        refused(native, name, members, code, reason)
    return "10 beginnings, 3 things that a member may not do, 10 calls"


def stopped(weir, native):
    native.CreateStream(name="stopping", partitions=1)
    member = Member(native, Ledger(), "last", "stopping", ["stopping"])
    wait_for(lambda: member.has(1))
    weir.stop()
    assert member.ended.wait(5), "a stop does not end a membership"
    assert member.refused == ("UNAVAILABLE", "REASON_SHUTTING_DOWN"), member.refused
    return "with UNAVAILABLE and why"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-groups-") as root:
        with (
            Weir(pathlib.Path(root) / "data", *SETTINGS) as weir,
            Native(weir.grpc) as native,
        ):
            for case in (sharing, mixed, positions, back, lineage, killed, refusals, stopped):
                cases.run(case.__name__, case, weir, native)
    cases.finish()


if __name__ == "__main__":
    main()
