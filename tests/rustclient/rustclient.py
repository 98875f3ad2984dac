"""weir-client, by the programs that are made of it (tests/src/bin/native_client.rs, and the
examples).

    examples   what client/examples does and prints
    kills      numbered records of 100 keys are written and read at the same time while weir is
               killed again and again: each comes once, those of a key in their order
    reshards   the same while shards are split and merged
    handovers, mixed, hangs, rebalances
               members of groups; see groups.py
    load       lines of 1 KB in and out, beside kcat, which is librdkafka: CPU seconds of the client
               for each GB, medians of alternating runs. With `--strict` weir-client must not take
               more in either direction
"""

import argparse
import json
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from confluent_kafka.admin import AdminClient, NewTopic

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

import groups
from harness import aws
from harness.cases import Cases
from harness.weir_process import Weir, binary

TARGET = TESTS.parent / "target"
PROGRAM = binary().parent / "native_client"
EXAMPLES = TARGET / "debug/examples"
PARTITIONS = 4
LINE_BYTES = 1024
TIMEOUT_S = 120


def make_topic(weir, name):
    admin = AdminClient({"bootstrap.servers": weir.kafka, "log_level": 2})
    admin.create_topics([NewTopic(name, PARTITIONS)])[name].result()


def examples(weir, _):
    url = f"http://{weir.grpc}"

    def run(name, *more):
        command = [EXAMPLES / name, url, "orders", *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    written = run("produce")
    assert [line.split(": ")[0] for line in written] == [
        "order-1 placed", "order-2 placed", "order-1 paid",
    ], written  # fmt: skip
    read = sorted(run("consume"))
    expected = []
    for line in written:
        what, place = line.split(": ")
        partition, offset = place.removeprefix("partition ").split(", offset ")
        expected.append(f"{partition} {offset} {what}")
    assert read == sorted(expected), (read, expected)
    assert sorted(run("group", "until-quiet")) == sorted(without_keys(read)), read
    assert run("group", "until-quiet") == [], "the group has read them"
    return "produce says where three records are, consume and group find them there"


def without_keys(lines):
    """What the group's example prints of records."""
    return [f"{partition} {offset} {value}"
            for partition, offset, _, value in map(str.split, lines)]  # fmt: skip


def roundtrip(weir, stream, records):
    command = [PROGRAM, "roundtrip", f"http://{weir.grpc}", stream, str(records)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def checked(process, records):
    out, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    done = json.loads(out)
    assert done["acknowledged"] == done["records"] == records, done


def kills(weir, options):
    make_topic(weir, "killed")
    chance = random.Random(options.seed)
    records = options.records
    process = roundtrip(weir, "killed", records)
    made = 0
    while process.poll() is None and made < options.kills:
        time.sleep(chance.uniform(0.1, 0.6))
        if process.poll() is None:
            weir.kill()
            time.sleep(chance.uniform(0, 0.2))
            weir.start()
            made += 1
    checked(process, records)
    assert made == options.kills, f"{records} records were over after {made} kills"
    return f"{records} records once and in order through {made} kills (seed {options.seed})"


def reshards(weir, options):
    kinesis = aws.kinesis(weir.endpoint)
    kinesis.create_stream(StreamName="resharded", ShardCount=2)
    made = {"split": 0, "merge": 0}
    process = roundtrip(weir, "resharded", options.records)
    chance = random.Random(options.seed)
    failure = []

    def reshard():
        try:
            while process.poll() is None:
                change(kinesis, chance, made)
                time.sleep(0.05)
        except Exception as error:  # noqa: BLE001 - told by the case
            failure.append(error)

    thread = threading.Thread(target=reshard)
    thread.start()
    checked(process, options.records)
    thread.join()
    assert not failure, failure
    assert min(made.values()) > 0, made
    return f"{options.records} records through {made['split']} splits, {made['merge']} merges"


def change(kinesis, chance, made):
    """One split of an open shard in its middle, or one merge of two neighbours."""
    shards = kinesis.list_shards(StreamName="resharded")["Shards"]
    shards = [s for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]]

    def span(shard):
        keys = shard["HashKeyRange"]
        return int(keys["StartingHashKey"]), int(keys["EndingHashKey"])

    shards.sort(key=span)
    if len(shards) < 4:
        shard = chance.choice(shards)
        start, end = span(shard)
        kinesis.split_shard(
            StreamName="resharded",
            ShardToSplit=shard["ShardId"],
            NewStartingHashKey=str((start + end) // 2 + 1),
        )
        made["split"] += 1
    else:
        at = chance.randrange(len(shards) - 1)
        kinesis.merge_shards(
            StreamName="resharded",
            ShardToMerge=shards[at]["ShardId"],
            AdjacentShardToMerge=shards[at + 1]["ShardId"],
        )
        made["merge"] += 1


def load(weir, options):
    gigabytes = options.lines * (LINE_BYTES - 1) / 1e9
    with tempfile.TemporaryFile() as lines:
        for number in range(options.lines):
            lines.write(b"%010d" % number + b"x" * (LINE_BYTES - 11) + b"\n")
        spent = {}
        for turn in range(options.turns):
            url, native, kafka = f"http://{weir.grpc}", f"native-{turn}", f"kafka-{turn}"
            for topic in (native, kafka):
                make_topic(weir, topic)
            client = ["kcat", "-b", weir.kafka]
            for who, way, command in [
                ("weir-client", "in", [PROGRAM, "in", url, native]),
                ("librdkafka", "in", [*client, "-P", "-t", kafka]),
                ("weir-client", "out", [PROGRAM, "out", url, native]),
                ("librdkafka", "out", [*client, "-C", "-e", "-q", "-t", kafka]),
            ]:
                lines.seek(0)
                spent.setdefault((who, way), []).append(cpu_s(command, lines, options.lines, way))
    cpu = {key: statistics.median(values) / gigabytes for key, values in spent.items()}
    figures = []
    for way in ("in", "out"):
        own, other = cpu["weir-client", way], cpu["librdkafka", way]
        figures.append(f"{way} {own:.2f} CPU s/GB beside {other:.2f}")
        assert own <= other or not options.strict, figures
    return f"{options.lines} lines of 1 KB: " + ", ".join(figures)


def cpu_s(command, lines, count, way):
    """What the client took. Out, all lines must come."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.PIPE if way == "out" else subprocess.DEVNULL
    with subprocess.Popen(command, stdin=lines, stdout=out, stderr=subprocess.DEVNULL) as process:
        got = sum(chunk.count(b"\n") for chunk in iter(lambda: process.stdout.read(1 << 20), b"")) \
            if way == "out" else count
        status = process.wait(TIMEOUT_S)
    assert status == 0, (command, status)
    assert got == count, f"{command} gave {got} of {count} lines"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--changes", type=int, default=12)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("cases", nargs="*", help="all, where none is named")
    options = parser.parse_args()
    cases = Cases()

    def chosen(case):
        return not options.cases or case.__name__ in options.cases

    with tempfile.TemporaryDirectory(prefix="weir-rustclient-") as root:
        with Weir(pathlib.Path(root) / "data", "--quotas", "off") as weir:
            for case in (examples, kills, reshards, load):
                if chosen(case):
                    cases.run(case.__name__, case, weir, options)
        with Weir(pathlib.Path(root) / "groups", *groups.SETTINGS) as weir:
            for case in (groups.handovers, groups.mixed, groups.hangs, groups.rebalances):
                if chosen(case):
                    cases.run(case.__name__, case, weir, options)
    cases.finish()


if __name__ == "__main__":
    main()
