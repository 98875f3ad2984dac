"""The two writers of the real input, each in a thread with a queue: librdkafka and boto3
PutRecords.

Both keep what was acknowledged and where, so that a reader can be held against it.
"""

import queue
import threading

import confluent_kafka
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from harness import aws
from web import path_of

END = object()


class Writer(threading.Thread):
    """Takes lines in the order of the log; `finish` waits until all are in."""

    def __init__(self):
        super().__init__(daemon=True)
        self.queue = queue.Queue()
        self.lines = []
        # line -> (partition, position) that the answer named
        self.acknowledged = {}
        self.failure = None

    def put(self, line):
        self.lines.append(line)
        self.queue.put(line)

    def finish(self, timeout_s):
        self.queue.put(END)
        self.join(timeout_s)
        if self.is_alive():
            raise RuntimeError(f"{type(self).__name__} was not done after {timeout_s} s")
        if self.failure is not None:
            raise self.failure

    def run(self):
        try:
            self.write_all()
        except Exception as failure:
            self.failure = failure


class LibrdkafkaWriter(Writer):
    """Key = path, idempotent. librdkafka itself tries again until the broker is back."""

    def __init__(self, bootstrap, topic, codec):
        super().__init__()
        self.topic = topic
        self.producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": codec,
                "queue.buffering.max.messages": 1_000_000,
                # The default, ten seconds, only makes a test with a restart longer.
                "reconnect.backoff.max.ms": 500,
                "log_level": 2,
            }
        )

    def write_all(self):
        while (line := self.queue.get()) is not END:
            self.producer.produce(
                self.topic, key=path_of(line), value=line, on_delivery=self.delivered
            )
            self.producer.poll(0)
        self.producer.flush()

    def delivered(self, error, message):
        if error is not None:
            self.failure = confluent_kafka.KafkaException(error)
        else:
            self.acknowledged[message.value()] = (message.partition(), message.offset())


class PutRecordsWriter(Writer):
    """Partition key = path, at most 500 records a request, the next request after the answer to
    this one.

    `unanswered` holds the lines of which some attempt reached the server and got no answer: only
    those may be there twice.
    """

    def __init__(self, endpoint, stream):
        super().__init__()
        self.stream = stream
        self.unanswered = set()
        self.attempts = 0
        self.batch = []
        # Set when a request goes out: the moment for a kill.
        self.sending = threading.Event()
        self.kinesis = aws.kinesis(endpoint)
        events = self.kinesis.meta.events
        events.register("before-send.kinesis.PutRecords", self.attempt_begins)
        events.register("response-received.kinesis.PutRecords", self.attempt_ended)

    def attempt_begins(self, **_):
        self.sending.set()

    def attempt_ended(self, exception=None, **_):
        """Called for each attempt, the SDK's own retries included; a refused connection carried
        nothing.
        """
        self.attempts += 1
        if exception is not None and not isinstance(exception, EndpointConnectionError):
            self.unanswered.update(self.batch)

    def write_all(self):
        ended = False
        while not ended:
            self.batch = [self.queue.get()]
            while len(self.batch) < 500 and not self.queue.empty():
                self.batch.append(self.queue.get())
            if self.batch[-1] is END:
                self.batch.pop()
                ended = True
            if self.batch:
                self.write_batch()

    def write_batch(self):
        records = [{"Data": line, "PartitionKey": path_of(line).decode()} for line in self.batch]
        while True:
            try:
                answer = self.kinesis.put_records(StreamName=self.stream, Records=records)
                break
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    raise
            except BotoCoreError:
                pass  # no answer or no connection after all of the SDK's attempts: once more
        # Sent again one by one, a refused record would come behind its successors; weir runs
        # without quotas.
        refused = [result for result in answer["Records"] if "ErrorCode" in result]
        if refused:
            raise RuntimeError(f"PutRecords refused {len(refused)} records: {refused[0]}")
        for line, result in zip(self.batch, answer["Records"], strict=True):
            partition = int(result["ShardId"].removeprefix("shardId-"))
            self.acknowledged[line] = (partition, result["SequenceNumber"])
