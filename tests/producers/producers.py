"""A million records of 1 KB by a librdkafka and by a Java producer with their defaults: none
lost, none twice.

Prints throughput, the broker's CPU seconds for each GB in and out, and its RssAnon behind each
step. Each record begins with its number, so that what comes back can be counted.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.weir_process import Weir

RECORD_BYTES = 1024
PARTITIONS = 4
CACHE = pathlib.Path(__file__).resolve().parent.parent / ".cache"


class Meter:
    """Seconds and CPU seconds of the broker between its making and `figures`."""

    def __init__(self, weir, records):
        self.weir = weir
        self.gigabytes = records * RECORD_BYTES / 1e9
        self.records = records
        self.started = time.monotonic()
        self.cpu = weir.cpu_seconds()

    def figures(self):
        seconds = time.monotonic() - self.started
        return {
            "seconds": round(seconds, 2),
            "records_per_s": round(self.records / seconds),
            "mb_per_s": round(self.gigabytes * 1000 / seconds, 1),
            "broker_cpu_s_per_gb": round((self.weir.cpu_seconds() - self.cpu) / self.gigabytes, 3),
            "rss_anon_mb": round(self.weir.rss_anon_bytes() / 1e6, 1),
        }


def write_librdkafka(bootstrap, topic, records):
    failures = []
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})

    def delivered(error, _):
        if error is not None:
            failures.append(error)

    padding = b"." * (RECORD_BYTES - 10)
    for number in range(records):
        value = b"%010d%b" % (number, padding)
        while True:
            try:
                producer.produce(topic, value=value, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    unsent = producer.flush(300)
    if unsent or failures:
        raise RuntimeError(f"{unsent} records unsent, {len(failures)} failed: {failures[:1]}")


def write_java(bootstrap, topic, records):
    classes = f"{CACHE / 'java-kafka/jars'}/*:{CACHE / 'java-kafka/classes'}"
    command = [
        "java",
        "-cp",
        classes,
        "Producer",
        bootstrap,
        topic,
        str(records),
        str(RECORD_BYTES),
    ]
    subprocess.run(command, check=True, timeout=600)


def read_all(bootstrap, topic, records):
    """Reads the topic from its beginning to its end; raises unless each number came once."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"{topic}-reader", "enable.auto.commit": False}
    )
    places = [
        confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)
    ]
    ends = {
        place.partition: consumer.get_watermark_offsets(place, timeout=30)[1] for place in places
    }
    assert sum(ends.values()) == records, (
        f"{sum(ends.values())} records lie in the topic, {records} were answered"
    )
    consumer.assign(places)
    times = bytearray(records)
    came = 0
    deadline = time.monotonic() + 300
    while came < records:
        assert time.monotonic() < deadline, f"only {came} of {records} records came"
        for message in consumer.consume(10_000, timeout=1):
            if message.error():
                raise confluent_kafka.KafkaException(message.error())
            value = message.value()
            assert len(value) == RECORD_BYTES, f"a record of {len(value)} bytes"
            times[int(value[:10])] += 1
            came += 1
    consumer.close()
    lost, twice = times.count(0), records - times.count(0) - times.count(1)
    assert lost == 0 and twice == 0, f"{lost} records lost, {twice} more than once"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    options = parser.parse_args()
    failed = 0
    for name, write in [("librdkafka", write_librdkafka), ("java", write_java)]:
        with tempfile.TemporaryDirectory(prefix="producers-", dir=CACHE) as root:
            try:
                with Weir(pathlib.Path(root) / "data") as weir:
                    admin = AdminClient({"bootstrap.servers": weir.kafka})
                    admin.create_topics([NewTopic(name, PARTITIONS)])[name].result(30)
                    meter = Meter(weir, options.records)
                    write(weir.kafka, name, options.records)
                    figures = {"producer": name, "records": options.records, "in": meter.figures()}
                    meter = Meter(weir, options.records)
                    read_all(weir.kafka, name, options.records)
                    figures["out"] = meter.figures()
            except Exception as failure:
                failed += 1
                print(f"FAIL {name}: {type(failure).__name__}: {failure}", flush=True)
                continue
            print(f"PASS {json.dumps(figures)}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
