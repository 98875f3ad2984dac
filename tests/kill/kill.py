"""kill -9 under load: nothing that was answered is lost, and idempotent producers leave no
duplicate.

Four writers run without a pause while weir is killed and started again on its directory:

    idempotent   librdkafka, acks=all     every value once
    leader       librdkafka, acks=1       every answered value
    PutRecords   boto3, two of them       every answered value, at the sequence number of its answer

A kill comes a moment after all four have been answered since the last start. After each start the
log has to reach beyond every answered offset; at the end everything is read, by Kafka from the
beginning of each partition and by GetRecords from TRIM_HORIZON, and each answer is held against
what lies there. A kill loses no page of the operating system, so this holds for all three flush
policies; what a power cut does is the simulator's business (`sim_disk`).
"""

import argparse
import itertools
import json
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

import confluent_kafka
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import aws
from harness.weir_process import Weir

POLICIES = ["group", "interval", "os"]
TOPIC = "topic"
STREAM = "stream"
PARTITIONS = 4
SHARDS = 2
KEYS = 64
TIMEOUT_S = 120
# librdkafka waits up to ten seconds for a broker that comes back; with a kill a second that is too
# long.
RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "log_level": 2}


class Writer(threading.Thread):
    """Writes numbered values until it is told to stop; `answered` maps a number to where its
    value lies.
    """

    def __init__(self, name):
        super().__init__(daemon=True, name=name)
        self.written = 0
        self.answered = {}
        self.stopping = threading.Event()
        self.failure = None

    def value(self, number):
        return f"{self.name} {number:08} ".encode() + b"." * 200

    def numbers(self):
        """The next number each time, until the end; at most 5,000 a second, to bound what a test
        remembers.
        """
        while not self.stopping.is_set():
            if self.written % 100 == 0:
                time.sleep(0.02)
            self.written += 1
            yield self.written - 1

    def run(self):
        try:
            self.write_all()
        except Exception as failure:
            self.failure = failure


class Producer(Writer):
    """librdkafka with at most 500 unanswered values, so that a kill always finds some."""

    def __init__(self, name, bootstrap, **settings):
        super().__init__(name)
        self.settings = {"bootstrap.servers": bootstrap, "linger.ms": 2} | RECONNECT | settings
        self.room = threading.Semaphore(500)

    def write_all(self):
        producer = confluent_kafka.Producer(self.settings)
        for number in self.numbers():
            while not self.room.acquire(blocking=False):
                producer.poll(0.01)
            key = f"{self.name}-{number % KEYS}"
            producer.produce(TOPIC, key=key, value=self.value(number), on_delivery=self.delivered)
            producer.poll(0)
        if producer.flush(TIMEOUT_S):
            raise RuntimeError(
                f"{self.name}: values without an answer {TIMEOUT_S} s after the last start"
            )

    def delivered(self, error, message):
        self.room.release()
        if error is not None:
            self.failure = confluent_kafka.KafkaException(error)
            return
        number = int(message.value().split(b" ", 2)[1])
        self.answered[number] = (message.partition(), message.offset())


class PutRecords(Writer):
    """boto3, a hundred values a request; a request without an answer is given up, not sent
    again.
    """

    def __init__(self, name, endpoint):
        super().__init__(name)
        self.kinesis = aws.kinesis(endpoint, retries={"total_max_attempts": 1})

    def write_all(self):
        numbers = self.numbers()
        while chunk := list(itertools.islice(numbers, 100)):
            records = [
                {"Data": self.value(number), "PartitionKey": f"key-{number % KEYS}"}
                for number in chunk
            ]
            try:
                answer = self.kinesis.put_records(StreamName=STREAM, Records=records)
            except (BotoCoreError, ClientError):
                time.sleep(0.02)
                continue
            for number, result in zip(chunk, answer["Records"], strict=True):
                if "ErrorCode" in result:
                    raise RuntimeError(f"PutRecords refused a record: {result}")
                shard = int(result["ShardId"].removeprefix("shardId-"))
                self.answered[number] = (shard, int(result["SequenceNumber"]))


def start_writers(weir):
    writers = [
        Producer("idempotent", weir.kafka, **{"enable.idempotence": True}),
        Producer("leader", weir.kafka, acks=1),
        PutRecords("put-records-1", weir.endpoint),
        PutRecords("put-records-2", weir.endpoint),
    ]
    for writer in writers:
        writer.start()
    return writers


def wait_for_answers(writers):
    """Until each writer has had an answer since now."""
    before = [len(writer.answered) for writer in writers]
    deadline = time.monotonic() + TIMEOUT_S
    while any(len(writer.answered) <= count for writer, count in zip(writers, before)):
        for writer in writers:
            if writer.failure is not None:
                raise writer.failure
        if time.monotonic() > deadline:
            counts = {w.name: len(w.answered) - count for w, count in zip(writers, before)}
            raise RuntimeError(f"no answers since the last start: {counts}")
        time.sleep(0.002)


def check_log_ends(weir, answered_ends):
    """Each partition reaches beyond every offset that had been answered before the kill."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": weir.kafka, "group.id": "ends"} | RECONNECT
    )
    for partition, end in answered_ends.items():
        place = confluent_kafka.TopicPartition(TOPIC, partition)
        _, high = consumer.get_watermark_offsets(place, timeout=30)
        assert high >= end, (
            f"partition {partition} ends at {high}, but offset {end - 1} was answered"
        )
    consumer.close()


def answered_ends(writers):
    ends = {}
    for writer in writers:
        if isinstance(writer, Producer):
            for partition, offset in list(writer.answered.values()):
                ends[partition] = max(ends.get(partition, 0), offset + 1)
    return ends


def read_topic(weir):
    """Every value of the topic by its place, from the beginning of each partition."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": weir.kafka, "group.id": "reader", "enable.auto.commit": False}
        | RECONNECT
    )
    places = [
        confluent_kafka.TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)
    ]
    left = {
        place.partition: consumer.get_watermark_offsets(place, timeout=30)[1] for place in places
    }
    left = {partition: end for partition, end in left.items() if end > 0}
    consumer.assign(places)
    values = {}
    deadline = time.monotonic() + TIMEOUT_S
    while left:
        assert time.monotonic() < deadline, f"the topic was not read to its end in time: {left}"
        for message in consumer.consume(1000, timeout=1):
            if message.error():
                raise confluent_kafka.KafkaException(message.error())
            values[message.partition(), message.offset()] = message.value()
            if message.offset() + 1 >= left.get(message.partition(), 0):
                left.pop(message.partition(), None)
    consumer.close()
    return values


def read_stream(weir):
    """Every value of the stream by its place, from TRIM_HORIZON of each shard."""
    kinesis = aws.kinesis(weir.endpoint)
    values = {}
    for shard in range(SHARDS):
        iterator = kinesis.get_shard_iterator(
            StreamName=STREAM, ShardId=f"shardId-{shard:012}", ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            answer = kinesis.get_records(ShardIterator=iterator)
            for record in answer["Records"]:
                values[shard, int(record["SequenceNumber"])] = record["Data"]
            if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                break
            iterator = answer["NextShardIterator"]
    return values


def check_everything(weir, writers):
    """Each answer against what lies at its place; the idempotent producer's values once each."""
    topic, stream = read_topic(weir), read_stream(weir)
    for writer in writers:
        log = topic if isinstance(writer, Producer) else stream
        for number, place in writer.answered.items():
            there = log.get(place)
            assert there == writer.value(number), (
                f"{writer.name}: {number} was answered at {place}, there is {there!r}"
            )
    idempotent = writers[0]
    values = [value for value in topic.values() if value.startswith(b"idempotent ")]
    assert len(values) == len(set(values)), (
        f"{len(values) - len(set(values))} duplicates of the idempotent producer"
    )
    assert len(values) == idempotent.written, (
        f"{len(values)} values of {idempotent.written} that were written"
    )
    return len(topic), len(stream)


def run_policy(policy, kills, chance, root):
    started = time.monotonic()
    with Weir(root / "data", "--quotas", "off", "--flush", policy) as weir:
        admin = AdminClient({"bootstrap.servers": weir.kafka} | RECONNECT)
        admin.create_topics([NewTopic(TOPIC, PARTITIONS)])[TOPIC].result(30)
        kinesis = aws.kinesis(weir.endpoint)
        kinesis.create_stream(StreamName=STREAM, ShardCount=SHARDS)
        kinesis.get_waiter("stream_exists").wait(
            StreamName=STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        writers = start_writers(weir)
        for _ in range(kills):
            wait_for_answers(writers)
            time.sleep(chance.uniform(0, 0.4))
            weir.kill()
            ends = answered_ends(writers)
            weir.start()
            check_log_ends(weir, ends)
        wait_for_answers(writers)
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join(TIMEOUT_S)
            if writer.failure is not None:
                raise writer.failure
        in_topic, in_stream = check_everything(weir, writers)
        return {
            "policy": policy,
            "kills": kills,
            "answered": {writer.name: len(writer.answered) for writer in writers},
            "records_in_topic": in_topic,
            "records_in_stream": in_stream,
            "seconds": round(time.monotonic() - started, 1),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="in all, spread over the policies")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="of the moments of the kills"
    )
    options = parser.parse_args()
    policies = options.policies.split(",")
    chance = random.Random(options.seed)
    failed = 0
    for index, policy in enumerate(policies):
        kills = options.kills // len(policies) + (index < options.kills % len(policies))
        root = pathlib.Path(tempfile.mkdtemp(prefix=f"weir-kill-{policy}-"))
        try:
            figures = run_policy(policy, kills, chance, root)
        except Exception as failure:
            failed += 1
            print(
                f"FAIL {policy}: {type(failure).__name__}: {failure};"
                f" seed {options.seed}; kept: {root}",
                flush=True,
            )
            continue
        shutil.rmtree(root)
        print(f"PASS {policy}: {json.dumps(figures)}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
