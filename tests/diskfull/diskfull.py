"""A full disk, under each flush policy: `tests/diskfull/run [POLICY…]`.

The data directory of each run lies on a tmpfs of 64 MiB, which Kafka and Kinesis clients fill:

    fill ──► writes refused, reads and deletes go on ──► a topic is deleted ──► writes in 5 s
    fill ──► kill -9, start, fill ──► reads go on ──► the tmpfs grows ──► writes in 5 s

At the end everything that was acknowledged is there exactly once, byte for byte.
"""

import contextlib
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import aws
import botocore.exceptions
import kafka_wire
from cases import Cases
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from json_log import JsonLog
from weir_process import Weir

DISK = "64m"
GROWN_DISK = "96m"
TOPIC, VICTIM, STREAM, GROUP = "filled", "victim", "filled-stream", "readers"
VICTIM_STREAM = "victim-stream"
RECORD_BYTES = 100_000
VICTIM_RECORDS = 150
RESUME_S_MAX = 5
POLICIES = ["group", "interval", "os"]


def value_of(name, size=RECORD_BYTES):
    """The bytes of the record of this name: they begin with it, and no codec makes them smaller."""
    start = json.dumps([name, size]).encode() + b"\n"
    return start + hashlib.shake_128(start).digest(max(0, size - len(start)))


def name_of(value):
    name, size = json.loads(value[: value.index(b"\n")])
    assert value == value_of(name, size), f"record {name} came back with other bytes"
    return name


@contextlib.contextmanager
def mounted(directory):
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "weir-diskfull", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"diskfull: cannot mount a tmpfs, which needs root: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


class FullDisk:
    """One weir on a small disk, and what it has acknowledged."""

    def __init__(self, weir, disk):
        self.weir = weir
        self.disk = disk
        self.log = JsonLog(weir.log_path)
        self.acknowledged = {"kafka": set(), "kinesis": set()}
        self.attempted = {"kafka": 0, "kinesis": 0}
        self.committed = None

    def kafka(self):
        return kafka_wire.Connection(self.weir.kafka)

    def kinesis(self):
        # One attempt of each call, so that what is written twice was written twice by weir.
        return aws.kinesis(
            self.weir.endpoint,
            retries={"total_max_attempts": 1},
            read_timeout=10,
            connect_timeout=5,
        )

    def next_name(self, dialect):
        self.attempted[dialect] += 1
        return f"{dialect} {self.attempted[dialect]}"

    # ---- writing ----

    def prepare(self):
        batch = kafka_wire.record_batch([value_of("victim")])
        self.kinesis().create_stream(StreamName=VICTIM_STREAM, ShardCount=1)
        with self.kafka() as connection:
            assert kafka_wire.create_topic(connection, VICTIM) == 0
            for _ in range(VICTIM_RECORDS):
                code, _, why = kafka_wire.produce(connection, VICTIM, batch)
                assert code == 0, f"error code {code} ({why})"
            code = kafka_wire.commit_offset(connection, GROUP, TOPIC, 1)
            assert code == 0, f"the first offset commit: error code {code}"
        self.committed = 1
        return f"{VICTIM_RECORDS * RECORD_BYTES // 1_000_000} MB in the topic that will be deleted"

    def fill(self):
        """Writes by both dialects at once until both are refused."""
        outcomes = {}
        writers = [
            threading.Thread(target=self.attempt, args=(outcomes, write))
            for write in (self.fill_by_kafka, self.fill_by_kinesis)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        for outcome in outcomes.values():
            if isinstance(outcome, Exception):
                raise outcome
        return "; ".join(outcomes.values())

    @staticmethod
    def attempt(outcomes, write):
        try:
            outcomes[write.__name__] = write()
        except Exception as error:
            outcomes[write.__name__] = error

    def fill_by_kafka(self):
        """librdkafka with acks=all and no retries of its own, so that each record is sent once."""
        settings = {
            "bootstrap.servers": self.weir.kafka,
            "acks": "all",
            "retries": 0,
            "linger.ms": 5,
        }
        producer = Producer(settings | {"message.timeout.ms": 15_000, "batch.size": 900_000})
        refused = []
        before = len(self.acknowledged["kafka"])

        def delivered(name):
            def report(error, message):
                if error is None:
                    self.acknowledged["kafka"].add(name)
                else:
                    refused.append(error.code())

            return report

        deadline = time.monotonic() + 15
        while not refused:
            assert time.monotonic() < deadline, "the disk did not get full within 15 s"
            name = self.next_name("kafka")
            producer.produce(TOPIC, value_of(name), on_delivery=delivered(name), partition=0)
            producer.poll(0)
            if len(producer) > 20:
                producer.poll(0.05)
        assert producer.flush(15) == 0, "librdkafka still waits for answers"
        codes = set(refused)
        shown = {KafkaError(code).name() for code in codes}
        assert codes == {KafkaError.KAFKA_STORAGE_ERROR}, f"refused with {shown}"
        taken = len(self.acknowledged["kafka"]) - before
        return f"librdkafka: {taken} taken, {len(refused)} refused with {shown.pop()}"

    def fill_by_kinesis(self):
        client = self.kinesis()
        before = len(self.acknowledged["kinesis"])
        deadline = time.monotonic() + 15
        while True:
            assert time.monotonic() < deadline, "the disk did not get full within 15 s"
            names = [self.next_name("kinesis") for _ in range(3)]
            records = [{"Data": value_of(name), "PartitionKey": name} for name in names]
            answer = client.put_records(StreamName=STREAM, Records=records)
            codes = [record.get("ErrorCode") for record in answer["Records"]]
            kept = {name for name, code in zip(names, codes, strict=True) if code is None}
            self.acknowledged["kinesis"] |= kept
            errors = set(codes) - {None}
            if errors:
                break
            time.sleep(0.01)
        assert errors == {"InternalFailure"}, f"refused with {errors}"
        taken = len(self.acknowledged["kinesis"]) - before
        return f"boto3: {taken} taken, then InternalFailure for records of PutRecords"

    # ---- while it is full ----

    def kafka_error(self):
        with self.kafka() as connection:
            for size in (10, 10_000, 900_000):
                for acks in (1, -1):
                    batch = kafka_wire.record_batch([value_of(self.next_name("kafka"), size)])
                    code, _, why = kafka_wire.produce(connection, TOPIC, batch, acks)
                    assert code == kafka_wire.KAFKA_STORAGE_ERROR, (
                        f"{size} bytes: error code {code}"
                    )
        return f"error code 56 for 10 bytes, 10 KB and 900 KB: {why}"

    def kinesis_error(self):
        try:
            self.kinesis().put_record(StreamName=STREAM, Data=b"x", PartitionKey="k")
        except botocore.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            code = error.response["Error"]["Code"]
            assert (status, code) == (500, "InternalFailure"), f"{status} {code}"
            return "500 InternalFailure"
        raise AssertionError("PutRecord was answered with success")

    def idempotent_retry(self):
        """librdkafka with its defaults keeps trying: its record is written once there is space."""
        # Its own log would tell of each connection that a later kill breaks.
        settings = {
            "bootstrap.servers": self.weir.kafka,
            "enable.idempotence": True,
            "log_level": 0,
        }
        self.waiting_producer = Producer(settings)
        self.waiting_name = self.next_name("kafka")

        def delivered(error, _):
            assert error is None, f"the waiting record was refused: {error}"
            self.acknowledged["kafka"].add(self.waiting_name)

        self.waiting_producer.produce(
            TOPIC, value_of(self.waiting_name), on_delivery=delivered, partition=0
        )
        left = self.waiting_producer.flush(1)
        assert left == 1, "the record was delivered to a full disk"
        return "librdkafka with idempotence waits and tries again"

    def waiting_record_arrives(self):
        left = self.waiting_producer.flush(RESUME_S_MAX)
        assert left == 0, f"not delivered within {RESUME_S_MAX} s"
        assert self.waiting_name in self.acknowledged["kafka"]
        return "the record that waited is delivered"

    def offset_commit(self):
        """Takes little room, so it may succeed; if it does, it must last."""
        with self.kafka() as connection:
            offset = self.committed + 1
            code = kafka_wire.commit_offset(connection, GROUP, TOPIC, offset)
            if code == 0:
                self.committed = offset
            shown = kafka_wire.committed_offset(connection, GROUP, TOPIC)
            assert shown == (0, self.committed), (
                f"OffsetFetch answers {shown}, not {self.committed}"
            )
        # Retriable ones: storage error, coordinator loading, not available, not coordinator.
        assert code in (0, 14, 15, 16, 56), f"error code {code}"
        return "taken" if code == 0 else f"error code {code}, the offset before is still served"

    def topic_creation(self):
        with self.kafka() as connection:
            code = kafka_wire.create_topic(connection, "created-when-full")
        assert code in (0, kafka_wire.KAFKA_STORAGE_ERROR), f"error code {code}"
        return "taken from the reserve" if code == 0 else "error code 56"

    def delete_topic(self):
        with self.kafka() as connection:
            code = kafka_wire.delete_topic(connection, VICTIM)
            assert code == 0, f"error code {code}"
            self.resumed_after = time.monotonic()
            known = kafka_wire.metadata(connection, [VICTIM])
            assert known[VICTIM][0] == kafka_wire.UNKNOWN_TOPIC_OR_PARTITION, known
        return "done"

    def delete_stream(self):
        self.kinesis().delete_stream(StreamName=VICTIM_STREAM)
        names = self.kinesis().list_streams()["StreamNames"]
        assert VICTIM_STREAM not in names, names
        return "done"

    def grow(self):
        command = ["mount", "-o", f"remount,size={GROWN_DISK}", str(self.disk)]
        subprocess.run(command, check=True)
        self.resumed_after = time.monotonic()
        return f"{DISK} to {GROWN_DISK}"

    def writes_resume(self):
        """Both dialects, within five seconds of the space."""
        seconds = {}
        for dialect, write in (("kafka", self.write_once), ("kinesis", self.put_once)):
            while not write():
                waited = time.monotonic() - self.resumed_after
                assert waited < RESUME_S_MAX, (
                    f"{dialect} writes are still refused after {waited:.1f} s"
                )
                time.sleep(0.05)
            seconds[dialect] = time.monotonic() - self.resumed_after
        return ", ".join(f"{dialect} after {waited:.1f} s" for dialect, waited in seconds.items())

    def write_once(self):
        name = self.next_name("kafka")
        with self.kafka() as connection:
            code, _, _ = kafka_wire.produce(
                connection, TOPIC, kafka_wire.record_batch([value_of(name)])
            )
        assert code in (0, kafka_wire.KAFKA_STORAGE_ERROR), f"error code {code}"
        if code == 0:
            self.acknowledged["kafka"].add(name)
        return code == 0

    def put_once(self):
        name = self.next_name("kinesis")
        try:
            self.kinesis().put_record(StreamName=STREAM, Data=value_of(name), PartitionKey=name)
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "InternalFailure", error
            return False
        self.acknowledged["kinesis"].add(name)
        return True

    # ---- reading ----

    def read_by_kafka(self):
        """Everything in the topic, by librdkafka from the beginning."""
        settings = {"bootstrap.servers": self.weir.kafka, "group.id": "unused", "check.crcs": True}
        consumer = Consumer(settings | {"enable.auto.commit": False, "fetch.wait.max.ms": 50})
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=10)
            consumer.assign([TopicPartition(TOPIC, 0, 0)])
            names, deadline = [], time.monotonic() + 15
            while len(names) < end:
                assert time.monotonic() < deadline, f"{len(names)} of {end} records within 15 s"
                for message in consumer.consume(500, 0.2):
                    assert message.error() is None, message.error()
                    names.append(name_of(message.value()))
            return names
        finally:
            consumer.close()

    def read_by_kinesis(self):
        client = self.kinesis()
        start = {"StreamName": STREAM, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
        iterator = client.get_shard_iterator(**start)["ShardIterator"]
        names, deadline = [], time.monotonic() + 15
        while True:
            assert time.monotonic() < deadline, f"{len(names)} records within 15 s"
            page = client.get_records(ShardIterator=iterator)
            names += [name_of(record["Data"]) for record in page["Records"]]
            iterator = page["NextShardIterator"]
            if page["MillisBehindLatest"] == 0 and not page["Records"]:
                return names

    def everything_is_there(self):
        """Everything acknowledged, once; nothing at all twice."""
        counts = []
        for dialect, read in (("kafka", self.read_by_kafka), ("kinesis", self.read_by_kinesis)):
            names = read()
            lost = self.acknowledged[dialect] - set(names)
            assert not lost, f"{len(lost)} acknowledged records are lost, {sorted(lost)[:3]} first"
            twice = len(names) - len(set(names))
            assert twice == 0, f"{twice} records are there twice"
            counts.append(f"{len(self.acknowledged[dialect])} by {dialect}")
        return " and ".join(counts) + " acknowledged, each there once"

    def offset_is_kept(self):
        with self.kafka() as connection:
            shown = kafka_wire.committed_offset(connection, GROUP, TOPIC)
        assert shown == (0, self.committed), f"{shown}, not {self.committed}"
        return f"offset {self.committed}"

    def crash_without_a_byte_free(self):
        """Somebody else takes what is left of the disk, the reserve too."""
        self.weir.kill()
        filler = self.disk / "somebody-elses"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        free = shutil.disk_usage(self.disk).free
        assert free == 0, f"{free} bytes are free"
        started = time.monotonic()
        self.weir.start()
        seconds = time.monotonic() - started
        detail = self.everything_is_there()
        filler.unlink()
        # The broker was full for want of its reserve. It looks once a second, and what the crash
        # left free may be enough for both; only then is filling it filling it.
        time.sleep(1.5)
        return f"serving reads again after {seconds * 1000:.0f} ms: {detail}"

    def crash(self):
        self.weir.kill()
        started = time.monotonic()
        self.weir.start()
        return f"kill -9, serving again after {(time.monotonic() - started) * 1000:.0f} ms"

    def logged(self):
        """It was full three times; a start may find it so once more."""
        full, again = self.log.count("disk full"), self.log.count("space on the disk again")
        assert 3 <= full <= 4, f"{full} log lines tell of the full disk"
        assert 2 <= again <= 3, f"{again} log lines tell of space"
        assert not self.log.has("panicked"), "the log tells of a panic"
        return f"{full} lines tell of a full disk, {again} of space"

    def steps(self):
        """In order; each stands on those before it."""
        yield "prepare", self.prepare
        yield "fill", self.fill
        yield "Kafka error while full", self.kafka_error
        yield "Kinesis error while full", self.kinesis_error
        yield "an idempotent producer while full", self.idempotent_retry
        yield "reads while full", self.everything_is_there
        yield "offset commit while full", self.offset_commit
        yield "topic creation while full", self.topic_creation
        yield "stream deletion while full", self.delete_stream
        yield "topic deletion while full", self.delete_topic
        yield "writes resume after a deletion", self.writes_resume
        yield "the waiting record arrives", self.waiting_record_arrives
        yield "fill again", self.fill
        yield "a crash while full, and no byte free at the start", self.crash_without_a_byte_free
        # The start gave back what the active segments had reserved, so there is room again.
        yield "fill after the crash", self.fill
        yield "Kafka error while full, after the crash", self.kafka_error
        yield "reads while full, after the crash", self.everything_is_there
        yield "the disk grows", self.grow
        yield "writes resume on the grown disk", self.writes_resume
        yield "a crash at the end", self.crash
        yield "reads at the end", self.everything_is_there
        yield "the committed offset at the end", self.offset_is_kept
        yield "the log", self.logged
        yield "SIGTERM ends it in order, with status 0", self.weir.stop


def run_policy(policy, cases):
    with tempfile.TemporaryDirectory(prefix="weir-diskfull-") as directory:
        disk = pathlib.Path(directory) / "disk"
        disk.mkdir()
        with mounted(disk):
            weir = Weir(
                disk / "data",
                *("--flush", policy, "--quotas", "off", "--topic", TOPIC, "--stream", STREAM),
            )
            # Not on the disk that gets full.
            weir.log_path = pathlib.Path(directory) / "weir.log"
            with weir:
                full_disk = FullDisk(weir, disk)
                for name, step in full_disk.steps():
                    cases.run(f"{policy}: {name}", step)
                    if weir.process is not None and weir.process.poll() is not None:
                        print(f"weir ended; its log:\n{weir.log_tail()}", file=sys.stderr)
                        break
                if cases.failed:
                    print(f"the end of the log:\n{weir.log_tail()}", file=sys.stderr)
                    if weir.process is not None:
                        weir.kill()


def main():
    cases = Cases()
    for policy in sys.argv[1:] or POLICIES:
        run_policy(policy, cases)
    cases.finish()


if __name__ == "__main__":
    main()
