"""The quotas of shards: each shard of a stream is written to and read from by more than it grants,
in each dialect, and what it admitted is added up.

    put bytes, put records       PutRecords, refused per record while the shard is in debt
    produce bytes, … records     Kafka producers, which wait instead
    both bytes                   PutRecords and a Kafka producer on the same shard
    get bytes, get calls         GetRecords: what it gives out, and how often
    fetch bytes                  Kafka consumers

From the second second on each shard gives its rate within 2 % and one request or reply, which is
charged in full and so may lead into debt; in the first second at most twice the rate, since a full
bucket holds a second's worth, and one request or reply more.

The load of one stream is a process of its own; its connections are threads. Requests are made once
and sent again and again, so that one process can saturate 16 shards.
"""

import argparse
import base64
import json
import multiprocessing
import pathlib
import re
import sys
import tempfile
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "harness"))

import kafka_wire
import kinesis_wire
from cases import Cases
from weir_process import Weir

KIB, MIB = 1 << 10, 1 << 20
HASH_KEYS = 1 << 128
TOLERANCE = 0.02

WRITE_BYTES, WRITE_RECORDS = MIB, 1000
READ_BYTES, READ_CALLS = 2 * MIB, 5

# Requests of these are what "one request" is in the tolerance.
LARGE_RECORD_BYTES, LARGE_RECORDS = 10 * KIB, 6
SMALL_RECORD_BYTES, SMALL_RECORDS = 20, 100
READ_RECORDS = 50

NEXT_ITERATOR = re.compile(rb'"NextShardIterator":"([^"]+)"')


class Meter:
    """What one shard admitted, and when it was answered."""

    def __init__(self):
        self.begun = None
        self.admitted = []
        self.largest = 0

    def begin(self):
        """The first request is about to be sent."""
        self.begun = self.begun or time.monotonic()

    def add(self, amount):
        if amount:
            self.admitted.append((time.monotonic(), amount))
            self.largest = max(self.largest, amount)

    def between(self, begin, end):
        return sum(amount for at, amount in self.admitted if begin <= at < end)


class Load:
    """Saturates the shards of one stream of `weir` for some seconds, then says what was admitted:
    for each shard what the first second and the seconds after it gave, and the largest request."""

    def __init__(self, addresses, stream, shards, seconds):
        self.kafka, self.kinesis = addresses
        self.stream, self.shards, self.seconds = stream, shards, seconds

    def start(self, name, per_second, *connections):
        self.name, self.per_second = name, per_second
        ours, theirs = multiprocessing.Pipe()
        arguments = (connections, theirs)
        self.process = multiprocessing.Process(target=self._run, args=arguments, daemon=True)
        self.process.start()
        self.results = ours
        return self

    def _run(self, connections, results):
        meters = [Meter() for _ in range(self.shards)]
        errors = []
        self.ended = threading.Event()

        def guarded(connection, shard):
            try:
                connection(self, shard, meters[shard])
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")

        threads = [
            threading.Thread(target=guarded, args=(connection, shard), daemon=True)
            for connection in connections
            for shard in range(self.shards)
        ]
        for thread in threads:
            thread.start()
        time.sleep(self.seconds + 1)
        self.ended.set()
        for thread in threads:
            thread.join(15)
        rows = []
        for meter in meters:
            begun, first, end = (meter.begun + after_s for after_s in (0, 1, self.seconds))
            rows.append((meter.between(begun, first), meter.between(first, end), meter.largest))
        results.send((rows, errors))

    def check(self):
        """What was seen, as text; fails where a shard gave too much or too little."""
        assert self.results.poll(self.seconds + 30), "the load did not end"
        rows, errors = self.results.recv()
        self.process.join(10)
        assert not errors, errors[0]
        seconds = self.seconds - 1
        shown = [rest / seconds / self.per_second for _, rest, _ in rows]
        bursts = [first / self.per_second for first, _, _ in rows]
        text = (
            f"{min(shown) * 100:.2f} to {max(shown) * 100:.2f} % of the rate in seconds 2 to "
            f"{self.seconds}, at most {max(bursts):.2f} times the rate in the first"
        )
        for shard, (first, rest, largest) in enumerate(rows):
            due = self.per_second * seconds
            where = f"shard {shard} of {self.shards}: {text}"
            assert abs(rest - due) <= due * TOLERANCE + largest, f"{rest} of {due}, {where}"
            assert first <= 2 * self.per_second + largest, f"{first} at first, {where}"
        return text


# ---- what one connection does to one shard, until the load ends ----


def put(record_bytes, records, amount_each):
    """PutRecords of so many records; `amount_each` is what one counts."""

    def run(load, shard, meter):
        key = "k"
        data = base64.b64encode(bytes(record_bytes - len(key))).decode()
        hash_key = str(shard * (HASH_KEYS // load.shards))
        record = {"Data": data, "PartitionKey": key, "ExplicitHashKey": hash_key}
        members = {"StreamName": load.stream, "Records": [record] * records}
        headers, body = kinesis_wire.signed("PutRecords"), json.dumps(members).encode()
        # As long as the shard needs for what a whole request costs, so that two connections offer
        # twice what it takes.
        pause_s = records * amount_each / load.per_second
        with kinesis_wire.Connection(load.kinesis) as connection:
            meter.begin()
            while not load.ended.is_set():
                answer = connection.post(headers, body).expect(200)
                taken = answer.body.count(b'"SequenceNumber"')
                meter.add(taken * amount_each)
                if taken < records:
                    time.sleep(pause_s)

    return run


def produce(record_bytes, records, counts_bytes):
    """Kafka's Produce with one batch, one request at a time."""

    def run(load, shard, meter):
        batch = kafka_wire.record_batch([bytes(record_bytes)] * records)
        amount = len(batch) if counts_bytes else records
        with kafka_wire.Connection(load.kafka, timeout_s=40) as connection:
            meter.begin()
            while not load.ended.is_set():
                code, _, text = kafka_wire.produce(connection, load.stream, batch, partition=shard)
                assert code == 0, f"error code {code}: {text}"
                meter.add(amount)

    return run


def get(limit, amount_each):
    """GetRecords from the beginning on; `amount_each` none: calls are counted."""

    def run(load, shard, meter):
        with kinesis_wire.Connection(load.kinesis) as connection:
            asked = {
                "StreamName": load.stream,
                "ShardId": str(shard),
                "ShardIteratorType": "TRIM_HORIZON",
            }
            iterator = connection.call("GetShardIterator", asked).expect(200).json()
            iterator = iterator["ShardIterator"]
            meter.begin()
            while not load.ended.is_set():
                answer = connection.call(
                    "GetRecords", {"ShardIterator": iterator, "Limit": limit}
                )
                if answer.status == 400:
                    answer.expect_error("ProvisionedThroughputExceededException", "Rate exceeded")
                    time.sleep(0.02)
                    continue
                records = answer.expect(200).body.count(b'"SequenceNumber"')
                assert records == limit, f"{records} records, the backlog is too short"
                meter.add(records * amount_each if amount_each else 1)
                iterator = NEXT_ITERATOR.search(answer.body)[1].decode()

    return run


def fetch(bytes_max):
    """Kafka's Fetch from the beginning on."""

    def run(load, shard, meter):
        offset = 0
        with kafka_wire.Connection(load.kafka, timeout_s=40) as connection:
            meter.begin()
            while not load.ended.is_set():
                code, high_watermark, records = kafka_wire.fetch(
                    connection, load.stream, offset, shard, wait_ms=500, bytes_max=bytes_max
                )
                assert code == 0, f"error code {code}"
                meter.add(len(records))
                if records:
                    offset = kafka_wire.next_offset(records)
                assert offset < high_watermark, "the backlog is too short"

    return run


LARGE_BYTES = LARGE_RECORD_BYTES * LARGE_RECORDS
PUT_LARGE = put(LARGE_RECORD_BYTES, LARGE_RECORDS, LARGE_RECORD_BYTES)
PRODUCE_LARGE = produce(LARGE_RECORD_BYTES, LARGE_RECORDS, counts_bytes=True)
LOADS = {
    "put bytes": (WRITE_BYTES, PUT_LARGE, PUT_LARGE),
    "put records": (WRITE_RECORDS, *[put(SMALL_RECORD_BYTES, SMALL_RECORDS, 1)] * 2),
    "produce bytes": (WRITE_BYTES, PRODUCE_LARGE, PRODUCE_LARGE),
    "produce records": (WRITE_RECORDS, *[produce(SMALL_RECORD_BYTES, SMALL_RECORDS, False)] * 2),
    "both bytes": (WRITE_BYTES, PUT_LARGE, PRODUCE_LARGE),
    "get bytes": (READ_BYTES, *[get(READ_RECORDS, LARGE_RECORD_BYTES)] * 2),
    "get calls": (READ_CALLS, *[get(1, None)] * 2),
    "fetch bytes": (READ_BYTES, *[fetch(512 * KIB)] * 2),
}
# Reads that need a backlog; the others write their own stream.
READS = ("get bytes", "get calls", "fetch bytes")


def stream_of(name, shards):
    return f"{name.replace(' ', '-')}-{shards}"


def make_streams(weir, loads, shards, seconds):
    """One stream for each load; those that are read get enough for the whole time."""
    with kinesis_wire.Connection(weir.kinesis) as connection:
        for name in loads:
            members = {"StreamName": stream_of(name, shards), "ShardCount": shards}
            connection.call("CreateStream", members).expect(200)
    # A key of one byte, so that a record counts its full size to a reader by Kinesis.
    value = bytes(LARGE_RECORD_BYTES - 1)
    batch = kafka_wire.record_batch([], count=READ_RECORDS, **keyed_payload(value, READ_RECORDS))
    batches = -(-(seconds + 6) * READ_BYTES // (READ_RECORDS * LARGE_RECORD_BYTES))
    with kafka_wire.Connection(weir.kafka, timeout_s=60) as connection:
        for name in loads:
            if name not in READS:
                continue
            count = 10 if name == "get calls" else batches
            for shard in range(shards):
                for _ in range(count):
                    stream = stream_of(name, shards)
                    code, _, text = kafka_wire.produce(connection, stream, batch, partition=shard)
                    assert code == 0, f"error code {code}: {text}"


def keyed_payload(value, count):
    records = [kafka_wire.record(index, value, b"k") for index in range(count)]
    return {"payload": b"".join(records), "last_offset_delta": count - 1}


def measure(shards, seconds, loads, at_once, cases):
    with tempfile.TemporaryDirectory(prefix="weir-shardquotas-") as directory:
        # Only records that are made meanwhile are held to the quotas.
        weir = Weir(pathlib.Path(directory) / "data", "--quotas", "off", "--flush", "os")
        with weir:
            make_streams(weir, loads, shards, seconds)
        weir.flags = ["--flush", "os"]
        with weir:
            addresses = (weir.kafka, weir.kinesis)
            waiting = list(loads)
            while waiting:
                names, waiting = waiting[:at_once], waiting[at_once:]
                started = []
                for name in names:
                    load = Load(addresses, stream_of(name, shards), shards, seconds)
                    started.append(load.start(name, *LOADS[name]))
                for load in started:
                    cases.run(f"{load.name}, {shards} shards", load.check)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--only", nargs="+", choices=list(LOADS), default=list(LOADS))
    arguments = parser.parse_args()
    cases = Cases()
    for shards in arguments.shards:
        # So that the load's processes have enough of the machine to saturate every shard.
        at_once = max(1, len(LOADS) // shards)
        measure(shards, arguments.seconds, arguments.only, at_once, cases)
    cases.finish()


if __name__ == "__main__":
    main()
