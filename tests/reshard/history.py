"""What happened in a reshard storm: events in the order in which they were noted, each an object
with `event`:

    put          PutRecords answered a record: `key`, `number`, its `shard` and `sequence`
    produced     a Kafka producer was told that its record is kept: `key`, `number`, `partition`,
                 `offset`
    unanswered   a record that may have been written or not: `key`, `number`
    refused      a record that was not written, by the broker's word: `key`, `number`
    read         the lineage reader read a record: `shard`, `sequence`, `key`, `number`
    ended        it came to the end of `shard`, which has these `children`
    consumed     a Kafka consumer read a record: `partition`, `offset`, `key`, `number`
    listed       ListShards showed open shards with these `ranges` of hash keys
    lineage      all `shards` as ListShards showed them when the storm was over
    split merged scaled    what was done to the stream
    killed       weir was killed (-9) and started again
    outage       a request found nobody, or its answer did not come: `detail`
    failed       `detail` of what should not have happened

A record's number is its own among those of its key, and a later one is greater. A shard is named by
its number, which is that of the Kafka partition.
"""

import threading

from botocore.exceptions import ConnectionError as NoConnection
from botocore.exceptions import HTTPClientError

# What boto3 raises when nobody is there, or goes away in the middle.
OUTAGES = (NoConnection, HTTPClientError)


class History:
    """Events as they come, from several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.events = []

    def note(self, event, **members):
        with self.lock:
            self.events.append({"event": event} | members)

    def note_error(self, what, error):
        """A request that raised; where weir is killed, some find nobody."""
        kind = "outage" if isinstance(error, OUTAGES) else "failed"
        self.note(kind, detail=f"{what}: {type(error).__name__}: {error}")

    def of(self, kind):
        with self.lock:
            return [event for event in self.events if event["event"] == kind]

    def count(self, kind):
        return len(self.of(kind))


def shard_number(shard_id):
    return int(shard_id.rpartition("-")[2])


def key_and_number(key, value):
    """A record's key and number, as `load` wrote them."""
    return key, int(value.split(b" ", 1)[0])
