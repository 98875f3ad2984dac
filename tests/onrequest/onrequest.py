"""What a test may ask of a broker: that something goes wrong, and that time passes.

    faults      set over HTTP and by file; boto3 and librdkafka see the errors, delays, lost answers
                and broken connections that were asked for, and nothing once they are taken back
    time        with --manual-clock: dates, iterators, records, subscriptions, quotas, the sessions
                of consumer groups and the states of streams age when `POST /api/v1/clock` says so; a client's own
                waits stay real
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import botocore.exceptions
import confluent_kafka
import confluent_kafka.admin
import urllib3.exceptions

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "harness"))

import aws
from cases import Cases
from weir_process import Weir

HOUR_MS = 3_600_000
SHARD = "shardId-000000000000"


def client(weir, attempts=0):
    return aws.kinesis(weir.endpoint, retries={"max_attempts": attempts})


def api(weir, path, body=None, method="GET", media_type="application/json"):
    """A request to the control API: its status and its JSON."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://{weir.http}/api/v1/{path}"
    request = urllib.request.Request(url, data, {"Content-Type": media_type}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def advance(weir, milliseconds):
    status, clock = api(weir, "clock", {"advance_ms": milliseconds}, "POST")
    assert status == 200, (status, clock)
    return clock["now_ms"]


class Faults:
    """Faults that are there while a `with` block lasts."""

    def __init__(self, weir, *rules):
        self.weir, self.rules = weir, list(rules)

    def __enter__(self):
        status, answer = api(self.weir, "faults", {"faults": self.rules}, "PUT")
        assert status == 200, answer
        return self

    def __exit__(self, *_):
        status, answer = api(self.weir, "faults", method="DELETE")
        assert (status, answer) == (200, {"faults": []}), answer

    def struck(self):
        return [rule["struck"] for rule in api(self.weir, "faults")[1]["faults"]]


def refused(code, call):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response["Error"]
        return
    raise AssertionError(f"no {code}")


def iterator(kinesis, stream, kind="TRIM_HORIZON", shard="0"):
    asked = {"StreamName": stream, "ShardId": shard, "ShardIteratorType": kind}
    return kinesis.get_shard_iterator(**asked)["ShardIterator"]


def data(kinesis, stream, shard="0"):
    page = kinesis.get_records(ShardIterator=iterator(kinesis, stream, shard=shard))
    return [record["Data"] for record in page["Records"]]


# ---- faults ----


def kinesis_errors(weir):
    kinesis = client(weir)
    kinesis.create_stream(StreamName="errors", ShardCount=2)
    put = {"StreamName": "errors", "Data": b"x", "PartitionKey": "a"}
    third = {
        "dialect": "kinesis", "operation": "PutRecords", "shard": 1, "after": 2, "times": 1,
        "error": "ProvisionedThroughputExceededException",
    }  # fmt: skip
    share = {
        "dialect": "kinesis", "operation": "PutRecord", "rate": 0.3, "seed": 5,
        "error": "InternalFailure",
    }  # fmt: skip
    expired = {"dialect": "kinesis", "operation": "GetRecords", "error": "ExpiredIteratorException"}
    with Faults(weir, third, share, expired) as faults:
        records = [{"Data": b"y", "PartitionKey": "k", "ExplicitHashKey": str(1 << 127)}]
        failed = [
            kinesis.put_records(StreamName="errors", Records=records)["FailedRecordCount"]
            for _ in range(4)
        ]
        assert failed == [0, 0, 1, 0], failed
        # An SDK that tries again gets through in spite of a share of failures.
        for _ in range(20):
            client(weir, 10).put_record(**put)
        refused("ExpiredIteratorException", lambda: data(kinesis, "errors"))
        struck = faults.struck()
    assert struck[0] == 1 and struck[1] > 2 and struck[2] == 1, struck
    assert (len(data(kinesis, "errors")), len(data(kinesis, "errors", "1"))) == (20, 3)
    metrics = urllib.request.urlopen(f"http://{weir.http}/metrics").read().decode()
    assert f"weir_faults_total {sum(struck)}" in metrics, "not in the metrics"
    return f"struck {struck}"


def broken_answers(weir):
    kinesis = client(weir)
    kinesis.create_stream(StreamName="broken", ShardCount=1)
    put = {"StreamName": "broken", "PartitionKey": "a"}
    rule = {"dialect": "kinesis", "operation": "PutRecord", "times": 1}
    for when, written in [("before", 0), ("after", 1)]:
        with Faults(weir, rule | {"disconnect": when}):
            try:
                kinesis.put_record(Data=when.encode(), **put)
                raise AssertionError("answered")
            except botocore.exceptions.HTTPClientError:
                pass
            kinesis.put_record(Data=b"next", **put)
        came = data(kinesis, "broken")
        assert came.count(when.encode()) == written, (when, came)
    with Faults(weir, rule | {"latency_ms": 700}):
        begun = time.monotonic()
        kinesis.put_record(Data=b"slow", **put)
        took = time.monotonic() - begun
    assert took >= 0.7, took
    arn = kinesis.describe_stream_summary(StreamName="broken")["StreamDescriptionSummary"]
    consumer = kinesis.register_stream_consumer(StreamARN=arn["StreamARN"], ConsumerName="c")
    drop = {"operation": "SubscribeToShard", "disconnect": "after", "latency_ms": 300}
    with Faults(weir, drop):
        events = kinesis.subscribe_to_shard(
            ConsumerARN=consumer["Consumer"]["ConsumerARN"], ShardId=SHARD,
            StartingPosition={"Type": "TRIM_HORIZON"},
        )["EventStream"]  # fmt: skip
        came = []
        try:
            for event in events:
                came += event["SubscribeToShardEvent"]["Records"]
            raise AssertionError("the subscription ended in peace")
        except (botocore.exceptions.HTTPClientError, urllib3.exceptions.ProtocolError):
            pass
        assert len(came) == 4, came
    return "before and after the work, a delay, a subscription that breaks off"


def kafka_faults(weir):
    address = weir.kafka
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": address})
    admin.create_topics([confluent_kafka.admin.NewTopic("k", 2)])["k"].result()

    def produce(partition, value):
        told = []
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": address, "retry.backoff.ms": 10, "linger.ms": 0}
        )
        producer.produce("k", value, partition=partition, on_delivery=lambda e, _: told.append(e))
        producer.flush(10)
        return told[0]

    rule = {"dialect": "kafka", "operation": "Produce", "stream": "k", "shard": 1}
    too_large = rule | {"error": "MESSAGE_TOO_LARGE"}
    with Faults(weir, too_large):
        assert produce(0, b"in") is None
        error = produce(1, b"not in")
        assert error.name() == "MSG_SIZE_TOO_LARGE", error
    with Faults(weir, rule | {"error": "NOT_LEADER_OR_FOLLOWER", "times": 2}) as faults:
        assert produce(1, b"at last") is None, "librdkafka tries again"
        assert faults.struck() == [2]
    with Faults(weir, {"dialect": "kafka", "operation": "Produce", "times": 1, "disconnect": "before"}):
        assert produce(1, b"again") is None
    produce_faults = {"dialect": "kafka", "operation": "Produce"}
    pauses, told = [], []
    producer = confluent_kafka.Producer({
        "bootstrap.servers": address, "enable.idempotence": True, "retry.backoff.ms": 10,
        "throttle_cb": lambda event: pauses.append(event.throttle_time),
    })  # fmt: skip

    def produce_once(value):
        producer.produce("k", value, partition=0, on_delivery=lambda e, _: told.append(e))
        assert producer.flush(20) == 0
        producer.poll(0)

    with Faults(weir, produce_faults | {"times": 2, "disconnect": "after"}) as faults:
        produce_once(b"answer lost")
        assert faults.struck() == [2]
    with Faults(weir, produce_faults | {"times": 1, "throttle_ms": 200}):
        produce_once(b"throttled")
    assert pauses == [0.2], pauses
    with Faults(weir, produce_faults | {"times": 1, "latency_ms": 300}):
        began = time.monotonic()
        produce_once(b"late")
        assert time.monotonic() - began >= 0.3
    assert told == [None] * 3, told
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": address, "group.id": "g", "auto.offset.reset": "earliest"}
    )
    join = {"dialect": "kafka", "operation": "JoinGroup", "error": "COORDINATOR_LOAD_IN_PROGRESS"}
    with Faults(weir, join | {"times": 2}) as faults:
        consumer.subscribe(["k"])
        values = []
        deadline = time.monotonic() + 20
        while len(values) < 6 and time.monotonic() < deadline:
            message = consumer.poll(1)
            if message is not None and message.error() is None:
                values.append(message.value())
        assert faults.struck() == [2]
    consumer.close()
    wanted = [b"again", b"answer lost", b"at last", b"in", b"late", b"throttled"]
    assert sorted(values) == wanted, values
    return "a partition's errors, answers lost, late and with a pause, a group's error"


def refusals(weir):
    for body, why in [
        ({"faults": [{}]}, "fault 1: nothing happens"),
        ({"faults": [{"dialect": "kinesis", "error": "Nonsense"}]}, "ends in Nonsense"),
        ({"fault": []}, "unknown field `fault`"),
        ([[]], "not a JSON object"),
    ]:
        status, answer = api(weir, "faults", body, "PUT")
        assert status == 400 and why in answer["error"], answer
    status, answer = api(weir, "faults", {"faults": []}, "PUT", "text/plain")
    assert status == 415, answer
    status, answer = api(weir, "clock", {"advance_ms": 1}, "POST")
    assert status == 409 and "--manual-clock" in answer["error"], answer
    assert api(weir, "clock")[1]["manual"] is False
    assert api(weir, "nothing")[0] == 404 and api(weir, "clock", method="DELETE")[0] == 405
    return "rules that cannot be followed, other media types, a clock that moves by itself"


def from_file(directory):
    file = directory / "faults.toml"
    file.write_text('[[fault]]\ndialect = "kinesis"\noperation = "ListStreams"\nerror = "InternalFailure"\n')
    with Weir(directory / "file", "--faults", str(file)) as weir:
        refused("InternalFailure", client(weir).list_streams)
    assert "faults on request" in weir.log_path.read_text(), "not in the log"
    return "--faults"


# ---- time ----


def dates(weir):
    kinesis = client(weir)
    kinesis.create_stream(StreamName="dates", ShardCount=1)
    begun = api(weir, "clock")[1]["now_ms"]
    time.sleep(0.05)
    assert api(weir, "clock")[1] == {"now_ms": begun, "manual": True}
    kinesis.put_record(StreamName="dates", Data=b"old", PartitionKey="k")
    at_first = iterator(kinesis, "dates")
    assert advance(weir, 300_001) == begun + 300_001
    refused("ExpiredIteratorException", lambda: kinesis.get_records(ShardIterator=at_first))
    advance(weir, 23 * HOUR_MS)
    kinesis.put_record(StreamName="dates", Data=b"new", PartitionKey="k")
    records = kinesis.get_records(ShardIterator=iterator(kinesis, "dates"))["Records"]
    arrived = [round(record["ApproximateArrivalTimestamp"].timestamp() * 1000) for record in records]
    assert arrived == [begun, begun + 300_001 + 23 * HOUR_MS], arrived
    advance(weir, HOUR_MS)
    assert data(kinesis, "dates") == [b"new"], "24 hours have passed"
    return "timestamps, an iterator's five minutes, 24 hours of retention"


def subscriptions(weir):
    kinesis = client(weir)
    kinesis.create_stream(StreamName="pushed", ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName="pushed")["StreamDescriptionSummary"]
    consumer = kinesis.register_stream_consumer(StreamARN=arn["StreamARN"], ConsumerName="c")
    events = kinesis.subscribe_to_shard(
        ConsumerARN=consumer["Consumer"]["ConsumerARN"], ShardId=SHARD,
        StartingPosition={"Type": "TRIM_HORIZON"},
    )["EventStream"]  # fmt: skip
    ended = []
    reader = threading.Thread(target=lambda: ended.append(len(list(events))))
    reader.start()
    advance(weir, 299_000)
    time.sleep(0.3)
    assert not ended, "before its five minutes were over"
    advance(weir, 1_000)
    reader.join(5)
    assert ended, "after them"
    return "five minutes"


def quotas(weir):
    kinesis = client(weir)
    kinesis.create_stream(StreamName="full", ShardCount=1)
    record = {"StreamName": "full", "Data": bytes((1 << 20) - 1), "PartitionKey": "k"}
    while True:
        try:
            kinesis.put_record(**record)
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            break
    time.sleep(1.5)
    refused("ProvisionedThroughputExceededException", lambda: kinesis.put_record(**record))
    advance(weir, 2_000)
    kinesis.put_record(**record)
    return "a shard in debt stays so until time passes"


def states(weir):
    kinesis = client(weir)

    def status():
        summary = kinesis.describe_stream_summary(StreamName="slow")
        return summary["StreamDescriptionSummary"]["StreamStatus"]

    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": weir.kafka})
    setting = confluent_kafka.admin.ConfigEntry(
        "weir.stream.state.delay.ms", "800",
        incremental_operation=confluent_kafka.admin.AlterConfigOpType.SET,
    )  # fmt: skip
    broker = confluent_kafka.admin.ConfigResource("broker", "1", incremental_configs=[setting])
    admin.incremental_alter_configs([broker])[broker].result()
    kinesis.create_stream(StreamName="slow", ShardCount=1)
    seen = [status()]
    advance(weir, 800)
    seen.append(status())
    kinesis.update_shard_count(
        StreamName="slow", TargetShardCount=2, ScalingType="UNIFORM_SCALING"
    )
    seen.append(status())
    refused("ResourceInUseException", lambda: kinesis.add_tags_to_stream(StreamName="slow", Tags={"a": "b"}))
    advance(weir, 800)
    kinesis.delete_stream(StreamName="slow")
    seen.append(status())
    advance(weir, 1_800)
    refused("ResourceNotFoundException", status)
    assert seen == ["CREATING", "ACTIVE", "UPDATING", "DELETING"], seen
    return ", ".join(seen)


def on_demand(weir):
    kinesis = client(weir)
    mode = {"StreamMode": "ON_DEMAND"}
    kinesis.create_stream(StreamName="grows", StreamModeDetails=mode)
    arn = kinesis.describe_stream_summary(StreamName="grows")["StreamDescriptionSummary"]["StreamARN"]

    def shards():
        summary = kinesis.describe_stream_summary(StreamName="grows")
        return summary["StreamDescriptionSummary"]["OpenShardCount"]

    seen = [shards()]
    records = [{"Data": bytes((1 << 19) - 1000), "PartitionKey": str(key)} for key in range(18)]
    for _ in range(8):
        kinesis.put_records(StreamName="grows", Records=records)
    # Not quite 72 MiB in 12 seconds are not quite 6 MiB/s, and 12 are double.
    advance(weir, 12_000)
    seen.append(shards())
    status = {"Status": "ENABLED"}
    kinesis.update_account_settings(MinimumThroughputBillingCommitment=status)
    kinesis.update_stream_warm_throughput(StreamARN=arn, WarmThroughputMiBps=20)
    advance(weir, 2_000)
    seen.append(shards())
    assert seen == [4, 12, 20], seen
    return "4 shards, then 12 for 6 MiB/s, then 20 for 20 MiB/s of warm throughput"


CONSUMER = """
import confluent_kafka, sys
consumer = confluent_kafka.Consumer({"bootstrap.servers": sys.argv[1], "group.id": "sleepers"})
consumer.subscribe(["slept"])
while not consumer.assignment():
    consumer.poll(0.2)
print("assigned", flush=True)
while True:
    consumer.poll(1)
"""


def groups(weir):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": weir.kafka})
    admin.create_topics([confluent_kafka.admin.NewTopic("slept", 1)])["slept"].result()
    command = [sys.executable, "-c", CONSUMER, weir.kafka]
    member = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert member.stdout.readline() == "assigned\n"
        # So that it cannot heartbeat, nor join again.
        member.send_signal(19)

        def members():
            future = admin.describe_consumer_groups(["sleepers"])["sleepers"]
            return len(future.result().members)

        advance(weir, 40_000)
        assert members() == 1, "its session lasts 45 s"
        advance(weir, 6_000)
        assert members() == 0, "its session is over"
    finally:
        member.kill()
        member.wait()
    begun = time.monotonic()
    consumer = confluent_kafka.Consumer({"bootstrap.servers": weir.kafka, "group.id": "x"})
    consumer.assign([confluent_kafka.TopicPartition("slept", 0)])
    assert consumer.poll(1) is None
    consumer.close()
    assert 0.9 < time.monotonic() - begun < 20, "a long poll is real"
    return "a member's session ends when time passes, a poll by itself"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-onrequest-") as directory:
        directory = pathlib.Path(directory)
        with Weir(directory / "faults", "--quotas", "off") as weir:
            for name, case in [
                ("Kinesis errors", kinesis_errors), ("broken answers", broken_answers),
                ("Kafka", kafka_faults), ("refusals", refusals),
            ]:  # fmt: skip
                cases.run(name, case, weir)
        cases.run("file", from_file, directory)
        with Weir(directory / "grown", "--manual-clock", "--quotas", "off") as weir:
            cases.run("on-demand", on_demand, weir)
        with Weir(directory / "time", "--manual-clock") as weir:
            for name, case in [
                ("dates", dates), ("subscriptions", subscriptions), ("quotas", quotas),
                ("groups", groups), ("states", states),
            ]:  # fmt: skip
                cases.run(name, case, weir)
            cases.run("SIGTERM ends it with status 0", weir.stop)
    cases.finish()


if __name__ == "__main__":
    main()
