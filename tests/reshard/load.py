"""Who writes during the storm, and who splits and merges the shards under them."""

import random
import time

import confluent_kafka
from harness import aws
from history import shard_number

RECORDS_PER_REQUEST = 25
KEYS_PER_WRITER = 20
PUT_PAUSE_S = 0.05
PRODUCE_PAUSE_S = 0.005
RESHARD_PAUSE_S = 1.0
OPEN_SHARDS = range(3, 13)
# Of so many changes one is an UpdateShardCount.
SCALED_EACH = 8


def client(weir):
    """A boto3 client that sends a request once: a second attempt might write records twice."""
    return aws.kinesis(weir.endpoint, retries={"total_max_attempts": 1})


def data(number, chance):
    return b"%d " % number + b"." * chance.randrange(400)


def put_records(weir, stream, writer, seed, history, stopped):
    """Writes with PutRecords, one request after the other, until it is stopped."""
    kinesis, chance, number = client(weir), random.Random(seed), 0
    while not stopped.is_set():
        sent = []
        for _ in range(RECORDS_PER_REQUEST):
            number += 1
            sent.append((f"put-{writer}-{chance.randrange(KEYS_PER_WRITER)}", number))
        records = [{"PartitionKey": key, "Data": data(n, chance)} for key, n in sent]
        try:
            answers = kinesis.put_records(StreamName=stream, Records=records)["Records"]
        except Exception as error:
            history.note_error("PutRecords", error)
            answers = [None] * len(sent)
        for (key, n), answer in zip(sent, answers, strict=True):
            if answer is None or "ErrorCode" in answer:
                history.note("unanswered", key=key, number=n)
                if answer:
                    history.note("failed", detail=f"PutRecords: {answer}")
                continue
            shard, sequence = shard_number(answer["ShardId"]), int(answer["SequenceNumber"])
            history.note("put", key=key, number=n, shard=shard, sequence=sequence)
        time.sleep(PUT_PAUSE_S)


def open_shards(kinesis, stream):
    """The open shards, as ListShards gives them."""
    shards = kinesis.list_shards(StreamName=stream, ShardFilter={"Type": "AT_LATEST"})
    assert "NextToken" not in shards, "more open shards than a page has"
    return shards["Shards"]


# Each refusal makes an idempotent librdkafka take a new producer epoch. What was under way when a
# connection broke it sends again under that epoch, so no broker can tell that it has the record
# already. Where weir is killed, nothing is therefore sent twice at all.
IDEMPOTENT = {"enable.idempotence": True}
ONCE = {"enable.idempotence": False, "retries": 0}


def produce(weir, stream, guarantee, seed, history, stopped):
    """Produces to partitions that it takes for open, with librdkafka."""
    kinesis, chance, number = client(weir), random.Random(seed), 0
    settings = guarantee | {
        "bootstrap.servers": weir.kafka,
        "linger.ms": 5,
        # That a topic gets partitions is no news here.
        "log_level": 4,
    }
    producer = confluent_kafka.Producer(settings)
    partitions, looked_at = [], 0

    def delivered(error, message, key, number):
        nonlocal looked_at
        if error is None:
            place = {"partition": message.partition(), "offset": message.offset()}
            history.note("produced", key=key, number=number, **place)
        elif error.code() == confluent_kafka.KafkaError.INVALID_RECORD:
            # The partition is closed: it is time to look which are open.
            history.note("refused", key=key, number=number)
            looked_at = 0
        else:
            history.note("unanswered", key=key, number=number)
            history.note("outage" if guarantee is ONCE else "failed", detail=f"produce: {error}")

    while not stopped.is_set():
        if time.monotonic() > looked_at + 2:
            try:
                partitions = [shard_number(s["ShardId"]) for s in open_shards(kinesis, stream)]
                looked_at = time.monotonic()
            except Exception as error:
                history.note_error("ListShards", error)
        number += 1
        key, n = f"kafka-{number % 50}", number
        try:
            producer.produce(
                stream,
                key=key,
                value=data(n, chance),
                partition=chance.choice(partitions),
                on_delivery=lambda error, message, key=key, n=n: delivered(error, message, key, n),
            )
        except confluent_kafka.KafkaException as error:
            # The client has not heard of a child yet; what it is asked about it looks up.
            if error.args[0].code() != confluent_kafka.KafkaError._UNKNOWN_PARTITION:
                raise
            producer.list_topics(stream, timeout=10)
        producer.poll(PRODUCE_PAUSE_S)
    if producer.flush(30):
        history.note("failed", detail="produce: records are still under way")


def reshard(weir, stream, seed, history, stopped):
    """Splits, merges and scales at random, each second."""
    kinesis, chance, count = client(weir), random.Random(seed), 0
    while not stopped.wait(RESHARD_PAUSE_S):
        for _ in range(chance.randint(1, 3)):
            count += 1
            change = scale if count % SCALED_EACH == 0 else split_or_merge
            try:
                change(kinesis, stream, chance, history)
            except Exception as error:
                history.note_error("reshard", error)


def scale(kinesis, stream, chance, history):
    count = len(open_shards(kinesis, stream))
    fewest, most = max((count + 1) // 2, OPEN_SHARDS[0]), min(count * 2, OPEN_SHARDS[-1])
    target = chance.randint(fewest, most)
    kinesis.update_shard_count(
        StreamName=stream, TargetShardCount=target, ScalingType="UNIFORM_SCALING"
    )
    history.note("scaled", before=count, after=target)


def split_or_merge(kinesis, stream, chance, history):
    shards = sorted(open_shards(kinesis, stream), key=hash_keys)
    count = len(shards)
    if count >= OPEN_SHARDS[-1] or (count > OPEN_SHARDS[0] and chance.random() < 0.5):
        lower = chance.randrange(count - 1)
        pair = [shards[lower]["ShardId"], shards[lower + 1]["ShardId"]]
        chance.shuffle(pair)
        kinesis.merge_shards(StreamName=stream, ShardToMerge=pair[0], AdjacentShardToMerge=pair[1])
        history.note("merged", shards=pair)
    else:
        shard = max(chance.sample(shards, min(3, count)), key=width)
        start, end = hash_keys(shard)
        key = start + width(shard) * chance.randint(1, 9) // 10
        kinesis.split_shard(
            StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(key)
        )
        history.note("split", shard=shard["ShardId"])


def hash_keys(shard):
    """First and last hash key of a shard."""
    keys = shard["HashKeyRange"]
    return int(keys["StartingHashKey"]), int(keys["EndingHashKey"])


def width(shard):
    start, end = hash_keys(shard)
    return end - start
