"""The real input: every line of a web server's log goes in by one dialect and comes out of both.

In each form nginx serves LINES requests. As it writes its log, the lines of one half (odd or even
request numbers) go in by librdkafka and the others by boto3 PutRecords, while a group of three
Kafka consumers and GetRecords over all shards read. Then each reader has to have every line once,
byte for byte, under its path as key, in the order of the log per writer and path, at the place
that the acknowledgement named.

In the forms with a kill, weir is ended by kill -9 when half of the lines are acknowledged, and
started again on its directory. Then a line may be there twice if, and only if, some attempt of
its PutRecords got no answer.
"""

import argparse
import json
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time
import typing
import uuid

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import aws, segments
from harness.weir_process import Weir
from readers import GetRecordsReader, GroupReader
from web import WebServer, number_of, path_of
from writers import LibrdkafkaWriter, PutRecordsWriter

PARTITIONS = 4
TIMEOUT_S = 240


class Form(typing.NamedTuple):
    """How one pass over the input goes."""

    name: str
    made_by: str
    codec: str = "none"
    kill: bool = False


FORMS = [
    Form("kafka-topic", "kafka"),
    Form("kinesis-stream", "kinesis"),
    Form("gzip", "kafka", "gzip"),
    Form("snappy", "kafka", "snappy"),
    Form("lz4", "kafka", "lz4"),
    Form("zstd", "kafka", "zstd"),
    Form("kafka-topic-kill", "kafka", kill=True),
    Form("kinesis-stream-kill", "kinesis", kill=True),
]


def create(form, weir, name):
    """Makes the topic or stream; returns its topic id."""
    admin = AdminClient({"bootstrap.servers": weir.kafka})
    if form.made_by == "kafka":
        admin.create_topics([NewTopic(name, PARTITIONS)])[name].result(30)
    else:
        kinesis = aws.kinesis(weir.endpoint)
        kinesis.create_stream(StreamName=name, ShardCount=PARTITIONS)
        kinesis.get_waiter("stream_exists").wait(
            StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
    topics = confluent_kafka.TopicCollection([name])
    description = admin.describe_topics(topics)[name].result(30)
    assert len(description.partitions) == PARTITIONS, description
    return str(description.topic_id)


def check_reader(reader, by_kafka, by_kinesis, form):
    """Every line once (after a kill: see above), byte for byte, under its path, in order. Returns
    how many
    lines are there twice."""
    records = reader.positions_once(repeats_allowed=form.kill)
    places = {}
    for record in records:
        assert record.key == path_of(record.line), (
            f"{reader.name}: key {record.key!r} of {record.line!r}"
        )
        places.setdefault(record.line, []).append(record)
    written = set(by_kafka.lines) | set(by_kinesis.lines)
    strange = places.keys() - written
    assert not strange, (
        f"{reader.name}: {len(strange)} lines that nobody wrote: {next(iter(strange))!r}"
    )
    missing = written - places.keys()
    assert not missing, f"{reader.name}: {len(missing)} lines are missing: {next(iter(missing))!r}"
    twice = {line for line, at in places.items() if len(at) > 1}
    wrong = twice - by_kinesis.unanswered
    assert not wrong, (
        f"{reader.name}: {len(wrong)} lines twice though answered: {places[next(iter(wrong))]}"
    )
    assert form.kill or not twice, f"{reader.name}: lines twice without a kill"
    check_order(reader, records, by_kafka.lines)
    check_order(reader, records, by_kinesis.lines)
    return len(twice)


def check_order(reader, records, lines):
    """The lines of one writer and path stand in the order of the log; a second copy of a line is
    passed over.
    """
    position_in_log = {line: position for position, line in enumerate(lines)}
    last = {}
    seen = set()
    for record in records:
        position = position_in_log.get(record.line)
        if position is None or record.line in seen:
            continue
        seen.add(record.line)
        place = (record.partition, record.key)
        assert last.get(place, -1) < position, f"{reader.name}: out of order: {record}"
        last[place] = position
    partitions = {}
    for record in records:
        if record.line in position_in_log:
            partition = partitions.setdefault(record.key, record.partition)
            assert partition == record.partition, (
                f"{reader.name}: a writer's path lies in two partitions: {record}"
            )


def check_places(reader, acknowledged):
    """Each acknowledged line stands where its acknowledgement said."""
    lines_at = {(record.partition, record.position): record.line for record in reader.records}
    for line, (partition, position) in acknowledged.items():
        there = lines_at.get((partition, int(position)))
        assert there == line, (
            f"{reader.name}: {there!r} at {partition}/{position}, acknowledged as {line!r}"
        )


def check_codecs(form, data_dir, topic_id):
    """The codec bits of what lies on disk. librdkafka leaves a batch as it is when it would grow,
    which is
    so for a line or two; batches written through Kinesis have no producer id and no codec."""
    counts = {}
    for batch in segments.batches(data_dir, topic_id):
        writer = "librdkafka" if batch.producer_id >= 0 else "PutRecords"
        key = (writer, batch.codec)
        counts[key] = counts.get(key, 0) + 1
        wanted = {form.codec} if batch.record_count > 3 else {form.codec, "none"}
        if writer == "PutRecords":
            wanted = {"none"}
        assert batch.codec in wanted, f"a batch of {writer} is {batch.codec}: {batch}"
    assert counts.get(("librdkafka", form.codec)), (
        f"no batch of librdkafka is {form.codec}: {counts}"
    )
    return {f"{writer} {codec}": count for (writer, codec), count in sorted(counts.items())}


class Killer(threading.Thread):
    """Once half of the lines are acknowledged and a PutRecords is on its way: kill -9, then a start
    on the same directory and ports.
    """

    def __init__(self, weir, by_kafka, by_kinesis, lines):
        super().__init__(daemon=True)
        self.weir = weir
        self.by_kafka = by_kafka
        self.by_kinesis = by_kinesis
        self.half = lines // 2
        self.failure = None

    def acknowledged(self):
        return len(self.by_kafka.acknowledged) + len(self.by_kinesis.acknowledged)

    def run(self):
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while self.acknowledged() < self.half:
                if time.monotonic() > deadline:
                    raise RuntimeError("half of the lines were not acknowledged in time")
                time.sleep(0.0005)
            # Somewhere in the few milliseconds that a request takes; when none goes out any more,
            # without one.
            self.by_kinesis.sending.clear()
            self.by_kinesis.sending.wait(1)
            time.sleep(random.uniform(0, 0.003))
            self.weir.kill()
            self.weir.start()
        except Exception as failure:
            self.failure = failure

    def finish(self):
        self.join(TIMEOUT_S)
        if self.failure is not None:
            raise self.failure


def run_form(form, lines, root):
    """One pass; returns its figures, raises what is wrong."""
    started = time.monotonic()
    name = f"access-log-{uuid.uuid4().hex[:8]}"
    with Weir(root / "data", "--quotas", "off") as weir, WebServer(root / "web") as web:
        topic_id = create(form, weir, name)
        by_kafka = LibrdkafkaWriter(weir.kafka, name, form.codec)
        by_kinesis = PutRecordsWriter(weir.endpoint, name)
        group = GroupReader(weir.kafka, name, PARTITIONS)
        group.wait_for_assignment()
        get_records = GetRecordsReader(weir.endpoint, name)
        killer = Killer(weir, by_kafka, by_kinesis, lines)
        if form.kill:
            killer.start()
        by_kafka.start()
        by_kinesis.start()
        web.start_load(lines)
        kafka_parity = 1 if form.made_by == "kafka" else 0
        for line in web.follow(lines):
            assert b'" 200 ' in line, f"the web server did not serve: {line!r}"
            (by_kafka if number_of(line) % 2 == kafka_parity else by_kinesis).put(line)
        by_kafka.finish(TIMEOUT_S)
        by_kinesis.finish(TIMEOUT_S)
        if form.kill:
            killer.finish()
        group.finish(TIMEOUT_S)
        get_records.finish(TIMEOUT_S)
        figures = check(form, lines, by_kafka, by_kinesis, group, get_records)
        figures["batches"] = check_codecs(form, root / "data", topic_id)
        figures["seconds"] = round(time.monotonic() - started, 1)
        return figures


def check(form, lines, by_kafka, by_kinesis, group, get_records):
    """Holds both readers against both writers; returns the figures of the form."""
    numbers = sorted(number_of(line) for line in by_kafka.lines + by_kinesis.lines)
    assert numbers == list(range(1, lines + 1)), "the web server's log lacks numbers"
    for writer in (by_kafka, by_kinesis):
        without = set(writer.lines) - writer.acknowledged.keys()
        assert not without, f"{type(writer).__name__}: {len(without)} lines without an answer"
    twice = {
        reader.name: check_reader(reader, by_kafka, by_kinesis, form)
        for reader in (group, get_records)
    }
    check_places(group, by_kafka.acknowledged)
    check_places(get_records, by_kinesis.acknowledged)
    in_group = len(group.positions_once(form.kill))
    assert in_group == len(get_records.records), "one reader has more records than the other"
    return {
        "form": form.name,
        "lines": lines,
        "by_librdkafka": len(by_kafka.lines),
        "by_put_records": len(by_kinesis.lines),
        "put_records_attempts": by_kinesis.attempts,
        "lines_of_unanswered_attempts": len(by_kinesis.unanswered),
        "lines_twice": twice,
    }


def summary(form, figures):
    text = (
        f"PASS {form.name}: {figures['lines']} lines, {figures['by_librdkafka']} by librdkafka and"
        f" {figures['by_put_records']} by PutRecords, in both readers"
    )
    if form.kill:
        text += (
            f"; {figures['lines_of_unanswered_attempts']} lines lay in requests without an answer,"
            f" {max(figures['lines_twice'].values())} of these are there twice"
        )
    else:
        text += ", each once"
    return f"{text}, {figures['seconds']} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lines", type=int, default=50_000)
    names = [form.name for form in FORMS]
    parser.add_argument(
        "forms", nargs="*", metavar="FORM", help=f"of {', '.join(names)}; all by default"
    )
    options = parser.parse_args()
    if unknown := set(options.forms) - set(names):
        parser.error(f"no such form: {', '.join(unknown)}")
    failed = 0
    for form in FORMS:
        if options.forms and form.name not in options.forms:
            continue
        root = pathlib.Path(tempfile.mkdtemp(prefix=f"weir-realinput-{form.name}-"))
        root.chmod(0o755)  # nginx reads its pages as another user
        try:
            figures = run_form(form, options.lines, root)
        except Exception as failure:
            failed += 1
            print(f"FAIL {form.name}: {type(failure).__name__}: {failure}", flush=True)
            print(f"     kept for a look: {root}", flush=True)
            continue
        shutil.rmtree(root)
        print(summary(form, figures), flush=True)
        print(json.dumps(figures), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
