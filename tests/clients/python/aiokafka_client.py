"""aiokafka with its defaults: see `workload`."""

import asyncio
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import workload


async def create(bootstrap, topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, workload.PARTITIONS, 1)])
    await admin.close()


async def write(bootstrap, topic, codec):
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec
    )
    await producer.start()
    answers = [
        await producer.send(
            topic,
            key=workload.key_of(number),
            value=workload.value_of(codec, number),
            headers=[workload.header_of(number)],
        )
        for number in range(workload.RECORDS)
    ]
    await asyncio.wait_for(asyncio.gather(*answers), workload.DEADLINE_S)
    await producer.stop()


async def read(bootstrap, topic, seen, until):
    """One group member: reads until the group has `until` records, commits, leaves."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"{topic}-group", auto_offset_reset="earliest"
    )
    await consumer.start()
    while seen.wants_more(until):
        # Whatever a poll hands over counts as read, so that the commit stands right behind it.
        for records in (await consumer.getmany(timeout_ms=1000, max_records=100)).values():
            for record in records:
                seen.take(record.partition, record.key, record.value, record.headers)
    await consumer.commit()
    await consumer.stop()


async def committed(bootstrap, topic):
    """The sum of what the group has committed: as many as there are records."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=f"{topic}-group")
    await consumer.start()
    total = 0
    for partition in range(workload.PARTITIONS):
        total += await consumer.committed(TopicPartition(topic, partition)) or 0
    await consumer.stop()
    return total


async def rounds(options, checks):
    for codec in workload.CODECS:
        topic = f"{options.topic_prefix}-{codec}"
        await create(options.bootstrap, topic)
        await write(options.bootstrap, topic, codec)
        seen = workload.Round(codec)
        await read(options.bootstrap, topic, seen, workload.HALF)
        first_half_count = len(seen.numbers)
        await read(options.bootstrap, topic, seen, workload.RECORDS)
        seen.check(first_half_count)
        if await committed(options.bootstrap, topic) != workload.RECORDS:
            raise workload.Mismatch(
                f"{codec}: the group's commits do not add up to {workload.RECORDS}"
            )
        checks.append(codec)


def main():
    options = workload.arguments()
    started = time.monotonic()
    checks = []
    error = None
    try:
        asyncio.run(rounds(options, checks))
    except Exception as failure:
        error = failure
    workload.report("aiokafka", aiokafka.__version__, checks, started, error)


if __name__ == "__main__":
    main()
