"""The two readers of the real input: a group of three Kafka consumers, and GetRecords over all
shards.

Both note for each record its partition, its position there (offset or sequence number), key and
line. They read while the writers write; `finish`, called when these are done, waits for the end
of the log.
"""

import threading
import time
import typing

import confluent_kafka
from botocore.exceptions import BotoCoreError, ClientError

from harness import aws

MEMBERS = 3


class Read(typing.NamedTuple):
    partition: int
    position: int
    key: bytes
    line: bytes


class Reader:
    """Threads that add to `records`; the first failure of one of them is raised by `finish`."""

    name = "reader"

    def __init__(self):
        self.records = []
        self.failure = None
        self.complete = threading.Event()
        self.threads = []

    def begin(self, work, count):
        for index in range(count):
            thread = threading.Thread(target=self._guarded, args=(work, index), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _guarded(self, work, index):
        try:
            work(index)
        except Exception as failure:
            self.failure = failure
            self.complete.set()

    def join(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        for thread in self.threads:
            thread.join(max(0, deadline - time.monotonic()))
            if thread.is_alive():
                raise RuntimeError(
                    f"the {self.name} was not done after {timeout_s} s: {len(self.records)} records"
                )
        if self.failure is not None:
            raise self.failure

    def positions_once(self, repeats_allowed):
        """What was read, each position once. After a crash a group goes on from its last commit
        and so may
        read a position again, as any group does; what it reads there has to be the same."""
        at = {}
        for record in self.records:
            before = at.setdefault((record.partition, record.position), record)
            if before is record:
                continue
            if before != record:
                raise AssertionError(
                    f"{self.name}: two records at one position: {before} and {record}"
                )
            if not repeats_allowed:
                raise AssertionError(f"{self.name}: read one position twice: {record}")
        return [at[place] for place in sorted(at)]


class GroupReader(Reader):
    """Three members of one group, with librdkafka's defaults."""

    name = "Kafka group"

    def __init__(self, bootstrap, topic, partitions):
        super().__init__()
        self.topic = topic
        self.partitions = partitions
        self.settings = {
            "bootstrap.servers": bootstrap,
            "group.id": f"{topic}-group",
            "auto.offset.reset": "earliest",
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
        }
        self.next_offset = dict.fromkeys(range(partitions), 0)
        self.assigned = [set() for _ in range(MEMBERS)]
        self.begin(self.read, MEMBERS)

    def wait_for_assignment(self, timeout_s=60):
        """Until each member has a partition, so that no rebalance falls into the test."""
        deadline = time.monotonic() + timeout_s
        while not (all(self.assigned) and len(set().union(*self.assigned)) == self.partitions):
            if self.failure is not None:
                raise self.failure
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"the group's members did not all get partitions: {self.assigned}"
                )
            time.sleep(0.05)

    def read(self, index):
        consumer = confluent_kafka.Consumer(self.settings)

        def note(_, partitions):
            self.assigned[index] = {partition.partition for partition in partitions}

        consumer.subscribe(
            [self.topic], on_assign=note, on_revoke=lambda *_: self.assigned[index].clear()
        )
        while not self.complete.is_set():
            message = consumer.poll(0.2)
            if message is None or self.is_passing(message.error()):
                continue
            partition, offset = message.partition(), message.offset()
            self.records.append(Read(partition, offset, message.key(), message.value()))
            self.next_offset[partition] = max(self.next_offset[partition], offset + 1)
        consumer.close()

    @staticmethod
    def is_passing(error):
        """Whether this is no message but a broken connection, which librdkafka makes good by
        itself.
        """
        if error is None:
            return False
        if error.fatal():
            raise confluent_kafka.KafkaException(error)
        return True

    def finish(self, timeout_s):
        ask = confluent_kafka.Consumer(self.settings | {"group.id": f"{self.topic}-ends"})
        ends = {
            number: ask.get_watermark_offsets(
                confluent_kafka.TopicPartition(self.topic, number), 10
            )[1]
            for number in range(self.partitions)
        }
        ask.close()
        deadline = time.monotonic() + timeout_s
        while self.next_offset != ends and self.failure is None:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"the {self.name} stands at {self.next_offset}, the log ends at {ends}"
                )
            time.sleep(0.05)
        self.complete.set()
        self.join(30)


class GetRecordsReader(Reader):
    """One thread for each shard, from TRIM_HORIZON on."""

    name = "GetRecords"

    def __init__(self, endpoint, stream):
        super().__init__()
        self.stream = stream
        self.endpoint = endpoint
        shards = aws.kinesis(endpoint).list_shards(StreamName=stream)["Shards"]
        self.shards = [shard["ShardId"] for shard in shards]
        self.begin(self.read, len(self.shards))

    def read(self, index):
        kinesis = aws.kinesis(self.endpoint)
        shard = self.shards[index]
        last = None
        iterator = None
        while True:
            try:
                # Asked before the read: an empty answer after it is the end.
                complete = self.complete.is_set()
                if iterator is None:
                    iterator = self.iterator(kinesis, shard, last)
                answer = kinesis.get_records(ShardIterator=iterator)
            except (BotoCoreError, ClientError):
                if complete:
                    raise
                # The server is away, or its restart ended the iterator: on from the last record.
                iterator = None
                time.sleep(0.2)
                continue
            for record in answer["Records"]:
                last = record["SequenceNumber"]
                self.records.append(
                    Read(index, int(last), record["PartitionKey"].encode(), record["Data"])
                )
            iterator = answer["NextShardIterator"]
            if not answer["Records"]:
                if complete and answer["MillisBehindLatest"] == 0:
                    return
                time.sleep(0.05)

    def iterator(self, kinesis, shard, last):
        if last is None:
            start = {"ShardIteratorType": "TRIM_HORIZON"}
        else:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": last}
        return kinesis.get_shard_iterator(StreamName=self.stream, ShardId=shard, **start)[
            "ShardIterator"
        ]

    def finish(self, timeout_s):
        self.complete.set()
        self.join(timeout_s)
