"""kafka-python with its defaults: see `workload`."""

import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

import workload


def create(bootstrap, topic):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, workload.PARTITIONS, 1)])
    admin.close()


def write(bootstrap, topic, codec):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec
    )
    answers = [
        producer.send(
            topic,
            key=workload.key_of(number),
            value=workload.value_of(codec, number),
            headers=[workload.header_of(number)],
        )
        for number in range(workload.RECORDS)
    ]
    producer.flush(timeout=workload.DEADLINE_S)
    for answer in answers:
        answer.get(timeout=workload.DEADLINE_S)
    producer.close()


def read(bootstrap, topic, seen, until):
    """One group member: reads until the group has `until` records, commits, leaves."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"{topic}-group", auto_offset_reset="earliest"
    )
    while seen.wants_more(until):
        # Whatever a poll hands over counts as read, so that the commit stands right behind it.
        for records in consumer.poll(timeout_ms=1000, max_records=100).values():
            for record in records:
                seen.take(record.partition, record.key, record.value, record.headers)
    consumer.commit()
    consumer.close()


def committed(bootstrap, topic):
    """The sum of what the group has committed: as many as there are records."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=f"{topic}-group")
    total = sum(
        consumer.committed(TopicPartition(topic, p)) or 0 for p in range(workload.PARTITIONS)
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
    workload.report("kafka-python", kafka.__version__, checks, started, error)


if __name__ == "__main__":
    main()
