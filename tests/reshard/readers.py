"""Who reads and looks on: a reader who follows the lineage, a Kafka consumer of everything, and
those who list shards all the time."""

import time

import confluent_kafka
from history import OUTAGES, key_and_number, shard_number
from load import client, hash_keys, open_shards

IDLE_PAUSE_S = 0.02
OUTAGE_PAUSE_S = 0.1
CONSUME_TIMEOUT_S = 60


class LineageReader:
    """Reads shards from their first record to their end, and then those of their children whose
    parents have all ended, as the KCL does: it learns of children from GetRecords alone."""

    def __init__(self, weir, stream, history):
        self.kinesis = client(weir)
        self.stream = stream
        self.history = history
        self.iterators = {}
        self.ended = set()
        self.waiting = {}
        for shard in open_shards(self.kinesis, stream):
            self.begin(shard["ShardId"])

    def begin(self, shard_id):
        iterator = self.kinesis.get_shard_iterator(
            StreamName=self.stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )
        self.iterators[shard_id] = iterator["ShardIterator"]

    def read_round(self):
        """Reads each shard that is under way once; returns how many records there were."""
        for child_id in [c for c, parents in self.waiting.items() if parents <= self.ended]:
            self.begin(child_id)
            del self.waiting[child_id]
        count = 0
        for shard_id, iterator in list(self.iterators.items()):
            page = self.kinesis.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                key, number = key_and_number(record["PartitionKey"], record["Data"])
                shard, sequence = shard_number(shard_id), int(record["SequenceNumber"])
                self.history.note("read", shard=shard, sequence=sequence, key=key, number=number)
            count += len(page["Records"])
            if "NextShardIterator" in page:
                self.iterators[shard_id] = page["NextShardIterator"]
            else:
                self.end(shard_id, page["ChildShards"])
        return count

    def end(self, shard_id, children):
        del self.iterators[shard_id]
        self.ended.add(shard_id)
        numbers = [shard_number(child["ShardId"]) for child in children]
        self.history.note("ended", shard=shard_number(shard_id), children=numbers)
        for child in children:
            self.waiting[child["ShardId"]] = set(child["ParentShards"])

    def read_until(self, stopped):
        while not stopped.is_set():
            try:
                if not self.read_round():
                    time.sleep(IDLE_PAUSE_S)
            except OUTAGES as error:
                # What was not answered is asked for again: the iterator is still the old one.
                self.history.note_error("the lineage reader", error)
                time.sleep(OUTAGE_PAUSE_S)

    def read_to_the_end(self, rounds):
        """Until there is nothing new in so many rounds."""
        quiet = 0
        while quiet < rounds:
            shards = set(self.iterators)
            is_quiet = self.read_round() == 0 and set(self.iterators) == shards
            quiet = quiet + 1 if is_quiet else 0


def look_on(weir, stream, history, stopped):
    """Lists the shards all the time, with a filter and without; notes what is new."""
    kinesis, seen = client(weir), set()
    looks = 0
    while not stopped.is_set():
        try:
            with_filter = open_shards(kinesis, stream)
            everything = kinesis.list_shards(StreamName=stream, MaxResults=10_000)
        except OUTAGES as error:
            history.note_error("ListShards", error)
            time.sleep(OUTAGE_PAUSE_S)
            continue
        # What is listed in pages is not one moment.
        whole = [] if "NextToken" in everything else [everything["Shards"]]
        for shards in [with_filter, *whole]:
            looks += 1
            ranges = tuple(hash_keys(shard) for shard in shards if is_open(shard))
            if ranges not in seen:
                seen.add(ranges)
                history.note("listed", ranges=list(ranges))
        time.sleep(0.002)
    return looks


def is_open(shard):
    return "EndingSequenceNumber" not in shard["SequenceNumberRange"]


def final_lineage(weir, stream, history):
    """Notes all shards, from as many pages as it takes."""
    kinesis, shards, page = client(weir), [], {"StreamName": stream}
    while page:
        listed = kinesis.list_shards(**page)
        shards += listed["Shards"]
        page = {"NextToken": listed["NextToken"]} if "NextToken" in listed else None
    history.note("lineage", shards=[plain(shard) for shard in shards])
    history.note("listed", ranges=[hash_keys(shard) for shard in shards if is_open(shard)])


def plain(shard):
    parents = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
    numbers = shard["SequenceNumberRange"]
    ending = numbers.get("EndingSequenceNumber")
    return {
        "shard": shard_number(shard["ShardId"]),
        "parents": [shard_number(parent) for parent in parents if parent],
        "range": list(hash_keys(shard)),
        "starting": int(numbers["StartingSequenceNumber"]),
        "ending": int(ending) if ending else None,
    }


def consume_everything(weir, stream, history):
    """Reads all partitions, closed ones too, from their first record to their last."""
    settings = {
        "bootstrap.servers": weir.kafka,
        "group.id": "everything",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
    }
    consumer = confluent_kafka.Consumer(settings)
    partitions = consumer.list_topics(stream, timeout=10).topics[stream].partitions
    first = confluent_kafka.OFFSET_BEGINNING
    consumer.assign([confluent_kafka.TopicPartition(stream, p, first) for p in partitions])
    unread, deadline = set(partitions), time.monotonic() + CONSUME_TIMEOUT_S
    while unread and time.monotonic() < deadline:
        for message in consumer.consume(1000, timeout=0.2):
            if message.error() is None:
                key, number = key_and_number(message.key().decode(), message.value())
                place = {"partition": message.partition(), "offset": message.offset()}
                history.note("consumed", key=key, number=number, **place)
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                unread.discard(message.partition())
            else:
                history.note("failed", detail=f"consume: {message.error()}")
    if unread:
        history.note("failed", detail=f"the consumer did not come to the end of {sorted(unread)}")
    consumer.close()
