"""confluent-kafka (librdkafka) with its defaults: see `workload`."""

import time

import confluent_kafka
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

import workload


def create(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(topic, workload.PARTITIONS)]).values():
        created.result(timeout=workload.DEADLINE_S)


def write(bootstrap, topic, codec):
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec})
    for number in range(workload.RECORDS):
        producer.produce(
            topic,
            key=workload.key_of(number),
            value=workload.value_of(codec, number),
            headers=[workload.header_of(number)],
            on_delivery=lambda error, _: error and failures.append(error),
        )
    unsent = producer.flush(workload.DEADLINE_S)
    if unsent or failures:
        raise workload.Mismatch(
            f"{codec}: {unsent} records unsent, {len(failures)} failed: {failures[:1]}"
        )


def read(bootstrap, topic, seen, until):
    """One group member: reads until the group has `until` records, commits, leaves."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{topic}-group",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    while seen.wants_more(until):
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            raise confluent_kafka.KafkaException(message.error())
        seen.take(message.partition(), message.key(), message.value(), message.headers())
    consumer.commit(asynchronous=False)
    consumer.close()


def committed(bootstrap, topic):
    """The sum of what the group has committed: as many as there are records."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-group"})
    partitions = [confluent_kafka.TopicPartition(topic, p) for p in range(workload.PARTITIONS)]
    total = sum(
        max(p.offset, 0) for p in consumer.committed(partitions, timeout=workload.DEADLINE_S)
    )
    consumer.close()
    return total


def main():
    options = workload.arguments()
    started = time.monotonic()
    checks = []
    error = None
    try:
        for codec in workload.CODECS:
            topic = f"{options.topic_prefix}-{codec}"
            create(options.bootstrap, topic)
            write(options.bootstrap, topic, codec)
            seen = workload.Round(codec)
            read(options.bootstrap, topic, seen, workload.HALF)
            first_half_count = len(seen.numbers)
            read(options.bootstrap, topic, seen, workload.RECORDS)
            seen.check(first_half_count)
            if committed(options.bootstrap, topic) != workload.RECORDS:
                raise workload.Mismatch(
                    f"{codec}: the group's commits do not add up to {workload.RECORDS}"
                )
            checks.append(codec)
    except Exception as failure:
        error = failure
    version = f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"
    workload.report("confluent-kafka", version, checks, started, error)


if __name__ == "__main__":
    main()
