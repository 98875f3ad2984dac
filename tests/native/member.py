"""Members of groups that watch each other: each reads what it was given, keeps positions and gives
up what it is told to, and a ledger sees who has what, as the members themselves know it.
"""

import queue
import threading
import time

import confluent_kafka
import grpc


def wait_for(what, seconds=15):
    """Returns once `what()` holds, and how long that took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, "it did not come to that"
        time.sleep(0.01)
    return time.monotonic() - begun


class Ledger:
    """Who has which partition, and which records were read."""

    def __init__(self):
        self.lock = threading.RLock()
        self.owners = {}
        self.read = {}
        self.wrong = []

    def take(self, member, key):
        with self.lock:
            if self.owners.get(key) not in (None, member):
                self.wrong.append(f"{member} was given {key}, which {self.owners[key]} has")
            self.owners[key] = member

    def drop(self, member, key):
        with self.lock:
            if self.owners.get(key) == member:
                del self.owners[key]

    def drop_all(self, member):
        with self.lock:
            self.owners = {key: owner for key, owner in self.owners.items() if owner != member}

    def note(self, member, key, offset):
        with self.lock:
            if self.owners.get(key) != member:
                self.wrong.append(f"{member} read {key} of {self.owners.get(key)}")
            read = self.read.setdefault(key, {})
            read[offset] = read.get(offset, 0) + 1

    def of(self, member):
        with self.lock:
            owned = [key for key, owner in self.owners.items() if owner == member]
            return sorted(partition for _, partition in owned)

    def has_read(self, ends):
        """Whether every record below these ends was read."""
        with self.lock:
            return all(
                self.read.get(key, {}).keys() >= set(range(end)) for key, end in ends.items()
            )

    def read_again(self):
        with self.lock:
            return sum(count - 1 for read in self.read.values() for count in read.values())


class Member:
    """A member by the native API. It reads and acknowledges until it is told otherwise."""

    def __init__(self, native, ledger, name, group, streams=(), **begin):
        self.native, self.ledger, self.name = native, ledger, name
        self.lock = threading.Lock()
        self.places, self.parents, self.epoch, self.id = {}, {}, 0, None
        self.answers, self.refused, self.results, self.messages = True, None, [], 0
        self.heard_at = time.monotonic()
        self.ended = threading.Event()
        self.outbox = queue.Queue()
        subscription = begin.pop("subscription", {"streams": list(streams)})
        self.say(begin={"group": group, "subscription": subscription, "client_id": name, **begin})
        self.call = native.call("Join")(iter(self.outbox.get, None))
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, **message):
        self.outbox.put(self.native.request("Join", **message))

    def has(self, count):
        return len(self.ledger.of(self.name)) == count

    def leave(self):
        """Goes for good, and says so."""
        with self.lock:
            self.places = {}
            self.ledger.drop_all(self.name)
        self.say(leave={})
        assert self.ended.wait(10), "the call goes on"
        assert self.refused is None, self.refused

    def cancel(self):
        with self.lock:
            self.places = {}
            self.ledger.drop_all(self.name)
        self.call.cancel()

    def fall_silent(self):
        """Says nothing any more, and does not read either, but its connection lives. Its call may
        hear of its end after others have what it had.
        """
        with self.lock:
            self.places = {}
            self.answers = False
            self.ledger.drop_all(self.name)

    def _listen(self):
        try:
            for message in self.call:
                self.messages += 1
                kind = message.WhichOneof("message")
                if kind == "assignment":
                    self._assign(message.assignment)
                elif kind == "still_there" and self.answers:
                    self.say(still_here={})
                elif kind == "acknowledged":
                    self.results.extend(message.acknowledged.results)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
                has_detail = "grpc-status-details-bin" in dict(error.trailing_metadata() or ())
                detail = self.native.detail(error) if has_detail else {}
                assert has_detail or unavailable, error
                self.refused = (error.code().name, detail.get("reason"))
        finally:
            self.outbox.put(None)
            with self.lock:
                self.places = {}
                self.ledger.drop_all(self.name)
            self.ended.set()

    def _assign(self, assignment):
        self.epoch, self.id = assignment.epoch, assignment.member_id
        with self.lock:
            revoked = [
                (one.stream, index) for one in assignment.revoked for index in one.partitions
            ]
            for key in revoked:
                self.places.pop(key, None)
                self.ledger.drop(self.name, key)
            for one in assignment.added:
                key = (one.stream, one.partition)
                self.ledger.take(self.name, key)
                self.places[key] = one.next_offset if one.HasField("next_offset") else 0
                self.parents[key] = list(one.unread_parents)
        if revoked and self.answers:
            self.say(released={"partitions": [dict(stream=s, partitions=[p]) for s, p in revoked]})

    def _read(self):
        while not self.ended.is_set():
            for (stream, partition), place in list(self.places.items()):
                try:
                    answers = list(
                        self.native.Tail(
                            stream=stream, partitions=[partition], until_now=True,
                            offsets={partition: place}, **{"from": {"earliest": True}},
                        )
                    )  # fmt: skip
                except grpc.RpcError:
                    break
                self._process((stream, partition), [r for a in answers for r in a.records])
            time.sleep(0.02)

    def _process(self, key, records):
        with self.lock:
            if key not in self.places or not records:
                return
            for record in records:
                self.ledger.note(self.name, key, record.offset)
            self.places[key] = records[-1].offset + 1
            position = {"stream": key[0], "partition": key[1], "next_offset": self.places[key]}
            self.say(acknowledge={"positions": [position]})


class KafkaMember:
    """The same by confluent-kafka, in the protocol of KIP-848."""

    def __init__(self, bootstrap, ledger, name, group, streams):
        self.ledger, self.name = ledger, name
        self.going = threading.Event()
        self.consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "client.id": name,
                "group.protocol": "consumer",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        self.consumer.subscribe(
            list(streams), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def has(self, count):
        return len(self.ledger.of(self.name)) == count

    def close(self):
        self.going.set()
        self.thread.join(20)
        assert not self.thread.is_alive(), "the consumer does not close"

    def _assigned(self, _consumer, partitions):
        for one in partitions:
            self.ledger.take(self.name, (one.topic, one.partition))

    def _revoked(self, _consumer, partitions):
        for one in partitions:
            self.ledger.drop(self.name, (one.topic, one.partition))

    def _run(self):
        while not self.going.is_set():
            message = self.consumer.poll(0.1)
            if message is None:
                continue
            assert message.error() is None, message.error()
            key = (message.topic(), message.partition())
            self.ledger.note(self.name, key, message.offset())
            self._commit(message)
        self.consumer.close()

    def _commit(self, message):
        """Commits, again where the member's epoch has moved and its client did not know yet."""
        for _ in range(100):
            try:
                self.consumer.commit(message, asynchronous=False)
                return
            except confluent_kafka.KafkaException as error:
                if error.args[0].code() != confluent_kafka.KafkaError.STALE_MEMBER_EPOCH:
                    raise
                time.sleep(0.05)
        raise AssertionError("the epoch stays stale")


class Writer:
    """Writes records to the partitions of a stream, in turn, until it is stopped."""

    def __init__(self, native, stream, partitions):
        self.native, self.stream, self.partitions = native, stream, partitions
        self.ends = {(stream, partition): 0 for partition in range(partitions)}
        self.going = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.going.is_set():
            records = [
                {"value": b"%d" % partition, "partition": partition}
                for partition in range(self.partitions)
            ]
            for result in self.native.Append(stream=self.stream, records=records).results:
                assert result.HasField("place"), result
                key = (self.stream, result.place.partition)
                self.ends[key] = result.place.offset + 1
            time.sleep(0.005)

    def stop(self):
        self.going.set()
        self.thread.join(10)
        return self.ends
