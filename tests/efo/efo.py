"""Enhanced fan-out as boto3 sees it, over chunked HTTP/1.1, plain and over TLS, and as the
JavaScript SDK does, over HTTP/2.

    push        records arrive once, in order, while they are written; the latency from PutRecord
                to the event is printed
    resharding  the shard is split meanwhile: its last event names the children, which hold the rest
    takeover    a second subscription is refused at first; after five seconds it ends the first
    rate        a consumer gets 2 MiB a second of a backlog while another reader gets its own
    many        20 consumers of one shard each get 2 MiB a second of a backlog, and so does a reader
                of GetRecords; the processor time and the memory of the broker are printed
    stalled     consumers that stop reading cost a bounded amount of memory, and the push latency of
                another consumer stays below 5 ms
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import boto3
import botocore.config
import botocore.exceptions

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "harness"))

from cases import Cases
from weir_process import Weir

from subscriber import Subscriber, connect

MIB = 1 << 20
RECORD_BYTES = 50_000


def client(weir, over_tls):
    endpoint = weir.tls_endpoint if over_tls else weir.endpoint
    return boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        verify=weir.authority if over_tls else None,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=botocore.config.Config(read_timeout=30, retries={"max_attempts": 0}),
    )


def registered(kinesis, stream, name, shards=1):
    """The ARN of a new consumer of a stream, which is made if it is not there."""
    try:
        kinesis.create_stream(StreamName=stream, ShardCount=shards)
    except kinesis.exceptions.ResourceInUseException:
        pass
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    answer = kinesis.register_stream_consumer(StreamARN=arn["StreamARN"], ConsumerName=name)
    return answer["Consumer"]["ConsumerARN"]


def events(kinesis, consumer, shard, kind="TRIM_HORIZON"):
    answer = kinesis.subscribe_to_shard(
        ConsumerARN=consumer, ShardId=shard, StartingPosition={"Type": kind}
    )
    for event in answer["EventStream"]:
        yield event["SubscribeToShardEvent"]


def push(weir, over_tls, records):
    stream = f"push-{over_tls}"
    kinesis = client(weir, over_tls)
    consumer = registered(kinesis, stream, "c")
    written_at, latencies_ms, seen = {}, [], []

    def write():
        producer = client(weir, over_tls)
        for number in range(records):
            written_at[number] = time.perf_counter()
            producer.put_record(StreamName=stream, Data=str(number).encode(), PartitionKey="k")
            if number == records // 2:
                producer.split_shard(
                    StreamName=stream,
                    ShardToSplit="shardId-000000000000",
                    NewStartingHashKey=str(1 << 127),
                )
            time.sleep(0.002)

    def read(shard):
        children = []
        for event in events(kinesis, consumer, shard):
            for record in event["Records"]:
                number = int(record["Data"])
                latencies_ms.append((time.perf_counter() - written_at[number]) * 1000)
                seen.append(number)
            children = [child["ShardId"] for child in event.get("ChildShards", [])]
            if len(seen) == records:
                break
        return children

    writer = threading.Thread(target=write)
    writer.start()
    children = read("shardId-000000000000")
    writer.join()
    assert len(children) == 2, f"the parent ended with the children {children}"
    of_parent = len(seen)
    for child in children:
        # One of them holds the rest, the other is silent.
        for event in events(kinesis, consumer, child):
            seen.extend(int(record["Data"]) for record in event["Records"])
            if not event["Records"] or len(seen) == records:
                break
    while len(seen) < records:
        raise AssertionError(f"{len(seen)} of {records} records")
    assert seen == list(range(records)), "not each once and in order"
    latencies_ms = sorted(latencies_ms)
    p50, p99 = statistics.median(latencies_ms), latencies_ms[len(latencies_ms) * 99 // 100]
    return (
        f"{records} records once and in order, {of_parent} of them of the parent; "
        f"PutRecord to event p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    )


def javascript(weir, over_tls):
    """The JavaScript SDK, which speaks HTTP/2 to a subscription and to everything else."""
    endpoint = weir.tls_endpoint if over_tls else weir.endpoint
    command = ["node", "subscribe.mjs", endpoint, f"javascript-{over_tls}"]
    done = subprocess.run(
        command, cwd=TESTS / "clients" / "js", capture_output=True, text=True, timeout=60,
        env=os.environ | {"NODE_EXTRA_CA_CERTS": weir.authority},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["records"] == [str(number) for number in range(100)], seen["records"]
    assert len(seen["children"]) == 2, seen["children"]
    return "100 records once and in order, then both children"


def takeover(weir):
    kinesis = client(weir, False)
    consumer = registered(kinesis, "takeover", "c")
    ended = []

    def read():
        try:
            for _ in events(kinesis, consumer, "shardId-000000000000", "LATEST"):
                pass
            ended.append("without a word")
        except botocore.exceptions.EventStreamError as error:
            ended.append(error.response["Error"]["Code"])

    first = threading.Thread(target=read)
    first.start()
    time.sleep(0.5)
    try:
        next(events(kinesis, consumer, "shardId-000000000000", "LATEST"))
        raise AssertionError("a second subscription was let in at once")
    except kinesis.exceptions.ResourceInUseException:
        pass
    time.sleep(5)
    next(events(kinesis, consumer, "shardId-000000000000", "LATEST"))
    first.join(10)
    assert ended == ["ResourceInUseException"], f"the first ended with {ended}"
    return "refused at first, then the older ends with ResourceInUseException"


def rate(weir, seconds):
    kinesis = client(weir, False)
    consumer = registered(kinesis, "backlog", "c")
    got = {"consumer": 0, "reader": 0}
    begun = time.monotonic()

    def subscribe():
        for event in events(kinesis, consumer, "shardId-000000000000"):
            if time.monotonic() - begun > seconds:
                return
            got["consumer"] += sum(len(record["Data"]) for record in event["Records"])

    def read():
        reader = client(weir, False)
        asked = {"StreamName": "backlog", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
        iterator = reader.get_shard_iterator(**asked)["ShardIterator"]
        while time.monotonic() - begun < seconds:
            try:
                page = reader.get_records(ShardIterator=iterator, Limit=10)
            except reader.exceptions.ProvisionedThroughputExceededException:
                time.sleep(0.05)
                continue
            got["reader"] += sum(len(record["Data"]) for record in page["Records"])
            iterator = page["NextShardIterator"]

    threads = [threading.Thread(target=work) for work in (subscribe, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A full bucket holds a second's worth, and the last event is charged into debt.
    for who, count in got.items():
        most = 2 * MIB * (seconds + 1) + MIB
        assert 2 * MIB * seconds * 0.9 <= count <= most, f"{who} got {count} bytes"
    shown = ", ".join(f"{who} {count / MIB / seconds:.2f}" for who, count in got.items())
    return f"MiB a second over {seconds} s, the first one's burst included: {shown}"


def read_with_get_records(weir, stream, until, counted):
    """Reads as fast as the shard lets it; appends moments and the bytes that had come by then."""
    reader, total = client(weir, False), 0
    asked = {"StreamName": stream, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = reader.get_shard_iterator(**asked)["ShardIterator"]
    while time.monotonic() < until:
        try:
            page = reader.get_records(ShardIterator=iterator, Limit=10)
        except reader.exceptions.ProvisionedThroughputExceededException:
            time.sleep(0.02)
            continue
        total += sum(len(record["Data"]) for record in page["Records"])
        counted.append((time.monotonic(), total))
        iterator = page["NextShardIterator"]


def many(weir, consumers, seconds, tolerance):
    kinesis, arns = client(weir, False), []
    for number in range(consumers):
        arns.append(registered(kinesis, "long", f"c{number}"))
        # The rate of registrations is 5 a second.
        time.sleep(0.25)
    begun = time.monotonic()
    until = begun + seconds
    cpu_before = weir.cpu_seconds()
    subscribers = [Subscriber(weir.kinesis, arn, RECORD_BYTES, until) for arn in arns]
    read = []
    reader = threading.Thread(target=read_with_get_records, args=(weir, "long", until, read))
    reader.start()
    most_memory = 0
    while time.monotonic() < until:
        most_memory = max(most_memory, weir.rss_anon_bytes())
        time.sleep(0.1)
    for thread in [*subscribers, reader]:
        thread.join()
    cpu_s = weir.cpu_seconds() - cpu_before
    errors = [subscriber.error for subscriber in subscribers if subscriber.error]
    assert not errors, errors
    # The first two seconds spend the full bucket. An event or a page more or less may fall into
    # the time that is counted.
    start, counted_s = begun + 2, seconds - 2
    rates = [each.bytes_between(start, until) / MIB / counted_s for each in subscribers]
    at = lambda moment: max((count for time_s, count in read if time_s <= moment), default=0)
    reader_rate = (at(until) - at(start)) / MIB / counted_s
    slack = 0.5 / counted_s
    for rate in [*rates, reader_rate]:
        assert 2 * (1 - tolerance) - slack <= rate <= 2 * (1 + tolerance) + slack, (rates, reader_rate)
    given = sum(rates) * counted_s / 1024
    return (
        f"{consumers} consumers {min(rates):.3f} to {max(rates):.3f} MiB/s over {counted_s} s, "
        f"GetRecords {reader_rate:.3f}; {cpu_s / given:.2f} CPU s/GB, RssAnon {most_memory / 1e6:.0f} MB"
    )


def pushed_beside(weir, stream, records):
    """Records put and pushed one after the other: their latencies in ms, ascending, and the most
    memory that weir had meanwhile."""
    kinesis = client(weir, False)
    consumer = registered(kinesis, stream, "c")
    written_at, latencies_ms, most_memory = {}, [], 0

    def write():
        producer = client(weir, False)
        for number in range(records):
            written_at[number] = time.perf_counter()
            producer.put_record(StreamName=stream, Data=str(number).encode(), PartitionKey="k")
            time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    for event in events(kinesis, consumer, "shardId-000000000000"):
        for record in event["Records"]:
            latencies_ms.append((time.perf_counter() - written_at[int(record["Data"])]) * 1000)
        most_memory = max(most_memory, weir.rss_anon_bytes())
        if len(latencies_ms) == records:
            break
    writer.join()
    return sorted(latencies_ms), most_memory


def stalled(weir, consumers, records, strict):
    """Consumers that ask for everything and read nothing, beside one that is pushed to: compared
    with the same one without them, as this machine may be slow for other reasons."""
    kinesis = client(weir, False)
    alone, _ = pushed_beside(weir, "alone", records)
    before = weir.rss_anon_bytes()
    sockets = []
    for number in range(consumers):
        arn = registered(kinesis, "stalled", f"s{number}")
        sockets.append(connect(weir.kinesis, arn, receive_buffer=4096))
        time.sleep(0.25)
    beside, most_memory = pushed_beside(weir, "beside", records)
    for each in sockets:
        each.close()
    more_mib = (most_memory - before) / MIB
    median, p99, median_alone = (
        beside[records // 2], beside[records * 99 // 100], alone[records // 2],
    )  # fmt: skip
    # An event of 256 KiB, and what the sockets' buffers hold, for each.
    assert more_mib < 64, f"{more_mib} MiB more for {consumers} that do not read"
    limit = 5 if strict else max(5, 2 * median_alone)
    assert median < limit, f"{median} ms beside them, {median_alone} ms alone"
    return (
        f"{consumers} that do not read cost {more_mib:.1f} MiB; PutRecord to event beside them "
        f"p50 {median:.2f} ms, p99 {p99:.2f} ms; p50 without them {median_alone:.2f} ms"
    )


def write_backlog(kinesis, stream, mib):
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    record = {"Data": bytes(RECORD_BYTES), "PartitionKey": "k"}
    for _ in range(mib * MIB // (20 * RECORD_BYTES) + 1):
        kinesis.put_records(StreamName=stream, Records=[record] * 20)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=400)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--consumers", type=int, default=20)
    parser.add_argument("--backlog-mib", type=int, default=30)
    parser.add_argument(
        "--strict", action="store_true", help="5 ms beside stalled consumers, whatever it is alone"
    )
    parser.add_argument("--tolerance", type=float, default=0.1, help="of the consumers' rates")
    arguments = parser.parse_args()
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-efo-") as directory:
        weir = Weir(pathlib.Path(directory) / "data", "--quotas", "off")
        with weir:
            kinesis = client(weir, False)
            write_backlog(kinesis, "backlog", (arguments.seconds + 3) * 2)
            write_backlog(kinesis, "long", arguments.backlog_mib)
            write_backlog(kinesis, "stalled", arguments.backlog_mib)
        weir.flags = []
        with weir:
            for over_tls in [False, True]:
                name = "push over TLS" if over_tls else "push"
                cases.run(name, push, weir, over_tls, arguments.records)
            for over_tls in [False, True]:
                name = "JavaScript, HTTP/2 over TLS" if over_tls else "JavaScript, HTTP/2"
                cases.run(name, javascript, weir, over_tls)
            cases.run("takeover", takeover, weir)
            cases.run("rate", rate, weir, arguments.seconds)
            # The first second takes the full bucket with it.
            seconds = arguments.backlog_mib // 2 - 3
            cases.run("many", many, weir, arguments.consumers, seconds, arguments.tolerance)
            cases.run(
                "stalled", stalled, weir, arguments.consumers, arguments.records, arguments.strict
            )
            cases.run("SIGTERM ends it with status 0", weir.stop)
    cases.finish()


if __name__ == "__main__":
    main()
