"""Kafka's `DumpLogSegments` on the sealed segments of weir's own data directory.

Records of every codec, with keys, headers, null values and timestamps that go up and down, are
written by librdkafka into segments of one MiB. The tool then has to print each record of the `.log`
files as it was sent, and to find nothing wrong with the `.index` and `.timeindex` files: neither
by the sanity check of a broker's start, nor entry by entry against the log. All of it once more
after kill -9 right behind more writes, whose segments the next run has to finish.
"""

import argparse
import base64
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.cases import Cases
from harness.kafka_process import java
from harness.weir_process import Weir

TOPIC = "dumped"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SEGMENT_BYTES = 1 << 20
FIRST_TIMESTAMP_MS = 1_700_000_000_000
# What the tool prints of a record; the key is left out where there is none.
RECORD = re.compile(
    r"\| offset: (?P<offset>\d+) CreateTime: (?P<timestamp>-?\d+) keySize: -?\d+ valueSize: -?\d+"
    r" sequence: -?\d+ headerKeys: \[(?P<headers>[^\]]*)\]"
    r"(?: key: (?P<key>\S+))?(?: payload: (?P<value>\S+))?$"
)
# How it says that an index does not fit its log.
COMPLAINTS = re.compile(
    r"mismatch|out of order|not found|non-consecutive|isvalid: false|corrupt|exception|error", re.I
)


def sent_records(count, seed):
    """Key, value, header names and timestamp of each record; the payload hardly compresses."""
    source = random.Random(seed)
    for number in range(count):
        yield (
            None if number % 5 == 0 else f"key-{number}",
            None if number % 11 == 0 else base64.b64encode(source.randbytes(150)).decode(),
            ["trace", "origin"] if number % 7 == 0 else [],
            FIRST_TIMESTAMP_MS + number * 10 + source.randrange(-500, 500),
        )


def write(bootstrap, records_each, written):
    """Writes records with every codec; adds what was sent to `written`, by the offset it got."""
    failures = []
    first_seed = len(written)
    for seed, codec in enumerate(CODECS, first_seed):
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "compression.type": codec,
                "enable.idempotence": True,
                "log_level": 0,
                "linger.ms": 5,
                "batch.size": 20_000,
            }
        )
        for record in sent_records(records_each, seed):
            key, value, headers, timestamp = record

            def delivered(error, message, record=record):
                if error is not None:
                    failures.append(error)
                else:
                    written[message.offset()] = record

            producer.produce(
                TOPIC,
                key=key,
                value=value,
                headers=[(name, b"x") for name in headers],
                timestamp=timestamp,
                on_delivery=delivered,
            )
            producer.poll(0)
        unsent = producer.flush(60)
        assert not unsent and not failures, f"{unsent} unsent, {failures[:1]}"


def dump(files, *flags):
    """What the tool prints of files, its complaints first, without what the JVM says of logging."""
    names = ",".join(str(file) for file in files)
    command = java("kafka.tools.DumpLogSegments", *flags, "--files", names)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-500:]}"
    lines = (done.stderr + done.stdout).splitlines()
    return [line for line in lines if not line.startswith("SLF4J")]


def sealed(data_dir, kind):
    """The files of one kind of all segments but the last, which goes on growing: it may have room
    behind its records. There is no other partition in the directory.
    """
    logs = sorted((data_dir / "logs").glob("*/*.log"))
    return [log.with_suffix(kind) for log in logs[:-1]]


def check_records(data_dir, written):
    files = sealed(data_dir, ".log")
    assert len(files) >= 3, f"only {len(files)} sealed segments"
    lines = dump(files, "--deep-iteration", "--print-data-log")
    wrong = [line for line in lines if not line.startswith("|") and COMPLAINTS.search(line)]
    assert not wrong, f"{len(wrong)} complaints, the first: {wrong[0]}"
    codecs = set(re.findall(r"compresscodec: (\w+)", "\n".join(lines)))
    assert codecs == set(CODECS), f"codecs {codecs}"
    next_offset = 0
    for line in lines:
        if not line.startswith("|"):
            continue
        shown = RECORD.match(line)
        assert shown, f"not a record: {line}"
        offset = int(shown["offset"])
        assert offset == next_offset, f"offset {offset} follows {next_offset - 1}"
        key, value, headers, timestamp = written[offset]
        found = (shown["key"], shown["value"], shown["headers"], int(shown["timestamp"]))
        sent = (key, value, ",".join(headers), timestamp)
        assert found == sent, f"{line}, but sent was {sent}"
        next_offset += 1
    return f"{next_offset} records in {len(files)} segments as they were sent"


def check_indexes(data_dir):
    files = sealed(data_dir, ".index") + sealed(data_dir, ".timeindex")
    lines = dump(files)
    complaints = [line for line in lines if COMPLAINTS.search(line)]
    assert not complaints, f"{len(complaints)} complaints, the first: {complaints[0]}"
    entries = sum(line.startswith(("offset:", "timestamp:")) for line in lines)
    assert entries > len(files) * 10, f"only {entries} entries in {len(files)} indexes"
    return f"{entries} entries in {len(files)} indexes agree with the log"


def check_sanity(data_dir):
    files = sealed(data_dir, ".index") + sealed(data_dir, ".timeindex")
    lines = dump(files, "--index-sanity-check")
    passed = sum(line.endswith("passed sanity check.") for line in lines)
    assert passed == len(files), f"{passed} of {len(files)} pass:\n" + "\n".join(lines)
    return f"{passed} indexes pass"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=6_000, help="for each codec")
    arguments = arguments.parse_args()
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-dumplog-") as directory:
        data_dir = pathlib.Path(directory) / "data"
        written = {}
        weir = Weir(data_dir)
        with weir:
            # The records are dated years back.
            config = {"segment.bytes": str(SEGMENT_BYTES), "retention.ms": "-1"}
            topic = NewTopic(TOPIC, 1, 1, config=config)
            admin = AdminClient({"bootstrap.servers": weir.kafka, "log_level": 0})
            for created in admin.create_topics([topic]).values():
                created.result(30)
            write(weir.kafka, arguments.records, written)
        cases.run("records of sealed segments", check_records, data_dir, written)
        cases.run("indexes of sealed segments", check_indexes, data_dir)
        cases.run("sanity of the indexes", check_sanity, data_dir)
        weir.start()
        write(weir.kafka, arguments.records, written)
        weir.kill()
        # The next flush finishes what recovery found.
        with weir:
            write(weir.kafka, 100, written)
        cases.run("records after kill -9", check_records, data_dir, written)
        cases.run("indexes after kill -9", check_indexes, data_dir)
        cases.run("sanity of the indexes after kill -9", check_sanity, data_dir)
        cases.finish()


if __name__ == "__main__":
    main()
