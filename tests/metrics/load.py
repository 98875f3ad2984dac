"""A load whose numbers are known: what was written, what was committed, what is left."""

import sys
import time

import confluent_kafka
import confluent_kafka.admin

TOPIC, PARTITIONS = "orders", 4
STREAM, SHARDS = "clicks", 2
GROUP, MEMBERS = "billing", 2
# Rounds of writing, each followed by a commit; then the records that the group leaves.
RECORDS_PER_ROUND = 100
LEFT = 1_000
CLICKS = 100


class Load:
    """Runs over `seconds`, on a weir and through a client of its Kinesis API; the group's members
    live on until `close`."""

    def __init__(self, weir, kinesis):
        self.weir, self.kinesis = weir, kinesis
        self.written = self.committed = 0
        self.consumers = []

    def prepare(self):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.weir.kafka})
        topic = confluent_kafka.admin.NewTopic(TOPIC, PARTITIONS)
        for made in admin.create_topics([topic]).values():
            made.result()
        self.kinesis.create_stream(StreamName=STREAM, ShardCount=SHARDS)

    def run(self, seconds):
        settings = {
            "bootstrap.servers": self.weir.kafka,
            "group.id": GROUP,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
        self.consumers = [confluent_kafka.Consumer(settings) for _ in range(MEMBERS)]
        for consumer in self.consumers:
            consumer.subscribe([TOPIC])
        self._wait_for_assignments()
        producer = confluent_kafka.Producer({"bootstrap.servers": self.weir.kafka})
        ends = time.monotonic() + seconds
        while time.monotonic() < ends or self.written == 0:
            self._write(producer, RECORDS_PER_ROUND)
            self._read_and_commit()
            time.sleep(0.2)
        self._write(producer, LEFT)
        self._click()

    def _wait_for_assignments(self):
        deadline = time.monotonic() + 60
        while not all(consumer.assignment() for consumer in self.consumers):
            assert time.monotonic() < deadline, "the group does not settle"
            for consumer in self.consumers:
                assert consumer.poll(0.1) is None, "nothing has been written"

    def _write(self, producer, count):
        failed = []
        for number in range(count):
            producer.produce(
                TOPIC, b"x" * 100, str(number).encode(),
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )  # fmt: skip
        assert producer.flush(30) == 0 and not failed, failed
        self.written += count

    def _read_and_commit(self):
        deadline = time.monotonic() + 30
        while self.committed < self.written:
            assert time.monotonic() < deadline, (self.committed, self.written)
            for consumer in self.consumers:
                messages = consumer.consume(500, 0.05)
                assert all(message.error() is None for message in messages)
                self.committed += len(messages)
                if messages:
                    consumer.commit(asynchronous=False)

    def _click(self):
        records = [{"Data": b"x" * 10, "PartitionKey": str(number)} for number in range(CLICKS)]
        answer = self.kinesis.put_records(StreamName=STREAM, Records=records)
        assert answer["FailedRecordCount"] == 0, answer

    def close(self):
        for consumer in self.consumers:
            consumer.close()

    def known(self):
        """What queries of dashboards.toml are to return in all, by the word they use."""
        return {
            "records": self.written,
            "all_records": self.written + CLICKS,
            "committed": self.committed,
            "lag": LEFT,
            "partitions": PARTITIONS,
            "all_partitions": PARTITIONS + SHARDS,
            "members": MEMBERS,
            "one": 1,
            "zero": 0,
        }
