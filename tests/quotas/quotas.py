"""Client quotas with real clients: a producer and a consumer of librdkafka and of Java are held to
a byte rate each, all at the same time, while a client without a quota works beside them.

    set        Kafka's own kafka-configs gives the quotas and shows them
    held       each client's rate over the run is its quota's, within the tolerance below
    told       the Java producer reports the pauses that it was told of; /metrics counts them
    muted      a client that does not know of pauses is not read meanwhile
    refused    an address over its rate of connections is closed out, and no other
    unharmed   the client without a quota is answered as quickly as ever

weir measures over two samples of a second here instead of eleven, so that a client can save up one
second's worth and a short run shows its rate.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
sys.path.insert(0, str(TESTS / "harness"))

import kafka_wire
from harness.cases import Cases
from harness.kafka_process import java
from harness.weir_process import Weir

MEBIBYTE = 1 << 20
RATE = MEBIBYTE
RECORD_BYTES = 1000
WINDOWS = ["--set", "quota.window.num=2", "--set", "quota.window.size.seconds=1"]

# What a client may be above its rate: it may save up for one second, and the last request of a run
# (up to 1 MB) is counted whole though it is paid for later. Below: a client notices the end of its
# pause late, and loses what it could not save up.
ABOVE_S, BELOW = 2.5, 0.7

# One record each way without a quota, on a machine whose processors are busy with the others.
UNHARMED_S_MAX = 1.0

# From another loopback address, so that the other clients' connections do not count.
CROWDED_ADDRESS, CONNECTIONS_PER_SECOND = "127.0.0.2", 5


def configure(weir, *arguments):
    """Runs kafka-configs and returns what it prints."""
    command = java("kafka.admin.ConfigCommand", "--bootstrap-server", weir.kafka, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"kafka-configs {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def set_quota(weir, kind, name, quota):
    return configure(
        weir, "--alter", "--entity-type", kind, "--entity-name", name, "--add-config", quota
    )


def held(moved_bytes, seconds):
    """Says what rate a client had; fails unless it is its quota's."""
    least, most = RATE * seconds * BELOW, RATE * (seconds + ABOVE_S)
    text = f"{moved_bytes / seconds / MEBIBYTE:.2f} MiB/s of 1 over {seconds:.0f} s"
    assert least <= moved_bytes <= most, text
    return text


def librdkafka_producer(weir, seconds):
    failures = []
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": weir.kafka, "client.id": "held-producer", "linger.ms": 5}
    )
    acknowledged = 0

    def delivered(error, message):
        nonlocal acknowledged
        if error is not None:
            failures.append(error)
        else:
            acknowledged += len(message.value())

    value = b"." * RECORD_BYTES
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        try:
            producer.produce("written", value, partition=0, on_delivery=delivered)
        except BufferError:
            producer.poll(0.05)
    moved, elapsed = acknowledged, time.monotonic() - started
    producer.purge()
    producer.flush(5)
    purged = (confluent_kafka.KafkaError._PURGE_QUEUE, confluent_kafka.KafkaError._PURGE_INFLIGHT)
    failures = [error for error in failures if error.code() not in purged]
    assert not failures, failures[:1]
    return held(moved, elapsed)


def librdkafka_consumer(weir, seconds):
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": weir.kafka,
            "client.id": "held-consumer",
            "group.id": "held",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([confluent_kafka.TopicPartition("stock", 0, 0)])
    moved, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        for message in consumer.consume(1000, timeout=0.1):
            assert message.error() is None, message.error()
            moved += len(message.value())
    elapsed = time.monotonic() - started
    consumer.close()
    return held(moved, elapsed)


def java_perf(name, arguments, timeout_s):
    command = java(f"org.apache.kafka.tools.{name}", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return done.stdout


def java_producer(weir, seconds):
    records = RATE * seconds // RECORD_BYTES
    printed = java_perf(
        "ProducerPerformance",
        [
            "--topic", "written", "--num-records", str(records),
            "--record-size", str(RECORD_BYTES), "--throughput", "-1", "--print-metrics",
            "--bootstrap-server", weir.kafka,
            "--command-property", "client.id=held-java-producer",
        ],
        60 + 2 * seconds,
    )  # fmt: skip
    rate = float(re.findall(r"records sent, ([0-9.]+) records/sec", printed)[-1])
    told = re.search(r"produce-throttle-time-max:.*?: *([0-9.]+)", printed)
    assert told and float(told[1]) > 0, "the producer was not told of any pause"
    return f"{held(records * RECORD_BYTES, records / rate)}, told of {float(told[1]):.0f} ms"


def java_consumer(weir, seconds):
    records = RATE * seconds // RECORD_BYTES
    with tempfile.NamedTemporaryFile("w", suffix=".properties") as properties:
        properties.write("client.id=held-java-consumer\n")
        properties.flush()
        printed = java_perf(
            "ConsumerPerformance",
            [
                "--topic", "stock", "--num-records", str(records),
                "--bootstrap-server", weir.kafka, "--command-config", properties.name,
            ],
            60 + 2 * seconds,
        )  # fmt: skip
    titles, figures = [line.split(", ") for line in printed.strip().splitlines()[-2:]]
    row = dict(zip(titles, figures, strict=True))
    milliseconds = float(row["fetch.time.ms"])
    return held(float(row["data.consumed.in.MB"]) * MEBIBYTE, milliseconds / 1000)


class Unharmed:
    """A client without a quota: writes a record and reads it back, again and again."""

    def __init__(self, weir):
        self.stopped = threading.Event()
        self.slowest_s = self.rounds = 0
        self.failure = None
        self.thread = threading.Thread(target=self.work, args=(weir,), daemon=True)
        self.thread.start()

    def work(self, weir):
        try:
            with kafka_wire.Connection(weir.kafka) as connection:
                offset = 0
                while not self.stopped.wait(0.02):
                    started = time.monotonic()
                    offset = write_and_read(connection, offset)
                    self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                    self.rounds += 1
        except Exception as failure:
            self.failure = failure

    def stop(self):
        self.stopped.set()
        self.thread.join(30)
        assert self.failure is None, self.failure
        text = f"{self.rounds} records, the slowest {self.slowest_s * 1000:.0f} ms"
        assert self.rounds > 50 and self.slowest_s < UNHARMED_S_MAX, text
        return text


def write_and_read(connection, offset):
    """One record there and back; returns the next offset."""
    code, written_at, text = kafka_wire.produce(
        connection, "unharmed", kafka_wire.record_batch([b"unharmed"])
    )
    assert (code, written_at) == (kafka_wire.NONE, offset), (code, written_at, text)
    code, _, records = kafka_wire.fetch(connection, "unharmed", offset)
    assert code == kafka_wire.NONE, code
    assert kafka_wire.values_of(records) == [(offset, b"unharmed")]
    return offset + 1


def muted(weir):
    """A client that sends on after it was told to pause."""
    with kafka_wire.Connection(weir.kafka, client_id="muted") as connection:
        batch = kafka_wire.record_batch([b"." * 3_000])
        asked = time.monotonic()
        body = kafka_wire.produce_body("written", batch)
        answer = connection.ask(kafka_wire.PRODUCE, 3, body)
        answered_s = time.monotonic() - asked
        # The announced pause stands at the end of the answer.
        pause_s = int.from_bytes(answer.data[-4:], "big") / 1000
        assert pause_s > 1 and answered_s < pause_s / 2, (pause_s, answered_s)
        kafka_wire.metadata(connection, topics=[])
        waited_s = time.monotonic() - asked
    assert pause_s <= waited_s < pause_s + 1, (pause_s, waited_s)
    return f"answered after {answered_s:.3f} s, read on after {waited_s:.1f} of {pause_s:.1f} s"


def crowded(weir):
    """Connects from one address as fast as it can."""
    served = refused = 0
    started = time.monotonic()
    while time.monotonic() - started < 3:
        try:
            with kafka_wire.Connection(weir.kafka, source=CROWDED_ADDRESS) as connection:
                kafka_wire.metadata(connection, topics=[])
            served += 1
        except kafka_wire.Closed:
            refused += 1
    text = f"{served} connections served, {refused} closed"
    assert refused > 0 and served <= CONNECTIONS_PER_SECOND * 5, text
    with kafka_wire.Connection(weir.kafka, source="127.0.0.3") as connection:
        kafka_wire.metadata(connection, topics=[])
    return text


def counted(weir):
    """The broker's own count of the pauses that it gave."""
    with urllib.request.urlopen(f"http://{weir.http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    pauses = {
        api: int(count)
        for api, count in re.findall(r'weir_client_pauses_total\{.*api="(\w+)"\} (\d+)', text)
    }
    assert pauses["Produce"] > 0 and pauses["Fetch"] > 0, pauses
    return f"{pauses['Produce']} pauses of Produce, {pauses['Fetch']} of Fetch"


def together(cases, clients):
    """Runs cases at the same time, and prints them one after the other."""
    outcomes = {}

    def run(name, case, arguments):
        try:
            outcomes[name] = case(*arguments)
        except Exception as failure:
            outcomes[name] = failure

    threads = [threading.Thread(target=run, args=client) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def outcome(name):
        if isinstance(outcomes[name], Exception):
            raise outcomes[name]
        return outcomes[name]

    for name, _, _ in clients:
        cases.run(name, outcome, name)


def fill(weir, seconds):
    """More records than two consumers read in that time."""
    admin = AdminClient({"bootstrap.servers": weir.kafka})
    for made in admin.create_topics(
        [NewTopic(topic, 1) for topic in ("written", "stock", "unharmed")]
    ).values():
        made.result(30)
    producer = confluent_kafka.Producer({"bootstrap.servers": weir.kafka})
    for _ in range(2 * RATE * seconds // RECORD_BYTES):
        while True:
            try:
                producer.produce("stock", b"." * RECORD_BYTES, partition=0)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


def set_quotas(weir):
    """What `kafka-configs` sets it shows."""
    quotas = [
        ("clients", "held-producer", f"producer_byte_rate={RATE}"),
        ("clients", "held-consumer", f"consumer_byte_rate={RATE}"),
        ("clients", "held-java-producer", f"producer_byte_rate={RATE}"),
        ("clients", "held-java-consumer", f"consumer_byte_rate={RATE}"),
        ("clients", "muted", "producer_byte_rate=1000"),
        ("users", "somebody", "request_percentage=50"),
        ("ips", CROWDED_ADDRESS, f"connection_creation_rate={CONNECTIONS_PER_SECOND}"),
    ]
    threads = [threading.Thread(target=set_quota, args=(weir, *quota)) for quota in quotas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = [
        configure(weir, "--describe", "--entity-type", kind) for kind in ("clients", "users", "ips")
    ]
    for _, name, quota in quotas:
        assert any(name in text and quota in text for text in shown), (name, shown)
    return f"{len(quotas)} quotas"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each client (%(default)s)")
    seconds = parser.parse_args().seconds
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="quotas-", dir=TESTS / ".cache") as root:
        with Weir(pathlib.Path(root) / "data", *WINDOWS) as weir:
            fill(weir, seconds)
            cases.run("set", set_quotas, weir)
            unharmed = Unharmed(weir)
            together(
                cases,
                [
                    ("held: librdkafka producer", librdkafka_producer, (weir, seconds)),
                    ("held: librdkafka consumer", librdkafka_consumer, (weir, seconds)),
                    ("held: java producer", java_producer, (weir, seconds)),
                    ("held: java consumer", java_consumer, (weir, seconds)),
                    ("muted", muted, (weir,)),
                    ("refused", crowded, (weir,)),
                ],
            )
            cases.run("told", counted, weir)
            cases.run("unharmed", unharmed.stop)
    cases.finish()


if __name__ == "__main__":
    main()
