"""Well-behaved clients that go on working while a test misbehaves beside them.

One writes and reads through the Kafka port, one through the Kinesis port, one request at a time
on one connection each. `Bystanders.look` says how long the slowest request took since the last
look, and fails when one failed, came back wrong, or took longer than a person would call
"served". A third thread samples the memory of the broker, so that a peak between two looks is
seen too.
"""

import threading
import time

import kafka_wire
import kinesis_wire

TOPIC, STREAM = "bystander-topic", "bystander-stream"
PAUSE_S = 0.02
# GetRecords has a quota of five calls a second.
PUTS_PER_READ = 12
MEMORY_PAUSE_S = 0.01
REQUEST_TIMEOUT_S = 10


class Bystanders:
    """Runs until it is closed; the topic and the stream must exist."""

    def __init__(self, weir, latency_s_max, rss_anon_bytes_max):
        self.weir = weir
        self.latency_s_max = latency_s_max
        self.rss_anon_bytes_max = rss_anon_bytes_max
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.latencies_s = {"kafka": [], "kinesis": []}
        self.busy_since = {"kafka": None, "kinesis": None}
        self.errors = []
        self.peak_bytes = self.highest_bytes = 0
        self.threads = [
            threading.Thread(target=self._repeat, args=("kafka", self._kafka), daemon=True),
            threading.Thread(target=self._repeat, args=("kinesis", self._kinesis), daemon=True),
            threading.Thread(target=self._watch_memory, daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def _repeat(self, name, requests):
        while not self.stopped.is_set():
            try:
                for request in requests():
                    started = time.monotonic()
                    self.busy_since[name] = started
                    request()
                    with self.lock:
                        self.latencies_s[name].append(time.monotonic() - started)
                        self.busy_since[name] = None
                    if self.stopped.wait(PAUSE_S):
                        return
            except Exception as error:
                if self.stopped.is_set():
                    return
                self.busy_since[name] = None
                with self.lock:
                    self.errors.append(f"{name}: {type(error).__name__}: {error}")
                time.sleep(0.2)

    def _kafka(self):
        """Each record is written with acks=all and read back from where it was put."""
        number = 0
        with kafka_wire.Connection(self.weir.kafka, REQUEST_TIMEOUT_S) as connection:
            while True:
                number += 1
                value = b"bystander %d" % number

                def write_and_read(value=value):
                    code, offset, why = kafka_wire.produce(
                        connection, TOPIC, kafka_wire.record_batch([value])
                    )
                    assert code == 0, f"produce answered error {code} {why or ''}"
                    code, _, records = kafka_wire.fetch(connection, TOPIC, offset, wait_ms=5000)
                    assert code == 0, f"fetch answered error {code}"
                    found = dict(kafka_wire.values_of(records)).get(offset)
                    assert found == value, f"offset {offset} has {found}, not {value}"

                yield write_and_read

    def _kinesis(self):
        """A dozen records are written, then read."""
        latest = {"StreamName": STREAM, "ShardId": "0", "ShardIteratorType": "LATEST"}
        record = {"StreamName": STREAM, "PartitionKey": "k", "Data": "aGVsbG8="}
        with kinesis_wire.Connection(self.weir.kinesis, REQUEST_TIMEOUT_S) as connection:
            answer = connection.call("GetShardIterator", latest).expect(200)
            iterator = answer.json()["ShardIterator"]

            def read():
                nonlocal iterator
                page = connection.call("GetRecords", {"ShardIterator": iterator}).expect(200).json()
                iterator, count = page["NextShardIterator"], len(page["Records"])
                assert count == PUTS_PER_READ, f"read {count} records, not {PUTS_PER_READ}"

            while True:
                for _ in range(PUTS_PER_READ):
                    yield lambda: connection.call("PutRecord", record).expect(200)
                yield read

    def _watch_memory(self):
        while not self.stopped.wait(MEMORY_PAUSE_S):
            try:
                self._take_memory_sample()
            except (OSError, RuntimeError):
                return  # It has died, which the next look says.

    def _take_memory_sample(self):
        self.peak_bytes = max(self.peak_bytes, self.weir.rss_anon_bytes())

    def forget(self):
        """Waits until what is under way has ended, and drops what was seen."""
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        for name in self.busy_since:
            begun = self.busy_since[name]
            while begun and self.busy_since[name] == begun and time.monotonic() < deadline:
                time.sleep(0.01)
        with self.lock:
            self.latencies_s, self.errors = {"kafka": [], "kinesis": []}, []
        self.peak_bytes = 0

    def look(self):
        """Returns what was seen since the last look, as text; fails when it was not good."""
        code = self.weir.process.poll()
        assert code is None, f"weir ended with status {code}"
        self._take_memory_sample()
        with self.lock:
            now, busy_since = time.monotonic(), dict(self.busy_since)
            latencies_s, self.latencies_s = self.latencies_s, {"kafka": [], "kinesis": []}
            errors, self.errors = self.errors, []
            peak_bytes, self.peak_bytes = self.peak_bytes, 0
        self.highest_bytes = max(self.highest_bytes, peak_bytes)
        assert not errors, f"others were not served: {errors[0]} ({len(errors)} errors)"
        worst_s = {}
        for name, measured in latencies_s.items():
            begun = busy_since[name]
            worst_s[name] = max([*measured, now - begun if begun else 0], default=0)
        shown = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in worst_s.items())
        assert max(worst_s.values()) <= self.latency_s_max, f"others waited too long: {shown}"
        peak_mb = peak_bytes / 1e6
        assert peak_bytes <= self.rss_anon_bytes_max, f"RssAnon reached {peak_mb:.0f} MB"
        return f"others waited at most {shown}; RssAnon peak {peak_mb:.0f} MB"

    def close(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
