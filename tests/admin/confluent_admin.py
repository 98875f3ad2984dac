"""Makes every call of confluent-kafka's AdminClient to the broker at the given address and prints
what came of each, a JSON object on a line: `{"step": …, "lines": […]}`.

    confluent_admin.py HOST:PORT

`admin.py` compares what two brokers answer. The calls about transactions and security are not made.
"""

import contextlib
import enum
import json
import sys
import time

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

TOPIC, OTHER, NOWHERE = "confluent", "confluent-other", "no-such-topic"
CLASSIC, MODERN, IDLE = "confluent-classic", "confluent-modern", "confluent-idle"
NO_GROUP = "confluent-no-such-group"
TIMEOUT_S = 30
RECORDS = 12
# The time of the first record of each partition; the others follow a second apart.
FIRST_MS = int(time.time() // 3600 - 1) * 3_600_000


# ---- showing what came of a call ----


def show(value, path=""):
    """Lines of `path: value`, in an order that does not depend on the broker's."""
    if isinstance(value, KafkaException):
        value = value.args[0]
    if isinstance(value, KafkaError):
        yield f"{path}: {value.name()}: {value.str()}"
    elif isinstance(value, Exception):
        yield f"{path}: {type(value).__name__}: {value}"
    elif isinstance(value, enum.Enum):
        yield f"{path}: {value.name}"
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from show(value[key], f"{path}[{_name(key)}]")
    elif isinstance(value, (list, tuple, set)):
        for index, each in enumerate(sorted(value, key=_name)):
            yield from show(each, f"{path}[{index}]")
    elif isinstance(value, TopicPartition):
        shown = f"{value.topic}-{value.partition} at {value.offset} {value.metadata!r}"
        yield f"{path}: {shown} epoch {value.leader_epoch}"
        if value.error is not None:
            yield from show(value.error, f"{path}.error")
    elif hasattr(value, "__dict__") and vars(value):
        for name, each in sorted(vars(value).items()):
            yield from show(each, f"{path}.{name}")
    else:
        yield f"{path}: {value}"


def _name(value):
    """What an element is called by, where it has a name."""
    for attribute in ("group_id", "name", "topic", "id"):
        name = getattr(value, attribute, None)
        if isinstance(name, (str, int)):
            return str(name)
    return str(value)


def settled(answer):
    """The results of a call: what its futures hold, and their errors as values."""
    if isinstance(answer, dict):
        return {key: settled(future) for key, future in answer.items()}
    if not hasattr(answer, "result"):
        return answer
    try:
        return answer.result(TIMEOUT_S)
    except Exception as error:
        return error


# ---- the calls ----


class Calls:
    """Each method is a step, in the order in which they stand here."""

    def __init__(self, address):
        self.address = address
        self.admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        self.consumers = []

    def close(self):
        for consumer in self.consumers:
            consumer.close()

    # ---- topics ----

    def create_topics(self):
        configs = {"retention.ms": "86400000"}
        return self.admin.create_topics([
            NewTopic(TOPIC, num_partitions=3, replication_factor=1, config=configs),
            NewTopic(OTHER), NewTopic("confluent-third", num_partitions=2),
        ])  # fmt: skip

    def create_topics_that_cannot_be(self):
        return self.admin.create_topics([
            NewTopic(TOPIC, num_partitions=1, replication_factor=1),
            NewTopic("bad/name", num_partitions=1, replication_factor=1),
            NewTopic("confluent-wide", num_partitions=1, replication_factor=3),
            NewTopic("confluent-placed", num_partitions=1, replica_assignment=[[99]]),
            NewTopic("confluent-config", num_partitions=1, config={"no.such.config": "1"}),
            NewTopic("confluent-value", num_partitions=1, config={"retention.ms": "soon"}),
        ])  # fmt: skip

    def create_topics_validating(self):
        new = NewTopic("confluent-never", num_partitions=1, replication_factor=1)
        return self.admin.create_topics([new], validate_only=True)

    def create_partitions(self):
        return self.admin.create_partitions([NewPartitions(OTHER, 4), NewPartitions(NOWHERE, 4)])

    def create_partitions_placed(self):
        return self.admin.create_partitions([NewPartitions(OTHER, 5, replica_assignment=[[1]])])

    def create_partitions_placed_nowhere(self):
        return self.admin.create_partitions([NewPartitions(OTHER, 6, replica_assignment=[[99]])])

    def create_partitions_fewer(self):
        return self.admin.create_partitions([NewPartitions(OTHER, 1)])

    def create_partitions_validating(self):
        return self.admin.create_partitions([NewPartitions(OTHER, 9)], validate_only=True)

    def delete_topics(self):
        return self.admin.delete_topics(["confluent-third", NOWHERE])

    def settled(self, counts):
        """Waits until topics have their partitions, or none: Kafka answers before it is so."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            topics = self.admin.list_topics(timeout=TIMEOUT_S).topics
            found = {name: len(topics[name].partitions) for name in counts if name in topics}
            if {name: found.get(name, 0) for name in counts} == counts:
                return
            time.sleep(0.05)

    def list_topics(self):
        self.settled({TOPIC: 3, OTHER: 5, "confluent-third": 0})
        return self.admin.list_topics(timeout=TIMEOUT_S)

    def list_topics_of_one(self):
        return self.admin.list_topics(topic=TOPIC, timeout=TIMEOUT_S)

    def describe_topics(self):
        return self.admin.describe_topics(
            TopicCollection([TOPIC, OTHER, NOWHERE]), include_authorized_operations=True
        )

    def describe_cluster(self):
        return self.admin.describe_cluster(include_authorized_operations=True)

    def cluster_id(self):
        return self.admin.cluster_id(timeout=TIMEOUT_S)

    # ---- configs ----

    def describe_configs(self):
        return self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, TOPIC)])

    def describe_configs_of_the_broker(self):
        return self.admin.describe_configs([ConfigResource(ResourceType.BROKER, "1")])

    def describe_configs_of_no_topic(self):
        return self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, NOWHERE)])

    def incremental_alter_configs(self):
        return self.incremental([
            ("segment.bytes", "2097152", AlterConfigOpType.SET),
            ("cleanup.policy", "compact", AlterConfigOpType.APPEND),
            ("retention.ms", None, AlterConfigOpType.DELETE),
        ])  # fmt: skip

    def incremental_alter_configs_subtracting(self):
        return self.incremental([("cleanup.policy", "compact", AlterConfigOpType.SUBTRACT)])

    def incremental_alter_configs_unknown(self):
        return self.incremental([("no.such.config", "1", AlterConfigOpType.SET)])

    def incremental_alter_configs_wrong(self):
        return self.incremental([("segment.bytes", "few", AlterConfigOpType.SET)])

    def incremental_alter_configs_of_no_topic(self):
        return self.incremental([("segment.ms", "1000", AlterConfigOpType.SET)], NOWHERE)

    def incremental_alter_configs_of_a_group(self):
        entry = ("consumer.session.timeout.ms", "50000", AlterConfigOpType.SET)
        return self.incremental([entry], "confluent-configured", ResourceType.GROUP)

    def incremental_alter_configs_of_a_group_out_of_range(self):
        entry = ("consumer.session.timeout.ms", "1", AlterConfigOpType.SET)
        return self.incremental([entry], "confluent-configured", ResourceType.GROUP)

    def describe_configs_of_a_group(self):
        return self.admin.describe_configs(
            [ConfigResource(ResourceType.GROUP, "confluent-configured")]
        )

    def describe_configs_after_altering(self):
        return self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, TOPIC)])

    def alter_configs(self):
        resource = ConfigResource(ResourceType.TOPIC, TOPIC, {"retention.ms": "777600000"})
        return self.admin.alter_configs([resource])

    def alter_configs_wrong(self):
        resource = ConfigResource(ResourceType.TOPIC, TOPIC, {"retention.ms": "-7"})
        return self.admin.alter_configs([resource])

    def describe_configs_after_replacing(self):
        return self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, TOPIC)])

    def incremental(self, entries, name=TOPIC, kind=ResourceType.TOPIC):
        configs = [
            ConfigEntry(config, value, incremental_operation=operation)
            for config, value, operation in entries
        ]
        resource = ConfigResource(kind, name, incremental_configs=configs)
        return self.admin.incremental_alter_configs([resource])

    # ---- records and offsets ----

    def records_for_what_follows(self):
        producer = Producer({"bootstrap.servers": self.address})
        for number in range(RECORDS):
            for partition in range(3):
                producer.produce(
                    TOPIC, b"record %d" % number, partition=partition,
                    timestamp=FIRST_MS + 1000 * number,
                )  # fmt: skip
        return producer.flush(TIMEOUT_S)

    def list_offsets(self):
        wanted = {}
        for partition, spec in enumerate((OffsetSpec.earliest(), OffsetSpec.latest())):
            wanted[TopicPartition(TOPIC, partition)] = spec
        wanted[TopicPartition(TOPIC, 2)] = OffsetSpec.for_timestamp(FIRST_MS + 4500)
        wanted[TopicPartition(OTHER, 0)] = OffsetSpec.max_timestamp()
        return self.offsets(wanted)

    def list_offsets_of_the_largest_timestamp(self):
        return self.offsets({TopicPartition(TOPIC, 0): OffsetSpec.max_timestamp()})

    def list_offsets_committed(self):
        return self.offsets(
            {TopicPartition(TOPIC, 0): OffsetSpec.latest()}, IsolationLevel.READ_COMMITTED
        )

    def list_offsets_beyond_the_end(self):
        return self.offsets({TopicPartition(TOPIC, 0): OffsetSpec.for_timestamp(FIRST_MS * 2)})

    def list_offsets_of_no_topic(self):
        return self.offsets({TopicPartition(NOWHERE, 0): OffsetSpec.latest()})

    def offsets(self, wanted, isolation=IsolationLevel.READ_UNCOMMITTED):
        answers = settled(self.admin.list_offsets(wanted, isolation_level=isolation))
        for answer in answers.values():
            # As they are of this hour.
            if getattr(answer, "timestamp", -1) > 0:
                answer.timestamp -= FIRST_MS
        return {f"{at.topic}-{at.partition}": answer for at, answer in answers.items()}

    def delete_records(self):
        return self.deletion(
            TopicPartition(TOPIC, 0, 5), TopicPartition(TOPIC, 1, -1), TopicPartition(TOPIC, 2, 999)
        )

    def delete_records_of_no_topic(self):
        return self.deletion(TopicPartition(NOWHERE, 0, 1))

    def list_offsets_after_deleting(self):
        return self.offsets({
            TopicPartition(TOPIC, partition): OffsetSpec.earliest() for partition in range(3)
        })  # fmt: skip

    def deletion(self, *partitions):
        answers = self.admin.delete_records(list(partitions))
        return {f"{at.topic}-{at.partition}": settled(answer) for at, answer in answers.items()}

    def elect_leaders(self):
        return self.admin.elect_leaders(
            ElectionType.PREFERRED, [TopicPartition(TOPIC, 0), TopicPartition(NOWHERE, 0)]
        )

    def elect_leaders_of_all(self):
        return self.admin.elect_leaders(ElectionType.PREFERRED)

    # ---- groups ----

    def a_classic_member(self):
        return self.member(CLASSIC, **{"partition.assignment.strategy": "range"})

    def a_member_of_kip_848(self):
        return self.member(MODERN, **{"group.protocol": "consumer"})

    def member(self, group, **settings):
        consumer = Consumer({
            "bootstrap.servers": self.address, "group.id": group, "client.id": "member",
            "enable.auto.commit": False, "auto.offset.reset": "earliest", **settings,
        })  # fmt: skip
        self.consumers.append(consumer)
        consumer.subscribe([TOPIC])
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                return f"{len(consumer.assignment())} partitions"
        return "no record came"

    def alter_consumer_group_offsets(self):
        return self.commit(IDLE, TopicPartition(TOPIC, 0, 7), TopicPartition(TOPIC, 1, 8))

    def alter_consumer_group_offsets_of_no_topic(self):
        return self.commit(IDLE, TopicPartition(NOWHERE, 0, 7))

    def alter_consumer_group_offsets_of_a_member(self):
        return self.commit(CLASSIC, TopicPartition(TOPIC, 0, 7))

    def alter_consumer_group_offsets_of_kip_848(self):
        return self.commit(MODERN, TopicPartition(TOPIC, 0, 7))

    def commit(self, group, *partitions):
        request = ConsumerGroupTopicPartitions(group, list(partitions))
        return self.admin.alter_consumer_group_offsets([request])

    def list_consumer_group_offsets(self):
        return self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(IDLE)])

    def list_consumer_group_offsets_of_some(self):
        wanted = ((TOPIC, 0), (TOPIC, 2), (NOWHERE, 0))
        partitions = [TopicPartition(topic, partition) for topic, partition in wanted]
        return self.admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(IDLE, partitions)], require_stable=True
        )

    def list_consumer_group_offsets_of_no_group(self):
        return self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(NO_GROUP)])

    def list_groups(self):
        return self.admin.list_groups(timeout=TIMEOUT_S)

    def list_groups_of_one(self):
        return self.admin.list_groups(IDLE, timeout=TIMEOUT_S)

    def list_consumer_groups(self):
        return self.admin.list_consumer_groups()

    def list_consumer_groups_by_state(self):
        return self.admin.list_consumer_groups(states={ConsumerGroupState.EMPTY})

    def list_consumer_groups_by_type(self):
        return self.admin.list_consumer_groups(types={ConsumerGroupType.CONSUMER})

    def describe_consumer_groups(self):
        return self.admin.describe_consumer_groups(
            [CLASSIC, MODERN, IDLE, NO_GROUP], include_authorized_operations=True
        )

    def delete_consumer_groups(self):
        return self.admin.delete_consumer_groups([CLASSIC, MODERN, IDLE, NO_GROUP])

    def list_consumer_groups_after_deleting(self):
        return self.admin.list_consumer_groups(states={ConsumerGroupState.EMPTY})


def main():
    calls = Calls(sys.argv[1])
    helpers = {"close", "settled", "incremental", "offsets", "deletion", "member", "commit"}
    with contextlib.closing(calls):
        for name, function in vars(Calls).items():
            if name.startswith("_") or name in helpers:
                continue
            try:
                answer = settled(function(calls))
            except Exception as error:
                answer = error
            lines = list(show(answer))
            print(json.dumps({"step": name.replace("_", " "), "lines": lines}), flush=True)


if __name__ == "__main__":
    main()
